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
        "casewire database reopen",
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
    let noon = 1_785_585_600_000;
    for text in [
        "2026-08-01T12:00:00Z",
        "2026-08-01T14:00:00+02:00",
        "2026-08-01T12:00:00",
        "2026-08-01 12:00",
        "2026-08-01 12:00:00",
        "2026-08-01T12:00",
    ] {
        assert_eq!(parse_time(text), Ok(noon), "{text}");
    }
    assert_eq!(parse_time("2026-08-01"), Ok(1_785_542_400_000));
    assert!(parse_time("2026-13-01").is_err());
}
