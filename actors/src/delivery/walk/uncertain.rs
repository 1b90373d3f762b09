//! After a call whose end nobody knows: what became of it.

use super::super::journal::{Journal, Step};
use super::super::message::InboundKind;
use super::{Halt, Walk, unexpected};
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::servicenow::journal::{Journal as CaseJournal, JournalSearch, SearchStep};
use crate::servicenow::keys::{CorrelationId, SysId};

impl Walk<'_> {
    /// Finds out what became of a call whose end nobody knows, before anything else is done.
    pub(super) async fn look_up_what_may_be_done(&mut self) -> Result<(), Halt> {
        let Some(journal) = self.journal.clone().filter(Journal::is_open) else { return Ok(()) };
        if self.run.now_ms() < journal.look_at {
            return Err(Halt::NotYet(journal.look_at));
        }
        match &journal.step {
            Step::CreateCustomer => self.find_customer().await?,
            Step::CreateCase { correlation_id } => {
                let Ok(correlation_id) = CorrelationId::parse(correlation_id) else { return Ok(()) };
                self.courier.gate.pass().await?;
                let found = self.courier.client.find_case(&correlation_id).await?;
                if let Some(case) = found {
                    self.take_case(&case);
                    self.count_part_if_there(&case.sys_id).await?;
                }
            }
            Step::AddPart { case } => {
                let Ok(case) = SysId::parse(case) else { return Ok(()) };
                self.count_part_if_there(&case).await?;
            }
            Step::Nothing | Step::Send => {}
        }
        self.journal = Journal::progress(self.n_parts_done);
        Ok(())
    }

    async fn count_part_if_there(&mut self, case: &SysId) -> Result<(), Halt> {
        let marker = self
            .message
            .marker(self.n_parts_done, self.parts.len())
            .map_err(|_| unexpected("the message has no fit marker"))?;
        let journal = match self.message.kind {
            InboundKind::OwnDm => CaseJournal::WorkNotes,
            _ => CaseJournal::Comments,
        };
        let mut search = JournalSearch::new(case.clone(), journal, marker);
        loop {
            self.courier.gate.pass().await?;
            match self.courier.client.search_journal(&mut search).await? {
                SearchStep::More => {}
                SearchStep::Absent => return Ok(()),
                SearchStep::Blind => {
                    let detail = "the case's journal cannot be read, so it is unknown whether the message arrived; \
                                  let the integration user read sys_journal_field, then replay";
                    return Err(unexpected(detail).into());
                }
                SearchStep::Found => {
                    self.n_parts_done += 1;
                    return Ok(());
                }
            }
        }
    }

    /// Goes on after a call that failed: nothing happened, or a look-up shows what did, or it must wait.
    pub(super) async fn after_failed_effect(&mut self, failure: Failure) -> Result<(), Halt> {
        match failure.effect {
            Effect::None | Effect::NotTried => {
                self.effect_is_known();
                Err(failure.into())
            }
            Effect::Pending => Err(failure.into()),
            Effect::Possible => {
                let before = self.standing();
                if let Some(journal) = self.journal.as_mut() {
                    journal.look_at = 0;
                }
                if failure.class == ErrorClass::Busy {
                    // It asked to be left alone; the look-up comes with the next attempt.
                    return Err(failure.into());
                }
                if self.look_up_what_may_be_done().await.is_err() {
                    // The journal still tells what to look for; the first failure tells why.
                    return Err(failure.into());
                }
                if self.standing() != before {
                    return Ok(());
                }
                Err(Failure { effect: Effect::None, ..failure }.into())
            }
        }
    }

    /// What a look-up can move.
    fn standing(&self) -> (bool, bool, usize) {
        let conversation = &self.conversation;
        (conversation.customer_sys_id.is_some(), conversation.case_sys_id.is_some(), self.n_parts_done)
    }
}
