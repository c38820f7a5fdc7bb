//! What one run came to: a row of a table for each phase.

use serde::{Deserialize, Serialize};

use crate::client::{DATAGRAMS, Sample};
use crate::conditions::Conditions;
use crate::link::Accuracy;
use crate::run::{Measured, Stage};
use crate::way::Way;

/// One way in one scenario on one link.
#[derive(Serialize, Deserialize)]
pub struct Run {
    pub scenario: String,
    pub about: String,
    pub way: Way,
    pub conditions: Conditions,
    pub phases: Vec<Phase>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    pub failure: Option<String>,
    #[serde(default)]
    pub short_of_memory: bool,
    pub accuracy: Accuracy,
}

/// The samples of one phase; latencies in round trips.
#[derive(Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub p50: f64,
    pub p99: f64,
    pub rounds: usize,
    /// Of all rounds.
    pub requests: usize,
    #[serde(default)]
    pub failed: usize,
    /// The median over the rounds of when all was done, in round trips.
    pub done: f64,
    /// The median over the rounds.
    pub mbit_per_second: f64,
}

impl Run {
    pub fn new(measured: Measured) -> Self {
        let round_trip = measured.conditions.round_trip.as_secs_f64();
        let mut names: Vec<&str> = Vec::new();
        for sample in &measured.samples {
            if !names.contains(&sample.phase.as_str()) {
                names.push(&sample.phase);
            }
        }
        let of = |name: &str| {
            let samples = measured
                .samples
                .iter()
                .filter(|sample| sample.phase == name);
            Phase::new(name, &samples.collect::<Vec<_>>(), round_trip)
        };
        Run {
            phases: names.into_iter().map(of).collect(),
            stages: measured.stages,
            scenario: measured.scenario.name.into(),
            about: measured.scenario.about.into(),
            way: measured.way,
            conditions: measured.conditions,
            failure: measured.failure,
            short_of_memory: measured.short_of_memory,
            accuracy: measured.accuracy,
        }
    }

    pub fn has_stages(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Its link, where it is another than most scenarios'.
    pub fn link(&self) -> String {
        let (ours, most) = (&self.conditions, Conditions::default());
        if (ours.rate, ours.round_trip) == (most.rate, most.round_trip) {
            return String::new();
        }
        let (rate, time) = (ours.rate / 1_000_000, ours.round_trip.as_millis());
        format!(" {rate} Mbit/s, {time} ms,")
    }

    /// The title of the table that it belongs to.
    pub fn title(&self) -> String {
        let conditions = &self.conditions;
        let loss = conditions.loss * 100.0;
        let congestion = conditions.congestion.name();
        format!(
            "{}: {};{} {congestion}, {loss} % loss",
            self.scenario,
            self.about,
            self.link()
        )
    }
}

impl Phase {
    pub fn new(name: &str, samples: &[&Sample], round_trip: f64) -> Self {
        let latencies = samples.iter().flat_map(|sample| &sample.latencies);
        let latencies = sorted(latencies.map(|latency| latency / round_trip));
        let done = sorted(samples.iter().map(|sample| sample.wall / round_trip));
        let rate = |sample: &&Sample| sample.bytes as f64 * 8e-6 / sample.wall;
        Phase {
            name: name.into(),
            p50: quantile(&latencies, 0.5),
            p99: quantile(&latencies, 0.99),
            rounds: samples.len(),
            requests: latencies.len(),
            failed: samples.iter().map(|sample| sample.failed).sum(),
            done: quantile(&done, 0.5),
            mbit_per_second: quantile(&sorted(samples.iter().map(rate)), 0.5),
        }
    }

    /// The share of the datagrams, and of their echoes, that were lost.
    pub fn datagrams_lost(&self) -> f64 {
        1.0 - self.requests as f64 / (DATAGRAMS * self.rounds) as f64
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The least value that this share of the values is not above.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.title(), self.way)?;
        for phase in &self.phases {
            let Phase { name, p50, p99, .. } = phase;
            write!(f, "; {name} {p50:.2}/{p99:.2}")?;
        }
        if let Some(failure) = &self.failure {
            write!(f, "; FAILED: {failure}")?;
        }
        if self.accuracy.is_faulty() {
            write!(f, "; THE LINK: {}", self.accuracy)?;
        }
        if self.short_of_memory {
            write!(
                f,
                "; THE HOST was short of memory for TCP (net.ipv4.tcp_mem)"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), 50.0);
        assert_eq!(quantile(&values, 0.99), 99.0);
        assert_eq!(quantile(&values[..1], 0.99), 1.0);
    }
}
