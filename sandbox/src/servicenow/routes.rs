//! Which call is which, and what the instance's state does to it.

use std::sync::Arc;

use crate::faults::CallKind;
use crate::server::{Call, Outcome, Reply, World};
use crate::servicenow::schema::{CONSUMER, CONTACT};
use crate::servicenow::weather::session_of;
use crate::servicenow::{Instance, locked, replies};

/// Takes a session's call out of flight, also when the call is given up.
struct SessionGuard {
    instance: Arc<Instance>,
    session: String,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        locked(&self.instance.weather).leave(&self.session);
    }
}

impl World for Instance {
    async fn serve(self: Arc<Self>, call: Call) -> Outcome {
        if call.path == "/" || call.path.starts_with("/_sandbox") {
            return Outcome::Reply(self.inspect(&call));
        }
        let guard = self.log.begin(call.method, &call.path, &call.query);
        let outcome = self.clone().through_the_weather(call).await;
        if let Outcome::Reply(reply) = &outcome {
            guard.answered(reply.status);
        }
        outcome
    }
}

fn kind_of(call: &Call) -> CallKind {
    match call.method {
        _ if call.path.starts_with("/oauth") => CallKind::Token,
        "GET" | "HEAD" | "OPTIONS" => CallKind::Read,
        _ => CallKind::Write,
    }
}

impl Instance {
    async fn through_the_weather(self: Arc<Self>, call: Call) -> Outcome {
        let kind = kind_of(&call);
        let (sleep, hangs, latency) = {
            let weather = locked(&self.weather);
            (weather.sleep, weather.hangs, weather.latency)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        if let Some(page) = sleep.reply() {
            return Outcome::Reply(page);
        }
        let mut _session = None;
        if let Some(session) = session_of(&call) {
            let is_first = locked(&self.weather).enter(&session);
            _session = Some(SessionGuard { instance: self.clone(), session });
            if !is_first {
                return Outcome::Reply(Reply::empty(202));
            }
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut rate_headers = Vec::new();
        if kind != CallKind::Token {
            let counted = locked(&self.weather).count();
            match counted {
                Ok(headers) => rate_headers = headers,
                Err(reply) => return Outcome::Reply(reply),
            }
        }
        let strike = locked(&self.faults).take(kind, &call.path).map(|fault| fault.strike());
        let outcome = match strike {
            None => Outcome::Reply(self.answer(&call)),
            Some(strike) => {
                let instance = self.clone();
                strike.at(move || async move { instance.answer(&call) }).await
            }
        };
        match outcome {
            Outcome::Reply(mut reply) => {
                reply.headers.extend(rate_headers);
                Outcome::Reply(reply)
            }
            Outcome::Cut => Outcome::Cut,
        }
    }

    fn answer(&self, call: &Call) -> Reply {
        let cookies = self.options.cookies;
        let mut segments = call.segments();
        match segments.as_slice() {
            ["oauth_token.do"] => return replies::dress(self.token(call), false, cookies),
            ["oauth_revoke_token.do"] => return replies::dress(self.revoke(call), false, cookies),
            ["api", ..] => {}
            // Every other page of an instance sends a visitor to the login.
            _ => return replies::dress(Reply::html(200, replies::LOGIN_PAGE), false, cookies),
        }
        let user = match self.caller(call) {
            Ok(user) => user,
            Err(reply) => return replies::dress(reply, false, cookies),
        };
        let version = segments.get(2).copied().filter(|part| matches!(*part, "v1" | "v2"));
        if version.is_some() {
            segments.remove(2);
        }
        let reply = match segments.as_slice() {
            ["api", "sn_customerservice", "case", rest @ ..] => self.case_route(call, user, rest),
            ["api", "now", "table", rest @ ..] => self.table_route(call, user, version == Some("v1"), rest),
            ["api", "now", "consumer", rest @ ..] => self.customer_route(call, user, CONSUMER, rest),
            ["api", "now", "contact", rest @ ..] => self.customer_route(call, user, CONTACT, rest),
            _ => replies::unknown_uri(),
        };
        replies::dress(reply, true, cookies)
    }
}
