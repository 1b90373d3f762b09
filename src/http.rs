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

mod api_key;
mod page;
mod root;
mod sessions;
pub(crate) mod tokens;
mod users;

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
        path: "/auth/login/",
        name: "Login",
        methods: &[(Verb::Post, public!(sessions::log_in))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/auth/logout/",
        name: "Logout",
        methods: &[(Verb::Post, user!(sessions::log_out))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/auth/logout-all/",
        name: "Logout All",
        methods: &[(Verb::Post, user!(sessions::log_out_all))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/auth/users/",
        name: "User List",
        methods: &[(Verb::Get, admin!(users::list)), (Verb::Post, admin!(users::create))],
        metadata: Metadata::Form(Verb::Post, users::FORM),
    },
    Resource {
        path: "/auth/users/{id}/",
        name: "User Instance",
        methods: &[
            (Verb::Get, user!(users::retrieve)),
            (Verb::Put, user!(users::replace)),
            (Verb::Patch, user!(users::update)),
            (Verb::Delete, admin!(users::delete)),
        ],
        metadata: Metadata::FormFor(Verb::Put, users::FORM, |request, caller| {
            Box::pin(users::may_change(request, caller))
        }),
    },
    Resource {
        path: "/auth/users/{id}/set-password/",
        name: "Set password",
        methods: &[(Verb::Patch, user!(users::set_password))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/auth/tokens/",
        name: "Token List",
        methods: &[(Verb::Get, user!(tokens::list))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/auth/tokens/{id}/",
        name: "Token Instance",
        methods: &[(Verb::Delete, user!(tokens::revoke))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/api-key/",
        name: "Api Key",
        methods: &[(Verb::Post, user!(api_key::replace))],
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
