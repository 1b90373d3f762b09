//! The weighted length of a post: version 3 of the configuration of twitter-text.

use unicode_normalization::UnicodeNormalization as _;

/// The longest post that an account without Premium may write.
pub(crate) const MAX_WEIGHTED: usize = 280;

/// Every link counts as one t.co link.
const URL_WEIGHT: usize = 23;

/// How much of the 280 a text uses: 1 for most Latin, Greek, Cyrillic, Hebrew, Arabic … characters, 2 for all
/// others, 2 for a whole emoji sequence, 23 for a link. The text is taken in NFC.
pub fn weighted_length(text: &str) -> usize {
    let text: Vec<char> = text.nfc().collect();
    let mut weight = 0;
    let mut at = 0;
    while at < text.len() {
        if let Some(length) = url_at(&text, at) {
            weight += URL_WEIGHT;
            at += length;
        } else if let Some(length) = emoji_at(&text, at) {
            weight += 2;
            at += length;
        } else {
            weight += if is_light(text[at]) { 1 } else { 2 };
            at += 1;
        }
    }
    weight
}

fn is_light(c: char) -> bool {
    matches!(u32::from(c), 0..=0x10FF | 0x2000..=0x200D | 0x2010..=0x201F | 0x2032..=0x2037)
}

/// The length of the link that begins at `at`: with a scheme, or a bare name under a common top-level domain.
fn url_at(text: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| text[before]);
    if before.is_some_and(|c| c.is_alphanumeric() || "@#$_-/.".contains(c)) {
        return None;
    }
    let rest = &text[at..];
    let scheme =
        ["https://", "http://"].iter().find(|scheme| starts_with(rest, scheme)).map_or(0, |s| s.len());
    let is_host = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '.';
    let mut n_host = rest[scheme..].iter().take_while(|c| is_host(c)).count();
    while n_host > 0 && matches!(rest[scheme + n_host - 1], '.' | '-') {
        n_host -= 1;
    }
    let host: String = rest[scheme..scheme + n_host].iter().collect();
    let (name, domain) = host.rsplit_once('.')?;
    let follows_at = rest.get(scheme + n_host) == Some(&'@');
    if name.is_empty()
        || name.split('.').any(str::is_empty)
        || follows_at
        || !is_top_level(domain, scheme > 0)
    {
        return None;
    }
    let mut end = scheme + n_host;
    if matches!(rest.get(end), Some('/' | '?' | ':' | '#')) {
        end += rest[end..].iter().take_while(|c| !c.is_whitespace() && c.is_ascii()).count();
        while end > 0 && ".,!?;:'\")".contains(rest[end - 1]) {
            end -= 1;
        }
    }
    Some(end)
}

fn starts_with(text: &[char], prefix: &str) -> bool {
    text.len() >= prefix.len() && prefix.chars().zip(text).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// twitter-text knows every top-level domain; here: any two letters with a scheme, and the usual ones without.
fn is_top_level(domain: &str, has_scheme: bool) -> bool {
    const USUAL: [&str; 16] = [
        "com", "org", "net", "info", "biz", "edu", "gov", "io", "de", "uk", "fr", "eu", "us", "dev", "app",
        "shop",
    ];
    let is_name = domain.len() >= 2 && domain.chars().all(|c| c.is_ascii_alphabetic());
    is_name && (has_scheme || USUAL.contains(&domain.to_ascii_lowercase().as_str()))
}

/// The number of characters of the emoji sequence that begins at `at`.
fn emoji_at(text: &[char], at: usize) -> Option<usize> {
    let next = |offset: usize| text.get(at + offset).copied();
    let is_regional = |c: char| matches!(u32::from(c), 0x1F1E6..=0x1F1FF);
    if is_regional(text[at]) {
        return next(1).filter(|c| is_regional(*c)).map(|_| 2);
    }
    if matches!(text[at], '0'..='9' | '#' | '*') {
        let has_selector = next(1) == Some('\u{FE0F}');
        let at_keycap = if has_selector { 2 } else { 1 };
        return (next(at_keycap) == Some('\u{20E3}')).then_some(at_keycap + 1);
    }
    let mut length = one_emoji(text, at)?;
    while next(length) == Some('\u{200D}') {
        let Some(more) = one_emoji(text, at + length + 1) else { break };
        length += 1 + more;
    }
    Some(length)
}

fn one_emoji(text: &[char], at: usize) -> Option<usize> {
    let base = *text.get(at)?;
    let mut length = 1;
    let has_selector = text.get(at + 1) == Some(&'\u{FE0F}');
    match u32::from(base) {
        0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x231A..=0x23FF | 0x2B05..=0x2B55 => {}
        0xA9
        | 0xAE
        | 0x203C
        | 0x2049
        | 0x2122
        | 0x2139
        | 0x2194..=0x21AA
        | 0x24C2
        | 0x25AA..=0x25FE
        | 0x2934
        | 0x2935
        | 0x3030
        | 0x303D
        | 0x3297
        | 0x3299
            if has_selector => {}
        _ => return None,
    }
    length += usize::from(has_selector);
    if matches!(text.get(at + length).map(|c| u32::from(*c)), Some(0x1F3FB..=0x1F3FF)) {
        length += 1;
    }
    // Tag sequences: the flags of England, Scotland and Wales.
    length += text[at + length..].iter().take_while(|c| matches!(u32::from(**c), 0xE0020..=0xE007F)).count();
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighs_as_twitter_text_does() {
        for (text, expected) in [
            ("", 0),
            ("Hello", 5),
            ("Köhler", 6),
            ("Ko\u{308}hler", 6),
            ("Привет", 6),
            ("ありがとう", 10),
            ("한글", 4),
            ("‘quoted’", 8),
            ("😀", 2),
            ("👨‍👩‍👧‍👦", 2),
            ("👍🏽", 2),
            ("🇩🇪", 2),
            ("1️⃣", 2),
            ("🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}", 2),
            ("a😀b", 4),
            ("© 2026", 6),
            ("https://example.com/a/very/long/path?with=query", 23),
            ("see https://example.com.", 28),
            ("see example.com now", 31),
            ("mail a@example.com", 18),
            ("file.htaccess", 13),
            ("1.2.3", 5),
        ] {
            assert_eq!(weighted_length(text), expected, "{text}");
        }
    }
}
