//! Signals between replicas: "there is something to look at", by PostgreSQL's NOTIFY.
//!
//! A signal may be lost; what it tells of stands in the store, and polling finds it a second later. Signals
//! are gathered for a moment and sent on a connection of their own, never inside the transaction they tell
//! of: a commit with a NOTIFY in it waits for every other such commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::{Mutex, mpsc};

use crate::store::deliveries::Direction;
use crate::store::{StoreError, in_time};

/// So many signals wait to be sent; more are dropped.
const CAPACITY: usize = 10_000;
/// So many are sent at once: well below the 8000 bytes that a payload may have.
const AT_ONCE: usize = 100;
/// How long signals are gathered.
const GATHER: Duration = Duration::from_millis(5);
/// After so long without a signal the server is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(15);
/// How long to wait before listening again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// What one replica tells the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Signal {
    /// There is something to deliver to an instance or account.
    Work(Direction, String),
    /// Settings of an instance or account changed.
    Settings(Direction, String),
    /// This delivery has ended, or its state has changed.
    Outcome(String),
    /// Shards were given up.
    Shards,
}

/// Sends signals. Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct Signals(Option<mpsc::Sender<Signal>>);

/// Signals that wait to be sent.
pub(crate) type Outgoing = Arc<Mutex<mpsc::Receiver<Signal>>>;

impl Signals {
    /// For a process without others.
    pub(crate) fn to_nobody() -> Self {
        Self(None)
    }

    /// For a replica, with the queue that its [`Switchboard`] empties.
    pub(crate) fn to_others() -> (Self, Outgoing) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self(Some(sender)), Arc::new(Mutex::new(receiver)))
    }

    /// Tells the others. What does not fit into the queue is dropped.
    pub(crate) fn send(&self, signal: Signal) {
        if let Some(sender) = &self.0 {
            let _dropped = sender.try_send(signal);
        }
    }
}

/// What is done with a signal that came; `None` when some may have been lost.
pub(crate) type OnSignal = Arc<dyn Fn(Option<Signal>) + Send + Sync>;

/// The actor that sends this replica's signals and hears the others'.
pub(crate) struct Switchboard {
    pool: PgPool,
    outgoing: Outgoing,
    on_signal: OnSignal,
}

impl Switchboard {
    pub(crate) fn new(pool: PgPool, outgoing: Outgoing, on_signal: OnSignal) -> Self {
        Self { pool, outgoing, on_signal }
    }
}

statements! {
    NOTIFY = postgres "SELECT pg_notify('casewire_' || current_schema(), $1)";
    ALIVE = postgres "SELECT 1";
    CHANNEL = postgres "SELECT 'casewire_' || current_schema()";
}

async fn send_all(pool: PgPool, outgoing: Outgoing) {
    let mut outgoing = outgoing.lock().await;
    let mut gathered = Vec::new();
    while outgoing.recv_many(&mut gathered, AT_ONCE).await > 0 {
        tokio::time::sleep(GATHER).await;
        while gathered.len() < AT_ONCE {
            let Ok(signal) = outgoing.try_recv() else { break };
            gathered.push(signal);
        }
        let signals: BTreeSet<Signal> = gathered.drain(..).collect();
        send_now(&pool, &signals).await;
    }
}

/// Sends signals at once.
pub(super) async fn send_now(pool: &PgPool, signals: &BTreeSet<Signal>) {
    let Ok(payload) = serde_json::to_string(signals) else { return };
    if let Err(error) = in_time(sqlx::query(NOTIFY.postgres).bind(payload).execute(pool)).await {
        tracing::debug!(%error, "signals were not sent; the other replicas find out by themselves");
    }
}

async fn hear_all(pool: PgPool, on_signal: OnSignal) {
    loop {
        if let Err(error) = hear(&pool, &on_signal).await {
            tracing::warn!(%error, "signals of other replicas are not heard; trying again");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn hear(pool: &PgPool, on_signal: &OnSignal) -> Result<(), StoreError> {
    let mut listener = in_time(listen(pool)).await?;
    on_signal(None);
    loop {
        let Ok(received) = tokio::time::timeout(SILENCE, listener.try_recv()).await else {
            in_time(ask(&mut listener)).await?;
            continue;
        };
        // `None`: the connection was lost, and with it perhaps signals.
        let Some(notification) = received? else { return Ok(()) };
        match serde_json::from_str::<Vec<Signal>>(notification.payload()) {
            Ok(signals) => signals.into_iter().for_each(|signal| on_signal(Some(signal))),
            // A newer version may say more.
            Err(error) => tracing::debug!(%error, "a signal cannot be read"),
        }
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener, StoreError> {
    let channel: String = sqlx::query_scalar(CHANNEL.postgres).fetch_one(pool).await?;
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel).await?;
    Ok(listener)
}

/// A connection that a network dropped without a word is as silent as one on which nothing happens: only an
/// answer tells them apart.
async fn ask(listener: &mut PgListener) -> Result<(), StoreError> {
    sqlx::query(ALIVE.postgres).execute(listener).await?;
    Ok(())
}

impl Actor for Switchboard {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.spawn(send_all(self.pool.clone(), Arc::clone(&self.outgoing)).into_actor(self));
        context.spawn(hear_all(self.pool.clone(), Arc::clone(&self.on_signal)).into_actor(self));
    }
}

impl Supervised for Switchboard {}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Switchboard);
