//! Whether a comment or work note is there already: the look-up after an uncertain write.
//!
//! What is relied on: `GET /case/{id}/activities` gives `entries[]` with `element` and `value`, and
//! `journal_fields[]` tells what the user may read. Where that call is refused, the journal itself
//! is read by the Table API: `sys_journal_field` holds a row an entry, with `element_id` (the case)
//! and `element`. Reading a comment back from the case is no use: it is always empty there.

use crate::domain::failure::Failure;

use super::cases::CASE;
use super::client::{Call, ServiceNow};
use super::errors::{Answer, Verb};
use super::fields::{Row, filter_ignored, row, rows, unexpected};
use super::keys::{Marker, SysId};

/// Entries a page: at 4,000 characters each they fit the cap on bodies.
const PAGE: usize = 100;
const MAX_PAGES: usize = 200;

/// A journal of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// What the customer sees.
    Comments,
    /// What only agents see.
    WorkNotes,
}

impl Journal {
    /// The name of the field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Comments => "comments",
            Self::WorkNotes => "work_notes",
        }
    }
}

/// Where entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Activities,
    Table,
}

/// What one more request told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchStep {
    /// The entry is there.
    Found,
    /// Every entry was read; it is not there.
    Absent,
    /// Nothing at all can be read. The journal may be empty, or hidden from the integration user
    /// (rows that may not be read are left out without a word), so this is not "absent".
    Blind,
    /// Not settled yet: make the next request.
    More,
}

/// A search through a journal for an entry that holds a marker. Each
/// [`ServiceNow::search_journal`] makes one request, so that a caller can count it.
#[derive(Debug, Clone)]
pub struct JournalSearch {
    case: SysId,
    journal: Journal,
    marker: Marker,
    source: Source,
    n_read: usize,
    n_pages: usize,
    first_of_page: Option<String>,
}

impl JournalSearch {
    /// A search that has not begun.
    pub fn new(case: SysId, journal: Journal, marker: Marker) -> Self {
        Self { case, journal, marker, source: Source::Activities, n_read: 0, n_pages: 0, first_of_page: None }
    }

    /// Begins again, with the other way to read.
    fn fall_back(&mut self) -> SearchStep {
        self.source = Source::Table;
        self.n_read = 0;
        self.n_pages = 0;
        self.first_of_page = None;
        SearchStep::More
    }

    /// Takes a page of entries in. Pages are read until one is empty: a short one does not mean
    /// the end, because rows that may not be read are taken out after the limit was applied.
    fn take(&mut self, entries: &[Row]) -> Result<SearchStep, Failure> {
        let is_wanted = |entry: &&Row| entry.text("element").is_none_or(|name| name == self.journal.as_str());
        let mut values = entries.iter().filter(is_wanted).filter_map(|entry| entry.text("value"));
        if values.any(|value| self.marker.is_in(&value)) {
            return Ok(SearchStep::Found);
        }
        let first = entries.first().and_then(|entry| entry.text("sys_id"));
        let is_repeated = first.is_some() && first == self.first_of_page;
        if is_repeated && entries.len() >= PAGE {
            return Err(unexpected(
                Verb::Read,
                "the journal cannot be paged through: the instance repeats a page",
            ));
        }
        if entries.is_empty() || is_repeated {
            return Ok(match (self.source, self.n_read) {
                (Source::Table, 0) => SearchStep::Blind,
                _ => SearchStep::Absent,
            });
        }
        self.first_of_page = first;
        self.n_read += entries.len();
        self.n_pages += 1;
        if self.n_pages == MAX_PAGES {
            return Err(unexpected(Verb::Read, "the journal does not end: look at the case by hand"));
        }
        Ok(SearchStep::More)
    }
}

impl ServiceNow {
    /// Makes the next request of a search. It ends with the first step that is not `More`.
    pub async fn search_journal(&self, search: &mut JournalSearch) -> Result<SearchStep, Failure> {
        match search.source {
            Source::Activities => match self.activities(search).await {
                Ok(answer) => take_activities(search, answer),
                Err(failure) if matches!(failure.http_status, Some(400 | 403 | 404)) => {
                    Ok(search.fall_back())
                }
                Err(failure) => Err(failure),
            },
            Source::Table => {
                let rows = rows(self.journal_rows(search).await?.result)?;
                let is_other = |row: &Row| {
                    row.sys_id("element_id").as_ref() != Some(&search.case)
                        || row.text("element").as_deref() != Some(search.journal.as_str())
                };
                if rows.iter().any(is_other) {
                    return Err(filter_ignored("element_id and element of sys_journal_field"));
                }
                search.take(&rows)
            }
        }
    }

    async fn activities(&self, search: &JournalSearch) -> Result<Answer, Failure> {
        let call = Call {
            verb: Verb::Read,
            path: &[CASE[0], CASE[1], CASE[2], search.case.as_str(), "activities"],
            query: &[
                ("sysparm_activity_type", search.journal.as_str()),
                ("sysparm_limit", &PAGE.to_string()),
                ("sysparm_offset", &search.n_read.to_string()),
            ],
            body: None,
        };
        self.call(call).await
    }

    async fn journal_rows(&self, search: &JournalSearch) -> Result<Answer, Failure> {
        // Newest first: what is looked for is recent, and rows that come meanwhile repeat some, but hide none.
        let query = format!(
            "element_id={}^element={}^ORDERBYDESCsys_created_on",
            search.case,
            search.journal.as_str()
        );
        let call = Call {
            verb: Verb::Read,
            path: &["api", "now", "table", "sys_journal_field"],
            query: &[
                ("sysparm_query", &query),
                ("sysparm_fields", "sys_id,element_id,element,value"),
                ("sysparm_limit", &PAGE.to_string()),
                // Counted in rows before rights are applied, so that no page is read twice for ever.
                ("sysparm_offset", &(search.n_pages * PAGE).to_string()),
                ("sysparm_display_value", "false"),
                ("sysparm_no_count", "true"),
            ],
            body: None,
        };
        self.call(call).await
    }
}

fn take_activities(search: &mut JournalSearch, answer: Answer) -> Result<SearchStep, Failure> {
    let mut result = answer.result;
    let list = |result: &mut serde_json::Value, name: &str| {
        result.get_mut(name).map(serde_json::Value::take).unwrap_or_default()
    };
    let entries = list(&mut result, "entries");
    let journal_fields = list(&mut result, "journal_fields");
    let case = row(result, Verb::Read)?;
    if case.sys_id("sys_id").is_some_and(|id| id != search.case) {
        return Err(unexpected(Verb::Read, "the instance answered with the activities of another case"));
    }
    let is_hidden = rows(journal_fields).unwrap_or_default().iter().any(|field| {
        field.text("name").as_deref() == Some(search.journal.as_str())
            && field.flag("can_read") == Some(false)
    });
    if is_hidden {
        return Ok(search.fall_back());
    }
    search.take(&rows(entries)?)
}
