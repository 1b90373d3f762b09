//! A tolerant view of a JSON body: borrowed where it can be, asked field by field.
//!
//! A typed struct would lose a whole array over one mistyped field. Here a field of the wrong type
//! is simply not there. Numbers are kept only as exact unsigned integers, because ids above 2^53
//! must never pass through a float.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::NotJson;

/// Any JSON value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Integer(u64),
    /// Negative, fractional or beyond 64 bits: of no use here.
    OtherNumber,
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// What a missing field looks like, so that look-ups can be chained.
static MISSING: Node<'static> = Node::Null;

impl<'a> Node<'a> {
    /// The member of that name, the last one if it stands twice; [`Node::Null`] if there is none.
    pub(super) fn get(&self, key: &str) -> &Node<'a> {
        self.members().iter().rev().find(|(name, _)| name == key).map_or(&MISSING, |(_, value)| value)
    }

    /// The members of an object, none of anything else.
    pub(super) fn members(&self) -> &[(Cow<'a, str>, Node<'a>)] {
        match self {
            Self::Map(members) => members,
            _ => &[],
        }
    }

    /// The elements of an array, none of anything else.
    pub(super) fn elements(&self) -> &[Node<'a>] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self, Self::Map(_))
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// True, or the text `"true"`: X's own pages print flags as texts.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Bool(flag) => *flag,
            Self::Text(text) => text == "true",
            _ => false,
        }
    }

    pub(super) fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// An id as decimal text of 1 to 20 digits, from a text or from an exact number.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Text(text) if is_id(text) => Some(text.clone().into_owned()),
            Self::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The id under `<key>_str`, else under `key`: the numbers of X's own examples are rounded.
    pub(super) fn id_of(&self, key_str: &str, key: &str) -> Option<String> {
        self.get(key_str).id().or_else(|| self.get(key).id())
    }

    /// The object itself, or the one X Activity wraps into `data`.
    pub(super) fn unwrapped(&self) -> &Node<'a> {
        match self.get("data") {
            inner @ Node::Map(_) => inner,
            _ => self,
        }
    }
}

/// Whether the text is 1 to 20 decimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads one JSON object.
pub(super) fn parse(text: &str) -> Result<Node<'_>, NotJson> {
    let root: Node<'_> = serde_json::from_str(text).map_err(|error| refusal(&error))?;
    if root.is_map() { Ok(root) } else { Err(NotJson::NotAnObject) }
}

fn refusal(error: &serde_json::Error) -> NotJson {
    if error.to_string().starts_with("recursion limit exceeded") {
        return NotJson::TooDeep;
    }
    NotJson::Syntax { line: error.line(), column: error.column() }
}

/// The same body without two things JSON allows and the parser refuses: numbers beyond a float's
/// range become `null`, lone surrogates the replacement character. `None` if it has neither.
pub(super) fn mend(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut mended = String::with_capacity(text.len());
    let mut copied_to = 0;
    let mut at = 0;
    let mut in_text = false;
    while at < bytes.len() {
        let (len, replacement) = match bytes[at] {
            b'"' => {
                in_text = !in_text;
                (1, None)
            }
            b'\\' if in_text => escape(&bytes[at..]),
            b'-' | b'0'..=b'9' if !in_text => number(&text[at..]),
            _ => (1, None),
        };
        if let Some(replacement) = replacement {
            mended.push_str(&text[copied_to..at]);
            mended.push_str(replacement);
            copied_to = at + len;
        }
        at += len;
    }
    if copied_to == 0 {
        return None;
    }
    mended.push_str(&text[copied_to..]);
    Some(mended)
}

/// Length of the escape at the start, and what to put there instead.
fn escape(bytes: &[u8]) -> (usize, Option<&'static str>) {
    match (code_unit(bytes), bytes.get(6..).and_then(code_unit)) {
        (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (12, None),
        (Some(0xD800..=0xDFFF), _) => (6, Some("\\ufffd")),
        (Some(_), _) => (6, None),
        (None, _) => (2, None),
    }
}

/// The code unit of a leading `\uXXXX`.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Length of the number at the start, and what to put there instead.
fn number(text: &str) -> (usize, Option<&'static str>) {
    let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let len = text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len());
    let is_infinite = text[..len].parse::<f64>().is_ok_and(f64::is_infinite);
    (len, is_infinite.then_some("null"))
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Node::Integer(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Node::OtherNumber)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Node::OtherNumber)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Node::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some((Key(name), value)) = access.next_entry()? {
            members.push((name, value));
        }
        Ok(Node::Map(members))
    }
}

/// A member's name, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_or_nothing() {
        let root =
            parse(r#"{"a":1205348660982083591,"b":18446744073709551616,"c":1.5,"d":-1,"e":"007"}"#).unwrap();
        assert_eq!(root.get("a").id().as_deref(), Some("1205348660982083591"));
        for key in ["b", "c", "d", "f"] {
            assert_eq!(root.get(key).id(), None, "{key}");
        }
        assert_eq!(root.get("e").id().as_deref(), Some("007"));
    }

    #[test]
    fn ids_are_one_to_twenty_digits() {
        for (text, expected) in [
            ("1", true),
            ("12345678901234567890", true),
            ("", false),
            ("123456789012345678901", false),
            ("12a", false),
            ("-1", false),
            ("١", false),
        ] {
            assert_eq!(is_id(text), expected, "{text}");
        }
    }

    #[test]
    fn mends_only_what_the_parser_refuses() {
        for (body, expected) in [
            (r#"{"a":1e999,"b":[-2e+400,3]}"#, Some(r#"{"a":null,"b":[null,3]}"#)),
            (r#"{"a":"x\ud83dy\udc00"}"#, Some(r#"{"a":"x\ufffdy\ufffd"}"#)),
            (r#"{"a":"\ud83d\udc4b 1e999 \\\" -9e999"}"#, None),
            (r#"{"a":1}"#, None),
            (r#"{"a":"\u12"#, None),
            (r#"{"a":"\"#, None),
        ] {
            assert_eq!(mend(body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn refuses_what_is_no_object() {
        assert_eq!(parse("[]").unwrap_err(), NotJson::NotAnObject);
        assert_eq!(parse("7").unwrap_err(), NotJson::NotAnObject);
        assert!(matches!(parse("{"), Err(NotJson::Syntax { .. })));
        assert!(matches!(parse("{} x"), Err(NotJson::Syntax { .. })));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(parse(&deep).unwrap_err(), NotJson::TooDeep);
    }
}
