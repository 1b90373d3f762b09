//! After a rotation of the key: what an earlier key sealed is sealed with the current one.

use super::{Desk, DirectoryError};
use crate::store::sealed::{self, Reseal, SealedTable};
use crate::writer::Apply;

/// Seals anew what an earlier key sealed. What opens with no known key stays as it is.
pub(super) async fn reseal(desk: &Desk) -> Result<(), DirectoryError> {
    let mut n_resealed = 0_usize;
    for table in SealedTable::ALL {
        for (id, before) in sealed::all(&desk.shared.db, table).await? {
            let Some(after) = renewed(desk, table, &id, &before)? else { continue };
            desk.shared.writer.ask(Apply(Reseal { table, id, before, after })).await??;
            n_resealed += 1;
        }
    }
    if n_resealed > 0 {
        tracing::info!(n_resealed, "credentials were sealed with the current key");
    }
    Ok(())
}

fn renewed(
    desk: &Desk,
    table: SealedTable,
    id: &str,
    before: &[u8],
) -> Result<Option<Vec<u8>>, DirectoryError> {
    if desk.sealer.is_current(before) {
        return Ok(None);
    }
    let Ok(plain) = desk.sealer.open(table.name(), id, before) else { return Ok(None) };
    let after = desk.sealer.seal(&desk.shared.sources, table.name(), id, &plain);
    after.map(Some).map_err(|error| DirectoryError::Internal(error.to_string()))
}
