//! How rows look in JSON: values as strings, references as objects, displays on request.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::clock;
use crate::servicenow::schema::{CONSUMER, CONTACT, JOURNAL, Kind, PROFILE, USER};
use crate::servicenow::store::Store;
use crate::servicenow::tables::{Row, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    /// Stored values.
    False,
    /// Values for people.
    True,
    /// Both.
    All,
}

/// How references are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum References {
    /// `{"link", "value"}`: the Table API's default.
    Links,
    /// The `sys_id` alone.
    Plain,
    /// The customer's records in full: the Case API's default.
    Nested,
}

/// What a reader asked for.
pub(crate) struct View {
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) display: Display,
    pub(crate) references: References,
    pub(crate) url: String,
}

impl Store {
    pub(crate) fn show(&self, table: &Table, row: &Row, view: &View) -> Value {
        let mut shown = Map::new();
        match &view.fields {
            // Unknown names are ignored.
            Some(fields) => {
                for field in fields.iter().filter(|field| self.knows(table, field)) {
                    shown.insert(field.clone(), self.field(table, row, field, view));
                }
            }
            None => {
                for column in table.columns.iter().filter(|column| column.name != "user_password") {
                    shown.insert(column.name.clone(), self.field(table, row, &column.name, view));
                }
            }
        }
        Value::Object(shown)
    }

    fn field(&self, table: &Table, row: &Row, field: &str, view: &View) -> Value {
        let Some(column) = table.column(field) else {
            let value = self.value(table, row, field);
            return match view.display {
                Display::All => json!({"display_value": value, "value": value}),
                _ => value.into(),
            };
        };
        let value = row.values[column].as_str();
        let kind = table.columns[column].kind;
        if let Kind::Reference(to) = kind {
            return self.reference(to, value, view);
        }
        match view.display {
            Display::False => value.into(),
            Display::True => self.display(table, row, column).into(),
            Display::All => json!({"display_value": self.display(table, row, column), "value": value}),
        }
    }

    fn reference(&self, to: &str, value: &str, view: &View) -> Value {
        if value.is_empty() {
            return match view.display {
                Display::All => json!({"display_value": "", "value": ""}),
                _ => "".into(),
            };
        }
        let target = self.table(to).and_then(|table| Some((table, table.row(value)?)));
        let shown = target.map_or(value, |(table, row)| table.get(row, table.def.display));
        let link = || format!("{}/api/now/table/{to}/{value}", view.url);
        match (view.references, view.display) {
            (References::Nested, Display::False) if [CONSUMER, CONTACT, PROFILE].contains(&to) => {
                let Some((table, row)) = target else { return value.into() };
                let view = View {
                    fields: None,
                    display: Display::False,
                    references: References::Plain,
                    url: String::new(),
                };
                self.show(table, row, &view)
            }
            (References::Links, Display::False) => json!({"link": link(), "value": value}),
            (References::Links, Display::True) => json!({"display_value": shown, "link": link()}),
            (References::Links, Display::All) => {
                json!({"display_value": shown, "link": link(), "value": value})
            }
            (_, Display::False) => value.into(),
            (_, Display::True) => shown.into(),
            (_, Display::All) => json!({"display_value": shown, "value": value}),
        }
    }

    fn display(&self, table: &Table, row: &Row, column: usize) -> String {
        let value = row.values[column].as_str();
        let column = &table.columns[column];
        if let Kind::Journal(_) = column.kind {
            return self.journal_text(&row.values[0], &column.name);
        }
        let choice = match (column.name.as_str(), value) {
            ("state", "1") => "New",
            ("state", "10") => "Open",
            ("state", "18") => "Awaiting Info",
            ("state", "6") => "Resolved",
            ("state", "3") => "Closed",
            ("priority", "1") => "1 - Critical",
            ("priority", "2") => "2 - High",
            ("priority", "3") => "3 - Moderate",
            ("priority", "4") => "4 - Low",
            ("impact" | "urgency", "1") => "1 - High",
            ("impact" | "urgency", "2") => "2 - Medium",
            ("impact" | "urgency", "3") => "3 - Low",
            ("contact_type", "social") => "Social",
            _ => value,
        };
        choice.to_owned()
    }

    /// A journal as one text, newest entry first: `time - name (label)`, the text, an empty line.
    fn journal_text(&self, case: &str, element: &str) -> String {
        let Some(table) = self.table(JOURNAL) else { return String::new() };
        let mut text = String::new();
        for entry in self.journal(case).into_iter().rev() {
            let of = table.get(entry, "element");
            if element != "comments_and_work_notes" && element != of {
                continue;
            }
            let label = journal_label(of);
            let name = self.full_name(table.get(entry, "sys_created_by"));
            let time = clock::servicenow_time(entry.created_ms);
            let value = table.get(entry, "value");
            // Writing to a string cannot fail.
            let _ = write!(text, "{time} - {name} ({label})\n{value}\n\n");
        }
        text
    }

    /// The name of a login for people.
    pub(crate) fn full_name(&self, user_name: &str) -> String {
        let row =
            self.table(USER).and_then(|users| Some(users.get(users.find("user_name", user_name)?, "name")));
        row.filter(|name| !name.is_empty()).unwrap_or(user_name).to_owned()
    }
}

pub(crate) fn journal_label(element: &str) -> &'static str {
    if element == "work_notes" { "Work notes" } else { "Additional comments" }
}
