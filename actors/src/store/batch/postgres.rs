//! A batch on a server: one call of a function that stands in the database.
//!
//! What a commit takes is mostly the way there and back of each of its statements, while everybody else waits for
//! it. The function is made together with the schema. It is named by what it does, so that replicas of two
//! versions each call their own.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{Batch, Written, added_of, read};
use crate::domain::lease::Lease;
use crate::store::deliveries::{self, to_json};
use crate::store::shards::{self, Held};
use crate::store::{StoreError, conversations, lanes, short_digest};

const IS_DEFINED: &str = "SELECT COUNT(*) FROM pg_proc WHERE proname = $1 AND pronamespace = CAST(current_schema() AS REGNAMESPACE)";

/// The parameters are arrays in JSON, but for the first, and what one is for is left out when it is empty. When a
/// lease does not hold any more, nothing is written, and `_held` tells which ones do.
static SIGNATURE_AND_BODY: LazyLock<String> = LazyLock::new(|| {
    let hold = shards::HOLD.postgres.replace("$1", "_leases").replace("$2", "_replica");
    let lock = lanes::LOCK.postgres.replace("$1", "_lanes");
    let admit = deliveries::ADMIT.postgres.replace("$1", "_news");
    let begin = lanes::BEGIN.postgres.replace("$1", "_begins");
    let settle = lanes::SETTLE.postgres.replace("$1", "_settles");
    let save = conversations::SAVE.postgres.replace("$1", "_seen");
    let save_cases = conversations::SAVE_CASES.postgres.replace("$1", "_cases");
    format!(
        "(_replica TEXT, _leases TEXT, _lanes TEXT, _news TEXT, _begins TEXT, _settles TEXT, _seen TEXT, _cases TEXT,
            OUT _held TEXT, OUT _added TEXT, OUT _begun TEXT, OUT _settled TEXT) LANGUAGE plpgsql AS $write$
        DECLARE _n_locked BIGINT;
        BEGIN
            IF _leases <> '[]' THEN
                {hold} INTO _held;
                IF json_array_length(CAST(_held AS JSON)) < json_array_length(CAST(_leases AS JSON)) THEN RETURN; END IF;
            END IF;
            IF _lanes <> '[]' THEN {lock} INTO _n_locked; END IF;
            IF _news <> '[]' THEN {admit} INTO _added; END IF;
            IF _begins <> '[]' THEN {begin} INTO _begun; END IF;
            IF _settles <> '[]' THEN {settle} INTO _settled; END IF;
            IF _seen <> '[]' THEN {save}; END IF;
            IF _cases <> '[]' THEN {save_cases}; END IF;
        END $write$"
    )
});

static NAME: LazyLock<String> =
    LazyLock::new(|| format!("write_batch_{}", short_digest(&SIGNATURE_AND_BODY)));

static CALL: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT _held, _added, _begun, _settled FROM {}($1, $2, $3, $4, $5, $6, $7, $8)", *NAME)
});

/// Makes the function. Of those of other versions the newest stays: replicas of the release before may be running.
pub(in crate::store) static DEFINITION: LazyLock<String> = LazyLock::new(|| {
    let (name, function) = (&*NAME, &*SIGNATURE_AND_BODY);
    format!(
        "CREATE OR REPLACE FUNCTION {name}{function};
        DO $sweep$ DECLARE _old REGPROCEDURE; BEGIN
            FOR _old IN SELECT oid FROM pg_proc WHERE proname LIKE 'write\\_batch\\_%' AND proname <> '{name}'
                AND pronamespace = CAST(current_schema() AS REGNAMESPACE) ORDER BY oid DESC OFFSET 1
            LOOP EXECUTE 'DROP FUNCTION ' || _old; END LOOP;
        END $sweep$"
    )
});

/// Whether the function of this version is there.
pub(in crate::store) async fn is_defined(conn: &mut PgConnection) -> Result<bool, StoreError> {
    let n_found: i64 = sqlx::query_scalar(IS_DEFINED).bind(NAME.as_str()).fetch_one(conn).await?;
    Ok(n_found > 0)
}

#[derive(FromRow)]
struct Answer {
    #[sqlx(rename = "_held")]
    held: Option<String>,
    #[sqlx(rename = "_added")]
    added: Option<String>,
    #[sqlx(rename = "_begun")]
    begun: Option<String>,
    #[sqlx(rename = "_settled")]
    settled: Option<String>,
}

/// Writes what of the batch is under a lease that its replica holds, and goes on holding until the transaction
/// ends. New deliveries need none.
pub(super) async fn write(batch: &Batch<'_>, conn: &mut PgConnection) -> Result<Written, StoreError> {
    let mut batch = batch.clone();
    loop {
        let leases = batch.leases();
        let answer = call(&batch, &leases, conn).await?;
        let held: Vec<Held> = if leases.is_empty() { Vec::new() } else { read_or_none(answer.held)? };
        if held.len() == leases.len() {
            return Ok(Written {
                added: answer.added.as_deref().map_or_else(|| Ok(HashMap::new()), added_of)?,
                begun: read_or_none(answer.begun)?,
                settled: read_or_none(answer.settled)?,
            });
        }
        batch.keep_under(&held);
    }
}

async fn call(batch: &Batch<'_>, leases: &[Held], conn: &mut PgConnection) -> Result<Answer, StoreError> {
    let seen = batch.seen();
    let cases: Vec<_> = seen.iter().filter(|seen| seen.conversation.is_case_new).collect();
    let calling = sqlx::query_as(AssertSqlSafe(CALL.as_str()))
        .bind(batch.replica.unwrap_or_default())
        .bind(to_json(&leases)?)
        .bind(to_json(&batch.contested_lanes())?)
        .bind(to_json(&batch.news)?)
        .bind(to_json(&batch.begins)?)
        .bind(to_json(&batch.settles)?)
        .bind(to_json(&seen)?)
        .bind(to_json(&cases)?);
    // Outside a transaction this is one: the answer is given when its end is known, not with the first row.
    Ok(calling.fetch_one(conn).await?)
}

fn read_or_none<T: DeserializeOwned + Default>(json: Option<String>) -> Result<T, StoreError> {
    json.map_or_else(|| Ok(T::default()), |json| read(&json))
}

impl Batch<'_> {
    /// The leases that it is written under, when several replicas write.
    fn leases(&self) -> Vec<Held> {
        let of_begins = self.begins.iter().map(|begin| begin.lease);
        let leases = of_begins.chain(self.settles.iter().map(|settle| settle.lease));
        let leases: BTreeSet<(i64, i64)> = leases.map(|lease| (lease.shard, lease.epoch)).collect();
        let held = leases.into_iter().map(|(id, epoch)| Held { id, epoch });
        if self.replica.is_some() { held.collect() } else { Vec::new() }
    }

    /// Keeps only what is under one of these.
    fn keep_under(&mut self, held: &[Held]) {
        let is_held = |lease: &Lease| held.contains(&Held { id: lease.shard, epoch: lease.epoch });
        self.begins.retain(|begin| is_held(&begin.lease));
        self.settles.retain(|settle| is_held(&settle.lease));
    }

    /// Two commits that take the same lanes, for what is new or for what has ended, must not wait for each other:
    /// each takes them first, in one order, unless there is only one to take.
    fn contested_lanes(&self) -> Vec<&str> {
        let of_news = self.news.iter().map(|new| new.lane_id.as_str());
        let of_settles = self.settles.iter().map(|settle| settle.lane_id.as_str());
        if self.news.is_empty() && self.settles.len() < 2 {
            return Vec::new();
        }
        of_news.chain(of_settles).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Db, suite};

    async fn functions(conn: &mut PgConnection) -> Vec<String> {
        let names = "SELECT CAST(proname AS TEXT) FROM pg_proc WHERE pronamespace = CAST(current_schema() AS REGNAMESPACE) ORDER BY oid";
        sqlx::query_scalar(names).fetch_all(conn).await.expect("names")
    }

    #[tokio::test]
    async fn the_release_before_keeps_its_function_and_those_before_it_do_not() {
        let Some(Db::Postgres(pool)) = suite::postgres().await else { return };
        let mut conn = pool.acquire().await.expect("a connection");
        let run = async |conn: &mut PgConnection, sql: String| {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.expect("it is done");
        };
        let now = NAME.clone();
        assert_eq!(functions(&mut conn).await, [now.as_str()]);
        run(&mut conn, format!("DROP FUNCTION {now}")).await;
        for older in ["write_batch_0000000a", "write_batch_0000000b"] {
            run(&mut conn, format!("CREATE FUNCTION {older}() RETURNS TEXT LANGUAGE sql AS 'SELECT 1'"))
                .await;
        }
        assert_eq!(is_defined(&mut conn).await, Ok(false));
        assert_eq!(Db::Postgres(pool.clone()).migrate().await, Ok(1), "it is behind by the function");
        assert_eq!(functions(&mut conn).await, ["write_batch_0000000b", &now]);
    }
}
