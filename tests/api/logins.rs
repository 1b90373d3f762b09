//! Logins: who gets a token, and how many tries there are.

use serde_json::json;

use super::helpers::{PASSWORD, Reply, TestHub};

fn refused() -> serde_json::Value {
    json!({ "non_field_errors": ["Unable to log in with provided credentials."] })
}

#[test]
fn an_address_has_so_many_failures_and_a_success_clears_them() {
    let hub = TestHub::with(&[("AUTH__LOGIN_ATTEMPTS", "3 per 1m")]);
    hub.admin();
    for n in 0..2 {
        assert_eq!(hub.try_log_in(&format!("{n}@example.com"), "wrong").told(), (400, refused()));
    }
    hub.log_in("admin@example.com");
    for n in 0..3 {
        assert_eq!(hub.try_log_in(&format!("{n}@example.com"), "wrong").told(), (400, refused()));
    }
    let limited = hub.try_log_in("admin@example.com", PASSWORD);
    assert_eq!(limited.status, 429, "{}", limited.text());
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[test]
fn a_name_has_three_times_as_many_failures_from_anywhere() {
    let hub =
        TestHub::with(&[("AUTH__LOGIN_ATTEMPTS", "2 per 1m"), ("SERVER__TRUSTED_PROXIES", "127.0.0.0/8")]);
    hub.admin();
    let try_from = |address: &str, username: &str, password: &str| -> Reply {
        let headers = [
            ("X-Forwarded-For".to_owned(), address.as_bytes().to_vec()),
            ("Content-Type".to_owned(), b"application/json".to_vec()),
        ];
        let body = json!({ "username": username, "password": password }).to_string();
        hub.send("POST", "/auth/login/", &headers, Some(body.as_bytes()))
    };
    for n in 0..6 {
        let name = if n % 2 == 0 { "admin@example.com" } else { "ADMIN@example.com" };
        assert_eq!(try_from(&format!("198.51.100.{n}"), name, "wrong").status, 400);
    }
    assert_eq!(try_from("203.0.113.9", "Admin@example.com", PASSWORD).status, 429);
    assert_eq!(try_from("203.0.113.9", "other@example.com", PASSWORD).status, 400, "others are not affected");
}

#[test]
fn guesses_at_once_tell_no_more_than_guesses_in_turn() {
    let hub = TestHub::with(&[("AUTH__LOGIN_ATTEMPTS", "3 per 1m")]);
    hub.admin();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |n| {
            scope.spawn({
                let hub = &hub;
                move || hub.try_log_in(&format!("{n}@b.example"), "wrong!").status
            })
        };
        let guesses: Vec<_> = (0..12).map(guess).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 3, "{statuses:?}");
    assert!(statuses.iter().all(|status| [400, 429].contains(status)), "{statuses:?}");
}

#[test]
fn a_flood_of_logins_does_not_refuse_a_token_check() {
    let hub = TestHub::with(&[("AUTH__LOGIN_ATTEMPTS", "10000 per 1m")]);
    let admin = hub.admin();
    assert!(hub.is_live(&admin));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let status = hub.try_log_in("nobody@example.com", "wrong password").status;
                assert!([400, 503].contains(&status), "{status}");
            });
        }
        for _ in 0..50 {
            assert!(hub.is_live(&admin));
        }
    });
}

#[test]
fn the_answer_names_the_user_and_when_the_token_ends() {
    let hub = TestHub::start();
    hub.admin();
    let body = hub.try_log_in("ADMIN@example.com", PASSWORD).json();
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["expiry", "token", "user"]);
    let keys: Vec<_> = body["user"].as_object().unwrap().keys().collect();
    let expected = ["id", "username", "first_name", "last_name", "company_name", "is_staff", "date_joined"];
    assert_eq!(keys, expected);
    assert_eq!(body["user"]["username"], "admin@example.com");
    assert_eq!(body["user"]["is_staff"], true);
}

#[test]
fn a_user_who_floods_is_told_to_wait_and_others_are_not() {
    let hub = TestHub::with(&[("AUTH__REQUEST_RATE", "3 per 30s")]);
    let admin = hub.admin();
    let other = hub.user(&admin, "other@example.com");
    let statuses = [(); 3].map(|()| hub.get("/auth/tokens/", Some(&other.token)).status);
    assert_eq!(statuses, [200; 3]);
    let throttled = hub.get("/auth/tokens/", Some(&other.token));
    let wait: u64 = throttled.header("retry-after").expect("when to come back").parse().expect("seconds");
    assert!((1..=10).contains(&wait), "a third of the period, not {wait}");
    let plural = if wait == 1 { "" } else { "s" };
    let detail = format!("Request was throttled. Expected available in {wait} second{plural}.");
    assert_eq!(throttled.told(), (429, json!({ "detail": detail })));
    assert_eq!(hub.get("/auth/users/", Some(&other.token)).status, 403, "permission comes before");
    assert_eq!(hub.get("/auth/users/", Some(&admin.token)).status, 200, "others are not affected");
    hub.log_in("other@example.com");
}
