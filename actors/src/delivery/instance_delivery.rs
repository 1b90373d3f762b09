//! Delivery to one ServiceNow instance.
//!
//! Reads what is known of the conversation, lets a [`Walk`] make the attempt, and remembers what it found.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::allotments::is_kept;
use super::backoff::Scope;
use super::gate::Gate;
use super::journal::Journal;
use super::lane_run::{Courier, Failed, Outcome};
use super::run::{Run, store_failure};
use super::target::{Equipment, Health, Opening, Target};
use super::walk::{Halt, Walk};
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::rate::Rate;
use crate::servicenow::client::ServiceNow;
use crate::servicenow::customers::CustomerTable;
use crate::store::StoreError;
use crate::store::conversations::{self, Conversation};
use crate::store::deliveries::Delivery as Row;
use crate::store::instances::{self, SetStatus};
use crate::store::shards::Fenced;
use crate::writer::Apply;

/// How many conversations an actor remembers.
const MAX_REMEMBERED: usize = 512;

/// One instance, as a target.
pub(crate) struct InstanceTarget {
    pub(crate) id: String,
    /// Reads its settings and makes its client.
    pub(crate) open: OpenInstance,
}

/// What delivery needs to know of an instance.
#[derive(Clone)]
pub(crate) struct InstanceSettings {
    pub(crate) client: ServiceNow,
    pub(crate) rate: Rate,
    pub(crate) concurrency: usize,
    pub(crate) status: String,
    pub(crate) paused_until: Option<i64>,
    /// Grows with every change of the settings.
    pub(crate) version: i64,
    /// Epoch milliseconds: nobody made a call before.
    pub(crate) created_at: i64,
    pub(crate) customer_table: CustomerTable,
    /// Merged into new cases.
    pub(crate) case_defaults: Map<String, Value>,
    /// A case closed less long ago is opened again.
    pub(crate) reopen_window_ms: Option<i64>,
}

/// Reads an instance's settings and makes a client for it; `None` when it is gone.
pub(crate) type OpenInstance = Arc<dyn Fn(String) -> Opening<InstanceSettings> + Send + Sync>;

impl Target for InstanceTarget {
    type Courier = InstanceCourier;

    async fn load(&self, run: &Run, gate: &Gate) -> Result<Option<Equipment<InstanceCourier>>, StoreError> {
        let Some(instance) = (self.open)(self.id.clone()).await? else { return Ok(None) };
        if gate.is_new() {
            gate.set_rate(instance.rate);
            if is_kept(instance.rate) {
                gate.recount().await?;
            } else if let Some(at_ms) = others_called_until(run, &instance) {
                gate.use_up(at_ms);
            }
        } else {
            gate.count_for(instance.rate).await.map_err(|failure| StoreError::Unavailable(failure.detail))?;
        }
        Ok(Some(Equipment {
            rate: instance.rate,
            concurrency: instance.concurrency,
            status: instance.status.clone(),
            version: instance.version,
            is_outdated: Cell::new(false),
            paused_until: instance.paused_until,
            courier: InstanceCourier {
                id: self.id.clone(),
                client: instance.client.clone(),
                instance,
                gate: gate.clone(),
                remembered: RefCell::default(),
            },
        }))
    }

    async fn version(&self, run: &Run) -> Result<Option<i64>, StoreError> {
        Ok(instances::by_id(&run.shared.db, &self.id).await?.map(|row| row.version))
    }

    async fn save(&self, run: &Run, health: Health) {
        let change = SetStatus {
            id: self.id.clone(),
            status: health.status,
            detail: health.detail,
            paused_until: health.paused_until,
            success_at: health.success_at,
            version: Some(health.version),
        };
        // The next change says it again.
        let change = Fenced::new(run.shared.leases.replica(), run.lease, change);
        let _unsaved = run.shared.writer.ask(Apply(change)).await;
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// Until when somebody else may have made calls: another replica, or the process before this one.
fn others_called_until(run: &Run, instance: &InstanceSettings) -> Option<i64> {
    if let Some(since) = run.lease.since {
        let held_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        return Some(run.now_ms().saturating_sub(held_ms));
    }
    let began_at = run.shared.began_at_ms;
    (instance.created_at < began_at).then_some(began_at)
}

/// Makes attempts at one instance.
pub(crate) struct InstanceCourier {
    pub(super) id: String,
    pub(super) instance: InstanceSettings,
    pub(super) client: ServiceNow,
    pub(super) gate: Gate,
    /// Conversations of late, by account and customer.
    remembered: RefCell<HashMap<(String, String), Conversation>>,
}

impl Courier for InstanceCourier {
    async fn deliver(&self, run: &Run, delivery: &Row) -> Outcome {
        let Some(message) = delivery.payload.as_deref().and_then(|json| serde_json::from_str(json).ok())
        else {
            return Outcome::Failed(Box::new(erased(run.now_ms())));
        };
        let key = (delivery.account_id.clone(), delivery.customer_id.clone());
        let remembered = self.remembered.borrow_mut().remove(&key);
        let stored = match remembered {
            Some(conversation) => Ok(Some(conversation)),
            None => conversations::get(&run.shared.db, &key.0, &key.1).await,
        };
        let conversation = match stored {
            Ok(conversation) => conversation,
            Err(error) => {
                let failure = store_failure(&error.to_string());
                let journal = Journal::read(delivery.journal.as_deref());
                let sent_at = run.now_ms();
                return Outcome::Failed(Box::new(Failed {
                    failure,
                    journal,
                    sent_at,
                    conversation: None,
                    scope: Scope::Target,
                }));
            }
        };
        let mut walk = Walk::begin(self, run, delivery, message, conversation);
        let went = walk.go().await;
        if !matches!(went, Err(Halt::Lost)) {
            self.remember(key, walk.conversation.clone());
        }
        match went {
            Ok(()) => Outcome::Delivered(Box::new(walk.arrived())),
            Err(Halt::NotYet(until)) => Outcome::NotYet(until),
            Err(Halt::Lost) => Outcome::Lost,
            Err(Halt::Failed(failure)) => Outcome::Failed(Box::new(Failed {
                failure,
                journal: walk.journal.filter(|journal| journal.is_open() || journal.n_parts_done > 0),
                sent_at: walk.sent_at,
                conversation: Some(walk.conversation),
                scope: Scope::Target,
            })),
        }
    }
}

impl InstanceCourier {
    /// Keeps what is known of a conversation for its next message. Nobody else writes it.
    fn remember(&self, key: (String, String), mut conversation: Conversation) {
        conversation.is_case_new = false;
        let mut remembered = self.remembered.borrow_mut();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key, conversation);
    }
}

/// A message that retention has erased cannot be delivered any more.
fn erased(now_ms: i64) -> Failed {
    let failure = Failure {
        class: ErrorClass::Permanent,
        effect: Effect::None,
        http_status: None,
        detail: "the message was erased by retention before it could be delivered".to_owned(),
        retry_at_ms: None,
    };
    Failed { failure, journal: None, sent_at: now_ms, conversation: None, scope: Scope::Target }
}
