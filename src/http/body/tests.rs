use serde_json::json;

use super::*;
use crate::http::problem::Problem;

const JSON: Option<&[u8]> = Some(b"application/json");
const FORM: Option<&[u8]> = Some(b"application/x-www-form-urlencoded");
const MULTIPART: Option<&[u8]> = Some(b"multipart/form-data; boundary=XbX");

fn value(content_type: Option<&[u8]>, bytes: &[u8]) -> Value {
    let body = Body::parse(content_type, bytes);
    body.unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(bytes))).value().clone()
}

fn refusal(content_type: Option<&[u8]>, bytes: &[u8]) -> (u16, String) {
    let error = Body::parse(content_type, bytes).unwrap_err();
    let status = Problem::from(error.clone()).into_response().status();
    (status.as_u16(), error.to_string())
}

#[test]
fn json_is_read() {
    let cases: [(&[u8], Value); 7] = [
        (br#"{"a": 1}"#, json!({"a": 1})),
        (br#"{"a": 1, "a": 2}"#, json!({"a": 2})),
        (br#"{"a": "\u0000"}"#, json!({"a": "\0"})),
        (br#"{"a": "\ud83d\ude00"}"#, json!({"a": "😀"})),
        ("{\"a\": \"ü\\\\ud800\"}".as_bytes(), json!({"a": "ü\\ud800"})),
        (b"", json!({})),
        (b" null ", json!(null)),
    ];
    for (bytes, expected) in cases {
        assert_eq!(value(JSON, bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let cases: [&[u8]; 12] = [
        b"{",
        b" ",
        br#"{"a": NaN}"#,
        br#"{"a": -Infinity}"#,
        br#"{"a": 1e999}"#,
        br#"{"a": 1,}"#,
        br#"{"a": "\x"}"#,
        br#"{"a": "\u12"}"#,
        br#"{"a": "\ud800"#,
        b"{\"a\": \"\n\"}",
        b"\xef\xbb\xbf{}",
        &deep,
    ];
    for bytes in cases {
        let (status, detail) = refusal(JSON, bytes);
        assert_eq!(status, 400);
        assert!(detail.starts_with("JSON parse error - "), "{detail}");
    }
}

#[test]
fn bytes_that_are_no_text_are_told_in_the_words_of_python() {
    let cases: [(&[u8], &str); 3] = [
        (b"{\"username\": \"\xff\"}", "byte 0xff in position 14: invalid start byte"),
        (b"\"\xc3\"", "byte 0xc3 in position 1: invalid continuation byte"),
        (b"\"\xe2\x82", "byte 0xe2 in position 1: unexpected end of data"),
    ];
    for (bytes, expected) in cases {
        let (_, detail) = refusal(JSON, bytes);
        assert_eq!(detail, format!("JSON parse error - 'utf-8' codec can't decode {expected}"));
    }
}

#[test]
fn lone_surrogates_are_found_and_nothing_else_is_taken_for_one() {
    let cases: [(&str, Option<u32>); 7] = [
        (r#"["\ud800"]"#, Some(0xD800)),
        (r#"["x\uDFFFy"]"#, Some(0xDFFF)),
        (r#"["\ud83d\u0041"]"#, Some(0xD83D)),
        (r#"["\ud83d\ud83d\ude00"]"#, Some(0xD83D)),
        (r#"["\ud83d\ude00"]"#, None),
        (r#"["\\ud800"]"#, None),
        ("[\"\u{10f800}\"]", None),
    ];
    for (text, expected) in cases {
        let body = Body::parse(JSON, text.as_bytes()).unwrap();
        let first = body.value()[0].as_str().unwrap();
        assert_eq!(body.lone_surrogate(first), expected, "{text}");
    }
}

#[test]
fn forms_are_read() {
    let cases: [(&[u8], Value); 6] = [
        (
            b"username=tony%40example.com&password=a+b",
            json!({"username": "tony@example.com", "password": "a b"}),
        ),
        (b"a=1&a=2&&b", json!({"a": "2", "b": ""})),
        (b"a=%00%2B=%", json!({"a": "\0+=%"})),
        ("a=ü&b=%C3%BC".as_bytes(), json!({"a": "ü", "b": "ü"})),
        (b"", json!({})),
        (b"&", json!({})),
    ];
    for (bytes, expected) in cases {
        assert_eq!(value(FORM, bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(refusal(FORM, b"a=%FF").0, 400);
    assert_eq!(refusal(FORM, "a&".repeat(1_001).as_bytes()).0, 400);
    assert!(Body::parse(FORM, "a&".repeat(1_000).as_bytes()).is_ok());
}

#[test]
fn multipart_forms_are_read() {
    let part = |headers: &str, text: &str| format!("--XbX\r\n{headers}\r\n\r\n{text}\r\n");
    let named =
        |name: &str, text: &str| part(&format!("Content-Disposition: form-data; name=\"{name}\""), text);
    let cases = [
        (
            format!("{}{}--XbX--\r\n", named("a", "1"), named("b", "x\r\n\r\n--Xb\r\ny")),
            json!({"a": "1", "b": "x\r\n\r\n--Xb\r\ny"}),
        ),
        (format!("preamble\r\n{}--XbX--epilogue", named("a", "")), json!({"a": ""})),
        (format!("{}{}--XbX--", named("a", "1"), named("a", "2")), json!({"a": "2"})),
        (
            format!(
                "{}--XbX--",
                part("Content-Type: text/plain\r\ncontent-disposition: form-data; name=a", "ü")
            ),
            json!({"a": "ü"}),
        ),
        (
            format!(
                "{}--XbX--",
                part("Content-Disposition: form-data; name=\"a\"; filename=\"f;\\\".txt\"", "x")
            ),
            json!({"a": {}}),
        ),
        (format!("{}{}--XbX--", part("X: y", "x"), named("a", "1")), json!({"a": "1"})),
        // A file goes before a text of the same name; the kind of disposition does not matter.
        (
            format!(
                "{}{}--XbX--",
                part("Content-Disposition: attachment; name=a; filename=f", "x"),
                named("a", "1")
            ),
            json!({"a": {}}),
        ),
        (format!("{}--XbX--", part("Content-Disposition: attachment; name=a", "x")), json!({"a": "x"})),
        ("--XbX\r\n--XbX--".to_owned(), json!({})),
        ("--XbX--\r\n".to_owned(), json!({})),
    ];
    for (text, expected) in cases {
        assert_eq!(value(MULTIPART, text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn broken_multipart_forms_are_refused() {
    let field = "Content-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
    let many = format!("--XbX\r\n{field}").repeat(1_001) + "--XbX--";
    let not_text =
        [b"--XbX\r\nContent-Disposition: form-data; name=a\r\n\r\n".as_slice(), b"\xff\r\n--XbX--"].concat();
    let long = format!("--XbX\r\nX: {}\r\n{field}--XbX--", "x".repeat(9_000));
    let cases: [(Option<&[u8]>, &[u8]); 8] = [
        (Some(b"multipart/form-data"), b"--XbX--"),
        (Some(b"multipart/form-data; boundary="), b"--XbX--"),
        (Some("multipart/form-data; boundary=ü".as_bytes()), b"--XbX--"),
        (MULTIPART, b"nothing"),
        (MULTIPART, b"--XbX\r\nContent-Disposition: form-data; name=a\r\n\r\n1"),
        (MULTIPART, many.as_bytes()),
        (MULTIPART, &not_text),
        (MULTIPART, long.as_bytes()),
    ];
    for (content_type, bytes) in cases {
        let (status, detail) = refusal(content_type, bytes);
        assert_eq!(status, 400);
        assert!(detail.starts_with("Multipart form parse error - "), "{detail}");
    }
}

#[test]
fn other_kinds_are_refused_unless_the_body_is_empty() {
    for written in ["text/plain", "text/plain; charset=utf-8", "application/jsonp", "multipart/mixed", "json"]
    {
        let detail = format!("Unsupported media type \"{written}\" in request.");
        assert_eq!(refusal(Some(written.as_bytes()), b"x"), (415, detail));
        assert_eq!(value(Some(written.as_bytes()), b""), json!({}));
    }
    assert_eq!(refusal(None, b"{}"), (415, "Unsupported media type \"\" in request.".to_owned()));
    assert_eq!(value(None, b""), json!({}));
}

#[test]
fn a_charset_is_obeyed_if_it_is_known() {
    let bytes = b"{\"a\": \"\xfc\"}";
    for charset in ["latin-1", "ISO-8859-1", "\"iso-8859-1\""] {
        let content_type = format!("Application/JSON; charset={charset}");
        assert_eq!(value(Some(content_type.as_bytes()), bytes), json!({"a": "ü"}), "{charset}");
    }
    for charset in ["utf-8", "UTF8", "bogus", ""] {
        let content_type = format!("application/json; charset={charset}");
        assert_eq!(value(Some(content_type.as_bytes()), "{\"a\": \"ü\"}".as_bytes()), json!({"a": "ü"}));
        assert_eq!(refusal(Some(content_type.as_bytes()), bytes).0, 400);
    }
}
