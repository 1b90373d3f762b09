//! The Table API: `/api/now[/v1|/v2]/table/{table}[/{sys_id}]`.

use serde_json::Value;

use crate::server::{Call, Reply};
use crate::servicenow::params::{self, Params};
use crate::servicenow::schema::{JOURNAL, PROPERTIES, ROLE, USER, USER_ROLE};
use crate::servicenow::show::References;
use crate::servicenow::store::Store;
use crate::servicenow::{Instance, SnUser, replies};

/// Roles that see journal entries; others get pages with the rows left out.
const JOURNAL_ROLES: [&str; 3] = ["csm_ws_integration", "sn_customerservice_agent", "itil"];

impl Instance {
    /// `rest`: the parts of the path after `table`.
    pub(crate) fn table_route(&self, call: &Call, user: &SnUser, is_v1: bool, rest: &[&str]) -> Reply {
        let [name, rest @ ..] = rest else { return replies::unknown_uri() };
        if self.store().table(name).is_none() {
            return replies::invalid_table(name);
        }
        if call.method != "GET" && !may_write(user, name) {
            return replies::acl();
        }
        match (call.method, rest) {
            ("GET", []) => self.list_rows(call, user, name, is_v1),
            ("POST", []) => self.create_row(call, user, name),
            ("GET", [sys_id]) => self.show_row(call, 200, name, sys_id),
            ("PUT" | "PATCH", [sys_id]) => self.change_row(call, user, name, sys_id),
            ("DELETE", [sys_id]) => self.delete_row(name, sys_id),
            _ => replies::unknown_uri(),
        }
    }

    fn list_rows(&self, call: &Call, user: &SnUser, name: &str, is_v1: bool) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let Some(table) = store.table(name) else { return replies::invalid_table(name) };
        let numbers = store.select(table, &params.query());
        if numbers.is_empty() && is_v1 {
            return replies::not_found();
        }
        // Limits count before rights: a page may be empty while there are rows.
        let page = numbers.iter().skip(params.offset()).take(params.limit());
        let view = params.view(links_or_plain(&params), &self.url);
        let may_see = name != JOURNAL || user.has_any(&JOURNAL_ROLES);
        let rows = page.filter(|_| may_see).filter_map(|number| table.at(*number));
        let shown: Vec<Value> = rows.map(|row| store.show(table, row, &view)).collect();
        let mut reply = replies::result(200, &shown.into());
        if !params.is_true("no_count") {
            reply = reply.with("X-Total-Count", numbers.len().to_string());
        }
        if !params.is_true("suppress_pagination_header") {
            reply = reply.with("Link", params.links(call, &self.url, numbers.len()));
        }
        reply
    }

    fn show_row(&self, call: &Call, status: u16, name: &str, sys_id: &str) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let Some((table, row)) = store.table(name).and_then(|table| Some((table, table.row(sys_id)?))) else {
            return replies::not_found();
        };
        let shown = store.show(table, row, &params.view(links_or_plain(&params), &self.url));
        let reply = replies::result(status, &shown);
        if status == 201 { reply.with("Location", self.link(name, sys_id)) } else { reply }
    }

    fn link(&self, table: &str, sys_id: &str) -> String {
        format!("{}/api/now/table/{table}/{sys_id}", self.url)
    }

    fn create_row(&self, call: &Call, user: &SnUser, name: &str) -> Reply {
        let fields = match params::record(call) {
            Ok(fields) => fields,
            Err(reply) => return reply,
        };
        let mut store = self.store();
        if name == USER && is_taken(&store, fields.get("user_name")) {
            // The unique index of sys_user.user_name, as the platform words it.
            let detail =
                "Operation against file 'sys_user' was aborted by Business Rule 'Unique Key violation'";
            return replies::error(403, "Operation Failed", Some(detail));
        }
        let Some(sys_id) = store.create(name, fields, &user.name) else {
            return replies::invalid_table(name);
        };
        drop(store);
        if call.no_response_body {
            return Reply::empty(201).with("Location", self.link(name, &sys_id));
        }
        self.show_row(call, 201, name, &sys_id)
    }

    fn change_row(&self, call: &Call, user: &SnUser, name: &str, sys_id: &str) -> Reply {
        let fields = match params::record(call) {
            Ok(fields) => fields,
            Err(reply) => return reply,
        };
        if !self.store().change(name, sys_id, fields, &user.name) {
            return replies::not_found();
        }
        if call.no_response_body {
            return Reply::empty(200);
        }
        self.show_row(call, 200, name, sys_id)
    }

    fn delete_row(&self, name: &str, sys_id: &str) -> Reply {
        let deleted = self.store().table_mut(name).is_some_and(|table| table.delete(sys_id));
        if deleted { Reply::empty(204) } else { replies::not_found() }
    }
}

fn links_or_plain(params: &Params) -> References {
    if params.is_true("exclude_reference_link") { References::Plain } else { References::Links }
}

fn may_write(user: &SnUser, table: &str) -> bool {
    match table {
        PROPERTIES | ROLE | USER_ROLE => user.has_any(&[]),
        USER => user.has_any(&["user_admin"]),
        _ => true,
    }
}

fn is_taken(store: &Store, user_name: Option<&String>) -> bool {
    let Some(user_name) = user_name.filter(|name| !name.is_empty()) else { return false };
    store.table(USER).is_some_and(|users| users.find("user_name", user_name).is_some())
}
