//! The rows of a table with their indexes.

use std::collections::HashMap;

use crate::clock;
use crate::servicenow::schema::{Kind, SYSTEM, TableDef};

pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    default: &'static str,
}

/// A row: its values in the order of the table's columns.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) values: Vec<String>,
    pub(crate) created_ms: i64,
}

pub(crate) struct Table {
    pub(crate) def: &'static TableDef,
    pub(crate) columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    rows: Vec<Option<Row>>,
    by_sys_id: HashMap<String, usize>,
    /// For each column, if indexed: lower-case value to row numbers.
    indexes: Vec<Option<HashMap<String, Vec<usize>>>>,
}

/// A new `sys_id`: 32 hex digits.
pub(crate) fn new_sys_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

impl Table {
    /// `custom` are text columns that an administrator added.
    pub(crate) fn new(def: &'static TableDef, custom: impl Iterator<Item = String>) -> Self {
        let mut table = Self {
            def,
            columns: Vec::new(),
            by_name: HashMap::new(),
            rows: Vec::new(),
            by_sys_id: HashMap::new(),
            indexes: Vec::new(),
        };
        for column in SYSTEM.iter().chain(def.columns) {
            table.add_column(column.name.to_owned(), column.kind, column.default, column.is_indexed);
        }
        for name in custom {
            table.add_column(name, Kind::Text(4000), "", true);
        }
        table
    }

    fn add_column(&mut self, name: String, kind: Kind, default: &'static str, is_indexed: bool) {
        self.by_name.insert(name.clone(), self.columns.len());
        self.columns.push(Column { name, kind, default });
        self.indexes.push(is_indexed.then(HashMap::new));
    }

    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn row(&self, sys_id: &str) -> Option<&Row> {
        self.at(*self.by_sys_id.get(sys_id)?)
    }

    pub(crate) fn at(&self, number: usize) -> Option<&Row> {
        self.rows.get(number)?.as_ref()
    }

    /// All rows in the order of their creation.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().flatten()
    }

    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> {
        (0..self.rows.len()).filter(|at| self.rows[*at].is_some())
    }

    pub(crate) fn get<'a>(&self, row: &'a Row, name: &str) -> &'a str {
        self.column(name).and_then(|at| row.values.get(at)).map_or("", String::as_str)
    }

    /// The row numbers with that value, in the order of creation; `None` if the column has no index.
    pub(crate) fn lookup(&self, column: usize, value: &str) -> Option<Vec<usize>> {
        if self.columns.get(column).is_some_and(|column| column.name == "sys_id") {
            return Some(self.by_sys_id.get(&value.to_lowercase()).copied().into_iter().collect());
        }
        let index = self.indexes.get(column)?.as_ref()?;
        let mut numbers = index.get(&value.to_lowercase()).cloned().unwrap_or_default();
        numbers.sort_unstable();
        Some(numbers)
    }

    /// The first row with that value in an indexed column.
    pub(crate) fn find(&self, column: &str, value: &str) -> Option<&Row> {
        let numbers = self.lookup(self.column(column)?, value)?;
        numbers.first().and_then(|number| self.at(*number))
    }

    /// Adds a row; unknown fields are ignored, too long texts are cut. Returns its `sys_id`.
    pub(crate) fn insert<'a>(
        &mut self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        author: &str,
    ) -> String {
        let created_ms = clock::now_ms();
        let now = clock::servicenow_time(created_ms);
        let sys_id = new_sys_id();
        let mut values: Vec<String> = self.columns.iter().map(|column| column.default.to_owned()).collect();
        // The system columns come first.
        for (at, value) in [&sys_id, &now, author, &now, author].into_iter().enumerate() {
            value.clone_into(&mut values[at]);
        }
        let number = self.rows.len();
        self.rows.push(Some(Row { values, created_ms }));
        self.by_sys_id.insert(sys_id.clone(), number);
        for column in 0..self.columns.len() {
            self.reindex(number, column, None);
        }
        for (name, value) in fields {
            self.set_at(number, name, value);
        }
        sys_id
    }

    /// Changes the fields named; false if there is no such row.
    pub(crate) fn update<'a>(
        &mut self,
        sys_id: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        author: &str,
    ) -> bool {
        let Some(number) = self.by_sys_id.get(sys_id).copied() else { return false };
        for (name, value) in fields {
            self.set_at(number, name, value);
        }
        let now = clock::servicenow_time(clock::now_ms());
        if let Some(row) = self.rows[number].as_mut() {
            let n_changes: u32 = row.values[5].parse().unwrap_or(0) + 1;
            row.values[3] = now;
            author.clone_into(&mut row.values[4]);
            row.values[5] = n_changes.to_string();
        }
        true
    }

    /// False if there is no such row.
    pub(crate) fn delete(&mut self, sys_id: &str) -> bool {
        let Some(number) = self.by_sys_id.remove(sys_id) else { return false };
        let Some(row) = self.rows[number].take() else { return false };
        for (index, value) in self.indexes.iter_mut().zip(&row.values) {
            if let Some(numbers) = index.as_mut().and_then(|index| index.get_mut(&value.to_lowercase())) {
                numbers.retain(|other| *other != number);
            }
        }
        true
    }

    fn set_at(&mut self, number: usize, name: &str, value: &str) {
        let Some(column) = self.column(name) else { return };
        let is_protected = column < SYSTEM.len();
        let kind = self.columns[column].kind;
        if is_protected || matches!(kind, Kind::Journal(_)) {
            return;
        }
        let value = match kind {
            Kind::Text(max_chars) => value.chars().take(max_chars).collect(),
            _ => value.to_owned(),
        };
        let Some(row) = self.rows[number].as_mut() else { return };
        let before = std::mem::replace(&mut row.values[column], value);
        self.reindex(number, column, Some(&before));
    }

    fn reindex(&mut self, number: usize, column: usize, before: Option<&str>) {
        let Some(index) = self.indexes[column].as_mut() else { return };
        if let Some(numbers) = before.and_then(|before| index.get_mut(&before.to_lowercase())) {
            numbers.retain(|other| *other != number);
        }
        let Some(row) = self.rows[number].as_ref() else { return };
        let value = &row.values[column];
        // Nobody looks up an empty value; all rows would be in that one list.
        if !value.is_empty() {
            index.entry(value.to_lowercase()).or_default().push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servicenow::schema::{CASE, TABLES};

    fn cases() -> Table {
        let def = TABLES.iter().find(|def| def.name == CASE).unwrap();
        Table::new(def, ["u_x".to_owned()].into_iter())
    }

    #[test]
    fn rows_are_found_by_their_present_values() {
        let mut table = cases();
        let one = table.insert([("correlation_id", "X-1"), ("u_x", "7"), ("nonsense", "1")], "hub");
        let two = table.insert([("correlation_id", "x-1")], "hub");
        let column = table.column("correlation_id").unwrap();
        assert_eq!(table.lookup(column, "x-1"), Some(vec![0, 1]));
        assert!(table.update(&one, [("correlation_id", "x-2")], "agent"));
        assert_eq!(table.lookup(column, "x-1"), Some(vec![1]));
        assert_eq!(table.get(table.find("u_x", "7").unwrap(), "sys_updated_by"), "agent");
        assert!(table.delete(&two));
        assert_eq!(table.lookup(column, "x-1"), Some(vec![]));
        assert!(!table.delete(&two) && !table.update(&two, [], "agent"));
    }

    #[test]
    fn system_fields_are_not_settable_and_texts_are_cut() {
        let mut table = cases();
        let long = "ä".repeat(200);
        let sys_id =
            table.insert([("sys_id", "mine"), ("short_description", &long), ("comments", "hi")], "hub");
        let row = table.row(&sys_id).unwrap();
        assert_eq!(table.get(row, "short_description").chars().count(), 160);
        assert_eq!(table.get(row, "comments"), "");
        assert_eq!(table.get(row, "state"), "1");
        assert_eq!(table.get(row, "sys_created_by"), "hub");
    }
}
