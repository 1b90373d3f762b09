//! Reading of error bodies in all their forms.

use serde_json::Value;

/// At most this much of X's own words gets into a detail, in characters.
const MAX_SAID: usize = 200;

/// What an error body tells.
#[derive(Default)]
pub(in crate::x) struct Problem {
    /// Whether it was JSON: X itself answered, not a gateway.
    pub(in crate::x) is_json: bool,
    /// Numeric codes of the old API.
    pub(in crate::x) codes: Vec<u64>,
    /// Last path segments of problem types (`usage-capped`).
    kinds: Vec<String>,
    /// Titles and reasons, which never repeat what was sent.
    titles: Vec<String>,
    /// Everything said, in lower case, to look for words in.
    words: String,
}

impl Problem {
    pub(in crate::x) fn read(body: &[u8]) -> Self {
        let Ok(root) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let mut problem = Self { is_json: root.is_object(), ..Self::default() };
        problem.add(&root);
        match &root["errors"] {
            Value::Array(errors) => errors.iter().for_each(|error| problem.add(error)),
            single => problem.add(single),
        }
        problem.add(&root["error"]);
        problem
    }

    fn add(&mut self, error: &Value) {
        if let Some(sentence) = error.as_str() {
            self.hear(sentence);
        }
        let code = &error["code"];
        self.codes.extend(code.as_u64().or_else(|| code.as_str().and_then(|code| code.parse().ok())));
        if let Some(kind) = error["type"].as_str() {
            self.kinds.extend(kind.rsplit('/').next().map(str::to_owned));
        }
        for field in ["title", "reason"] {
            if let Some(title) = error[field].as_str() {
                self.hear(title);
                if !self.titles.iter().any(|known| known == title) {
                    self.titles.push(title.to_owned());
                }
            }
        }
        for field in ["detail", "message"] {
            error[field].as_str().into_iter().for_each(|sentence| self.hear(sentence));
        }
    }

    fn hear(&mut self, sentence: &str) {
        self.words.push_str(&sentence.to_lowercase());
        self.words.push('\n');
    }

    pub(in crate::x) fn has_code(&self, codes: &[u64]) -> bool {
        self.codes.iter().any(|code| codes.contains(code))
    }

    pub(in crate::x) fn has_kind(&self, kinds: &[&str]) -> bool {
        self.kinds.iter().any(|kind| kinds.contains(&kind.as_str()))
    }

    /// Whether one of these (in lower case) was said.
    pub(in crate::x) fn says(&self, any_of: &[&str]) -> bool {
        any_of.iter().any(|words| self.words.contains(words))
    }

    /// All that was said or named, only letters and digits in lower case: error names of the
    /// webhook routes stand in titles, types or messages, in any spelling.
    pub(in crate::x) fn squeezed(&self) -> String {
        let kinds = self.kinds.iter().flat_map(|kind| kind.chars());
        self.words
            .chars()
            .chain(kinds)
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    }

    /// Codes, titles and kinds for a detail: ` (code 187; Forbidden)`. Sentences stay out, because
    /// those about wrong requests repeat what was sent.
    pub(in crate::x) fn said(&self) -> String {
        let codes = self.codes.iter().map(|code| format!("code {code}"));
        let kinds = self.kinds.iter().filter(|kind| *kind != "about:blank").cloned();
        let parts: Vec<String> = codes.chain(self.titles.iter().cloned()).chain(kinds).collect();
        if parts.is_empty() {
            return if self.is_json { String::new() } else { " without a reason".to_owned() };
        }
        let said: String = parts.join("; ").chars().filter(|c| !c.is_control()).take(MAX_SAID).collect();
        format!(" ({said})")
    }
}
