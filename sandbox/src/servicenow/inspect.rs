//! The sandbox's own routes, for people with curl.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::faults::{FaultRequest, Scope};
use crate::server::{Call, Reply};
use crate::servicenow::schema::{CASE, CONSUMER, CONTACT, PROFILE, USER};
use crate::servicenow::store::Fields;
use crate::servicenow::weather::Sleep;
use crate::servicenow::{Instance, SnFault, locked};

const ABOUT: &str = include_str!("about.txt");

/// The body of `POST /_sandbox/state`: what is named is changed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateChange {
    sleeping: Option<bool>,
    sleeping_redirect: Option<bool>,
    hang: Option<bool>,
    latency_ms: Option<u64>,
    /// 0 lifts the rule.
    hourly_limit: Option<u32>,
}

#[derive(Deserialize)]
struct NewComment {
    author: String,
    text: String,
}

impl Instance {
    pub(crate) fn inspect(&self, call: &Call) -> Reply {
        let segments = call.segments();
        match (call.method, segments.as_slice()) {
            ("GET", []) => {
                let mut reply = Reply::empty(200).typed("text/plain; charset=utf-8");
                reply.body = ABOUT.as_bytes().to_vec();
                reply
            }
            ("GET", ["_sandbox", "cases"]) => Reply::json(200, &self.store().case_views()),
            ("GET", ["_sandbox", "consumers"]) => Reply::json(200, &self.store().record_views(CONSUMER)),
            ("GET", ["_sandbox", "contacts"]) => Reply::json(200, &self.store().record_views(CONTACT)),
            ("GET", ["_sandbox", "users"]) => Reply::json(200, &self.store().record_views(USER)),
            ("GET", ["_sandbox", "social_profiles"]) => Reply::json(200, &self.store().record_views(PROFILE)),
            ("GET", ["_sandbox", "table", table]) => Reply::json(200, &self.store().record_views(table)),
            ("POST", ["_sandbox", "table", table]) => self.add(call, table),
            ("GET", ["_sandbox", "requests"]) => Reply::json(200, &self.log.calls()),
            ("GET", ["_sandbox", "load"]) => {
                let max_in_second = self.log.max_calls_in_any(Duration::from_secs(1));
                let load = json!({
                    "n_requests": self.log.n_calls(), "n_in_flight": self.log.n_in_flight(),
                    "max_in_flight": self.log.max_in_flight(), "max_calls_in_any_second": max_in_second,
                });
                Reply::json(200, &load)
            }
            ("DELETE", ["_sandbox", "requests"]) => {
                self.log.clear();
                Reply::empty(204)
            }
            ("POST", ["_sandbox", "cases", case, "close"]) => {
                let fields = Fields::from([("state".to_owned(), "3".to_owned())]);
                if self.store().change(CASE, case, fields, "admin") {
                    Reply::empty(204)
                } else {
                    no_such_case()
                }
            }
            ("POST", ["_sandbox", "cases", case, "comments"]) => self.comment(call, case),
            ("POST", ["_sandbox", "faults"]) => {
                match serde_json::from_slice::<FaultRequest<SnFault>>(&call.body) {
                    Ok(request) => {
                        request.apply(&mut locked(&self.faults), Scope::All);
                        Reply::empty(204)
                    }
                    Err(error) => bad_request(&error),
                }
            }
            ("DELETE", ["_sandbox", "faults"]) => {
                locked(&self.faults).clear();
                Reply::empty(204)
            }
            ("POST", ["_sandbox", "state"]) => self.change_state(call),
            _ => Reply::json(404, &json!({"detail": "no such sandbox route; see GET /"})),
        }
    }

    fn add(&self, call: &Call, table: &str) -> Reply {
        let fields: Fields = match serde_json::from_slice(&call.body) {
            Ok(fields) => fields,
            Err(error) => return bad_request(&error),
        };
        match self.store().create(table, fields, "admin") {
            Some(sys_id) => Reply::json(201, &json!({"sys_id": sys_id})),
            None => Reply::json(404, &json!({"detail": "no such table"})),
        }
    }

    fn comment(&self, call: &Call, case: &str) -> Reply {
        let comment: NewComment = match serde_json::from_slice(&call.body) {
            Ok(comment) => comment,
            Err(error) => return bad_request(&error),
        };
        let mut store = self.store();
        if store.table(CASE).and_then(|cases| cases.row(case)).is_none() {
            return no_such_case();
        }
        let sys_id = store.add_journal(case, "comments", &comment.text, &comment.author);
        Reply::json(201, &json!({"sys_id": sys_id}))
    }

    fn change_state(&self, call: &Call) -> Reply {
        let change: StateChange = match serde_json::from_slice(&call.body) {
            Ok(change) => change,
            Err(error) => return bad_request(&error),
        };
        let mut weather = locked(&self.weather);
        for (asked, form) in [(change.sleeping, Sleep::Page), (change.sleeping_redirect, Sleep::Redirect)] {
            if let Some(sleeping) = asked {
                weather.sleep = if sleeping { form } else { Sleep::Awake };
            }
        }
        if let Some(hangs) = change.hang {
            weather.hangs = hangs;
        }
        if let Some(latency_ms) = change.latency_ms {
            weather.latency = Duration::from_millis(latency_ms);
        }
        if let Some(limit) = change.hourly_limit {
            weather.limit_hourly((limit > 0).then_some(limit));
        }
        Reply::empty(204)
    }
}

fn bad_request(error: &serde_json::Error) -> Reply {
    Reply::json(400, &json!({"detail": error.to_string()}))
}

fn no_such_case() -> Reply {
    Reply::json(404, &json!({"detail": "no such case"}))
}
