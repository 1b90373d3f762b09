//! Whether a text X shows is one the hub has sent.
//!
//! X replaces links by `https://t.co/…`, escapes `&`, `<` and `>`, trims, and may put the handles of
//! those who are answered before a reply.

use crate::classify::unescape;

/// Whether `shown` by X is what became of `sent`. Each `t.co` link stands for any one word.
pub(super) fn is_same(sent: &str, shown: &str) -> bool {
    let sent = sent.trim();
    let mut shown = shown.trim();
    loop {
        if sent == shown || has_form(sent, shown) {
            return true;
        }
        match without_handle(shown) {
            Some(rest) => shown = rest,
            None => return false,
        }
    }
}

/// The text after a leading handle.
fn without_handle(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('@')?;
    let n_handle = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let tail = &rest[n_handle..];
    let is_word = n_handle > 0 && tail.starts_with(char::is_whitespace);
    is_word.then(|| tail.trim_start())
}

fn has_form(sent: &str, shown: &str) -> bool {
    let mut parts = split_at_links(shown).into_iter();
    let first = parts.next().unwrap_or_default();
    let Some(rest) = sent.strip_prefix(first.as_str()) else {
        return false;
    };
    let parts: Vec<String> = parts.collect();
    follows(rest, &parts)
}

/// The words between the links, unescaped.
fn split_at_links(shown: &str) -> Vec<String> {
    const LINK: &str = "https://t.co/";
    let mut pieces = shown.split(LINK);
    let first = pieces.next().unwrap_or_default().to_owned();
    let after_links = pieces.map(|piece| {
        let n_path = piece.bytes().take_while(u8::is_ascii_alphanumeric).count();
        piece[n_path..].to_owned()
    });
    std::iter::once(first).chain(after_links).map(unescape).collect()
}

/// Whether `text` is, for each part, one word and then that part, to the very end.
fn follows(text: &str, parts: &[String]) -> bool {
    let Some((part, later)) = parts.split_first() else {
        return text.is_empty();
    };
    let n_word = text.find(char::is_whitespace).unwrap_or(text.len());
    if later.is_empty() {
        return text.ends_with(part.as_str()) && (1..=n_word).contains(&(text.len() - part.len()));
    }
    let ends = text[..n_word].char_indices().map(|(at, _)| at).skip(1).chain((n_word > 0).then_some(n_word));
    let candidates = ends.filter(|end| text[*end..].starts_with(part.as_str()));
    // The longest word first: a link swallows the dots and slashes inside it.
    candidates.last().is_some_and(|end| follows(&text[end + part.len()..], later))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (sent, shown, expected) in [
            ("hello", "hello", true),
            ("hello", "hello ", true),
            ("hello", "hallo", false),
            ("hello", "hello there", false),
            ("2 < 3 && x", "2 &lt; 3 &amp;&amp; x", true),
            ("&lt;", "&amp;lt;", true),
            ("see https://example.org/a?b=1 now", "see https://t.co/abc now", true),
            ("see example.org.", "see https://t.co/abc.", true),
            ("(example.org)", "(https://t.co/abc)", true),
            ("a.b https://x.y/z.q", "https://t.co/1 https://t.co/2", true),
            ("https://a.org", "https://t.co/1", true),
            ("two words", "https://t.co/1", false),
            ("see  now", "see https://t.co/abc now", false),
            ("see https://example.org later", "see https://t.co/abc now", false),
            ("please DM us", "@dana_k please DM us", true),
            ("please DM us", "@dana_k @other please DM us", true),
            ("@dana_k please DM us", "@dana_k please DM us", true),
            ("please DM us", "@dana_k please call us", false),
            ("please DM us", "dana_k please DM us", false),
            ("☃ https://☃.example ☃", "☃ https://t.co/1 ☃", true),
            ("", "", true),
            ("x", "", false),
        ] {
            assert_eq!(is_same(sent, shown), expected, "{sent:?} {shown:?}");
        }
    }
}
