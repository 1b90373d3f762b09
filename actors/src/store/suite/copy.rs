//! What the copy onto a server promises. Its tests need a PostgreSQL server, but for those of the source.

use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::copy::{Compared, Content, CopyError, Event, Step};
use crate::store::copy::rows::{Cell, Row};
use crate::store::copy::tables::{ALL, LEFT_OUT, MARKS, TABLES, Table, next_page};
use crate::store::copy::{copy, refuse_moved, reopen};

/// Rows in every table, more in those that grow. Texts and keys that servers may sort or read in their own
/// way, the largest numbers, every byte, and as many columns set as empty.
const ROWS: [&str; 15] = [
    "INSERT INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5)
        SELECT CASE n % 2 WHEN 0 THEN 'u-' ELSE 'U' END || n, 'Ünï \"' || n || '\" \\n', 'k' || n, 'é\u{301}', '', '\\u0041', 'hash', n % 2, n > 2, 9223372036854775807 - n FROM n",
    "INSERT INTO tokens (id, user_id, digest, kind, name, created_at, expires_at, last_used_at)
        SELECT 't' || id, id, 'd' || id, 'session', '', -1, NULL, NULL FROM users
        UNION ALL SELECT 'T' || id, id, 'D' || id, 'api_key', 'ci', 1, 2, 3 FROM users",
    "INSERT INTO instances (id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, reopen_window_ms, status, status_detail, last_success_at, paused_until, created_at, version)
        SELECT 'i' || id, id, 'https://x', 'basic', 'a', 'c', x'00ff5c785c22', '20 per 1s', 4, 'auto', 't', '{\"a\": [1]}', 5, 'ok', '', 6, 7, 8, 2 FROM users
        UNION ALL SELECT 'I' || id, id, 'https://y', 'oauth', '', '', x'', '1 per 1s', 1, 'auto', 't', '{}', NULL, 'unchecked', '', NULL, NULL, 8, 1 FROM users",
    "INSERT INTO accounts (id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, subscribed, last_event_at, paused_until, created_at, version)
        SELECT 'a' || id, id, 'i' || id, 'x' || id, 's', x'0102', 'dm', '{}', 'ok', '', 1, 2, 3, 4, 5 FROM users
        UNION ALL SELECT 'A' || id, id, NULL, 'X' || id, 's', x'', 'dm', '{}', 'ok', '', NULL, NULL, NULL, 4, 1 FROM users
        UNION ALL SELECT 'b' || id, id, NULL, 'Y' || id, 's', x'', 'dm', '{}', 'ok', '', 0, NULL, NULL, 4, 1 FROM users",
    "INSERT INTO conversations (account_id, customer_id, handle, name, instance_id, customer_sys_id, case_sys_id, case_number, episode, case_open_at, last_post_id, last_channel)
        SELECT id, 'c', 'h', 'n', 'i', 's', 'k', 'CS1', 3, 4, '5', 'dm' FROM accounts
        UNION ALL SELECT id, 'C', NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL FROM accounts",
    "INSERT INTO cases (instance_id, sys_id, user_id, account_id, customer_id, customer_sys_id, number, open_at)
        SELECT 'i' || id, 's' || id, user_id, id, 'c', 'cs', 'CS1', 4 FROM accounts
        UNION ALL SELECT 'I' || id, 's' || id, user_id, 'gone', 'c', NULL, NULL, NULL FROM accounts",
    "INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at)
        SELECT 'l' || id, id, 'to_x', id, 2, 5 FROM accounts UNION ALL SELECT 'L' || id, id, 'to_servicenow', 'i', 0, NULL FROM accounts",
    "INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at, fence)
        SELECT 'd-' || id, 'to_x', 'dm', 'sending', user_id, id, instance_id, 'c', 'l' || id, 'k' || id, 's', 'f', '1', '{\"text\": \"a\\u0000\\\\\u{1f600}\"}', '{\"j\": \"\\\"\"}', 1, 2, 3, 4, 'e', 'd', 'm', 'c', 'n', 5, 6, 9007199254740993 FROM accounts
        UNION ALL SELECT 'D' || id, 'to_x', 'dm', 'delivered', user_id, id, NULL, 'c', 'L' || id, NULL, NULL, NULL, '2', NULL, NULL, NULL, 0, NULL, 4, NULL, NULL, NULL, NULL, NULL, 5, NULL, 0 FROM accounts",
    "INSERT INTO attempts (delivery_id, n, at, http_status, error_class, error_detail, duration_ms)
        SELECT id, 2, 1, 200, 'e', 'd', 9 FROM deliveries UNION ALL SELECT id, 10, 1, NULL, NULL, NULL, 9 FROM deliveries",
    "INSERT INTO replays (id, user_id, direction, instance_id, since, until, rate, n_total, n_done, n_skipped, cursor, due_at, state, created_at, ended_at)
        SELECT 'r' || id, id, 'to_x', 'i', 1, 2, '50 per 1s', 3, 2, 1, 'd', 4, 'running', 5, NULL FROM users
        UNION ALL SELECT 'R' || id, NULL, NULL, NULL, NULL, NULL, '1 per 1s', 0, 0, 0, '', 4, 'done', 5, 6 FROM users",
    "INSERT INTO app_calls (id, budget, account_id, at)
        SELECT 1, 'dm', id, 5 FROM accounts WHERE id = (SELECT MIN(id) FROM accounts) UNION ALL SELECT 9223372036854775806, 'reply', 'gone', 6",
    "INSERT INTO app_budgets (budget, told_limit, remaining, reset_at) VALUES ('dm', 1440, 9, 5), ('reply', NULL, NULL, NULL)",
    "INSERT INTO rate_allotments (id, instance_id, n_calls, closed_at)
        SELECT 'r' || id, id, 10, 5 FROM instances UNION ALL SELECT 'R' || id, id, 10, NULL FROM instances",
    "INSERT INTO errands (kind, subject_id, asked_at, due_at, deadline_at)
        SELECT 'reroute', id, 1, 2, 3 FROM accounts UNION ALL SELECT 'bury_account', 'gone', 1, 2, 0",
    "INSERT INTO marks (name, value) VALUES ('erased_up_to', 1700000000000)",
];

/// A folder with a database that has rows in every table, and an empty one on the server.
struct Bench {
    _folder: tempfile::TempDir,
    from: String,
    to: String,
}

impl Bench {
    /// Only where there is a server.
    async fn new() -> Option<Self> {
        let to = postgres_url().await?;
        let (folder, from) = source().await;
        Some(Self { _folder: folder, from, to })
    }

    async fn copy(&self) -> (Result<Vec<Compared>, CopyError>, Vec<Event>) {
        let mut events = Vec::new();
        let copied = copy(&self.from, &self.to, 4, &mut |event| events.push(event)).await;
        events.retain(|event| !matches!(event, Event::Progress { .. }));
        (copied, events)
    }

    /// Gives up after so many batches, at whatever is being done then. Whether it was complete before.
    async fn copy_up_to(&self, n_batches: usize) -> bool {
        let n_seen = std::cell::Cell::new(0);
        let mut tell = |event| {
            let is_batch = matches!(event, Event::Progress { step: Step::Copying, .. });
            n_seen.set(n_seen.get() + usize::from(is_batch));
        };
        let mut copying = pin!(copy(&self.from, &self.to, 4, &mut tell));
        std::future::poll_fn(|context| {
            if n_seen.get() >= n_batches {
                return Poll::Ready(false);
            }
            copying.as_mut().poll(context).map(|copied| copied.is_ok())
        })
        .await
    }

    /// Changes a side behind the back of the copy.
    async fn change(&self, url: &str, statement: &'static str) {
        let db = Db::connect(url).await.expect("a database");
        execute(&db, statement).await;
        db.close().await;
    }

    /// Has the server sort keys as people do: another order than that of the source.
    async fn sort_by_language(&self) {
        let db = Db::connect(&self.to).await.expect("the target");
        db.migrate().await.expect("migrations apply");
        let Db::Postgres(pool) = &db else { panic!("it is on a server") };
        let n: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pg_collation WHERE collname = 'und-x-icu'")
            .fetch_one(pool)
            .await
            .expect("a count");
        for statement in [
            "ALTER TABLE tokens ALTER COLUMN id TYPE TEXT COLLATE \"und-x-icu\"",
            "ALTER TABLE deliveries ALTER COLUMN id TYPE TEXT COLLATE \"und-x-icu\"",
            "ALTER TABLE attempts ALTER COLUMN delivery_id TYPE TEXT COLLATE \"und-x-icu\"",
        ] {
            if n > 0 {
                execute(&db, statement).await;
            }
        }
        db.close().await;
    }

    async fn assert_same(&self) {
        let (from, to) = (Db::connect(&self.from).await, Db::connect(&self.to).await);
        let (from, to) = (from.expect("the source"), to.expect("the target"));
        for table in TABLES.iter().chain([&MARKS]) {
            let (here, mut there) = (rows(&from, table).await, rows(&to, table).await);
            assert!(!here.is_empty(), "{}", table.name);
            there.sort_by_key(|row| here.iter().position(|other| other == row));
            assert_eq!(here, there, "{}", table.name);
        }
        assert_eq!(to.schema().await, Ok(SchemaState::Current));
        from.close().await;
        to.close().await;
    }
}

/// A database with rows in every table.
async fn source() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/source.db", folder.path().display());
    let db = Db::connect(&url).await.expect("a database");
    db.migrate().await.expect("migrations apply");
    for statement in ROWS {
        execute(&db, statement).await;
    }
    db.close().await;
    (folder, url)
}

async fn execute(db: &Db, statement: &'static str) {
    in_transaction!(db, |conn| {
        on_conn!(conn, |conn, _sql| {
            sqlx::query(statement).execute(&mut **conn).await.map(drop).expect(statement);
        });
    });
}

async fn rows(db: &Db, table: &Table) -> Vec<Row> {
    in_transaction!(db, |conn| next_page(conn, table, &mut table.before_all(), 100_000).await.expect("rows"))
}

fn is_complete(compared: &[Compared]) -> bool {
    compared.len() == TABLES.len() + 1
        && compared
            .iter()
            .all(|table| table.content == Content::Same && table.source == table.target && table.source > 0)
}

#[tokio::test]
async fn every_table_is_copied_or_left_out_on_purpose() {
    on_every_database(|db| async move {
        let mut tables = tables(&db).await;
        tables.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
        let mut copied: Vec<&str> = TABLES.iter().chain([&MARKS]).map(|table| table.name).collect();
        copied.sort_unstable();
        assert_eq!(
            tables.keys().map(String::as_str).collect::<Vec<_>>(),
            copied,
            "a new table is named in store/copy/tables.rs, among those copied or those left out"
        );
        let (_, discard) = ALL.iter().find(|(name, _)| *name == "BEGIN_ANEW").expect("a statement");
        for table in &TABLES {
            assert!(discard.postgres.contains(&format!(" {}", table.name)), "{}", table.name);
        }
        let Db::Postgres(pool) = db else { return };
        let types: Vec<String> = sqlx::query_scalar("SELECT DISTINCT CAST(data_type AS TEXT) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT IN ('_sqlx_migrations', 'replicas', 'shards') ORDER BY 1").fetch_all(&pool).await.expect("types");
        assert_eq!(types, ["bigint", "boolean", "bytea", "text"], "store/copy/rows.rs reads these");
    })
    .await;
}

#[tokio::test]
async fn keys_are_the_primary_keys() {
    let (_folder, url) = source().await;
    let db = Db::connect(&url).await.expect("a database");
    let Db::Sqlite(inside) = &db else { panic!("it is embedded") };
    for table in TABLES.iter().chain([&MARKS]) {
        let key = sqlx::query_scalar("SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk");
        let key: Vec<String> = key.bind(table.name).fetch_all(&inside.reads).await.expect("a key");
        let expected: Vec<&str> = table.key.iter().map(|(name, _)| *name).collect();
        assert_eq!(key, expected, "{}", table.name);
    }
    db.close().await;
}

#[tokio::test]
async fn everything_arrives_at_once() {
    let Some(bench) = Bench::new().await else { return };
    let (copied, events) = bench.copy().await;
    assert!(is_complete(copied.as_ref().expect("a copy")), "{copied:?}");
    assert_eq!(events, []);
    bench.assert_same().await;

    let (again, events) = bench.copy().await;
    assert_eq!((again, events), (copied, vec![Event::WasComplete]));

    let is_refused = async || {
        let hub = Db::connect(&bench.from).await.expect("the source");
        let refused = refuse_moved(&hub).await;
        hub.close().await;
        refused == Err(StoreError::Moved)
    };
    assert!(is_refused().await, "no hub serves what was moved");
    assert_eq!((reopen(&bench.from).await, reopen(&bench.from).await), (Ok(true), Ok(false)));
    assert!(!is_refused().await);

    let db = Db::connect(&bench.to).await.expect("the target");
    execute(&db, "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1").await;
    db.close().await;
    assert_eq!(bench.copy().await.0, Err(CopyError::TargetAhead));
}

#[tokio::test]
async fn a_copy_that_is_killed_goes_on_where_it_was() {
    let Some(bench) = Bench::new().await else { return };
    bench.sort_by_language().await;
    for (n_runs, n_batches) in [1, 2, 3, 1, 5, 8, 1, 30, 1, 3].into_iter().enumerate() {
        assert!(!bench.copy_up_to(n_batches).await, "run {n_runs} came to its end");
        let half = Db::connect(&bench.to).await.expect("the target");
        assert_eq!(half.schema().await, Err(StoreError::HalfCopied), "no hub starts on it");
        half.close().await;
    }
    let (copied, events) = bench.copy().await;
    assert!(is_complete(&copied.expect("a copy")));
    assert_eq!(events, [Event::GoesOn]);
    bench.assert_same().await;
}

#[tokio::test]
async fn a_source_that_changed_meanwhile_is_copied_anew() {
    let Some(bench) = Bench::new().await else { return };
    for change in [
        "UPDATE deliveries SET fence = fence + 1 WHERE id = 'd-aU1'",
        "DELETE FROM attempts WHERE delivery_id = 'DAu-2' AND n = 10",
        "INSERT INTO conversations (account_id, customer_id, episode) VALUES ('AU1', '0', 1)",
        "UPDATE users SET username_key = 'k9' WHERE id = 'U1'",
        "UPDATE users SET username_key = 'k1' WHERE id = 'U3'",
        "UPDATE marks SET value = value + 1 WHERE name = 'tokens'",
    ] {
        assert!(!bench.copy_up_to(30).await, "it came to its end before: {change}");
        bench.change(&bench.from, change).await;
        assert!(!bench.copy_up_to(2).await, "it came to its end after: {change}");
    }
    bench.change(&bench.from, "UPDATE lanes SET ready_at = 77 WHERE id = 'lAU1'").await;
    let (copied, events) = bench.copy().await;
    assert!(is_complete(&copied.expect("a copy")));
    assert_eq!(events, [Event::BeginsAnew]);
    bench.assert_same().await;
}

#[tokio::test]
async fn a_user_who_left_the_source_meanwhile_is_no_foreign_one() {
    let Some(bench) = Bench::new().await else { return };
    assert!(!bench.copy_up_to(30).await, "it came to its end");
    bench.change(&bench.from, "DELETE FROM users WHERE id = 'u-2'").await;
    let (copied, events) = bench.copy().await;
    assert!(is_complete(&copied.expect("a copy")));
    assert_eq!(events, [Event::BeginsAnew]);
    bench.assert_same().await;
}

#[tokio::test]
async fn an_unfinished_copy_of_others_is_not_discarded() {
    let Some(bench) = Bench::new().await else { return };
    let db = Db::connect(&bench.to).await.expect("the target");
    db.migrate().await.expect("migrations apply");
    deliveries::furnish(&db).await;
    execute(&db, "INSERT INTO marks (name, value) VALUES ('copy_unfinished', 1)").await;
    db.close().await;
    assert_eq!(bench.copy().await.0, Err(CopyError::ForeignUsers(1)));
}

fn put_mark_of_another(bench: &Bench) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let putting =
        bench.change(&bench.to, "UPDATE marks SET value = value + 1 WHERE name = 'copy_unfinished'");
    runtime.block_on(putting);
}

#[tokio::test]
async fn a_copy_takes_no_mark_away_but_its_own() {
    let Some(bench) = Bench::new().await else { return };
    let mut is_displaced = false;
    let mut tell = |event| {
        let is_comparing = matches!(event, Event::Progress { step: Step::Comparing, .. });
        if is_comparing && !std::mem::replace(&mut is_displaced, true) {
            // The copy stands still while another one puts its mark there.
            std::thread::scope(|scope| {
                scope.spawn(|| put_mark_of_another(&bench)).join().expect("the mark is put there");
            });
        }
    };
    let copied = copy(&bench.from, &bench.to, 4, &mut tell).await;
    assert_eq!(copied, Err(CopyError::Displaced));
    let half = Db::connect(&bench.to).await.expect("the target");
    assert_eq!(half.schema().await, Err(StoreError::HalfCopied), "the mark of the other one stands");
    half.close().await;
}

#[tokio::test]
async fn what_a_hub_may_have_worked_on_is_never_overwritten() {
    let Some(bench) = Bench::new().await else { return };
    bench.copy().await.0.expect("a copy");
    bench.change(&bench.to, "UPDATE deliveries SET status = 'delivered' WHERE id = 'd-aU1'").await;
    assert_eq!(bench.copy().await.0, Err(CopyError::Diverged("deliveries")));
    bench
        .change(&bench.to, "INSERT INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined) VALUES ('new', '', 'new', '', '', '', '', TRUE, TRUE, 1)")
        .await;
    assert_eq!(bench.copy().await.0, Err(CopyError::ForeignUsers(1)));

    let hub = Db::connect(&bench.to).await.expect("the target");
    assert!(matches!(bench.copy().await.0, Err(CopyError::TargetInUse(_))));
    hub.close().await;
}

#[tokio::test]
async fn a_copy_that_lost_its_target_writes_nothing_more() {
    let Some(bench) = Bench::new().await else { return };
    let n_seen = std::cell::Cell::new(0);
    let mut tell = |event| {
        let is_batch = matches!(event, Event::Progress { step: Step::Copying, .. });
        n_seen.set(n_seen.get() + usize::from(is_batch));
    };
    let displace = async {
        while n_seen.get() < 3 {
            tokio::task::yield_now().await;
        }
        bench.change(&bench.to, "UPDATE marks SET value = value + 1 WHERE name = 'copy_unfinished'").await;
    };
    // One row a batch, so that there are some left.
    let (copied, ()) = tokio::join!(copy(&bench.from, &bench.to, 1, &mut tell), displace);
    assert_eq!(copied, Err(CopyError::Displaced));
    let (copied, events) = bench.copy().await;
    assert!(is_complete(&copied.expect("a copy")));
    assert_eq!(events, [Event::BeginsAnew]);
    bench.assert_same().await;
}

#[tokio::test]
async fn a_target_that_only_has_users_of_others_is_refused() {
    let Some(bench) = Bench::new().await else { return };
    let db = Db::connect(&bench.to).await.expect("the target");
    db.migrate().await.expect("migrations apply");
    deliveries::furnish(&db).await;
    db.close().await;
    assert_eq!(bench.copy().await.0, Err(CopyError::ForeignUsers(1)));
}

#[tokio::test]
async fn a_text_that_a_server_cannot_store_is_named() {
    let Some(bench) = Bench::new().await else { return };
    bench.change(&bench.from, "UPDATE tokens SET name = 'a' || char(0) WHERE id = 'tU1'").await;
    let error = bench.copy().await.0.expect_err("a refusal").to_string();
    assert!(error.contains("tokens.name of the row [\"tU1\"]"), "{error}");
    bench.change(&bench.from, "UPDATE tokens SET name = 'a' WHERE id = 'tU1'").await;
    assert!(is_complete(&bench.copy().await.0.expect("a copy")));
    bench.assert_same().await;
}

#[tokio::test]
async fn a_source_that_is_served_or_of_another_version_is_refused() {
    let (folder, from) = source().await;
    // Nobody listens there: the source is looked at first.
    let try_copy = async || copy(&from, "postgres://u@127.0.0.1:1/none", 4, &mut |_| ()).await;

    let hub = Db::connect(&from).await.expect("a hub's connections");
    assert_eq!(try_copy().await, Err(CopyError::SourceInUse));
    execute(&hub, "DELETE FROM _sqlx_migrations WHERE version = 2").await;
    hub.close().await;
    assert_eq!(try_copy().await, Err(CopyError::SourceBehind(1)));

    let hub = Db::connect(&from).await.expect("a database");
    execute(&hub, "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1").await;
    hub.close().await;
    assert_eq!(try_copy().await, Err(CopyError::SourceAhead));

    let none = format!("sqlite://{}/none.db", folder.path().display());
    let missing = copy(&none, "postgres://u@127.0.0.1:1/none", 4, &mut |_| ()).await;
    assert_eq!(missing, Err(CopyError::SourceMissing));
    assert!(!folder.path().join("none.db").exists());
}

#[tokio::test]
async fn nobody_opens_the_source_while_it_is_copied() {
    let (_folder, from) = source().await;
    let locked = crate::store::copy::source::Source::open(&from).await.expect("the source");
    assert!(Db::connect(&from).await.is_err(), "a hub cannot start");
    locked.close().await.expect("the end");
    let hub = Db::connect(&from).await.expect("a hub starts again");
    assert_eq!(rows(&hub, &MARKS).await.len(), 4);
    assert_eq!(rows(&hub, &MARKS).await[0].get("name"), Some(&Cell::Text("deliveries".to_owned())));
    hub.close().await;
}
