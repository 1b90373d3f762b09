//! Which call is which, and what a fault does to it.

use std::sync::Arc;

use serde_json::json;

use crate::clock;
use crate::faults::CallKind;
use crate::server::{Call, Outcome, Reply, World};
use crate::x::dms::{self, Events};
use crate::x::limits::RouteKind;
use crate::x::state::State;
use crate::x::{XAccount, XWorld, posts, replies};

impl World for XWorld {
    async fn serve(self: Arc<Self>, call: Call) -> Outcome {
        if call.path == "/" || call.path.starts_with("/_sandbox") {
            return Outcome::Reply(self.inspect(&call).await);
        }
        let guard = self.log.begin(call.method, &call.path, &call.query);
        let strike = self.faults().take(kind_of(&call), &call.path).map(|fault| fault.strike());
        let outcome = match strike {
            None => Outcome::Reply(self.answer(&call).await),
            Some(strike) => {
                let world = self.clone();
                strike.at(move || async move { world.answer(&call).await }).await
            }
        };
        if let Outcome::Reply(reply) = &outcome {
            guard.answered(reply.status);
        }
        outcome
    }
}

fn kind_of(call: &Call) -> CallKind {
    let is_message = call.path == "/2/tweets" || call.path.ends_with("/messages");
    match call.method {
        "GET" => CallKind::Read,
        "POST" if is_message => CallKind::Message,
        _ if call.path.starts_with("/oauth/") => CallKind::Token,
        _ => CallKind::Write,
    }
}

impl XWorld {
    async fn answer(self: &Arc<Self>, call: &Call) -> Reply {
        if call.too_large.is_some() {
            return replies::blank(413, "Payload Too Large", "Payload Too Large");
        }
        let segments = call.segments();
        match (call.method, segments.as_slice()) {
            ("POST", ["2", "dm_conversations", "with", id, "messages"]) => {
                self.send_dm(call, |state, account| dms::send_with(state, account, id, call))
            }
            ("POST", ["2", "dm_conversations", id, "messages"]) => {
                self.send_dm(call, |state, account| dms::send_to(state, account, id, call))
            }
            ("GET", ["2", "dm_conversations", "with", id, "dm_events"]) => {
                self.read_dms(call, |state, account| dms::list(state, account, &Events::With(id), call))
            }
            ("GET", ["2", "dm_conversations", id, "dm_events"]) => {
                self.read_dms(call, |state, account| dms::list(state, account, &Events::In(id), call))
            }
            ("GET", ["2", "dm_events"]) => {
                self.read_dms(call, |state, account| dms::list(state, account, &Events::All, call))
            }
            ("GET", ["2", "dm_events", id]) => {
                self.read_dms(call, |state, account| dms::one(state, account, id, call))
            }
            ("POST", ["2", "tweets"]) => self.send_post(call),
            ("GET", ["2", "tweets", id]) => self.read_posts(call, |state| posts::one(state, id, call)),
            ("GET", ["2", "users", "me"]) => self.me(call),
            ("GET", ["2", "users", id, "tweets"]) => {
                self.read_posts(call, |state| posts::list(state, id, call))
            }
            ("POST", ["oauth", "request_token"]) => self.request_token(call),
            ("GET", ["oauth", "authorize" | "authenticate"]) => self.authorize(call),
            ("POST", ["oauth", "access_token"]) => self.access_token(call),
            ("POST", ["1.1", "oauth", "invalidate_token" | "invalidate_token.json"]) => self.invalidate(call),
            ("POST", ["oauth2", "token"]) => self.bearer_token(call),
            (_, ["2", "webhooks", rest @ ..]) => self.webhook_route(call, rest).await,
            (_, ["2", "account_activity", rest @ ..]) => self.subscription_route(call, rest),
            _ => replies::no_such_route(),
        }
    }

    /// Counts a call against its limits; the reply carries the state of the windows in any case.
    fn limited(&self, kind: RouteKind, user: &str, work: impl FnOnce(&mut State) -> Reply) -> Reply {
        let mut state = self.state();
        let verdict = state.limiter.take(&self.options.limits, kind, user, clock::now_ms());
        let mut reply = if verdict.allowed { work(&mut state) } else { replies::too_many_requests() };
        reply.headers.extend(verdict.headers);
        reply
    }

    fn as_user(
        &self,
        call: &Call,
        kind: RouteKind,
        work: impl FnOnce(&mut State, &XAccount) -> Reply,
    ) -> Reply {
        match self.user(call) {
            Ok(account) => self.limited(kind, &account.id, |state| work(state, &account)),
            Err(reply) => reply,
        }
    }

    fn send_dm(
        self: &Arc<Self>,
        call: &Call,
        work: impl FnOnce(&mut State, &XAccount) -> (Reply, Option<super::XDm>),
    ) -> Reply {
        let mut sent = None;
        let reply = self.as_user(call, RouteKind::SendDm, |state, account| {
            let (reply, dm) = work(state, account);
            sent = dm;
            reply
        });
        if let Some(dm) = sent {
            self.echo_dm(&dm);
        }
        reply
    }

    fn send_post(self: &Arc<Self>, call: &Call) -> Reply {
        let mut sent = None;
        let reply = self.as_user(call, RouteKind::SendPost, |state, account| {
            let (reply, post) = posts::create(state, account, call);
            sent = post;
            reply
        });
        if let Some(post) = sent {
            self.echo_post(&post);
        }
        reply
    }

    fn read_dms(&self, call: &Call, work: impl FnOnce(&State, &XAccount) -> Reply) -> Reply {
        self.as_user(call, RouteKind::ReadDms, |state, account| work(state, account))
    }

    /// Public reads: the app may do them too.
    fn read_posts(&self, call: &Call, work: impl FnOnce(&State) -> Reply) -> Reply {
        match self.caller(call) {
            Ok(super::auth::Caller::User(account)) => {
                self.limited(RouteKind::ReadPosts, &account.id, |state| work(state))
            }
            Ok(super::auth::Caller::App) => self.limited(RouteKind::ReadPosts, "", |state| work(state)),
            Err(reply) => reply,
        }
    }

    fn me(&self, call: &Call) -> Reply {
        self.as_user(call, RouteKind::Me, |_, account| {
            let data = json!({"id": account.id, "name": account.name, "username": account.screen_name});
            Reply::json(200, &json!({"data": data}))
        })
    }

    fn invalidate(&self, call: &Call) -> Reply {
        match self.user(call) {
            Ok(account) => {
                self.state().revoke(&account.id);
                Reply::json(200, &json!({"access_token": account.access_token}))
            }
            Err(reply) => reply,
        }
    }

    async fn webhook_route(self: &Arc<Self>, call: &Call, rest: &[&str]) -> Reply {
        // The documentation asks for the bearer token; the OpenAPI document takes a user's too where it changes.
        let allowed = if call.method == "GET" { self.app(call) } else { self.caller(call).map(drop) };
        if let Err(reply) = allowed {
            return reply;
        }
        let counted = self.limited(RouteKind::Webhooks, "", |_| Reply::empty(200));
        if counted.status != 200 {
            return counted;
        }
        let mut reply = match (call.method, rest) {
            ("POST", []) => self.create_webhook(call).await,
            ("GET", []) => self.list_webhooks(),
            ("POST", ["replay"]) => self.replay(call),
            ("PUT", [id]) => self.validate_webhook(id).await,
            ("DELETE", [id]) => self.delete_webhook(id),
            _ => replies::no_such_route(),
        };
        reply.headers.extend(counted.headers);
        reply
    }

    fn subscription_route(&self, call: &Call, rest: &[&str]) -> Reply {
        let as_app = |work: &dyn Fn() -> Reply| match self.app(call) {
            Ok(()) => work(),
            Err(reply) => reply,
        };
        match (call.method, rest) {
            ("POST", ["webhooks", id, "subscriptions", "all"]) => match self.user(call) {
                Ok(account) => self.subscribe(&account, id),
                Err(reply) => reply,
            },
            ("GET", ["webhooks", id, "subscriptions", "all"]) => match self.user(call) {
                Ok(account) => self.is_subscribed(&account, id),
                Err(reply) => reply,
            },
            ("GET", ["webhooks", id, "subscriptions", "all", "list"]) => {
                as_app(&|| self.list_subscriptions(id))
            }
            ("DELETE", ["webhooks", id, "subscriptions", user, "all"]) => {
                as_app(&|| self.unsubscribe(id, user))
            }
            ("GET", ["subscriptions", "count"]) => as_app(&|| self.count_subscriptions()),
            _ => replies::no_such_route(),
        }
    }
}
