//! What fails at both simulated sides while replicas are in trouble, and how much of it did.

use std::fmt;
use std::time::Duration;

use casewire_sandbox::{CallRecord, Scope, ServiceNowSandbox, XFault};

use super::world::{Cluster, X_TIMEOUT_MS};
use crate::process::chaos::faults;

/// Calls to `ServiceNow` may take so long.
const TIMEOUT_MS: u64 = 1000;
/// A call that takes long has had its effect so much earlier. The promise holds for an instance that does not go
/// on with a call after the hub's time-out; the simulated one may be late by this much on a busy machine.
const MARGIN_MS: u64 = 600;
/// So many of a thousand calls fail, on both sides, the look-ups of what became of other calls among them.
const FAILING_PERMILLE: u32 = 250;
/// So many of a hundred calls must have failed in the end: which ones is by chance.
const EXPECTED_PERCENT: std::ops::RangeInclusive<f64> = 20.0..=30.0;

/// The settings of a hub that is to get over all of it soon.
pub(crate) fn settings() -> String {
    format!(
        "servicenow: {{allow_private_networks: true, timeout: {TIMEOUT_MS}ms}}\n\
         delivery: {{backoff: {{first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}, rate: '10000 per 1s'}}\n"
    )
}

/// Every way in which a call at X can fail that the hub must get over by itself.
fn faults_of_x() -> Vec<XFault> {
    vec![
        XFault::Status500BeforeCommit,
        XFault::Status500AfterCommit,
        XFault::Status503,
        XFault::ResetBeforeCommit,
        XFault::ResetAfterCommit,
        XFault::TimeoutAfterCommit(Duration::from_millis(X_TIMEOUT_MS * 2)),
        XFault::SlowCommit(Duration::from_millis(X_TIMEOUT_MS - MARGIN_MS)),
    ]
}

/// A quarter of the calls at both sides fails since it began.
pub(crate) struct Failing {
    n_calls_before: u64,
}

impl Failing {
    pub(crate) fn begin(cluster: &Cluster, seed: u64) -> Self {
        for (at, instance) in (0..).zip(&cluster.instances) {
            instance.fail_rate(seed + at, FAILING_PERMILLE, faults(TIMEOUT_MS, MARGIN_MS));
        }
        cluster.x.fail_rate_in(Scope::All, seed, FAILING_PERMILLE, faults_of_x());
        Self { n_calls_before: n_calls(cluster) }
    }

    /// How much has failed until now.
    pub(crate) fn tally(&self, cluster: &Cluster) -> Tally {
        let n_at_servicenow: u64 = cluster.instances.iter().map(ServiceNowSandbox::n_faults).sum();
        let n_failed_at_x = cluster.x.n_faults();
        let calls_at_x = cluster.x.requests();
        let is_failed_look_up = |call: &&CallRecord| call.method == "GET" && call.status != 200;
        Tally {
            n_calls: n_calls(cluster) - self.n_calls_before,
            n_failed: n_at_servicenow + n_failed_at_x,
            n_failed_at_x,
            n_failed_look_ups: calls_at_x.iter().filter(is_failed_look_up).count(),
        }
    }
}

fn n_calls(cluster: &Cluster) -> u64 {
    let n_at_servicenow: u64 = cluster.instances.iter().map(ServiceNowSandbox::n_requests).sum();
    n_at_servicenow + cluster.x.n_requests()
}

/// What failed.
#[expect(clippy::struct_field_names, reason = "each is a number of calls, and says so")]
pub(crate) struct Tally {
    n_calls: u64,
    n_failed: u64,
    n_failed_at_x: u64,
    /// Of those at X: the hub asked what had become of a message, and was not told.
    n_failed_look_ups: usize,
}

impl Tally {
    fn percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = self.n_failed as f64 / self.n_calls.max(1) as f64;
        share * 100.0
    }

    /// Panics unless about as much failed as was meant to, at both sides.
    pub(crate) fn check(&self) {
        assert!(EXPECTED_PERCENT.contains(&self.percent()), "the run shows little: {self}");
        assert!(self.n_failed_at_x > 0 && self.n_failed_look_ups > 0, "the run shows little of X: {self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_calls, n_failed, n_failed_at_x, n_failed_look_ups } = self;
        let percent = self.percent();
        write!(
            f,
            "{n_failed} of {n_calls} calls failed ({percent:.1} %), {n_failed_at_x} of them at X with "
        )?;
        write!(f, "{n_failed_look_ups} look-ups")
    }
}
