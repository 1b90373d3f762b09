//! How large a run of the chaos test is.

use std::time::Duration;

/// The environment variable that asks for a size.
pub(crate) const SOAK: &str = "CASEWIRE_TEST_SOAK";
/// Messages a second when only one of number and time is given.
const PACE: u64 = 100;
/// Customers of each company.
pub(crate) const N_CUSTOMERS_EACH: usize = 5;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) n_replicas: usize,
    pub(crate) n_instances: usize,
    pub(crate) n_messages: u64,
    /// Over which the messages are spread.
    pub(crate) period: Duration,
}

impl Size {
    /// Small enough for every run of the tests.
    const SHORT: Self =
        Self { n_replicas: 3, n_instances: 12, n_messages: 1200, period: Duration::from_secs(30) };

    /// Whether somebody asks for a run of a certain size.
    pub(crate) fn is_asked_for() -> bool {
        std::env::var_os(SOAK).is_some_and(|soak| !soak.is_empty())
    }

    /// What `CASEWIRE_TEST_SOAK` asks for, else the short one.
    pub(crate) fn of_this_run() -> Self {
        let soak = std::env::var(SOAK).unwrap_or_default();
        Self::parse(&soak).unwrap_or_else(|wrong| panic!("{SOAK}: {wrong:?} is not understood"))
    }

    /// Reads `60 instances, 30000 messages`, `10m`, `5 replicas, 90s` and so on. What is not named is as in the
    /// short run; of messages and time the one follows from the other.
    fn parse(soak: &str) -> Result<Self, String> {
        let mut size = Self::SHORT;
        let (mut n_messages, mut period) = (None, None);
        for part in soak.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || part.to_owned();
            let n_digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (n, unit) = part.split_at(n_digits);
            let n: u64 = n.parse().map_err(|_| wrong())?;
            match unit.trim() {
                "replicas" => size.n_replicas = usize::try_from(n).map_err(|_| wrong())?,
                "instances" => size.n_instances = usize::try_from(n).map_err(|_| wrong())?,
                "messages" => n_messages = Some(n),
                "s" => period = Some(n),
                "m" => period = Some(n * 60),
                "h" => period = Some(n * 3600),
                _ => return Err(wrong()),
            }
        }
        if n_messages.is_some() || period.is_some() {
            let seconds = period.unwrap_or_else(|| n_messages.unwrap_or_default() / PACE).max(1);
            size.n_messages = n_messages.unwrap_or(seconds * PACE);
            size.period = Duration::from_secs(seconds);
        }
        Ok(size)
    }
}

#[test]
fn sizes_are_read() {
    let short = Size::SHORT;
    let seconds = Duration::from_secs;
    for (text, expected) in [
        ("", short),
        ("1 replicas", Size { n_replicas: 1, ..short }),
        (
            "60 instances, 30000 messages",
            Size { n_instances: 60, n_messages: 30_000, period: seconds(300), ..short },
        ),
        ("10m", Size { n_messages: 60_000, period: seconds(600), ..short }),
        ("20s,500 messages", Size { n_messages: 500, period: seconds(20), ..short }),
    ] {
        assert_eq!(Size::parse(text), Ok(expected), "{text}");
    }
    assert_eq!(Size::parse("many messages"), Err("many messages".to_owned()));
    assert_eq!(Size::parse("10m, 3 owls"), Err("3 owls".to_owned()));
}
