//! How PostgreSQL goes about the statements: planned while the tables are empty, as it does when the hub is new,
//! or when it was last seen with nothing pending, they must not read whole tables once these are full.

use serde_json::{Map, Value};
use sqlx::PgConnection;

use super::*;

/// Tables that grow with the traffic.
const GROWING: [&str; 7] =
    ["deliveries", "lanes", "conversations", "cases", "attempts", "app_calls", "rate_allotments"];

/// Statements that read a whole index, because they count what is in it: what is pending and what is dead have
/// their own.
const MAY_READ_ALL: [&str; 3] = ["COUNT_DEAD", "COUNT_DEAD_OF_ALL", "PENDING_BY_STATUS"];

/// What the server knows of the tables after a night without traffic: they are full, and nothing in them waits.
const QUIET: &str = "
    INSERT INTO users VALUES ('u', 'u', 'u', '', '', '', '', FALSE, TRUE, 0);
    INSERT INTO instances (id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, status, status_detail, created_at)
        VALUES ('i', 'u', '', '', '', '', '', '', 1, '', '', '', '', '', 0);
    INSERT INTO accounts (id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, created_at)
        VALUES ('a', 'u', 'i', '1', '', '', '', '', '', '', 0);
    INSERT INTO lanes (id, account_id, direction, target_id, n_pending) SELECT 'l' || n, 'a', 'to_servicenow', 'i', 0 FROM generate_series(1, 500) AS n;
    INSERT INTO conversations (account_id, customer_id, episode) SELECT 'a', n, 1 FROM generate_series(1, 500) AS n;
    INSERT INTO cases (instance_id, sys_id, user_id, account_id, customer_id) SELECT 'i', n, 'u', 'a', n FROM generate_series(1, 500) AS n;
    INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, order_key, attempts, deadline_at, created_at)
        SELECT n, 'to_servicenow', 'dm', 'delivered', 'u', 'a', 'i', n % 500 + 1, 'l' || n % 500 + 1, n, n, 1, n, n FROM generate_series(1, 10000) AS n;
    INSERT INTO attempts (delivery_id, n, at, duration_ms) SELECT n, 1, n, 1 FROM generate_series(1, 10000) AS n;
    ANALYZE users, instances, accounts, lanes, conversations, cases, deliveries, attempts";

#[tokio::test]
async fn no_statement_reads_a_whole_table_that_grows() {
    let Some(Db::Postgres(pool)) = postgres().await else { return };
    let mut conn = pool.acquire().await.expect("a connection");
    let mut found = statements_that_read_all(&mut conn).await;
    run(&mut conn, QUIET.to_owned()).await;
    found.extend(statements_that_read_all(&mut conn).await);
    assert!(found.is_empty(), "{found:#?}");
}

async fn statements_that_read_all(conn: &mut PgConnection) -> Vec<String> {
    let mut found = Vec::new();
    let has_plan = |sql: &Sql| {
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|word| sql.postgres.starts_with(word))
    };
    // A copy reads whole tables, on sessions of its own.
    let statements = all_statements().into_iter().filter(|(name, _)| !is_of_copy(name));
    for (name, sql) in statements.filter(|(_, sql)| has_plan(sql)) {
        let plan = generic_plan(conn, sql.postgres).await;
        let mut scans = Vec::new();
        whole_scans(&plan, &mut scans);
        if !scans.is_empty() && !MAY_READ_ALL.contains(&name) {
            found.push(format!("{name}: {scans:?}"));
        }
    }
    found
}

fn is_of_copy(name: &str) -> bool {
    crate::store::copy::tables::ALL.iter().any(|(of_copy, _)| *of_copy == name)
}

async fn run(conn: &mut PgConnection, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(conn).await.expect("it is carried out");
}

/// The plan for any parameters.
async fn generic_plan(conn: &mut PgConnection, sql: &str) -> Value {
    let n_parameters = (1..100).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; n_parameters].join(", ");
    let parameters = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
    run(conn, format!("PREPARE planned AS {sql}")).await;
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE planned{parameters}");
    let plan: sqlx::types::Json<Value> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(explain)).fetch_one(&mut *conn).await.expect("a plan");
    run(conn, "DEALLOCATE planned".to_owned()).await;
    plan.0
}

/// Scans of growing tables that no condition narrows.
fn whole_scans(node: &Value, found: &mut Vec<String>) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| whole_scans(node, found)),
        Value::Object(node) if !is_end_of_index(node) => {
            let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
            let (kind, index) = (text("Node Type"), text("Index Name"));
            // The scan of an index for a bitmap does not say whose index it is; their names begin with it.
            let of_index = GROWING.into_iter().find(|table| index.starts_with(table));
            let table = of_index.unwrap_or(text("Relation Name"));
            let is_narrowed =
                kind == "Bitmap Heap Scan" || kind == "ModifyTable" || node.contains_key("Index Cond");
            if GROWING.contains(&table) && !is_narrowed {
                found.push(format!("{kind} of {table} {index}"));
            }
            node.values().for_each(|child| whole_scans(child, found));
        }
        _ => {}
    }
}

/// The first rows of an index, whatever they are, such as its least key.
fn is_end_of_index(node: &Map<String, Value>) -> bool {
    let is_limit = node.get("Node Type").is_some_and(|kind| kind == "Limit");
    let scan = node.get("Plans").and_then(|plans| plans.get(0));
    let is_plain = |scan: &Value| scan["Node Type"] == "Index Only Scan" && scan.get("Filter").is_none();
    is_limit && scan.is_some_and(is_plain)
}
