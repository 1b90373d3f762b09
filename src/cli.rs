//! The command line: what can be asked for, and how it is written.
//!
//! Wrong usage ends the process with 2 and a hint, as clap does it. Documentation comments here are
//! help texts, so they carry no markup.
#![allow(clippy::doc_markdown, reason = "documentation comments are help texts, read on a terminal")]

mod arguments;
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

use std::net::SocketAddr;
use std::path::PathBuf;

use casewire_actors::domain::record::DeliveryStatus;
use casewire_actors::domain::replay::ReplayRate;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use url::Url;
use uuid::Uuid;

pub use self::arguments::SecretArgument;
use self::arguments::{delivery_status, parse_time};
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
    /// Go on with another secrets.key, because the earlier one is lost
    ///
    /// What the lost one sealed cannot be opened any more: credentials of instances and accounts must be
    /// entered again. Needed once only.
    #[arg(long)]
    pub key_lost: bool,
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
        #[arg(long, value_parser = delivery_status())]
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
    #[arg(long, value_parser = delivery_status())]
    pub status: Option<DeliveryStatus>,
    /// Only those made since: 2026-08-01T12:00:00Z, "2026-08-01 12:00" or 2026-08-01 (UTC)
    #[arg(id = "since", long = "since", value_name = "TIME", requires = "status", value_parser = parse_time)]
    pub since_ms: Option<i64>,
    /// Only those made before then
    #[arg(id = "until", long = "until", value_name = "TIME", requires = "status", value_parser = parse_time)]
    pub until_ms: Option<i64>,
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
    /// sides are compared row by row; until then no hub starts on the target, and from then on none on the
    /// source.
    Copy(CopyDatabase),
    /// Let a hub serve an embedded database again that was copied to a server
    ///
    /// Only for whoever goes back to it: where both are served, both deliver what waited in them.
    Reopen,
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

/// Reads the command line of this process; wrong usage ends it with 2, `--help` with 0.
pub fn parse() -> Cli {
    Cli::parse()
}

#[cfg(test)]
mod tests;
