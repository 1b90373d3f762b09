//! Request bodies: JSON, forms and multipart forms, as Django REST framework reads them.
//!
//! Otherwise than there: text that is not in its declared encoding is refused in forms too, and
//! nesting is bounded. NUL characters pass here; the validation of fields refuses them.

mod json;
mod multipart;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::header::Parameterized;
use super::validate::Invalid;

/// More fields than this in a form are refused.
const MOST_FORM_FIELDS: usize = 1_000;

/// Where lone surrogates of JSON are kept: in the last 2,048 private characters of Unicode.
const SURROGATE_SHIFT: u32 = 0x0010_2000;

/// A body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// Nothing here reads that kind: 415.
    #[error("Unsupported media type \"{content_type}\" in request.")]
    Unsupported {
        /// The `Content-Type` as it came, empty if there was none.
        content_type: String,
    },
    /// It is not what its `Content-Type` says: 400.
    #[error("{kind} parse error - {problem}")]
    Malformed {
        /// `JSON`, `Form` or `Multipart form`.
        kind: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// A body that could be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Body {
    value: Value,
    is_form: bool,
    has_lone_surrogates: bool,
}

impl Body {
    /// Reads a whole body, whose size the caller has bounded. An empty one is an empty object,
    /// whatever its kind.
    pub(crate) fn parse(content_type: Option<&[u8]>, bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.is_empty() {
            let value = Value::Object(Map::new());
            return Ok(Self { value, is_form: false, has_lone_surrogates: false });
        }
        let written = content_type.map(String::from_utf8_lossy).unwrap_or_default();
        let header = Parameterized::parse(&written);
        let charset = Charset::of(header.parameter("charset"));
        match Kind::of(&header.value) {
            Some(Kind::Json) => {
                let (value, has_lone_surrogates) = json::parse(bytes, charset)?;
                Ok(Self { value, is_form: false, has_lone_surrogates })
            }
            Some(Kind::Form) => parse_form(bytes, charset).map(Self::form),
            Some(Kind::Multipart) => {
                multipart::parse(bytes, header.parameter("boundary"), charset).map(Self::form)
            }
            None => Err(BodyError::Unsupported { content_type: written.into_owned() }),
        }
    }

    fn form(fields: Map<String, Value>) -> Self {
        Self { value: Value::Object(fields), is_form: true, has_lone_surrogates: false }
    }

    /// What the body holds. A file in a multipart form is an empty object, which no field takes.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// The fields; a body that is no object is refused as validation does it.
    pub(crate) fn fields(&self) -> Result<&Map<String, Value>, Invalid> {
        let kind = match &self.value {
            Value::Object(fields) => return Ok(fields),
            Value::Null => return Err(Invalid::whole("No data provided")),
            Value::Array(_) => "list",
            Value::String(_) => "str",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
        };
        Err(Invalid::whole(format!("Invalid data. Expected a dictionary, but got {kind}.")))
    }

    /// Whether it came from a form, where an empty text counts as none.
    pub(crate) fn is_form(&self) -> bool {
        self.is_form
    }

    /// The first lone surrogate in a text of this body. JSON can write them, Unicode text cannot
    /// hold them: they stand as private characters, and whoever keeps a text refuses it first.
    pub(crate) fn lone_surrogate(&self, text: &str) -> Option<u32> {
        if !self.has_lone_surrogates {
            return None;
        }
        text.chars().find_map(surrogate_of)
    }

    /// The text with U+FFFD for each lone surrogate, to look at it otherwise: both lie in the
    /// Basic Multilingual Plane, and the private characters that stand for surrogates do not.
    pub(super) fn with_replacements<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.lone_surrogate(text).is_none() {
            return Cow::Borrowed(text);
        }
        let replaced = |c| if surrogate_of(c).is_some() { char::REPLACEMENT_CHARACTER } else { c };
        text.chars().map(replaced).collect()
    }
}

/// The lone surrogate that a private character stands for.
fn surrogate_of(c: char) -> Option<u32> {
    u32::from(c).checked_sub(SURROGATE_SHIFT).filter(|code| (0xD800..=0xDFFF).contains(code))
}

/// What reads a body.
enum Kind {
    Json,
    Form,
    Multipart,
}

impl Kind {
    /// The first reader that a media type matches; stars match as they do in `Accept`.
    fn of(media_type: &str) -> Option<Self> {
        let (main, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        let is =
            |known_main, known_sub| (main == "*" || main == known_main) && (sub == "*" || sub == known_sub);
        if is("application", "json") {
            Some(Self::Json)
        } else if is("application", "x-www-form-urlencoded") {
            Some(Self::Form)
        } else if is("multipart", "form-data") {
            Some(Self::Multipart)
        } else {
            None
        }
    }
}

/// How text is encoded. A charset that is not known is ignored, as the original does.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Latin1,
}

impl Charset {
    fn of(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default().to_ascii_lowercase().replace('_', "-");
        match name.as_str() {
            "iso-8859-1" | "iso8859-1" | "latin-1" | "latin1" | "l1" => Self::Latin1,
            _ => Self::Utf8,
        }
    }

    /// The text, or what is wrong with it in the words of Python's decoder.
    fn decode(self, bytes: Vec<u8>) -> Result<String, String> {
        match self {
            Self::Latin1 => Ok(bytes.into_iter().map(char::from).collect()),
            Self::Utf8 => String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[at];
                let reason = match (error.utf8_error().error_len(), byte) {
                    (None, _) => "unexpected end of data",
                    (_, 0xC2..=0xF4) => "invalid continuation byte",
                    _ => "invalid start byte",
                };
                format!("'utf-8' codec can't decode byte 0x{byte:02x} in position {at}: {reason}")
            }),
        }
    }
}

/// Reads `a=1&b=2`; of a repeated name the last counts.
fn parse_form(bytes: &[u8], charset: Charset) -> Result<Map<String, Value>, BodyError> {
    let malformed = |problem: String| BodyError::Malformed { kind: "Form", problem };
    let decode = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        charset.decode(percent_encoding::percent_decode(&spaced).collect()).map_err(malformed)
    };
    let mut fields = Map::new();
    let pairs = bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for (n, pair) in pairs.enumerate() {
        if n == MOST_FORM_FIELDS {
            return Err(malformed(format!("more than {MOST_FORM_FIELDS} fields")));
        }
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(sides.next().unwrap_or_default())?;
        let value = decode(sides.next().unwrap_or_default())?;
        fields.insert(name, Value::String(value));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;
