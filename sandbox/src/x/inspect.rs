//! The sandbox's own routes, for people with curl.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::clock;
use crate::faults::{FaultRequest, Scope};
use crate::server::{Call, Reply};
use crate::x::{XAccount, XFault, XUser, XWorld, bodies};

const ABOUT: &str = include_str!("about.txt");

/// The body of `POST /_sandbox/say`: somebody does something on X.
#[derive(Deserialize)]
struct Say {
    /// The subscribed account's id.
    account: String,
    sender: XUser,
    #[serde(default)]
    kind: SayKind,
    text: String,
    /// For a reply: the account's post.
    in_reply_to: Option<String>,
    /// Default: the registered webhook.
    url: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SayKind {
    #[default]
    Dm,
    PhotoDm,
    Mention,
    Reply,
    Retweet,
}

impl XWorld {
    pub(crate) async fn inspect(self: &Arc<Self>, call: &Call) -> Reply {
        let segments = call.segments();
        match (call.method, segments.as_slice()) {
            ("GET", []) => {
                let mut reply = Reply::empty(200).typed("text/plain; charset=utf-8");
                reply.body = ABOUT.as_bytes().to_vec();
                reply
            }
            ("GET", ["_sandbox", "accounts"]) => {
                let users: Vec<XUser> = self.state().accounts().map(XAccount::user).collect();
                Reply::json(200, &users)
            }
            ("POST", ["_sandbox", "accounts"]) => match serde_json::from_slice::<XAccount>(&call.body) {
                Ok(account) => {
                    self.state().add_account(account);
                    Reply::empty(204)
                }
                Err(error) => bad_request(&error.to_string()),
            },
            ("GET", ["_sandbox", "dms"]) => Reply::json(200, &self.state().dms().collect::<Vec<_>>()),
            ("GET", ["_sandbox", "posts"]) => Reply::json(200, &self.state().posts()),
            ("GET", ["_sandbox", "webhooks"]) => Reply::json(200, &self.state().webhooks),
            ("GET", ["_sandbox", "subscriptions"]) => Reply::json(200, &self.state().subscriptions),
            ("GET", ["_sandbox", "deliveries"]) => Reply::json(200, &self.state().deliveries),
            ("GET", ["_sandbox", "requests"]) => Reply::json(200, &self.log.calls()),
            ("POST", ["_sandbox", "faults"]) => {
                match serde_json::from_slice::<FaultRequest<XFault>>(&call.body) {
                    Ok(request) => {
                        request.apply(&mut self.faults(), Scope::Messages);
                        Reply::empty(204)
                    }
                    Err(error) => bad_request(&error.to_string()),
                }
            }
            ("DELETE", ["_sandbox", "faults"]) => {
                self.faults().clear();
                Reply::empty(204)
            }
            ("POST", ["_sandbox", "deliver"]) => self.deliver_raw(call).await,
            ("POST", ["_sandbox", "say"]) => self.say(call).await,
            _ => Reply::json(404, &json!({"detail": "no such sandbox route; see GET /"})),
        }
    }

    async fn deliver_raw(&self, call: &Call) -> Reply {
        let url = call.query_pairs().into_iter().find(|(name, _)| name == "url").map(|(_, url)| url);
        self.deliver_to(url, call.body.to_vec()).await
    }

    async fn deliver_to(&self, url: Option<String>, body: Vec<u8>) -> Reply {
        let registered = || self.state().webhook_url();
        let Some(url) = url.or_else(registered) else {
            return bad_request("no valid webhook is registered; give ?url=");
        };
        match self.post_webhook(&url, body).await {
            Ok(posted) => Reply::json(200, &posted),
            Err(error) => Reply::json(502, &json!({"detail": error.to_string()})),
        }
    }

    async fn say(&self, call: &Call) -> Reply {
        let say: Say = match serde_json::from_slice(&call.body) {
            Ok(say) => say,
            Err(error) => return bad_request(&error.to_string()),
        };
        let account = self.state().account(&say.account).map(XAccount::user);
        let Some(account) = account else { return bad_request("no such account") };
        let (sender, text, now_ms) = (&say.sender, say.text.as_str(), clock::now_ms());
        let id = match say.kind {
            SayKind::Dm => self.state().store_dm(&sender.id, &account.id, text, Vec::new(), false).id,
            _ => self.state().next_id().to_string(),
        };
        let body = match say.kind {
            SayKind::Dm => bodies::dm_body(&account, sender, &id, text, now_ms),
            SayKind::PhotoDm => bodies::photo_dm_body(&account, sender, &id, text, now_ms),
            SayKind::Mention => bodies::mention_body(&account, sender, &id, text, now_ms),
            SayKind::Retweet => bodies::retweet_body(&account, sender, &id, text, now_ms),
            SayKind::Reply => {
                let parent = say.in_reply_to.as_deref().unwrap_or("1");
                bodies::reply_body(&account, sender, &id, parent, text, now_ms)
            }
        };
        self.deliver_to(say.url, body.into_bytes()).await
    }
}

fn bad_request(detail: &str) -> Reply {
    Reply::json(400, &json!({"detail": detail}))
}
