use serde_json::json;

use super::*;
use crate::http::problem::Problem;

const USER: [Text; 5] = [
    Text::new("username").at_most(254).email(),
    Text::new("first_name").at_most(150),
    Text::new("last_name").at_most(150),
    Text::new("company_name").at_most(255),
    Text::new("password").untrimmed().at_most(128),
];

fn json_body(text: &str) -> Body {
    Body::parse(Some(b"application/json"), text.as_bytes()).unwrap()
}

fn form_body(text: &str) -> Body {
    Body::parse(Some(b"application/x-www-form-urlencoded"), text.as_bytes()).unwrap()
}

/// The answer to a user's fields with these replaced.
fn answer(changes: &Value) -> Value {
    let mut user = json!({
        "username": "a@b.example", "first_name": "Tony", "last_name": "Stark",
        "company_name": "Stark Industries", "password": "password",
    });
    for (name, value) in changes.as_object().unwrap() {
        user[name] = value.clone();
    }
    match check(&json_body(&user.to_string()), &USER, Presence::Whole) {
        Ok(_) => Value::Null,
        Err(invalid) => body_of(invalid),
    }
}

/// The body of a refusal.
fn body_of(invalid: Invalid) -> Value {
    match Problem::from(invalid) {
        Problem::Invalid(fields) => Value::Object(fields),
        other => panic!("{other:?}"),
    }
}

/// Whether a field was given, as text or null.
fn has(valid: &Valid, name: &str) -> bool {
    valid.0.iter().any(|(known, _)| *known == name)
}

#[test]
fn fields_are_refused_in_the_recorded_words() {
    let cases = [
        (json!({}), json!(null)),
        (json!({"id": 7, "unknown": [{}]}), json!(null)),
        (
            json!({"username": "", "first_name": "", "last_name": " ", "company_name": "\u{1c}\u{a0}\t"}),
            json!({
                "username": ["This field may not be blank."],
                "first_name": ["This field may not be blank."],
                "last_name": ["This field may not be blank."],
                "company_name": ["This field may not be blank."],
            }),
        ),
        (
            json!({"username": null, "company_name": null}),
            json!({"username": ["This field may not be null."], "company_name": ["This field may not be null."]}),
        ),
        (
            json!({"first_name": true, "last_name": [], "company_name": {}}),
            json!({
                "first_name": ["Not a valid string."],
                "last_name": ["Not a valid string."],
                "company_name": ["Not a valid string."],
            }),
        ),
        (json!({"username": "not an email"}), json!({"username": ["Enter a valid email address."]})),
        (
            json!({"username": format!("{}@example.com", "a".repeat(309))}),
            json!({"username": [
                "Ensure this field has no more than 254 characters.",
                "Enter a valid email address.",
            ]}),
        ),
        // An e-mail address has one message for every wrong kind.
        (json!({"username": true}), json!({"username": ["Enter a valid email address."]})),
        (json!({"first_name": "a\0"}), json!({"first_name": ["Null characters are not allowed."]})),
        (
            json!({"username": "a\0"}),
            json!({"username": ["Null characters are not allowed.", "Enter a valid email address."]}),
        ),
        (json!({"first_name": "ü".repeat(150)}), json!(null)),
        (
            json!({"first_name": "ü".repeat(151), "password": "        "}),
            json!({"first_name": ["Ensure this field has no more than 150 characters."]}),
        ),
        (json!({"password": "       "}), json!(null)),
        (json!({"password": ""}), json!({"password": ["This field may not be blank."]})),
        (
            json!({"password": "x".repeat(129)}),
            json!({"password": ["Ensure this field has no more than 128 characters."]}),
        ),
        (json!({"password": 12_345_678, "first_name": 1.5}), json!(null)),
    ];
    for (changes, expected) in cases {
        assert_eq!(answer(&changes), expected, "{changes}");
    }
}

#[test]
fn all_that_is_missing_is_told_in_order() {
    let invalid = check(&json_body("{}"), &USER, Presence::Whole).unwrap_err();
    let names: Vec<&str> = invalid.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["username", "first_name", "last_name", "company_name", "password"]);
    assert!(invalid.fields.iter().all(|(_, messages)| messages == &["This field is required."]));
    let text = body_of(Invalid { fields: invalid.fields[..2].to_vec() }).to_string();
    assert_eq!(text, r#"{"username":["This field is required."],"first_name":["This field is required."]}"#);
}

#[test]
fn a_partial_request_may_leave_everything_out() {
    assert_eq!(check(&json_body("{}"), &USER, Presence::Partial), Ok(Valid::default()));
    let valid = check(&json_body(r#"{"first_name": " T "}"#), &USER, Presence::Partial).unwrap();
    assert_eq!(valid.get("first_name"), Some("T"));
    assert!(!has(&valid, "last_name"));
    assert!(check(&json_body(r#"{"first_name": null}"#), &USER, Presence::Partial).is_err());
}

#[test]
fn bodies_that_are_no_object_are_refused_by_their_kind() {
    let cases = [
        ("[1]", "Invalid data. Expected a dictionary, but got list."),
        ("\"x\"", "Invalid data. Expected a dictionary, but got str."),
        ("1", "Invalid data. Expected a dictionary, but got int."),
        ("1.5", "Invalid data. Expected a dictionary, but got float."),
        ("true", "Invalid data. Expected a dictionary, but got bool."),
        ("null", "No data provided"),
    ];
    for (text, message) in cases {
        let invalid = check(&json_body(text), &USER, Presence::Partial).unwrap_err();
        assert_eq!(body_of(invalid), json!({"non_field_errors": [message]}));
    }
}

#[test]
fn lone_surrogates_are_refused_by_their_code() {
    let fields = [Text::new("a")];
    let invalid = check(&json_body(r#"{"a": "x\ud800"}"#), &fields, Presence::Whole);
    assert_eq!(invalid.unwrap_err(), Invalid::field("a", "Surrogate characters are not allowed: U+D800."));
    assert!(check(&json_body(r#"{"a": "\ud83d\ude00"}"#), &fields, Presence::Whole).is_ok());
    // The letters of a domain may be any of the first plane, which surrogates are of.
    let invalid = check(&json_body(r#"{"a": "a@b.co\ud800"}"#), &[Text::new("a").email()], Presence::Whole);
    assert_eq!(invalid.unwrap_err(), Invalid::field("a", "Surrogate characters are not allowed: U+D800."));
}

#[test]
fn values_are_trimmed_and_numbers_written_as_python_writes_them() {
    let fields = [Text::new("a"), Text::new("b").untrimmed()];
    let cases = [
        (r#"" x ""#, "x", " x "),
        ("1", "1", "1"),
        ("-7", "-7", "-7"),
        ("1.0", "1.0", "1.0"),
        ("1e5", "100000.0", "100000.0"),
        ("1e16", "1e+16", "1e+16"),
        ("1.5e-5", "1.5e-05", "1.5e-05"),
        ("0.0001", "0.0001", "0.0001"),
        ("1e100", "1e+100", "1e+100"),
    ];
    for (written, a, b) in cases {
        let body = json_body(&format!(r#"{{"a": {written}, "b": {written}}}"#));
        let mut valid = check(&body, &fields, Presence::Whole).unwrap();
        assert_eq!((valid.get("a"), valid.get("b")), (Some(a), Some(b)), "{written}");
        assert_eq!(valid.take("a").as_deref(), Some(a));
    }
}

#[test]
fn optional_fields_may_be_left_out_blank_or_null_as_they_say() {
    let fields = [Text::new("a").optional(), Text::new("b").or_blank(), Text::new("c").or_null()];
    let valid = check(&json_body(r#"{"b": " ", "c": null}"#), &fields, Presence::Whole).unwrap();
    assert_eq!(
        (has(&valid, "a"), valid.get("b"), valid.get("c"), has(&valid, "c")),
        (false, Some(""), None, true)
    );
    assert!(check(&json_body(r#"{"a": "", "b": "", "c": null}"#), &fields, Presence::Whole).is_err());
    // A form shows every field, so emptiness stands for none there.
    let valid = check(&form_body("a=&b=&c="), &fields, Presence::Whole).unwrap();
    assert_eq!(
        (has(&valid, "a"), valid.get("b"), valid.get("c"), has(&valid, "c")),
        (false, Some(""), None, true)
    );
    assert!(check(&form_body("a=+&b=&c="), &fields, Presence::Whole).is_err());
}

#[test]
fn what_a_route_adds_stands_behind_what_the_fields_say() {
    let mut invalid = Invalid::field("a", "one");
    invalid.add("b", ["two".to_owned()]);
    invalid.add("a", ["three".to_owned()]);
    assert_eq!(body_of(invalid.clone()), json!({"a": ["one", "three"], "b": ["two"]}));
    assert!(invalid.or(()).is_err());
    assert_eq!(Invalid::default().or(5), Ok(5));
}
