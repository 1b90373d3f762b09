//! X's side of a run: customers write, and what was not answered with 200 is sent again to another replica.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::customers::Customer;
use super::replica::Door;
use super::wire::post_signed;

/// So many messages are posted at once, each of another customer.
const N_SENDERS: usize = 24;
/// How long a sender waits for an answer before it tries another replica.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after every replica has been tried.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one message is tried at most.
const PERSISTENCE: Duration = Duration::from_mins(2);
/// What a post may be answered with while replicas are in trouble, 0 for nothing. A replica that was just woken
/// from a pause may think of a request that comes now that it came slowly: 408.
const EXPECTED: [u16; 4] = [0, 200, 408, 503];

/// What is to be posted.
pub(crate) struct Load {
    pub(crate) doors: Vec<Door>,
    pub(crate) secret: String,
    pub(crate) customers: Vec<Customer>,
    pub(crate) n_messages: u64,
    pub(crate) period: Duration,
}

/// What was posted, and what came back.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// How many messages of each customer were answered with 200.
    pub(crate) taken: BTreeMap<Customer, u64>,
    /// By status; 0 where no answer came.
    pub(crate) by_status: BTreeMap<u16, u64>,
    /// Answered with 200 as known before: the first answer was lost on its way.
    n_known: u64,
    /// Answered with 200 and not kept.
    pub(crate) ignored: Vec<String>,
    /// The longest that it took from the first post to the 200.
    pub(crate) slowest: Duration,
}

impl Posted {
    pub(crate) fn n_taken(&self) -> u64 {
        self.taken.values().sum()
    }

    fn n_repeated(&self) -> u64 {
        self.by_status.values().sum::<u64>() - self.n_taken()
    }

    /// Panics unless all of so many messages were taken and kept, and no post was answered in another way than may be.
    pub(crate) fn check(&self, n_messages: u64) {
        assert_eq!(self.n_taken(), n_messages);
        assert!(self.ignored.is_empty(), "answered with 200 and not kept: {:#?}", self.ignored);
        let is_expected = self.by_status.keys().all(|status| EXPECTED.contains(status));
        assert!(is_expected, "{:?}", self.by_status);
    }

    fn note(&mut self, customer: Customer, nth: u64, status: u16, receipt: &serde_json::Value) {
        *self.by_status.entry(status).or_default() += 1;
        if status != 200 {
            return;
        }
        *self.taken.entry(customer).or_default() += 1;
        if receipt["duplicates"] == 1 {
            self.n_known += 1;
        } else if receipt["accepted"] != 1 {
            self.ignored.push(format!("{}: {receipt}", customer.text(nth)));
        }
    }
}

impl fmt::Display for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages of {} customers, {} posts repeated ({} of them known already; {:?}), slowest message taken \
             after {} ms",
            self.n_taken(),
            self.taken.len(),
            self.n_repeated(),
            self.n_known,
            self.by_status,
            self.slowest.as_millis(),
        )
    }
}

impl Load {
    /// Posts everything. Each customer's messages go one after the other, those of different ones together.
    pub(crate) async fn run(self) -> Posted {
        let posted = Arc::new(Mutex::new(Posted::default()));
        let load = Arc::new(self);
        let begun = Instant::now();
        let n_senders = N_SENDERS.min(load.customers.len());
        let senders: Vec<_> = (0..n_senders)
            .map(|sender| tokio::spawn(load.clone().send(sender, n_senders, begun, posted.clone())))
            .collect();
        for sender in senders {
            sender.await.expect("a sender comes to its end");
        }
        let mut posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *posted)
    }

    /// The part of one sender: every n-th customer, n being the number of senders, round after
    /// round.
    async fn send(
        self: Arc<Self>,
        sender: usize,
        n_senders: usize,
        begun: Instant,
        posted: Arc<Mutex<Posted>>,
    ) {
        let n_customers = self.customers.len() as u64;
        for number in 0..self.n_messages {
            let at = usize::try_from(number % n_customers).unwrap_or_default();
            if at % n_senders != sender {
                continue;
            }
            let due = begun + self.period.mul_f64(fraction(number, self.n_messages));
            tokio::time::sleep_until(due.into()).await;
            self.post(number, self.customers[at], number / n_customers, &posted).await;
        }
    }

    /// Posts one message until it is taken, to one replica after the other.
    async fn post(&self, number: u64, customer: Customer, nth: u64, posted: &Mutex<Posted>) {
        let begun = Instant::now();
        let first = usize::try_from(number).unwrap_or_default();
        for attempt in 0.. {
            assert!(begun.elapsed() < PERSISTENCE, "{:?} was never taken", customer.text(nth));
            let door = &self.doors[(first + attempt) % self.doors.len()];
            if attempt > 0 && attempt % self.doors.len() == 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let Some(base) = door.base() else { continue };
            let answer = post_signed(&base, &self.secret, customer.body(nth), PATIENCE).await;
            let (status, receipt) =
                answer.map_or_else(|_| (0, serde_json::Value::Null), |r| (r.status, r.body));
            let mut posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
            posted.note(customer, nth, status, &receipt);
            if status == 200 {
                posted.slowest = posted.slowest.max(begun.elapsed());
                return;
            }
        }
    }
}

fn fraction(number: u64, of: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of a time")]
    let share = number as f64 / of.max(1) as f64;
    share
}
