use super::*;

const NOW_MS: i64 = 1_000_000;

fn judged(call: Call, status: u16, body: &str) -> CallError {
    *judge(call, status, body.as_bytes(), Limits::default(), NOW_MS)
}

fn code(code: u16) -> String {
    format!(r#"{{"errors":[{{"code":{code},"message":"words"}}]}}"#)
}

fn problem(title: &str, detail: &str, kind: &str) -> String {
    serde_json::json!({"title": title, "detail": detail, "type": kind}).to_string()
}

#[test]
fn permanent_refusals() {
    let blank = |detail: &str| problem("Forbidden", detail, "about:blank");
    for (status, body, expected) in [
        (403, code(349), Refusal::CannotMessage),
        (403, code(150), Refusal::CannotMessage),
        (403, code(151), Refusal::CannotMessage),
        (403, code(476), Refusal::CannotMessage),
        (403, blank("You do not have permission to DM one or more participants."), Refusal::CannotMessage),
        (403, code(187), Refusal::DuplicateText),
        (403, blank("You are not allowed to create a Tweet with duplicate content."), Refusal::DuplicateText),
        (403, code(433), Refusal::ReplyNotAllowed),
        (
            403,
            blank(
                "Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by the author of the post you are replying to.",
            ),
            Refusal::ReplyNotAllowed,
        ),
        (403, code(385), Refusal::TargetGone),
        (403, code(179), Refusal::TargetGone),
        (403, code(144), Refusal::TargetGone),
        (
            404,
            problem("Not Found Error", "", "https://api.x.com/2/problems/resource-not-found"),
            Refusal::TargetGone,
        ),
        (
            400,
            blank("You attempted to reply to a Tweet that is deleted or not visible to you."),
            Refusal::TargetGone,
        ),
        (403, code(63), Refusal::TargetSuspended),
        (403, code(354), Refusal::TooLong),
        (400, code(186), Refusal::TooLong),
        (
            400,
            problem("Invalid Request", "bad", "https://api.x.com/2/problems/invalid-request"),
            Refusal::BadRequest,
        ),
        (400, r#"{"code":3,"message":"bad"}"#.to_owned(), Refusal::BadRequest),
        (403, blank("Forbidden"), Refusal::Forbidden),
        (409, "{}".to_owned(), Refusal::BadRequest),
    ] {
        let error = judged(Call::Write, status, &body);
        assert_eq!(error.refusal, Some(expected), "{body}");
        assert_eq!(
            (error.failure.class, error.failure.effect),
            (ErrorClass::Permanent, Effect::None),
            "{body}"
        );
        assert!(error.failure.detail.starts_with(expected.advice()), "{}", error.failure.detail);
    }
}

#[test]
fn what_stops_an_account() {
    for (status, body, class, refusal) in [
        (401, String::new(), ErrorClass::Auth, None),
        (401, problem("Unauthorized", "Unauthorized", "about:blank"), ErrorClass::Auth, None),
        (401, code(32), ErrorClass::Auth, None),
        (403, code(89), ErrorClass::Auth, None),
        (401, code(135), ErrorClass::Unavailable, Some(Refusal::WrongClock)),
        (403, code(326), ErrorClass::Auth, Some(Refusal::AccountLocked)),
        (403, code(64), ErrorClass::Auth, Some(Refusal::AccountLocked)),
        (403, code(93), ErrorClass::Auth, Some(Refusal::RightMissing)),
        (
            403,
            problem("Forbidden", "", "https://api.twitter.com/2/problems/oauth1-permissions"),
            ErrorClass::Auth,
            Some(Refusal::RightMissing),
        ),
        (403, code(226), ErrorClass::RateLimited, Some(Refusal::SpamGuard)),
        (402, "{}".to_owned(), ErrorClass::RateLimited, Some(Refusal::UsageCapped)),
        (
            429,
            problem("UsageCapExceeded", "", "https://api.x.com/2/problems/usage-capped"),
            ErrorClass::RateLimited,
            Some(Refusal::UsageCapped),
        ),
    ] {
        let error = judged(Call::Write, status, &body);
        assert_eq!((error.failure.class, error.refusal), (class, refusal), "{status} {body}");
        assert_eq!(error.failure.effect, Effect::None, "{status} {body}");
        let pauses = class == ErrorClass::RateLimited;
        assert_eq!(error.failure.retry_at_ms, pauses.then_some(NOW_MS + LONG_PAUSE_MS), "{status} {body}");
    }
}

#[test]
fn rate_limits() {
    let reset = |remaining| {
        let quota = super::super::limits::Quota { limit: None, remaining, reset_ms: 2_000_000 };
        Limits { endpoint: Some(quota), ..Limits::default() }
    };
    for (limits, class, retry_at_ms) in [
        (reset(Some(0)), ErrorClass::RateLimited, Some(2_000_000)),
        (reset(None), ErrorClass::RateLimited, Some(2_000_000)),
        (Limits::default(), ErrorClass::Busy, None),
    ] {
        let body = problem("Too Many Requests", "", "about:blank");
        let error = judge(Call::Write, 429, body.as_bytes(), limits, NOW_MS);
        assert_eq!((error.failure.class, error.failure.retry_at_ms), (class, retry_at_ms));
        assert_eq!(error.failure.effect, Effect::None);
        assert_eq!(error.limits, limits);
    }
}

#[test]
fn an_outage_does_not_wait_for_a_window_that_is_open() {
    let quota = super::super::limits::Quota { limit: None, remaining: Some(5), reset_ms: 2_000_000 };
    let open = Limits { endpoint: Some(quota), ..Limits::default() };
    assert_eq!(judge(Call::Write, 503, b"", open, NOW_MS).failure.retry_at_ms, None);
    let asking = Limits { retry_after_s: Some(7), ..open };
    assert_eq!(judge(Call::Write, 503, b"", asking, NOW_MS).failure.retry_at_ms, Some(NOW_MS + 7_000));
}

#[test]
fn effects() {
    for (call, status, body, class, effect) in [
        (Call::Write, 500, "", ErrorClass::Unavailable, Effect::Possible),
        (Call::Write, 503, "<html>Over capacity</html>", ErrorClass::Unavailable, Effect::Possible),
        (Call::Write, 504, "{}", ErrorClass::Unavailable, Effect::Possible),
        (Call::Write, 408, "", ErrorClass::Unavailable, Effect::Possible),
        (Call::Read, 500, "", ErrorClass::Unavailable, Effect::None),
        (Call::Write, 403, "<html>blocked</html>", ErrorClass::Unavailable, Effect::None),
        (Call::Write, 400, "", ErrorClass::Unexpected, Effect::None),
        (Call::Write, 302, "", ErrorClass::Unexpected, Effect::Possible),
        (Call::Write, 200, "{}", ErrorClass::Unexpected, Effect::Possible),
        (Call::Read, 404, "{}", ErrorClass::NotFound, Effect::None),
    ] {
        let error = judged(call, status, body);
        assert_eq!((error.failure.class, error.failure.effect), (class, effect), "{status} {body}");
        assert_eq!(error.failure.http_status, Some(status));
    }
}

#[test]
fn details_tell_no_message_text() {
    let body = problem("Invalid Request", "the text [my secret words] is wrong", "about:blank");
    let error = judged(Call::Write, 400, &body);
    assert_eq!(
        error.to_string(),
        "permanent: x finds the request itself wrong: it will be refused again; x answered 400 (Invalid Request)"
    );
    let endless = problem(&"long\n".repeat(1_000), "", "about:blank");
    assert!(judged(Call::Write, 400, &endless).failure.detail.len() < 400);
}

#[test]
fn broken_bodies() {
    for body in [
        "[]",
        "7",
        "null",
        r#"{"errors":"words"}"#,
        r#"{"errors":[null,1,"x",[]]}"#,
        r#"{"error":{}}"#,
        "\u{0}",
    ] {
        let error = judged(Call::Write, 503, body);
        assert_eq!(error.failure.class, ErrorClass::Unavailable, "{body}");
    }
}
