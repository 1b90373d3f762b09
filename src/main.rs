//! The program `casewire`: reads the command line and the settings, and runs the command.

use std::process::ExitCode;

use casewire::cli::{self, Command};
use casewire::settings::Settings;

fn main() -> ExitCode {
    let cli = cli::parse();
    let settings = match Settings::from_process(cli.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("casewire: {error}");
            return ExitCode::from(2);
        }
    };
    cli::run(cli.command, settings)
}
