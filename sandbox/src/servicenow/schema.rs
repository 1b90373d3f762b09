//! The tables that an instance has.

/// What a column holds; every value travels as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text of at most so many characters; longer text is cut.
    Text(usize),
    /// `true` or `false`.
    Bool,
    Number,
    /// `YYYY-MM-DD HH:MM:SS`, UTC.
    Time,
    /// The `sys_id` of a row of that table.
    Reference(&'static str),
    /// A journal with that label: reads back empty, its entries are in `sys_journal_field`.
    Journal(&'static str),
}

/// One column of a table definition.
pub(crate) struct ColumnDef {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_indexed: bool,
    /// The value of a new row.
    pub(crate) default: &'static str,
}

const fn column(name: &'static str, kind: Kind) -> ColumnDef {
    ColumnDef { name, kind, is_indexed: false, default: "" }
}

const fn text(name: &'static str, max_chars: usize) -> ColumnDef {
    column(name, Kind::Text(max_chars))
}

const fn to(name: &'static str, table: &'static str) -> ColumnDef {
    column(name, Kind::Reference(table))
}

impl ColumnDef {
    const fn indexed(mut self) -> Self {
        self.is_indexed = true;
        self
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }
}

pub(crate) struct TableDef {
    pub(crate) name: &'static str,
    /// The column shown for a reference to a row.
    pub(crate) display: &'static str,
    pub(crate) columns: &'static [ColumnDef],
}

pub(crate) const CASE: &str = "sn_customerservice_case";
pub(crate) const CONSUMER: &str = "csm_consumer";
pub(crate) const CONTACT: &str = "customer_contact";
pub(crate) const USER: &str = "sys_user";
pub(crate) const PROFILE: &str = "sn_app_cs_social_social_profile";
pub(crate) const CHANNEL: &str = "sn_app_cs_social_social_channel";
pub(crate) const JOURNAL: &str = "sys_journal_field";
pub(crate) const PROPERTIES: &str = "sys_properties";
pub(crate) const USER_ROLE: &str = "sys_user_has_role";
pub(crate) const ROLE: &str = "sys_user_role";

/// The columns of a login, which a contact has too: `customer_contact` extends `sys_user`.
macro_rules! person {
    ($($more:expr),*) => {
        &[
            text("user_name", 40).indexed(), text("name", 151).indexed(), text("first_name", 50),
            text("last_name", 50), text("email", 100).indexed(), text("phone", 40), text("mobile_phone", 40),
            text("title", 60), text("preferred_language", 3), text("time_zone", 40), text("user_password", 255),
            column("active", Kind::Bool).or("true"), column("locked_out", Kind::Bool).or("false"),
            column("web_service_access_only", Kind::Bool).or("false"), text("source", 255),
            text("correlation_id", 100).indexed(), to("company", "core_company"), to("manager", USER),
            $($more),*
        ]
    };
}

/// The tables served; every other one is an "Invalid table".
pub(crate) static TABLES: [TableDef; 10] = [
    TableDef { name: USER, display: "name", columns: person!() },
    TableDef {
        name: CONTACT,
        display: "name",
        columns: person!(to("account", "customer_account"), text("notes", 4000)),
    },
    // The consumer of the base system has no correlation_id.
    TableDef {
        name: CONSUMER,
        display: "name",
        columns: &[
            text("number", 40).indexed(),
            text("name", 151).indexed(),
            text("first_name", 50),
            text("middle_name", 50),
            text("last_name", 50),
            text("prefix", 40),
            text("suffix", 40),
            text("title", 60),
            text("email", 100).indexed(),
            text("business_phone", 40),
            text("home_phone", 40),
            text("mobile_phone", 40),
            text("street", 255),
            text("city", 40),
            text("state", 40),
            text("zip", 40),
            text("country", 40),
            text("notes", 4000),
            text("preferred_language", 3),
            text("time_zone", 40),
            column("active", Kind::Bool).or("true"),
            column("primary", Kind::Bool).or("false"),
            to("user", USER),
        ],
    },
    TableDef {
        name: CHANNEL,
        display: "name",
        columns: &[text("name", 100).indexed(), text("url", 1024), column("active", Kind::Bool).or("true")],
    },
    TableDef {
        name: PROFILE,
        display: "social_id",
        columns: &[
            to("channel", CHANNEL),
            text("social_id", 100).indexed(),
            text("profile_url", 1024),
            text("post_url", 1024),
            to("consumer", CONSUMER).indexed(),
            to("contact", CONTACT).indexed(),
            to("account", "customer_account"),
        ],
    },
    TableDef {
        name: CASE,
        display: "number",
        columns: &[
            text("number", 40).indexed(),
            column("state", Kind::Number).or("1"),
            column("active", Kind::Bool).or("true"),
            text("contact_type", 40),
            text("short_description", 160),
            text("description", 4000),
            column("comments", Kind::Journal("Additional comments")),
            column("work_notes", Kind::Journal("Work notes")),
            column("comments_and_work_notes", Kind::Journal("Comments and Work notes")),
            column("priority", Kind::Number).or("4"),
            column("impact", Kind::Number).or("3"),
            column("urgency", Kind::Number).or("3"),
            column("escalation", Kind::Number).or("0"),
            column("category", Kind::Number),
            text("subcategory", 40),
            text("correlation_id", 100).indexed(),
            text("correlation_display", 100),
            to("consumer", CONSUMER).indexed(),
            to("contact", CONTACT).indexed(),
            to("account", "customer_account"),
            to("partner", "customer_account"),
            to("partner_contact", CONTACT),
            to("product", "cmdb_model"),
            to("asset", "alm_asset"),
            to(PROFILE, PROFILE).indexed(),
            to("assigned_to", USER),
            to("assignment_group", "sys_user_group"),
            to("parent", CASE),
            to("opened_by", USER),
            column("opened_at", Kind::Time),
            column("resolved_at", Kind::Time),
            column("closed_at", Kind::Time),
            to("closed_by", USER),
            text("resolution_code", 40),
            text("close_notes", 4000),
            text("cause", 4000),
            text("sys_class_name", 80).or(CASE),
        ],
    },
    TableDef {
        name: JOURNAL,
        display: "element",
        columns: &[
            text("name", 80),
            text("element", 80),
            text("element_id", 32).indexed(),
            text("value", 4000),
        ],
    },
    TableDef {
        name: PROPERTIES,
        display: "name",
        columns: &[
            text("name", 100).indexed(),
            text("value", 4000),
            text("type", 40).or("string"),
            text("description", 512),
        ],
    },
    TableDef { name: ROLE, display: "name", columns: &[text("name", 100).indexed()] },
    TableDef {
        name: USER_ROLE,
        display: "role",
        columns: &[
            to("user", USER).indexed(),
            to("role", ROLE),
            column("inherited", Kind::Bool).or("false"),
            text("state", 40).or("active"),
        ],
    },
];

/// Columns that every table has.
pub(crate) const SYSTEM: [ColumnDef; 6] = [
    text("sys_id", 32),
    column("sys_created_on", Kind::Time),
    text("sys_created_by", 40),
    column("sys_updated_on", Kind::Time),
    text("sys_updated_by", 40),
    column("sys_mod_count", Kind::Number).or("0"),
];
