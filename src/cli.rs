//! The command line: what can be asked for, and how it is written.
//!
//! Wrong usage ends the process with 2 and a hint, as clap does it. Documentation comments here are
//! help texts, so they carry no markup.
#![allow(clippy::doc_markdown, reason = "documentation comments are help texts, read on a terminal")]

mod createsuperuser;
mod database;
mod deliveries;
pub mod demo;
mod dispatch;
mod doctor;
mod migrate;
mod openapi;
pub mod output;
pub mod sandbox;
mod serve;
mod subscriptions;
mod token;
mod webhooks;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use casewire_actors::domain::replay::ReplayRate;
use casewire_actors::domain::secret::Secret;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use url::Url;
use uuid::Uuid;

use self::dispatch::open_office;
pub use self::dispatch::run;
use self::output::OutputFormat;
use crate::settings::parse_address;

/// The integration hub between ServiceNow and X.
///
/// What a customer writes on X becomes a case in ServiceNow; what an agent answers there reaches
/// the customer on X. Try it without any account: casewire demo
#[derive(Parser, Debug)]
#[command(name = "casewire", version, arg_required_else_help = true, verbatim_doc_comment)]
pub struct Cli {
    /// The settings file [default: settings.yaml in the working directory, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Play the whole story on this machine, with a simulated X and ServiceNow
    ///
    /// Starts the hub on a temporary database beside both simulations, sends a customer's messages
    /// in and an agent's answer out, and prints each step. Needs no account anywhere.
    Demo(Demo),
    /// Bring the database to the newest schema
    ///
    /// Says what it did. Safe to repeat, and to run from several processes at once.
    Migrate,
    /// Create a user who may manage the others
    ///
    /// The password is asked for on a terminal; elsewhere it is read from
    /// CASEWIRE_SUPERUSER_PASSWORD or, without that, from the first line of stdin.
    Createsuperuser(CreateSuperuser),
    /// Run the hub
    ///
    /// An embedded database is migrated first. A server database whose schema is behind is refused,
    /// unless --migrate is given. SIGTERM and SIGINT stop it; what is queued stays queued.
    Serve(Serve),
    /// API tokens of a user
    #[command(subcommand)]
    Token(Token),
    /// The webhook at X
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// Which linked accounts X sends events for
    #[command(subcommand)]
    Subscriptions(Subscriptions),
    /// The outbox, the dead letters and their replay
    #[command(subcommand)]
    Deliveries(Deliveries),
    /// The database as a whole
    #[command(subcommand)]
    Database(Database),
    /// Check everything that is usually wrong
    ///
    /// Settings, database, key, clock, the public URL's own answer to X's challenge, the credentials
    /// at X, each instance. Exits with 1 if anything is red.
    Doctor,
    /// Run the simulated X and the simulated ServiceNow alone
    ///
    /// Both are strict about the documented contracts and keep everything in memory.
    Sandbox(Sandbox),
    /// Print the OpenAPI 3.1 document
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// `casewire demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// End after the story: 0 if everything arrived, 1 with the reason if not
    #[arg(long)]
    pub once: bool,
}

/// `casewire createsuperuser`
#[derive(Args, Debug)]
pub struct CreateSuperuser {
    /// The e-mail address to log in with; asked for on a terminal if not given
    #[arg(long, value_name = "EMAIL")]
    pub email: Option<String>,
    /// Read the password from the first line of stdin, even on a terminal
    #[arg(long)]
    pub password_stdin: bool,
}

/// `casewire serve`
#[derive(Args, Debug)]
pub struct Serve {
    /// Listen here instead of at server.listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// Migrate a server database first too
    #[arg(long)]
    pub migrate: bool,
}

/// `casewire token …`
#[derive(Subcommand, Debug)]
pub enum Token {
    /// Make a token and print it, alone on stdout; it is shown this once
    Create {
        /// The e-mail address of the user
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// A token that never expires
        #[arg(long)]
        no_expiry: bool,
        /// What the token is for, shown in lists
        #[arg(long)]
        name: Option<String>,
    },
    /// List the live tokens of a user, without the tokens themselves
    List {
        /// The e-mail address of the user
        #[arg(long, value_name = "EMAIL")]
        user: String,
        /// How to print the list.
        #[command(flatten)]
        listing: Listing,
    },
    /// End a token at once
    Revoke {
        /// The id of the token, as token list shows it
        id: Uuid,
    },
}

/// `casewire webhooks …`
#[derive(Subcommand, Debug)]
pub enum Webhooks {
    /// Register the webhook at X, or have a registered one checked again
    ///
    /// Safe to repeat. Afterwards every linked account is subscribed again.
    Register {
        /// The public URL of this hub's /api/activity/
        #[arg(long)]
        url: Url,
        /// Give up another webhook if X allows no more
        #[arg(long)]
        replace: bool,
    },
    /// List the webhooks of the app
    List {
        /// How to print the list.
        #[command(flatten)]
        listing: Listing,
    },
    /// Have X challenge a webhook again
    Validate {
        /// The webhook's id at X
        id: String,
    },
    /// Remove a webhook; X sends no more events to it
    Delete {
        /// The webhook's id at X
        id: String,
    },
}

/// `casewire subscriptions …`
#[derive(Subcommand, Debug)]
pub enum Subscriptions {
    /// List the accounts that X sends events for
    List {
        /// How to print the list.
        #[command(flatten)]
        listing: Listing,
    },
    /// Have X send the events of a linked account
    Add {
        /// The account: its id here, its id at X or its @name
        account: String,
    },
    /// Have X send no more events of a linked account
    Remove {
        /// The account: its id here, its id at X or its @name
        account: String,
    },
}

/// `casewire deliveries …`
#[derive(Subcommand, Debug)]
pub enum Deliveries {
    /// List deliveries, newest first
    List {
        /// Only those in this state
        #[arg(long, value_enum)]
        status: Option<DeliveryStatus>,
        /// Only those of this instance: its id or its URL
        #[arg(long)]
        instance: Option<String>,
        /// How to print the list.
        #[command(flatten)]
        listing: Listing,
    },
    /// Show a delivery with all its attempts
    Show {
        /// The id of the delivery
        id: Uuid,
        /// How to print it.
        #[command(flatten)]
        listing: Listing,
    },
    /// Try dead deliveries again, by id or all in a state
    ///
    /// More than 100 are tried again little by little. The command shows how far that came until it is done;
    /// with --detach, or when the command is ended, a running hub goes on with it.
    Replay(Replay),
    /// List the replays of many, newest first
    Replays {
        /// How to print the list.
        #[command(flatten)]
        listing: Listing,
    },
    /// Stop a replay of many; what it has queued again stays queued
    CancelReplay {
        /// The id of the replay, as deliveries replays shows it
        id: Uuid,
    },
}

/// `casewire deliveries replay`
#[derive(Args, Debug)]
pub struct Replay {
    /// The ids of the deliveries
    #[arg(value_name = "ID", required_unless_present = "status", conflicts_with_all = ["status", "since", "until", "instance", "rate", "detach"])]
    pub ids: Vec<Uuid>,
    /// All in this state
    #[arg(long, value_enum)]
    pub status: Option<DeliveryStatus>,
    /// Only those made since: 2026-08-01T12:00:00Z, "2026-08-01 12:00" or 2026-08-01 (UTC)
    #[arg(long, value_name = "TIME", requires = "status", value_parser = parse_time)]
    pub since: Option<DateTime<Utc>>,
    /// Only those made before then
    #[arg(long, value_name = "TIME", requires = "status", value_parser = parse_time)]
    pub until: Option<DateTime<Utc>>,
    /// Only those of this instance: its id or its URL
    #[arg(long, requires = "status")]
    pub instance: Option<String>,
    /// How fast, when there are more than 100, such as "50 per 1s"
    #[arg(long, requires = "status", default_value_t = ReplayRate::default())]
    pub rate: ReplayRate,
    /// Do not wait until all are tried again
    #[arg(long, requires = "status")]
    pub detach: bool,
    /// Only tell what would be tried again
    #[arg(long)]
    pub dry_run: bool,
}

/// `casewire database …`
#[derive(Subcommand, Debug)]
pub enum Database {
    /// Copy everything of an embedded database into an empty PostgreSQL database
    ///
    /// Stop the hub first. Safe to interrupt and to run again: it goes on where it was. In the end both
    /// sides are compared row by row; until then no hub starts on the target.
    Copy(CopyDatabase),
}

/// `casewire database copy`
#[derive(Args, Debug)]
pub struct CopyDatabase {
    /// The target: postgres://user@host/name
    #[arg(long, value_name = "URL", env = "CASEWIRE_COPY_TO", hide_env_values = true)]
    pub to: SecretArgument,
    /// How to print what stands on both sides.
    #[command(flatten)]
    pub listing: Listing,
}

/// An argument that may hold a password: shown to nobody.
#[derive(Clone)]
pub struct SecretArgument(Secret);

impl SecretArgument {
    /// Its text.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

impl From<String> for SecretArgument {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl fmt::Debug for SecretArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArgument")
    }
}

/// `casewire sandbox`
#[derive(Args, Debug)]
pub struct Sandbox {
    /// Where the simulated X listens; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8101", value_parser = parse_address)]
    pub x_listen: SocketAddr,
    /// Where the simulated ServiceNow listens; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8102", value_parser = parse_address)]
    pub servicenow_listen: SocketAddr,
}

/// What every listing command takes.
#[derive(Args, Debug, Clone, Copy)]
pub struct Listing {
    /// How to print it
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// Where a delivery stands.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Not tried yet
    Queued,
    /// On its way
    Sending,
    /// Failed and to be tried again
    Retrying,
    /// Waiting for something that must be mended first
    Blocked,
    /// Arrived
    Delivered,
    /// Given up
    Dead,
}

impl DeliveryStatus {
    /// The name that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Reads the command line of this process; wrong usage ends it with 2, `--help` with 0.
pub fn parse() -> Cli {
    Cli::parse()
}

/// Reads a time: RFC 3339, or a UTC date with or without hours and minutes.
fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d");
    date.map(|date| date.and_time(NaiveTime::MIN).and_utc())
        .map_err(|_| "not a time; write it like 2026-08-01T12:00:00Z or 2026-08-01".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const ID: &str = "018f6c7e-0000-7000-8000-000000000000";

    fn taken(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' ').map(|word| match word {
            "ID" => ID,
            "5per1s" => "5 per 1s",
            word => word,
        }))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_line_is_taken() {
        for line in [
            "casewire demo",
            "casewire demo --once",
            "casewire migrate",
            "casewire createsuperuser",
            "casewire createsuperuser --email a@b.example --password-stdin",
            "casewire serve",
            "casewire serve --listen 127.0.0.1:0 --migrate",
            "casewire serve --listen localhost:0",
            "casewire token create --user a@b.example",
            "casewire token create --user a@b.example --no-expiry --name ci",
            "casewire token list --user a@b.example --output json",
            "casewire token revoke ID",
            "casewire webhooks register --url https://hub.example.com/api/activity/ --replace",
            "casewire webhooks list --output table",
            "casewire webhooks validate 1146654567674912769",
            "casewire webhooks delete 1146654567674912769",
            "casewire subscriptions list",
            "casewire subscriptions add @support",
            "casewire subscriptions remove 2244994945",
            "casewire deliveries list --status dead --instance ID",
            "casewire deliveries show ID",
            "casewire deliveries replay ID ID",
            "casewire deliveries replay --status dead --since 2026-08-01 --dry-run",
            "casewire database copy --to postgres://casewire@db.example/casewire",
            "casewire database copy --to anything --output json",
            "casewire deliveries replay --status dead --until 2026-08-02 --instance ID --rate 5per1s --detach",
            "casewire deliveries replays --output json",
            "casewire deliveries cancel-replay ID",
            "casewire doctor",
            "casewire sandbox --x-listen 127.0.0.1:0 --servicenow-listen 127.0.0.1:0",
            "casewire openapi",
            "casewire completions bash",
        ] {
            assert!(taken(line).is_ok(), "{line}: {}", taken(line).unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for line in [
            "casewire",
            "casewire fly",
            "casewire serve --listen 8000",
            "casewire token create",
            "casewire token revoke 12",
            "casewire webhooks register --url nowhere",
            "casewire deliveries list --status lost",
            "casewire deliveries list --output xml",
            "casewire deliveries replay",
            "casewire deliveries replay ID --status dead",
            "casewire deliveries replay --since 2026-08-01",
            "casewire database",
            "casewire database copy",
            "casewire deliveries replay ID --detach",
            "casewire deliveries replay --status dead --rate fast",
            "casewire deliveries cancel-replay",
        ] {
            assert_eq!(taken(line).unwrap_err().exit_code(), 2, "{line}");
        }
        assert_eq!(taken("casewire --version").unwrap_err().exit_code(), 0);
        assert_eq!(taken("casewire serve --help").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn the_settings_file_stands_before_or_after_the_command() {
        for line in [
            "casewire --config a.yaml token list --user a@b.example",
            "casewire token --config a.yaml list --user a@b.example",
            "casewire token list --user a@b.example --config a.yaml",
        ] {
            let config = taken(line).unwrap().config;
            assert_eq!(config.as_deref(), Some("a.yaml".as_ref()), "{line}");
        }
    }

    #[test]
    fn help_is_plain_text() {
        fn walk(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(!help.contains('`'), "{help}");
            for command in command.get_subcommands_mut() {
                walk(command);
            }
        }
        walk(&mut Cli::command());
    }

    #[test]
    fn a_password_in_an_argument_is_not_shown() {
        let taken = taken("casewire database copy --to postgres://u:hunter2@h/n").unwrap();
        assert!(!format!("{taken:?}").contains("hunter2"));
    }

    #[test]
    fn times_are_read_in_utc() {
        let noon = "2026-08-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap();
        for text in [
            "2026-08-01T12:00:00Z",
            "2026-08-01T14:00:00+02:00",
            "2026-08-01T12:00:00",
            "2026-08-01 12:00",
            "2026-08-01T12:00",
        ] {
            assert_eq!(parse_time(text), Ok(noon), "{text}");
        }
        assert_eq!(parse_time("2026-08-01").unwrap().to_rfc3339(), "2026-08-01T00:00:00+00:00");
        assert!(parse_time("2026-13-01").is_err());
    }
}
