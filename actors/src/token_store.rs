//! The token store: issues tokens, recognises them, ends them.
//!
//! A token is 32 random bytes; only its digest is kept. Recognised tokens stand in memory, where a check
//! reads them without a message ([`Tokens::check`]); everything else asks this actor.
//!
//! An ended token is refused at once. In this process its session is forgotten before the answer goes
//! out, and a look-up that was under way cannot bring it back: it carries the generation in which it
//! began. Other processes see the mark that moved with the change: each looks at it every
//! [`POLL_EVERY`] and believes its memory for a [`LEASE`] after such a look. Who ends a token while
//! others may hold it in memory waits for [`REACH`] before it says so.

mod check;
mod expiry;
mod messages;
mod sessions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

pub use self::check::Tokens;
use self::expiry::sweep_expired;
pub(crate) use self::messages::ForgetUser;
use self::messages::{CheckToken, NoteUses};
pub use self::messages::{
    Grant, IssueToken, Lifetime, ListTokens, ReplaceApiKey, RevokeAll, RevokeToken, TokenError,
};
use self::sessions::Sessions;
use crate::domain::token::{Digest, NewToken, Session, TokenInfo, TokenKind, write_token};
use crate::domain::token_policy::TokenPolicy;
use crate::shared::Shared;
use crate::store::Change;
use crate::store::tokens::{self, Issued, TokenRow};
use crate::store::turns::Turns;
use crate::store::{StoreError, marks};
use crate::writer::{Apply, WriteError};

const POLL_EVERY: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_millis(200);
const REACH: Duration = Duration::from_millis(250);
/// How often uses are written down.
const NOTE_EVERY: Duration = Duration::from_secs(30);
/// How many uses one commit writes down at most.
const NOTED_AT_ONCE: usize = 500;
/// How often expired tokens are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(5);

// State

/// Who else may hold sessions in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Nobody: this process serves alone.
    Alone,
    /// Other replicas, or the serving process beside a command.
    Others,
}

/// The actor.
pub struct TokenStore {
    shared: Shared,
    policy: TokenPolicy,
    company: Company,
    sessions: Arc<Sessions>,
    /// Counts what ended tokens or changed users.
    generation: u64,
    /// Where the mark stood when everything in memory was true.
    seen_mark: Option<i64>,
    is_polling: bool,
    /// For tokens that are not in memory, so that those of nobody, in whatever number, hold up no look at the mark.
    turns: Turns,
    is_sweeping: bool,
}

impl TokenStore {
    /// Looks whether another process ended tokens.
    fn poll(&mut self, context: &mut Context<Self>) {
        if self.is_polling {
            return;
        }
        self.is_polling = true;
        let (db, asked_at) = (self.shared.db.clone(), Instant::now());
        let reading = async move { marks::read(&db, marks::TOKENS).await };
        context.spawn(reading.into_actor(self).map(move |mark, store, _| {
            store.is_polling = false;
            match mark {
                Ok(mark) => store.saw_mark(mark, asked_at),
                // Without a look the lease ends, and every check reads the database.
                Err(error) => tracing::debug!(%error, "the mark of ended tokens cannot be read"),
            }
        }));
    }

    fn saw_mark(&mut self, mark: i64, asked_at: Instant) {
        if self.seen_mark.is_none_or(|seen| mark > seen) {
            self.forget_all();
            self.seen_mark = Some(mark);
        }
        self.sessions.lease(asked_at, LEASE);
    }

    fn forget_all(&mut self) {
        self.generation += 1;
        self.sessions.clear();
    }

    /// Takes note of a change of our own, once what it concerns was forgotten.
    fn made_mark(&mut self, mark: i64) {
        self.generation += 1;
        if self.seen_mark == Some(mark - 1) {
            self.seen_mark = Some(mark);
        }
    }

    /// Judges a session that was read, and keeps it if nothing ended meanwhile.
    fn admit(
        &mut self,
        digest: Digest,
        began_in: u64,
        found: Option<Session>,
        context: &mut Context<Self>,
    ) -> Option<Arc<Session>> {
        let now_ms = self.shared.sources.now_ms();
        let mut session = found.filter(|session| !session.has_expired(now_ms))?;
        if let Some(expires_at_ms) = self.policy.refreshed(&session, now_ms) {
            session.expires_at_ms = Some(expires_at_ms);
            self.extend(digest, session.token_id.clone(), expires_at_ms, context);
        }
        let refresh_at_ms = self.policy.refresh_at_ms(&session);
        let session = Arc::new(session);
        if began_in == self.generation && self.seen_mark.is_some() {
            self.sessions.insert(digest, Arc::clone(&session), refresh_at_ms, now_ms);
        }
        Some(session)
    }

    /// Writes a longer life down. If that fails it is as it was: the next use tries again.
    fn extend(&self, digest: Digest, token_id: String, expires_at: i64, context: &mut Context<Self>) {
        let writer = self.shared.writer.clone();
        let writing = async move { writer.ask(Apply(tokens::Extend { token_id, expires_at })).await };
        context.spawn(writing.into_actor(self).map(move |written, store, _| {
            if !matches!(written, Ok(Ok(()))) {
                store.sessions.remove(&digest);
            }
        }));
    }

    fn new_token(&self, user_id: String, kind: TokenKind, name: String) -> (tokens::NewToken, NewToken) {
        let mut random = [0; 32];
        self.shared.sources.fill(&mut random);
        let token = write_token(&self.policy.prefix, &random);
        let created_at = self.shared.sources.now_ms();
        // What was just written has the form of a token.
        let digest = Digest::of(token.expose()).map(Digest::to_hex).unwrap_or_default();
        let expires_at = self.policy.expires_at_ms(created_at).filter(|_| kind == TokenKind::Session);
        let row = tokens::NewToken {
            id: self.shared.sources.id(),
            user_id,
            digest,
            kind,
            name,
            created_at,
            expires_at,
        };
        (row, NewToken { token, expires_at_ms: expires_at })
    }

    /// Writes a change that ends tokens, forgets what it concerns, and lets that reach everyone.
    fn end<C: Change>(
        &self,
        change: C,
        forget: impl FnOnce(&mut Self, &C::Output) + 'static,
    ) -> ResponseActFuture<Self, Result<C::Output, TokenError>> {
        let writer = self.shared.writer.clone();
        let pause = self.pause();
        let writing = async move { Ok::<_, TokenError>(writer.ask(Apply(change)).await??) };
        Box::pin(
            writing
                .into_actor(self)
                .map(move |written, store, _| {
                    match &written {
                        Ok(output) => forget(store, output),
                        // It may have been done all the same.
                        Err(_) => store.forget_all(),
                    }
                    written
                })
                .then(move |written, store, _| {
                    async move {
                        tokio::time::sleep(pause).await;
                        written
                    }
                    .into_actor(store)
                }),
        )
    }

    fn pause(&self) -> Duration {
        match self.company {
            Company::Alone => Duration::ZERO,
            Company::Others => REACH,
        }
    }

    /// Writes down what was used since the last time.
    fn note_uses(&self) -> impl Future<Output = Result<(), WriteError>> + 'static {
        let sessions = Arc::clone(&self.sessions);
        let writer = self.shared.writer.clone();
        async move {
            for uses in sessions.unnoted_uses().chunks(NOTED_AT_ONCE) {
                let touch = tokens::Touch(uses.iter().map(|(_, used)| used.clone()).collect());
                writer.ask(Apply(touch)).await??;
                sessions.note(uses);
            }
            Ok(())
        }
    }

    fn sweep(&mut self, context: &mut Context<Self>) {
        // Of several replicas one does it: whoever holds the shard of this name.
        if self.shared.leases.lease_of("tokens").is_none() || std::mem::replace(&mut self.is_sweeping, true) {
            return;
        }
        let sweeping = sweep_expired(self.shared.clone());
        context.spawn(sweeping.into_actor(self).map(|swept, store, _| {
            store.is_sweeping = false;
            match swept {
                Ok(n_deleted) => tracing::debug!(n_deleted, "deleted expired tokens"),
                Err(error) => tracing::warn!(%error, "expired tokens were not deleted"),
            }
        }));
    }

    fn describe(&self, row: TokenRow) -> TokenInfo {
        let in_memory = Digest::from_hex(&row.digest).and_then(|digest| self.sessions.last_used(&digest));
        TokenInfo {
            id: row.id,
            kind: TokenKind::from_name(&row.kind),
            name: row.name,
            created_at_ms: row.created_at,
            expires_at_ms: row.expires_at,
            last_used_at_ms: row.last_used_at.max(in_memory),
        }
    }
}

// Actor

impl Actor for TokenStore {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.poll(context);
        self.sweep(context);
        context.run_interval(POLL_EVERY, Self::poll);
        context.run_interval(SWEEP_EVERY, Self::sweep);
        context.run_interval(NOTE_EVERY, |store, context| {
            let noting = store.note_uses();
            context.spawn(noting.into_actor(store).map(|noted, _, _| {
                if let Err(error) = noted {
                    tracing::warn!(%error, "the last uses of tokens were not written");
                }
            }));
        });
    }
}

impl Supervised for TokenStore {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.forget_all();
        self.seen_mark = None;
        self.is_polling = false;
        self.is_sweeping = false;
    }
}

// Handlers

impl Handler<CheckToken> for TokenStore {
    type Result = ResponseActFuture<Self, Result<Option<Arc<Session>>, StoreError>>;

    fn handle(&mut self, CheckToken(digest): CheckToken, _: &mut Context<Self>) -> Self::Result {
        let (db, turns, began_in) = (self.shared.db.clone(), self.turns.clone(), self.generation);
        let reading = async move {
            let _turn = turns.take().await?;
            tokens::by_digest(&db, &digest.to_hex()).await
        };
        Box::pin(
            reading
                .into_actor(self)
                .map(move |found, store, context| Ok(store.admit(digest, began_in, found?, context))),
        )
    }
}

impl Handler<IssueToken> for TokenStore {
    type Result = ResponseFuture<Result<NewToken, TokenError>>;

    fn handle(&mut self, message: IssueToken, _: &mut Context<Self>) -> Self::Result {
        let (mut row, mut token) = self.new_token(message.user_id, TokenKind::Session, message.name);
        let (limit, verified_hash) = match message.grant {
            Grant::Login { password_hash } => (self.policy.limit.map(i64::from), Some(password_hash)),
            Grant::Operator(Lifetime::Usual) => (None, None),
            Grant::Operator(Lifetime::Endless) => {
                row.expires_at = None;
                token.expires_at_ms = None;
                (None, None)
            }
        };
        let writer = self.shared.writer.clone();
        Box::pin(async move {
            match writer.ask(Apply(tokens::Issue { token: row, limit, verified_hash })).await?? {
                Issued::Done => Ok(token),
                Issued::Stale => Err(TokenError::Stale),
                Issued::LimitReached => Err(TokenError::LimitReached),
            }
        })
    }
}

impl Handler<ReplaceApiKey> for TokenStore {
    type Result = ResponseActFuture<Self, Result<NewToken, TokenError>>;

    fn handle(&mut self, message: ReplaceApiKey, _: &mut Context<Self>) -> Self::Result {
        let user_id = message.user_id.clone();
        let (row, token) = self.new_token(message.user_id, TokenKind::ApiKey, String::new());
        let ending = self.end(tokens::ReplaceApiKey(row), move |store, mark| {
            store.sessions.remove_user(&user_id);
            if let Some(mark) = mark {
                store.made_mark(*mark);
            }
        });
        Box::pin(ending.map(|mark, _, _| mark?.map(|_| token).ok_or(TokenError::Stale)))
    }
}

impl Handler<RevokeToken> for TokenStore {
    type Result = ResponseActFuture<Self, Result<bool, TokenError>>;

    fn handle(&mut self, message: RevokeToken, _: &mut Context<Self>) -> Self::Result {
        let change = tokens::Revoke { token_id: message.token_id, user_id: message.user_id };
        let ending = self.end(change, |store, ended| {
            let Some((digest, mark)) = ended else { return };
            if let Some(digest) = Digest::from_hex(digest) {
                store.sessions.remove(&digest);
            }
            store.made_mark(*mark);
        });
        Box::pin(ending.map(|ended, _, _| Ok(ended?.is_some())))
    }
}

impl Handler<RevokeAll> for TokenStore {
    type Result = ResponseActFuture<Self, Result<(), TokenError>>;

    fn handle(&mut self, message: RevokeAll, _: &mut Context<Self>) -> Self::Result {
        let user_id = message.user_id.clone();
        let ending = self.end(tokens::RevokeAll { user_id: message.user_id }, move |store, mark| {
            store.sessions.remove_user(&user_id);
            store.made_mark(*mark);
        });
        Box::pin(ending.map(|mark, _, _| mark.map(drop)))
    }
}

impl Handler<ForgetUser> for TokenStore {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: ForgetUser, _: &mut Context<Self>) -> Self::Result {
        self.sessions.remove_user(&message.user_id);
        self.made_mark(message.mark);
        Box::pin(tokio::time::sleep(self.pause()))
    }
}

impl Handler<ListTokens> for TokenStore {
    type Result = ResponseActFuture<Self, Result<Vec<TokenInfo>, TokenError>>;

    fn handle(&mut self, message: ListTokens, _: &mut Context<Self>) -> Self::Result {
        let (db, now_ms) = (self.shared.db.clone(), self.shared.sources.now_ms());
        let reading = async move { tokens::live_of_user(&db, &message.user_id, now_ms).await };
        Box::pin(
            reading
                .into_actor(self)
                .map(|rows, store, _| Ok(rows?.into_iter().map(|row| store.describe(row)).collect())),
        )
    }
}

impl Handler<NoteUses> for TokenStore {
    type Result = ResponseFuture<Result<(), WriteError>>;

    fn handle(&mut self, _: NoteUses, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.note_uses())
    }
}

#[cfg(test)]
mod tests;
