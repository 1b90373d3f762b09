//! From the text as X sends it to the words the customer wrote.
//!
//! X replaces every link by a `https://t.co/…` one, appends one for attached media, and escapes
//! `&`, `<` and `>` as HTML. Links are put back first, unescaping comes last and once: indices and
//! link tokens refer to the escaped text, and `&amp;lt;` means the four characters `&lt;`.

use std::collections::HashMap;

/// What each `t.co` link stands for: its target, or `None` for attached media, whose link goes.
pub(super) type Links<'a> = HashMap<&'a str, Option<&'a str>>;

/// The text in the customer's words. Blanks around a media link go with it; nothing else is trimmed.
pub(super) fn plain(text: &str, links: &Links<'_>) -> String {
    let expanded = if links.is_empty() { text.to_owned() } else { expand(text, links) };
    without_nul(unescape(expanded))
}

/// The same text without NUL characters, which databases refuse.
pub(super) fn without_nul(mut text: String) -> String {
    if text.contains('\0') {
        text.retain(|character| character != '\0');
    }
    text
}

fn expand(text: &str, links: &Links<'_>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, len)) = find_link(rest) {
        let link = &rest[start..start + len];
        expanded.push_str(&rest[..start]);
        rest = &rest[start + len..];
        match links.get(link) {
            Some(Some(target)) => expanded.push_str(target),
            Some(None) => {
                expanded.truncate(expanded.trim_end().len());
                if expanded.is_empty() {
                    rest = rest.trim_start();
                }
            }
            None => expanded.push_str(link),
        }
    }
    expanded.push_str(rest);
    expanded
}

/// Where the first `t.co` link starts and how long it is, in bytes.
fn find_link(text: &str) -> Option<(usize, usize)> {
    const HOST: &str = "://t.co/";
    let mut from = 0;
    loop {
        let host = from + text[from..].find(HOST)?;
        let path = host + HOST.len();
        let n_path = text[path..].bytes().take_while(u8::is_ascii_alphanumeric).count();
        let start = ["https", "http"].iter().find_map(|scheme| {
            text[..host].ends_with(scheme).then(|| host - scheme.len()).filter(|start| *start >= from)
        });
        match start {
            Some(start) if n_path > 0 => return Some((start, path + n_path - start)),
            _ => from = path,
        }
    }
}

/// Undoes the escaping of `&`, `<` and `>` (the only characters X escapes), once.
pub(crate) fn unescape(text: String) -> String {
    if !text.contains('&') {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let escape = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')]
            .into_iter()
            .find(|(escape, _)| rest.starts_with(escape))
            .unwrap_or(("&", '&'));
        plain.push(escape.1);
        rest = &rest[escape.0.len()..];
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let links = Links::from([
            ("https://t.co/aa", Some("https://example.org/?x=1&y=2")),
            ("https://t.co/aab", Some("https://example.org/longer")),
            ("https://t.co/mm", None),
            ("http://t.co/old", Some("http://example.org/old")),
        ]);
        for (text, expected) in [
            ("nothing here", "nothing here"),
            ("  blanks stay \n", "  blanks stay \n"),
            ("https://t.co/aa", "https://example.org/?x=1&y=2"),
            (
                "https://t.co/aab, https://t.co/aa.",
                "https://example.org/longer, https://example.org/?x=1&y=2.",
            ),
            (" https://t.co/mm", ""),
            ("https://t.co/mm words", "words"),
            ("Look https://t.co/mm", "Look"),
            ("a https://t.co/mm b", "a b"),
            ("a\n\nhttps://t.co/mm https://t.co/mm", "a"),
            ("https://t.co/unknown https://t.co/", "https://t.co/unknown https://t.co/"),
            ("see http://t.co/old", "see http://example.org/old"),
            ("xx://t.co/aa https://t.co/aa", "xx://t.co/aa https://example.org/?x=1&y=2"),
            ("://t.co/", "://t.co/"),
            ("2 &lt; 3 &amp;&amp; 5 &gt; 4", "2 < 3 && 5 > 4"),
            ("&amp;lt; & &quot; &", "&lt; & &quot; &"),
            ("nul\0 out", "nul out"),
            ("☃ https://t.co/aa ☃", "☃ https://example.org/?x=1&y=2 ☃"),
        ] {
            assert_eq!(plain(text, &links), expected, "{text:?}");
        }
    }
}
