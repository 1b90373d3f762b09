//! The database as a server.

use super::{Finding, Ward, unreadable};
use crate::store::server;

/// Whether what is committed there is on its disk.
pub(super) async fn database(ward: &Ward) -> Vec<Finding> {
    let area = "database";
    match server::risks(&ward.db).await {
        Err(error) => vec![unreadable(area, &error.into())],
        Ok(risks) if risks.is_empty() => vec![Finding::green(area, "answers, and its schema is current")],
        Ok(risks) => risks.into_iter().map(|risk| Finding::red(area, risk)).collect(),
    }
}

