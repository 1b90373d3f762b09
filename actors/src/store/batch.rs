//! What a commit writes of the frequent kinds: new deliveries, intents and outcomes, each kind as one JSON
//! parameter.
//!
//! `SQLite` runs all statements of a batch, and the transaction around them, as one command: the thread that
//! owns the connection is called once, whatever the batch holds. PostgreSQL gets a statement for each kind.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, PgConnection, Row, SqliteConnection};

use super::conversations::{self, Seen};
use super::deliveries::{self, NewDelivery, to_json};
use super::lanes::{self, Begin, Settle};
use super::{Conn, Db, Sql, StoreError, shards};
use crate::cluster::leases::Lease;

/// Rows of one commit.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    /// Who writes, when several replicas do: intents and outcomes count only under a lease that it holds.
    pub(crate) replica: Option<&'a str>,
    pub(crate) news: Vec<&'a NewDelivery>,
    pub(crate) begins: Vec<&'a Begin>,
    pub(crate) settles: Vec<&'a Settle>,
}

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// By the id of a delivery that was added: how many are pending in its lane now, and whose lane that is.
    pub(crate) added: HashMap<String, (i64, String)>,
    /// Deliveries whose intent stands.
    pub(crate) begun: HashSet<String>,
    /// Deliveries whose outcome stands.
    pub(crate) settled: HashSet<String>,
}

/// A batch as parameters, in this order.
struct Parameters {
    news: String,
    begins: String,
    settles: String,
    seen: String,
}

/// What `SQLite` runs for a batch: each statement with the parameter that takes the place of its `$1`. The
/// last column of those that give a row is the answer.
const SCRIPT: [(Sql, &str); 11] = [
    (deliveries::ADD, "$1"),
    (deliveries::ADD_TO_LANES, "$1"),
    (deliveries::ADDED, "$1"),
    (lanes::BEGIN, "$2"),
    (lanes::BEGUN, "$2"),
    (lanes::ADD_ATTEMPTS, "$3"),
    (lanes::SETTLE_LANES, "$3"),
    (lanes::SETTLE, "$3"),
    (lanes::SETTLED, "$3"),
    (conversations::SAVE, "$4"),
    (conversations::SAVE_CASES, "$4"),
];

static INSIDE: LazyLock<String> = LazyLock::new(|| {
    let statements = SCRIPT.map(|(sql, parameter)| sql.sqlite.replace("$1", parameter));
    statements.join(";\n")
});
static WHOLE: LazyLock<String> = LazyLock::new(|| format!("BEGIN IMMEDIATE;\n{};\nCOMMIT", *INSIDE));

impl Batch<'_> {
    /// Writes the batch in a transaction of its own.
    ///
    /// It is not cut short by its caller giving up: whoever calls it must poll it to its end.
    pub(crate) async fn commit(&self, db: &Db) -> Result<Written, StoreError> {
        match db {
            Db::Sqlite(db) => {
                let mut conn = db.writes.acquire().await?;
                let written = run_script(&mut conn, &WHOLE, self.parameters()?).await;
                if written.is_err() {
                    // After some errors SQLite has rolled back by itself, and refuses to do it again.
                    let rolled_back = sqlx::query("ROLLBACK").execute(&mut *conn).await;
                    if rolled_back.is_err_and(|error| error.as_database_error().is_none()) {
                        drop(conn.close().await);
                    }
                }
                written
            }
            Db::Postgres(_) => {
                let mut transaction = db.begin().await?;
                let written = self.write(&mut transaction.conn()).await?;
                transaction.commit().await?;
                Ok(written)
            }
        }
    }

    /// Writes the batch inside a transaction that its caller ends.
    pub(crate) async fn write(&self, conn: &mut Conn<'_>) -> Result<Written, StoreError> {
        let conn = match conn {
            Conn::Sqlite(conn) => return run_script(conn, &INSIDE, self.parameters()?).await,
            Conn::Postgres(conn) => conn,
        };
        match self.replica {
            Some(replica) => self.under_held_leases(conn, replica).await?.write_postgres(conn).await,
            None => self.write_postgres(conn).await,
        }
    }

    /// What of the batch is written under a lease that the replica holds, and goes on holding until the
    /// transaction ends. New deliveries need none.
    async fn under_held_leases(&self, conn: &mut PgConnection, replica: &str) -> Result<Self, StoreError> {
        let of_begins = self.begins.iter().map(|begin| begin.lease);
        let leases = of_begins.chain(self.settles.iter().map(|settle| settle.lease));
        let held = shards::hold(conn, replica, leases).await?;
        let is_held = |lease: &Lease| held.contains(&(lease.shard, lease.epoch));
        Ok(Self {
            replica: self.replica,
            news: self.news.clone(),
            begins: self.begins.iter().copied().filter(|begin| is_held(&begin.lease)).collect(),
            settles: self.settles.iter().copied().filter(|settle| is_held(&settle.lease)).collect(),
        })
    }

    async fn write_postgres(&self, conn: &mut PgConnection) -> Result<Written, StoreError> {
        let parameters = self.parameters()?;
        let mut written = Written::default();
        if !self.news.is_empty() && !self.settles.is_empty() {
            // Two commits that take the same lanes, one of them for what is new and the other for what has ended,
            // must not wait for each other.
            let of_news = self.news.iter().map(|new| new.lane_id.as_str());
            let lanes: Vec<&str> =
                of_news.chain(self.settles.iter().map(|settle| settle.lane_id.as_str())).collect();
            sqlx::query(lanes::LOCK.postgres).bind(to_json(&lanes)?).execute(&mut *conn).await?;
        }
        if !self.news.is_empty() {
            written.added = added_of(&ask_postgres(conn, deliveries::ADMIT, &parameters.news).await?)?;
        }
        if !self.begins.is_empty() {
            written.begun = read(&ask_postgres(conn, lanes::BEGIN, &parameters.begins).await?)?;
        }
        if !self.settles.is_empty() {
            written.settled = read(&ask_postgres(conn, lanes::SETTLE, &parameters.settles).await?)?;
        }
        let seen = self.seen();
        if !seen.is_empty() {
            sqlx::query(conversations::SAVE.postgres).bind(&parameters.seen).execute(&mut *conn).await?;
        }
        if seen.iter().any(|seen| seen.conversation.is_case_new) {
            let saving = sqlx::query(conversations::SAVE_CASES.postgres).bind(&parameters.seen);
            saving.execute(&mut *conn).await?;
        }
        Ok(written)
    }

    fn seen(&self) -> Vec<Seen<'_>> {
        let of_begins = self.begins.iter().filter_map(|begin| {
            let conversation = begin.conversation.as_ref()?;
            Some(Seen { delivery_id: &begin.id, fence: begin.mark, conversation })
        });
        let of_settles = self.settles.iter().filter_map(|settle| {
            let conversation = settle.conversation.as_ref()?;
            Some(Seen { delivery_id: &settle.id, fence: settle.end_mark, conversation })
        });
        of_begins.chain(of_settles).collect()
    }

    fn parameters(&self) -> Result<Parameters, StoreError> {
        Ok(Parameters {
            news: to_json(&self.news)?,
            begins: to_json(&self.begins)?,
            settles: to_json(&self.settles)?,
            seen: to_json(&self.seen())?,
        })
    }
}

async fn run_script(
    conn: &mut SqliteConnection,
    script: &'static LazyLock<String>,
    parameters: Parameters,
) -> Result<Written, StoreError> {
    let script = sqlx::query(AssertSqlSafe(script.as_str()));
    let Parameters { news, begins, settles, seen } = parameters;
    let answers = script.bind(news).bind(begins).bind(settles).bind(seen).fetch_all(conn).await?;
    let [added, begun, settled] = answers.as_slice() else {
        return Err(StoreError::Refused(format!("a batch gave {} answers instead of 3", answers.len())));
    };
    Ok(Written {
        added: added_of(added.try_get(0)?)?,
        begun: read(begun.try_get(0)?)?,
        settled: read(settled.try_get(0)?)?,
    })
}

async fn ask_postgres(conn: &mut PgConnection, sql: Sql, rows: &str) -> Result<String, StoreError> {
    Ok(sqlx::query_scalar(sql.postgres).bind(rows).fetch_one(conn).await?)
}

fn added_of(json: &str) -> Result<HashMap<String, (i64, String)>, StoreError> {
    Ok(read::<Vec<(String, (i64, String))>>(json)?.into_iter().collect())
}

pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Refused(format!("a statement's answer: {error}")))
}
