//! What commands write on stdout: aligned tables and lines for people, JSON for machines.

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};

/// How a list is printed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// Aligned columns
    #[default]
    Table,
    /// A JSON array
    Json,
}

/// Prints rows that serialize to objects on stdout.
///
/// A reader that went away (`casewire … | head`) is no error.
pub fn print_rows<T: Serialize>(format: OutputFormat, rows: &[T]) -> io::Result<()> {
    unless_reader_left(write_rows(&mut io::stdout().lock(), format, rows))
}

/// Prints a value as JSON on stdout. A reader that went away is no error.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    unless_reader_left(write_json(&mut io::stdout().lock(), value))
}

/// Prints a line on stdout. A reader that went away is no error.
pub fn print_line(line: &str) -> io::Result<()> {
    unless_reader_left(writeln!(io::stdout().lock(), "{line}"))
}

fn unless_reader_left(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes rows that serialize to objects: the columns are their keys, in the order of first sight.
pub fn write_rows<T: Serialize>(out: &mut impl Write, format: OutputFormat, rows: &[T]) -> io::Result<()> {
    match format {
        OutputFormat::Json => write_json(out, &rows),
        OutputFormat::Table => {
            write_table(out, rows)?;
            out.flush()
        }
    }
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    out.flush()
}

/// Of a record what is listed: these fields for people, everything for machines.
pub fn columns(format: OutputFormat, record: Value, names: &[&str]) -> Value {
    match (format, record) {
        (OutputFormat::Table, Value::Object(mut fields)) => {
            let column = |name: &&str| ((*name).to_owned(), fields.remove(*name).unwrap_or_default());
            Value::Object(names.iter().map(column).collect())
        }
        (_, record) => record,
    }
}

fn write_table<T: Serialize>(out: &mut impl Write, rows: &[T]) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "nothing to list");
    }
    let mut objects = Vec::with_capacity(rows.len());
    for row in rows {
        objects.push(object(serde_json::to_value(row)?));
    }
    let mut columns: Vec<&String> = Vec::new();
    for object in &objects {
        for key in object.keys() {
            if !columns.contains(&key) {
                columns.push(key);
            }
        }
    }
    let mut lines = vec![columns.iter().map(|name| name.replace('_', " ").to_uppercase()).collect()];
    for object in &objects {
        lines.push(columns.iter().map(|name| cell(object.get(*name))).collect());
    }
    write_aligned(out, &lines)
}

fn object(row: Value) -> Map<String, Value> {
    match row {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

fn write_aligned(out: &mut impl Write, lines: &[Vec<String>]) -> io::Result<()> {
    let n_columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns)
        .map(|column| lines.iter().map(|line| width(&line[column])).max().unwrap_or(0))
        .collect();
    for line in lines {
        let mut text = String::new();
        for (cell, column_width) in line.iter().zip(&widths) {
            text.push_str(cell);
            let n_blanks = column_width - width(cell) + 2;
            text.extend(std::iter::repeat_n(' ', n_blanks));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => one_line(text),
        Some(other) => one_line(&other.to_string()),
    }
}

/// A text on one line. What others wrote must not steer the terminal, so control characters and those that
/// turn the direction of writing are replaced.
pub fn one_line(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// How many columns of a terminal a text takes, near enough to align common scripts and emoji.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        // Combining marks, zero-width characters, variation selectors, skin tones.
        0x0300..=0x036F
        | 0x0483..=0x0489
        | 0x0591..=0x05BD
        | 0x064B..=0x065F
        | 0x1AB0..=0x1AFF
        | 0x1DC0..=0x1DFF
        | 0x200B..=0x200F
        | 0x20D0..=0x20FF
        | 0xFE00..=0xFE0F
        | 0xFE20..=0xFE2F
        | 0xFEFF
        | 0x1F3FB..=0x1F3FF
        | 0xE0100..=0xE01EF => 0,
        // Hangul, CJK, kana, full-width forms, emoji.
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F6FF
        | 0x1F900..=0x1F9FF
        | 0x1FA70..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(format: OutputFormat, rows: &[Value]) -> String {
        let mut out = Vec::new();
        write_rows(&mut out, format, rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_in_any_script() {
        let rows = [
            json!({"id": 1, "screen_name": "müller", "last_event_at": null}),
            json!({"id": 22, "screen_name": "東京", "extra": [1, "x"]}),
            json!({"id": 3, "screen_name": "e\u{301}te\u{301}😀"}),
        ];
        assert_eq!(
            written(OutputFormat::Table, &rows),
            "ID  SCREEN NAME  LAST EVENT AT  EXTRA\n\
             1   müller       -              -\n\
             22  東京         -              [1,\"x\"]\n\
             3   e\u{301}te\u{301}😀        -              -\n"
        );
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        let rows = [json!({"detail": "a\u{1b}[31m\nb\u{202e}c\u{9b}d"})];
        assert_eq!(written(OutputFormat::Table, &rows), "DETAIL\na [31m b c d\n");
    }

    #[test]
    fn people_get_some_columns_and_machines_all() {
        let record = json!({"b": 2, "a": 1, "c": 3});
        let listed = columns(OutputFormat::Table, record.clone(), &["a", "b", "d"]);
        assert_eq!(listed.to_string(), r#"{"a":1,"b":2,"d":null}"#);
        assert_eq!(columns(OutputFormat::Json, record.clone(), &["a"]), record);
    }

    #[test]
    fn empty_lists_are_told_and_json_is_always_an_array() {
        assert_eq!(written(OutputFormat::Table, &[]), "nothing to list\n");
        assert_eq!(written(OutputFormat::Json, &[]), "[]\n");
        let printed = written(OutputFormat::Json, &[json!({"b": 1, "a": "ü"})]);
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), json!([{"b": 1, "a": "ü"}]));
        assert_eq!(written(OutputFormat::Table, &[json!(5)]), "VALUE\n5\n");
    }
}
