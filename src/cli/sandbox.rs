//! `casewire sandbox`: the simulated X and the simulated ServiceNow alone, to try a hub against.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use casewire_sandbox::{ServiceNowSandbox, SnOptions, XAccount, XOptions, XSandbox};

/// Runs both until Ctrl-C.
pub async fn run(x_listen: SocketAddr, servicenow_listen: SocketAddr) -> Result<()> {
    let x_options = XOptions { listen: x_listen, ..XOptions::default() };
    let x = XSandbox::start(x_options).await.context("the simulated X does not start")?;
    let account = XAccount {
        id: "990001234567890177".to_owned(),
        screen_name: "AcmeCare".to_owned(),
        name: "Acme Care".to_owned(),
        access_token: "sandbox-access-token".to_owned(),
        access_token_secret: "sandbox-access-token-secret".to_owned(),
    };
    x.add_account(account.clone());
    let options = SnOptions { listen: servicenow_listen, ..SnOptions::default() };
    let instance =
        ServiceNowSandbox::start(options).await.context("the simulated ServiceNow does not start")?;

    println!("This is a sandbox: everything is simulated and kept in memory. Stop it with Ctrl-C.");
    println!("  X           {}", x.url());
    println!("    twitter.consumer_key     {}", x.options().consumer_key);
    println!("    twitter.consumer_secret  {}", x.options().consumer_secret);
    println!("    twitter.bearer_token     {}", x.options().bearer_token);
    println!("    account @{}        {}", account.screen_name, account.id);
    println!("      access_token           {}", account.access_token);
    println!("      access_token_secret    {}", account.access_token_secret);
    println!("  ServiceNow  {}", instance.url());
    println!("    admin_user casewire, admin_password sandbox; api_key sandbox-api-key");
    tokio::signal::ctrl_c().await.context("the signal cannot be waited for")
}
