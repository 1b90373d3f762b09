//! Multipart forms with simple fields (RFC 7578). Files are noticed and not kept.

use serde_json::{Map, Value};

use super::{BodyError, Charset, MOST_FORM_FIELDS};
use crate::http::header::Parameterized;

const MOST_BOUNDARY_BYTES: usize = 201;
const MOST_HEADER_BYTES: usize = 8 * 1024;

/// The fields; of a repeated name the last counts.
pub(super) fn parse(
    bytes: &[u8],
    boundary: Option<&str>,
    charset: Charset,
) -> Result<Map<String, Value>, BodyError> {
    let malformed = |problem: String| BodyError::Malformed { kind: "Multipart form", problem };
    let boundary = boundary.filter(|boundary| is_boundary(boundary));
    let boundary = boundary.ok_or_else(|| malformed("Invalid boundary in multipart".to_owned()))?;
    let mut parts = Parts::new(bytes, boundary);
    let mut fields = Map::new();
    let mut n_parts = 0;
    while let Some(part) = parts.next_part().map_err(|problem| malformed(problem.to_owned()))? {
        n_parts += 1;
        if n_parts > MOST_FORM_FIELDS {
            return Err(malformed(format!("more than {MOST_FORM_FIELDS} fields")));
        }
        if let Some((name, value)) = field(part, charset).map_err(malformed)? {
            // As in the original, a file goes before a text of the same name wherever it stands.
            let is_hidden = value.is_string() && fields.get(&name).is_some_and(Value::is_object);
            if !is_hidden {
                fields.insert(name, value);
            }
        }
    }
    Ok(fields)
}

fn is_boundary(boundary: &str) -> bool {
    let is_printable = boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_printable && boundary.len() <= MOST_BOUNDARY_BYTES && !boundary.is_empty() && !boundary.ends_with(' ')
}

/// What lies between the boundaries, one after the other.
struct Parts<'a> {
    rest: &'a [u8],
    /// With the line break before it.
    delimiter: Vec<u8>,
    is_inside: bool,
}

impl<'a> Parts<'a> {
    fn new(bytes: &'a [u8], boundary: &str) -> Self {
        Self { rest: bytes, delimiter: format!("\r\n--{boundary}").into_bytes(), is_inside: false }
    }

    /// The next part, headers and all; `None` after the closing boundary.
    fn next_part(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        if !self.is_inside {
            // The first boundary may stand at the very start, without a line break.
            let at_start = self.rest.strip_prefix(&self.delimiter[2..]);
            self.rest = match at_start {
                Some(rest) => rest,
                None => self.cut()?.1,
            };
            self.is_inside = true;
        }
        if self.rest.starts_with(b"--") {
            return Ok(None);
        }
        let blanks = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.rest =
            self.rest[blanks..].strip_prefix(b"\r\n").ok_or("a boundary without a line of its own")?;
        // An empty part's boundary follows at once, and its line break is gone already.
        if let Some(rest) = self.rest.strip_prefix(&self.delimiter[2..]) {
            self.rest = rest;
            return Ok(Some(&[]));
        }
        let (part, rest) = self.cut()?;
        self.rest = rest;
        Ok(Some(part))
    }

    /// What lies before and after the next boundary.
    fn cut(&self) -> Result<(&'a [u8], &'a [u8]), &'static str> {
        let at = find(self.rest, &self.delimiter).ok_or("no closing boundary")?;
        Ok((&self.rest[..at], &self.rest[at + self.delimiter.len()..]))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A part's name and value; `None` if it has no name.
fn field(part: &[u8], charset: Charset) -> Result<Option<(String, Value)>, String> {
    let Some(end) = find(part, b"\r\n\r\n") else { return Ok(None) };
    if end > MOST_HEADER_BYTES {
        return Err(format!("the headers of a part are longer than {MOST_HEADER_BYTES} bytes"));
    }
    let headers = charset.decode(part[..end].to_vec())?;
    let disposition = headers.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then(|| Parameterized::parse(value))
    });
    let Some(disposition) = disposition else { return Ok(None) };
    let Some(name) = disposition.parameter("name") else { return Ok(None) };
    let is_file = disposition.parameter("filename").is_some_and(|file| !file.is_empty());
    let value = if is_file {
        Value::Object(Map::new())
    } else {
        Value::String(charset.decode(part[end + 4..].to_vec())?)
    };
    Ok(Some((name.to_owned(), value)))
}
