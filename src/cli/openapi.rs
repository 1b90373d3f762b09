//! `casewire openapi`: the OpenAPI document.

use super::output::print_json;
use crate::http::openapi::document;

/// Prints the document that `GET /api/schema/` serves.
pub(super) fn run() -> anyhow::Result<()> {
    Ok(print_json(&document())?)
}
