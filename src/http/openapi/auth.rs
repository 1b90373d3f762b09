//! Accounts and tokens.

#![allow(dead_code, clippy::struct_field_names, reason = "these types describe bodies and are never made")]

use serde_json::json;
use utoipa::ToSchema;

use super::describe::{Description, route};
use crate::http::frame::Verb;

/// Which lists there are.
#[derive(ToSchema)]
pub(super) struct ApiRoot {
    /// Where the users are.
    users: String,
}

/// User name and password.
#[derive(ToSchema)]
pub(super) struct LoginForm {
    /// The e-mail address.
    username: String,
    #[schema(format = Password)]
    password: String,
}

/// A new token.
#[derive(ToSchema)]
pub(super) struct Session {
    /// When it expires; null for never.
    #[schema(format = DateTime)]
    expiry: Option<String>,
    /// The token; shown this once.
    token: String,
    user: User,
}

/// A user.
#[derive(ToSchema)]
pub(super) struct User {
    #[schema(format = "uuid")]
    id: String,
    /// The e-mail address.
    username: String,
    first_name: String,
    last_name: String,
    company_name: String,
    /// Whether the user may manage the others.
    is_staff: bool,
    #[schema(format = DateTime)]
    date_joined: String,
}

/// A user to be made.
#[derive(ToSchema)]
pub(super) struct NewUser {
    /// The e-mail address; unique whatever its case.
    #[schema(format = Email, max_length = 254)]
    username: String,
    #[schema(max_length = 150)]
    first_name: String,
    #[schema(max_length = 150)]
    last_name: String,
    company_name: String,
    #[schema(format = Password, min_length = 8, max_length = 128)]
    password: String,
}

/// What can be changed of a user.
#[derive(ToSchema)]
pub(super) struct Profile {
    #[schema(format = Email, max_length = 254)]
    username: String,
    #[schema(max_length = 150)]
    first_name: String,
    #[schema(max_length = 150)]
    last_name: String,
    company_name: String,
}

/// The same, in parts.
#[derive(ToSchema)]
pub(super) struct ProfilePatch {
    #[schema(format = Email, max_length = 254, nullable = false)]
    username: Option<String>,
    #[schema(max_length = 150, nullable = false)]
    first_name: Option<String>,
    #[schema(max_length = 150, nullable = false)]
    last_name: Option<String>,
    #[schema(nullable = false)]
    company_name: Option<String>,
}

/// A new password.
#[derive(ToSchema)]
pub(super) struct NewPassword {
    #[schema(format = Password, min_length = 8, max_length = 128)]
    password: String,
}

/// That it was set.
#[derive(ToSchema)]
pub(super) struct PasswordSet {
    /// `password set`
    status: String,
}

/// A live token, without the token itself.
#[derive(ToSchema)]
pub(super) struct TokenInfo {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    #[schema(format = DateTime)]
    created: String,
    /// When it expires; null for never.
    #[schema(format = DateTime)]
    expiry: Option<String>,
    #[schema(format = DateTime)]
    last_used: Option<String>,
    /// `token`, or `api_key`.
    kind: String,
}

/// The token that never expires; shown this once.
#[derive(ToSchema)]
#[schema(example = "5f0c…64 hex digits…9a")]
pub(super) struct ApiKey(String);

/// The user has as many live tokens as may be.
#[derive(ToSchema)]
pub(super) struct TokenLimit {
    error: String,
}

const ID: &str = "0190c0de-0000-7000-8000-000000000001";

fn user() -> serde_json::Value {
    json!({
        "id": ID, "username": "tony@example.com", "first_name": "Tony", "last_name": "Stark",
        "company_name": "Stark Industries", "is_staff": false, "date_joined": "2026-08-01T12:00:00Z",
    })
}

/// The routes of this group.
pub(super) fn routes() -> Vec<Description> {
    let mut routes = sessions();
    routes.extend(users());
    routes
}

fn sessions() -> Vec<Description> {
    let session = json!({ "expiry": "2026-08-31T12:00:00Z", "token": "5f0c…9a", "user": user() });
    vec![
        route(Verb::Post, "/auth/login/", "logIn", "sessions", "Log in")
            .takes::<LoginForm>(json!({ "username": "tony@example.com", "password": "a long password" }))
            .gives::<Session>(200, "A new token")
            .example(session)
            .checks_fields()
            .gives::<TokenLimit>(403, "As many live tokens as the user may have")
            .refuses(429, "Too many failed logins"),
        route(Verb::Post, "/auth/logout/", "logOut", "sessions", "End the token that this is asked with")
            .gives_nothing("It is ended, everywhere at once"),
        route(Verb::Post, "/auth/logout-all/", "logOutAll", "sessions", "End all tokens but the API key")
            .gives_nothing("They are ended"),
        route(Verb::Get, "/auth/tokens/", "listTokens", "sessions", "List the caller's live tokens")
            .window()
            .lists::<TokenInfo>("The tokens, never the tokens themselves")
            .checks_fields(),
        route(Verb::Delete, "/auth/tokens/{id}/", "endToken", "sessions", "End one of the caller's tokens")
            .gives_nothing("It is ended"),
        route(Verb::Post, "/api/api-key/", "replaceApiKey", "sessions", "Make an API key")
            .about("A bare JSON string: a token that never expires and replaces the user's earlier key.")
            .gives::<ApiKey>(201, "The key; it is shown this once"),
    ]
}

fn users() -> Vec<Description> {
    let profile = json!({
        "username": "tony@example.com", "first_name": "Tony", "last_name": "Stark",
        "company_name": "Stark Industries",
    });
    let mut new_user = profile.clone();
    new_user["password"] = json!("a long password");
    vec![
        route(Verb::Get, "/auth/", "root", "users", "List the lists").gives::<ApiRoot>(200, "Where they are"),
        route(Verb::Get, "/auth/users/", "listUsers", "users", "List users, the oldest first")
            .window()
            .query("search", "Only users with this text in their names")
            .lists::<User>("The users")
            .example(json!([user()]))
            .checks_fields(),
        route(Verb::Post, "/auth/users/", "createUser", "users", "Make a user")
            .takes::<NewUser>(new_user)
            .gives::<User>(201, "The user")
            .example(user())
            .checks_fields(),
        route(Verb::Get, "/auth/users/{id}/", "getUser", "users", "Show a user")
            .gives::<User>(200, "The user")
            .example(user())
            .refuses(403, "Another user's record"),
        route(Verb::Put, "/auth/users/{id}/", "replaceUser", "users", "Change a user")
            .takes::<Profile>(profile)
            .gives::<User>(200, "The user as it is now")
            .checks_fields()
            .refuses(403, "Another user's record"),
        route(Verb::Patch, "/auth/users/{id}/", "changeUser", "users", "Change parts of a user")
            .takes::<ProfilePatch>(json!({ "company_name": "Stark Resilient" }))
            .gives::<User>(200, "The user as it is now")
            .checks_fields()
            .refuses(403, "Another user's record"),
        route(Verb::Delete, "/auth/users/{id}/", "deleteUser", "users", "Delete a user")
            .about("Tokens, instances, accounts and queued work of the user go with it.")
            .gives_nothing("It is deleted")
            .refuses(409, "The last admin stays"),
        route(Verb::Patch, "/auth/users/{id}/set-password/", "setPassword", "users", "Set a password")
            .about("The user's other tokens end; API keys stay.")
            .takes::<NewPassword>(json!({ "password": "a longer password" }))
            .gives::<PasswordSet>(200, "It is set")
            .example(json!({ "status": "password set" }))
            .checks_fields()
            .refuses(403, "Another user's record"),
    ]
}
