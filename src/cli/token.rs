//! `casewire token …`

use anyhow::{Context as _, bail};
use casewire_actors::accounts::FindUser;
use casewire_actors::domain::user::User;
use casewire_actors::office::Office;
use casewire_actors::token_store::{Grant, IssueToken, Lifetime, ListTokens, RevokeToken};

use super::output::print_rows;
use super::{Listing, Token, open_office};
use crate::http::tokens::TokenBody;
use crate::settings::Settings;

/// Runs one of the commands on tokens.
pub(super) async fn run(settings: &Settings, command: &Token) -> anyhow::Result<()> {
    let office = open_office(settings).await?;
    let done = match command {
        Token::Create { user, no_expiry, name } => {
            let lifetime = if *no_expiry { Lifetime::Endless } else { Lifetime::Usual };
            create(&office, user, lifetime, name.clone().unwrap_or_default()).await
        }
        Token::List { user, listing } => list(&office, user, *listing).await,
        Token::Revoke { id } => revoke(&office, id.to_string()).await,
    };
    office.close().await;
    done
}

async fn find(office: &Office, username: &str) -> anyhow::Result<User> {
    let find = FindUser { username: username.trim().to_owned() };
    let user = office.accounts().ask(find).await?.context("the user cannot be looked up")?;
    user.with_context(|| format!("there is no user {username}"))
}

async fn create(office: &Office, username: &str, lifetime: Lifetime, name: String) -> anyhow::Result<()> {
    let user = find(office, username).await?;
    let issue = IssueToken { user_id: user.id, name, grant: Grant::Operator(lifetime) };
    let issued = office.tokens().mailbox().ask(issue).await?.context("no token was made")?;
    println!("{}", issued.token.expose());
    Ok(())
}

async fn list(office: &Office, username: &str, listing: Listing) -> anyhow::Result<()> {
    let user = find(office, username).await?;
    let list = ListTokens { user_id: user.id };
    let tokens = office.tokens().mailbox().ask(list).await?.context("the tokens cannot be listed")?;
    let rows: Vec<TokenBody> = tokens.into_iter().map(TokenBody::from).collect();
    Ok(print_rows(listing.output, &rows)?)
}

async fn revoke(office: &Office, token_id: String) -> anyhow::Result<()> {
    let revoke = RevokeToken { token_id: token_id.clone(), user_id: None };
    let was_live = office.tokens().mailbox().ask(revoke).await?.context("the token was not ended")?;
    if !was_live {
        bail!("there is no token {token_id}; casewire token list --user E shows them");
    }
    println!("ended the token {token_id}");
    Ok(())
}
