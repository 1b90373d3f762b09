//! Instances and linked accounts.

#![allow(dead_code, clippy::struct_field_names, reason = "these types describe bodies and are never made")]

use serde_json::{Value, json};
use utoipa::ToSchema;

use super::describe::{Description, route};
use crate::http::frame::Verb;

/// A ServiceNow instance, without its secrets.
#[derive(ToSchema)]
pub(super) struct Instance {
    #[schema(format = "uuid")]
    id: String,
    instance_url: String,
    /// `basic`, `oauth_client_credentials`, `oauth_password` or `api_key`. OAuth is not spoken yet: its settings
    /// are kept, nothing is sent, and what waits for the instance goes on once this is `basic` or `api_key`.
    auth: String,
    admin_user: String,
    client_id: String,
    /// Such as `20 per 1s`.
    rate: String,
    #[schema(minimum = 1, maximum = 64)]
    concurrency: u8,
    /// `auto`, `case_api` or `app`. Cases are made by the Case API with `auto` too; with `app`, which is not spoken
    /// yet, nothing is sent.
    mode: String,
    /// `csm_consumer`, `customer_contact` or `sys_user`.
    customer_table: String,
    /// Merged into new cases.
    #[schema(value_type = Object)]
    case_defaults: Value,
    /// Such as `30d`: within this time after closing a case is opened again.
    reopen_window: Option<String>,
    /// `ok`, `unreachable`, `sleeping`, `needs_auth`, `rate_limited` or `unchecked`.
    status: String,
    /// Why, and what to do.
    status_detail: String,
    #[schema(format = DateTime)]
    last_success_at: Option<String>,
    queued: i64,
    dead: i64,
}

/// An instance to be made or changed. What the kind of login does not need may be left out.
#[derive(ToSchema)]
pub(super) struct InstanceForm {
    /// `https://`, a public name, no path.
    #[schema(format = "uri")]
    instance_url: Option<String>,
    /// `basic`, `oauth_client_credentials`, `oauth_password` or `api_key`. OAuth is stored and has no effect yet:
    /// nothing is sent to such an instance.
    auth: Option<String>,
    admin_user: Option<String>,
    #[schema(format = Password, write_only)]
    admin_password: Option<String>,
    client_id: Option<String>,
    #[schema(format = Password, write_only)]
    client_secret: Option<String>,
    #[schema(format = Password, write_only)]
    api_key: Option<String>,
    rate: Option<String>,
    #[schema(minimum = 1, maximum = 64)]
    concurrency: Option<u8>,
    /// `auto`, `case_api` or `app`, which is stored and has no effect yet: nothing is sent to such an instance.
    mode: Option<String>,
    customer_table: Option<String>,
    #[schema(value_type = Option<Object>)]
    case_defaults: Option<Value>,
    reopen_window: Option<String>,
}

/// A linked X account, without its tokens.
#[derive(ToSchema)]
pub(super) struct Account {
    #[schema(format = "uuid")]
    id: String,
    /// The numeric id at X.
    twitter_user_id: String,
    screen_name: String,
    /// The instance that it feeds.
    instance: Option<String>,
    /// `dm`, `reply` or `same`.
    reply_channel: String,
    case_policy: CasePolicy,
    status: String,
    status_detail: String,
    /// Whether X sends its events; null when that was never asked.
    subscribed: Option<bool>,
    #[schema(format = DateTime)]
    last_event_at: Option<String>,
}

/// Which items open or feed a case.
#[derive(ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, as users write them")]
pub(super) struct CasePolicy {
    dm: bool,
    mention: bool,
    reply: bool,
    /// `never`, `known_parent` or `always`.
    implicit: String,
    quote: bool,
    own_dm: bool,
}

/// An account to be linked or changed.
#[derive(ToSchema)]
pub(super) struct AccountForm {
    /// The numeric id at X, not the handle. Cannot be changed.
    twitter_user_id: Option<String>,
    screen_name: Option<String>,
    #[schema(format = Password, write_only)]
    access_token: Option<String>,
    #[schema(format = Password, write_only)]
    access_token_secret: Option<String>,
    /// The instance that it feeds; without it the user's only one.
    instance: Option<String>,
    reply_channel: Option<String>,
    case_policy: Option<CasePolicy>,
}

const ID: &str = "0190c0de-0000-7000-8000-000000000001";
const INSTANCES: &str = "/api/servicenow-details/";
const INSTANCE: &str = "/api/servicenow-details/{id}/";
const ACCOUNTS: &str = "/api/twitter-details/";
const ACCOUNT: &str = "/api/twitter-details/{id}/";

/// The routes of this group.
pub(super) fn routes() -> Vec<Description> {
    let mut routes = instances();
    routes.extend(accounts());
    routes
}

fn instance() -> Value {
    json!({
        "id": ID, "instance_url": "https://acme.service-now.com", "auth": "basic", "admin_user": "casewire",
        "client_id": "", "rate": "20 per 1s", "concurrency": 4, "mode": "auto",
        "customer_table": "csm_consumer", "case_defaults": { "priority": "3" }, "reopen_window": "30d",
        "status": "ok", "status_detail": "", "last_success_at": "2026-08-01T12:00:00Z", "queued": 0, "dead": 0,
    })
}

fn instances() -> Vec<Description> {
    let form = json!({
        "instance_url": "https://acme.service-now.com", "auth": "basic", "admin_user": "casewire",
        "admin_password": "a long password",
    });
    vec![
        route(Verb::Get, INSTANCES, "listInstances", "instances", "List instances")
            .window()
            .of_user()
            .lists::<Instance>("The instances")
            .example(json!([instance()]))
            .checks_fields()
            .refuses(403, "Another user's records"),
        route(Verb::Post, INSTANCES, "createInstance", "instances", "Add an instance")
            .about("Nothing is called yet; only the name is looked up.")
            .takes::<InstanceForm>(form.clone())
            .gives::<Instance>(201, "The instance")
            .example(instance())
            .checks_fields(),
        route(Verb::Get, INSTANCE, "getInstance", "instances", "Show an instance")
            .gives::<Instance>(200, "The instance")
            .example(instance()),
        route(Verb::Put, INSTANCE, "replaceInstance", "instances", "Change an instance")
            .about("Secrets that are not sent stay.")
            .takes::<InstanceForm>(form)
            .gives::<Instance>(200, "The instance as it is now")
            .checks_fields(),
        route(Verb::Patch, INSTANCE, "changeInstance", "instances", "Change parts of an instance")
            .about("New credentials open a queue again that waited for them.")
            .takes::<InstanceForm>(json!({ "admin_password": "a longer password" }))
            .gives::<Instance>(200, "The instance as it is now")
            .checks_fields(),
        route(Verb::Delete, INSTANCE, "deleteInstance", "instances", "Delete an instance")
            .gives_nothing("It is deleted"),
    ]
}

fn account() -> Value {
    json!({
        "id": ID, "twitter_user_id": "990001234567890177", "screen_name": "AcmeCare", "instance": ID,
        "reply_channel": "dm",
        "case_policy": {
            "dm": true, "mention": true, "reply": true, "implicit": "known_parent", "quote": false, "own_dm": true,
        },
        "status": "ok", "status_detail": "", "subscribed": true, "last_event_at": "2026-08-01T12:00:00Z",
    })
}

fn accounts() -> Vec<Description> {
    let form = json!({
        "twitter_user_id": "990001234567890177", "screen_name": "AcmeCare", "access_token": "990001-abc",
        "access_token_secret": "def",
    });
    vec![
        route(Verb::Get, ACCOUNTS, "listAccounts", "accounts", "List linked accounts")
            .window()
            .of_user()
            .lists::<Account>("The accounts")
            .example(json!([account()]))
            .checks_fields()
            .refuses(403, "Another user's records"),
        route(Verb::Post, ACCOUNTS, "linkAccount", "accounts", "Link an account by its own tokens")
            .takes::<AccountForm>(form.clone())
            .gives::<Account>(201, "The account")
            .example(account())
            .checks_fields(),
        route(Verb::Get, ACCOUNT, "getAccount", "accounts", "Show an account")
            .gives::<Account>(200, "The account")
            .example(account()),
        route(Verb::Put, ACCOUNT, "replaceAccount", "accounts", "Change an account")
            .about("Tokens that are not sent stay.")
            .takes::<AccountForm>(form)
            .gives::<Account>(200, "The account as it is now")
            .checks_fields(),
        route(Verb::Patch, ACCOUNT, "changeAccount", "accounts", "Change parts of an account")
            .takes::<AccountForm>(json!({ "reply_channel": "reply" }))
            .gives::<Account>(200, "The account as it is now")
            .checks_fields(),
        route(Verb::Delete, ACCOUNT, "forgetAccount", "accounts", "Forget an account")
            .about("Its conversations and deliveries go with it. X is told to send no more of its events.")
            .gives_nothing("It is forgotten"),
        route(
            Verb::Delete,
            "/api/twitter-revoke/",
            "revokeAccounts",
            "accounts",
            "Forget the caller's accounts",
        )
        .about("X is told to send no more of their events.")
        .query("account", "Only the one with this id")
        .gives_nothing("They are forgotten")
        .checks_fields()
        .refuses(404, "There is no such account"),
    ]
}
