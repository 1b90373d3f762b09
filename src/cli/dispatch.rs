//! From a command line to what it does, and to the exit code: 0 done, 1 it failed, 2 wrong usage or settings.

use std::process::ExitCode;

use anyhow::Context as _;
use casewire_actors::copy::CopyError;
use casewire_actors::hub::{Migrate, StartError};
use casewire_actors::kernel::Sources;
use casewire_actors::office::Office;
use casewire_actors::webhooks::WebhooksError;
use clap::CommandFactory as _;

use super::{
    Cli, Command, createsuperuser, database, deliveries, demo, doctor, migrate, openapi, sandbox, serve,
    subscriptions, token, webhooks,
};
use crate::hub_settings::{Unusable, hub_settings};
use crate::settings::Settings;
use crate::telemetry;

const FAILED: u8 = 1;
const WRONG_SETTINGS: u8 = 2;

/// Reads the settings and runs the command, on an actix system of its own.
pub fn run(cli: Cli) -> ExitCode {
    let settings = match Settings::from_process(cli.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return complain(&error, WRONG_SETTINGS),
    };
    if let Err(error) = telemetry::init(&settings.log) {
        return complain(&error, WRONG_SETTINGS);
    }
    let settings = match &cli.command {
        Command::Serve(asked) => match asked.listen {
            Some(listen) => match settings.listening_on(listen) {
                Ok(settings) => settings,
                Err(error) => return complain(&error, WRONG_SETTINGS),
            },
            None => settings,
        },
        _ => settings,
    };
    match actix_web::rt::System::new().block_on(run_command(&settings, cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = if error.chain().any(is_misuse) { WRONG_SETTINGS } else { FAILED };
            complain(&format_args!("{error:#}"), code)
        }
    }
}

/// Whether settings or the command line are to be mended, rather than something out there.
fn is_misuse(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<Unusable>()
        || cause.is::<Misuse>()
        || cause.downcast_ref().is_some_and(StartError::is_misuse)
        || cause.downcast_ref().is_some_and(WebhooksError::is_misuse)
        || cause.downcast_ref().is_some_and(CopyError::is_misuse)
}

/// A command line that asks for what cannot be done, beyond what its grammar says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Misuse(pub(super) String);

fn complain(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("casewire: {error}");
    ExitCode::from(code)
}

async fn run_command(settings: &Settings, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "casewire", &mut std::io::stdout());
            Ok(())
        }
        Command::Demo(asked) => demo::run(asked.once).await,
        Command::Sandbox(asked) => sandbox::run(asked.x_listen, asked.servicenow_listen).await,
        Command::Migrate => migrate::run(settings).await,
        Command::Createsuperuser(asked) => createsuperuser::run(settings, &asked).await,
        Command::Serve(asked) => serve::run(settings, &asked).await,
        Command::Deliveries(command) => deliveries::run(settings, command).await,
        Command::Database(command) => database::run(settings, &command).await,
        Command::Token(command) => token::run(settings, &command).await,
        Command::Openapi => openapi::run(),
        // It asks about everything there is, which makes a large future.
        Command::Doctor => Box::pin(doctor::run(settings)).await,
        Command::Webhooks(command) => webhooks::run(settings, &command).await,
        Command::Subscriptions(command) => subscriptions::run(settings, &command).await,
    }
}

/// Opens what commands work with; an embedded database is brought up to date first.
pub(super) async fn open_office(settings: &Settings) -> anyhow::Result<Office> {
    Office::open(hub_settings(settings, Migrate::Embedded)?, Sources::system())
        .await
        .context("the database cannot be used")
}
