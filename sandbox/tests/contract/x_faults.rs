use std::time::Duration;

use casewire_sandbox::{Scope, XFault, XOptions};
use serde_json::json;

use crate::support::{Answer, as_account, client, dm, x};

#[tokio::test]
async fn faults_answer_as_x_does_and_commit_or_not() {
    let x = x(XOptions::default()).await;
    let cases = [
        (XFault::Status500BeforeCommit, 500, 0),
        (XFault::Status500AfterCommit, 500, 1),
        (XFault::Status503, 503, 0),
        (XFault::TimeoutAfterCommit(Duration::from_millis(1)), 201, 1),
        (XFault::SlowCommit(Duration::from_millis(1)), 201, 1),
        (XFault::RateLimited { reset_in: Duration::from_secs(5) }, 429, 0),
        (XFault::Unauthorized, 401, 0),
        (XFault::CannotDm, 403, 0),
        (XFault::Duplicate, 403, 0),
        (XFault::ReplyNotAllowed, 403, 0),
        (XFault::AccountLocked, 403, 0),
    ];
    for (fault, status, n_committed) in cases {
        let n_before = x.n_sent_dms();
        x.fail_next(1, fault.clone());
        assert_eq!(Answer::to(dm(&x, "a")).await.status, status, "{fault:?}");
        assert_eq!(x.n_sent_dms() - n_before, n_committed, "{fault:?}");
    }
    assert_eq!(Answer::to(dm(&x, "a")).await.status, 201);
}

#[tokio::test]
async fn cut_connections_give_no_answer() {
    let x = x(XOptions::default()).await;
    for (fault, n_committed) in [(XFault::ResetBeforeCommit, 0), (XFault::ResetAfterCommit, 1)] {
        let n_before = x.n_sent_dms();
        x.fail_next(1, fault);
        let error = dm(&x, "a").send().await.unwrap_err();
        assert!(error.is_request() && !error.is_timeout(), "{error:?}");
        assert_eq!(x.n_sent_dms() - n_before, n_committed);
        assert_eq!(x.requests().last().unwrap().status, 0);
    }
}

#[tokio::test]
async fn a_fault_waits_for_a_message() {
    let x = x(XOptions::default()).await;
    x.fail_next(1, XFault::Status503);
    assert_eq!(Answer::to(as_account(&x, "GET", "/2/dm_events")).await.status, 200);
    x.fail_next_in(Scope::Reads, 1, XFault::Status503);
    assert_eq!(Answer::to(as_account(&x, "GET", "/2/dm_events")).await.status, 503);
    assert_eq!(Answer::to(dm(&x, "a")).await.status, 503);
    x.refuse_dms(&crate::support::dana().id);
    let refused = Answer::to(dm(&x, "a")).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (403, &json!(349)));
}

#[tokio::test]
async fn faults_can_be_switched_with_curl() {
    let x = x(XOptions::default()).await;
    let faults = json!({"n": 1, "faults": ["status503", {"rate_limited": {"reset_in": 2000}}]});
    let set = client().post(format!("{}/_sandbox/faults", x.url())).json(&faults);
    assert_eq!(Answer::to(set).await.status, 204);
    for status in [503, 429, 201] {
        assert_eq!(Answer::to(dm(&x, "a")).await.status, status);
    }
    let dms = Answer::to(client().get(format!("{}/_sandbox/dms", x.url()))).await.json();
    assert_eq!(dms[0]["text"], "a");
}
