use casewire_sandbox::{XLimits, XOptions};
use serde_json::json;

use crate::support::{Answer, Signer, account, as_account, as_app, client, dana, dm, x};

#[tokio::test]
async fn a_direct_message_is_taken_and_found_again() {
    let x = x(XOptions::default()).await;
    let answer = Answer::to(dm(&x, "hello & welcome")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let data = &answer.json()["data"];
    assert_eq!(data["dm_conversation_id"], "990001234567890177-1205550247124217891");
    assert_eq!(answer.header("x-rate-limit-limit"), "15");
    assert_eq!(answer.header("x-rate-limit-remaining"), "14");
    assert_eq!(answer.header("x-app-limit-24hour-remaining"), "1439");
    let sent = x.sent_dms();
    assert_eq!((sent.len(), sent[0].text.as_str()), (1, "hello & welcome"));
    let path = format!(
        "/2/dm_conversations/with/{}/dm_events?dm_event.fields=sender_id,created_at&max_results=5&event_types=MessageCreate",
        dana().id
    );
    let list = Answer::to(as_account(&x, "GET", &path)).await;
    assert_eq!(list.status, 200, "{}", list.text);
    let event = &list.json()["data"][0];
    assert_eq!(event["id"], data["dm_event_id"]);
    assert_eq!(event["sender_id"], account().id);
    assert_eq!(event["text"], "hello & welcome");
    assert!(event.get("participant_ids").is_none());
}

#[tokio::test]
async fn lists_are_newest_first_and_paged() {
    let x = x(XOptions::default()).await;
    for text in ["one", "two", "three"] {
        assert_eq!(Answer::to(dm(&x, text)).await.status, 201);
    }
    let page = Answer::to(as_account(&x, "GET", "/2/dm_events?max_results=2")).await.json();
    assert_eq!((&page["data"][0]["text"], &page["data"][1]["text"]), (&json!("three"), &json!("two")));
    let token = page["meta"]["next_token"].as_str().unwrap();
    let path = format!("/2/dm_events?max_results=2&pagination_token={token}");
    let page = Answer::to(as_account(&x, "GET", &path)).await.json();
    assert_eq!(page["data"][0]["text"], "one");
    assert!(page["meta"].get("next_token").is_none());
    let bad = Answer::to(as_account(&x, "GET", "/2/dm_events?max_results=101")).await;
    assert_eq!((bad.status, &bad.json()["title"]), (400, &json!("Invalid Request")));
}

#[tokio::test]
async fn bodies_that_the_contract_does_not_know_are_refused() {
    let x = x(XOptions::default()).await;
    let path = format!("/2/dm_conversations/with/{}/messages", dana().id);
    for body in [
        json!({}),
        json!({"text": ""}),
        json!({"text": "a", "unknown": 1}),
        json!({"text": 7}),
        json!({"attachments": []}),
        json!({"attachments": [{"media_id": "x"}]}),
        json!({"text": "x".repeat(10_001)}),
    ] {
        let answer = Answer::to(as_account(&x, "POST", &path).json(&body)).await;
        assert_eq!(answer.status, 400, "{body} {}", answer.text);
    }
    let handle = Answer::to(
        as_account(&x, "POST", "/2/dm_conversations/with/dana/messages").json(&json!({"text": "a"})),
    );
    assert_eq!(handle.await.status, 400);
    assert_eq!(Answer::to(dm(&x, &"x".repeat(10_000))).await.status, 201);
    let media = as_account(&x, "POST", &path).json(&json!({"attachments": [{"media_id": "12"}]}));
    assert_eq!(Answer::to(media).await.status, 201);
    assert_eq!(x.n_sent_dms(), 2);
}

#[tokio::test]
async fn wrong_signatures_are_told_apart() {
    let x = x(XOptions::default()).await;
    let url = format!("{}/2/users/me?user.fields=name", x.url());
    let right = Signer::new(x.options(), &account());
    let cases = [
        (right.clone(), 200, None),
        // The same nonce again.
        (right.clone(), 401, Some(32)),
        (Signer { nonce: "1".into(), consumer_secret: "wrong".into(), ..right.clone() }, 401, Some(32)),
        (Signer { nonce: "2".into(), token_secret: "wrong".into(), ..right.clone() }, 401, Some(32)),
        (Signer { nonce: "3".into(), token: "unknown".into(), ..right.clone() }, 401, Some(89)),
        (Signer { nonce: "4".into(), timestamp: right.timestamp - 301, ..right.clone() }, 401, Some(135)),
        (Signer { nonce: "5".into(), timestamp: right.timestamp + 302, ..right.clone() }, 401, Some(135)),
        (Signer { nonce: "6".into(), consumer_key: "wrong".into(), ..right.clone() }, 401, Some(32)),
        (Signer { nonce: "7".into(), timestamp: right.timestamp - 200, ..right.clone() }, 200, None),
    ];
    for (number, (signer, status, code)) in cases.into_iter().enumerate() {
        let request = client().get(&url).header("authorization", signer.header("GET", &url));
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status, "case {number}: {}", answer.text);
        match code {
            Some(code) => assert_eq!(answer.json()["errors"][0]["code"], code, "case {number}"),
            None => assert_eq!(answer.json()["data"]["username"], "AcmeCare"),
        }
    }
    let bearer = Answer::to(as_app(&x, "GET", "/2/users/me")).await;
    assert_eq!((bearer.status, &bearer.json()["title"]), (403, &json!("Unsupported Authentication")));
    assert_eq!(Answer::to(client().get(&url)).await.status, 401);
    x.revoke_account(&account().id);
    let revoked = Answer::to(as_account(&x, "GET", "/2/users/me")).await;
    assert_eq!((revoked.status, &revoked.json()["errors"][0]["code"]), (401, &json!(89)));
}

#[tokio::test]
async fn the_sixteenth_message_is_refused_until_the_reset() {
    let x = x(XOptions { limits: XLimits { dm_per_15_min: 2, ..XLimits::default() }, ..XOptions::default() })
        .await;
    for text in ["1", "2"] {
        assert_eq!(Answer::to(dm(&x, text)).await.status, 201);
    }
    let refused = Answer::to(dm(&x, "3")).await;
    assert_eq!((refused.status, &refused.json()["title"]), (429, &json!("Too Many Requests")));
    assert_eq!(refused.header("x-rate-limit-remaining"), "0");
    assert!(refused.header("x-rate-limit-reset").parse::<i64>().unwrap() > 1_700_000_000);
    assert_eq!(x.n_sent_dms(), 2);
}

#[tokio::test]
async fn posts_answer_posts_once() {
    let x = x(XOptions::default()).await;
    let post = |body| as_account(&x, "POST", "/2/tweets").json(&body);
    let reply = json!({"text": "we are on it", "reply": {"in_reply_to_tweet_id": "1205348660982083591"}});
    let answer = Answer::to(post(reply.clone())).await;
    assert_eq!((answer.status, &answer.json()["data"]["text"]), (201, &json!("we are on it")));
    let again = Answer::to(post(reply)).await;
    assert_eq!(again.status, 403);
    assert_eq!(again.json()["detail"], "You are not allowed to create a Tweet with duplicate content.");
    let other = json!({"text": "we are on it", "reply": {"in_reply_to_tweet_id": "7"}});
    assert_eq!(Answer::to(post(other)).await.status, 201);
    for (body, status) in [
        (json!({"text": "x".repeat(281)}), 403),
        (json!({"text": "あ".repeat(141)}), 403),
        (json!({"text": "あ".repeat(140)}), 201),
        (json!({"text": "a", "unknown": true}), 400),
        (json!({"text": ""}), 400),
        (json!({"text": "a", "reply": {"in_reply_to_tweet_id": "abc"}}), 400),
    ] {
        assert_eq!(Answer::to(post(body.clone())).await.status, status, "{body}");
    }
    x.delete_post("99");
    let gone = Answer::to(post(json!({"text": "b", "reply": {"in_reply_to_tweet_id": "99"}}))).await;
    assert_eq!((gone.status, &gone.json()["errors"][0]["code"]), (403, &json!(385)));
    let path =
        format!("/2/users/{}/tweets?max_results=5&tweet.fields=referenced_tweets,created_at", account().id);
    let list = Answer::to(as_account(&x, "GET", &path)).await.json();
    assert_eq!(list["meta"]["result_count"], 3);
    assert_eq!(list["data"][2]["referenced_tweets"][0]["id"], "1205348660982083591");
    assert_eq!(x.sent_posts().len(), 3);
}

#[tokio::test]
async fn a_login_gives_the_tokens_once() {
    let x = x(XOptions::default()).await;
    let url = format!("{}/oauth/request_token", x.url());
    let mut signer = Signer::new(x.options(), &account());
    (signer.token, signer.token_secret) = (String::new(), String::new());
    signer.more = vec![("oauth_callback", "https://hub.example.com/callback/?a=1".into())];
    let answer = Answer::to(client().post(&url).header("authorization", signer.header("POST", &url))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let form = |text: &str| {
        url::form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect::<std::collections::HashMap<String, String>>()
    };
    let begun = form(&answer.text);
    assert_eq!(begun["oauth_callback_confirmed"], "true");
    let consent = format!("{}/oauth/authorize?oauth_token={}", x.url(), begun["oauth_token"]);
    let back = Answer::to(client().get(consent)).await;
    let location = url::Url::parse(back.header("location")).unwrap();
    assert_eq!((back.status, location.path()), (302, "/callback/"));
    let given = form(location.query().unwrap());
    assert_eq!((given["a"].as_str(), &given["oauth_token"]), ("1", &begun["oauth_token"]));
    let url = format!("{}/oauth/access_token", x.url());
    for expected in [200, 401] {
        let mut signer = Signer::new(x.options(), &account());
        (signer.token, signer.token_secret) =
            (begun["oauth_token"].clone(), begun["oauth_token_secret"].clone());
        signer.more = vec![("oauth_verifier", given["oauth_verifier"].clone())];
        let answer =
            Answer::to(client().post(&url).header("authorization", signer.header("POST", &url))).await;
        assert_eq!(answer.status, expected, "{}", answer.text);
        if expected == 200 {
            let tokens = form(&answer.text);
            assert_eq!(tokens["oauth_token"], account().access_token);
            assert_eq!(
                (tokens["user_id"].as_str(), tokens["screen_name"].as_str()),
                (account().id.as_str(), "AcmeCare")
            );
        }
    }
}

#[tokio::test]
async fn the_first_page_says_what_this_is() {
    let x = x(XOptions::default()).await;
    let page = Answer::to(client().get(x.url())).await;
    assert!(page.text.contains("Not simulated"), "{}", page.text);
    assert_eq!(x.n_requests(), 0);
}
