//! One attempt at one message for ServiceNow.
//!
//! What is known of the customer, the case and the message decides the next call, and each answer adds to
//! what is known. Before a call that is not idempotent its intent is stored; after one that may have had
//! its effect, a look-up decides how the walk goes on.

use super::instance_delivery::InstanceCourier;
use super::journal::{Journal, Step};
use super::lane_run::Delivered;
use super::message::{Inbound, InboundKind};
use super::party::{Records, forget_other_instance, records_of, take_author};
use super::run::Run;
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::servicenow::cases::{CaseRow, NewCase, STATE_OPEN};
use crate::servicenow::customers::{Customer, CustomerTable};
use crate::servicenow::keys::{CorrelationId, Handle, SysId, XUserId};
use crate::store::conversations::Conversation;
use crate::store::deliveries::Delivery as Row;
use crate::writer::Claim;

mod uncertain;

/// How many calls an attempt makes at most: a walk that goes in a circle ends.
const MAX_STEPS: usize = 64;

/// Why a walk ends without arriving.
pub(super) enum Halt {
    Failed(Failure),
    NotYet(i64),
    Lost,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Arrived,
    FindCustomer,
    CreateCustomer,
    FindCase,
    CreateCase,
    CheckCase,
    AddPart,
}

/// One attempt at one message.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is known, and they combine freely")]
pub(super) struct Walk<'a> {
    courier: &'a InstanceCourier,
    run: &'a Run,
    delivery: &'a Row,
    message: Inbound,
    parts: Vec<String>,
    n_parts_done: usize,
    pub(super) conversation: Conversation,
    /// Which records of the conversation are in the store.
    stored_records: Records,
    pub(super) journal: Option<Journal>,
    is_customer_looked_up: bool,
    is_case_looked_up: bool,
    is_case_seen_open: bool,
    /// The case was closed a short while ago: the next comment opens it again.
    must_reopen: bool,
    remark: Option<String>,
    pub(super) sent_at: i64,
}

impl<'a> Walk<'a> {
    pub(super) fn begin(
        courier: &'a InstanceCourier,
        run: &'a Run,
        delivery: &'a Row,
        message: Inbound,
        stored: Option<Conversation>,
    ) -> Self {
        let known = || Conversation::new(&delivery.account_id, &delivery.customer_id);
        let mut conversation = stored.unwrap_or_else(known);
        let stored_records = records_of(&conversation);
        forget_other_instance(&mut conversation, &courier.id);
        take_author(&mut conversation, &message);
        let journal = Journal::read(delivery.journal.as_deref());
        // Seen open after the message was accepted: it belongs there, whatever came later.
        let is_case_seen_open = conversation.case_open_at >= Some(delivery.created_at);
        Self {
            courier,
            run,
            delivery,
            parts: message.comments(),
            message,
            n_parts_done: journal.as_ref().map_or(0, |journal| journal.n_parts_done),
            stored_records,
            conversation,
            journal,
            is_customer_looked_up: false,
            is_case_looked_up: false,
            is_case_seen_open,
            must_reopen: false,
            remark: None,
            sent_at: run.now_ms(),
        }
    }

    pub(super) async fn go(&mut self) -> Result<(), Halt> {
        self.look_up_what_may_be_done().await?;
        for _ in 0..MAX_STEPS + self.parts.len() {
            match self.next() {
                Next::Arrived => return Ok(()),
                Next::FindCustomer => self.find_customer().await?,
                Next::CreateCustomer => self.create_customer().await?,
                Next::FindCase => self.find_case().await?,
                Next::CreateCase => self.create_case().await?,
                Next::CheckCase => self.check_case().await?,
                Next::AddPart => self.add_part().await?,
            }
        }
        Err(unexpected("the case opens and closes in a circle; look at the instance's business rules").into())
    }

    fn next(&self) -> Next {
        let conversation = &self.conversation;
        if self.n_parts_done >= self.parts.len() || self.remark.is_some() {
            return Next::Arrived;
        }
        if self.message.kind == InboundKind::OwnDm {
            return if self.is_case_seen_open { Next::AddPart } else { Next::CheckCase };
        }
        if conversation.customer_sys_id.is_none() {
            return if self.is_customer_looked_up { Next::CreateCustomer } else { Next::FindCustomer };
        }
        if conversation.case_sys_id.is_none() {
            return if self.is_case_looked_up { Next::CreateCase } else { Next::FindCase };
        }
        if self.is_case_seen_open { Next::AddPart } else { Next::CheckCase }
    }

    async fn find_customer(&mut self) -> Result<(), Halt> {
        let customer = self.customer()?;
        self.courier.gate.pass().await?;
        let found = self.courier.client.find_customer(self.table(), &customer).await?;
        self.is_customer_looked_up = true;
        self.conversation.customer_sys_id = found.map(|sys_id| sys_id.to_string());
        Ok(())
    }

    async fn create_customer(&mut self) -> Result<(), Halt> {
        let customer = self.customer()?;
        self.intend(Step::CreateCustomer).await?;
        match self.courier.client.create_customer(self.table(), &customer).await {
            Ok(sys_id) => {
                self.conversation.customer_sys_id = Some(sys_id.to_string());
                self.effect_is_known();
                Ok(())
            }
            Err(failure) => self.after_failed_effect(failure).await,
        }
    }

    async fn find_case(&mut self) -> Result<(), Halt> {
        let correlation_id = self.correlation_id()?;
        self.courier.gate.pass().await?;
        let seen_at = self.run.now_ms();
        match self.courier.client.find_case(&correlation_id).await? {
            None => self.is_case_looked_up = true,
            Some(case) => {
                self.take_case(&case);
                self.judge_case(&case, seen_at);
            }
        }
        Ok(())
    }

    async fn create_case(&mut self) -> Result<(), Halt> {
        let correlation_id = self.correlation_id()?;
        let customer = self.customer()?;
        let reference = self
            .conversation
            .customer_sys_id
            .as_deref()
            .and_then(|sys_id| SysId::parse(sys_id).ok())
            .map(|sys_id| self.table().reference(sys_id));
        self.intend(Step::CreateCase { correlation_id: correlation_id.to_string() }).await?;
        let display = format!("Casewire: X conversation with {}", customer.social_id());
        let case = NewCase {
            correlation_id: &correlation_id,
            correlation_display: &display,
            short_description: &self.message.title(),
            description: &self.parts[self.n_parts_done],
            comments: &self.parts[self.n_parts_done],
            customer: reference.as_ref(),
            social_handle: customer.social_id(),
            social_handle_url: &customer.page_url(),
            social_post_url: self.message.link.as_deref(),
            defaults: &self.courier.instance.case_defaults,
        };
        let sent_at = self.sent_at;
        match self.courier.client.create_case(&case).await {
            Ok(made) => {
                self.conversation.case_sys_id = Some(made.sys_id.to_string());
                self.conversation.case_number = Some(made.number);
                self.conversation.is_case_new = true;
                self.conversation.case_open_at = Some(sent_at);
                self.is_case_seen_open = true;
                self.n_parts_done += 1;
                self.effect_is_known();
                Ok(())
            }
            Err(failure) => self.after_failed_effect(failure).await,
        }
    }

    async fn check_case(&mut self) -> Result<(), Halt> {
        let Some(case) = self.case() else {
            self.remark = Some("there is no open case to add it to".to_owned());
            return Ok(());
        };
        self.courier.gate.pass().await?;
        let seen_at = self.run.now_ms();
        match self.courier.client.get_case(&case).await? {
            Some(row) => self.judge_case(&row, seen_at),
            None => self.forget_case(),
        }
        Ok(())
    }

    /// Says what to do with a case in this state.
    fn judge_case(&mut self, case: &CaseRow, seen_at: i64) {
        if case.is_open {
            self.conversation.case_open_at = Some(seen_at);
            self.is_case_seen_open = true;
            return;
        }
        let closed_at = case.closed_at_ms.max(case.resolved_at_ms);
        let window = self.courier.instance.reopen_window_ms;
        let is_recent = closed_at.zip(window).is_some_and(|(at, window)| seen_at - at < window);
        if self.message.kind == InboundKind::OwnDm {
            self.remark = Some("the case is closed; an own message is not added to it".to_owned());
        } else if is_recent {
            self.must_reopen = true;
            self.is_case_seen_open = true;
        } else {
            self.forget_case();
            self.conversation.episode += 1;
        }
    }

    async fn add_part(&mut self) -> Result<(), Halt> {
        let Some(case) = self.case() else {
            self.forget_case();
            return Ok(());
        };
        self.intend(Step::AddPart { case: case.to_string() }).await?;
        let text = &self.parts[self.n_parts_done];
        let client = &self.courier.client;
        let sent_at = self.sent_at;
        let added = match self.message.kind {
            InboundKind::OwnDm => client.add_work_note(&case, text).await,
            _ if self.must_reopen => client.reopen_with_comment(&case, STATE_OPEN, text).await,
            _ => client.add_comment(&case, text).await,
        };
        match added {
            Ok(row) => {
                self.n_parts_done += 1;
                self.must_reopen = false;
                if row.is_some_and(|row| row.is_open) {
                    self.conversation.case_open_at = Some(sent_at);
                }
                self.effect_is_known();
                Ok(())
            }
            Err(failure) if failure.class == ErrorClass::NotFound && failure.effect == Effect::None => {
                self.effect_is_known();
                self.forget_case();
                Ok(())
            }
            Err(failure) => self.after_failed_effect(failure).await,
        }
    }

    /// Stores what is about to be done, once the rate lets the call start.
    async fn intend(&mut self, step: Step) -> Result<(), Halt> {
        let start = self.courier.gate.reserve().await?;
        let mut journal = Journal::intent(step, self.n_parts_done);
        // What the steps before found out is stored with it; the rest waits for the outcome.
        let records = records_of(&self.conversation);
        let news = (records != self.stored_records).then(|| self.conversation.clone());
        if self.run.record_intent(self.delivery, &mut journal, news).await? == Claim::Lost {
            return Err(Halt::Lost);
        }
        self.sent_at = start.start();
        self.stored_records = records;
        self.journal = Some(journal);
        Ok(())
    }

    fn effect_is_known(&mut self) {
        self.journal = Journal::progress(self.n_parts_done);
    }

    fn take_case(&mut self, case: &CaseRow) {
        self.conversation.case_sys_id = Some(case.sys_id.to_string());
        self.conversation.case_number = Some(case.number.clone());
        self.conversation.is_case_new = true;
        self.is_case_seen_open = false;
    }

    fn forget_case(&mut self) {
        self.conversation.case_sys_id = None;
        self.conversation.case_number = None;
        self.conversation.case_open_at = None;
        self.is_case_seen_open = false;
        self.is_case_looked_up = false;
        self.must_reopen = false;
    }

    fn case(&self) -> Option<SysId> {
        self.conversation.case_sys_id.as_deref().and_then(|sys_id| SysId::parse(sys_id).ok())
    }

    fn table(&self) -> CustomerTable {
        self.courier.instance.customer_table
    }

    fn customer(&self) -> Result<Customer, Failure> {
        let x_id = XUserId::parse(&self.conversation.customer_id);
        let x_id = x_id.map_err(|_| unexpected("the customer's id is not one of X"))?;
        let handle = self.conversation.handle.as_deref().and_then(|handle| Handle::parse(handle).ok());
        Ok(Customer { x_id, handle, name: self.conversation.name.clone().unwrap_or_default() })
    }

    /// The same conversation and episode always give the same key, in whatever process.
    fn correlation_id(&self) -> Result<CorrelationId, Failure> {
        let Conversation { customer_id, episode, .. } = &self.conversation;
        let key = format!("casewire:{}:{customer_id}:{episode}", self.message.account);
        CorrelationId::parse(&key).map_err(|_| unexpected("the conversation has no fit key"))
    }

    pub(super) fn arrived(self) -> Delivered {
        let conversation = self.conversation;
        let case = conversation.case_sys_id.clone().map(|id| (id, conversation.case_number.clone()));
        let case = case.filter(|_| self.remark.is_none());
        Delivered { message_id: None, case, conversation: Some(conversation), remark: self.remark }
    }
}

fn unexpected(detail: &str) -> Failure {
    Failure {
        class: ErrorClass::Unexpected,
        effect: Effect::None,
        http_status: None,
        detail: detail.to_owned(),
        retry_at_ms: None,
    }
}
