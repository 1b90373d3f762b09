//! What a kind of target, instance or account, brings along for its delivery actor.

use std::cell::Cell;

use futures_util::future::LocalBoxFuture;

use super::gate::Gate;
use super::lane_run::Courier;
use super::run::Run;
use crate::domain::rate::Rate;
use crate::store::StoreError;

/// How a target is doing, as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    pub(crate) paused_until: Option<i64>,
    pub(crate) success_at: Option<i64>,
    /// Of the settings under which it was found out: it says nothing about others.
    pub(crate) version: i64,
}

/// What a kind of target brings along.
pub(crate) trait Target: 'static {
    /// Makes its attempts.
    type Courier: Courier + 'static;

    /// Reads the settings of the target; `None` when it is gone. Every call passes the gate.
    fn load(
        &self,
        run: &Run,
        gate: &Gate,
    ) -> impl Future<Output = Result<Option<Equipment<Self::Courier>>, StoreError>>;

    /// Which version of the settings is in the store; `None` when the target is gone.
    fn version(&self, run: &Run) -> impl Future<Output = Result<Option<i64>, StoreError>>;

    /// Stores how the target is doing. Failing is harmless: the next change says it again.
    fn save(&self, run: &Run, health: Health) -> impl Future<Output = ()>;

    /// The id of the instance or account.
    fn id(&self) -> &str;
}

/// Settings that are being read.
pub(crate) type Opening<T> = LocalBoxFuture<'static, Result<Option<T>, StoreError>>;

/// A target's settings, ready for use.
pub(crate) struct Equipment<C> {
    pub(crate) courier: C,
    pub(crate) rate: Rate,
    pub(crate) concurrency: usize,
    pub(crate) status: String,
    pub(crate) paused_until: Option<i64>,
    /// Of the settings.
    pub(crate) version: i64,
    /// Others have taken its place: what began with these ends as soon as it can.
    pub(crate) is_outdated: Cell<bool>,
}
