//! The database as a server, and the replicas that share it.

use super::{Finding, Ward, unreadable};
use crate::store::{Db, server, shards};

/// Whether what is committed there is on its disk.
pub(super) async fn database(ward: &Ward) -> Vec<Finding> {
    let area = "database";
    match server::risks(&ward.db).await {
        Err(error) => vec![unreadable(area, &error.into())],
        Ok(risks) if risks.is_empty() => vec![Finding::green(area, "answers, and its schema is current")],
        Ok(risks) => risks.into_iter().map(|risk| Finding::red(area, risk)).collect(),
    }
}

/// Whether somebody delivers for every instance and account. On an embedded database there are no replicas.
pub(super) async fn replicas(ward: &Ward) -> Vec<Finding> {
    let area = "replicas";
    let Db::Postgres(pool) = &ward.db else { return Vec::new() };
    match shards::standing(pool).await {
        Err(error) => vec![unreadable(area, &error.into())],
        Ok((n_replicas, n_free)) => vec![told(area, n_replicas, n_free)],
    }
}

fn told(area: &'static str, n_replicas: i64, n_free: i64) -> Finding {
    match (n_replicas, n_free) {
        (0, _) => Finding::yellow(area, "none is alive, so nothing is delivered: run `casewire serve`"),
        (n_replicas, 0) => Finding::green(area, format!("{n_replicas} alive, and they hold all shards")),
        (n_replicas, n_free) => Finding::yellow(
            area,
            format!(
                "{n_replicas} alive, and nobody holds {n_free} of the 256 shards: after a start or an end that \
                 lasts 15 s at most; if it stays, look for `leases` in their logs"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn shards_that_nobody_holds_are_told() {
        for (n_replicas, n_free, level, words) in [
            (0, 256, Level::Yellow, "run `casewire serve`"),
            (3, 0, Level::Green, "3 alive"),
            (2, 5, Level::Yellow, "nobody holds 5 of"),
        ] {
            let finding = told("replicas", n_replicas, n_free);
            assert_eq!(finding.level, level, "{n_replicas} {n_free}");
            assert!(finding.text.contains(words), "{}", finding.text);
        }
    }
}
