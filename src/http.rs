//! HTTP: every route of the hub in one table.
//!
//! To add a route: write its handler in the module of its resource and enter it here. A handler gets a
//! [`Request`](request::Request), and a [`Caller`](auth::Caller) or [`Admin`](auth::Admin) where its
//! entry says so; what comes before and after is the [`frame`]'s.

mod accounts;
pub(crate) mod activity;
pub(crate) mod auth;
pub(crate) mod body;
mod client;
mod deliveries;
pub(crate) mod events;
mod frame;
mod header;
mod instances;
pub(crate) mod negotiate;
pub(crate) mod openapi;
pub(crate) mod ops;
mod options;
pub(crate) mod problem;
mod records;
mod replays;
mod reply;
mod request;
pub(crate) mod time;
pub(crate) mod validate;

mod api_key;
mod page;
mod room;
mod root;
mod sessions;
mod throttle;
pub(crate) mod tokens;
mod users;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use actix_web::web;
use casewire_actors::hub::Hub;

use self::frame::{Endpoint, Resource, Verb};
use self::options::Metadata;
use self::room::Room;
use self::throttle::Throttle;
use crate::settings::Settings;

/// What all handlers share.
pub(crate) struct AppState {
    /// The actors' mailboxes.
    pub(crate) hub: Hub,
    /// How many requests each user may make.
    pub(crate) throttle: Throttle,
    /// For their bodies.
    pub(crate) room: Room,
    /// The settings of this process.
    pub(crate) settings: Settings,
    /// Since when this process is stopping, if it is.
    pub(crate) stopping_since: Arc<OnceLock<Instant>>,
}

macro_rules! public {
    ($handler:path) => {
        Endpoint::Public(|request| Box::pin($handler(request)))
    };
}

macro_rules! page {
    ($handler:path) => {
        Endpoint::Page(|request| Box::pin($handler(request)))
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

impl AppState {
    pub(crate) fn new(hub: Hub, settings: Settings, stopping_since: Arc<OnceLock<Instant>>) -> Self {
        let (throttle, room) =
            (Throttle::new(settings.auth.request_rate), Room::new(settings.server.max_body));
        Self { hub, throttle, room, settings, stopping_since }
    }
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
    Resource {
        path: "/api/servicenow-details/",
        name: "Servicenow Details List",
        methods: &[(Verb::Get, user!(instances::list)), (Verb::Post, user!(instances::create))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/servicenow-details/{id}/",
        name: "Servicenow Details Instance",
        methods: &[
            (Verb::Get, user!(instances::show)),
            (Verb::Put, user!(instances::replace)),
            (Verb::Patch, user!(instances::patch)),
            (Verb::Delete, user!(instances::remove)),
        ],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/twitter-details/",
        name: "Twitter Details List",
        methods: &[(Verb::Get, user!(accounts::list)), (Verb::Post, user!(accounts::link))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/twitter-details/{id}/",
        name: "Twitter Details Instance",
        methods: &[
            (Verb::Get, user!(accounts::show)),
            (Verb::Put, user!(accounts::replace)),
            (Verb::Patch, user!(accounts::patch)),
            (Verb::Delete, user!(accounts::remove)),
        ],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/twitter-revoke/",
        name: "Twitter Revoke",
        methods: &[(Verb::Delete, user!(accounts::revoke))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/deliveries/",
        name: "Delivery List",
        methods: &[(Verb::Get, user!(deliveries::list))],
        metadata: Metadata::Plain,
    },
    // These stand before the single delivery, whose path they would match.
    Resource {
        path: "/api/deliveries/replay/",
        name: "Delivery Replay",
        methods: &[(Verb::Post, user!(replays::start))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/deliveries/replays/",
        name: "Replay List",
        methods: &[(Verb::Get, user!(replays::list))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/deliveries/replays/{id}/",
        name: "Replay Instance",
        methods: &[(Verb::Get, user!(replays::show))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/deliveries/replays/{id}/cancel/",
        name: "Replay Cancel",
        methods: &[(Verb::Post, user!(replays::cancel))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/deliveries/{id}/",
        name: "Delivery Instance",
        methods: &[(Verb::Get, user!(deliveries::show))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/deliveries/{id}/replay/",
        name: "Delivery Replay",
        methods: &[(Verb::Post, user!(deliveries::replay))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/schema/",
        name: "Schema",
        methods: &[(Verb::Get, public!(openapi::schema))],
        metadata: Metadata::Plain,
    },
    Resource {
        path: "/api/docs/",
        name: "Docs",
        methods: &[(Verb::Get, page!(openapi::docs))],
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
