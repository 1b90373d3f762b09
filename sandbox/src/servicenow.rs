//! The simulated ServiceNow.

mod auth;
mod cases;
mod customers;
mod faults;
mod inspect;
mod params;
mod query;
mod replies;
mod routes;
mod schema;
mod show;
mod store;
mod table_api;
mod tables;
mod views;
mod weather;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::calls::{CallLog, CallRecord};
use crate::faults::{FaultPlan, Scope};
use crate::server::{self, Running, StartError};
use crate::servicenow::auth::Tokens;
use crate::servicenow::store::Store;
use crate::servicenow::tables::Schema;
use crate::servicenow::weather::{Sleep, Weather};

pub use auth::{OAuthClient, SnUser};
pub use faults::SnFault;
pub use views::{CaseView, JournalView, RecordView};

/// How a simulated instance is set up.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, named where it is set")]
pub struct SnOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Logins with their roles.
    pub users: Vec<SnUser>,
    /// API keys and the user names whose rights they carry.
    pub api_keys: Vec<(String, String)>,
    /// OAuth applications.
    pub oauth_clients: Vec<OAuthClient>,
    /// Lifetime of an access token; ServiceNow's default is 30 minutes.
    pub token_lifetime: Duration,
    /// Basic authentication only for users with the role `snc_basic_auth_api_access`.
    pub basic_auth_restricted: bool,
    /// The status of a successful `PUT` of a case: the documentation lists 201, others have seen 200.
    pub case_put_status: u16,
    /// `glide.invalid_query.returns_no_rows`: off by default, so that a typo in a query returns every row.
    pub invalid_query_returns_no_rows: bool,
    /// Tables that are not there, as without their plugin: "Invalid table".
    pub missing_tables: Vec<String>,
    /// (table, column): text columns that an administrator added; other unknown fields are ignored.
    pub custom_columns: Vec<(String, String)>,
    /// Whether answers set session cookies, as real ones do.
    pub cookies: bool,
    /// Whether calls are recorded for [`ServiceNowSandbox::requests`].
    pub log: bool,
    /// Server threads, shared by all instances of one [`ServiceNowSandbox::start_many`].
    pub workers: usize,
}

impl Default for SnOptions {
    /// One integration user `casewire` with password `sandbox`, one administrator `admin` with password
    /// `sandbox`, one OAuth application `sandbox-client` with secret `sandbox-secret`, one API key
    /// `sandbox-api-key`.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            users: vec![SnUser::integration("casewire", "sandbox"), SnUser::admin("admin", "sandbox")],
            api_keys: vec![("sandbox-api-key".to_owned(), "casewire".to_owned())],
            oauth_clients: vec![OAuthClient {
                client_id: "sandbox-client".to_owned(),
                client_secret: "sandbox-secret".to_owned(),
                application_user: Some("casewire".to_owned()),
            }],
            token_lifetime: Duration::from_mins(30),
            basic_auth_restricted: false,
            case_put_status: 201,
            invalid_query_returns_no_rows: false,
            missing_tables: Vec::new(),
            custom_columns: Vec::new(),
            cookies: true,
            log: true,
            workers: 1,
        }
    }
}

/// What the server's threads share with the handle.
pub(crate) struct Instance {
    options: Arc<SnOptions>,
    url: String,
    log: Arc<CallLog>,
    store: Mutex<Store>,
    tokens: Mutex<Tokens>,
    faults: Mutex<FaultPlan<SnFault>>,
    weather: Mutex<Weather>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance {
    fn new(options: Arc<SnOptions>, schemas: &[Arc<Schema>], address: SocketAddr) -> Self {
        Self {
            url: format!("http://{address}"),
            log: CallLog::new(options.log),
            store: Mutex::new(Store::new(&options, schemas)),
            tokens: Mutex::new(Tokens::default()),
            faults: Mutex::new(FaultPlan::new()),
            weather: Mutex::new(Weather::default()),
            options,
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        locked(&self.store)
    }
}

/// A running simulated instance. Dropping it, and all others started with it, ends the server.
#[derive(Clone)]
pub struct ServiceNowSandbox {
    instance: Arc<Instance>,
    running: Arc<Running>,
}

impl ServiceNowSandbox {
    /// Starts one instance. Callable from any async runtime.
    pub async fn start(options: SnOptions) -> Result<Self, StartError> {
        let started = Self::start_many(options, 1).await?;
        started.into_iter().next().ok_or_else(|| StartError::Server("no instance was made".to_owned()))
    }

    /// Starts n instances that know nothing of each other and share the worker threads. The first listens at
    /// `options.listen`, the others at free ports of the same address.
    pub async fn start_many(options: SnOptions, n: usize) -> Result<Vec<Self>, StartError> {
        let mut worlds = Vec::with_capacity(n);
        let options = Arc::new(options);
        let schemas = Store::schemas(&options);
        for number in 0..n {
            let mut address = options.listen;
            if number > 0 {
                address.set_port(0);
            }
            let (listener, address) = server::listen(address)?;
            worlds.push((listener, address, Arc::new(Instance::new(options.clone(), &schemas, address))));
        }
        let instances: Vec<_> = worlds.iter().map(|(_, _, instance)| instance.clone()).collect();
        let running = Arc::new(server::start(worlds, options.workers).await?);
        Ok(instances.into_iter().map(|instance| Self { instance, running: running.clone() }).collect())
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.instance.url
    }

    /// The options it was started with.
    pub fn options(&self) -> &SnOptions {
        &self.instance.options
    }

    /// Ends the server, and with it every instance started together, and waits until the ports are free.
    pub async fn stop(&self) {
        self.running.stop().await;
    }

    /// The next n API calls (token requests excepted) fail so.
    pub fn fail_next(&self, n: usize, fault: SnFault) {
        self.fail_next_in(Scope::All, n, fault);
    }

    /// The next n calls in `scope` fail so.
    pub fn fail_next_in(&self, scope: Scope, n: usize, fault: SnFault) {
        locked(&self.instance.faults).fail_next(scope, n, fault);
    }

    /// From now on `permille` of the API calls fail, chosen by `seed` and the call's number.
    pub fn fail_rate(&self, seed: u64, permille: u32, faults: Vec<SnFault>) {
        locked(&self.instance.faults).fail_rate(Scope::All, seed, permille, faults);
    }

    /// How many calls have failed because a fault was planned for them.
    pub fn n_faults(&self) -> u64 {
        locked(&self.instance.faults).n_struck()
    }

    /// Ends planned faults; sleep, hanging, latency and hourly limit stay.
    pub fn clear_faults(&self) {
        locked(&self.instance.faults).clear();
    }

    /// A hibernating developer instance: 200 with HTML on every route, the token route too.
    pub fn set_sleeping(&self, sleeping: bool) {
        locked(&self.instance.weather).sleep = if sleeping { Sleep::Page } else { Sleep::Awake };
    }

    /// The other form of hibernation: 302 to the developer site.
    pub fn set_sleeping_redirect(&self, sleeping: bool) {
        locked(&self.instance.weather).sleep = if sleeping { Sleep::Redirect } else { Sleep::Awake };
    }

    /// While on, calls are taken and never answered; those already hanging stay so.
    pub fn hang(&self, hangs: bool) {
        locked(&self.instance.weather).hangs = hangs;
    }

    /// Every call takes at least this long.
    pub fn set_latency(&self, latency: Duration) {
        locked(&self.instance.weather).latency = latency;
    }

    /// At most so many API calls per clock hour, as an hourly rule; `None` for no rule. Begins counting anew.
    pub fn hourly_limit(&self, limit: Option<u32>) {
        locked(&self.instance.weather).limit_hourly(limit);
    }

    /// Makes all access tokens expire now; refresh tokens stay.
    pub fn expire_access_tokens(&self) {
        locked(&self.instance.tokens).expire_access_tokens();
    }

    /// The cases in the order of their creation.
    pub fn cases(&self) -> Vec<CaseView> {
        self.instance.store().case_views()
    }

    /// The rows of `csm_consumer`.
    pub fn consumers(&self) -> Vec<RecordView> {
        self.records(schema::CONSUMER)
    }

    /// The rows of `customer_contact`.
    pub fn contacts(&self) -> Vec<RecordView> {
        self.records(schema::CONTACT)
    }

    /// The rows of `sys_user`, the logins among them.
    pub fn users(&self) -> Vec<RecordView> {
        self.records(schema::USER)
    }

    /// The rows of the social profile table.
    pub fn social_profiles(&self) -> Vec<RecordView> {
        self.records(schema::PROFILE)
    }

    /// The rows of any table in the order of their creation; none if there is no such table.
    pub fn records(&self, table: &str) -> Vec<RecordView> {
        self.instance.store().record_views(table)
    }

    /// How many rows a table has: cheap.
    pub fn n_records(&self, table: &str) -> usize {
        self.instance.store().table(table).map_or(0, |table| table.rows().count())
    }

    /// Changes a row as an administrator would; false if there is none.
    pub fn change_record(&self, table: &str, sys_id: &str, fields: &[(&str, &str)]) -> bool {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.instance.store().change(table, sys_id, fields.collect::<BTreeMap<_, _>>(), "admin")
    }

    /// An agent writes a customer-visible comment; returns the journal entry's `sys_id`, `None` without such a
    /// case. Nothing is sent to the hub: that is the update set's work, and the caller's here.
    pub fn add_comment(&self, case: &str, author: &str, text: &str) -> Option<String> {
        let mut store = self.instance.store();
        store.table(schema::CASE)?.row(case)?;
        store.add_journal(case, "comments", text, author)
    }

    /// From now on `hook` is given the text of each customer-visible comment in the moment of its commit, on
    /// the server's thread: it must be quick, and must not ask this instance for anything. One hook at a time.
    pub fn on_comment(&self, hook: impl Fn(&str) + Send + 'static) {
        self.instance.store().on_comment = Some(Box::new(hook));
    }

    /// Closes a case (state 3); false if there is none.
    pub fn close_case(&self, sys_id: &str) -> bool {
        self.change_record(schema::CASE, sys_id, &[("state", "3")])
    }

    /// The API calls and token requests received, oldest first.
    pub fn requests(&self) -> Vec<CallRecord> {
        self.instance.log.calls()
    }

    /// How many were received.
    pub fn n_requests(&self) -> u64 {
        self.instance.log.n_calls()
    }

    /// Forgets the recorded calls and the most in flight.
    pub fn clear_requests(&self) {
        self.instance.log.clear();
    }

    /// The most calls received within any period of that length, token requests included.
    pub fn max_calls_in_any(&self, window: Duration) -> usize {
        self.instance.log.max_calls_in_any(window)
    }

    /// The most calls that were being answered at once. A call counts until its answer is given to the
    /// network or its client has gone.
    pub fn max_in_flight(&self) -> usize {
        self.instance.log.max_in_flight()
    }

    /// How many calls are being answered now.
    pub fn n_in_flight(&self) -> usize {
        self.instance.log.n_in_flight()
    }
}
