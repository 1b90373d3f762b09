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
const OWNER_PASSWORD: &str = "another horse, another staple";
/// Connections that set a world up.
const N_SETTERS: usize = 8;
/// X sends with few connections; so do the loops that do not vary their number.
pub(crate) const N_SENDERS: usize = 32;
/// How long the last messages of a round may take.
const DRAIN_LIMIT: Duration = Duration::from_mins(1);

/// Who writes to whom: numbers of a company and of one of its customers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) company: usize,
    pub(crate) customer: usize,
}

/// Whose the companies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// All are the superuser's.
    Superuser,
    /// Each is that of a user of its own.
    Each,
}

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) n_companies: usize,
    /// Simulated instances; fewer than companies stand each for many, every one under an address of its own.
    pub(crate) n_simulated: usize,
    pub(crate) owners: Owners,
}

impl Plan {
    /// So many companies of one user, each with a simulated instance.
    pub(crate) fn of(n_companies: usize) -> Self {
        Self { n_companies, n_simulated: n_companies, owners: Owners::Superuser }
    }

    /// The address of the nth company's instance. Every address of the loopback network is this machine's, so
    /// one listener can be many hosts.
    fn instance_url(&self, nth: usize, simulated: &ServiceNowSandbox) -> String {
        if self.n_simulated == self.n_companies {
            return simulated.url().to_owned();
        }
        let port = simulated.url().rsplit_once(':').map_or("", |(_, port)| port);
        format!("http://127.100.{}.{}:{port}", nth / 250, nth % 250 + 1)
    }

    fn listen(&self) -> SocketAddr {
        let address = if self.n_simulated == self.n_companies { [127, 0, 0, 1] } else { [0, 0, 0, 0] };
        SocketAddr::from((address, 0))
    }
}

/// A running hub and what it is connected to.
pub(crate) struct World {
    /// The program under measurement.
    pub(crate) hub: Hub,
    /// The simulated instances: the nth company's is the nth, again from the first when there are fewer.
    pub(crate) instances: Vec<ServiceNowSandbox>,
    /// What has become a comment.
    pub(crate) arrivals: Arc<Arrivals>,
    companies: Vec<XUser>,
    next_number: Cell<u64>,
    // After the hub, so that it ends first.
    x: XSandbox,
    /// The hub's settings and database.
    pub(crate) home: Home,
}

impl World {
    /// Starts everything with so many companies.
    pub(crate) async fn start(bench: &Bench, n_companies: usize, options: &HubOptions) -> Result<Self> {
        Self::start_as(bench, Plan::of(n_companies), options).await
    }

    /// Starts everything as planned.
    pub(crate) async fn start_as(bench: &Bench, plan: Plan, options: &HubOptions) -> Result<Self> {
        let limits = XLimits { webhooks_per_15_min: u32::MAX, ..XLimits::default() };
        let x = XSandbox::start(XOptions { log: false, limits, ..XOptions::default() }).await?;
        let quiet = SnOptions { log: false, listen: plan.listen(), ..SnOptions::default() };
        let instances = ServiceNowSandbox::start_many(quiet, plan.n_simulated).await?;
        let arrivals = Arc::new(Arrivals::new(CAPACITY));
        for instance in &instances {
            let arrivals = arrivals.clone();
            instance.on_comment(move |comment| arrivals.note(comment));
        }
        let home = Home::make(&bench.binary, &bench.folder, options, &app(&x))?;
        let hub = home.serve().await?;
        let companies: Vec<XUser> = (0..plan.n_companies).map(company).collect();
        let world = Self { hub, instances, arrivals, companies, next_number: Cell::new(0), x, home };
        world.link(plan).await?;
        Ok(world)
    }

    async fn link(&self, plan: Plan) -> Result<()> {
        let token = self.hub.token().await?;
        let instances = self.instances.iter().cycle();
        let links: Vec<(String, XAccount)> = (0..)
            .zip(self.companies.iter().zip(instances))
            .map(|(nth, (user, instance))| (plan.instance_url(nth, instance), account(user)))
            .collect();
        for (_, account) in &links {
            self.x.add_account(account.clone());
        }
        if plan.owners == Owners::Superuser {
            return link_all(self.hub.address, &token, &links).await;
        }
        for (nth, link) in links.iter().enumerate() {
            let token = new_owner(self.hub.address, &token, nth).await?;
            link_all(self.hub.address, &token, std::slice::from_ref(link)).await?;
        }
        Ok(())
    }

    /// Ends the hub in order, does something to its database, and starts it again.
    pub(crate) async fn restart_after(&mut self, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.hub.stop().await?;
        work.await?;
        self.hub = self.home.serve().await?;
        Ok(())
    }

    /// A new token of the user whose company it is, where each has one of its own.
    pub(crate) async fn owner_token(&self, company: usize) -> Result<String> {
        owner_token(self.hub.address, company).await
    }

    /// A condition for the company's rows in those tables that name an account.
    pub(crate) fn rows_of(&self, company: usize) -> Result<String> {
        let id = &self.companies.get(company).context("there is no such company")?.id;
        Ok(format!("account_id = (SELECT id FROM accounts WHERE twitter_user_id = '{id}')"))
    }

    /// Sends a batch by the clock and waits for its arrival; returns the delays.
    pub(crate) async fn delays_of(&self, batch: &Batch, rate: u32, span: Duration) -> Result<Latencies> {
        self.delays_of_some(batch, rate, span, |_| true).await
    }

    /// The same, of those messages only that are expected to arrive: told by their places in the batch.
    pub(crate) async fn delays_of_some(
        &self,
        batch: &Batch,
        rate: u32,
        span: Duration,
        expects: impl Fn(usize) -> bool,
    ) -> Result<Latencies> {
        let sent = self.deliver(batch, rate, span, expects).await?;
        Ok(self.delays(sent.into_iter().map(|(_, sent)| sent)))
    }

    /// Sends a batch by the clock and waits until those have arrived that are expected; returns them with
    /// their places in the batch.
    pub(crate) async fn deliver(
        &self,
        batch: &Batch,
        rate: u32,
        span: Duration,
        expects: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Sent)>> {
        let n_before = self.arrivals.n_arrived();
        let sent = self.send(batch, rate, span).await?;
        let first = sent.iter().map(|sent| sent.number).min().unwrap_or_default();
        let place = |sent: Sent| Some((usize::try_from(sent.number - first).ok()?, sent));
        let sent = sent.into_iter().filter_map(place).filter(|(at, _)| expects(*at));
        let sent: Vec<(usize, Sent)> = sent.collect();
        self.settle(n_before + sent.len() as u64).await?;
        Ok(sent)
    }

    /// Sends a batch by the clock; does not wait for its arrival.
    pub(crate) async fn send(&self, batch: &Batch, rate: u32, span: Duration) -> Result<Vec<Sent>> {
        // A connection over which nothing comes for seconds is closed by the hub.
        let n_senders = usize::try_from(rate / 2)?.clamp(1, N_SENDERS);
        let tally = load::open(self.hub.address, n_senders, rate, span, batch).await?.checked("messages")?;
        Ok(tally.sent)
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

/// Makes a user and returns a token.
async fn new_owner(address: SocketAddr, admin: &str, nth: usize) -> Result<String> {
    let user = json!({
        "username": owner_email(nth), "first_name": "Olive", "last_name": "Owner",
        "company_name": format!("Company {nth}"), "password": OWNER_PASSWORD,
    });
    Session::with_token(address, admin).await?.post("/auth/users/", &user, 201).await?;
    owner_token(address, nth).await
}

fn owner_email(nth: usize) -> String {
    format!("owner{nth}@casewire.example")
}

async fn owner_token(address: SocketAddr, nth: usize) -> Result<String> {
    let credentials = json!({"username": owner_email(nth), "password": OWNER_PASSWORD});
    let login = Session::open(address).await?.post("/auth/login/", &credentials, 200).await?;
    login["token"].as_str().map(str::to_owned).context("the login gave no token")
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
