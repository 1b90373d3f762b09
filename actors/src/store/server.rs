//! Whether a server is fit for what is promised: its version, the encoding of the database, and whether what
//! was committed is on its disk.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row as _};

use super::{Db, StoreError, in_time, pooler};

/// What `server_version_num` is from on.
const OLDEST: i64 = 140_000;

statements! {
    DURABILITY = postgres "SELECT current_setting('fsync'), current_setting('synchronous_commit')";
}

/// Refuses a server, or what stands before it, that the hub cannot keep its promises on.
pub(super) async fn refuse_unfit(options: &PgConnectOptions) -> Result<(), StoreError> {
    in_time(async {
        let options = options.clone().application_name("casewire start");
        let (mut one, mut other) = (options.connect().await?, options.connect().await?);
        let refused = async {
            refuse_unfit_server(&mut one).await?;
            pooler::refuse_shared_sessions(&mut one, &mut other).await
        };
        let refused = refused.await;
        // Their ends are nobody's concern; those that have failed end as well.
        let _ended = (one.close().await, other.close().await);
        refused
    })
    .await
}

/// Asked as plain text: behind a pooler in transaction mode even the preparation of a statement may fail.
async fn refuse_unfit_server(connection: &mut PgConnection) -> Result<(), StoreError> {
    let asked = "SELECT current_setting('server_version_num'), current_setting('server_version'), current_setting('server_encoding')";
    let row = sqlx::raw_sql(asked).fetch_one(connection).await?;
    let told = |column| row.try_get_unchecked::<String, _>(column);
    let (number, version, encoding) = (told(0)?, told(1)?, told(2)?);
    unfit(number.parse().unwrap_or(OLDEST), &version, &encoding)
        .map_or(Ok(()), |text| Err(StoreError::Unfit(text)))
}

fn unfit(number: i64, version: &str, encoding: &str) -> Option<String> {
    if number < OLDEST {
        return Some(format!("the server is PostgreSQL {version}, which is too old: use 14 or newer"));
    }
    if encoding != "UTF8" {
        return Some(format!(
            "the database is in {encoding}, which cannot hold every text: make one in UTF-8 \
             (CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8') and name it in database.url"
        ));
    }
    None
}

/// Why what was committed could be lost with the server's power, each with its remedy.
pub(crate) async fn risks(db: &Db) -> Result<Vec<&'static str>, StoreError> {
    let Db::Postgres(pool) = db else { return Ok(Vec::new()) };
    let (fsync, synchronous_commit): (String, String) =
        sqlx::query_as(DURABILITY.postgres).fetch_one(pool).await?;
    Ok(risks_of(&fsync, &synchronous_commit))
}

fn risks_of(fsync: &str, synchronous_commit: &str) -> Vec<&'static str> {
    let mut risks = Vec::new();
    if fsync == "off" {
        risks.push("fsync is off at the server, so a crash can lose or spoil what was accepted: turn it on");
    }
    if synchronous_commit == "off" {
        risks.push(
            "synchronous_commit is off, so a crash of the server can lose what was accepted: turn it on, at the \
             server or for the role of database.url",
        );
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_other_encodings_are_refused() {
        for (number, version, encoding, words) in [
            (140_000, "14.0", "UTF8", None),
            (170_002, "17.2", "UTF8", None),
            (130_014, "13.14", "UTF8", Some("PostgreSQL 13.14")),
            (90_624, "9.6.24", "UTF8", Some("use 14 or newer")),
            (150_000, "15.0", "SQL_ASCII", Some("SQL_ASCII")),
            (150_000, "15.0", "LATIN1", Some("ENCODING 'UTF8'")),
        ] {
            let told = unfit(number, version, encoding);
            assert_eq!(told.is_some(), words.is_some(), "{version} {encoding}");
            assert!(words.is_none_or(|words| told.is_some_and(|told| told.contains(words))), "{version}");
        }
    }

    #[test]
    fn what_is_not_flushed_is_told() {
        for (fsync, synchronous_commit, n_risks) in [
            ("on", "on", 0),
            ("on", "remote_apply", 0),
            ("on", "local", 0),
            ("off", "on", 1),
            ("off", "off", 2),
        ] {
            assert_eq!(risks_of(fsync, synchronous_commit).len(), n_risks, "{fsync} {synchronous_commit}");
        }
    }

    #[tokio::test]
    async fn a_database_in_another_encoding_is_refused() {
        let Ok(server) = std::env::var("CASEWIRE_TEST_POSTGRES_URL") else { return };
        let name = format!("ascii_{}", std::process::id());
        let run = async |statement: String| {
            let options: PgConnectOptions = server.parse().expect("a URL");
            let mut conn = options.extra_float_digits(None).connect().await.expect("a connection");
            let statement = sqlx::AssertSqlSafe(statement);
            sqlx::raw_sql(statement).execute(&mut conn).await.expect("it is done");
        };
        run(format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        ))
        .await;
        let mut url = url::Url::parse(&server).expect("a URL");
        url.set_path(&name);
        let refused = Db::connect(url.as_str()).await.err();
        run(format!("DROP DATABASE {name} WITH (FORCE)")).await;
        assert!(
            matches!(&refused, Some(StoreError::Unfit(text)) if text.contains("SQL_ASCII")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn a_session_that_does_not_wait_for_the_disk_is_told() {
        let Some(url) = crate::store::suite::postgres_url().await else { return };
        let careless = Db::connect(&format!("{url}%20-csynchronous_commit%3Doff")).await.expect("a database");
        assert_eq!(risks(&careless).await.map(|risks| risks.len()), Ok(1));
        let careful = Db::connect(&format!("{url}%20-csynchronous_commit%3Don")).await.expect("a database");
        let risks = risks(&careful).await.expect("an answer");
        assert!(!risks.iter().any(|risk| risk.contains("synchronous_commit")), "{risks:?}");
    }
}
