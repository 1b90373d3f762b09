//! Reading the fields of a body, with the messages of Django REST framework.
//!
//! All failing fields are told at once, each under its name; unknown fields are ignored.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::secret::Secret;

/// Messages of one field.
const REQUIRED: &str = "This field is required.";
const NULL: &str = "This field may not be null.";
const BLANK: &str = "This field may not be blank.";

/// What is wrong with a body: messages by field, in the order in which the fields were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldErrors(Map<String, Value>);

impl FieldErrors {
    /// One message for one field.
    pub fn of(field: &str, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, message);
        errors
    }

    /// Adds a message to a field.
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        let messages = self.0.entry(field).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(messages) = messages {
            messages.push(Value::String(message.into()));
        }
    }

    /// Says that a field is missing, unless something else is wrong with it.
    pub(super) fn require(&mut self, field: &str) {
        self.add_first(field, REQUIRED);
    }

    /// Says that a field is blank, unless something else is wrong with it.
    pub(super) fn refuse_blank(&mut self, field: &str) {
        self.add_first(field, BLANK);
    }

    fn add_first(&mut self, field: &str, message: &str) {
        if !self.0.contains_key(field) {
            self.add(field, message);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages as the body of an answer.
    pub fn into_body(self) -> Map<String, Value> {
        self.0
    }

    /// The value, if nothing is wrong.
    pub fn unless_any<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// A new one: everything that is required must be there.
    Create,
    /// `PUT`: everything that is required must be there; other fields that are not stay as they are.
    Replace,
    /// `PATCH`: every field that is not there stays as it is.
    Patch,
}

/// The fields of a body, while they are read.
pub struct Fields<'a> {
    body: &'a Map<String, Value>,
    writing: Writing,
    errors: FieldErrors,
}

impl<'a> Fields<'a> {
    /// Begins to read.
    pub fn new(body: &'a Map<String, Value>, writing: Writing) -> Self {
        Self { body, writing, errors: FieldErrors::default() }
    }

    /// What was wrong with the fields that were read.
    pub fn into_errors(self) -> FieldErrors {
        self.errors
    }

    /// Says what is wrong with a field.
    pub fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.errors.add(field, message);
    }

    /// The field must be there, unless only some fields are changed.
    pub fn require(&mut self, field: &str) {
        if self.writing != Writing::Patch && !self.body.contains_key(field) {
            self.errors.require(field);
        }
    }

    /// Whether a field is there and null.
    pub fn is_null(&self, field: &str) -> bool {
        self.body.get(field) == Some(&Value::Null)
    }

    /// The value of a field that is there. Null is refused.
    fn value(&mut self, field: &str) -> Option<&'a Value> {
        match self.body.get(field)? {
            Value::Null => {
                self.errors.add(field, NULL);
                None
            }
            value => Some(value),
        }
    }

    /// Text as it was sent; numbers count as text.
    fn raw_text(&mut self, field: &str, max_chars: usize) -> Option<String> {
        let text = match self.value(field)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.errors.add(field, "Not a valid string.");
                return None;
            }
        };
        if text.contains('\0') {
            self.errors.add(field, "Null characters are not allowed.");
            return None;
        }
        if text.chars().count() > max_chars {
            self.errors.add(field, format!("Ensure this field has no more than {max_chars} characters."));
            return None;
        }
        Some(text)
    }

    /// Text, trimmed; may be blank.
    pub fn text(&mut self, field: &str, max_chars: usize) -> Option<String> {
        self.raw_text(field, max_chars).map(|text| text.trim().to_owned())
    }

    /// Text, trimmed, with something in it.
    pub fn filled(&mut self, field: &str, max_chars: usize) -> Option<String> {
        let text = self.text(field, max_chars)?;
        if text.is_empty() {
            self.errors.add(field, BLANK);
            return None;
        }
        Some(text)
    }

    /// A credential: not trimmed, and nothing of it is repeated in a message.
    pub fn secret(&mut self, field: &str, max_chars: usize) -> Option<Secret> {
        self.raw_text(field, max_chars).map(Secret::new)
    }

    /// A value by its name.
    pub fn choice<T>(&mut self, field: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.value(field)?;
        let name = value.as_str();
        let choice = name.and_then(parse);
        if choice.is_none() {
            let shown = name.map_or_else(|| value.to_string(), str::to_owned);
            self.errors.add(field, not_a_choice(&shown));
        }
        choice
    }

    /// Text that is read into a value.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.filled(field, 255)?;
        parse(&text).map_err(|problem| self.errors.add(field, sentence(&problem.to_string()))).ok()
    }

    /// A whole number within bounds; digits in text count.
    pub fn integer(&mut self, field: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(field)?;
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.errors.add(field, "A valid integer is required.");
            return None;
        };
        let (least, most) = (bounds.start(), bounds.end());
        if number < *least {
            self.errors.add(field, format!("Ensure this value is greater than or equal to {least}."));
            return None;
        }
        if number > *most {
            self.errors.add(field, format!("Ensure this value is less than or equal to {most}."));
            return None;
        }
        Some(number)
    }

    /// A yes or no, in the spellings that forms use too.
    pub fn boolean(&mut self, field: &str) -> Option<bool> {
        let is_true = match self.value(field)? {
            Value::Bool(is_true) => Some(*is_true),
            Value::Number(number) => [(0, false), (1, true)]
                .into_iter()
                .find_map(|(known, is_true)| (number.as_i64() == Some(known)).then_some(is_true)),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
                "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if is_true.is_none() {
            self.errors.add(field, "Must be a valid boolean.");
        }
        is_true
    }

    /// An object; in a form, the text of one.
    pub fn object(&mut self, field: &str) -> Option<Map<String, Value>> {
        let kind = match self.value(field)? {
            Value::Object(object) => return Some(object.clone()),
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Object(object)) => return Some(object),
                _ => "str",
            },
            Value::Array(_) => "list",
            Value::Bool(_) => "bool",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
            Value::Null => "NoneType",
        };
        self.errors.add(field, format!("Expected a dictionary of items but got type \"{kind}\"."));
        None
    }
}

/// The message for a name that is none of the choices; a long one is cut.
pub(super) fn not_a_choice(shown: &str) -> String {
    let shown: String = shown.chars().take(100).collect();
    format!("\"{shown}\" is not a valid choice.")
}

/// An error's text as a sentence for people.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages<T>(value: &Value, read: impl Fn(&mut Fields<'_>) -> Option<T>) -> (Option<T>, Value) {
        let body = json!({ "f": value });
        let body = body.as_object().unwrap();
        let mut fields = Fields::new(body, Writing::Create);
        let read = read(&mut fields);
        let mut errors = fields.into_errors().into_body();
        (read, errors.remove("f").unwrap_or(json!([])))
    }

    #[test]
    fn text_is_read_as_recorded() {
        for (value, expected, told) in [
            (json!(" a "), Some("a"), json!([])),
            (json!(7), Some("7"), json!([])),
            (json!("  "), None, json!(["This field may not be blank."])),
            (json!(null), None, json!(["This field may not be null."])),
            (json!(true), None, json!(["Not a valid string."])),
            (json!([]), None, json!(["Not a valid string."])),
            (json!("a\u{0}b"), None, json!(["Null characters are not allowed."])),
            (json!("12345"), None, json!(["Ensure this field has no more than 4 characters."])),
        ] {
            let (read, errors) = messages(&value, |fields| fields.filled("f", 4));
            assert_eq!((read.as_deref(), errors), (expected, told), "{value}");
        }
    }

    #[test]
    fn numbers_keep_their_bounds() {
        for (value, expected, told) in [
            (json!(4), Some(4), json!([])),
            (json!(" 4 "), Some(4), json!([])),
            (json!(0), None, json!(["Ensure this value is greater than or equal to 1."])),
            (json!(65), None, json!(["Ensure this value is less than or equal to 64."])),
            (json!(4.5), None, json!(["A valid integer is required."])),
            (json!("x"), None, json!(["A valid integer is required."])),
            (json!(1e300), None, json!(["A valid integer is required."])),
            (json!({}), None, json!(["A valid integer is required."])),
        ] {
            assert_eq!(messages(&value, |fields| fields.integer("f", 1..=64)), (expected, told), "{value}");
        }
    }

    #[test]
    fn other_kinds() {
        let yes = |name: &str| (name == "yes").then_some(());
        assert_eq!(messages(&json!("yes"), |fields| fields.choice("f", yes)), (Some(()), json!([])));
        let told = json!(["\"no\" is not a valid choice."]);
        assert_eq!(messages(&json!("no"), |fields| fields.choice("f", yes)), (None, told));
        let told = json!(["\"7\" is not a valid choice."]);
        assert_eq!(messages(&json!(7), |fields| fields.choice("f", yes)), (None, told));
        let told = json!(["Expected a dictionary of items but got type \"list\"."]);
        assert_eq!(messages(&json!([1]), |fields| fields.object("f")), (None, told));
        assert!(messages(&json!("{\"a\": 1}"), |fields| fields.object("f")).0.is_some());
        assert_eq!(messages(&json!("on"), |fields| fields.boolean("f")).0, Some(true));
        assert_eq!(messages(&json!(2), |fields| fields.boolean("f")).1, json!(["Must be a valid boolean."]));
    }

    #[test]
    fn required_only_where_all_is_written() {
        let body = Map::new();
        for (writing, is_told) in [(Writing::Create, true), (Writing::Replace, true), (Writing::Patch, false)]
        {
            let mut fields = Fields::new(&body, writing);
            fields.require("f");
            assert_eq!(!fields.into_errors().is_empty(), is_told, "{writing:?}");
        }
    }
}
