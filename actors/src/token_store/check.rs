//! The way to the token store, with the check that mostly needs no message.

use std::sync::Arc;

use super::messages::{CheckToken, NoteUses};
use super::sessions::Sessions;
use super::{Company, TokenStore};
use crate::domain::token::{Digest, Session};
use crate::domain::token_policy::TokenPolicy;
use crate::kernel::{Mailbox, Sources};
use crate::shared::Shared;
use crate::store::turns::Turns;
use crate::writer::WriteError;

/// The way to the token store. Clones lead to the same.
#[derive(Clone)]
pub struct Tokens {
    pub(super) sessions: Arc<Sessions>,
    mailbox: Mailbox<TokenStore>,
    sources: Sources,
}

impl Tokens {
    /// Starts the token store.
    pub(crate) fn start(shared: &Shared, policy: TokenPolicy, company: Company) -> Self {
        let sessions = Arc::new(Sessions::default());
        let store = TokenStore {
            shared: shared.clone(),
            policy,
            company,
            sessions: Arc::clone(&sessions),
            generation: 0,
            seen_mark: None,
            is_polling: false,
            turns: Turns::of(&shared.db),
            is_sweeping: false,
        };
        let terms = Shared::front_terms("token_store", 4096);
        let mailbox = crate::kernel::start(&shared.front, &shared.registry, terms, move |_| store);
        Self { sessions, mailbox, sources: shared.sources.clone() }
    }

    /// The session of a token; `None` for one that is unknown, expired or ended. What is in memory costs
    /// no message.
    pub async fn check(&self, token: &str) -> Result<Option<Arc<Session>>, WriteError> {
        let Some(digest) = Digest::of(token) else { return Ok(None) };
        if let Some(session) = self.sessions.get(&digest, self.sources.now_ms()) {
            return Ok(Some(session));
        }
        Ok(self.mailbox.ask(CheckToken(digest)).await??)
    }

    /// Writes down when tokens were last used, before the end.
    pub(crate) async fn note_uses(&self) {
        match self.mailbox.ask(NoteUses).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last uses of tokens were not written"),
            Err(error) => tracing::warn!(%error, "the last uses of tokens were not written"),
        }
    }

    /// The actor, for everything else.
    pub fn mailbox(&self) -> &Mailbox<TokenStore> {
        &self.mailbox
    }
}
