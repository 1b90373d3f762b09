//! Users: paging, the last admin, names, and what nobody should be able to send.

use serde_json::{Value, json};

use super::helpers::{PASSWORD, TestHub, new_user};

#[test]
fn the_list_comes_in_pages_and_can_be_searched() {
    let hub = TestHub::start();
    let admin = hub.admin();
    for n in 1..=4 {
        let mut body = new_user(&format!("user{n}@example.com"));
        body["company_name"] = json!(format!("100%_{n}"));
        assert_eq!(hub.post("/auth/users/", Some(&admin.token), &body).status, 201);
    }
    let names = |path: &str| -> (Vec<String>, Option<String>, Option<String>) {
        let reply = hub.get(path, Some(&admin.token));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let users = reply.json();
        let name = |user: &Value| user["username"].as_str().unwrap().split('@').next().unwrap().to_owned();
        let header = |name: &str| reply.header(name).map(str::to_owned);
        (users.as_array().unwrap().iter().map(name).collect(), header("x-total-count"), header("link"))
    };
    let (all, total, link) = names("/auth/users/");
    assert_eq!(all, ["admin", "user1", "user2", "user3", "user4"]);
    assert_eq!((total.as_deref(), link), (Some("5"), None));
    let (some, total, link) = names("/auth/users/?limit=2&offset=1&search=@example");
    assert_eq!(some, ["user1", "user2"]);
    assert_eq!(total.as_deref(), Some("5"));
    let link = link.unwrap();
    assert!(link.contains("search=%40example&limit=2&offset=3>; rel=\"next\""), "{link}");
    assert!(link.contains("search=%40example&limit=2&offset=0>; rel=\"prev\""), "{link}");
    assert_eq!(names("/auth/users/?search=USER3").0, ["user3"]);
    assert_eq!(names("/auth/users?search=%25_2").0, ["user2"], "taken literally");
    assert!(names("/auth/users/?search=%25%25").0.is_empty());
    for wrong in ["limit=x", "limit=0", "offset=-1"] {
        assert_eq!(hub.get(&format!("/auth/users/?{wrong}"), Some(&admin.token)).status, 400, "{wrong}");
    }
}

#[test]
fn a_name_belongs_to_one_of_those_who_ask_for_it_at_once() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let create = |n| {
            let name = if n % 2 == 0 { "same@example.com" } else { "SAME@example.com" };
            let (hub, token) = (&hub, &admin.token);
            scope.spawn(move || hub.post("/auth/users/", Some(token), &new_user(name)).told())
        };
        let creations: Vec<_> = (0..6).map(create).collect();
        creations.into_iter().map(|creation| creation.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1, "{answers:?}");
    let refused = json!({ "username": ["user with this username already exists."] });
    assert!(answers.iter().all(|(status, body)| *status == 201 || *body == refused), "{answers:?}");
}

#[test]
fn one_admin_is_left_however_they_delete_each_other() {
    let hub = TestHub::start();
    let first = hub.admin();
    let made = hub.command(&["createsuperuser", "--email", "second@example.com"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let second = hub.log_in("second@example.com");
    let paths = [&first, &second].map(|admin| format!("/auth/users/{}/", admin.id));
    let mut statuses = std::thread::scope(|scope| {
        let (hub, first, second, paths) = (&hub, &first, &second, &paths);
        let one = scope.spawn(move || hub.call("DELETE", &paths[1], Some(&first.token), None).status);
        let other = scope.spawn(move || hub.call("DELETE", &paths[0], Some(&second.token), None).status);
        [one.join().unwrap(), other.join().unwrap()]
    });
    statuses.sort_unstable();
    // The slower one is the last admin by then, or its token has ended with it.
    assert!([[204, 401], [204, 404], [204, 409]].contains(&statuses), "{statuses:?}");
    assert!(hub.is_live(&first) != hub.is_live(&second));
}

#[test]
fn a_new_password_ends_the_other_tokens_and_the_old_password() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let tony = hub.user(&admin, "tony@example.com");
    let other = hub.log_in("tony@example.com");
    let path = format!("/auth/users/{}/set-password", tony.id);
    let body = json!({ "password": "another one" });
    let reply = hub.call("PATCH", &path, Some(&tony.token), Some(&body));
    assert_eq!(reply.told(), (200, json!({ "status": "password set" })));
    assert!(hub.is_live(&tony) && !hub.is_live(&other));
    assert_eq!(hub.try_log_in("tony@example.com", PASSWORD).status, 400);
    assert_eq!(hub.try_log_in("tony@example.com", "another one").status, 200);

    for (password, message) in [
        ("1234567", "Ensure this field has at least 8 characters."),
        ("Tony@Example.com", "The password is too similar to the username."),
    ] {
        let reply = hub.call("PATCH", &path, Some(&tony.token), Some(&json!({ "password": password })));
        assert_eq!(reply.told(), (400, json!({ "password": [message] })));
    }
    assert_eq!(hub.call("PATCH", &path, Some(&admin.token), Some(&body)).status, 200);
    assert!(!hub.is_live(&tony), "by an admin it ends all of them");
}

#[test]
fn a_deleted_user_is_gone_with_its_tokens() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let tony = hub.user(&admin, "tony@example.com");
    assert!(hub.is_live(&tony));
    let path = format!("/auth/users/{}/", tony.id);
    assert_eq!(hub.call("DELETE", &path, Some(&admin.token), None).status, 204);
    assert!(!hub.is_live(&tony));
    assert_eq!(hub.try_log_in("tony@example.com", PASSWORD).status, 400);
    assert_eq!(hub.call("DELETE", &path, Some(&admin.token), None).status, 404);
}

#[test]
fn a_changed_name_is_seen_at_once() {
    let hub = TestHub::start();
    let admin = hub.admin();
    let path = format!("/auth/users/{}/", admin.id);
    for n in 0..5 {
        let name = format!("Name {n}");
        let body = json!({ "first_name": name });
        let reply = hub.call("PATCH", &path, Some(&admin.token), Some(&body));
        assert_eq!(reply.json()["first_name"], name.as_str());
        assert_eq!(hub.get(&path, Some(&admin.token)).json()["first_name"], name.as_str());
    }
}

#[test]
fn nothing_that_is_sent_makes_a_5xx() {
    let hub = TestHub::with(&[("AUTH__LOGIN_ATTEMPTS", "10000 per 1m")]);
    let admin = hub.admin();
    let token = format!("Token {}", admin.token).into_bytes();
    let own = format!("/auth/users/{}/", admin.id);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = "x".repeat(2 << 20);
    let bodies: Vec<Vec<u8>> = vec![
        b"".into(), b"{".into(), b"null".into(), b"[]".into(), b"1e999".into(), b"\"\\ud800\"".into(),
        b"{\"username\": \"\\ud800\", \"password\": \"\\udfff12345678\"}".into(),
        b"{\"username\": \"a\\u0000b\", \"password\": \"\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\"}".into(),
        b"{\"username\": {\"a\": []}, \"password\": 1e308}".into(),
        b"\xff\xfe\x00".into(), b"\xef\xbb\xbf{}".into(), deep.into_bytes(), large.into_bytes(),
        b"username=%00&password=%ff".into(), b"--X\r\n\r\n".into(), vec![0; 64],
    ];
    let types = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=X",
        "multipart/form-data",
        "text/plain",
        "application/json; charset=utf-16",
        ";;;",
        "",
    ];
    let set_password = format!("{own}set-password/");
    let routes = [
        ("POST", "/auth/login/"),
        ("POST", "/auth/users/"),
        ("PATCH", own.as_str()),
        ("PUT", own.as_str()),
        ("PATCH", set_password.as_str()),
        ("POST", "/api/api-key/"),
        ("BREW", "/auth/users/"),
        ("GET", "/auth/users/%00/"),
        ("GET", "/auth/users/%ff%fe/"),
        ("GET", "/%2e%2e/%2f"),
        ("GET", "/auth/users/?limit=99999999999999999999&offset=%ff"),
        ("DELETE", "/auth/tokens/%7B%7D/"),
        ("GET", "/auth/users/?limit=1&offset=9223372036854775807&search=%00"),
    ];
    for (method, path) in routes {
        for body in &bodies {
            for content_type in types {
                if body.len() > 1000 && content_type != "application/json" {
                    continue;
                }
                let headers = [
                    ("Authorization".to_owned(), token.clone()),
                    ("Content-Type".to_owned(), content_type.as_bytes().to_vec()),
                ];
                let reply = hub.send(method, path, &headers, Some(body));
                let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
                assert!(reply.status < 500, "{method} {path} {content_type} {start}: {}", reply.text());
            }
        }
    }
    assert!(hub.is_live(&admin));
}

#[test]
fn requests_are_served_on_one_connection_after_refusals() {
    let hub = TestHub::start();
    let reply = hub.send("HEAD", "/auth/users/", &[], None);
    assert_eq!((reply.status, reply.body.len()), (401, 0));
    assert_eq!(reply.header("content-length"), Some("58"));
    let reply = hub.send("BREW", "/nope", &[], None);
    assert_eq!(reply.told(), (404, json!({ "detail": "Not found." })));
    for name in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
        assert!(reply.header(name).is_some(), "{name}");
    }
    assert_eq!(reply.header("server"), None);
}
