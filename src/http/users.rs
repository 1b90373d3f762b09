//! `/auth/users/`: admins manage users, and users themselves.

use actix_web::HttpResponse;
use casewire_actors::accounts::{
    CreateUser, DeleteUser, FindUser, GetUser, ListUsers, SetPassword, UpdateUser,
};
use casewire_actors::domain::password::faults;
use casewire_actors::domain::secret::Secret;
use casewire_actors::domain::user::{NewUser, Profile, User};
use serde::Serialize;
use serde_json::json;

use super::auth::{Admin, Caller};
use super::negotiate::path_uuid;
use super::problem::Problem;
use super::request::Request;
use super::validate::{Invalid, Presence, Text, Valid, check};
use super::{page, reply, time};

const USERNAME: Text = Text::new("username").email().at_most(254);
const FIRST_NAME: Text = Text::new("first_name").at_most(150);
const LAST_NAME: Text = Text::new("last_name").at_most(150);
const COMPANY_NAME: Text = Text::new("company_name").at_most(255);
const PASSWORD: Text = Text::new("password").untrimmed();

const PROFILE: [Text; 4] = [USERNAME, FIRST_NAME, LAST_NAME, COMPANY_NAME];
const NEW_USER: [Text; 5] = [USERNAME, FIRST_NAME, LAST_NAME, COMPANY_NAME, PASSWORD];

/// The form of a user, as `OPTIONS` tells it.
pub(crate) const FORM: &str = r#"{"id":{"type":"string","required":false,"read_only":true,"label":"Id"},"username":{"type":"email","required":true,"read_only":false,"label":"Username","max_length":254},"first_name":{"type":"string","required":true,"read_only":false,"label":"First name","max_length":150},"last_name":{"type":"string","required":true,"read_only":false,"label":"Last name","max_length":150},"company_name":{"type":"string","required":true,"read_only":false,"label":"Company name","max_length":255}}"#;

/// A user in answers; the password never.
#[derive(Serialize)]
pub(crate) struct UserBody<'a> {
    id: &'a str,
    username: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    company_name: &'a str,
    is_staff: bool,
    date_joined: String,
}

impl<'a> From<&'a User> for UserBody<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: &user.id,
            username: &user.username,
            first_name: &user.first_name,
            last_name: &user.last_name,
            company_name: &user.company_name,
            is_staff: user.is_staff,
            date_joined: time::rfc3339(user.date_joined_ms),
        }
    }
}

/// `GET /auth/users/`.
pub(crate) async fn list(request: Request, _: Admin) -> Result<HttpResponse, Problem> {
    let page = page::Page::of(&request)?;
    let search = request.query("search").unwrap_or_default().trim().to_owned();
    let list = ListUsers { search, limit: page.limit, offset: page.offset };
    let found = request.state().hub.accounts().ask(list).await??;
    let users: Vec<_> = found.users.iter().map(UserBody::from).collect();
    Ok(page.reply(&request, &users, found.n_all))
}

/// `POST /auth/users/`.
pub(crate) async fn create(mut request: Request, _: Admin) -> Result<HttpResponse, Problem> {
    let body = request.body().await?;
    let mut invalid = Invalid::default();
    let checked = check(&body, &NEW_USER, Presence::Whole);
    // The password's own rules are reported with the rest, and so is a name that is taken.
    let given = match &checked {
        Ok(valid) => valid.clone(),
        Err(found) => {
            invalid = found.clone();
            check_each(&body)
        }
    };
    if let Some(password) = given.get("password") {
        add_faults(&mut invalid, &request, password, given.get("username").unwrap_or_default());
    }
    if let Some(username) = given.get("username") {
        add_if_taken(&mut invalid, &request, username, None).await?;
    }
    if !invalid.fields.is_empty() {
        return Err(in_order(invalid, &NEW_USER_ORDER).into());
    }
    let mut fields = given;
    let mut take = |name| fields.take(name).unwrap_or_default();
    let new = NewUser {
        username: take("username"),
        first_name: take("first_name"),
        last_name: take("last_name"),
        company_name: take("company_name"),
        is_staff: false,
        password: Secret::new(take("password")),
    };
    let user = request.state().hub.accounts().ask(CreateUser(new)).await??;
    Ok(reply::created(&UserBody::from(&user)))
}

const NEW_USER_ORDER: [&str; 5] = ["username", "first_name", "last_name", "company_name", "password"];

/// What is valid of a body that as a whole is not.
fn check_each(body: &super::body::Body) -> Valid {
    let mut all = Valid::default();
    for field in NEW_USER {
        if let Ok(valid) = check(body, &[field], Presence::Partial) {
            all.extend(valid);
        }
    }
    all
}

/// Fields are reported in the order of their declaration.
fn in_order(mut invalid: Invalid, order: &[&str]) -> Invalid {
    invalid.fields.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
    invalid
}

fn add_faults(invalid: &mut Invalid, request: &Request, password: &str, username: &str) {
    let rules = request.state().settings.auth.password_check.into();
    let faults = faults(password, username, rules);
    if !faults.is_empty() {
        invalid.add("password", faults.iter().map(ToString::to_string));
    }
}

/// Reports a name that another user has, as long as that can be known before writing.
async fn add_if_taken(
    invalid: &mut Invalid,
    request: &Request,
    username: &str,
    own_id: Option<&str>,
) -> Result<(), Problem> {
    let find = FindUser { username: username.to_owned() };
    let holder = request.state().hub.accounts().ask(find).await??;
    if holder.is_some_and(|holder| Some(holder.id.as_str()) != own_id) {
        invalid.add("username", ["user with this username already exists.".to_owned()]);
    }
    Ok(())
}

/// The user that the path names, if the caller may see it: absent is told apart from forbidden.
async fn find(request: &Request, caller: &Caller) -> Result<User, Problem> {
    let id = path_uuid(request.segment("id")).ok_or(Problem::NotFound)?.to_string();
    if caller.user.id == id {
        return Ok(User::clone(&caller.user));
    }
    let user = request.state().hub.accounts().ask(GetUser { id }).await??.ok_or(Problem::NoSuch("User"))?;
    if caller.may_act_for(&user.id) { Ok(user) } else { Err(Problem::PermissionDenied) }
}

/// Whether the caller may change the user: what `OPTIONS` asks before it shows the form.
pub(crate) async fn may_change(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    find(&request, &caller).await?;
    Ok(reply::no_content())
}

/// `GET /auth/users/{id}/`.
pub(crate) async fn retrieve(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    if path_uuid(request.segment("id")).is_some_and(|id| caller.is(id)) {
        return Ok(reply::ok(&UserBody::from(&*caller.user)));
    }
    let user = find(&request, &caller).await?;
    Ok(reply::ok(&UserBody::from(&user)))
}

/// `PUT /auth/users/{id}/`.
pub(crate) async fn replace(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    change(request, caller, Presence::Whole).await
}

/// `PATCH /auth/users/{id}/`.
pub(crate) async fn update(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    change(request, caller, Presence::Partial).await
}

async fn change(mut request: Request, caller: Caller, presence: Presence) -> Result<HttpResponse, Problem> {
    let user = find(&request, &caller).await?;
    let body = request.body().await?;
    let (mut fields, mut invalid) = match check(&body, &PROFILE, presence) {
        Ok(valid) => (valid, Invalid::default()),
        Err(invalid) => (check_each(&body), invalid),
    };
    if let Some(username) = fields.get("username") {
        add_if_taken(&mut invalid, &request, username, Some(&user.id)).await?;
    }
    if !invalid.fields.is_empty() {
        return Err(in_order(invalid, &NEW_USER_ORDER).into());
    }
    let profile = Profile {
        username: fields.take("username"),
        first_name: fields.take("first_name"),
        last_name: fields.take("last_name"),
        company_name: fields.take("company_name"),
    };
    if profile == Profile::default() {
        return Ok(reply::ok(&UserBody::from(&user)));
    }
    let user = request.state().hub.accounts().ask(UpdateUser { id: user.id, profile }).await??;
    Ok(reply::ok(&UserBody::from(&user)))
}

/// `DELETE /auth/users/{id}/`.
pub(crate) async fn delete(request: Request, admin: Admin) -> Result<HttpResponse, Problem> {
    let user = find(&request, &admin).await?;
    request.state().hub.accounts().ask(DeleteUser { id: user.id }).await??;
    Ok(reply::no_content())
}

/// `PATCH /auth/users/{id}/set-password/`.
pub(crate) async fn set_password(mut request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let user = find(&request, &caller).await?;
    let body = request.body().await?;
    let mut fields = check(&body, &[PASSWORD], Presence::Whole)?;
    let password = fields.take("password").unwrap_or_default();
    let mut invalid = Invalid::default();
    add_faults(&mut invalid, &request, &password, &user.username);
    invalid.or(())?;
    let is_own = user.id == caller.user.id;
    let set_password = SetPassword {
        user_id: user.id,
        password: Secret::new(password),
        spared_token_id: is_own.then(|| caller.token_id.clone()),
    };
    request.state().hub.accounts().ask(set_password).await??;
    Ok(reply::ok(&json!({ "status": "password set" })))
}
