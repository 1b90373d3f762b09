use std::time::Duration;

use casewire_sandbox::{Scope, ServiceNowSandbox, SnFault, SnOptions};
use serde_json::json;

use crate::support::{Answer, CASE_API, as_hub, client, new_case, servicenow};

fn post(sn: &ServiceNowSandbox) -> reqwest::RequestBuilder {
    as_hub(sn, "POST", CASE_API).json(&json!({"short_description": "a"}))
}

#[tokio::test]
async fn faults_answer_as_servicenow_does_and_commit_or_not() {
    let sn = servicenow(SnOptions::default()).await;
    for (fault, status, n_committed) in [
        (SnFault::RateLimitRule { retry_after_s: 7 }, 429, 0),
        (SnFault::BareSemaphore, 429, 0),
        (SnFault::Accepted202, 202, 0),
        (SnFault::Error500AfterCommit, 500, 1),
        (SnFault::Error500BeforeCommit, 500, 0),
        (SnFault::SlowCommit(Duration::from_millis(1)), 201, 1),
        (SnFault::LateAnswer(Duration::from_millis(1)), 201, 1),
        (SnFault::BrokenJson200, 200, 1),
        (SnFault::LoginPage, 200, 0),
        (SnFault::Error502, 502, 0),
        (SnFault::Error503 { retry_after_s: Some(3) }, 503, 0),
        (SnFault::Error503 { retry_after_s: None }, 503, 0),
        (SnFault::Error403BusinessRule, 403, 0),
        (SnFault::Error403AfterCommit, 403, 1),
        (SnFault::Unauthorized401, 401, 0),
        (SnFault::NotFound404, 404, 0),
    ] {
        let n_before = sn.cases().len();
        sn.fail_next(1, fault.clone());
        let answer = Answer::to(post(&sn)).await;
        assert_eq!(answer.status, status, "{fault:?}");
        assert_eq!(sn.cases().len() - n_before, n_committed, "{fault:?}");
        let is_json = serde_json::from_str::<serde_json::Value>(&answer.text).is_ok();
        match fault {
            SnFault::RateLimitRule { .. } => {
                assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-limit")), ("7", "100"));
            }
            SnFault::BareSemaphore | SnFault::Accepted202 => {
                assert!(answer.text.is_empty() && answer.header("retry-after").is_empty());
            }
            SnFault::BrokenJson200 | SnFault::LoginPage => assert!(!is_json, "{}", answer.text),
            SnFault::Error503 { retry_after_s: Some(_) } => assert_eq!(answer.header("retry-after"), "3"),
            _ => {}
        }
    }
    assert_eq!(Answer::to(post(&sn)).await.status, 201);
}

#[tokio::test]
async fn cut_connections_give_no_answer() {
    let sn = servicenow(SnOptions::default()).await;
    let shared = client();
    let url = format!("{}{CASE_API}", sn.url());
    let send = || shared.post(&url).basic_auth("casewire", Some("sandbox")).json(&json!({}));
    // On a fresh connection and on one that was used before.
    for (fault, n_committed) in [(SnFault::ResetBeforeCommit, 0), (SnFault::ResetAfterCommit, 1)] {
        for warm in [false, true] {
            if warm {
                assert_eq!(Answer::to(send()).await.status, 201);
            }
            let (n_before, n_calls) = (sn.cases().len(), sn.n_requests());
            sn.fail_next(1, fault.clone());
            let error = send().send().await.unwrap_err();
            assert!(!error.is_timeout() && !error.is_connect(), "{error:?}");
            assert_eq!(sn.cases().len() - n_before, n_committed, "{fault:?}");
            assert_eq!(sn.n_requests() - n_calls, 1, "the client must not have tried twice");
        }
    }
}

/// Asks until it is so: what is waited for happens on the server's own threads.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slow_commit_happens_though_the_client_has_gone() {
    let sn = servicenow(SnOptions::default()).await;
    sn.fail_next(1, SnFault::SlowCommit(Duration::from_millis(200)));
    let error = post(&sn).timeout(Duration::from_millis(50)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(sn.cases().len(), 0);
    until(|| sn.cases().len() == 1).await;
    until(|| sn.n_in_flight() == 0).await;
}

#[tokio::test]
async fn a_hanging_instance_never_answers() {
    let sn = servicenow(SnOptions::default()).await;
    sn.hang(true);
    let error = post(&sn).timeout(Duration::from_millis(50)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    until(|| sn.n_in_flight() == 0).await;
    assert_eq!((sn.max_in_flight(), sn.requests()[0].status), (1, 0));
    sn.hang(false);
    assert_eq!(Answer::to(post(&sn)).await.status, 201);
    assert_eq!(sn.cases().len(), 1);
}

#[tokio::test]
async fn a_sleeping_instance_answers_html_everywhere() {
    let sn = servicenow(SnOptions::default()).await;
    sn.set_sleeping(true);
    let token = client().post(format!("{}/oauth_token.do", sn.url())).form(&[("grant_type", "password")]);
    for request in [post(&sn), token] {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains("Your instance is hibernating"));
        assert!(answer.header("content-type").starts_with("text/html"));
    }
    sn.set_sleeping_redirect(true);
    let answer = Answer::to(post(&sn)).await;
    assert_eq!(answer.status, 302);
    assert!(answer.header("location").starts_with("https://developer.servicenow.com/"));
    sn.set_sleeping(false);
    assert_eq!(Answer::to(post(&sn)).await.status, 201);
}

#[tokio::test]
async fn an_hourly_rule_counts() {
    let sn = servicenow(SnOptions::default()).await;
    sn.hourly_limit(Some(2));
    for _ in 0..2 {
        let answer = Answer::to(post(&sn)).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (201, "2"));
    }
    let refused = Answer::to(post(&sn)).await;
    assert_eq!((refused.status, &refused.json()["error"]["message"]), (429, &json!("Rate limit exceeded")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 3600);
    sn.hourly_limit(None);
    assert_eq!(Answer::to(post(&sn)).await.status, 201);
}

#[tokio::test]
async fn parallel_calls_of_one_session_are_thrown_away() {
    let sn = servicenow(SnOptions::default()).await;
    sn.fail_next_in(Scope::Writes, 1, SnFault::Hang);
    let slow =
        tokio::spawn(post(&sn).header("cookie", "a=b; JSESSIONID=S1").timeout(Duration::from_secs(5)).send());
    until(|| sn.n_in_flight() == 1).await;
    let other =
        |session: &str| as_hub(&sn, "GET", CASE_API).header("cookie", format!("JSESSIONID={session}"));
    assert_eq!(Answer::to(other("S1")).await.status, 202);
    assert_eq!(Answer::to(other("S2")).await.status, 200);
    slow.abort();
    until(|| sn.n_in_flight() == 0).await;
    assert_eq!(Answer::to(other("S1")).await.status, 200);
}

#[tokio::test]
async fn a_rate_of_faults_is_the_same_each_time() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sn = servicenow(SnOptions::default()).await;
        sn.fail_rate(42, 300, vec![SnFault::Error502, SnFault::BareSemaphore]);
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(Answer::to(as_hub(&sn, "GET", CASE_API)).await.status);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&502) && runs[0].contains(&429) && runs[0].contains(&200));
}

#[tokio::test]
async fn an_instance_is_steered_with_curl() {
    let sn = servicenow(SnOptions::default()).await;
    let case = new_case(&sn, json!({})).await;
    let ask = |path: String, body: serde_json::Value| {
        client().post(format!("{}/_sandbox/{path}", sn.url())).json(&body)
    };
    assert_eq!(
        Answer::to(ask(format!("cases/{case}/comments"), json!({"author": "agent", "text": "hi"})))
            .await
            .status,
        201
    );
    assert_eq!(Answer::to(ask(format!("cases/{case}/close"), json!({}))).await.status, 204);
    let view = &sn.cases()[0];
    assert_eq!((view.state.as_str(), view.comments[0].text.as_str()), ("3", "hi"));
    let faults =
        json!({"faults": ["reset_before_commit", {"error503": {"retry_after_s": 2}}, {"slow_commit": 5}]});
    assert_eq!(Answer::to(ask("faults".into(), faults)).await.status, 204);
    assert!(post(&sn).send().await.is_err());
    assert_eq!(Answer::to(post(&sn)).await.header("retry-after"), "2");
    assert_eq!(Answer::to(post(&sn)).await.status, 201);
    assert_eq!(Answer::to(ask("state".into(), json!({"sleeping": true}))).await.status, 204);
    assert!(Answer::to(post(&sn)).await.text.contains("hibernating"));
    let load = Answer::to(client().get(format!("{}/_sandbox/load", sn.url()))).await.json();
    assert_eq!((&load["n_requests"], &load["n_in_flight"]), (&json!(5), &json!(0)));
}

#[tokio::test]
async fn a_stopped_instance_refuses_and_may_come_back_on_its_port() {
    let sn = servicenow(SnOptions::default()).await;
    let address = sn.url().strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(Answer::to(post(&sn)).await.status, 201);
    sn.stop().await;
    assert!(post(&sn).send().await.unwrap_err().is_connect());
    let again = servicenow(SnOptions { listen: address, ..SnOptions::default() }).await;
    assert_eq!(again.url(), sn.url());
    assert_eq!(Answer::to(post(&again)).await.status, 201);
}
