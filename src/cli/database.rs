//! `casewire database …`

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use casewire_actors::copy::{Compared, Content, Event, Step, copy_database, reopen_database};

use super::output::{OutputFormat, print_rows};
use super::{CopyDatabase, Database};
use crate::hub_settings::{KeyPlace, key_place};
use crate::settings::Settings;

/// How far apart two lines of progress are.
const BETWEEN_LINES: Duration = Duration::from_secs(2);

/// Runs the command.
pub(super) async fn run(settings: &Settings, command: &Database) -> Result<()> {
    match command {
        Database::Copy(asked) => copy(settings, asked).await,
        Database::Reopen => reopen(settings).await,
    }
}

async fn reopen(settings: &Settings) -> Result<()> {
    let was_moved = reopen_database(settings.database.url.secret()).await?;
    let told = if was_moved { "a hub may serve it again" } else { "it was not moved: nothing was changed" };
    writeln!(io::stdout().lock(), "{told}")?;
    Ok(())
}

async fn copy(settings: &Settings, asked: &CopyDatabase) -> Result<()> {
    let mut teller = Teller { last_line: Instant::now() };
    let from = settings.database.url.secret();
    let compared = copy_database(from, asked.to.secret(), |event| teller.tell(event)).await?;
    print_rows(asked.listing.output, &compared)?;
    refuse_differences(&compared)?;
    print_advice(asked.listing.output, &key_place(settings), settings.secrets.previous_keys.len())?;
    Ok(())
}

fn refuse_differences(compared: &[Compared]) -> Result<()> {
    let is_different = |table: &&Compared| table.content == Content::Different;
    let differing: Vec<&str> = compared.iter().filter(is_different).map(|table| table.table).collect();
    if !differing.is_empty() {
        bail!(
            "not the same on both sides: {}; no hub starts on the target; copy into an empty database",
            differing.join(", ")
        );
    }
    Ok(())
}

/// Tells what is left to do: beside a table on stdout, on stderr where stdout is for a machine.
fn print_advice(output: OutputFormat, key: &KeyPlace, n_previous_keys: usize) -> io::Result<()> {
    let mut out: Box<dyn io::Write> = match output {
        OutputFormat::Table => Box::new(io::stdout().lock()),
        OutputFormat::Json => Box::new(io::stderr().lock()),
    };
    writeln!(out, "everything is there. What is left to do:")?;
    for line in advice(key, n_previous_keys) {
        writeln!(out, "- {line}")?;
    }
    out.flush()
}

fn advice(key: &KeyPlace, n_previous_keys: usize) -> Vec<String> {
    let mut key = match key {
        KeyPlace::Settings => {
            "the stored credentials are sealed with secrets.key: the new hub needs the same".to_owned()
        }
        KeyPlace::File(file) | KeyPlace::Beside(file) => format!(
            "the stored credentials are sealed with the key in {}: the new hub needs that file (secrets.key_file) or its content (secrets.key), and cannot open them without",
            file.display()
        ),
        KeyPlace::Nowhere => "the new hub needs the key that sealed the stored credentials".to_owned(),
    };
    if n_previous_keys > 0 {
        key.push_str("; it needs secrets.previous_keys too");
    }
    vec![
        key,
        "point database.url of the new hub at the target, and run its doctor before it serves".to_owned(),
        "keep the old database as a backup: no hub starts on it any more (`casewire database reopen` would lift that), for it would deliver a second time what waits in both"
            .to_owned(),
    ]
}

/// Tells on stderr what a long copy is at.
struct Teller {
    last_line: Instant,
}

impl Teller {
    fn tell(&mut self, event: Event) {
        match event {
            Event::GoesOn => eprintln!("going on where an earlier copy was interrupted"),
            Event::BeginsAnew => {
                eprintln!("the source has changed since a copy was interrupted: beginning anew");
            }
            Event::WasComplete => eprintln!("the target held everything already: nothing was written"),
            Event::Progress { step, table, n_rows, n_all } if self.last_line.elapsed() >= BETWEEN_LINES => {
                self.last_line = Instant::now();
                eprintln!("{}", line(step, table, n_rows, n_all));
            }
            Event::Progress { .. } => {}
        }
    }
}

fn line(step: Step, table: &str, n_rows: u64, n_all: u64) -> String {
    let doing = match step {
        Step::Reading => "reading",
        Step::Copying => "copying",
        Step::Comparing => "comparing",
    };
    match n_all {
        0 => format!("{doing} {table}: {n_rows} rows"),
        n_all => format!("{doing} {table}: {n_rows} of {n_all} rows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_the_key() {
        let told = |key: &KeyPlace, n| advice(key, n).join("\n");
        assert!(
            told(&KeyPlace::Beside("a/casewire.db.key".into()), 0).contains("the key in a/casewire.db.key")
        );
        assert!(
            told(&KeyPlace::Settings, 1)
                .contains("secrets.key: the new hub needs the same; it needs secrets.previous_keys")
        );
    }

    #[test]
    fn only_the_same_on_both_sides_is_good() {
        let table = |table, content| Compared { table, source: 2, target: 2, content };
        assert!(refuse_differences(&[table("users", Content::Same)]).is_ok());
        let both = [table("users", Content::Same), table("lanes", Content::Different)];
        let refused = refuse_differences(&both).unwrap_err().to_string();
        assert!(refused.contains("both sides: lanes;"), "{refused}");
    }

    #[test]
    fn progress_tells_what_is_known() {
        assert_eq!(line(Step::Reading, "users", 5, 0), "reading users: 5 rows");
        assert_eq!(line(Step::Copying, "users", 5, 10), "copying users: 5 of 10 rows");
    }
}
