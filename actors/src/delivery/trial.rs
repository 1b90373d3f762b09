//! Delivery against the sandbox: every fault, and what must be true after it.

use std::sync::Arc;
use std::time::Duration;

use actix::System;
use casewire_sandbox::{
    Scope, ServiceNowSandbox, SnFault, SnOptions, XAccount, XFault, XLimits, XOptions, XSandbox, XUser,
    bodies,
};

use super::account_delivery::AccountSettings;
use super::backoff::Backoff;
use super::fleet::{DeliverySettings, Fleet};
use super::instance_delivery::InstanceSettings;
use super::sweeper::Sweeper;
use crate::domain::rate::Rate;
use crate::domain::secret::Secret;
use crate::intake::{Intake, IntakeError, Receipt, Receive};
use crate::kernel::panic_matrix::PANICS;
use crate::kernel::{ActorState, AskError, Mailbox, Sources, start};
use crate::net::{self, Reach};
use crate::outbox::{AnswerState, Outbox, SendAnswer};
use crate::routes::Routes;
use crate::servicenow::client::ServiceNow;
use crate::servicenow::customers::CustomerTable;
use crate::servicenow::{Credentials, client::NowMs};
use crate::shared::Shared;
use crate::store::Db;
use crate::store::deliveries::{Direction, NewDelivery};
use crate::store::suite::deliveries::furnish;
use crate::x::client::{AccountCredentials, XApp, XClient};

mod limits;

/// The account that `furnish` links.
const ACCOUNT: &str = "42";
const TIMEOUT_MS: u64 = 150;

/// A hub's delivery with both sandboxes.
struct Trial {
    shared: Shared,
    fleet: Fleet,
    intake: Mailbox<Intake>,
    outbox: Mailbox<Outbox>,
    sweeper: Mailbox<Sweeper>,
    instance: ServiceNowSandbox,
    x: XSandbox,
    _folder: tempfile::TempDir,
}

impl Trial {
    async fn start() -> Self {
        Self::start_with(XLimits::default(), 60_000).await
    }

    async fn start_with(limits: XLimits, retry_for_ms: i64) -> Self {
        let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
        let options = XOptions { echo: false, limits, ..XOptions::default() };
        let x = XSandbox::start(options).await.expect("a simulated X");
        x.add_account(XAccount {
            id: ACCOUNT.to_owned(),
            screen_name: "acme".to_owned(),
            name: "Acme".to_owned(),
            access_token: "token".to_owned(),
            access_token_secret: "secret".to_owned(),
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/trial.db", folder.path().display());
        let db = Db::connect(&url).await.expect("a database");
        db.migrate().await.expect("migrations apply");
        furnish(&db).await;
        let shared = Shared::start(db, Sources::system());
        let fleet = fleet(&shared, &instance, &x, retry_for_ms);
        let routes = Routes::default();
        for row in crate::store::accounts::all(&shared.db).await.expect("accounts") {
            routes.put(row);
        }
        let desk = (shared.clone(), routes.clone(), fleet.clone());
        let intake = start(&shared.front, &shared.registry, Shared::front_terms("intake", 64), move |_| {
            Intake::new(desk.0, desk.1, desk.2)
        });
        let desk = (shared.clone(), routes, fleet.clone());
        let outbox = start(&shared.front, &shared.registry, Shared::front_terms("outbox", 64), move |_| {
            Outbox::new(desk.0, desk.1, desk.2, 100)
        });
        let swept = fleet.clone();
        let sweeper = start(&shared.front, &shared.registry, Shared::front_terms("sweeper", 8), move |_| {
            Sweeper::new(swept)
        });
        Self { shared, fleet, intake, outbox, sweeper, instance, x, _folder: folder }
    }

    /// A customer writes a direct message.
    async fn dm(&self, customer: u64, id: u64, text: &str) -> Receipt {
        self.try_dm(customer, id, text).await.expect("the body is taken")
    }

    async fn try_dm(&self, customer: u64, id: u64, text: &str) -> Result<Receipt, IntakeError> {
        let account = XUser::new(ACCOUNT, "acme", "Acme");
        let sender = XUser::new(&customer.to_string(), &format!("c{customer}"), "Customer");
        let body = bodies::dm_body(&account, &sender, &id.to_string(), text, 1_700_000_000_000);
        self.intake.ask(Receive { body: body.into() }).await?
    }

    /// Waits until nothing is pending, at most ten seconds.
    async fn settle(&self) {
        let settled = async {
            loop {
                let pending = crate::store::deliveries::pending_by_status(&self.shared.db).await;
                if pending.expect("an answer").is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), settled).await.is_err() {
            let metrics = crate::pulse::metrics_text(&self.shared, "test").await;
            let told = |line: &&str| line.contains("attempts_total") || line.contains("queue_depth");
            let lines: Vec<&str> = metrics.lines().filter(told).collect();
            panic!("something is not delivered: {lines:#?}");
        }
    }

    /// The texts of all comments of all cases, without their headers.
    fn comments(&self) -> Vec<String> {
        let cases = self.instance.cases();
        let comments = cases.iter().flat_map(|case| &case.comments);
        comments
            .map(|comment| comment.text.split_once('\n').map_or("", |(_, text)| text).to_owned())
            .collect()
    }

    async fn answer(&self, message: &str, event_id: &str) -> AnswerState {
        let case = self.instance.cases()[0].sys_id.clone();
        let request = SendAnswer {
            user_id: "u1".to_owned(),
            message: message.to_owned(),
            target: None,
            case: Some(case),
            event_id: Some(event_id.to_owned()),
            channel: None,
            author: None,
            number: None,
            wait: Duration::from_secs(4),
        };
        self.outbox.ask(request).await.expect("an answer").expect("it is taken")
    }
}

fn fleet(shared: &Shared, instance: &ServiceNowSandbox, x: &XSandbox, retry_for_ms: i64) -> Fleet {
    let timeout = Duration::from_millis(TIMEOUT_MS);
    let http = net::client(Reach::PrivateAllowed, timeout, timeout).expect("a client");
    let sources = shared.sources.clone();
    let now_ms: NowMs = Arc::new(move || sources.now_ms());
    let base = net::parse_instance_url(instance.url(), Reach::PrivateAllowed).expect("a url");
    let password = Secret::new("sandbox");
    let credentials = Credentials::Basic { user: "casewire".to_owned(), password };
    let client = ServiceNow::new(http.clone(), base, credentials, timeout, Reach::PrivateAllowed, now_ms);
    let settings = InstanceSettings {
        version: 1,
        // Nobody called it before.
        created_at: i64::MAX,
        client,
        rate: Rate::new(10_000, 1000).expect("a rate"),
        concurrency: 4,
        status: "ok".to_owned(),
        paused_until: None,
        customer_table: CustomerTable::CsmConsumer,
        case_defaults: serde_json::Map::new(),
        reopen_window_ms: None,
    };
    let app = XApp {
        base_url: x.url().parse().expect("a url"),
        consumer_key: "sandbox-consumer-key".to_owned(),
        consumer_secret: Secret::new("sandbox-consumer-secret"),
        bearer_token: None,
        timeout,
    };
    let x_client = XClient::new(http, app);
    Fleet::new(
        shared.clone(),
        DeliverySettings {
            backoff: Backoff { first_ms: 5, factor: 2.0, max_ms: 50, jitter: 0.2 },
            retry_for_ms,
            servicenow_timeout_ms: i64::try_from(TIMEOUT_MS).expect("small"),
            x_timeout_ms: i64::try_from(TIMEOUT_MS).expect("small"),
            texts_ms: 60_000,
        },
        vec![shared.front.clone()],
        Arc::new(move |_| {
            let settings = settings.clone();
            Box::pin(async move { Ok(Some(settings)) })
        }),
        Arc::new(move |_| {
            let client = x_client.clone();
            Box::pin(async move {
                let credentials = AccountCredentials {
                    user_id: ACCOUNT.to_owned(),
                    token: Secret::new("token"),
                    token_secret: Secret::new("secret"),
                };
                let status = "ok".to_owned();
                Ok(Some(AccountSettings { client, credentials, status, paused_until: None, version: 1 }))
            })
        }),
    )
}

#[test]
fn a_conversation_feeds_one_case_and_a_closed_one_is_followed_by_another() {
    System::new().block_on(async {
        let trial = Trial::start().await;
        assert_eq!(trial.dm(7, 100, "first").await, Receipt { accepted: 1, ..Receipt::default() });
        assert_eq!(trial.dm(7, 100, "first").await, Receipt { duplicates: 1, ..Receipt::default() });
        trial.dm(7, 101, "second").await;
        trial.settle().await;
        assert_eq!(trial.instance.cases().len(), 1);
        assert_eq!(trial.comments(), ["first", "second"]);

        trial.instance.close_case(&trial.instance.cases()[0].sys_id);
        trial.dm(7, 102, "third").await;
        trial.settle().await;
        let cases = trial.instance.cases();
        assert_eq!(cases.len(), 2);
        assert_eq!(trial.comments(), ["first", "second", "third"]);
        assert_eq!(cases[0].consumer, cases[1].consumer);
        assert_eq!(trial.instance.consumers().len(), 1);
        assert_ne!(cases[0].correlation_id, cases[1].correlation_id);
    });
}

#[test]
fn whatever_fails_each_message_is_one_comment_in_order() {
    let faults = [
        SnFault::RateLimitRule { retry_after_s: 0 },
        SnFault::BareSemaphore,
        SnFault::Accepted202,
        SnFault::Error500AfterCommit,
        SnFault::Error500BeforeCommit,
        SnFault::ResetAfterCommit,
        SnFault::ResetBeforeCommit,
        SnFault::SlowCommit(Duration::from_millis(TIMEOUT_MS - 50)),
        SnFault::LateAnswer(Duration::from_millis(TIMEOUT_MS * 2)),
        SnFault::BrokenJson200,
        SnFault::Error502,
        SnFault::Error503 { retry_after_s: None },
    ];
    for fault in faults {
        System::new().block_on(async {
            let trial = Trial::start().await;
            // Each of the calls of a new conversation fails once in this way, then the calls of a known one.
            for n_before in 0..7 {
                let customer = 1000 + n_before;
                trial.instance.fail_next(1, fault.clone());
                trial.dm(customer, 10 * customer, "one").await;
                trial.dm(customer, 10 * customer + 1, "two").await;
                trial.dm(customer, 10 * customer + 2, "three").await;
                trial.settle().await;
                trial.instance.fail_next(1, fault.clone());
                trial.dm(customer, 10 * customer + 3, "four").await;
                trial.settle().await;
            }
            let cases = trial.instance.cases();
            assert_eq!(cases.len(), 7, "{fault:?}");
            assert_eq!(trial.instance.consumers().len(), 7, "{fault:?}");
            for case in cases {
                let texts: Vec<&str> =
                    case.comments.iter().filter_map(|comment| comment.text.split('\n').nth(1)).collect();
                assert_eq!(texts, ["one", "two", "three", "four"], "{fault:?}");
            }
        });
    }
}

#[test]
fn an_item_that_cannot_be_stored_does_not_take_its_neighbours_with_it() {
    System::new().block_on(async {
        let trial = Trial::start().await;
        let Db::Sqlite(db) = &trial.shared.db else { unreachable!("trials are embedded") };
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON deliveries WHEN NEW.source_id = '101' BEGIN SELECT RAISE(ABORT, 'no'); END";
        sqlx::query(refuse).execute(&db.writes).await.expect("a trigger");
        let account = XUser::new(ACCOUNT, "acme", "Acme");
        let sender = XUser::new("7", "c7", "Customer");
        let body_of = |id: &str| -> serde_json::Value {
            let body = bodies::dm_body(&account, &sender, id, &format!("number {id}"), 1_700_000_000_000);
            serde_json::from_str(&body).expect("JSON")
        };
        let mut body = body_of("100");
        for id in ["101", "102"] {
            let item = body_of(id)["direct_message_events"][0].clone();
            body["direct_message_events"].as_array_mut().expect("items").push(item);
        }
        for expected in [
            Receipt { accepted: 2, ignored: 1, duplicates: 0 },
            Receipt { accepted: 0, ignored: 1, duplicates: 2 },
        ] {
            let body = body.to_string();
            let receipt = trial.intake.ask(Receive { body: body.into() }).await.expect("an answer");
            assert_eq!(receipt, Ok(expected));
        }
        trial.settle().await;
        assert_eq!(trial.comments(), ["number 100", "number 102"]);
    });
}

#[test]
fn a_refusal_that_was_carried_out_all_the_same_is_not_repeated() {
    System::new().block_on(async {
        let trial = Trial::start().await;
        trial.dm(7, 100, "one").await;
        trial.settle().await;
        trial.instance.fail_next_in(Scope::Writes, 1, SnFault::Error403AfterCommit);
        trial.dm(7, 101, "two").await;
        trial.dm(7, 102, "three").await;
        trial.settle().await;
        assert_eq!(trial.comments(), ["one", "two", "three"]);
    });
}

#[test]
fn an_answer_is_sent_once_whatever_fails_at_x() {
    let faults = [
        XFault::Status500BeforeCommit,
        XFault::Status503,
        XFault::ResetAfterCommit,
        XFault::ResetBeforeCommit,
        XFault::TimeoutAfterCommit(Duration::from_millis(TIMEOUT_MS * 2)),
    ];
    for fault in faults {
        System::new().block_on(async {
            let trial = Trial::start().await;
            trial.dm(7, 100, "help").await;
            trial.settle().await;
            trial.x.fail_next(1, fault.clone());
            let state = trial.answer("We are on it.", "e1").await;
            assert_eq!(state.status, "delivered", "{fault:?}: {state:?}");
            let again = trial.answer("We are on it.", "e1").await;
            assert_eq!(again.message_id, state.message_id, "{fault:?}");
            let other = trial.answer("We are on it.", "e2").await;
            assert_ne!(other.message_id, state.message_id, "{fault:?}: the same words twice are two answers");
            assert_eq!(trial.x.n_sent_dms(), 2, "{fault:?}");
        });
    }
}

#[test]
fn a_row_that_is_handed_over_too_late_is_not_delivered_again() {
    System::new().block_on(async {
        let trial = Trial::start().await;
        trial.dm(7, 100, "once").await;
        trial.settle().await;
        let records = crate::store::deliveries::by_dedup_key(&trial.shared.db, "a1:dm:100").await;
        let row = records.expect("an answer").expect("a row");
        // As it was when it was accepted: with no attempt and no case.
        let stale = NewDelivery {
            id: row.id,
            direction: Direction::ToServicenow,
            kind: row.kind,
            status: "queued",
            user_id: row.user_id,
            account_id: row.account_id,
            instance_id: row.instance_id,
            target_id: "i1".to_owned(),
            customer_id: row.customer_id,
            lane_id: row.lane_id,
            dedup_key: None,
            source_id: row.source_id,
            fingerprint: None,
            order_key: row.order_key,
            payload: row.payload.expect("a text"),
            created_at: row.created_at,
            deadline_at: row.deadline_at,
        };
        trial.fleet.accepted(stale, true);
        trial.dm(7, 101, "twice").await;
        trial.settle().await;
        assert_eq!(trial.comments(), ["once", "twice"]);
    });
}

#[test]
fn the_echo_of_an_answer_is_not_a_message() {
    System::new().block_on(async {
        let trial = Trial::start().await;
        trial.dm(7, 100, "help").await;
        trial.settle().await;
        let state = trial.answer("We are on it.", "e1").await;
        let (account, customer) = (XUser::new(ACCOUNT, "acme", "Acme"), XUser::new("7", "c7", "Customer"));
        let own = |id: &str, text: &str| bodies::sent_dm_body(&account, &customer, id, text, 1, None);
        let echo = own(&state.message_id.expect("an id"), "We are on it.");
        let received = trial.intake.ask(Receive { body: echo.into() }).await.expect("an answer");
        assert_eq!(received, Ok(Receipt { ignored: 1, ..Receipt::default() }));

        let outside = own("900", "Written on x.com");
        let received = trial.intake.ask(Receive { body: outside.into() }).await.expect("an answer");
        assert_eq!(received, Ok(Receipt { accepted: 1, ..Receipt::default() }));
        trial.settle().await;
        let cases = trial.instance.cases();
        assert_eq!((cases.len(), cases[0].comments.len(), cases[0].work_notes.len()), (1, 1, 1));
    });
}

/// Asks until there is an answer from an actor that runs again; generous, for a machine that does much else.
macro_rules! answers_again {
    ($mailbox:expr, $ask:expr) => {{
        let asking = async {
            loop {
                let asked = $ask.await;
                // One that answers through a future of its own answers while it restarts, too.
                let is_back = $mailbox.card().state() == ActorState::Running;
                match asked {
                    Err(AskError::Interrupted) => tokio::task::yield_now().await,
                    Ok(_) if !is_back => tokio::task::yield_now().await,
                    other => return other.map(drop),
                }
            }
        };
        let answered = tokio::time::timeout(Duration::from_secs(5), asking).await;
        assert_eq!(answered, Ok(Ok(())), "{:?}", $mailbox);
    }};
}

#[test]
fn every_actor_of_delivery_survives_every_panic() {
    for panic in PANICS {
        System::new().block_on(async {
            let trial = Trial::start().await;
            trial.dm(7, 100, "before").await;
            trial.settle().await;
            for mailbox in [trial.fleet.instance_for_tests("i1")] {
                let _interrupted = mailbox.ask(panic).await;
            }
            let _interrupted = trial.intake.ask(panic).await;
            let _interrupted = trial.outbox.ask(panic).await;
            let _interrupted = trial.sweeper.ask(panic).await;
            let _interrupted = trial.shared.writer.ask(panic).await;
            let writer = &trial.shared.writer;
            answers_again!(writer, writer.ask(crate::writer::Flush));
            let body = || bytes::Bytes::from_static(b"{}");
            answers_again!(trial.intake, trial.intake.ask(Receive { body: body() }));
            let show = || crate::outbox::ShowAnswer { id: "none".to_owned(), user_id: None };
            answers_again!(trial.outbox, trial.outbox.ask(show()));
            // X sends again what was not taken, as here while an actor restarts.
            while trial.try_dm(7, 101, "after").await.is_err() {}
            trial.settle().await;
            assert_eq!(trial.comments(), ["before", "after"], "{panic:?}");
            let state = trial.answer("done", "e1").await;
            assert_eq!(state.status, "delivered", "{panic:?}");
            assert!(trial.shared.registry.out_of_service().is_empty());
        });
    }
}

#[test]
fn an_instance_that_refuses_the_password_is_left_alone_until_it_changes() {
    System::new().block_on(async {
        let trial = Trial::start().await;
        trial.instance.fail_next(1, SnFault::Unauthorized401);
        trial.dm(7, 100, "one").await;
        let blocked = async {
            loop {
                let row = crate::store::instances::by_id(&trial.shared.db, "i1").await.expect("an answer");
                if row.expect("a row").status == "needs_auth" {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), blocked).await.expect("the status is told");
        let n_calls = trial.instance.requests().len();
        trial.dm(7, 101, "two").await;
        trial.fleet.wake(Direction::ToServicenow, "i1");
        tokio::task::yield_now().await;
        assert_eq!(trial.instance.requests().len(), n_calls, "nothing is tried meanwhile");
        trial.fleet.reload(Direction::ToServicenow, "i1").await;
        trial.settle().await;
        assert_eq!(trial.comments(), ["one", "two"]);
    });
}
