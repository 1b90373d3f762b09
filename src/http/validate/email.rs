//! E-mail addresses as Django 5.2 tells them (`django.core.validators.EmailValidator`).

use std::net::{Ipv4Addr, Ipv6Addr};

/// RFC 3696, section 3.
const MOST_CHARACTERS: usize = 320;
const MOST_LABEL_CHARACTERS: usize = 63;

/// Whether Django takes the text for an e-mail address: a dot-atom or a quoted string, then a
/// domain of at least two labels in any script, an address in brackets, or `localhost`.
pub(crate) fn is_email(text: &str) -> bool {
    if text.chars().count() > MOST_CHARACTERS {
        return false;
    }
    let Some((user, domain)) = text.rsplit_once('@') else { return false };
    let is_user = is_dot_atom(user) || is_quoted_string(user);
    is_user && (domain == "localhost" || is_domain(domain) || is_address(domain))
}

fn is_dot_atom(user: &str) -> bool {
    let is_atom =
        |c: char| c.is_ascii_alphanumeric() || folds_to_ascii(c) || "-!#$%&'*+/=?^_`{}|~".contains(c);
    user.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
}

/// The four letters beyond ASCII that a search without regard to case takes for i, s and k.
fn folds_to_ascii(c: char) -> bool {
    matches!(c, '\u{130}' | '\u{131}' | '\u{17f}' | '\u{212a}')
}

fn is_quoted_string(user: &str) -> bool {
    let inner = user.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else { return false };
    // Tab may be escaped only; NUL, line feed and carriage return never stand here.
    let is_quotable =
        |c: char| matches!(c, '\x01'..='\x09' | '\x0b' | '\x0c' | '\x0e'..='\x7f') || folds_to_ascii(c);
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        let is_fine = match c {
            '\\' => characters.next().is_some_and(is_quotable),
            '"' | '\t' | ' ' => false,
            c => is_quotable(c),
        };
        if !is_fine {
            return false;
        }
    }
    true
}

fn is_domain(domain: &str) -> bool {
    let Some((labels, top)) = domain.rsplit_once('.') else { return false };
    let is_inner = |c: char| is_letter(c) || c.is_ascii_digit() || c == '-';
    labels.split('.').all(|label| is_label(label, 1, is_inner)) && is_top_level(top)
}

/// Letters only, or punycode.
fn is_top_level(label: &str) -> bool {
    let is_punycode = |label: &str| {
        label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
            && label.chars().count() <= MOST_LABEL_CHARACTERS
            && label.len() > 4
            && label[4..].chars().all(|c| c.is_ascii_alphanumeric() || folds_to_ascii(c))
    };
    is_label(label, 2, |c| is_letter(c) || c == '-') || is_punycode(label)
}

fn is_label(label: &str, min_characters: usize, is_inner: impl Fn(char) -> bool) -> bool {
    let n_characters = label.chars().count();
    (min_characters..=MOST_LABEL_CHARACTERS).contains(&n_characters)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(is_inner)
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || ('\u{a1}'..='\u{ffff}').contains(&c)
}

fn is_address(domain: &str) -> bool {
    let inner = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<Ipv4Addr>().is_ok() || inner.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_django_tells_them() {
        let long_label = "x".repeat(63);
        let taken = [
            "a@b.example",
            "a@localhost",
            "a+tag@example.com",
            "a@bücher.example",
            "a@例え.jp",
            "A.B-c!#$%&'*+/=?^_`{}|~@EXAMPLE.COM",
            "\"quoted\"@example.com",
            "\"\\\t\\ \\\"@\"@example.com",
            "\"\"@example.com",
            "a@xn--bcher-kva.example",
            "a@example.xn--p1ai",
            "a@a-b.c--d.ef",
            "a@1.co",
            "a@b.c-d",
            "a@[127.0.0.1]",
            "a@[::1]",
            "a@[::ffff:127.0.0.1]",
            &format!("a@{long_label}.com"),
            &format!("{}@example.com", "a".repeat(308)),
        ];
        for text in taken {
            assert!(is_email(text), "{text}");
        }
        for text in [
            "",
            "not an email",
            "x",
            "@",
            "a@",
            "@b.example",
            "a@b",
            "用户@例え.jp",
            "a@Localhost",
            "a.@b.example",
            ".a@b.example",
            "a..b@c.example",
            "a b@c.example",
            "a@b..example",
            "a@.example",
            "a@b.example.",
            "a@-b.example",
            "a@b-.example",
            "a@b.-example",
            "a@b.example-",
            "a@b.c",
            "a@b.1a",
            "a@b_c.example",
            "a@b .example",
            "a@b.example\n",
            "a\n@b.example",
            "\"a b\"@c.example",
            "\"a\"b\"@c.example",
            "\"a\\\"@c.example",
            "\"@c.example",
            "a@example.xn--",
            "a@[127.0.0.256]",
            "a@[127.0.0.01]",
            "a@[]",
            "a@[fe80::1%25en0]",
            "a@b@[127.0.0.1",
            &format!("a@{long_label}x.com"),
            &format!("a@b.{long_label}x"),
            &format!("{}@example.com", "a".repeat(309)),
        ] {
            assert!(!is_email(text), "{text}");
        }
    }
}
