//! What tests and people look at from inside.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::servicenow::schema::{CASE, JOURNAL};
use crate::servicenow::store::Store;
use crate::servicenow::tables::{Row, Table};

/// One entry of a journal.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct JournalView {
    /// The entry's own id.
    pub sys_id: String,
    /// The text as stored.
    pub text: String,
    /// The user name of who wrote it.
    pub author: String,
    /// When it was committed, epoch milliseconds.
    pub created_ms: i64,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseView {
    /// 32 hex digits.
    pub sys_id: String,
    /// `CS…`
    pub number: String,
    /// As given.
    pub correlation_id: String,
    /// 1 New, 10 Open, 18 Awaiting Info, 6 Resolved, 3 Closed.
    pub state: String,
    /// The `sys_id` of the consumer, or empty.
    pub consumer: String,
    /// The `sys_id` of the contact, or empty.
    pub contact: String,
    /// When it was committed, epoch milliseconds.
    pub created_ms: i64,
    /// The customer-visible comments in the order of their commits.
    pub comments: Vec<JournalView>,
    /// The internal notes in the order of their commits.
    pub work_notes: Vec<JournalView>,
    /// All columns with a value.
    pub fields: BTreeMap<String, String>,
}

/// One row of any table.
#[derive(Clone, Debug, Serialize)]
pub struct RecordView {
    /// 32 hex digits.
    pub sys_id: String,
    /// When it was committed, epoch milliseconds.
    pub created_ms: i64,
    /// All columns with a value.
    pub fields: BTreeMap<String, String>,
}

impl RecordView {
    /// The value of a column; empty if it has none.
    pub fn get(&self, column: &str) -> &str {
        self.fields.get(column).map_or("", String::as_str)
    }
}

fn fields_of(table: &Table, row: &Row) -> BTreeMap<String, String> {
    let pairs = table.columns.iter().zip(&row.values).filter(|(_, value)| !value.is_empty());
    pairs.map(|(column, value)| (column.name.clone(), value.clone())).collect()
}

impl Store {
    pub(crate) fn record_views(&self, table: &str) -> Vec<RecordView> {
        let Some(table) = self.table(table) else { return Vec::new() };
        let view = |row: &Row| RecordView {
            sys_id: row.values[0].clone(),
            created_ms: row.created_ms,
            fields: fields_of(table, row),
        };
        table.rows().map(view).collect()
    }

    pub(crate) fn case_views(&self) -> Vec<CaseView> {
        let Some(table) = self.table(CASE) else { return Vec::new() };
        let view = |row: &Row| {
            let get = |name| table.get(row, name).to_owned();
            CaseView {
                sys_id: row.values[0].clone(),
                number: get("number"),
                correlation_id: get("correlation_id"),
                state: get("state"),
                consumer: get("consumer"),
                contact: get("contact"),
                created_ms: row.created_ms,
                comments: self.journal_views(&row.values[0], "comments"),
                work_notes: self.journal_views(&row.values[0], "work_notes"),
                fields: fields_of(table, row),
            }
        };
        table.rows().map(view).collect()
    }

    fn journal_views(&self, case: &str, element: &str) -> Vec<JournalView> {
        let Some(table) = self.table(JOURNAL) else { return Vec::new() };
        let entries = self.journal(case).into_iter().filter(|row| table.get(row, "element") == element);
        let view = |row: &Row| JournalView {
            sys_id: row.values[0].clone(),
            text: table.get(row, "value").to_owned(),
            author: table.get(row, "sys_created_by").to_owned(),
            created_ms: row.created_ms,
        };
        entries.map(view).collect()
    }
}
