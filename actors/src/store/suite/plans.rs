//! How PostgreSQL goes about the statements: planned while the tables are empty, as it does when the hub is new,
//! they must not read whole tables once these are full.

use serde_json::Value;
use sqlx::PgConnection;

use super::*;

/// Tables that grow with the traffic.
const GROWING: [&str; 7] =
    ["deliveries", "lanes", "conversations", "cases", "attempts", "app_calls", "rate_allotments"];

/// Statements that read a whole index, because they count what is in it: dead letters have their own.
const MAY_READ_ALL: [&str; 2] = ["COUNT_DEAD", "COUNT_DEAD_OF_ALL"];

#[tokio::test]
async fn no_statement_reads_a_whole_table_that_grows() {
    let Some(Db::Postgres(pool)) = postgres().await else { return };
    let mut conn = pool.acquire().await.expect("a connection");
    run(&mut conn, "SET plan_cache_mode = force_generic_plan".to_owned()).await;
    let mut found = Vec::new();
    let has_plan = |sql: &Sql| {
        ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|word| sql.postgres.starts_with(word))
    };
    // A copy reads whole tables, on sessions of its own.
    let statements = all_statements().into_iter().filter(|(name, _)| !is_of_copy(name));
    for (name, sql) in statements.filter(|(_, sql)| has_plan(sql)) {
        let plan = generic_plan(&mut conn, sql.postgres).await;
        let mut scans = Vec::new();
        whole_scans(&plan, &mut scans);
        if !scans.is_empty() && !MAY_READ_ALL.contains(&name) {
            found.push(format!("{name}: {scans:?}"));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
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
        Value::Object(node) => {
            let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
            let (kind, table) = (text("Node Type"), text("Relation Name"));
            let is_narrowed =
                kind == "Bitmap Heap Scan" || kind == "ModifyTable" || node.contains_key("Index Cond");
            if GROWING.contains(&table) && !is_narrowed {
                found.push(format!("{kind} of {table} {}", text("Index Name")));
            }
            node.values().for_each(|child| whole_scans(child, found));
        }
        _ => {}
    }
}
