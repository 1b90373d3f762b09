//! `casewire createsuperuser`

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use anyhow::{Context as _, bail};
use casewire_actors::accounts::{AccountsError, CreateUser};
use casewire_actors::domain::password::{faults, is_common};
use casewire_actors::domain::secret::Secret;
use casewire_actors::domain::user::NewUser;

use super::dispatch::Misuse;
use super::{CreateSuperuser, open_office};
use crate::http::validate::is_email;
use crate::settings::Settings;

/// Where a password comes from when nobody can be asked.
const PASSWORD_VARIABLE: &str = "CASEWIRE_SUPERUSER_PASSWORD";

/// Creates a user who may manage the others.
pub(super) async fn run(settings: &Settings, asked: &CreateSuperuser) -> anyhow::Result<()> {
    let email = match &asked.email {
        Some(email) => email.trim().to_owned(),
        None => ask_email()?,
    };
    if !is_email(&email) || email.chars().count() > 254 {
        bail!(Misuse(format!("{email:?} is not an e-mail address; give one with --email")));
    }
    let password = read_password(asked.password_stdin)?;
    refuse_weak(settings, password.expose(), &email)?;

    let office = open_office(settings).await?;
    let new = NewUser {
        username: email.clone(),
        first_name: String::new(),
        last_name: String::new(),
        company_name: String::new(),
        is_staff: true,
        password,
    };
    let created = office.accounts().ask(CreateUser(new)).await?;
    office.close().await;
    match created {
        Ok(user) => println!("created the admin {}", user.username),
        Err(AccountsError::Duplicate) => bail!("a user named {email} exists already; nothing was changed"),
        Err(error) => return Err(error).context("the user was not created"),
    }
    Ok(())
}

fn ask_email() -> anyhow::Result<String> {
    if !stdin().is_terminal() {
        bail!(Misuse("no e-mail address; give one with --email".to_owned()));
    }
    eprint!("E-mail address: ");
    stderr().flush()?;
    first_line_of_stdin()
}

fn read_password(is_from_stdin: bool) -> anyhow::Result<Secret> {
    if is_from_stdin {
        return Ok(Secret::new(first_line_of_stdin()?));
    }
    if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
        return Ok(Secret::new(password));
    }
    if !stdin().is_terminal() {
        return Ok(Secret::new(first_line_of_stdin()?));
    }
    let password = rpassword::prompt_password("Password: ").context("the password cannot be read")?;
    let repeated = rpassword::prompt_password("Password (again): ").context("the password cannot be read")?;
    if password != repeated {
        bail!("the two passwords differ; try again");
    }
    Ok(Secret::new(password))
}

fn first_line_of_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line).context("stdin cannot be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn refuse_weak(settings: &Settings, password: &str, email: &str) -> anyhow::Result<()> {
    if password.is_empty() {
        bail!("no password; type one, set {PASSWORD_VARIABLE} or pipe one to --password-stdin");
    }
    let rules = settings.auth.password_check.into();
    let faults: Vec<String> = faults(password, email, rules).iter().map(ToString::to_string).collect();
    if !faults.is_empty() {
        bail!("the password is refused: {}", faults.join(" "));
    }
    if is_common(password) {
        eprintln!("warning: this password is a common one, which attackers try first; choose another soon");
    }
    Ok(())
}
