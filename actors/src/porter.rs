//! The porter: carries out the errands that small commits have left behind, whatever the number of their rows.
//!
//! The rows of a user or an account that is gone are taken away, what waits follows its account to another
//! instance, and what was tried goes on after new credentials. Every part is a commit of its own with a bounded
//! number of rows, and between two of them the writer is left to others for as long as the part took. An errand is
//! stored until it is done, so one that a crash interrupted is carried on after the next start.

use std::time::{Duration, Instant};

use actix::prelude::*;

use crate::directory::{ChangeKind, OnChanged, Target, TargetChange};
use crate::kernel::{Mailbox, start};
use crate::shared::Shared;
use crate::store::Change;
use crate::store::errands::{self, BuryAccount, BuryUser, Close, Errand, ErrandKind};
use crate::store::routing::{MoveOn, Reopen, Spot};
use crate::writer::{Apply, WriteError};

/// How often it looks for errands.
const EVERY: Duration = Duration::from_secs(1);
/// A commit that had begun before a deletion has stored for the account by then.
const LATE_MS: i64 = 60_000;

/// The actor.
pub(crate) struct Porter {
    bag: Bag,
    is_at_work: bool,
}

/// Starts the porter.
pub(crate) fn start_porter(shared: &Shared, on_changed: OnChanged) -> Mailbox<Porter> {
    let porter = Porter::new(shared.clone(), on_changed);
    start(&shared.front, &shared.registry, Shared::front_terms("porter", 8), move |_| porter)
}

/// What it works with. Clones share it.
#[derive(Clone)]
struct Bag {
    shared: Shared,
    on_changed: OnChanged,
}

/// How far an errand is.
enum Standing {
    Done,
    /// It is looked at once more then, in epoch milliseconds.
    Again(i64),
    /// Another replica goes on with it.
    Left,
}

impl Porter {
    fn new(shared: Shared, on_changed: OnChanged) -> Self {
        Self { bag: Bag { shared, on_changed }, is_at_work: false }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_at_work, true) {
            return;
        }
        let bag = self.bag.clone();
        let carrying = async move { bag.carry_out_all().await };
        context.spawn(carrying.into_actor(self).map(|carried, porter, _| {
            porter.is_at_work = false;
            if let Err(error) = carried {
                tracing::warn!(%error, "errands could not be carried out; trying again in a second");
            }
        }));
    }
}

impl Bag {
    /// Carries out every errand that is due, each in its turn.
    async fn carry_out_all(&self) -> Result<(), WriteError> {
        for errand in errands::due(&self.shared.db, self.shared.sources.now_ms()).await? {
            if !self.is_ours() {
                break;
            }
            self.carry_out(errand).await?;
        }
        Ok(())
    }

    /// Of several replicas one does it: whoever holds the shard of this name.
    fn is_ours(&self) -> bool {
        self.shared.leases.lease_of("porter").is_some()
    }

    async fn carry_out(&self, errand: Errand) -> Result<(), WriteError> {
        let standing = match errand.kind {
            ErrandKind::BuryAccount => self.bury(&errand, || BuryAccount(errand.subject_id.clone())).await?,
            ErrandKind::BuryUser => self.bury(&errand, || BuryUser(errand.subject_id.clone())).await?,
            ErrandKind::Reroute => self.reroute(&errand).await?,
            ErrandKind::Reopen => self.reopen(&errand).await?,
        };
        let again_at = match standing {
            Standing::Done => None,
            Standing::Again(at) => Some(at),
            Standing::Left => return Ok(()),
        };
        self.shared.writer.ask(Apply(Close { errand, again_at })).await??;
        Ok(())
    }

    /// Takes rows away until none is left.
    async fn bury<C: Change<Output = u64>>(
        &self,
        errand: &Errand,
        part: impl Fn() -> C,
    ) -> Result<Standing, WriteError> {
        let mut n_rows = 0;
        loop {
            let n_taken = self.write(part()).await?;
            n_rows += n_taken;
            if n_taken == 0 {
                break;
            }
            if !self.is_ours() {
                return Ok(Standing::Left);
            }
        }
        let (kind, subject) = (errand.kind, &errand.subject_id);
        tracing::debug!(?kind, subject, n_rows, "what a deletion has left was taken away");
        let late_until = errand.asked_at.saturating_add(LATE_MS);
        Ok(if self.shared.sources.now_ms() < late_until {
            Standing::Again(late_until)
        } else {
            Standing::Done
        })
    }

    /// Moves what does not stand with its account's instance, until a whole round finds nothing.
    async fn reroute(&self, errand: &Errand) -> Result<Standing, WriteError> {
        let (mut from, mut n_rows) = (Spot::default(), 0);
        loop {
            let moved = self
                .write(MoveOn {
                    account_id: errand.subject_id.clone(),
                    from,
                    now_ms: self.shared.sources.now_ms(),
                    deadline_ms: errand.deadline_at,
                })
                .await?;
            n_rows += moved.n_rows;
            if let (true, Some(instance_id)) = (moved.n_rows > 0, moved.instance_id) {
                self.tell(Target::Instance(instance_id));
            }
            if !self.is_ours() {
                return Ok(Standing::Left);
            }
            from = match moved.next {
                Some(next) => next,
                None if n_rows == 0 => return Ok(Standing::Done),
                // What was admitted meanwhile may stand behind.
                None => {
                    n_rows = 0;
                    Spot::default()
                }
            };
        }
    }

    /// Lets what was tried go on. Whoever delivers there looks by itself: the settings have changed, and lanes that are
    /// ready are looked for every second.
    async fn reopen(&self, errand: &Errand) -> Result<Standing, WriteError> {
        loop {
            let is_done = self
                .write(Reopen {
                    target_id: errand.subject_id.clone(),
                    now_ms: self.shared.sources.now_ms(),
                    deadline_ms: errand.deadline_at,
                })
                .await?;
            if is_done {
                return Ok(Standing::Done);
            }
            if !self.is_ours() {
                return Ok(Standing::Left);
            }
        }
    }

    fn tell(&self, target: Target) {
        (self.on_changed)(TargetChange { target, kind: ChangeKind::Work });
    }

    /// Writes a part, and leaves the writer to others for as long as that took.
    async fn write<C: Change>(&self, part: C) -> Result<C::Output, WriteError> {
        let begun = Instant::now();
        let written = self.shared.writer.ask(Apply(part)).await??;
        tokio::time::sleep(begun.elapsed()).await;
        Ok(written)
    }
}

impl Actor for Porter {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(EVERY, Self::look);
    }
}

impl Supervised for Porter {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_at_work = false;
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Porter);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::kernel::Sources;
    use crate::kernel::sources::ManualClock;
    use crate::store::Db;
    use crate::store::accounts::DeleteAccount;
    use crate::store::instances::DeleteInstance;
    use crate::store::suite::deliveries::{furnish, new};
    use crate::writer::Admit;

    struct Trial {
        _folder: tempfile::TempDir,
        clock: Arc<ManualClock>,
        bag: Bag,
        /// Who was told that there is work.
        told: Arc<Mutex<Vec<TargetChange>>>,
    }

    impl Trial {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let db = Db::connect(&format!("sqlite://{}/hub.db", folder.path().display())).await;
            let db = db.expect("a database");
            db.migrate().await.expect("migrations apply");
            furnish(&db).await;
            let clock = Arc::new(ManualClock::at(1_700_000_000_000));
            let shared = Shared::start(db, Sources::seeded(clock.clone(), 1));
            let told = Arc::<Mutex<Vec<TargetChange>>>::default();
            let tell = Arc::clone(&told);
            let on_changed: OnChanged = Arc::new(move |change| tell.lock().expect("a list").push(change));
            Self { _folder: folder, clock, bag: Bag { shared, on_changed }, told }
        }

        async fn admit(&self, ids: std::ops::Range<usize>) {
            let row = |n: usize| new(&n.to_string(), &n.to_string());
            let admitted = self.bag.shared.writer.ask(Admit(ids.map(row).collect())).await;
            admitted.expect("an answer").expect("rows are stored");
        }

        async fn write<C: Change>(&self, change: C) -> C::Output {
            self.bag.shared.writer.ask(Apply(change)).await.expect("an answer").expect("it is written")
        }

        async fn add_lane(&self) {
            let Db::Sqlite(db) = &self.bag.shared.db else { unreachable!("tests of actors are embedded") };
            let lane = "INSERT INTO lanes (id, account_id, direction, target_id, n_pending) VALUES ('late', 'a1', 'to_x', 'a1', 0)";
            sqlx::query(lane).execute(&db.writes).await.expect("a lane");
        }

        async fn n_errands(&self) -> usize {
            errands::due(&self.bag.shared.db, i64::MAX).await.expect("errands").len()
        }

        async fn n_rows(&self) -> i64 {
            let Db::Sqlite(db) = &self.bag.shared.db else { unreachable!("tests of actors are embedded") };
            let count = "SELECT (SELECT COUNT(*) FROM deliveries) + (SELECT COUNT(*) FROM lanes)";
            sqlx::query_scalar(count).fetch_one(&db.reads).await.expect("a count")
        }
    }

    #[actix_rt::test]
    async fn what_comes_late_for_an_account_that_is_gone_goes_too() {
        let trial = Trial::new().await;
        trial.admit(0..1200).await;
        let now_ms = trial.bag.shared.sources.now_ms();
        assert!(trial.write(DeleteAccount { id: "a1".to_owned(), now_ms }).await);
        assert_eq!(trial.n_rows().await, 2400);
        trial.bag.carry_out_all().await.expect("errands are carried out");
        assert_eq!((trial.n_rows().await, trial.n_errands().await), (0, 1));
        // What a commit adds that had begun before.
        trial.add_lane().await;
        trial.bag.carry_out_all().await.expect("none is due");
        assert_eq!(trial.n_rows().await, 1);
        trial.clock.advance(LATE_MS);
        trial.bag.carry_out_all().await.expect("errands are carried out");
        assert_eq!((trial.n_rows().await, trial.n_errands().await), (0, 0));
    }

    #[actix_rt::test]
    async fn a_move_that_was_interrupted_goes_on() {
        let trial = Trial::new().await;
        trial.admit(0..1200).await;
        let now_ms = trial.bag.shared.sources.now_ms();
        assert!(trial.write(DeleteInstance { id: "i1".to_owned(), now_ms }).await);
        let part = MoveOn { account_id: "a1".to_owned(), from: Spot::default(), now_ms, deadline_ms: 9 };
        assert!(trial.write(part).await.next.is_some(), "and then the process died");
        trial.bag.carry_out_all().await.expect("errands are carried out");
        let Db::Sqlite(db) = &trial.bag.shared.db else { unreachable!("tests of actors are embedded") };
        for count in [
            "SELECT COUNT(*) FROM lanes WHERE target_id = 'unrouted:a1'",
            "SELECT COUNT(*) FROM deliveries WHERE status = 'blocked' AND instance_id IS NULL AND fence = 1",
        ] {
            let n: i64 = sqlx::query_scalar(count).fetch_one(&db.reads).await.expect("a count");
            assert_eq!(n, 1200, "{count}");
        }
        assert_eq!(trial.n_errands().await, 0);
        assert!(trial.told.lock().expect("a list").is_empty(), "nobody works on them");
    }
}
