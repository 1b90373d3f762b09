//! Which representations a caller accepts, and how ids stand in paths.

use uuid::Uuid;

use super::header::Parameterized;

/// Whether JSON, the only representation, satisfies a request with these `Accept` headers.
///
/// As in Django REST framework a `q` counts for nothing, `q=0` included. No header accepts
/// everything, an empty one nothing.
pub(crate) fn accepts_json<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut headers = accept.into_iter().peekable();
    headers.peek().is_none()
        || headers.any(|header| String::from_utf8_lossy(header).split(',').any(matches_json))
}

fn matches_json(media_type: &str) -> bool {
    let media_type = Parameterized::parse(media_type).value;
    let (main, sub) = media_type.split_once('/').unwrap_or((&media_type, ""));
    matches!(main, "*" | "application") && matches!(sub, "*" | "json")
}

/// An id in a path, as Django reads it: with dashes or without, in any case, in braces, as
/// `urn:uuid:`. `None` is answered with 404.
pub(crate) fn path_uuid(text: &str) -> Option<Uuid> {
    let digits = text.replace("urn:", "").replace("uuid:", "");
    let digits = digits.trim_matches(['{', '}']).replace('-', "");
    let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { Uuid::try_parse(&digits).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_accepted_as_django_rest_framework_does() {
        let cases = [
            ("*/*", true),
            ("application/json", true),
            ("APPLICATION/JSON", true),
            ("application/*", true),
            ("*/json", true),
            ("application/json; indent=2", true),
            ("application/json;q=0", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("application/xml , application/json", true),
            ("text/html", false),
            ("text/*", false),
            ("application/xml", false),
            ("application/problem+json", false),
            ("*", false),
            ("json", false),
            ("", false),
        ];
        for (header, expected) in cases {
            assert_eq!(accepts_json([header.as_bytes()]), expected, "{header}");
        }
        assert!(accepts_json([]));
        assert!(accepts_json([&b"text/html"[..], &b"*/*"[..]]));
        assert!(!accepts_json([&b"\xff\xfe"[..]]));
    }

    #[test]
    fn ids_are_read_in_every_form_that_django_takes() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        for text in [
            "01234567-89ab-cdef-0123-456789abcdef",
            "0123456789abcdef0123456789abcdef",
            "0123456789ABCDEF0123456789abcdef",
            "{01234567-89ab-cdef-0123-456789abcdef}",
            "urn:uuid:01234567-89ab-cdef-0123-456789abcdef",
            "0123-456789abcdef0123456789abcdef",
        ] {
            assert_eq!(path_uuid(text), Some(id), "{text}");
        }
        for text in ["", "abc", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdeg", "é"] {
            assert_eq!(path_uuid(text), None, "{text}");
        }
    }
}
