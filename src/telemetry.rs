//! The log: lines on stderr, as text for people or JSON for machines.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{Log, LogFormat};

/// How lines look, once terminal and environment are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Coloured,
    Plain,
    Json,
}

/// Starts logging for the rest of the process.
///
/// A second call changes nothing, so tests may all make it. The level was checked with the
/// settings; an error here is that of a level from elsewhere.
pub fn init(log: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(directives(&log.level))?;
    let no_color = std::env::var_os("NO_COLOR");
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // An error means that logging has been started before.
    let _started_before = match look(log.format, std::io::stderr().is_terminal(), no_color.as_deref()) {
        Look::Coloured => lines.with_ansi(true).finish().try_init(),
        Look::Plain => lines.finish().try_init(),
        Look::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
    Ok(())
}

/// A plain level leaves out what the server says of its threads: the hub tells itself where it listens.
fn directives(level: &str) -> String {
    if level.contains(['=', ',']) { level.to_owned() } else { format!("{level},actix_server=warn") }
}

/// <https://no-color.org>: any text in `NO_COLOR` switches colours off; an empty one does not.
pub(crate) fn may_colour(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

fn look(format: LogFormat, is_terminal: bool, no_color: Option<&OsStr>) -> Look {
    match format {
        LogFormat::Auto if !is_terminal => Look::Json,
        LogFormat::Json => Look::Json,
        LogFormat::Auto | LogFormat::Text if may_colour(is_terminal, no_color) => Look::Coloured,
        LogFormat::Auto | LogFormat::Text => Look::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_look_follows_format_terminal_and_environment() {
        let cases = [
            (LogFormat::Auto, true, None, Look::Coloured),
            (LogFormat::Auto, true, Some(""), Look::Coloured),
            (LogFormat::Auto, true, Some("1"), Look::Plain),
            (LogFormat::Auto, false, None, Look::Json),
            (LogFormat::Text, true, None, Look::Coloured),
            (LogFormat::Text, true, Some("0"), Look::Plain),
            (LogFormat::Text, false, None, Look::Plain),
            (LogFormat::Json, true, None, Look::Json),
        ];
        for (format, is_terminal, no_color, expected) in cases {
            let seen = look(format, is_terminal, no_color.map(OsStr::new));
            assert_eq!(seen, expected, "{format:?} {is_terminal} {no_color:?}");
        }
    }

    #[test]
    fn logging_may_be_started_twice_and_a_bad_level_is_told() {
        let log = Log { level: "warn,casewire=info".to_owned(), ..Log::default() };
        assert!(init(&log).is_ok());
        assert!(init(&log).is_ok());
        assert!(init(&Log { level: "a=b=c".to_owned(), ..log }).is_err());
    }
}
