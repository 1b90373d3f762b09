//! Whether this process seals with the key of its database: what another key seals, the other replicas cannot
//! open, and nobody would notice before a delivery fails.
//!
//! The database holds a fingerprint of the key, which tells nothing of it. A process whose key, or one of
//! whose earlier keys, has this fingerprint opens what the others sealed. With an earlier one, the key is being
//! changed: the fingerprint becomes that of the new key.

use super::StartError;
use crate::domain::sealing::{SealError, Sealer};
use crate::store::sealed::{self, SealedTable};
use crate::store::{Db, StoreError};

/// What becomes of what a key sealed that this process was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlierKey {
    /// It is needed: without that key the hub does not start.
    #[default]
    Needed,
    /// The key is lost: the hub goes on with another, and the credentials must be entered again.
    Lost,
}

/// Says which key the database is sealed with, or refuses another one than the one that was said.
pub(super) async fn claim(db: &Db, sealer: &Sealer, earlier: EarlierKey) -> Result<(), StartError> {
    if sealed::fingerprint(db).await? == Some(sealer.fingerprint()) {
        return Ok(());
    }
    let mut transaction = db.begin().await?;
    let conn = &mut transaction.conn();
    let mut known = sealed::held_fingerprint(conn).await?;
    if known.is_none() {
        // A database of an earlier version. Of several replicas that start on it, the first one says.
        if earlier == EarlierKey::Needed && !fits(db, sealer).await? {
            return Err(StartError::OtherKey);
        }
        sealed::add_fingerprint(conn, sealer.fingerprint()).await?;
        known = sealed::held_fingerprint(conn).await?;
    }
    let is_known = known == Some(sealer.fingerprint());
    if !is_known {
        if known.is_some_and(|known| sealer.knows(known)) {
            tracing::info!("secrets.key is a new one; it seals from now on");
        } else if earlier == EarlierKey::Lost {
            tracing::warn!("the earlier secrets.key is given up; what it sealed must be entered again");
        } else {
            return Err(StartError::OtherKey);
        }
        sealed::move_fingerprint(conn, sealer.fingerprint()).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether the database was said to be sealed with a key that this process was not given.
pub(crate) async fn is_other(db: &Db, sealer: &Sealer) -> Result<bool, StoreError> {
    let known = sealed::fingerprint(db).await?;
    Ok(known.is_some_and(|known| known != sealer.fingerprint() && !sealer.knows(known)))
}

/// Whether these keys sealed some of what is sealed, or no key did.
async fn fits(db: &Db, sealer: &Sealer) -> Result<bool, StoreError> {
    let mut is_foreign = false;
    for table in SealedTable::ALL {
        for (id, value) in sealed::all(db, table).await? {
            match sealer.open(table.name(), &id, &value) {
                Ok(_) => return Ok(true),
                Err(SealError::UnknownKey) => is_foreign = true,
                Err(SealError::Damaged) => {}
            }
        }
    }
    Ok(!is_foreign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sealing::SealingKey;
    use crate::kernel::Sources;
    use crate::kernel::sources::ManualClock;
    use crate::store::suite::on_every_database;
    use std::sync::Arc;

    fn keys() -> [SealingKey; 3] {
        let sources = Sources::seeded(Arc::new(ManualClock::at(0)), 3);
        [(); 3].map(|()| SealingKey::generate(&sources))
    }

    async fn claims(db: &Db, sealer: &Sealer) -> bool {
        match claim(db, sealer, EarlierKey::Needed).await {
            Ok(()) => true,
            Err(StartError::OtherKey) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn another_key_is_refused_on_an_empty_database_too() {
        on_every_database(|db| async move {
            let [one, other, _] = keys();
            assert!(claims(&db, &Sealer::new(&one, &[])).await);
            assert!(!claims(&db, &Sealer::new(&other, &[])).await);
            assert!(is_other(&db, &Sealer::new(&other, &[])).await.expect("an answer"));
            assert!(claims(&db, &Sealer::new(&one, &[])).await);

            // The first is lost: from now on it is the other.
            let lost = claim(&db, &Sealer::new(&other, &[]), EarlierKey::Lost).await;
            assert!(lost.is_ok());
            assert!(claims(&db, &Sealer::new(&other, &[])).await);
            assert!(!claims(&db, &Sealer::new(&one, &[])).await);
        })
        .await;
    }

    #[tokio::test]
    async fn a_key_is_changed_in_two_passes_in_any_order_of_the_replicas() {
        on_every_database(|db| async move {
            let [old, new, _] = keys();
            let before = Sealer::new(&old, &[]);
            let first_pass = Sealer::new(&old, std::slice::from_ref(&new));
            let second_pass = Sealer::new(&new, std::slice::from_ref(&old));
            let after = Sealer::new(&new, &[]);
            // A replica of the first pass may start again while others are in the second.
            for sealer in [&before, &first_pass, &second_pass, &first_pass, &second_pass, &after] {
                assert!(claims(&db, sealer).await);
            }
            assert!(!claims(&db, &before).await, "it does not know the new key");
        })
        .await;
    }

    #[tokio::test]
    async fn a_database_without_a_fingerprint_goes_by_what_is_sealed_in_it() {
        on_every_database(|db| async move {
            let [one, other, third] = keys();
            let sources = Sources::seeded(Arc::new(ManualClock::at(0)), 4);
            crate::store::suite::deliveries::furnish(&db).await;
            let sealer = Sealer::new(&one, &[]);
            let accounts = sealed::all(&db, SealedTable::Accounts).await.expect("rows");
            let (id, before) = accounts[0].clone();
            let after = sealer.seal(&sources, "accounts", &id, b"{}").expect("a seal");
            let reseal = sealed::Reseal { table: SealedTable::Accounts, id, before, after };
            let mut transaction = db.begin().await.expect("a transaction");
            crate::store::Change::apply(reseal, &mut transaction.conn()).await.expect("it is stored");
            transaction.commit().await.expect("a commit");
            assert!(!claims(&db, &Sealer::new(&other, &[])).await);
            assert!(claims(&db, &Sealer::new(&third, std::slice::from_ref(&one))).await);
            assert!(claims(&db, &Sealer::new(&third, &[])).await);
            assert!(!claims(&db, &sealer).await);
        })
        .await;
    }
}
