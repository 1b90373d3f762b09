//! Cutting a long message into comments.
#![allow(clippy::doc_markdown, reason = "ServiceNow is a name, not an item")]

/// The longest comment of the Case API, in characters.
pub const MAX_COMMENT_CHARS: usize = 4000;
/// Room for ` (12345/12345)`.
const PART_NUMBER_CHARS: usize = 14;

/// The header of a part: a single one bears no number. A marker by which a comment is found again
/// must hold the number, so it is made here.
pub fn part_header(header: &str, part: usize, n_parts: usize) -> String {
    match (header, n_parts) {
        (_, ..2) => header.to_owned(),
        ("", _) => format!("({part}/{n_parts})"),
        (_, _) => format!("{header} ({part}/{n_parts})"),
    }
}

/// Frames a text and cuts it into comments of at most `max_chars` each, in order.
///
/// A part is the header with its number, a line break, a piece of the text, and in the last part a
/// line break and the footer; an empty header or footer takes its line break along. The pieces are
/// those of [`cut`]: joined without anything between them they are the text, unaltered.
///
/// Characters are counted in UTF-16 units, as Java does over there: an emoji counts two, so a part
/// is never too long by either way of counting. A footer that would take more than half of a part
/// is set below the text instead and cut with it. A header of more than a quarter is clipped.
pub fn split_comment(header: &str, text: &str, footer: &str, max_chars: usize) -> Vec<String> {
    let header = &header[..longest_prefix(header, max_chars / 4)];
    let whole = frame(header, text, footer);
    if n_units(&whole) <= max_chars {
        return vec![whole];
    }
    if n_units(footer) > max_chars / 2 {
        return split_comment(header, &format!("{text}\n{footer}"), "", max_chars);
    }
    let frame_chars = n_units(header) + PART_NUMBER_CHARS + n_units(footer) + 2;
    let pieces = cut(text, max_chars.saturating_sub(frame_chars).max(1));
    let n_parts = pieces.len();
    let last = n_parts - 1;
    let part = |(at, piece): (usize, &str)| {
        let footer = if at == last { footer } else { "" };
        frame(&part_header(header, at + 1, n_parts), piece, footer)
    };
    pieces.into_iter().enumerate().map(part).collect()
}

fn frame(header: &str, text: &str, footer: &str) -> String {
    let above = if header.is_empty() { "" } else { "\n" };
    let below = if footer.is_empty() { "" } else { "\n" };
    format!("{header}{above}{text}{below}{footer}")
}

/// Cuts a text into pieces of at most `max_chars` UTF-16 units; there is at least one piece. A cut
/// comes beside white space, as late as there is room; none of it is dropped. A word that is longer
/// than a piece is cut where one visible character ends, and only a character longer than a piece itself
/// is cut inside.
pub fn cut(text: &str, max_chars: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while n_units(rest) > max_chars {
        let (piece, after) = rest.split_at(cut_at(rest, max_chars));
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Where to cut a text that is too long: never at its start.
fn cut_at(text: &str, max_chars: usize) -> usize {
    let hard = longest_prefix(text, max_chars);
    let is_boundary = |at: usize| at > 0 && !joins(&text[..at], &text[at..]);
    let is_border = |at: usize| {
        let (before, after) = text.split_at(at);
        (before.ends_with(char::is_whitespace) || after.starts_with(char::is_whitespace)) && is_boundary(at)
    };
    let word_end = candidates(text, hard).find(|at| is_border(*at));
    let visible_end = || candidates(text, hard).find(|at| is_boundary(*at));
    let first_char = || text.chars().next().map_or(0, char::len_utf8);
    word_end.or_else(visible_end).unwrap_or_else(|| hard.max(first_char()))
}

/// The ends of characters up to `hard`, the last first.
fn candidates(text: &str, hard: usize) -> impl Iterator<Item = usize> + '_ {
    text[..hard].char_indices().rev().map(|(at, c)| at + c.len_utf8())
}

/// Whether the characters around a cut are shown as one: marks, joiners, variation selectors, skin
/// tones, pairs that make a flag, CR LF. A short form of the rules of UAX #29 that errs on the side
/// of not cutting.
fn joins(before: &str, after: &str) -> bool {
    let (Some(last), Some(next)) = (before.chars().next_back(), after.chars().next()) else { return false };
    if last == '\u{200d}' || is_extender(next) || (last == '\r' && next == '\n') {
        return true;
    }
    let n_flags = before.chars().rev().take_while(|c| is_flag(*c)).count();
    is_flag(next) && n_flags % 2 == 1
}

fn is_flag(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_extender(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}'..='\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}'
        | '\u{6df}'..='\u{6e4}' | '\u{6e7}'..='\u{6ed}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}'
        | '\u{951}'..='\u{957}' | '\u{962}'..='\u{963}' | '\u{981}'..='\u{983}' | '\u{9bc}'..='\u{9cd}'
        | '\u{a01}'..='\u{a03}' | '\u{a3c}'..='\u{a51}' | '\u{a81}'..='\u{a83}' | '\u{abc}'..='\u{acd}'
        | '\u{b82}' | '\u{bbe}'..='\u{bcd}' | '\u{c3e}'..='\u{c56}' | '\u{cbc}'..='\u{cd6}'
        | '\u{d3b}'..='\u{d57}' | '\u{dca}'..='\u{ddf}' | '\u{e31}' | '\u{e33}'..='\u{e3a}'
        | '\u{e47}'..='\u{e4e}' | '\u{eb1}' | '\u{eb3}'..='\u{ebc}' | '\u{ec8}'..='\u{ecd}'
        | '\u{f71}'..='\u{f84}' | '\u{102b}'..='\u{103e}' | '\u{1160}'..='\u{11ff}'
        | '\u{17b4}'..='\u{17d3}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{200c}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}'
        | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
}

/// How many bytes of the text fit in so many UTF-16 units.
fn longest_prefix(text: &str, max_chars: usize) -> usize {
    let mut n_used = 0;
    for (at, c) in text.char_indices() {
        n_used += c.len_utf16();
        if n_used > max_chars {
            return at;
        }
    }
    text.len()
}

fn n_units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces() {
        let cases: &[(&str, usize, &[&str])] = &[
            ("", 5, &[""]),
            ("hello", 5, &["hello"]),
            ("hello world", 6, &["hello ", "world"]),
            ("hello world", 7, &["hello ", "world"]),
            ("hello you there", 9, &["hello you", " there"]),
            ("a b c d", 4, &["a b ", "c d"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("ab cdefgh", 4, &["ab ", "cdef", "gh"]),
            ("äöüß", 2, &["äö", "üß"]),
            ("😀😀😀", 4, &["😀😀", "😀"]),
            ("😀😀", 3, &["😀", "😀"]),
            ("😀", 1, &["😀"]),
            ("xe\u{301}e\u{301}", 2, &["x", "e\u{301}", "e\u{301}"]),
            ("ab👍🏽", 5, &["ab", "👍🏽"]),
            ("a👩\u{200d}👩\u{200d}👧", 8, &["a", "👩\u{200d}👩\u{200d}👧"]),
            ("🇩🇪🇫🇷", 6, &["🇩🇪", "🇫🇷"]),
            ("ab\r\ncd", 3, &["ab", "\r\n", "cd"]),
        ];
        for (text, max_chars, pieces) in cases {
            assert_eq!(cut(text, *max_chars), *pieces, "{text:?} at {max_chars}");
        }
    }

    #[test]
    fn frames() {
        assert_eq!(split_comment("head", "text", "foot", 100), ["head\ntext\nfoot"]);
        assert_eq!(split_comment("", "text", "", 4), ["text"]);
        let parts = split_comment("head", &"word ".repeat(20), "foot", 60);
        assert_eq!(parts.len(), 3, "{parts:?}");
        assert!(parts[0].starts_with("head (1/3)\nword ") && !parts[0].contains("foot"), "{parts:?}");
        assert!(parts[2].starts_with("head (3/3)\nword ") && parts[2].ends_with("\nfoot"), "{parts:?}");
        let parts = split_comment("head", "text", &"link ".repeat(30), 100);
        assert!(parts.len() > 1 && parts[0].starts_with("head (1/"), "{parts:?}");
        assert_eq!(part_header("head", 1, 1), "head");
        assert_eq!(part_header("", 2, 3), "(2/3)");
    }

    #[test]
    fn the_longest_direct_message() {
        let parts = split_comment("@jack on x", &"x".repeat(10_000), "", MAX_COMMENT_CHARS);
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() <= MAX_COMMENT_CHARS));
    }

    proptest! {
        #[test]
        fn the_text_is_all_there_in_order(text in "(\\PC|[ \n\r]|e\u{301}|👍🏽|[a-z ]{5}){0,60}", max_chars in 1_usize..40) {
            let pieces = cut(&text, max_chars);
            prop_assert_eq!(pieces.concat(), text.as_str());
            // Only a single character outside the first plane is longer than one unit.
            prop_assert!(pieces.iter().all(|piece| n_units(piece) <= max_chars.max(2)));
        }

        #[test]
        fn parts_hold_the_text_and_fit(
            header in "[a-z ]{0,12}",
            text in "(\\PC|[ \n]|[a-z ]{5}){0,120}",
            footer in "[a-z/]{0,20}",
            max_chars in 80_usize..200,
        ) {
            let parts = split_comment(&header, &text, &footer, max_chars);
            let n_parts = parts.len();
            let mut joined = String::new();
            for (at, part) in parts.iter().enumerate() {
                prop_assert!(n_units(part) <= max_chars);
                let above = part_header(&header, at + 1, n_parts);
                let above = if above.is_empty() { above } else { format!("{above}\n") };
                let below = if at + 1 < n_parts || footer.is_empty() { String::new() } else { format!("\n{footer}") };
                let piece = part.strip_prefix(&above).and_then(|rest| rest.strip_suffix(&below));
                joined.push_str(piece.unwrap());
            }
            prop_assert_eq!(joined, text);
        }
    }
}
