//! X's limits: what is used up, and who waits for it.

use super::*;
use crate::delivery::message::Channel;

/// Customers with a case each: so many, of whom the last one wrote in public.
async fn with_cases(limits: XLimits, retry_for_ms: i64, n_customers: u64) -> Trial {
    let trial = Trial::start_with(limits, retry_for_ms).await;
    for customer in 1..n_customers {
        trial.dm(customer, 100 + customer, "help").await;
        trial.settle().await;
    }
    let account = XUser::new(ACCOUNT, "acme", "Acme");
    let author = XUser::new(&n_customers.to_string(), "public", "Customer");
    let body = bodies::mention_body(&account, &author, "900", "@acme help", 1_700_000_000_000);
    let received = trial.intake.ask(Receive { body: body.into() }).await.expect("an answer");
    assert_eq!(received, Ok(Receipt { accepted: 1, ..Receipt::default() }));
    trial.settle().await;
    assert_eq!(trial.instance.cases().len(), usize::try_from(n_customers).expect("a few"));
    trial
}

impl Trial {
    async fn answer_to(&self, customer: usize, channel: Channel, wait_ms: u64) -> AnswerState {
        let request = SendAnswer {
            user_id: "u1".to_owned(),
            message: "We are on it.".to_owned(),
            target: None,
            case: Some(self.instance.cases()[customer - 1].sys_id.clone()),
            event_id: None,
            channel: Some(channel),
            author: None,
            number: None,
            wait: Duration::from_millis(wait_ms),
        };
        self.outbox.ask(request).await.expect("an answer").expect("it is taken")
    }

    fn n_tries(&self, path: &str) -> usize {
        let calls = self.x.requests();
        calls.iter().filter(|call| call.method == "POST" && call.path.ends_with(path)).count()
    }

    async fn account_status(&self) -> String {
        let row = crate::store::accounts::by_id(&self.shared.db, "a1").await.expect("an answer");
        row.expect("a row").status
    }
}

const PATIENCE_MS: u64 = 4000;
const SHORTLY_MS: u64 = 300;

#[test]
fn a_limit_of_one_kind_that_is_used_up_holds_up_no_other() {
    System::new().block_on(async {
        let limits = XLimits { dm_per_15_min: 1, ..XLimits::default() };
        let trial = with_cases(limits, 60_000, 3).await;
        assert_eq!(trial.answer_to(1, Channel::Dm, PATIENCE_MS).await.status, "delivered");
        let waiting = trial.answer_to(2, Channel::Dm, SHORTLY_MS).await;
        assert!(waiting.status == "queued" && waiting.retry_at_ms.is_some(), "{waiting:?}");
        assert_eq!(trial.answer_to(3, Channel::Reply, PATIENCE_MS).await.status, "delivered");
        assert_eq!(trial.n_tries("/messages"), 1, "the hub keeps the limit by itself");
        assert_eq!(trial.account_status().await, "ok");
    });
}

#[test]
fn a_limit_that_x_tells_of_one_kind_holds_up_no_other() {
    System::new().block_on(async {
        let trial = with_cases(XLimits::default(), 60_000, 3).await;
        trial.x.fail_next(1, XFault::RateLimited { reset_in: Duration::from_mins(15) });
        for (customer, status) in [(1, "retrying"), (2, "queued")] {
            let waiting = trial.answer_to(customer, Channel::Dm, SHORTLY_MS).await;
            assert!(waiting.status == status && waiting.retry_at_ms.is_some(), "{waiting:?}");
        }
        assert_eq!(trial.n_tries("/messages"), 1, "the others of its kind are not tried");
        assert_eq!(trial.answer_to(3, Channel::Reply, PATIENCE_MS).await.status, "delivered");
    });
}

#[test]
fn what_waits_for_a_limit_does_not_die_of_age() {
    System::new().block_on(async {
        let limits = XLimits { dm_per_15_min: 1, ..XLimits::default() };
        // Everything is older than it may be when it is tried first.
        let trial = with_cases(limits, -1000, 3).await;
        assert_eq!(trial.answer_to(1, Channel::Dm, PATIENCE_MS).await.status, "delivered");
        let waiting = trial.answer_to(2, Channel::Dm, SHORTLY_MS).await;
        assert_eq!((waiting.status.as_str(), waiting.attempts), ("queued", 0), "{waiting:?}");
        trial.x.fail_next(1, XFault::RateLimited { reset_in: Duration::from_mins(15) });
        let waiting = trial.answer_to(3, Channel::Reply, SHORTLY_MS).await;
        assert_eq!((waiting.status.as_str(), waiting.attempts), ("retrying", 1), "{waiting:?}");
    });
}

#[test]
fn conversations_at_once_take_no_more_than_is_left() {
    System::new().block_on(async {
        let limits = XLimits { dm_per_15_min: 3, ..XLimits::default() };
        let trial = with_cases(limits, 60_000, 7).await;
        assert_eq!(trial.answer_to(1, Channel::Dm, PATIENCE_MS).await.status, "delivered");
        // Each call takes a while, so that all of them want to start before the first is answered.
        trial.x.fail_next(3, XFault::SlowCommit(Duration::from_millis(50)));
        let answers = (2..=6).map(|customer| trial.answer_to(customer, Channel::Dm, SHORTLY_MS));
        let states = futures_util::future::join_all(answers).await;
        let n_delivered = states.iter().filter(|state| state.status == "delivered").count();
        assert_eq!((n_delivered, trial.n_tries("/messages")), (2, 3), "{states:?}");
    });
}
