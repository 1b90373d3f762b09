//! JSON bodies.

use std::borrow::Cow;

use serde_json::Value;

use super::{BodyError, Charset, SURROGATE_SHIFT};

/// How long `\ud800` is.
const ESCAPE_BYTES: usize = 6;

/// The value, and whether lone surrogates in it were replaced. Of a repeated key the last counts;
/// NaN, Infinity and nesting beyond 128 levels are refused.
pub(super) fn parse(bytes: &[u8], charset: Charset) -> Result<(Value, bool), BodyError> {
    let malformed = |problem: String| BodyError::Malformed { kind: "JSON", problem };
    let text = charset.decode(bytes.to_vec()).map_err(malformed)?;
    let text = without_lone_surrogates(&text);
    let value = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    Ok((value, matches!(text, Cow::Owned(_))))
}

/// Replaces each escaped surrogate that has no partner by a private character of its own.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut replaced = String::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        at += found;
        let Some(code) = surrogate(text, at) else {
            // The character after a backslash is no start of an escape.
            at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8);
            continue;
        };
        let is_high = code < 0xDC00;
        let is_paired = is_high && surrogate(text, at + ESCAPE_BYTES).is_some_and(|next| next >= 0xDC00);
        if is_paired {
            at += 2 * ESCAPE_BYTES;
            continue;
        }
        replaced.push_str(&text[kept..at]);
        replaced.extend(char::from_u32(code + SURROGATE_SHIFT));
        at += ESCAPE_BYTES;
        kept = at;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[kept..]);
    Cow::Owned(replaced)
}

/// The surrogate that is escaped there, if one is.
fn surrogate(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + ESCAPE_BYTES)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (0xD800..=0xDFFF).contains(&code).then_some(code)
}
