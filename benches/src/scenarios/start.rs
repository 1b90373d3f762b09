//! How long the program takes to be ready: on a database that is there, and on its first start.

use anyhow::Result;

use crate::bench::Bench;
use crate::hub::{Home, HubOptions, XApp};
use crate::report::{Aim, Figure};

pub(crate) const NAME: &str = "start";

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut again = Vec::new();
    let home = Home::make(&bench.binary, &bench.folder, &HubOptions::default(), &XApp::default())?;
    let mut version = Vec::new();
    home.serve().await?;
    for _ in 0..bench.size(7, 3) {
        again.push(home.serve().await?.ready_after.as_secs_f64() * 1000.0);
        version.push(home.version_ms()?);
    }
    Ok(vec![
        Figure::new(NAME, "from start to ready", "ms", &again)
            .beside("ms for casewire --version", &version)
            .aims(Aim::AtMost(200.0)),
    ])
}
