//! Rows of any table, the same from either database, and the sum by which two tables are compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row as _, TypeInfo, ValueRef};

use crate::store::StoreError;

/// A value. Booleans are 0 and 1, as the embedded database keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::store) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row by the names of its columns.
pub(in crate::store) type Row = BTreeMap<String, Cell>;

impl Serialize for Cell {
    /// As PostgreSQL reads values out of JSON: bytes in hex after `\x`, booleans as 0 and 1.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Integer(n) => serializer.serialize_i64(*n),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => {
                let mut hex = String::with_capacity(2 + 2 * bytes.len());
                hex.push_str("\\x");
                for byte in bytes {
                    // Writing to a string cannot fail.
                    let _ = write!(hex, "{byte:02x}");
                }
                serializer.serialize_str(&hex)
            }
        }
    }
}

/// What a driver gives as a row.
pub(in crate::store) trait Read {
    /// The row, or an error that names a column whose type is none of ours.
    fn read(&self) -> Result<Row, StoreError>;
}

impl Read for SqliteRow {
    fn read(&self) -> Result<Row, StoreError> {
        let mut row = Row::new();
        for (nth, column) in self.columns().iter().enumerate() {
            let value = self.try_get_raw(nth)?;
            let type_info = value.type_info();
            let cell = match type_info.name() {
                _ if value.is_null() => Cell::Null,
                "INTEGER" => Cell::Integer(self.try_get(nth)?),
                "TEXT" => Cell::Text(self.try_get(nth)?),
                "BLOB" => Cell::Bytes(self.try_get(nth)?),
                other => return Err(unknown_type(column.name(), other)),
            };
            row.insert(column.name().to_owned(), cell);
        }
        Ok(row)
    }
}

impl Read for PgRow {
    fn read(&self) -> Result<Row, StoreError> {
        let mut row = Row::new();
        for (nth, column) in self.columns().iter().enumerate() {
            let cell = match column.type_info().name() {
                _ if self.try_get_raw(nth)?.is_null() => Cell::Null,
                "INT8" => Cell::Integer(self.try_get(nth)?),
                "BOOL" => Cell::Integer(i64::from(self.try_get::<bool, _>(nth)?)),
                "TEXT" => Cell::Text(self.try_get(nth)?),
                "BYTEA" => Cell::Bytes(self.try_get(nth)?),
                other => return Err(unknown_type(column.name(), other)),
            };
            row.insert(column.name().to_owned(), cell);
        }
        Ok(row)
    }
}

fn unknown_type(column: &str, type_name: &str) -> StoreError {
    StoreError::Unfit(format!("the column {column} is of the type {type_name}, which is not copied"))
}

/// How many rows, and the sum of their digests: the same for the same rows, in whatever order they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Tally {
    pub(in crate::store) n_rows: u64,
    sum: [u128; 2],
}

impl Tally {
    /// Counts some rows in.
    pub(in crate::store) fn add(&mut self, rows: &[Row]) {
        for row in rows {
            let digest = digest(row);
            let (left, right) = digest.split_at(16);
            for (sum, half) in self.sum.iter_mut().zip([left, right]) {
                let mut bytes = [0_u8; 16];
                bytes.copy_from_slice(half);
                *sum = sum.wrapping_add(u128::from_le_bytes(bytes));
            }
            self.n_rows += 1;
        }
    }

    /// All of it in bytes.
    pub(in crate::store) fn to_bytes(self) -> Vec<u8> {
        let [left, right] = self.sum.map(u128::to_le_bytes);
        [&self.n_rows.to_le_bytes()[..], &left, &right].concat()
    }
}

/// SHA-256 over names and values, each with its kind and length before it.
fn digest(row: &Row) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (name, cell) in row {
        let number;
        let (kind, bytes): (u8, &[u8]) = match cell {
            Cell::Null => (0, &[]),
            Cell::Integer(n) => {
                number = n.to_le_bytes();
                (1, &number)
            }
            Cell::Text(text) => (2, text.as_bytes()),
            Cell::Bytes(bytes) => (3, bytes),
        };
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, Cell)]) -> Row {
        cells.iter().map(|(name, cell)| ((*name).to_owned(), cell.clone())).collect()
    }

    #[test]
    fn a_tally_tells_any_difference_but_order() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let one = row(&[("id", text("1")), ("n", Cell::Integer(0))]);
        let two = row(&[("id", text("2")), ("n", Cell::Null)]);
        let tally = |rows: &[&Row]| {
            let mut tally = Tally::default();
            for row in rows {
                tally.add(std::slice::from_ref(*row));
            }
            tally
        };
        let both = tally(&[&one, &two]);
        assert_eq!(both, tally(&[&two, &one]));
        for other in [
            row(&[("id", text("2")), ("n", Cell::Integer(0))]),
            row(&[("id", text("2")), ("n", text(""))]),
            row(&[("id", text("2")), ("n", Cell::Bytes(Vec::new()))]),
            row(&[("id", text("")), ("n", text("2"))]),
            row(&[("id", text("2")), ("m", Cell::Null)]),
            one.clone(),
        ] {
            assert_ne!(both, tally(&[&one, &other]), "{other:?}");
        }
    }

    #[test]
    fn cells_are_written_as_a_server_reads_them() {
        let row = row(&[
            ("bytes", Cell::Bytes(vec![0, 0xab])),
            ("n", Cell::Integer(i64::MIN)),
            ("none", Cell::Null),
            ("text", Cell::Text("\"ü\"".to_owned())),
        ]);
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"bytes":"\\x00ab","n":-9223372036854775808,"none":null,"text":"\"ü\""}"#
        );
    }
}
