//! What operators can measure, in the Prometheus text format. Every name is present from the start.

mod http;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;

pub use http::{HttpMetrics, RouteMetrics};

/// The metrics that the actors keep. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    pub(crate) ingest_commit_seconds: Histogram,
    pub(crate) ingest_batch_size: Histogram,
    http: HttpMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("casewire");
        let ingest_commit_seconds =
            Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]);
        registry.register("ingest_commit_seconds", "Time of one commit", ingest_commit_seconds.clone());
        let ingest_batch_size = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]);
        registry.register("ingest_batch_size", "Requests in one commit", ingest_batch_size.clone());
        let http = HttpMetrics::register(&mut registry);
        Self { registry: Arc::new(registry), ingest_commit_seconds, ingest_batch_size, http }
    }
}

impl Metrics {
    /// Requests by route.
    pub fn http(&self) -> &HttpMetrics {
        &self.http
    }

    /// Everything measured, in the Prometheus text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
