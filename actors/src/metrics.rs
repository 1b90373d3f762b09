//! What operators can measure, as `OpenMetrics` text. Every name is present from the start.

mod http;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::store::deliveries::Direction;

pub use http::{HttpMetrics, RouteMetrics, UNKNOWN};

/// Panics of the whole process, counted by the hook of [`count_panics`].
static N_PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts every panic of the process and logs where it was. The message is left out of the count, and
/// goes to the log only through the hook that was there before.
pub fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            N_PANICS.fetch_add(1, Ordering::Relaxed);
            earlier(info);
        }));
    });
}

/// How many panics there were since [`count_panics`].
pub fn n_panics() -> u64 {
    N_PANICS.load(Ordering::Relaxed)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionOutcome {
    direction: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionClass {
    direction: &'static str,
    error_class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionOnly {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassResult {
    class: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultOnly {
    result: &'static str,
}

type SecondsByDirection = Family<DirectionOnly, Histogram, fn() -> Histogram>;

/// The metrics that the actors keep. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    pub(crate) ingest_commit_seconds: Histogram,
    pub(crate) ingest_batch_size: Histogram,
    activity_events: Family<ClassResult, Counter>,
    deliveries: Family<DirectionOutcome, Counter>,
    delivery_seconds: SecondsByDirection,
    attempts: Family<DirectionClass, Counter>,
    rate_limited_seconds: Counter<f64, AtomicU64>,
    breaker_open: Gauge,
    logins: Family<ResultOnly, Counter>,
    replicas: Gauge,
    lease_renewals: Family<ResultOnly, Counter>,
    http: HttpMetrics,
}

const DIRECTIONS: [Direction; 2] = [Direction::ToServicenow, Direction::ToX];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("casewire");
        let ingest_commit_seconds =
            Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]);
        registry.register("ingest_commit_seconds", "Time of one commit", ingest_commit_seconds.clone());
        let ingest_batch_size = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]);
        registry.register("ingest_batch_size", "Requests in one commit", ingest_batch_size.clone());
        let activity_events = Family::default();
        registry.register("activity_events", "Items received from X", activity_events.clone());
        let deliveries = Family::default();
        registry.register("deliveries", "Deliveries that ended", deliveries.clone());
        let delivery_seconds = SecondsByDirection::new_with_constructor(new_delivery_histogram);
        let help = "Time from accepted to delivered";
        registry.register("delivery_seconds", help, delivery_seconds.clone());
        let attempts = Family::default();
        registry.register("attempts", "Attempts at deliveries", attempts.clone());
        let rate_limited_seconds = Counter::default();
        let help = "Time that calls waited for the rate of their instance";
        registry.register_with_unit("rate_limited", help, Unit::Seconds, rate_limited_seconds.clone());
        let breaker_open = Gauge::default();
        registry.register(
            "breaker_open",
            "Instances and accounts with an open breaker",
            breaker_open.clone(),
        );
        let logins = Family::default();
        registry.register("login", "Logins", logins.clone());
        let replicas = Gauge::default();
        let help = "Replicas that are alive, as this one last saw in the database: use max, not sum";
        registry.register("replicas", help, replicas.clone());
        let lease_renewals = Family::default();
        registry.register("lease_renewals", "Renewals of this replica's leases", lease_renewals.clone());
        let http = HttpMetrics::register(&mut registry);
        let metrics = Self {
            registry: Arc::new(registry),
            ingest_commit_seconds,
            ingest_batch_size,
            activity_events,
            deliveries,
            delivery_seconds,
            attempts,
            rate_limited_seconds,
            breaker_open,
            logins,
            replicas,
            lease_renewals,
            http,
        };
        metrics.name_all();
        metrics
    }
}

fn new_delivery_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 86400.0])
}

impl Metrics {
    /// Makes every series that has a bounded label exist, so that a rate over it is right from the start.
    fn name_all(&self) {
        let classes = ["dm_inbound", "dm_outbound", "mention", "own_tweet", "retweet", "quote", "other"];
        for class in classes {
            for result in ["accepted", "duplicate", "ignored"] {
                let _exists = self.activity_events.get_or_create(&ClassResult { class, result });
            }
        }
        for direction in DIRECTIONS {
            let direction_name = direction.as_str();
            for outcome in ["delivered", "dead"] {
                let _exists =
                    self.deliveries.get_or_create(&DirectionOutcome { direction: direction_name, outcome });
            }
            let _exists = self.delivery_seconds.get_or_create(&DirectionOnly { direction: direction_name });
            let _exists = self
                .attempts
                .get_or_create(&DirectionClass { direction: direction_name, error_class: "none" });
        }
        for result in ["ok", "refused", "limited"] {
            let _exists = self.logins.get_or_create(&ResultOnly { result });
        }
        for result in ["ok", "failed"] {
            let _exists = self.lease_renewals.get_or_create(&ResultOnly { result });
        }
    }

    /// Requests by route.
    pub fn http(&self) -> &HttpMetrics {
        &self.http
    }

    pub(crate) fn count_item(&self, class: &'static str, result: &'static str) {
        self.activity_events.get_or_create(&ClassResult { class, result }).inc();
    }

    pub(crate) fn count_delivery(&self, direction: Direction, outcome: &'static str) {
        self.deliveries.get_or_create(&DirectionOutcome { direction: direction.as_str(), outcome }).inc();
    }

    pub(crate) fn count_attempt(&self, direction: Direction, error_class: &'static str) {
        self.attempts.get_or_create(&DirectionClass { direction: direction.as_str(), error_class }).inc();
    }

    pub(crate) fn time_delivery(&self, direction: Direction, duration_ms: i64) {
        let duration = Duration::from_millis(u64::try_from(duration_ms).unwrap_or_default());
        let label = DirectionOnly { direction: direction.as_str() };
        self.delivery_seconds.get_or_create(&label).observe(duration.as_secs_f64());
    }

    pub(crate) fn rate_limited(&self, waited: Duration) {
        if !waited.is_zero() {
            self.rate_limited_seconds.inc_by(waited.as_secs_f64());
        }
    }

    /// Counts the breakers that are open; they do so themselves.
    pub(crate) fn open_breakers(&self) -> Gauge {
        self.breaker_open.clone()
    }

    /// Counts a login: `ok`, `refused` or `limited`.
    pub fn count_login(&self, result: &'static str) {
        self.logins.get_or_create(&ResultOnly { result }).inc();
    }

    /// Tells how many replicas are alive.
    pub(crate) fn set_replicas(&self, n: i64) {
        self.replicas.set(n);
    }

    /// Counts a renewal of all leases that are held: `ok` or `failed`.
    pub(crate) fn count_renewal(&self, result: &'static str) {
        self.lease_renewals.get_or_create(&ResultOnly { result }).inc();
    }

    /// Everything kept here, as `OpenMetrics` text without the closing `# EOF`.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _written = encode(&mut text, &self.registry);
        let end = text.len() - "# EOF\n".len().min(text.len());
        if text.ends_with("# EOF\n") {
            text.truncate(end);
        }
        text
    }
}

/// What a family counts, which decides how its samples are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Info,
}

impl Kind {
    /// As its `TYPE` says, and what the names of its samples end in.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Counter => ("counter", "_total"),
            Self::Gauge => ("gauge", ""),
            Self::Info => ("info", "_info"),
        }
    }
}

/// Writes a family that is read at the moment of asking, from the labels and values of its samples.
/// The name is that of the family, without what its samples end in.
pub(crate) fn write_family(
    text: &mut String,
    name: &str,
    kind: Kind,
    help: &str,
    rows: impl IntoIterator<Item = (String, f64)>,
) {
    let (word, suffix) = kind.words();
    let _written = writeln!(text, "# HELP casewire_{name} {help}\n# TYPE casewire_{name} {word}");
    for (labels, value) in rows {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _written = writeln!(text, "casewire_{name}{suffix}{braces} {value}");
    }
}
