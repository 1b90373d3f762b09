//! Sessions with a server: how they begin, and those that are kept from one commit to the next.

use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use super::{StoreError, short_digest, within};

/// Said at the start of every session, not as options of the connection: poolers do not pass those on.
///
/// A process that is stopped in the middle of a transaction must not keep what it locked. And every statement
/// here finds its rows by an index, in few steps: a server that planned it while a table was nearly empty must
/// not go on reading the whole of it when it is full.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '10s'; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SET plan_cache_mode = force_generic_plan";

/// How long a connection may take to show that its server is there.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// A connection that was used less long ago is not asked.
const FRESH: Duration = Duration::from_secs(1);

/// Options of a pool whose sessions begin as they must, and in which a server that is gone without a word, as when
/// its machine fails, occupies no place for longer than a moment.
pub(crate) fn session_pool() -> PgPoolOptions {
    PgPoolOptions::new()
        .after_connect(|conn, _| Box::pin(begin_session(conn)))
        .test_before_acquire(false)
        .before_acquire(|conn, used| {
            let is_fresh = used.idle_for < FRESH;
            Box::pin(async move { if is_fresh { Ok(true) } else { is_there(conn).await } })
        })
        .after_release(|conn, _| Box::pin(is_there(conn)))
}

/// A server that another one's log is played back on may be behind: what was revoked counts there still.
async fn begin_session(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SESSION).execute(&mut *conn).await?;
    let is_standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(conn).await?;
    let refusal =
        || std::io::Error::new(std::io::ErrorKind::NotConnected, "it is a standby that is not promoted yet");
    if is_standby { Err(refusal().into()) } else { Ok(()) }
}

async fn is_there(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    within(PING_LIMIT, conn.ping()).await?;
    Ok(true)
}

/// A session that the writer keeps. In a pool each would have its turn, and each would have to learn again how the
/// statements of a commit are carried out.
pub(crate) struct Session {
    conn: PgConnection,
    begun_at: Instant,
    used_at: Instant,
}

/// Then another takes its place, as in a pool: the server may be reached another way by now.
const LONGEST_SESSION: Duration = Duration::from_mins(30);

impl Session {
    /// The one that was kept, if it is of use still, or a new one.
    pub(super) async fn resume(kept: Option<Self>, pool: &PgPool) -> Result<Self, StoreError> {
        if let Some(mut kept) = kept.filter(|kept| kept.begun_at.elapsed() < LONGEST_SESSION)
            && (kept.used_at.elapsed() < FRESH || is_there(&mut kept.conn).await.is_ok())
        {
            return Ok(kept);
        }
        let conn = pool.acquire().await?.detach();
        Ok(Self { conn, begun_at: Instant::now(), used_at: Instant::now() })
    }

    /// Its connection.
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        self.used_at = Instant::now();
        &mut self.conn
    }
}

pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Unfit("the url is not a usable postgres:// address".to_owned()))?;
    // Poolers refuse this one unless they are told otherwise, and no column here is a float.
    Ok(options.extra_float_digits(None))
}

/// What sessions of this program are called on a server, so that others of the same database can be told
/// from those of another schema, which the URL's `options` choose.
pub(super) fn session_name(what: &str, options: &PgConnectOptions) -> String {
    let Some(options) = options.get_options() else { return what.to_owned() };
    format!("{what} {}", short_digest(options))
}
