//! Customers: the records that people at X have on an instance.
//!
//! What is relied on:
//!
//! - A `csm_consumer` has no `correlation_id`. What ties it (and a `customer_contact`) to X is the
//!   social profile, table `sn_app_cs_social_social_profile`: `social_id` is the handle, `consumer`
//!   or `contact` the owner. It comes with the plugin `com.sn_cs_social`; without it no customer is
//!   found by this way. The profile is made by the instance when a consumer or a case is created
//!   with `social_channel`, `social_handle` and `social_handle_url`.
//! - `POST /api/now/consumer` answers `{"result": "<sys_id>"}`, a text where others give a record.
//! - A `sys_user` is known by its `user_name`, `x-<id at X>`. It gets no password, so nobody can
//!   sign in with it.
//!
//! A handle can change hands and an id cannot; so the hub keeps the customer it found for an id,
//! and asks here only once. Where no handle is known, the id stands in its place.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::failure::Failure;

use super::cases::{CustomerRef, clip, none_if_missing};
use super::client::{Call, ServiceNow};
use super::errors::{Verb, is_invalid_table};
use super::fields::{Row, filter_ignored, row, rows, unexpected};
use super::keys::{Handle, SysId, XUserId};

const PROFILE_TABLE: &str = "sn_app_cs_social_social_profile";
const MAX_NAME_CHARS: usize = 40;

/// Which table of the instance holds the people who write on X.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerTable {
    /// Consumers: people who buy for themselves.
    #[default]
    CsmConsumer,
    /// Contacts: people who act for a customer's account.
    CustomerContact,
    /// Plain users, for instances without customer service tables.
    SysUser,
}

impl CustomerTable {
    /// The table's name, also in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CsmConsumer => "csm_consumer",
            Self::CustomerContact => "customer_contact",
            Self::SysUser => "sys_user",
        }
    }

    /// The table of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::CsmConsumer, Self::CustomerContact, Self::SysUser]
            .into_iter()
            .find(|table| table.as_str() == name)
    }

    /// How a case refers to a customer of this table.
    pub fn reference(self, sys_id: SysId) -> CustomerRef {
        match self {
            Self::CsmConsumer => CustomerRef::Consumer(sys_id),
            Self::CustomerContact => CustomerRef::Contact(sys_id),
            Self::SysUser => CustomerRef::User(sys_id),
        }
    }
}

/// A person at X.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The id, which never changes.
    pub x_id: XUserId,
    /// The handle, when it is known.
    pub handle: Option<Handle>,
    /// The shown name, as the person chose it; may be empty.
    pub name: String,
}

impl Customer {
    /// What stands in `social_handle` and `social_id`.
    pub fn social_id(&self) -> &str {
        self.handle.as_ref().map_or(self.x_id.as_str(), Handle::as_str)
    }

    /// The person's page at X.
    pub fn page_url(&self) -> String {
        match &self.handle {
            Some(handle) => format!("https://x.com/{handle}"),
            None => format!("https://x.com/i/user/{}", self.x_id),
        }
    }

    /// The `user_name` of a `sys_user`.
    pub fn user_name(&self) -> String {
        format!("x-{}", self.x_id)
    }

    /// First and last name, the last never empty: the last word, else the handle or the id.
    fn names(&self) -> (String, String) {
        let words: Vec<&str> = self.name.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let (last, first) = match words.split_last() {
            Some((last, first)) => (*last, first.join(" ")),
            None => (self.social_id(), String::new()),
        };
        (clip(&first, MAX_NAME_CHARS).to_owned(), clip(last, MAX_NAME_CHARS).to_owned())
    }

    /// The body of the POST that makes the customer.
    fn body(&self, table: CustomerTable) -> Value {
        let (first_name, last_name) = self.names();
        let mut body = Map::new();
        let mut set = |name: &str, value: String| body.insert(name.to_owned(), Value::from(value));
        set("first_name", first_name);
        set("last_name", last_name);
        match table {
            CustomerTable::CsmConsumer | CustomerTable::CustomerContact => {
                set("social_channel", "TWITTER".to_owned());
                set("social_handle", self.social_id().to_owned());
                set("social_handle_url", self.page_url());
            }
            CustomerTable::SysUser => {
                set("user_name", self.user_name());
            }
        }
        Value::Object(body)
    }
}

impl ServiceNow {
    /// Looks a customer up. `None` when there is none, or the social profiles are not installed.
    pub async fn find_customer(
        &self,
        table: CustomerTable,
        customer: &Customer,
    ) -> Result<Option<SysId>, Failure> {
        match table {
            CustomerTable::CsmConsumer => self.find_by_profile("consumer", customer.social_id()).await,
            CustomerTable::CustomerContact => self.find_by_profile("contact", customer.social_id()).await,
            CustomerTable::SysUser => self.find_user(&customer.user_name()).await,
        }
    }

    /// Makes a customer. Not idempotent: after any failure whose effect is not `None`,
    /// [`ServiceNow::find_customer`] tells whether it was made.
    pub async fn create_customer(&self, table: CustomerTable, customer: &Customer) -> Result<SysId, Failure> {
        let path: &[&str] = match table {
            CustomerTable::CsmConsumer => &["api", "now", "consumer"],
            CustomerTable::CustomerContact => &["api", "now", "contact"],
            CustomerTable::SysUser => &["api", "now", "table", "sys_user"],
        };
        let call = Call { verb: Verb::Create, path, query: &[], body: Some(customer.body(table)) };
        created_id(self.call(call).await?.result)
    }

    async fn find_by_profile(&self, owner: &str, social_id: &str) -> Result<Option<SysId>, Failure> {
        // The channel is checked here and not in the query: were its field called otherwise on
        // some instance, the query would find everything, or (`glide.invalid_query.returns_no_rows`) nothing.
        let query = format!("social_id={social_id}^ORDERBYsys_created_on");
        let fields = format!("sys_id,social_id,channel.name,{owner}");
        let call = list(PROFILE_TABLE);
        let call = Call { query: &list_query(&query, &fields), path: &call, verb: Verb::Read, body: None };
        let reply = self.exchange(call).await?;
        if is_invalid_table(&reply) {
            return Ok(None);
        }
        let Some(answer) = none_if_missing(self.judge(Verb::Read, &reply))? else { return Ok(None) };
        let profiles = rows(answer.result)?;
        let is_other = |row: &Row| row.text("social_id").is_none_or(|id| !id.eq_ignore_ascii_case(social_id));
        if profiles.iter().any(is_other) {
            return Err(filter_ignored("social_id of the social profile table"));
        }
        Ok(profiles.iter().filter(|row| is_of_x(row)).find_map(|row| row.sys_id(owner)))
    }

    async fn find_user(&self, user_name: &str) -> Result<Option<SysId>, Failure> {
        let query = format!("user_name={user_name}");
        let path = list("sys_user");
        let call = Call {
            query: &list_query(&query, "sys_id,user_name"),
            path: &path,
            verb: Verb::Read,
            body: None,
        };
        let Some(answer) = none_if_missing(self.call(call).await)? else { return Ok(None) };
        let users = rows(answer.result)?;
        if users.iter().any(|row| row.text("user_name").as_deref() != Some(user_name)) {
            return Err(filter_ignored("user_name of the user table"));
        }
        Ok(users.iter().find_map(|row| row.sys_id("sys_id")))
    }
}

fn list(table: &str) -> [&str; 4] {
    ["api", "now", "table", table]
}

fn list_query<'a>(query: &'a str, fields: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("sysparm_query", query),
        ("sysparm_fields", fields),
        ("sysparm_limit", "10"),
        ("sysparm_display_value", "false"),
        ("sysparm_exclude_reference_link", "true"),
        ("sysparm_no_count", "true"),
    ]
}

/// Whether a profile is of X, by whatever name the channel goes. One without a name is taken.
fn is_of_x(profile: &Row) -> bool {
    let Some(name) = profile.text("channel.name") else { return true };
    let name = name.to_lowercase();
    name.contains("twitter") || name.split_whitespace().next() == Some("x")
}

/// The new record's id: the result itself, or its `sys_id`.
fn created_id(result: Value) -> Result<SysId, Failure> {
    let id = match &result {
        Value::String(text) => SysId::parse(text).ok(),
        _ => row(result, Verb::Create)?.sys_id("sys_id"),
    };
    id.ok_or_else(|| unexpected(Verb::Create, "the answer to a new customer lacks its sys_id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("Ada Lovelace", "Ada", "Lovelace"),
            ("  Ada   King\tLovelace ", "Ada King", "Lovelace"),
            ("Ada", "", "Ada"),
            ("", "", "ada_l"),
            ("\u{0}\n", "", "ada_l"),
        ];
        for (name, first, last) in cases {
            let customer = Customer {
                x_id: XUserId::parse("42").unwrap(),
                handle: Handle::parse("ada_l").ok(),
                name: name.to_owned(),
            };
            assert_eq!(customer.names(), (first.to_owned(), last.to_owned()), "{name:?}");
        }
    }

    #[test]
    fn without_a_handle_the_id_stands_in() {
        let customer = Customer { x_id: XUserId::parse("42").unwrap(), handle: None, name: String::new() };
        assert_eq!(customer.names().1, "42");
        assert_eq!(customer.social_id(), "42");
        assert_eq!(customer.page_url(), "https://x.com/i/user/42");
        assert_eq!(customer.user_name(), "x-42");
    }

    #[test]
    fn tables_have_one_name_everywhere() {
        for table in [CustomerTable::CsmConsumer, CustomerTable::CustomerContact, CustomerTable::SysUser] {
            assert_eq!(CustomerTable::parse(table.as_str()), Some(table));
            assert_eq!(serde_json::to_value(table).unwrap(), table.as_str());
        }
        assert_eq!(CustomerTable::parse("incident"), None);
    }
}
