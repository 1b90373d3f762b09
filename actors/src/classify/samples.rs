//! The sample bodies of `tests/payloads/x` against their expectations, and bodies that are broken.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

const ACCOUNT: &str = "990001234567890177";
const CUSTOMER: &str = "1205550247124217891";

fn samples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/payloads/x"))
}

/// What the item says under a name of `expected.json`.
fn stated(item: &Item, key: &str) -> Value {
    let mention = match item.class {
        Class::Mention { kind, is_implicit } => Some((kind, is_implicit)),
        _ => None,
    };
    match key {
        "class" => json!(item.class.as_str()),
        "event_id" => json!(item.event_id),
        "customer_id" => json!(item.customer.as_ref().map(|customer| &customer.id)),
        "handle" => json!(item.customer.as_ref().and_then(|customer| customer.handle.as_ref())),
        "text" => json!(item.text),
        "attachment" => json!(item.media.first().map(|media| media.kind.as_str())),
        "by_our_app" => json!(item.source_app_id.as_deref() == Some("29820999")),
        "quick_reply_metadata" => json!(item.quick_reply_metadata),
        "initiated_via_tweet" => json!(item.initiated_via_tweet),
        "for_user_id" => json!(item.account_id),
        "needs_lookup" => json!(item.needs_lookup),
        "blocked" => json!(item.is_blocked),
        "kind" => json!(mention.map(|(kind, _)| kind.as_str())),
        "explicit" => json!(mention.map(|(_, is_implicit)| !is_implicit)),
        "implicit" => json!(mention.map(|(_, is_implicit)| is_implicit)),
        "in_reply_to" => json!(item.in_reply_to),
        "default_case" => json!(CasePolicy::default().decide(item) == Decision::Keep),
        "by_account" => json!(item.by_account),
        "of_account" => json!(item.quotes_account),
        "revoke_user_id" => json!(item.revoked_user_id),
        unknown => panic!("expected.json states {unknown}, which this test does not know"),
    }
}

#[test]
fn every_sample_becomes_what_is_expected() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(samples().join("expected.json")).unwrap()).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(expected.len() >= 60, "only {} samples", expected.len());
    for (name, expectation) in expected {
        let body = std::fs::read(samples().join(format!("{name}.json"))).unwrap();
        let items = classify(&body).unwrap();
        let stated_items = expectation["items"].as_array().unwrap();
        assert_eq!(items.len(), stated_items.len(), "{name}: {items:?}");
        for (item, stated_item) in items.iter().zip(stated_items) {
            for (key, value) in stated_item.as_object().unwrap() {
                assert_eq!(&stated(item, key), value, "{name}: {key}");
            }
        }
    }
}

fn dm(id: &str) -> Value {
    json!({"type": "message_create", "id": id, "created_timestamp": "1767000000123", "message_create": {
        "target": {"recipient_id": ACCOUNT}, "sender_id": CUSTOMER, "message_data": {"text": "hello"}}})
}

fn classes(body: &Value) -> Vec<&'static str> {
    let items = classify(body.to_string().as_bytes()).unwrap();
    items.iter().map(|item| item.class.as_str()).collect()
}

#[test]
fn a_bad_element_never_loses_its_neighbours() {
    let mut mistyped = dm("3");
    mistyped["message_create"]["sender_id"] = json!({"id": CUSTOMER});
    let mut textless = dm("4");
    textless["message_create"]["message_data"] = json!(["x"]);
    let mut bad_id = dm("12345678901234567890123");
    bad_id["created_timestamp"] = json!([]);
    let body = json!({"for_user_id": ACCOUNT, "users": 7, "apps": "x",
        "direct_message_events": [dm("1"), null, 1, "x", [], {}, mistyped, textless, bad_id, dm("2")]});
    let other = ["other"; 5];
    let expected = [&["dm_inbound"], &other[..], &["other", "dm_inbound", "other", "dm_inbound"]].concat();
    assert_eq!(classes(&body), expected);
}

#[test]
fn several_keys_and_both_envelopes_in_one_body() {
    let body = json!({"for_user_id": ACCOUNT, "direct_message_events": dm("1"), "favorite_events": [{}, {}],
        "tweet_create_events": "none", "follow_events": null, "flag": true,
        "data": {"event_type": "dm.received", "filter": {"user_id": "7"},
            "payload": {"direct_message_events": [dm("2")]}}});
    assert_eq!(classes(&body), ["dm_inbound", "other", "other", "other"]);
    let empty = [
        json!({}),
        json!({"for_user_id": ACCOUNT}),
        json!({"for_user_id": 123, "key": "value"}),
        json!({"for_user_id": ACCOUNT, "direct_message_events": []}),
    ];
    for body in empty {
        assert!(classes(&body).is_empty(), "{body}");
    }
}

#[test]
fn x_activity_variants() {
    let post = |event: &str, more: Value| {
        let mut payload = json!({"id": "9", "author_id": CUSTOMER, "text": "hi"});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"data": {"event_type": event, "filter": {"user_id": ACCOUNT}, "payload": payload}})
    };
    let hidden = json!({"display_text_range": [10, 12], "referenced_posts": [{"type": "replied_to", "id": "5"}],
        "entities": {"mentions": [{"start": 0, "id": ACCOUNT}]}});
    let note =
        json!({"note_post": {"text": "long", "entities": {"mentions": [{"start": 900, "id": ACCOUNT}]}}});
    for (event, more, expected) in [
        ("post.mention.create", json!({}), "mention plain false"),
        ("post.mention.create", hidden.clone(), "mention reply true"),
        ("post.mention.create", json!({"author_id": ACCOUNT}), "own_tweet"),
        ("post.reply.create", json!({"in_reply_to_post_id": "5"}), "mention reply false"),
        ("post.reply.create", json!({"in_reply_to_user_id": "6", "in_reply_to_tweet_id": "5"}), "other"),
        ("post.create", note, "mention plain false"),
        ("post.create", json!({"referenced_tweets": [{"type": "retweeted", "id": "5"}]}), "retweet"),
        ("post.quote.create", json!({}), "quote"),
        (
            "post.quote.create",
            json!({"referenced_tweets": "x", "entities": {"mentions": [{"start": 1, "id": ACCOUNT}]}}),
            "mention quote false",
        ),
        ("post.mention.create", json!({"author_id": null}), "other"),
        ("post.mention.create", json!({"id": "x"}), "other"),
        ("post.like", json!({}), "other"),
        ("chat.received", json!({}), "other"),
    ] {
        let items = classify(post(event, more.clone()).to_string().as_bytes()).unwrap();
        assert_eq!(items.len(), 1, "{event}");
        assert_eq!(items[0].event, event);
        let told = match items[0].class {
            Class::Mention { kind, is_implicit } => format!("mention {} {is_implicit}", kind.as_str()),
            class => class.as_str().to_owned(),
        };
        assert_eq!(told, expected, "{event} {more}");
    }
}

#[test]
fn media_of_x_activity() {
    let body = |includes: Value, attachments: Value| {
        json!({"data": {"event_type": "post.mention.create", "filter": {"user_id": ACCOUNT}, "includes": includes,
            "payload": {"id": "9", "author_id": CUSTOMER, "text": "look &amp; see https://t.co/pp https://t.co/ll",
                "attachments": attachments, "entities": {"urls": [
                    {"url": "https://t.co/pp", "expanded_url": "https://x.com/d/status/9/photo/1", "display_url": "pic.x.com/pp"},
                    {"url": "https://t.co/ll", "expanded_url": "https://example.org/"}]}}}})
    };
    let included = json!({"media": [{"media_key": "7_1", "type": "video", "preview_image_url": "https://pbs.twimg.com/1.jpg"}]});
    for (includes, attachments, kind, url) in [
        (json!(null), json!({"media_keys": ["3_1"]}), MediaKind::Photo, None),
        (json!(null), json!({"media_keys": ["16_1"]}), MediaKind::AnimatedGif, None),
        (included, json!({"media_keys": ["7_1"]}), MediaKind::Video, Some("https://pbs.twimg.com/1.jpg")),
        (json!(null), json!(null), MediaKind::Photo, Some("https://x.com/d/status/9/photo/1")),
    ] {
        let items = classify(body(includes, attachments).to_string().as_bytes()).unwrap();
        assert_eq!(items[0].text, "look & see https://example.org/");
        assert_eq!(items[0].media, [Media { kind, url: url.map(str::to_owned) }]);
    }
}

#[test]
fn details() {
    let mut message = dm("1");
    message["message_create"]["message_data"]["text"] = json!("nul\u{0}s &amp;lt;");
    let users = json!({"users": {CUSTOMER: {"name": "D\u{0}ana", "screen_name": "not a handle"}}});
    let body = json!({"for_user_id": 990_001_234_567_890_177_u64, "user_has_blocked": "true", "apps": users,
        "direct_message_events": [message]});
    let item = classify(body.to_string().as_bytes()).unwrap().remove(0);
    assert_eq!(item.account_id.as_deref(), Some(ACCOUNT));
    assert_eq!(item.text, "nuls &lt;");
    assert_eq!(item.created_at_ms, Some(1_767_000_000_123));
    assert!(item.is_blocked);
    let expected = Customer { id: CUSTOMER.to_owned(), handle: None, name: Some("Dana".to_owned()) };
    assert_eq!(item.customer, Some(expected));

    let body = std::fs::read(samples().join("aaa_mention_leading.json")).unwrap();
    let item = classify(&body).unwrap().remove(0);
    assert_eq!(item.link.as_deref(), Some("https://x.com/dana_k/status/1205348660982083591"));
    let body = std::fs::read(samples().join("xaa_post_reply_create.json")).unwrap();
    let item = classify(&body).unwrap().remove(0);
    assert_eq!(item.link.as_deref(), Some("https://x.com/i/status/2090000000000000001"));
    assert_eq!(item.created_at_ms, Some(1_784_928_203_000));
}

#[test]
fn numbers_and_surrogates_beyond_the_parser() {
    let good = dm("2").to_string();
    let surrogate = good.replace("hello", "a\\ud83d");
    let body = format!(
        r#"{{"for_user_id":"{ACCOUNT}","direct_message_events":[{{"id":1e999}},{{"id":-1}},{surrogate},{good}]}}"#
    );
    let items = classify(body.as_bytes()).unwrap();
    let told: Vec<_> = items.iter().map(|item| (item.class.as_str(), item.text.as_str())).collect();
    assert_eq!(told, [("other", ""), ("other", ""), ("dm_inbound", "a\u{fffd}"), ("dm_inbound", "hello")]);
}

#[test]
fn what_is_not_an_object_is_refused() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, expected) in [
        (&b"\xff{}"[..], NotJson::NotUtf8),
        (b"", NotJson::Syntax { line: 1, column: 0 }),
        (b"{\"a\":1e999", NotJson::Syntax { line: 1, column: 9 }),
        (b"[]", NotJson::NotAnObject),
        (b"null", NotJson::NotAnObject),
        (deep.as_bytes(), NotJson::TooDeep),
    ] {
        match (classify(body).unwrap_err(), expected) {
            (NotJson::Syntax { .. }, NotJson::Syntax { .. }) => {}
            (refusal, expected) => assert_eq!(refusal, expected),
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_body_panics(body in "[\\[\\]{}\",:\\\\ud8e0-9a-]{0,60}", bytes in proptest::collection::vec(0_u8..=255, 0..80)) {
        let _ = classify(body.as_bytes());
        let _ = classify(&bytes);
    }
}

/// `cargo test --release -p casewire-actors classify_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn classify_speed() {
    for name in
        ["aaa_dm_inbound", "aaa_dm_attachment_photo_only", "aaa_dm_long_10000", "aaa_mention_extended"]
    {
        let body = std::fs::read(samples().join(format!("{name}.json"))).unwrap();
        let started = std::time::Instant::now();
        let n_rounds = 50_000;
        for _ in 0..n_rounds {
            std::hint::black_box(classify(std::hint::black_box(&body)).unwrap());
        }
        println!("{name}: {} bytes, {:?} each", body.len(), started.elapsed() / n_rounds);
    }
}
