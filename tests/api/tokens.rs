//! Tokens: their end, their number, their life.

use serde_json::{Value, json};

use super::helpers::{PASSWORD, TestHub, User};

#[test]
fn the_limit_is_exact_when_all_log_in_at_once() {
    let hub = TestHub::with(&[("AUTH__TOKEN_LIMIT_PER_USER", "3")]);
    let admin = hub.admin();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let logins: Vec<_> =
            (0..10).map(|_| scope.spawn(|| hub.try_log_in("admin@example.com", PASSWORD).status)).collect();
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    let refused = hub.try_log_in("admin@example.com", PASSWORD);
    let text = "Maximum amount of tokens allowed per user exceeded.";
    assert_eq!(refused.told(), (403, json!({ "error": text })));
    assert_eq!(hub.post("/auth/logout/", Some(&admin.token), &json!({})).status, 204);
    hub.log_in("admin@example.com");
}

#[test]
fn a_logout_ends_the_token_under_checks_that_run_all_the_time() {
    let hub = TestHub::start();
    let admin = hub.admin();
    for _ in 0..20 {
        let user = hub.log_in("admin@example.com");
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                        hub.is_live(&user);
                    }
                });
            }
            assert_eq!(hub.call("POST", "/auth/logout/", Some(&user.token), None).status, 204);
            for _ in 0..20 {
                assert!(!hub.is_live(&user), "an ended token came back");
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        assert!(!hub.is_live(&user), "an ended token came back");
    }
    assert!(hub.is_live(&admin), "the others stay");
}

#[test]
fn logout_all_spares_the_api_key_and_other_users() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let tony = hub.user(&admin, "tony@example.com");
    let again = hub.log_in("tony@example.com");
    let key = hub.post("/api/api-key/", Some(&tony.token), &json!({}));
    assert_eq!(key.status, 201);
    let key = User { id: tony.id.clone(), token: key.json().as_str().unwrap().to_owned() };
    let endless = hub.command(&["token", "create", "--user", "tony@example.com", "--no-expiry"]).stdout;
    let endless = User { id: tony.id.clone(), token: endless.trim_end().to_owned() };
    assert!(hub.is_live(&key) && hub.is_live(&endless));

    assert_eq!(hub.call("POST", "/auth/logout-all/", Some(&tony.token), None).status, 204);
    for (user, expected) in [(&tony, false), (&again, false), (&endless, false), (&key, true), (&admin, true)]
    {
        assert_eq!(hub.is_live(user), expected);
    }
}

#[test]
fn a_new_api_key_replaces_the_earlier_one() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let make = || {
        let reply = hub.call("POST", "/api/api-key/", Some(&admin.token), None);
        assert_eq!(reply.status, 201, "{}", reply.text());
        let token = reply.json().as_str().expect("a bare string").to_owned();
        User { id: admin.id.clone(), token }
    };
    let first = make();
    assert_eq!(first.token.len(), 64);
    assert!(hub.is_live(&first));
    let second = make();
    assert!(!hub.is_live(&first) && hub.is_live(&second) && hub.is_live(&admin));
}

#[test]
fn tokens_are_listed_and_ended_by_their_owner_only() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let tony = hub.user(&admin, "tony@example.com");
    let other = hub.log_in("tony@example.com");
    let listed = hub.get("/auth/tokens/", Some(&tony.token));
    assert_eq!((listed.header("x-total-count"), listed.header("link")), (Some("2"), None));
    let tokens = listed.json();
    assert_eq!(tokens.as_array().unwrap().len(), 2);
    let page = hub.get("/auth/tokens/?limit=1&offset=1", Some(&tony.token));
    assert_eq!(
        (page.header("x-total-count"), page.json()[0]["id"].clone()),
        (Some("2"), tokens[1]["id"].clone())
    );
    assert!(page.header("link").is_some_and(|link| link.ends_with("rel=\"prev\"")));
    let keys: Vec<_> = tokens[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(keys.starts_with(&["id", "name", "created", "expiry", "last_used"]), "{keys:?}");
    assert!(tokens[0]["last_used"].is_string(), "it was just used: {tokens}");
    assert_eq!(tokens[1]["last_used"], Value::Null);
    assert!(!tokens.to_string().contains(&other.token[..15]));

    let path = format!("/auth/tokens/{}/", tokens[1]["id"].as_str().unwrap());
    let foreign = hub.call("DELETE", &path, Some(&admin.token), None);
    assert_eq!(foreign.told(), (404, json!({ "detail": "No Token matches the given query." })));
    assert!(hub.is_live(&other));
    assert_eq!(hub.call("DELETE", &path, Some(&tony.token), None).status, 204);
    assert!(!hub.is_live(&other) && hub.is_live(&tony));
    assert_eq!(hub.call("DELETE", &path, Some(&tony.token), None).status, 404);
    let malformed = hub.call("DELETE", "/auth/tokens/abc/", Some(&tony.token), None);
    assert_eq!(malformed.told(), (404, json!({ "detail": "Not found." })));
}

#[test]
fn commands_take_effect_in_a_running_hub_before_they_return() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let made = hub.command(&["token", "create", "--user", "Admin@example.com", "--name", "ci"]);
    assert_eq!((made.code, made.stdout.len()), (Some(0), 65), "{}", made.stderr);
    let token = User { id: admin.id.clone(), token: made.stdout.trim_end().to_owned() };
    assert!(hub.is_live(&token));
    let listed = hub.command(&["token", "list", "--user", "admin@example.com", "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let of_ci = listed.as_array().unwrap().iter().find(|token| token["name"] == "ci").unwrap();
    let revoked = hub.command(&["token", "revoke", of_ci["id"].as_str().unwrap()]);
    assert_eq!(revoked.code, Some(0), "{}", revoked.stderr);
    assert!(!hub.is_live(&token), "at once");
    assert!(hub.is_live(&admin));

    let again = hub.command(&["token", "revoke", of_ci["id"].as_str().unwrap()]);
    assert_eq!(again.code, Some(1));
    let unknown = hub.command(&["token", "create", "--user", "nobody@example.com"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""));
    let duplicate = hub.command(&["createsuperuser", "--email", "ADMIN@example.com"]);
    assert_eq!(duplicate.code, Some(1), "{}", duplicate.stderr);
    let migrated = hub.command(&["migrate"]);
    assert_eq!((migrated.code, migrated.stdout.as_str()), (Some(0), "the schema is up to date\n"));
    assert_eq!(hub.command(&["token", "create"]).code, Some(2));
}

#[test]
fn uses_are_written_down_when_the_hub_stops() {
    let hub = TestHub::start();
    let admin = hub.admin();
    assert!(hub.is_live(&admin));
    let hub = TestHub::on(hub.stop(), &[]);
    let listed = hub.command(&["token", "list", "--user", "admin@example.com", "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert!(listed[0]["last_used"].is_string(), "{listed}");
}

#[test]
fn tokens_begin_with_the_prefix_of_the_settings() {
    let hub = TestHub::with(&[("AUTH__TOKEN_PREFIX", "tn_")]);
    let admin = hub.admin();
    assert!(admin.token.starts_with("tn_") && admin.token.len() == 67);
    assert!(hub.is_live(&admin));
    let bare = User { id: admin.id.clone(), token: admin.token[3..].to_owned() };
    assert!(!hub.is_live(&bare));
}
