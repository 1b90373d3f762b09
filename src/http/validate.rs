//! Validation of text fields in the words of Django REST framework.
//!
//! A route names its fields once, in the order in which they are reported; [`check`] reports
//! everything that is wrong with all of them.

mod email;

use serde_json::{Number, Value};

pub(crate) use self::email::is_email;
use super::body::Body;

/// What is wrong with a whole body stands under this name.
const WHOLE: &str = "non_field_errors";

const NOT_AN_EMAIL: &str = "Enter a valid email address.";

/// The answer to a 400 of validation: names and messages, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("some fields are not valid: {}", names(fields))]
pub(crate) struct Invalid {
    /// The fields with all that is wrong with each.
    pub fields: Vec<(String, Vec<String>)>,
}

impl Invalid {
    /// One thing wrong with one field.
    pub(crate) fn field(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { fields: vec![(name.into(), vec![message.into()])] }
    }

    /// One thing wrong with the body as a whole, under `non_field_errors`.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self::field(WHOLE, message)
    }

    /// Adds what else is wrong, behind what that field has already.
    pub(crate) fn add(&mut self, name: &str, messages: impl IntoIterator<Item = String>) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.extend(messages),
            None => self.fields.push((name.to_owned(), messages.into_iter().collect())),
        }
    }

    /// `Ok` with the value if nothing is wrong.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.fields.is_empty() { Ok(value) } else { Err(self) }
    }
}

fn names(fields: &[(String, Vec<String>)]) -> String {
    fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Which fields a request must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// All that are required: POST and PUT.
    Whole,
    /// None, only those given are checked: PATCH.
    Partial,
}

/// A field of text: required, trimmed, not blank and not null unless said otherwise.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent permission, set by a method of its own"
)]
pub(crate) struct Text {
    name: &'static str,
    is_required: bool,
    is_trimmed: bool,
    allows_blank: bool,
    allows_null: bool,
    is_email: bool,
    max_characters: Option<usize>,
}

impl Text {
    /// A required field.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            is_required: true,
            is_trimmed: true,
            allows_blank: false,
            allows_null: false,
            is_email: false,
            max_characters: None,
        }
    }

    /// It may be left out.
    #[must_use]
    pub(crate) const fn optional(self) -> Self {
        Self { is_required: false, ..self }
    }

    /// Blanks at its ends belong to it, as in passwords.
    #[must_use]
    pub(crate) const fn untrimmed(self) -> Self {
        Self { is_trimmed: false, ..self }
    }

    /// It may be empty.
    #[must_use]
    pub(crate) const fn or_blank(self) -> Self {
        Self { allows_blank: true, ..self }
    }

    /// It may be null.
    #[must_use]
    pub(crate) const fn or_null(self) -> Self {
        Self { allows_null: true, ..self }
    }

    /// It must be an e-mail address, see [`is_email`].
    #[must_use]
    pub(crate) const fn email(self) -> Self {
        Self { is_email: true, ..self }
    }

    /// The greatest number of characters.
    #[must_use]
    pub(crate) const fn at_most(self, max_characters: usize) -> Self {
        Self { max_characters: Some(max_characters), ..self }
    }
}

/// The fields that were given and are valid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Valid(Vec<(&'static str, Option<String>)>);

impl Valid {
    /// The text of a field; `None` if it was not given or is null.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name)?.1.as_deref()
    }

    /// Takes the text of a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.0.iter_mut().find(|(known, _)| *known == name)?.1.take()
    }

    /// Adds the fields of another check.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// Checks a body's fields of text; fields that are not named here are ignored.
pub(crate) fn check(body: &Body, fields: &[Text], presence: Presence) -> Result<Valid, Invalid> {
    let given = body.fields()?;
    let mut invalid = Invalid::default();
    let mut valid = Valid::default();
    for field in fields {
        let value = given.get(field.name).filter(|value| !counts_as_absent(body, field, value));
        match value {
            Some(value) => match field.read(body, value) {
                Ok(text) => valid.0.push((field.name, text)),
                Err(messages) => invalid.add(field.name, messages),
            },
            None if field.is_required && presence == Presence::Whole => {
                invalid.add(field.name, ["This field is required.".to_owned()]);
            }
            None => {}
        }
    }
    invalid.or(valid)
}

/// A form cannot leave a field out that it shows, so an empty optional one is none.
fn counts_as_absent(body: &Body, field: &Text, value: &Value) -> bool {
    body.is_form() && !field.is_required && !field.allows_blank && !field.allows_null && *value == ""
}

impl Text {
    fn read(&self, body: &Body, value: &Value) -> Result<Option<String>, Vec<String>> {
        let fail = |message: &str| Err(vec![message.to_owned()]);
        let text = match value {
            Value::Null if self.allows_null => return Ok(None),
            Value::Null => return fail("This field may not be null."),
            // A form has no other way to say null.
            Value::String(text) if text.is_empty() && body.is_form() && self.says_null_by_blank() => {
                return Ok(None);
            }
            Value::String(text) => text.clone(),
            Value::Number(number) => number_as_text(number),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return fail(if self.is_email { NOT_AN_EMAIL } else { "Not a valid string." });
            }
        };
        let text = if self.is_trimmed { text.trim_matches(is_blank).to_owned() } else { text };
        if text.is_empty() {
            return if self.allows_blank { Ok(Some(text)) } else { fail("This field may not be blank.") };
        }
        let messages = self.wrongs(body, &text);
        if messages.is_empty() { Ok(Some(text)) } else { Err(messages) }
    }

    fn says_null_by_blank(&self) -> bool {
        self.allows_null && !self.allows_blank
    }

    /// Everything that is wrong with a text, in the order of the original's validators.
    fn wrongs(&self, body: &Body, text: &str) -> Vec<String> {
        let n_characters = text.chars().count();
        let mut messages = Vec::new();
        if let Some(max) = self.max_characters.filter(|max| n_characters > *max) {
            messages.push(format!("Ensure this field has no more than {max} characters."));
        }
        if text.contains('\0') {
            messages.push("Null characters are not allowed.".to_owned());
        }
        if let Some(code) = body.lone_surrogate(text) {
            messages.push(format!("Surrogate characters are not allowed: U+{code:X}."));
        }
        if self.is_email && !is_email(&body.with_replacements(text)) {
            messages.push(NOT_AN_EMAIL.to_owned());
        }
        messages
    }
}

/// Python's idea of a blank, which is wider than Unicode's.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A number as Python writes it: `1`, `1.0`, `1e+16`, `1e-05`.
fn number_as_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let text = format!("{float:?}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests;
