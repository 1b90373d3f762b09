//! How requests fare, for each route.

use std::cell::RefCell;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The route of requests for paths that nobody serves.
pub const UNKNOWN: &str = "unknown";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

/// Requests by route. Clones share their values.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
}

impl HttpMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register(
            "http_request_duration_seconds",
            "Time until the head of the answer",
            seconds.clone(),
        );
        // A family without a series is not written. These are there before the first request: they count those for
        // paths that nobody serves.
        drop(requests.get_or_create(&RequestLabels { route: UNKNOWN, method: "GET", status: 404 }));
        drop(seconds.get_or_create(&RouteLabels { route: UNKNOWN }));
        Self { requests, seconds }
    }

    /// The metrics of one route, for one worker thread.
    pub fn route(&self, route: &'static str) -> RouteMetrics {
        let seconds = self.seconds.get_or_create(&RouteLabels { route }).clone();
        RouteMetrics { route, requests: self.requests.clone(), seconds, known: RefCell::default() }
    }
}

/// The metrics of one route. Counters once looked up are kept, so that a request costs no lock.
#[derive(Debug)]
pub struct RouteMetrics {
    route: &'static str,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    known: RefCell<Vec<(&'static str, u16, Counter)>>,
}

impl RouteMetrics {
    /// Counts an answered request. `method` must be one of a few names.
    pub fn observe(&self, method: &'static str, status: u16, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        let mut known = self.known.borrow_mut();
        if let Some((.., counter)) = known.iter().find(|entry| entry.0 == method && entry.1 == status) {
            counter.inc();
            return;
        }
        let labels = RequestLabels { route: self.route, method, status };
        let counter = self.requests.get_or_create(&labels).clone();
        counter.inc();
        known.push((method, status, counter));
    }
}
