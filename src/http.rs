//! HTTP: every route of the hub in one table.
//!
//! To add a route: write its handler in the module of its resource and enter it here. A handler gets a
//! [`Request`](request::Request), and a [`Caller`](auth::Caller) or [`Admin`](auth::Admin) where its
//! entry says so; what comes before and after is the [`frame`]'s.

pub(crate) mod activity;
pub(crate) mod auth;
pub(crate) mod body;
mod client;
pub(crate) mod events;
mod frame;
mod header;
pub(crate) mod negotiate;
pub(crate) mod ops;
mod options;
pub(crate) mod problem;
mod reply;
mod request;
pub(crate) mod time;
pub(crate) mod validate;

mod root;

use actix_web::web;
use casewire_actors::hub::Hub;

use self::frame::{Endpoint, Resource, Verb};
use self::options::Metadata;
use crate::settings::Settings;

/// What all handlers share.
pub(crate) struct AppState {
    /// The actors' mailboxes.
    pub(crate) hub: Hub,
    /// The settings of this process.
    pub(crate) settings: Settings,
}

#[allow(unused_macros, reason = "until every resource stands in the table")]
macro_rules! public {
    ($handler:path) => {
        Endpoint::Public(|request| Box::pin($handler(request)))
    };
}

macro_rules! user {
    ($handler:path) => {
        Endpoint::User(|request, caller| Box::pin($handler(request, caller)))
    };
}

#[allow(unused_macros, reason = "until every resource stands in the table")]
macro_rules! admin {
    ($handler:path) => {
        Endpoint::Admin(|request, admin| Box::pin($handler(request, admin)))
    };
}

/// Every route of the API. The operators' endpoints are in [`ops`].
static ROUTES: &[Resource] = &[
    Resource {
        path: "/auth/",
        name: "Api Root",
        methods: &[(Verb::Get, user!(root::list))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/events/",
        name: "Events",
        methods: &[(Verb::Post, user!(events::send))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/events/{id}/",
        name: "Event",
        methods: &[(Verb::Get, user!(events::show))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/activity/",
        name: "Activity",
        methods: &[(Verb::Get, public!(activity::check)), (Verb::Post, public!(activity::receive))],
        metadata: Metadata::Plain,
    },
];

/// Mounts the operators' endpoints alone, for `server.ops_listen`.
pub(crate) fn configure_ops(state: &web::Data<AppState>, config: &mut web::ServiceConfig) {
    config.app_data(web::Data::clone(state));
    ops::mount(config);
}

/// Mounts every route on an application of actix-web.
pub(crate) fn configure(state: &web::Data<AppState>, config: &mut web::ServiceConfig) {
    config.app_data(web::Data::clone(state));
    if state.settings.server.ops_listen.is_none() {
        ops::mount(config);
    }
    frame::mount(ROUTES, state, config);
}
