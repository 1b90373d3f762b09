//! The rows of one instance: look-ups, journals, and the few rules that the platform itself keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock;
use crate::servicenow::query::{self, Query};
use crate::servicenow::schema::{
    CASE, CHANNEL, CONSUMER, CONTACT, JOURNAL, Kind, PROFILE, ROLE, TABLES, USER, USER_ROLE,
};
use crate::servicenow::tables::{Row, Schema, Table};
use crate::servicenow::{SnOptions, SnUser};

/// Fields of a write, by name.
pub(crate) type Fields = BTreeMap<String, String>;

/// Told of each customer-visible comment in the moment of its commit.
pub(crate) type CommentHook = Box<dyn Fn(&str) + Send>;

pub(crate) struct Store {
    tables: HashMap<&'static str, Table>,
    pub(crate) on_comment: Option<CommentHook>,
    invalid_query_returns_no_rows: bool,
    n_numbered: HashMap<&'static str, u32>,
}

/// The first number of a case is then CS0001001, of a consumer CSR0001001.
const NUMBERS_FROM: u32 = 1000;

impl Store {
    /// The tables that these options leave an instance.
    pub(crate) fn schemas(options: &SnOptions) -> Vec<Arc<Schema>> {
        let is_there = |name: &str| !options.missing_tables.iter().any(|missing| missing == name);
        let custom = |table: &str| {
            let of_table = options.custom_columns.iter().filter(move |(name, _)| name == table);
            of_table.map(|(_, column)| column.clone()).collect::<Vec<_>>().into_iter()
        };
        let present = TABLES.iter().filter(|def| is_there(def.name));
        present.map(|def| Arc::new(Schema::new(def, custom(def.name)))).collect()
    }

    pub(crate) fn new(options: &SnOptions, schemas: &[Arc<Schema>]) -> Self {
        let tables = schemas.iter().map(|schema| (schema.def.name, Table::new(schema.clone()))).collect();
        let mut store = Self {
            tables,
            on_comment: None,
            invalid_query_returns_no_rows: options.invalid_query_returns_no_rows,
            n_numbered: HashMap::new(),
        };
        for (name, url) in [("Twitter", "https://twitter.com"), ("Facebook", "https://facebook.com")] {
            store.insert(CHANNEL, [("name", name), ("url", url)], "system");
        }
        for user in &options.users {
            store.add_user(user);
        }
        store
    }

    fn add_user(&mut self, user: &SnUser) {
        let names = [("user_name", user.name.as_str()), ("name", user.full_name())];
        let user_id = self.insert(USER, names, "system").unwrap_or_default();
        for role in &user.roles {
            let known = self.table(ROLE).and_then(|table| table.find("name", role));
            let role_id = match known {
                Some(row) => row.values[0].clone(),
                None => self.insert(ROLE, [("name", role.as_str())], "system").unwrap_or_default(),
            };
            self.insert(USER_ROLE, [("user", user_id.as_str()), ("role", role_id.as_str())], "system");
        }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(crate) fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.tables.get_mut(name)
    }

    fn insert<'a, const N: usize>(
        &mut self,
        table: &str,
        fields: [(&'a str, &'a str); N],
        author: &str,
    ) -> Option<String> {
        self.tables.get_mut(table).map(|table| table.insert(fields, author))
    }

    /// Whether a field or dot-walked path exists. A path into a table that is not simulated exists and is empty.
    pub(crate) fn knows(&self, table: &Table, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let Some(column) = table.column(first) else { return false };
        match (rest, table.schema.columns[column].kind) {
            (None, _) => true,
            (Some(rest), Kind::Reference(to)) => self.table(to).is_none_or(|table| self.knows(table, rest)),
            (Some(_), _) => false,
        }
    }

    /// The value of a field or dot-walked path.
    pub(crate) fn value<'a>(&'a self, table: &'a Table, row: &'a Row, path: &str) -> &'a str {
        let Some((first, rest)) = path.split_once('.') else { return table.get(row, path) };
        let Some(column) = table.column(first) else { return "" };
        let Kind::Reference(to) = table.schema.columns[column].kind else { return "" };
        let Some(table) = self.table(to) else { return "" };
        table.row(&row.values[column]).map_or("", |row| self.value(table, row, rest))
    }

    /// The numbers of the rows that an encoded query selects, in its order. Without one the order means
    /// nothing: by `sys_id`, so that nobody takes it for the order of creation.
    pub(crate) fn select(&self, table: &Table, encoded: &str) -> Vec<usize> {
        let query = query::parse(encoded, |field| self.knows(table, field));
        if query.n_dropped > 0 && self.invalid_query_returns_no_rows {
            return Vec::new();
        }
        let mut found: BTreeSet<usize> = BTreeSet::new();
        for group in &query.groups {
            let holds = |number: &usize| {
                let Some(row) = table.at(*number) else { return false };
                let mut clauses = group.iter();
                clauses.all(|clause| clause.iter().any(|c| c.holds_for(self.value(table, row, &c.field))))
            };
            match candidates(table, group) {
                Some(numbers) => found.extend(numbers.into_iter().filter(holds)),
                None => found.extend(table.numbers().filter(holds)),
            }
        }
        let mut numbers: Vec<usize> = found.into_iter().collect();
        self.sort(table, &query, &mut numbers);
        numbers
    }

    fn sort(&self, table: &Table, query: &Query, numbers: &mut [usize]) {
        if numbers.len() < 2 {
            return;
        }
        let rows = |number: usize| table.at(number);
        numbers.sort_by(|one, other| {
            let (Some(one), Some(other)) = (rows(*one), rows(*other)) else {
                return std::cmp::Ordering::Equal;
            };
            for order in &query.orders {
                let by_field = query::order(
                    self.value(table, one, &order.field),
                    self.value(table, other, &order.field),
                );
                let by_field = if order.descending { by_field.reverse() } else { by_field };
                if by_field.is_ne() {
                    return by_field;
                }
            }
            one.values[0].cmp(&other.values[0])
        });
    }

    fn next_number(&mut self, table: &'static str, prefix: &str) -> String {
        let n = self.n_numbered.entry(table).or_insert(NUMBERS_FROM);
        *n += 1;
        format!("{prefix}{n:07}")
    }

    /// Adds a row to any table, with what the platform adds by itself. `None` if there is no such table.
    pub(crate) fn create(&mut self, table: &str, mut fields: Fields, author: &str) -> Option<String> {
        let table = self.table(table)?.schema.def.name;
        match table {
            CASE => return Some(self.create_case(fields, author)),
            CONSUMER => {
                let number = self.next_number(CONSUMER, "CSR");
                fields.entry("number".to_owned()).or_insert(number);
                add_full_name(&mut fields);
            }
            USER | CONTACT => add_full_name(&mut fields),
            _ => {}
        }
        let table = self.tables.get_mut(table)?;
        Some(table.insert(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())), author))
    }

    /// Changes a row of any table; false if there is none.
    pub(crate) fn change(&mut self, table: &str, sys_id: &str, mut fields: Fields, author: &str) -> bool {
        if table == CASE {
            add_state_fields(&mut fields);
        }
        let Some(rows) = self.tables.get_mut(table) else { return false };
        let pairs = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if !rows.update(sys_id, pairs, author) {
            return false;
        }
        if table == CASE {
            self.add_journals(sys_id, &fields, author);
        }
        true
    }

    fn create_case(&mut self, mut fields: Fields, author: &str) -> String {
        let number = self.next_number(CASE, "CS");
        fields.insert("number".to_owned(), number);
        fields.insert("opened_at".to_owned(), clock::servicenow_time(clock::now_ms()));
        let opened_by = self.table(USER).and_then(|users| users.find("user_name", author));
        if let Some(user) = opened_by {
            fields.insert("opened_by".to_owned(), user.values[0].clone());
        }
        let contact = fields.get("contact").cloned().unwrap_or_default();
        if let Some(contacts) = self.table(CONTACT)
            && let Some(row) = contacts.row(&contact)
        {
            fields.entry("account".to_owned()).or_insert_with(|| contacts.get(row, "account").to_owned());
        }
        add_state_fields(&mut fields);
        let profile = self.social_profile(&fields, author);
        if let Some(profile) = profile {
            fields.insert(PROFILE.to_owned(), profile);
        }
        let pairs: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let sys_id = self.tables.get_mut(CASE).map(|cases| cases.insert(pairs, author)).unwrap_or_default();
        self.add_journals(&sys_id, &fields, author);
        sys_id
    }

    /// `social_channel` and `social_handle` of a new case or consumer make a social profile, or find it.
    pub(crate) fn social_profile(&mut self, fields: &Fields, author: &str) -> Option<String> {
        let get = |name: &str| fields.get(name).map_or("", String::as_str);
        let (channel, handle) = (get("social_channel"), get("social_handle"));
        if channel.is_empty() || handle.is_empty() {
            return None;
        }
        let channels = self.table(CHANNEL)?;
        let channel = channels.row(channel).or_else(|| channels.find("name", channel))?.values[0].clone();
        let profiles = self.table(PROFILE)?;
        let known = profiles.lookup(profiles.column("social_id")?, handle)?;
        let mut known = known.into_iter().filter_map(|number| profiles.at(number));
        if let Some(row) = known.find(|row| profiles.get(row, "channel") == channel) {
            return Some(row.values[0].clone());
        }
        let owner = match get("social_handle_type").to_lowercase().as_str() {
            "contact" => "contact",
            "account" => "account",
            _ => "consumer",
        };
        let pairs = [
            ("channel", channel.as_str()),
            ("social_id", handle),
            ("profile_url", get("social_handle_url")),
            ("post_url", get("social_post_url")),
            (owner, get(owner)),
        ];
        self.tables.get_mut(PROFILE).map(|profiles| profiles.insert(pairs, author))
    }

    fn add_journals(&mut self, case: &str, fields: &Fields, author: &str) {
        for element in ["comments", "work_notes"] {
            if let Some(text) = fields.get(element).filter(|text| !text.is_empty()) {
                self.add_journal(case, element, text, author);
            }
        }
    }

    /// Adds an entry to a case's journal; returns its `sys_id`.
    pub(crate) fn add_journal(
        &mut self,
        case: &str,
        element: &str,
        text: &str,
        author: &str,
    ) -> Option<String> {
        let fields = [("name", CASE), ("element", element), ("element_id", case), ("value", text)];
        let sys_id = self.insert(JOURNAL, fields, author);
        if let Some(on_comment) = self.on_comment.as_ref().filter(|_| element == "comments") {
            on_comment(text);
        }
        sys_id
    }

    /// The entries of a case in the order in which they were written.
    pub(crate) fn journal(&self, case: &str) -> Vec<&Row> {
        let Some(table) = self.table(JOURNAL) else { return Vec::new() };
        let column = table.column("element_id").unwrap_or_default();
        let numbers = table.lookup(column, case).unwrap_or_default();
        numbers.into_iter().filter_map(|number| table.at(number)).collect()
    }
}

/// The rows that an indexed equality of the group leaves over; `None` if there is no such condition.
fn candidates(table: &Table, group: &[Vec<query::Condition>]) -> Option<Vec<usize>> {
    group.iter().filter(|clause| clause.len() == 1).find_map(|clause| {
        let column = table.column(&clause[0].field)?;
        let mut numbers = Vec::new();
        for value in clause[0].looked_up()? {
            numbers.extend(table.lookup(column, value)?);
        }
        Some(numbers)
    })
}

fn add_full_name(fields: &mut Fields) {
    let get = |name: &str| fields.get(name).map_or("", String::as_str);
    let full = format!("{} {}", get("first_name"), get("last_name")).trim().to_owned();
    if get("name").is_empty() && !full.is_empty() {
        fields.insert("name".to_owned(), full);
    }
}

/// A state change sets what the case life cycle sets with it: 6 Resolved, 3 Closed, all others open.
fn add_state_fields(fields: &mut Fields) {
    let Some(state) = fields.get("state").cloned() else { return };
    let now = clock::servicenow_time(clock::now_ms());
    let mut set = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
    set("active", if state == "3" { "false" } else { "true" });
    match state.as_str() {
        "3" => drop(set("closed_at", &now)),
        "6" => drop(set("resolved_at", &now)),
        _ => {}
    }
}
