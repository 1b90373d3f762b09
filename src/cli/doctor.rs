//! `casewire doctor`: checks everything that is usually wrong, a line a finding, with the remedy.

use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use casewire_actors::doctor::{Finding, Level, examine};
use casewire_actors::hub::Migrate;
use casewire_actors::kernel::Sources;

use super::output::{one_line, print_line};
use crate::hub_settings::hub_settings;
use crate::settings::Settings;
use crate::telemetry::may_colour;

/// Prints what was found; fails if anything is red.
pub(super) async fn run(settings: &Settings) -> Result<()> {
    let findings = match hub_settings(settings, Migrate::Embedded) {
        Ok(hub) => examine(hub, Sources::system()).await,
        Err(error) => vec![Finding::red("settings", error.to_string())],
    };
    let has_colour = may_colour(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    for finding in &findings {
        print_line(&line(finding, has_colour))?;
    }
    let n_red = findings.iter().filter(|finding| finding.level == Level::Red).count();
    if n_red > 0 {
        bail!("{n_red} of {} findings are red; mend them and run the doctor again", findings.len());
    }
    Ok(())
}

fn line(finding: &Finding, has_colour: bool) -> String {
    let (word, colour) = match finding.level {
        Level::Green => ("ok", 32),
        Level::Yellow => ("warning", 33),
        Level::Red => ("failed", 31),
    };
    let text = one_line(&finding.text);
    if has_colour {
        format!("\u{1b}[{colour}m{word:<7}\u{1b}[0m  {:<13}  {text}", finding.area)
    } else {
        format!("{word:<7}  {:<13}  {text}", finding.area)
    }
}
