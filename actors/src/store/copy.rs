//! The copy of an embedded database into one on a server.
//!
//! It runs over columns as it finds them: one that a migration adds is copied without a word here. A table
//! must be named in [`tables`], which a test demands.

pub(super) mod rows;
pub(super) mod source;
pub(super) mod tables;
mod target;

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use self::rows::{Cell, Row, Tally};
use self::source::Source;
use self::tables::{MARKS, TABLES, Table};
use self::target::Target;
use super::{Db, StoreError};
use crate::copy::{Compared, Content, CopyError, Event, Step};

/// How many rows are read at once where nothing is written.
const READ_AT_ONCE: i64 = 5000;

/// All tables with what the source has in them.
type Tallies = Vec<(&'static Table, Tally)>;

/// What the target turned out to be.
enum Standing {
    /// Without any data.
    Empty,
    /// With some rows of the source as it is now, and all that stand before them.
    Partial,
    /// With an unfinished copy of something else.
    Obsolete,
    /// With everything, and never worked on.
    Complete,
}

/// A copy under way.
struct Copying<'a> {
    source: Source,
    target: Target,
    tell: &'a mut (dyn FnMut(Event) + 'a),
}

/// Refuses a database in which a copy was left unfinished.
pub(crate) async fn refuse_unfinished(conn: &mut PgConnection) -> Result<(), StoreError> {
    match target::mark(conn).await? {
        Some(_) => Err(StoreError::HalfCopied),
        None => Ok(()),
    }
}

/// Copies everything, `batch` rows a transaction. See [`crate::copy::copy_database`].
pub(crate) async fn copy(
    from: &str,
    to: &str,
    batch: i64,
    tell: &mut dyn FnMut(Event),
) -> Result<Vec<Compared>, CopyError> {
    let source = Source::open(from).await?;
    let target = Target::open(to).await?;
    let mut copying = Copying { source, target, tell };
    let compared = copying.run(batch).await?;
    if compared.iter().all(|table| table.content == Content::Same) {
        copying.source.leave_moved().await?;
    } else {
        copying.source.close().await?;
    }
    Ok(compared)
}

/// Lets an embedded database be served again that was moved. Whether it was.
pub(crate) async fn reopen(url: &str) -> Result<bool, CopyError> {
    Source::open(url).await?.reopen().await
}

/// Refuses an embedded database that was moved.
pub(crate) async fn refuse_moved(db: &Db) -> Result<(), StoreError> {
    match db {
        Db::Sqlite(db) => source::refuse_moved(db).await,
        Db::Postgres(_) => Ok(()),
    }
}

impl Copying<'_> {
    async fn run(&mut self, batch: i64) -> Result<Vec<Compared>, CopyError> {
        let wanted = self.tally_source().await?;
        let fingerprint = fingerprint(&wanted);
        match self.stand(&wanted, fingerprint).await? {
            Standing::Complete => {
                (self.tell)(Event::WasComplete);
                return Ok(wanted.iter().map(|(table, tally)| compare(table, tally, tally)).collect());
            }
            Standing::Empty => self.target.begin(fingerprint).await?,
            Standing::Partial => (self.tell)(Event::GoesOn),
            Standing::Obsolete => {
                (self.tell)(Event::BeginsAnew);
                self.target.begin_anew(fingerprint).await?;
            }
        }
        // Whoever came before the mark stood is seen now; whoever comes later sees the mark.
        self.target.refuse_company().await?;
        for (table, tally) in wanted.iter().filter(|(table, _)| table.name != MARKS.name) {
            self.copy_table(table, fingerprint, batch, tally.n_rows).await?;
        }
        self.finish(&wanted, fingerprint).await
    }

    async fn tally_source(&mut self) -> Result<Tallies, CopyError> {
        let mut tallies = Tallies::new();
        for table in TABLES.iter().chain([&MARKS]) {
            let mut tally = Tally::default();
            let mut after = table.before_all();
            loop {
                let rows = self.source.next_page(table, &mut after, READ_AT_ONCE).await?;
                if rows.is_empty() {
                    break;
                }
                tally.add(&rows);
                self.progress(Step::Reading, table, tally.n_rows, 0);
            }
            self.source.refuse_hidden_rows(table, tally.n_rows).await?;
            tallies.push((table, tally));
        }
        Ok(tallies)
    }

    async fn tally_target(&mut self, table: &Table, n_all: u64) -> Result<Tally, CopyError> {
        let mut tally = Tally::default();
        let mut after = table.before_all();
        loop {
            let rows = self.target.next_page(table, &mut after, READ_AT_ONCE).await?;
            if rows.is_empty() {
                return Ok(tally);
            }
            tally.add(&rows);
            self.progress(Step::Comparing, table, tally.n_rows, n_all);
        }
    }

    async fn stand(&mut self, wanted: &Tallies, fingerprint: i64) -> Result<Standing, CopyError> {
        let mark = self.target.mark().await?;
        if mark == Some(fingerprint) {
            return Ok(Standing::Partial);
        }
        self.refuse_foreign_users(mark.is_some()).await?;
        if mark.is_some() {
            return Ok(Standing::Obsolete);
        }
        let mut n_rows = 0;
        for table in &TABLES {
            n_rows += self.target.count(table).await?;
        }
        if n_rows == 0 {
            return Ok(Standing::Empty);
        }
        for (table, tally) in wanted {
            if self.tally_target(table, tally.n_rows).await? != *tally {
                return Err(CopyError::Diverged(table.name));
            }
        }
        Ok(Standing::Complete)
    }

    /// Refuses a target of others. Users of an unfinished copy may have been deleted in the source since: it is
    /// one of others when none of its users is known here.
    async fn refuse_foreign_users(&mut self, is_unfinished: bool) -> Result<(), CopyError> {
        let users = &TABLES[0];
        let keys_of = |rows: &[Row]| -> Result<Vec<Vec<Cell>>, StoreError> {
            rows.iter().map(|row| users.key_of(row)).collect()
        };
        let mut known: HashSet<Vec<Cell>> = HashSet::new();
        let mut after = users.before_all();
        loop {
            let rows = self.source.next_page(users, &mut after, READ_AT_ONCE).await?;
            if rows.is_empty() {
                break;
            }
            known.extend(keys_of(&rows).map_err(CopyError::Source)?);
        }
        let (mut n_foreign, mut n_known) = (0, 0);
        let mut after = users.before_all();
        loop {
            let rows = self.target.next_page(users, &mut after, READ_AT_ONCE).await?;
            if rows.is_empty() {
                break;
            }
            let keys = keys_of(&rows).map_err(CopyError::Target)?;
            let n_known_here = keys.iter().filter(|key| known.contains(*key)).count();
            n_known += n_known_here;
            n_foreign += keys.len() - n_known_here;
        }
        let is_ours = n_foreign == 0 || (is_unfinished && n_known > 0);
        if is_ours { Ok(()) } else { Err(CopyError::ForeignUsers(n_foreign)) }
    }

    /// Copies what stands behind the greatest key that arrived: each transaction added the next rows in order.
    async fn copy_table(
        &mut self,
        table: &Table,
        fingerprint: i64,
        batch: i64,
        n_all: u64,
    ) -> Result<(), CopyError> {
        let mut n_rows = self.target.count(table).await?;
        let mut after = self.target.last_key(table).await?.unwrap_or_else(|| table.before_all());
        loop {
            let rows = self.source.next_page(table, &mut after, batch).await?;
            if rows.is_empty() {
                return Ok(());
            }
            self.target.add(table, &rows, fingerprint).await?;
            n_rows += rows.len() as u64;
            self.progress(Step::Copying, table, n_rows, n_all);
        }
    }

    /// Compares everything, and takes the mark away if all is the same.
    async fn finish(&mut self, wanted: &Tallies, fingerprint: i64) -> Result<Vec<Compared>, CopyError> {
        let mut compared = Vec::with_capacity(wanted.len());
        for (table, expected) in wanted {
            let is_marks = table.name == MARKS.name;
            if is_marks && compared.iter().all(|table: &Compared| table.content == Content::Same) {
                let marks = self.source.next_page(table, &mut table.before_all(), READ_AT_ONCE).await?;
                self.target.finish(&marks, fingerprint).await?;
            }
            let arrived = self.tally_target(table, expected.n_rows).await?;
            compared.push(compare(table, expected, &arrived));
        }
        Ok(compared)
    }

    fn progress(&mut self, step: Step, table: &Table, n_rows: u64, n_all: u64) {
        (self.tell)(Event::Progress { step, table: table.name, n_rows, n_all });
    }
}

/// By which the source is known again: any change of any row makes another one.
fn fingerprint(tallies: &Tallies) -> i64 {
    let mut hash = Sha256::new();
    for (table, tally) in tallies {
        hash.update(table.name.as_bytes());
        hash.update(tally.to_bytes());
    }
    let mut first = [0_u8; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    i64::from_le_bytes(first)
}

fn compare(table: &Table, source: &Tally, target: &Tally) -> Compared {
    let content = if source == target { Content::Same } else { Content::Different };
    Compared { table: table.name, source: source.n_rows, target: target.n_rows, content }
}
