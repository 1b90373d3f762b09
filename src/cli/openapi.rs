//! `casewire openapi`: the OpenAPI document.

use std::io::{ErrorKind, Write as _};

use crate::http::openapi::document;

/// Prints the document that `GET /api/schema/` serves.
pub(super) fn run() -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&document())?;
    match writeln!(std::io::stdout().lock(), "{text}") {
        // A reader that went away is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
