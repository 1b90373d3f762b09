use reqwest::header::{HeaderName, HeaderValue};

use super::*;
use Effect::{None as NoEffect, Pending, Possible};
use ErrorClass::{
    Auth, Busy, NotFound, Permanent, RateLimited, Sleeping, Unavailable, Uncertain, Unexpected,
};
use Verb::{Create, Read, Update};

/// 2026-06-25 12:00:00 UTC
const NOW_MS: i64 = 1_782_388_800_000;

fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    Reply { status, headers: headers.iter().map(header).collect(), body: body.as_bytes().to_vec() }
}

/// ServiceNow's own error.
fn error(status: u16, message: &str, detail: &str) -> Reply {
    let body = serde_json::json!({"error": {"message": message, "detail": detail}, "status": "failure"});
    reply(status, &[], &body.to_string())
}

fn failure(verb: Verb, reply: &Reply) -> Failure {
    classify(verb, reply, NOW_MS).unwrap_err()
}

#[test]
fn done_with_200_and_201() {
    for status in [200, 201] {
        let answer = classify(Update, &reply(status, &[], "{\"result\":{\"a\":1}}"), NOW_MS).unwrap();
        assert_eq!(answer, Answer { status, result: serde_json::json!({"a": 1}) });
    }
}

#[test]
fn statuses_that_mean_the_same_for_every_verb() {
    let denied = "Required to provide Auth information";
    let cases = [
        (error(401, "User Not Authenticated", denied), Auth, "check user and password"),
        (error(401, "User is not authenticated", denied), Auth, "snc_basic_auth_api_access"),
        (reply(401, &[("x-mfa_token", "invalid")], "{}"), Auth, "multi-factor"),
        (reply(401, &[], "<html>instance is hibernating</html>"), Auth, "refused"),
        (error(403, "User Not Authorized", "Failed API level ACL Validation"), Auth, "csm_ws_integration"),
        (error(403, "User Not Authorized", "Access to unscoped api is not allowed"), Auth, "auth scope"),
        (
            error(403, "Insufficient rights to query records", "Field(s) present in the query …"),
            Auth,
            "grant read",
        ),
        (error(404, "No Record found", "Record doesn't exist or …"), NotFound, "does not exist"),
        (reply(404, &[], "<html>nginx</html>"), Unexpected, "check the instance's url"),
        (reply(404, &[], ""), Unexpected, "check the instance's url"),
        (error(400, "Invalid table x_other", ""), Permanent, "invalid table x_other: its plugin"),
        (
            error(400, "Requested URI does not represent any resource", ""),
            Permanent,
            "does not know this api",
        ),
        (
            error(400, "Exception while reading request", "Rejected large REST payload …"),
            Permanent,
            "too large",
        ),
        (error(400, "Bad\nrequest", "echo: secret words"), Permanent, "(400 Badrequest)"),
        (reply(405, &[], ""), Permanent, "(405)"),
        (reply(406, &[], ""), Permanent, "(406)"),
        (reply(413, &[], ""), Permanent, "(413)"),
        (reply(415, &[], ""), Permanent, "(415)"),
        (reply(429, &[], ""), Busy, "queue for calls is full"),
        (reply(429, &[("x-ratelimit-limit", "100")], ""), RateLimited, "rate limit rule"),
        (error(429, "Rate limit exceeded", ""), RateLimited, "rate limit rule"),
        (reply(503, &[], "<html>503</html>"), Unavailable, "503"),
        (reply(408, &[], ""), Unavailable, "in time"),
        (reply(200, &[], "<div class=\"instance-hibernating-page\">"), Sleeping, "developer.servicenow.com"),
        (reply(503, &[], " \r\n<h1>Your Instance is Hibernating</h1>"), Sleeping, "wake"),
        (
            reply(302, &[("location", "https://developer.servicenow.com/dev.do#!/home?wu=true")], ""),
            Sleeping,
            "wake",
        ),
        (reply(302, &[("location", "https://login.example/saml")], ""), Unexpected, "single sign-on"),
        (reply(301, &[], ""), Unexpected, "redirects"),
        (reply(200, &[], "<!DOCTYPE html><form action=\"/login.do\">"), Unexpected, "login page"),
        (reply(200, &[], "\u{feff}<html><input type=\"password\">"), Unexpected, "login page"),
    ];
    for (reply, class, words) in cases {
        for verb in [Read, Create, Update] {
            let failure = failure(verb, &reply);
            assert_eq!((failure.class, failure.effect), (class, NoEffect), "{verb:?} {failure}");
            assert_eq!(failure.http_status, Some(reply.status));
            assert!(failure.detail.contains(words), "{failure}");
            assert!(!failure.detail.contains("secret"), "{failure}");
        }
    }
}

#[test]
fn answers_that_leave_a_write_in_doubt() {
    let rule =
        "Operation against file 'sn_customerservice_case' was aborted by Business Rule 'Own rule^0123'. …";
    let midstream =
        "{\"result\":[{\"number\":\"CS1\"}\"\"],\"error\":{\"message\":\"Transaction cancelled\"}}";
    // The answer; what it is to a write; what it is to a read.
    let cases = [
        (reply(202, &[], ""), (Busy, Possible), Busy),
        (reply(204, &[], ""), (Uncertain, Possible), Unavailable),
        (reply(200, &[], ""), (Uncertain, Possible), Unavailable),
        (reply(201, &[], "{\"result\":{\"sys_id\":\"01"), (Uncertain, Possible), Unavailable),
        (reply(200, &[], midstream), (Uncertain, Possible), Unavailable),
        (reply(200, &[], "{\"result\":[],\"error\":{}}"), (Uncertain, Possible), Unavailable),
        (reply(200, &[], "[]"), (Uncertain, Possible), Unavailable),
        (reply(200, &[], "<html>welcome</html>"), (Unexpected, Possible), Unexpected),
        (
            error(500, "Transaction cancelled: maximum execution time exceeded", ""),
            (Uncertain, Possible),
            Unavailable,
        ),
        (error(429, "Transaction cancelled", ""), (Uncertain, Possible), Unavailable),
        (error(500, "Unknown", "java.lang"), (Uncertain, Possible), Unavailable),
        (reply(500, &[], ""), (Uncertain, Possible), Unavailable),
        (reply(502, &[], "<html>502</html>"), (Uncertain, Pending), Unavailable),
        (reply(504, &[], ""), (Uncertain, Pending), Unavailable),
        (reply(524, &[], ""), (Uncertain, Pending), Unavailable),
        (error(403, "Operation Failed", rule), (Permanent, Possible), Permanent),
        (error(403, "Other", "words"), (Permanent, Possible), Permanent),
        (reply(403, &[], "<html>blocked</html>"), (Unexpected, Possible), Unexpected),
    ];
    for (reply, on_write, on_read) in cases {
        for verb in [Create, Update] {
            let failure = failure(verb, &reply);
            assert_eq!((failure.class, failure.effect), on_write, "{} {failure}", reply.status);
        }
        let failure = failure(Read, &reply);
        assert_eq!((failure.class, failure.effect), (on_read, NoEffect), "{} {failure}", reply.status);
    }
}

#[test]
fn missing_rights_stop_the_queue_but_one_locked_record_does_not() {
    let reply = error(403, "Operation Failed", "ACL Exception due to insufficient rights");
    let cases = [(Read, Auth, NoEffect), (Create, Auth, Possible), (Update, Permanent, Possible)];
    for (verb, class, effect) in cases {
        let failure = failure(verb, &reply);
        assert_eq!((failure.class, failure.effect), (class, effect), "{verb:?}");
        assert!(failure.detail.contains("sn_customerservice_agent"), "{failure}");
    }
}

#[test]
fn a_business_rule_is_named_without_its_id() {
    let detail = "Operation against file 'x' was aborted by Business Rule 'Own rule^0123'. Stack: secret";
    let failure = failure(Create, &error(403, "Operation Failed", detail));
    assert!(failure.detail.contains("'Own rule'"), "{failure}");
    assert!(!failure.detail.contains("0123") && !failure.detail.contains("secret"), "{failure}");
}

/// Status, headers, and after how many seconds to come back.
type Case<'a> = (u16, &'a [(&'static str, &'a str)], Option<i64>);

#[test]
fn when_to_come_back() {
    let now_s = NOW_MS / 1000;
    let seconds = |n: i64| (now_s + n).to_string();
    let cases: &[Case] = &[
        (429, &[("retry-after", "120")], Some(120)),
        (429, &[("retry-after", "120"), ("x-ratelimit-reset", &seconds(60))], Some(120)),
        (429, &[("retry-after", "30"), ("x-ratelimit-reset", &seconds(60))], Some(60)),
        (429, &[("x-ratelimit-reset", &seconds(3599))], Some(3599)),
        (429, &[("x-ratelimit-reset", &seconds(-5))], Some(0)),
        (429, &[("retry-after", "Thu, 25 Jun 2026 12:02:00 GMT")], Some(120)),
        (429, &[("retry-after", "Thu, 25 Jun 2026 11:00:00 GMT")], Some(0)),
        (429, &[("x-ratelimit-reset", "1782388800000")], Some(24 * 3600)),
        (429, &[("x-ratelimit-reset", "9223372036854775807")], Some(24 * 3600)),
        (429, &[("retry-after", "4000000000")], Some(24 * 3600)),
        (429, &[("retry-after", "soon"), ("x-ratelimit-limit", "5")], None),
        (429, &[("retry-after", "-1")], None),
        (429, &[("x-ratelimit-limit", "5")], None),
        (503, &[("retry-after", "120")], Some(120)),
        (503, &[], None),
    ];
    for (status, headers, after_seconds) in cases {
        let failure = failure(Update, &reply(*status, headers, ""));
        let expected = after_seconds.map(|n| NOW_MS + n * 1000);
        assert_eq!(failure.retry_at_ms, expected, "{status} {headers:?}");
        let class = if *status == 429 { RateLimited } else { Unavailable };
        assert_eq!((failure.class, failure.effect), (class, NoEffect), "{status} {headers:?}");
    }
}

#[test]
fn the_transaction_is_told_for_support() {
    let told = failure(Read, &reply(500, &[("x-transaction-id", "6ed13c41a300")], ""));
    assert!(told.detail.ends_with("(transaction 6ed13c41a300)"), "{told}");
    let odd = failure(Read, &reply(500, &[("x-transaction-id", "a b<script>")], ""));
    assert!(!odd.detail.contains("script"), "{odd}");
}

#[test]
fn long_messages_are_clipped() {
    let failure = failure(Create, &error(400, &"x".repeat(5000), ""));
    assert!(failure.detail.len() < 300, "{failure}");
}

#[test]
fn any_bytes_are_read() {
    for body in [&[0xff, 0xfe, 0x3c][..], &[0x3c, 0xff], &[0; 3], b"null", b"\"text\""] {
        for status in 100..600 {
            let reply = Reply { status, headers: HeaderMap::new(), body: body.to_vec() };
            assert!(classify(Create, &reply, NOW_MS).is_err());
        }
    }
}
