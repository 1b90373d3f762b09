//! Logins, each of which hashes a password, and whether a flood of them delays token checks.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::check::checked_request;
use crate::bench::Bench;
use crate::hub::{EMAIL, Home, HubOptions, PASSWORD, XApp};
use crate::load::{self, Same};
use crate::reference;
use crate::report::Figure;
use crate::wire::request;

pub(crate) const NAME: &str = "login";

const SPAN: Duration = Duration::from_secs(2);
/// Connections of the flood, each with a login under way all the time.
const N_FLOODING: usize = 16;
const CHECKS_PER_SECOND: u32 = 200;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let home = Home::make(&bench.binary, &bench.folder, &HubOptions::default(), &XApp::default())?;
    let hub = home.serve().await?;
    let (checked, _) = checked_request(&hub).await?;
    let credentials = json!({"username": EMAIL, "password": PASSWORD}).to_string();
    let login = Same(request("POST", "/auth/login/", "", credentials.as_bytes()));
    let span = bench.span(SPAN);
    let check = || load::open(hub.address, 8, CHECKS_PER_SECOND, span, &checked);
    let (mut logins, mut hashes, mut login_p99) = (Vec::new(), Vec::new(), Vec::new());
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in bench.rounds() {
        hashes.push(reference::hashes_per_second(span / 4)?);
        quiet.push(check().await?.checked("token checks")?.latencies().p99_ms());
        let flood = load::closed(hub.address, N_FLOODING, span, &login);
        let (flood, checks) = futures_util::future::try_join(flood, check()).await?;
        let flood = flood.checked(NAME)?;
        logins.push(flood.rate());
        login_p99.push(flood.latencies().p99_ms());
        flooded.push(checks.checked("token checks during logins")?.latencies().p99_ms());
    }
    Ok(vec![
        Figure::new(NAME, format!("{N_FLOODING} connections"), "logins/s", &logins)
            .beside("argon2id hashes/s on all cores", &hashes),
        Figure::new(NAME, "the same, p99", "ms", &login_p99),
        Figure::new(NAME, format!("token check during them, p99, {CHECKS_PER_SECOND}/s"), "ms", &flooded)
            .beside("ms without logins", &quiet),
    ])
}
