//! The Case API of Customer Service Management: `/api/sn_customerservice/case`.
//!
//! Source: ServiceNow documentation, Case API. "This endpoint does not perform parameter validation": unknown
//! fields are ignored, wrong values are stored.

use serde_json::{Value, json};

use crate::clock;
use crate::server::{Call, Reply};
use crate::servicenow::params::{self, Params};
use crate::servicenow::schema::{CASE, JOURNAL, USER};
use crate::servicenow::show::{References, journal_label};
use crate::servicenow::store::Store;
use crate::servicenow::tables::{Row, Table};
use crate::servicenow::{Instance, SnUser, replies};

/// Roles that may use the API.
const ROLES: [&str; 3] = ["csm_ws_integration", "sn_customerservice_agent", "sn_customerservice_manager"];

impl Instance {
    /// `rest`: the parts of the path after `case`.
    pub(crate) fn case_route(&self, call: &Call, user: &SnUser, rest: &[&str]) -> Reply {
        if !user.has_any(&ROLES) {
            return replies::acl();
        }
        match (call.method, rest) {
            ("GET", []) => self.list_cases(call),
            ("POST", []) => self.create_case(call, user),
            ("GET", [id]) => self.one_case(call, id),
            ("PUT", [id]) => self.update_case(call, user, id),
            ("GET", [id, "activities"]) => self.activities(call, user, id),
            ("GET", ["field_values", field] | [_, "field_values", field]) => field_values(field),
            _ => replies::unknown_uri(),
        }
    }

    fn list_cases(&self, call: &Call) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let Some(table) = store.table(CASE) else { return replies::unknown_uri() };
        let numbers = store.select(table, params.get("query").unwrap_or_default());
        let view = params.view(references(&params), &self.url);
        let page = numbers.iter().skip(params.offset()).take(params.limit());
        let shown: Vec<Value> =
            page.filter_map(|number| table.at(*number)).map(|row| store.show(table, row, &view)).collect();
        replies::result(200, &shown.into())
            .with("X-Total-Count", numbers.len().to_string())
            .with("Link", params.links(call, &self.url, numbers.len()))
    }

    fn one_case(&self, call: &Call, id: &str) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let found = by_id_or_number(&store, id);
        let Some((table, row)) = found else { return replies::not_found() };
        replies::result(200, &store.show(table, row, &params.view(references(&params), &self.url)))
    }

    fn create_case(&self, call: &Call, user: &SnUser) -> Reply {
        let fields = match params::record(call) {
            Ok(fields) => fields,
            Err(reply) => return reply,
        };
        let mut store = self.store();
        match store.create(CASE, fields, &user.name) {
            Some(sys_id) => replies::result(201, &minimal(&store, &sys_id)),
            None => replies::unknown_uri(),
        }
    }

    fn update_case(&self, call: &Call, user: &SnUser, sys_id: &str) -> Reply {
        let fields = match params::record(call) {
            Ok(fields) => fields,
            Err(reply) => return reply,
        };
        let mut store = self.store();
        if !store.change(CASE, sys_id, fields, &user.name) {
            return replies::not_found();
        }
        let params = Params::read(call);
        let status = self.options.case_put_status;
        if !params.is_true("get_case_details") {
            return replies::result(status, &minimal(&store, sys_id));
        }
        let Some((table, row)) = by_id_or_number(&store, sys_id) else { return replies::not_found() };
        replies::result(status, &store.show(table, row, &params.view(References::Plain, &self.url)))
    }

    /// The journal of a case, newest entry first.
    fn activities(&self, call: &Call, user: &SnUser, id: &str) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let Some((cases, case)) = by_id_or_number(&store, id) else { return replies::not_found() };
        let Some(journals) = store.table(JOURNAL) else { return replies::not_found() };
        let wanted: Option<Vec<&str>> = params.get("activity_type").map(|types| types.split(',').collect());
        let is_wanted =
            |row: &&Row| wanted.as_ref().is_none_or(|types| types.contains(&journals.get(row, "element")));
        let entries = store.journal(&case.values[0]).into_iter().rev().filter(is_wanted);
        let entries = entries.skip(params.offset()).take(params.limit());
        let entries: Vec<Value> = entries.map(|row| entry(&store, journals, row)).collect();
        let caller = store.table(USER).and_then(|users| users.find("user_name", &user.name));
        let created = clock::servicenow_time(case.created_ms);
        let result = json!({
            "display_value": cases.get(case, "number"),
            "sys_id": case.values[0],
            "short_description": cases.get(case, "short_description"),
            "number": cases.get(case, "number"),
            "entries": entries,
            "user_sys_id": caller.map_or("", |row| row.values[0].as_str()),
            "user_full_name": store.full_name(&user.name),
            "user_login": user.name,
            "label": "Case",
            "table": CASE,
            "journal_fields": [
                {"can_read": true, "color": "transparent", "can_write": true, "name": "comments",
                 "label": journal_label("comments")},
                {"can_read": true, "color": "gold", "can_write": true, "name": "work_notes",
                 "label": journal_label("work_notes")},
            ],
            "sys_created_on": created,
            "sys_created_on_adjusted": created,
        });
        replies::result(200, &result)
    }
}

fn references(params: &Params) -> References {
    if params.get("reference_fields") == Some("false") { References::Plain } else { References::Nested }
}

fn by_id_or_number<'a>(store: &'a Store, id: &str) -> Option<(&'a Table, &'a Row)> {
    let table = store.table(CASE)?;
    Some((table, table.row(id).or_else(|| table.find("number", id))?))
}

fn minimal(store: &Store, sys_id: &str) -> Value {
    let number = by_id_or_number(store, sys_id).map_or("", |(table, row)| table.get(row, "number"));
    json!({"sys_id": sys_id, "number": number})
}

fn entry(store: &Store, journals: &Table, row: &Row) -> Value {
    let author = journals.get(row, "sys_created_by");
    let user = store.table(USER).and_then(|users| users.find("user_name", author));
    let name = store.full_name(author);
    let initials: String = name.split_whitespace().filter_map(|word| word.chars().next()).collect();
    let element = journals.get(row, "element");
    let created = clock::servicenow_time(row.created_ms);
    json!({
        "sys_created_on_adjusted": created,
        "sys_id": row.values[0],
        // In spite of its name this is what people are shown.
        "login_name": name,
        "user_sys_id": user.map_or("", |row| row.values[0].as_str()),
        "initials": initials.to_uppercase(),
        "sys_created_on": created,
        "contains_code": "false",
        "field_label": journal_label(element),
        "name": name,
        "value": journals.get(row, "value"),
        "element": element,
    })
}

fn field_values(field: &str) -> Reply {
    let choices: &[(&str, &str)] = match field {
        "state" => {
            &[("New", "1"), ("Open", "10"), ("Awaiting Info", "18"), ("Resolved", "6"), ("Closed", "3")]
        }
        "priority" => &[("1 - Critical", "1"), ("2 - High", "2"), ("3 - Moderate", "3"), ("4 - Low", "4")],
        "contact_type" => {
            &[("Chat", "chat"), ("Email", "email"), ("Phone", "phone"), ("Social", "social"), ("Web", "web")]
        }
        _ => &[],
    };
    let choices: Vec<Value> =
        choices.iter().map(|(label, value)| json!({"label": label, "value": value})).collect();
    replies::result(200, &choices.into())
}
