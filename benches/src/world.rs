//! A hub with both sides simulated: companies with an instance and an account each, and customers who write.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use casewire_sandbox::{
    ServiceNowSandbox, SnOptions, XAccount, XLimits, XOptions, XSandbox, XUser, bodies, sign,
};
use futures_util::future::try_join_all;
use serde_json::json;

use crate::arrivals::{self, Arrivals};
use crate::bench::Bench;
use crate::hub::{Home, Hub, HubOptions, XApp};
use crate::load::{self, Batch, Sent};
use crate::stats::Latencies;
use crate::wire::{Session, request};

/// Messages that one world can carry.
const CAPACITY: usize = 2_000_000;
/// The first direct message's id; each later one is greater, as X's are.
const FIRST_ID: u64 = 1_900_000_000_000_000_000;
/// Connections that set a world up.
const N_SETTERS: usize = 8;
/// X sends with few connections; so do the loops that do not vary their number.
pub(crate) const N_SENDERS: usize = 32;
/// How long the last messages of a round may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(40);

/// Who writes to whom: numbers of a company and of one of its customers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) company: usize,
    pub(crate) customer: usize,
}

/// A running hub and what it is connected to.
pub(crate) struct World {
    /// The program under measurement.
    pub(crate) hub: Hub,
    /// One instance a company.
    pub(crate) instances: Vec<ServiceNowSandbox>,
    /// What has become a comment.
    pub(crate) arrivals: Arc<Arrivals>,
    companies: Vec<XUser>,
    next_number: Cell<u64>,
    // After the hub, so that it ends first.
    x: XSandbox,
    _home: Home,
}

impl World {
    /// Starts everything with so many companies.
    pub(crate) async fn start(bench: &Bench, n_companies: usize, options: &HubOptions) -> Result<Self> {
        let limits = XLimits { webhooks_per_15_min: u32::MAX, ..XLimits::default() };
        let x = XSandbox::start(XOptions { log: false, limits, ..XOptions::default() }).await?;
        let quiet = SnOptions { log: false, ..SnOptions::default() };
        let instances = ServiceNowSandbox::start_many(quiet, n_companies).await?;
        let arrivals = Arc::new(Arrivals::new(CAPACITY));
        for instance in &instances {
            let arrivals = arrivals.clone();
            instance.on_comment(move |comment| arrivals.note(comment));
        }
        let home = Home::make(&bench.binary, &bench.folder, options, &app(&x))?;
        let hub = home.serve().await?;
        let companies: Vec<XUser> = (0..n_companies).map(company).collect();
        let world = Self { hub, instances, arrivals, companies, next_number: Cell::new(0), x, _home: home };
        world.link().await?;
        Ok(world)
    }

    async fn link(&self) -> Result<()> {
        let token = self.hub.token().await?;
        let links: Vec<(String, XAccount)> = self
            .companies
            .iter()
            .zip(&self.instances)
            .map(|(user, instance)| (instance.url().to_owned(), account(user)))
            .collect();
        for (_, account) in &links {
            self.x.add_account(account.clone());
        }
        link_all(self.hub.address, &token, &links).await
    }

    /// Writes so many signed messages; `pair` tells from their places in the batch who writes to whom.
    pub(crate) fn write(&self, n_messages: usize, pair: impl Fn(usize) -> Pair) -> Result<Batch> {
        let first = self.next_number.get();
        let mut batch = Batch::new(first, b"\"accepted\":1");
        let secret = &self.x.options().consumer_secret;
        let now_ms = now_ms();
        for at in 0..n_messages {
            let number = first + at as u64;
            let Pair { company, customer } = pair(at);
            let company = self.companies.get(company).context("there is no such company")?;
            let customer = self::customer(customer);
            let id = (FIRST_ID + number).to_string();
            let body = bodies::dm_body(company, &customer, &id, &arrivals::text(number), now_ms);
            let signature = sign(secret, body.as_bytes());
            let headers = format!("x-twitter-webhooks-signature: {signature}\r\n");
            batch.push(&request("POST", "/api/activity/", &headers, body.as_bytes()));
        }
        self.next_number.set(first + n_messages as u64);
        if usize::try_from(self.next_number.get()).is_ok_and(|n| n >= CAPACITY) {
            bail!("more than {CAPACITY} messages were written in one scenario");
        }
        Ok(batch)
    }

    /// Lets each of so many customers write once to each company, and waits until all have their cases.
    pub(crate) async fn meet(&self, n_companies: usize, n_customers: usize) -> Result<()> {
        let n_messages = n_companies * n_customers;
        let pair = |at| Pair { company: at % n_companies, customer: at / n_companies };
        let batch = self.write(n_messages, pair)?;
        let n_before = self.arrivals.n_arrived();
        load::closed(self.hub.address, N_SENDERS, DRAIN_LIMIT, &batch)
            .await?
            .checked("the first messages")?;
        self.settle(n_before + n_messages as u64).await
    }

    /// Waits until so many have arrived in all since the start; an error if one came twice.
    pub(crate) async fn settle(&self, n_expected: u64) -> Result<()> {
        self.arrivals.wait_for(n_expected, DRAIN_LIMIT).await?;
        match self.arrivals.n_repeated() {
            0 => Ok(()),
            n => bail!("{n} messages became a comment twice"),
        }
    }

    /// From due to comment, of those messages that arrived.
    pub(crate) fn delays(&self, sent: impl Iterator<Item = Sent>) -> Latencies {
        let delay = |sent: Sent| Some(self.arrivals.at(sent.number)?.saturating_duration_since(sent.due));
        Latencies::of(sent.filter_map(delay).collect())
    }
}

/// The X app of a simulated X.
fn app(x: &XSandbox) -> XApp {
    let options = x.options();
    XApp {
        url: x.url().to_owned(),
        consumer_key: options.consumer_key.clone(),
        consumer_secret: options.consumer_secret.clone(),
        bearer_token: options.bearer_token.clone(),
    }
}

/// The nth company on X.
pub(crate) fn company(nth: usize) -> XUser {
    XUser::new(&format!("{}", 700_000_000_000 + nth), &format!("company{nth}"), &format!("Company {nth}"))
}

fn customer(nth: usize) -> XUser {
    XUser::new(&format!("{}", 900_000_000_000 + nth), &format!("customer{nth}"), &format!("Customer {nth}"))
}

/// A company's account with its tokens.
pub(crate) fn account(user: &XUser) -> XAccount {
    XAccount {
        id: user.id.clone(),
        screen_name: user.screen_name.clone(),
        name: user.name.clone(),
        access_token: format!("{}-token", user.id),
        access_token_secret: "token-secret".to_owned(),
    }
}

/// Sets up an instance and an account for each link, over the public API.
pub(crate) async fn link_all(address: SocketAddr, token: &str, links: &[(String, XAccount)]) -> Result<()> {
    let share = links.len().div_ceil(N_SETTERS).max(1);
    let setters = links.chunks(share).map(|links| async move {
        let mut session = Session::with_token(address, token).await?;
        for (url, account) in links {
            link(&mut session, url, account).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(setters).await?;
    Ok(())
}

async fn link(session: &mut Session, url: &str, account: &XAccount) -> Result<()> {
    let instance = json!({
        "instance_url": url, "auth": "basic", "admin_user": "casewire", "admin_password": "sandbox",
    });
    let instance = session.post("/api/servicenow-details/", &instance, 201).await?;
    let account = json!({
        "twitter_user_id": account.id, "screen_name": account.screen_name,
        "access_token": account.access_token, "access_token_secret": account.access_token_secret,
        "instance": instance["id"],
    });
    session.post("/api/twitter-details/", &account, 201).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the customers are outside the hub and have their own time")]
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or_default()
}
