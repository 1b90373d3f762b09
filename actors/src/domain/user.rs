//! Users: the people who may call the hub, each with their own instances, accounts and queue.

use super::secret::Secret;

/// A user, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// A version 7 UUID in lower case with dashes.
    pub id: String,
    /// An e-mail address, as it was written; unique without regard to case.
    pub username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// The company that the user acts for.
    pub company_name: String,
    /// Whether the user is an admin.
    pub is_staff: bool,
    /// Whether the user may log in and use tokens.
    pub is_active: bool,
    /// When the user was created, in epoch milliseconds.
    pub date_joined_ms: i64,
}

/// A user to create.
#[derive(Clone)]
pub struct NewUser {
    /// An e-mail address.
    pub username: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// The company that the user acts for.
    pub company_name: String,
    /// Whether the user will be an admin.
    pub is_staff: bool,
    /// The password, checked against the rules.
    pub password: Secret,
}

/// What of a user can be changed; `None` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The user name.
    pub username: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// The company that the user acts for.
    pub company_name: Option<String>,
}

/// A user name in the form in which it is compared and must be unique.
pub fn username_key(username: &str) -> String {
    username.to_lowercase()
}
