//! A request that checks a token and answers from what the hub knows, beside a route that does nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::bench::Bench;
use crate::hub::{Home, Hub, HubOptions, XApp};
use crate::load::{self, Same};
use crate::reference::Nothing;
use crate::report::{Aim, Figure};
use crate::wire::{Connection, request, token_header};

pub(crate) const NAME: &str = "check";

const SPAN: Duration = Duration::from_millis(1500);

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let home = Home::make(&bench.binary, &bench.folder, &HubOptions::default(), &XApp::default())?;
    let hub = home.serve().await?;
    let (checked, n_bytes) = checked_request(&hub).await?;
    let nothing = Nothing::start(n_bytes).await?;
    let span = bench.span(SPAN);
    let mut figures = Vec::new();
    for n_connections in [8, 64] {
        let (mut rates, mut nothings, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        load::closed(hub.address, n_connections, span / 4, &checked).await?;
        for _ in bench.rounds() {
            let idle = load::closed(nothing.address, n_connections, span, &checked).await?;
            nothings.push(idle.checked("nothing")?.rate());
            let tally = load::closed(hub.address, n_connections, span, &checked).await?.checked(NAME)?;
            rates.push(tally.rate());
            p99.push(tally.latencies().p99_ms());
        }
        let figure =
            Figure::new(NAME, format!("GET /auth/users/{{id}}/, {n_connections} connections"), "/s", &rates)
                .beside("/s, route that does nothing", &nothings);
        figures.push(if n_connections == 64 { figure.aims(Aim::RatioAtLeast(0.6)) } else { figure });
        figures.push(Figure::new(NAME, format!("the same, p99, {n_connections} connections"), "ms", &p99));
    }
    Ok(figures)
}

/// The superuser's own record, asked for with its token; and how long the answer is.
pub(crate) async fn checked_request(hub: &Hub) -> Result<(Same, usize)> {
    let login = hub.login().await?;
    let token = login["token"].as_str().context("the login gave no token")?;
    let id = login["user"]["id"].as_str().context("the login named no user")?;
    let request = request("GET", &format!("/auth/users/{id}/"), &token_header(token), b"");
    let mut connection = Connection::open(hub.address).await?;
    let reply = connection.call(&request).await?;
    if reply.status != 200 {
        bail!("the user's record gave {}: {}", reply.status, String::from_utf8_lossy(reply.body));
    }
    let n_bytes = reply.body.len();
    Ok((Same(request), n_bytes))
}
