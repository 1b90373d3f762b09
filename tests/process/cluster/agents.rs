//! ServiceNow's side of a run: agents answer in the cases, and an event that was not taken is posted again,
//! under the same id, to another replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use casewire_sandbox::ServiceNowSandbox;
use reqwest::Method;
use serde_json::json;

use super::customers::Customer;
use super::replica::Door;
use super::size::N_CUSTOMERS_EACH;
use super::wire::{Caller, answer};

/// Each company's agents answer a customer so often, without waiting for what becomes of an answer: so they queue up, and
/// the order could be lost. With a quarter of the calls failing that is as good as never more than the 15 calls that
/// X takes of an account in 15 minutes, by which a new owner goes that X has told nothing else.
const N_ANSWERS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(200);
const PERSISTENCE: Duration = Duration::from_mins(2);

/// The answers that were taken, by customer, in the order in which they were.
pub(crate) type Answers = BTreeMap<Customer, Vec<String>>;

/// The agents of all companies.
pub(crate) struct Agents {
    pub(crate) doors: Vec<Door>,
    pub(crate) token: String,
    pub(crate) instances: Vec<ServiceNowSandbox>,
    pub(crate) period: Duration,
}

impl Agents {
    pub(crate) async fn run(self) -> Answers {
        let agents = Arc::new(self);
        let begun = Instant::now();
        let companies: Vec<_> = (0..agents.instances.len())
            .map(|company| tokio::spawn(agents.clone().answer_all(company, begun)))
            .collect();
        let mut answers = Answers::new();
        for company in companies {
            answers.extend(company.await.expect("an agent comes to the end"));
        }
        answers
    }

    async fn answer_all(self: Arc<Self>, company: usize, begun: Instant) -> Answers {
        let mut answers = Answers::new();
        let n_companies = self.instances.len();
        // One company after the other, over the whole period: some are in the middle of it whatever happens when.
        let pause = self.period / u32::try_from(n_companies + 1).unwrap_or(1);
        let due = begun + pause * u32::try_from(company + 1).unwrap_or(1);
        tokio::time::sleep_until(due.into()).await;
        let customer = Customer { company, number: company % N_CUSTOMERS_EACH };
        for nth in 0..N_ANSWERS {
            let text = format!("answer {nth} to customer {} of company {company}", customer.number);
            self.answer(customer, &text).await;
            answers.entry(customer).or_default().push(text);
        }
        answers
    }

    /// Posts one answer until it is taken, to one replica after the other.
    async fn answer(&self, customer: Customer, text: &str) {
        let begun = Instant::now();
        for door in self.doors.iter().cycle().skip(customer.company) {
            assert!(begun.elapsed() < PERSISTENCE, "{text:?} was never taken");
            let case = self.case_of(customer);
            if let (Some(case), Some(base)) = (case, door.base()) {
                let event = json!({ "message": text, "case": case, "event_id": text });
                let caller = Caller::new(&base).with_token(&self.token);
                let request = caller.request(Method::POST, "/api/events/").json(&event).timeout(PATIENCE);
                let request = request.header("prefer", "respond-async");
                let status = answer(request).await.map_or(0, |reply| reply.status);
                match status {
                    200 | 202 => return,
                    // Not reached or not now; or the hub has not heard yet of the case that it made.
                    0 | 404 | 408 | 503 => {}
                    other => panic!("{text:?} was answered with {other}"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn case_of(&self, customer: Customer) -> Option<String> {
        let cases = self.instances[customer.company].cases();
        cases.into_iter().find(|case| customer.has(case)).map(|case| case.sys_id)
    }
}
