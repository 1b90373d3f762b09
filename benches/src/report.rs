//! Figures, and how they are shown: a table for people, JSON for machines.

use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::Spread;

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// The value, at least.
    AtLeast(f64),
    /// The value, at most.
    AtMost(f64),
    /// The value by the reference, at least.
    RatioAtLeast(f64),
    /// The value by the reference, at most.
    RatioAtMost(f64),
}

/// What a figure stands beside.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reference {
    pub(crate) name: &'static str,
    pub(crate) value: Spread,
}

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) scenario: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: Spread,
    pub(crate) reference: Option<Reference>,
    pub(crate) ratio: Option<f64>,
    pub(crate) aim: Option<Aim>,
    pub(crate) is_met: Option<bool>,
}

impl Figure {
    /// A figure of rounds.
    pub(crate) fn new(
        scenario: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        rounds: &[f64],
    ) -> Self {
        Self::of(scenario, name, unit, Spread::of(rounds))
    }

    /// A figure that was made of rounds already.
    pub(crate) fn of(
        scenario: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        value: Spread,
    ) -> Self {
        Self {
            scenario,
            name: name.into(),
            unit,
            value,
            reference: None,
            ratio: None,
            aim: None,
            is_met: None,
        }
    }

    /// Beside the medians of the reference's rounds.
    pub(crate) fn beside(self, name: &'static str, rounds: &[f64]) -> Self {
        self.beside_of(name, Spread::of(rounds))
    }

    /// Beside a reference that was made of rounds already.
    pub(crate) fn beside_of(mut self, name: &'static str, value: Spread) -> Self {
        self.ratio = (value.median > 0.0).then(|| self.value.median / value.median);
        self.reference = Some(Reference { name, value });
        self
    }

    /// With what it should be.
    pub(crate) fn aims(mut self, aim: Aim) -> Self {
        let ratio = self.ratio;
        self.is_met = match aim {
            Aim::AtLeast(least) => Some(self.value.median >= least),
            Aim::AtMost(most) => Some(self.value.median <= most),
            Aim::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Aim::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
        };
        self.aim = Some(aim);
        self
    }
}

/// A scenario that broke off, and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Broken {
    pub(crate) scenario: &'static str,
    pub(crate) reason: String,
}

/// A scenario that cannot be measured on this machine, and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) scenario: &'static str,
    pub(crate) reason: String,
}

/// How much of the machine other processes had during a scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Others {
    pub(crate) scenario: &'static str,
    pub(crate) cores: f64,
    pub(crate) took_s: f64,
}

/// Everything of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: String,
    pub(crate) is_quick: bool,
    pub(crate) machine: Machine,
    /// Appends of 4 KiB that the database's disk makes durable in a second.
    pub(crate) fdatasync_per_second: Spread,
    pub(crate) figures: Vec<Figure>,
    pub(crate) others: Vec<Others>,
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) broken: Vec<Broken>,
}

/// With as many digits as say something.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn aim_text(aim: Aim) -> String {
    match aim {
        Aim::AtLeast(least) => format!(">= {}", digits(least)),
        Aim::AtMost(most) => format!("<= {}", digits(most)),
        Aim::RatioAtLeast(least) => format!("ratio >= {}", digits(least)),
        Aim::RatioAtMost(most) => format!("ratio <= {}", digits(most)),
    }
}

impl Report {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let Machine { n_cores, cpu, kernel, memory_mib, file_system, load_before } = &self.machine;
        let mut text = format!(
            "{}\n{n_cores} cores ({cpu}), {memory_mib:.0} MiB, Linux {kernel}, {file_system}, load before {load_before:.2}\n\
             fdatasync of 4 KiB appends: {} per second\n",
            self.version,
            digits(self.fdatasync_per_second.median),
        );
        if self.is_quick {
            text.push_str(
                "a quick run: shorter rounds, fewer of them, and smaller worlds; the figures are rough\n",
            );
        }
        text.push('\n');
        let mut rows = vec![
            ["scenario", "figure", "median", "min..max", "reference", "ratio", "aim", ""].map(str::to_owned),
        ];
        rows.extend(self.figures.iter().map(row));
        let widths: Vec<usize> =
            (0..8).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            let _infallible = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
        for Others { scenario, cores, took_s } in &self.others {
            let _infallible =
                writeln!(text, "{scenario}: {took_s:.0} s; other processes had {cores:.2} cores");
        }
        for LeftOut { scenario, reason } in &self.left_out {
            let _infallible = writeln!(text, "{scenario} was left out: {reason}");
        }
        for Broken { scenario, reason } in &self.broken {
            let _infallible = writeln!(text, "{scenario} broke off: {reason}");
        }
        text
    }
}

fn row(figure: &Figure) -> [String; 8] {
    let Spread { median, min, max } = figure.value;
    let reference = figure.reference.as_ref();
    let reference =
        reference.map(|reference| format!("{} {}", digits(reference.value.median), reference.name));
    let mark = match figure.is_met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    [
        figure.scenario.to_owned(),
        figure.name.clone(),
        format!("{} {}", digits(median), figure.unit),
        format!("{}..{}", digits(min), digits(max)),
        reference.unwrap_or_default(),
        figure.ratio.map(digits).unwrap_or_default(),
        figure.aim.map(aim_text).unwrap_or_default(),
        mark.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_says_so() {
        let report = |is_quick| Report {
            version: "casewire 0".to_owned(),
            is_quick,
            machine: Machine::look(std::path::Path::new("/")),
            fdatasync_per_second: Spread::default(),
            figures: Vec::new(),
            others: Vec::new(),
            left_out: Vec::new(),
            broken: Vec::new(),
        };
        assert!(report(true).table().contains("a quick run"));
        assert!(!report(false).table().contains("quick"));
    }

    #[test]
    fn aims_are_judged_by_medians() {
        let figure = || Figure::new("s", "f", "/s", &[90.0, 100.0, 500.0]).beside("ref", &[50.0]);
        for (aim, is_met) in [
            (Aim::AtLeast(100.0), true),
            (Aim::AtLeast(101.0), false),
            (Aim::AtMost(99.0), false),
            (Aim::RatioAtLeast(2.0), true),
            (Aim::RatioAtMost(1.9), false),
        ] {
            assert_eq!(figure().aims(aim).is_met, Some(is_met), "{aim:?}");
        }
        let alone = Figure::new("s", "f", "/s", &[1.0]).aims(Aim::RatioAtMost(1.0));
        assert_eq!(alone.is_met, None);
    }
}
