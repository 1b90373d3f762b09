//! The Consumer and Contact APIs: `/api/now/consumer`, `/api/now/contact`.
//!
//! Source: ServiceNow documentation, Consumer API. Its quirk: the result of a `POST` is a string, the `sys_id`.

use serde_json::Value;

use crate::server::{Call, Reply};
use crate::servicenow::params::{self, Params};
use crate::servicenow::schema::CONSUMER;
use crate::servicenow::show::References;
use crate::servicenow::{Instance, SnUser, replies};

const ROLES: [&str; 1] = ["csm_ws_integration"];

impl Instance {
    /// `rest`: the parts of the path after `consumer` or `contact`.
    pub(crate) fn customer_route(&self, call: &Call, user: &SnUser, table: &str, rest: &[&str]) -> Reply {
        if !user.has_any(&ROLES) {
            return replies::acl();
        }
        match (call.method, rest) {
            ("GET", []) => self.list_customers(call, table),
            ("GET", [sys_id]) => self.one_customer(call, table, sys_id),
            ("POST", []) => self.create_customer(call, user, table),
            _ => replies::unknown_uri(),
        }
    }

    fn list_customers(&self, call: &Call, table: &str) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let Some(table) = store.table(table) else { return replies::unknown_uri() };
        let view = params.view(References::Plain, &self.url);
        let numbers = store.select(table, params.get("query").unwrap_or_default());
        let page = numbers.iter().skip(params.offset()).take(params.limit());
        let shown: Vec<Value> =
            page.filter_map(|number| table.at(*number)).map(|row| store.show(table, row, &view)).collect();
        replies::result(200, &shown.into())
            .with("X-Total-Count", numbers.len().to_string())
            .with("Link", params.links(call, &self.url, numbers.len()))
    }

    fn one_customer(&self, call: &Call, table: &str, sys_id: &str) -> Reply {
        let params = Params::read(call);
        let store = self.store();
        let found = store.table(table).and_then(|table| Some((table, table.row(sys_id)?)));
        let Some((table, row)) = found else { return replies::not_found() };
        replies::result(200, &store.show(table, row, &params.view(References::Plain, &self.url)))
    }

    fn create_customer(&self, call: &Call, user: &SnUser, table: &str) -> Reply {
        let mut fields = match params::record(call) {
            Ok(fields) => fields,
            Err(reply) => return reply,
        };
        let mut store = self.store();
        let Some(sys_id) = store.create(table, fields.clone(), &user.name) else {
            return replies::unknown_uri();
        };
        let owner = if table == CONSUMER { "consumer" } else { "contact" };
        fields.insert("social_handle_type".to_owned(), owner.to_owned());
        fields.insert(owner.to_owned(), sys_id.clone());
        store.social_profile(&fields, &user.name);
        replies::result(201, &sys_id.into())
    }
}
