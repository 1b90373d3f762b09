//! One suite of behaviour for both databases, and the proof that they are alike.
//!
//! Each test runs on SQLite always, and on PostgreSQL when `CASEWIRE_TEST_POSTGRES_URL` names a server
//! (CI starts a private one). Each takes a database of its own: a new file, a new schema.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

mod app_budgets;
mod book;
mod copy;
pub(crate) mod deliveries;
mod errands;
mod plans;
mod rate_allotments;
mod records;
mod replays;
mod retention;
mod settings;
mod shards;
mod tokens;
mod users;

static N_SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// Runs a test on every database there is.
pub(crate) async fn on_every_database<F, T>(test: F)
where
    F: Fn(Db) -> T,
    T: Future<Output = ()>,
{
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/suite.db", folder.path().display());
    let db = Db::connect(&url).await.expect("an embedded database");
    db.migrate().await.expect("migrations apply");
    test(db.clone()).await;
    db.close().await;

    let Some(db) = postgres().await else { return };
    test(db.clone()).await;
    db.close().await;
}

/// The URL of a new, empty schema on the PostgreSQL server of the tests, if there is one.
pub(in crate::store) async fn postgres_url() -> Option<String> {
    let server = std::env::var("CASEWIRE_TEST_POSTGRES_URL").ok()?;
    let n = N_SCHEMAS.fetch_add(1, Ordering::Relaxed);
    let schema = format!("suite_{}_{n}", std::process::id());
    let pool = PgPool::connect(&server).await.expect("the server of CASEWIRE_TEST_POSTGRES_URL answers");
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&pool).await.expect("a schema of the test's own");
    pool.close().await;
    let separator = if server.contains('?') { '&' } else { '?' };
    Some(format!("{server}{separator}options=-csearch_path%3D{schema}"))
}

/// A database in a new schema on the PostgreSQL server of the tests, if there is one.
pub(in crate::store) async fn postgres() -> Option<Db> {
    let url = postgres_url().await?;
    let db = Db::connect(&url).await.expect("a connection to the new schema");
    db.migrate().await.expect("migrations apply");
    Some(db)
}

/// Applies something inside a transaction of its own, as the writer does.
macro_rules! in_transaction {
    ($db:expr, |$conn:ident| $body:expr) => {{
        let mut transaction = $db.begin().await.expect("a transaction");
        let result = {
            let $conn = &mut transaction.conn();
            $body
        };
        transaction.commit().await.expect("a commit");
        result
    }};
}
pub(in crate::store) use in_transaction;

fn all_statements() -> Vec<(&'static str, Sql)> {
    let modules = [
        super::accounts::ALL,
        super::app_budgets::ALL,
        super::conversations::ALL,
        super::copy::tables::ALL,
        super::deliveries::ALL,
        super::errands::ALL,
        super::instances::ALL,
        super::lanes::ALL,
        super::marks::ALL,
        super::rate_allotments::ALL,
        super::records::ALL,
        super::replays::ALL,
        super::retention::ALL,
        super::routing::ALL,
        super::sealed::ALL,
        super::server::ALL,
        super::shards::ALL,
        super::tokens::ALL,
        super::users::ALL,
        crate::writer::ALL,
        crate::pulse::ALL,
        crate::cluster::signals::ALL,
    ];
    modules.concat()
}

#[tokio::test]
async fn every_statement_prepares_on_every_database() {
    on_every_database(|db| async move {
        use sqlx::{Executor, SqlSafeStr};
        for (name, sql) in all_statements() {
            let refused = match &db {
                Db::Sqlite(_) if sql.sqlite.is_empty() => Ok(()),
                Db::Postgres(_) if sql.postgres.is_empty() => Ok(()),
                Db::Sqlite(db) => db.reads.prepare(sql.sqlite.into_sql_str()).await.map(drop),
                Db::Postgres(pool) => pool.prepare(sql.postgres.into_sql_str()).await.map(drop),
            };
            assert!(refused.is_ok(), "{name}: {refused:?}");
        }
    })
    .await;
}

type Tables = BTreeMap<String, Vec<String>>;

async fn tables(db: &Db) -> Tables {
    let rows: Vec<(String, String)> = match db {
        Db::Sqlite(db) => sqlx::query_as(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, 2",
        )
        .fetch_all(&db.writes)
        .await
        .expect("a schema"),
        Db::Postgres(pool) => sqlx::query_as(
            "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2",
        )
        .fetch_all(pool)
        .await
        .expect("a schema"),
    };
    let mut tables = Tables::new();
    for (table, column) in rows {
        tables.entry(table).or_default().push(column);
    }
    tables.remove("_sqlx_migrations");
    tables
}

#[tokio::test]
async fn both_schemas_have_the_same_tables_and_columns() {
    let files = |folder: &str| {
        let path = format!("{}/../migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(path).expect("a folder of migrations");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(files("sqlite"), files("postgres"));

    let Some(postgres) = postgres().await else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sqlite =
        Db::connect(&format!("sqlite://{}/parity.db", folder.path().display())).await.expect("a database");
    sqlite.migrate().await.expect("migrations apply");
    assert_eq!(tables(&sqlite).await, tables(&postgres).await);
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    on_every_database(|db| async move {
        assert_eq!(db.migrate().await, Ok(0));
        assert_eq!(db.schema().await, Ok(SchemaState::Current));
    })
    .await;
}

/// Stores outcomes, as the writer does.
pub(in crate::store) async fn settle(db: &Db, settles: &[crate::store::lanes::Settle]) {
    let batch = batch::Batch { settles: settles.iter().collect(), ..batch::Batch::default() };
    batch.commit(db, &mut None).await.expect("outcomes are stored");
}

#[tokio::test]
async fn a_checkpoint_moves_the_whole_log_of_an_embedded_database() {
    on_every_database(|db| async move {
        deliveries::furnish(&db).await;
        let Db::Sqlite(db) = db else { return };
        assert_eq!(db.checkpoint().await, Ok(0));
        let file = sqlx::query_scalar("SELECT file FROM pragma_database_list").fetch_one(&db.reads).await;
        let file: String = file.expect("a file");
        // The file alone holds the rows.
        let moved = format!("{file}.moved");
        std::fs::copy(&file, &moved).expect("a copy without the log");
        let copy = SqlitePool::connect(&format!("sqlite://{moved}")).await.expect("a database");
        let n: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM accounts").fetch_one(&copy).await.expect("a count");
        assert_eq!(n, 1);
        copy.close().await;
    })
    .await;
}
