//! Bulk replays: few dead letters are put back at once; many become a replay of their own, which the
//! [`Replayer`](crate::replayer::Replayer) carries on.

use actix::prelude::*;

use super::{Archive, Records, RecordsError};
use crate::domain::record::{BulkReplay, DeliveryStatus};
use crate::domain::replay::{AT_ONCE, Replay, ReplayState};
use crate::domain::requester::Requester;
use crate::store::{records, replays};
use crate::writer::Apply;

/// Puts all dead letters back that a filter leaves: at once up to [`AT_ONCE`] of them, else little by little.
#[derive(Debug, Message)]
#[rtype(result = "Result<BulkReplayed, RecordsError>")]
pub struct ReplayRecords {
    /// Whose, or all; the caller sees to it that the requester may.
    pub user_id: Option<String>,
    /// Which, how fast, and whether they are only counted.
    pub replay: BulkReplay,
}

/// What became of a bulk replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkReplayed {
    /// It is over, or was only asked for its count.
    Done(Replayed),
    /// It goes on by itself, whatever happens to the process.
    Started(Replay),
}

/// What a bulk replay did at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Dead letters that the filter left.
    pub n_matched: i64,
    /// Those that were put back.
    pub n_replayed: i64,
    /// Those that were not, or would not be: their text was erased, or somebody was faster.
    pub n_skipped: i64,
}

/// Lists bulk replays, the newest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<ReplayList, RecordsError>")]
pub struct ListReplays {
    /// Whose, or all; the caller sees to it that the requester may.
    pub user_id: Option<String>,
    /// How many at most.
    pub limit: i64,
    /// After how many.
    pub offset: i64,
}

/// A part of the bulk replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayList {
    /// The newest first.
    pub replays: Vec<Replay>,
    /// How many there are in all.
    pub n_total: i64,
}

/// Looks how far a bulk replay came.
#[derive(Debug, Message)]
#[rtype(result = "Result<Replay, RecordsError>")]
pub struct GetReplay {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// Stops a bulk replay. What it has put back stays put back. Stopping it again changes nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Replay, RecordsError>")]
pub struct CancelReplay {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

impl Archive {
    /// Puts many dead letters back, of a user or of all, the oldest first.
    async fn replay_all(
        &self,
        user_id: Option<String>,
        replay: BulkReplay,
    ) -> Result<BulkReplayed, RecordsError> {
        let BulkReplay { mut filter, is_dry_run, rate } = replay;
        let now_ms = self.shared.sources.now_ms();
        filter.status = Some(DeliveryStatus::Dead);
        // What is accepted later is none of its business: it ends.
        let newest_ms = now_ms.saturating_add(1);
        filter.until_ms = Some(filter.until_ms.map_or(newest_ms, |until_ms| until_ms.min(newest_ms)));
        let db = &self.shared.db;
        let (n_matched, n_erased) = records::count_dead(db, user_id.as_deref(), &filter).await?;
        if is_dry_run {
            let counted = Replayed { n_matched, n_replayed: 0, n_skipped: n_erased };
            return Ok(BulkReplayed::Done(counted));
        }
        if n_matched <= AT_ONCE {
            let letters = records::dead(db, user_id.as_deref(), &filter, "", AT_ONCE).await?;
            let ids = letters.into_iter().filter(|letter| !letter.is_erased).map(|letter| letter.id);
            let revived = self.revive(ids.collect()).await?;
            let n_replayed = i64::try_from(revived.n).unwrap_or(i64::MAX);
            let n_skipped = (n_matched - n_replayed).max(0);
            return Ok(BulkReplayed::Done(Replayed { n_matched, n_replayed, n_skipped }));
        }
        let replay = Replay {
            id: self.shared.sources.id(),
            user_id,
            filter,
            rate,
            state: ReplayState::Running,
            n_total: n_matched,
            n_done: 0,
            n_skipped: 0,
            created_at_ms: now_ms,
            ended_at_ms: None,
        };
        if !self.shared.writer.ask(Apply(replays::AddReplay(replay.clone()))).await?? {
            return Err(RecordsError::TooManyReplays);
        }
        if let Some(replayer) = &self.replayer {
            replayer.nudge();
        }
        Ok(BulkReplayed::Started(replay))
    }

    async fn find_replay(&self, requester: &Requester, id: &str) -> Result<Replay, RecordsError> {
        let found = replays::by_id(&self.shared.db, id).await?;
        // Those of operators are nobody's: admins see them.
        let may_see = |replay: &Replay| requester.may_see(replay.user_id.as_deref().unwrap_or_default());
        found.filter(may_see).ok_or(RecordsError::NoSuchReplay)
    }

    async fn cancel_replay(&self, requester: &Requester, id: String) -> Result<Replay, RecordsError> {
        self.find_replay(requester, &id).await?;
        let cancel = replays::CancelReplay { id: id.clone(), now_ms: self.shared.sources.now_ms() };
        let is_cancelled = self.shared.writer.ask(Apply(cancel)).await??;
        let replay = self.find_replay(requester, &id).await?;
        if !is_cancelled && replay.state == ReplayState::Done {
            return Err(RecordsError::ReplayDone);
        }
        Ok(replay)
    }
}

impl Handler<ReplayRecords> for Records {
    type Result = ResponseFuture<Result<BulkReplayed, RecordsError>>;

    fn handle(&mut self, message: ReplayRecords, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move { archive.replay_all(message.user_id, message.replay).await })
    }
}

impl Handler<ListReplays> for Records {
    type Result = ResponseFuture<Result<ReplayList, RecordsError>>;

    fn handle(&mut self, message: ListReplays, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move {
            let ListReplays { user_id, limit, offset } = message;
            let db = &archive.shared.db;
            let replays = replays::page(db, user_id.as_deref(), limit, offset).await?;
            let n_total = replays::count(db, user_id.as_deref()).await?;
            Ok(ReplayList { replays, n_total })
        })
    }
}

impl Handler<GetReplay> for Records {
    type Result = ResponseFuture<Result<Replay, RecordsError>>;

    fn handle(&mut self, message: GetReplay, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move { archive.find_replay(&message.requester, &message.id).await })
    }
}

impl Handler<CancelReplay> for Records {
    type Result = ResponseFuture<Result<Replay, RecordsError>>;

    fn handle(&mut self, message: CancelReplay, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move { archive.cancel_replay(&message.requester, message.id).await })
    }
}
