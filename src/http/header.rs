//! Headers made of a value and parameters: `Content-Type`, `Content-Disposition`, parts of `Accept`.

/// `multipart/form-data; boundary="x"`: the value in lower case, and its parameters.
pub(super) struct Parameterized {
    /// The part before the first semicolon, trimmed, in lower case.
    pub(super) value: String,
    parameters: Vec<(String, String)>,
}

impl Parameterized {
    /// Takes a header apart. Every text is one; what is not a parameter is left out.
    pub(super) fn parse(header: &str) -> Self {
        let mut parts = split_outside_quotes(header).into_iter();
        let value = parts.next().unwrap_or_default().trim().to_lowercase();
        let parameters = parts.filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_lowercase(), unquoted(value.trim())))
        });
        Self { value, parameters: parameters.collect() }
    }

    /// The last parameter of that lower-case name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn split_outside_quotes(header: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, c) in header.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => {
                parts.push(&header[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&header[start..]);
    parts
}

fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else { return text.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => plain.extend(characters.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_be_quoted_and_written_in_any_case() {
        let header = Parameterized::parse(r#" Form-Data ; NAME="a;\"b" ; x=1; x = 2 ;flag"#);
        assert_eq!(header.value, "form-data");
        assert_eq!(header.parameter("name"), Some(r#"a;"b"#));
        assert_eq!(header.parameter("x"), Some("2"));
        assert_eq!(header.parameter("flag"), None);
        assert_eq!(Parameterized::parse("").value, "");
    }
}
