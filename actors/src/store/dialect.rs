//! One text for two databases: named statements, and one body run against whichever is configured.

/// A statement under one name: the same text on both databases, or a pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// A bound `LIMIT` is written `LIMIT CAST($1 AS BIGINT)`: SQLite prepares a statement anew for each value of
/// a bare one.
///
/// Names statements, and lists them in `ALL`, so that a test can prepare each one on both databases.
///
/// `NAME = "text";` for both, `NAME = sqlite "text" postgres "text";` where they must differ, one of the two
/// where the other has no such statement.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $(sqlite $sqlite:literal)? $(postgres $postgres:literal)? $($both:literal)?;)*) => {
        $($(#[$meta])* pub(super) const $name: $crate::store::Sql = $crate::store::Sql {
            sqlite: concat!($($sqlite)? $($both)?),
            postgres: concat!($($postgres)? $($both)?),
        };)*
        /// Every statement of this module, by name.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, $crate::store::Sql)] = &[$((stringify!($name), $name)),*];
    };
}

/// Runs one body against the database that is configured: `$pool` is its pool for reading, and
/// `$sql(NAME)` picks the text of a statement. A database that does not answer in time counts as not available.
macro_rules! on_db {
    ($db:expr, |$pool:ident, $sql:ident| $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite(db) => {
                let $pool = &db.reads;
                let $sql = |sql: $crate::store::Sql| sql.sqlite;
                $crate::store::in_time(async { $body }).await
            }
            $crate::store::Db::Postgres($pool) => {
                let $sql = |sql: $crate::store::Sql| sql.postgres;
                $crate::store::in_time(async { $body }).await
            }
        }
    };
}

/// Runs one body on a connection of the writer: pass `&mut **$conn` to sqlx.
macro_rules! on_conn {
    ($conns:expr, |$conn:ident, $sql:ident| $body:expr) => {
        match $conns {
            $crate::store::Conn::Sqlite($conn) => {
                let $sql = |sql: $crate::store::Sql| sql.sqlite;
                $body
            }
            $crate::store::Conn::Postgres($conn) => {
                let $sql = |sql: $crate::store::Sql| sql.postgres;
                $body
            }
        }
    };
}
