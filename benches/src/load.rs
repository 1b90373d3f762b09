//! Two ways to load: a closed loop, in which each connection sends as soon as it is answered, says how much
//! passes; an open loop, which sends by the clock, says how long it takes. In the open loop the time counts
//! from when a call was due, so a stall makes all calls late that were due within it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::stats::{Latencies, per_second};
use crate::wire::{Connection, Reply};

/// What comes after the last request before a run counts as hanging.
const GRACE: Duration = Duration::from_secs(20);

/// Requests in the order in which they are sent.
pub(crate) trait Source {
    /// The next one with its number; `None` when there are no more.
    fn next(&self) -> Option<(u64, &[u8])>;

    /// Whether an answer is the one that counts.
    fn is_answer(&self, reply: &Reply<'_>) -> bool {
        reply.status == 200
    }
}

/// The same request again and again.
pub(crate) struct Same(pub(crate) Vec<u8>);

impl Source for Same {
    fn next(&self) -> Option<(u64, &[u8])> {
        Some((0, &self.0))
    }
}

/// Requests written beforehand, each sent once, numbered in a row.
pub(crate) struct Batch {
    first: u64,
    /// What stands in every answer that counts.
    wanted: &'static [u8],
    bytes: Vec<u8>,
    ends: Vec<usize>,
    next: Cell<usize>,
}

impl Batch {
    /// An empty batch whose first request will have that number; `wanted` stands in the answers that count.
    pub(crate) fn new(first: u64, wanted: &'static [u8]) -> Self {
        Self { first, wanted, bytes: Vec::new(), ends: Vec::new(), next: Cell::new(0) }
    }

    /// Adds a whole request.
    pub(crate) fn push(&mut self, request: &[u8]) {
        self.bytes.extend_from_slice(request);
        self.ends.push(self.bytes.len());
    }

    /// How many have been taken.
    pub(crate) fn n_taken(&self) -> u64 {
        self.next.get() as u64
    }
}

impl Source for Batch {
    fn next(&self) -> Option<(u64, &[u8])> {
        let at = self.next.get();
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.next.set(at + 1);
        Some((self.first + at as u64, &self.bytes[start..end]))
    }

    fn is_answer(&self, reply: &Reply<'_>) -> bool {
        reply.status == 200 && reply.body.windows(self.wanted.len().max(1)).any(|part| part == self.wanted)
    }
}

/// A call of an open loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// The number that its source gave it.
    pub(crate) number: u64,
    /// When it was to be sent.
    pub(crate) due: Instant,
}

/// What a loop did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answered as wanted.
    pub(crate) n_ok: u64,
    /// Answered with anything else.
    pub(crate) n_refused: u64,
    /// The last other answer.
    pub(crate) refusal: Option<String>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// The calls by their due times; open loops only.
    pub(crate) sent: Vec<Sent>,
    took: Vec<Duration>,
    late: Vec<Duration>,
}

impl Tally {
    /// Answers as wanted a second.
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.n_ok, self.elapsed)
    }

    /// How long the calls took; in an open loop from their due times.
    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::of(self.took.clone())
    }

    /// How much later than due the calls of an open loop were sent: what the generator itself adds.
    pub(crate) fn lateness(&self) -> Latencies {
        Latencies::of(self.late.clone())
    }

    /// An error if more than one in a thousand was refused: then the figure would say nothing.
    pub(crate) fn checked(self, what: &str) -> Result<Self> {
        if self.n_ok == 0 || self.n_refused * 1000 > self.n_ok {
            let refusal = self.refusal.unwrap_or_default();
            bail!(
                "{what}: {} answers were as wanted, {} not, the last: {refusal}",
                self.n_ok,
                self.n_refused
            );
        }
        Ok(self)
    }

    fn count(&mut self, source: &impl Source, reply: &Reply<'_>, took: Duration) {
        self.took.push(took);
        if source.is_answer(reply) {
            self.n_ok += 1;
        } else {
            self.n_refused += 1;
            self.refusal = Some(format!("{} {}", reply.status, String::from_utf8_lossy(reply.body)));
        }
    }

    fn gather(tallies: Vec<Self>, elapsed: Duration) -> Self {
        let mut sum = Self { elapsed, ..Self::default() };
        for tally in tallies {
            sum.n_ok += tally.n_ok;
            sum.n_refused += tally.n_refused;
            sum.refusal = tally.refusal.or(sum.refusal);
            sum.sent.extend(tally.sent);
            sum.took.extend(tally.took);
            sum.late.extend(tally.late);
        }
        sum
    }
}

/// Connections to the addresses in turn.
async fn connect(addresses: &[SocketAddr], n_connections: usize) -> Result<Vec<Connection>> {
    let turns = addresses.iter().copied().cycle().take(n_connections);
    try_join_all(turns.map(Connection::open)).await
}

async fn within(limit: Duration, runs: impl Future<Output = Result<Vec<Tally>>>) -> Result<Vec<Tally>> {
    tokio::time::timeout(limit, runs).await.context("the load did not end: a call was never answered")?
}

/// Sends over so many connections, on each as soon as the last call was answered, for that long or until
/// there are no more requests.
pub(crate) async fn closed(
    address: SocketAddr,
    n_connections: usize,
    span: Duration,
    source: &impl Source,
) -> Result<Tally> {
    closed_over(&[address], n_connections, span, source).await
}

/// The same, with the connections spread evenly over some addresses.
pub(crate) async fn closed_over(
    addresses: &[SocketAddr],
    n_connections: usize,
    span: Duration,
    source: &impl Source,
) -> Result<Tally> {
    let connections = connect(addresses, n_connections).await?;
    let begun = Instant::now();
    let runs = connections.into_iter().map(|mut connection| async move {
        let mut tally = Tally::default();
        let mut now = begun;
        while now - begun < span {
            let Some((_, request)) = source.next() else { break };
            let reply = connection.call(request).await?;
            let answered = Instant::now();
            tally.count(source, &reply, answered - now);
            now = answered;
        }
        anyhow::Ok(tally)
    });
    let tallies = within(span + GRACE, try_join_all(runs)).await?;
    Ok(Tally::gather(tallies, begun.elapsed()))
}

/// Sends a request for each permit, over whichever of so many connections is free.
pub(crate) async fn permitted(
    address: SocketAddr,
    n_connections: usize,
    span: Duration,
    source: &impl Source,
    permits: &Semaphore,
) -> Result<Tally> {
    let connections = connect(&[address], n_connections).await?;
    let begun = Instant::now();
    let end = tokio::time::Instant::now() + span;
    let runs = connections.into_iter().map(|mut connection| async move {
        let mut tally = Tally::default();
        while let Ok(permit) = tokio::time::timeout_at(end, permits.acquire()).await {
            permit.context("the permits were closed")?.forget();
            let Some((_, request)) = source.next() else { break };
            let sent = Instant::now();
            let reply = connection.call(request).await?;
            tally.count(source, &reply, sent.elapsed());
            if sent - begun >= span {
                break;
            }
        }
        anyhow::Ok(tally)
    });
    let tallies = within(span + GRACE, try_join_all(runs)).await?;
    Ok(Tally::gather(tallies, begun.elapsed()))
}

/// Sends at that rate, each call over whichever of so many connections is free.
pub(crate) async fn open(
    address: SocketAddr,
    n_connections: usize,
    per_second: u32,
    span: Duration,
    source: &impl Source,
) -> Result<Tally> {
    let connections = connect(&[address], n_connections).await?;
    let (ticks, due) = mpsc::unbounded_channel();
    let ticker = std::thread::Builder::new()
        .name("ticker".to_owned())
        .spawn(move || tick(per_second, span, &ticks))?;
    let due = Mutex::new(due);
    let due = &due;
    let begun = Instant::now();
    let runs = connections.into_iter().map(|mut connection| async move {
        let mut tally = Tally::default();
        loop {
            let next = due.lock().await.recv().await;
            let Some(due) = next else { break };
            let Some((number, request)) = source.next() else { break };
            tally.late.push(due.elapsed());
            tally.sent.push(Sent { number, due });
            let reply = connection.call(request).await?;
            tally.count(source, &reply, due.elapsed());
        }
        anyhow::Ok(tally)
    });
    let tallies = within(span + GRACE, try_join_all(runs)).await;
    // It ends by itself: at the end of the span, or as soon as nobody listens.
    let _ended = ticker.join();
    Ok(Tally::gather(tallies?, begun.elapsed()))
}

/// How many calls an open loop sends at that rate in that time, and one to spare.
pub(crate) fn n_due(per_second: u32, span: Duration) -> Result<usize> {
    Ok((u128::from(per_second) * span.as_millis() / 1000 + 1).try_into()?)
}

/// Tells the due times as they come. A thread of its own: timers of the runtime are a millisecond coarse.
fn tick(per_second: u32, span: Duration, ticks: &mpsc::UnboundedSender<Instant>) {
    let begun = Instant::now();
    let period = Duration::from_secs(1) / per_second;
    let mut due = Duration::ZERO;
    while due < span {
        std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
        if ticks.send(begun + due).is_err() {
            return;
        }
        due += period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_each_request_once() {
        let mut batch = Batch::new(7, b"x");
        for request in ["one", "two", "three"] {
            batch.push(request.as_bytes());
        }
        let all: Vec<_> = std::iter::from_fn(|| batch.next()).collect();
        assert_eq!(all, [(7, &b"one"[..]), (8, &b"two"[..]), (9, &b"three"[..])]);
        assert_eq!(batch.n_taken(), 3);
    }

    #[test]
    fn a_run_full_of_refusals_is_no_figure() {
        let tally = |n_ok, n_refused| Tally { n_ok, n_refused, ..Tally::default() }.checked("it");
        assert!(tally(1000, 1).is_ok());
        assert!(tally(1000, 2).is_err());
        assert!(tally(0, 0).is_err());
    }
}
