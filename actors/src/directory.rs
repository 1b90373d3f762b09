//! The directory: which ServiceNow instances and X accounts a user has.
//!
//! Every change is one commit: the settings, what they mean for the deliveries that wait, and the mark
//! that tells other processes. Then the [`Routes`] of this process follow, and whoever delivers is
//! told. Nothing here waits for ServiceNow or for X; only the name of a new instance is looked up.

mod accounts;
mod instances;
mod load;
mod messages;
mod reseal;

pub use load::LoadError;
pub(crate) use load::{load_account, load_instance};
pub use messages::{
    ChangeAccount, ChangeInstance, CreateInstance, DeleteInstance, ForgetAccount, ForgetAccountsOf,
    GetAccount, GetInstance, LinkAccount, ListAccounts, ListInstances, Refresh,
};

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::domain::fields::FieldErrors;
use crate::domain::instance::InstanceDefaults;
use crate::domain::sealing::Sealer;
use crate::kernel::{AskError, Mailbox, start};
use crate::routes::Routes;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::store::accounts::TouchAccounts;
use crate::writer::{Apply, WriteError};

/// How many questions may wait.
const CAPACITY: usize = 1024;
/// How often changes of other processes are looked for.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// How often the times of the last events are stored.
const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// How many accounts one flush stores in one statement.
const FLUSH_SIZE: usize = 1000;

/// How often something is tried while others change the same.
const MAX_TRIES: usize = 5;

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The instance with this id: whoever delivers to it.
    Instance(String),
    /// The account with this id: whoever writes in its name.
    Account(String),
}

/// What happened to a [`Target`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its settings or credentials changed: load them again.
    Settings,
    /// It has more to do: look at the lanes.
    Work,
    /// It was deleted.
    Gone,
}

/// A change that is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetChange {
    /// Whom it concerns.
    pub target: Target,
    /// What happened.
    pub kind: ChangeKind,
}

/// Is told of every committed change of this process. Must not block.
pub type OnChanged = Arc<dyn Fn(TargetChange) + Send + Sync>;

/// Is told the ids at X of accounts that were forgotten. Must not block.
pub type OnForgotten = Arc<dyn Fn(Vec<String>) + Send + Sync>;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// What stands on the page.
    pub rows: Vec<T>,
    /// How many there are on all pages.
    pub n_total: i64,
}

/// Why the directory did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such record, or it is another owner's.
    #[error("there is no such record")]
    NotFound,
    /// What was sent cannot be taken: messages by field.
    #[error("some fields cannot be taken")]
    Invalid(FieldErrors),
    /// Another change was faster, again and again.
    #[error("the record is being changed by others; try again")]
    Contended,
    /// The store cannot be reached; try again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// A bug here, or a store that this program did not write.
    #[error("the directory failed: {0}")]
    Internal(String),
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(detail) => Self::Unavailable(detail),
            StoreError::Contended => Self::Contended,
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<AskError> for DirectoryError {
    fn from(error: AskError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<WriteError> for DirectoryError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error.into(),
            WriteError::Ask(error) => error.into(),
        }
    }
}

/// What the directory works with. Clones share it.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) shared: Shared,
    pub(crate) sealer: Sealer,
    pub(crate) defaults: InstanceDefaults,
    /// `delivery.retry_for`: how long what was blocked may fail from when it goes on.
    pub(crate) retry_for_ms: i64,
    pub(crate) routes: Routes,
    pub(crate) on_changed: OnChanged,
    pub(crate) on_forgotten: OnForgotten,
    /// Called when anybody has changed settings.
    pub(crate) on_marked: Arc<dyn Fn() + Send + Sync>,
}

/// The actor.
pub struct Directory {
    desk: Desk,
    is_reloading: bool,
    is_flushing: bool,
    /// How often settings were found changed when the actors were told.
    n_told: u64,
}

/// Loads the routes and starts the directory.
pub(crate) async fn start_directory(desk: Desk) -> Result<Mailbox<Directory>, StoreError> {
    desk.routes.reload(&desk.shared.db).await?;
    if let Err(error) = reseal::reseal(&desk).await {
        tracing::warn!(%error, "credentials could not be sealed with the current key; trying at the next start");
    }
    let arbiter = desk.shared.front.clone();
    let registry = desk.shared.registry.clone();
    let terms = Shared::front_terms("directory", CAPACITY);
    Ok(start(&arbiter, &registry, terms, move |_| Directory::new(desk)))
}

impl Desk {
    fn tell(&self, target: Target, kind: ChangeKind) {
        (self.on_changed)(TargetChange { target, kind });
    }

    fn now_ms(&self) -> i64 {
        self.shared.sources.now_ms()
    }

    fn deadline_ms(&self) -> i64 {
        self.now_ms().saturating_add(self.retry_for_ms)
    }

    async fn flush_touches(&self) -> Result<(), DirectoryError> {
        let touches = self.routes.unstored_touches();
        for touches in touches.chunks(FLUSH_SIZE) {
            let change = TouchAccounts(touches.to_vec());
            self.shared.writer.ask(Apply(change)).await??;
            self.routes.note_stored(touches);
        }
        Ok(())
    }
}

impl Directory {
    fn new(desk: Desk) -> Self {
        Self { desk, is_reloading: false, is_flushing: false, n_told: 0 }
    }

    /// Reads the routes again when the mark has moved.
    fn reload_if_marked(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_reloading, true) {
            return;
        }
        let desk = self.desk.clone();
        let reload = async move { desk.routes.refresh(&desk.shared.db).await };
        context.spawn(reload.into_actor(self).map(|reloaded, directory, _| {
            directory.is_reloading = false;
            match reloaded {
                // Another replica may have changed what the actors here work with; whoever found out first.
                Ok(n) if n != directory.n_told => {
                    directory.n_told = n;
                    (directory.desk.on_marked)();
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "routes could not be read; trying again in a second"),
            }
        }));
    }

    fn flush(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_flushing, true) {
            return;
        }
        let desk = self.desk.clone();
        let flush = async move { desk.flush_touches().await };
        context.spawn(flush.into_actor(self).map(|flushed, directory, _| {
            directory.is_flushing = false;
            if let Err(error) = flushed {
                tracing::warn!(%error, "times of last events could not be stored; trying again in 10 s");
            }
        }));
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.reload_if_marked(context);
        context.run_interval(RELOAD_EVERY, Self::reload_if_marked);
        context.run_interval(FLUSH_EVERY, Self::flush);
    }
}

impl Supervised for Directory {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.desk.clone());
    }
}

impl Handler<Refresh> for Directory {
    type Result = ResponseFuture<Result<(), DirectoryError>>;

    fn handle(&mut self, _: Refresh, _: &mut Context<Self>) -> Self::Result {
        let desk = self.desk.clone();
        Box::pin(async move {
            desk.routes.reload(&desk.shared.db).await?;
            desk.flush_touches().await
        })
    }
}

/// Hands a message to the function that answers it; the actor itself keeps nothing of it.
macro_rules! answered_by {
    ($($message:ty => $function:path;)*) => {
        $(impl Handler<$message> for Directory {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, message: $message, _: &mut Context<Self>) -> Self::Result {
                Box::pin($function(self.desk.clone(), message))
            }
        })*
    };
}

answered_by! {
    CreateInstance => instances::create;
    ListInstances => instances::list;
    GetInstance => instances::get;
    ChangeInstance => instances::change;
    DeleteInstance => instances::delete;
    LinkAccount => accounts::link;
    ListAccounts => accounts::list;
    GetAccount => accounts::get;
    ChangeAccount => accounts::change;
    ForgetAccount => accounts::forget;
    ForgetAccountsOf => accounts::forget_all_of;
}

#[cfg(test)]
mod tests;
