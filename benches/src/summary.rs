//! Medians over rounds, and ratios taken within a round.

use serde::{Deserialize, Serialize};

use crate::measure::Measured;
use crate::row::Way;
use crate::run::{Counts, Entry, Outcome};

/// All that one run has found.
#[derive(Serialize, Deserialize)]
pub struct Results {
    pub machine: String,
    pub seconds: f64,
    pub entries: Vec<Entry>,
    pub counts: Vec<Counts>,
}

/// A median with the least and the most.
#[derive(Clone, Copy)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() % 2 {
        0 if !values.is_empty() => (values[middle - 1] + values[middle]) / 2.0,
        _ => *values.get(middle)?,
    };
    Some(Spread {
        least: *values.first()?,
        median,
        most: *values.last()?,
    })
}

impl Results {
    fn measured(&self, row: &str, way: Way) -> impl Iterator<Item = (usize, &Measured)> {
        let wanted = move |entry: &&Entry| entry.row == row && entry.way == way;
        self.entries.iter().filter(wanted).filter_map(|entry| {
            let Outcome::Measured(measured) = &entry.outcome else {
                return None;
            };
            Some((entry.round, measured))
        })
    }

    /// Cores that other programs used.
    pub fn others(&self) -> Option<Spread> {
        let others = |entry: &Entry| match &entry.outcome {
            Outcome::Measured(measured) => Some(measured.others),
            _ => None,
        };
        spread(self.entries.iter().filter_map(others).collect())
    }

    /// Why there is no figure.
    pub fn missing(&self, row: &str, way: Way) -> &'static str {
        let found = |entry: &&Entry| entry.row == row && entry.way == way;
        match self.entries.iter().rfind(found).map(|entry| &entry.outcome) {
            Some(Outcome::Hung) => "hung",
            Some(Outcome::Failed) => "failed",
            _ => "",
        }
    }

    pub fn of(&self, row: &str, way: Way, figure: fn(&Measured) -> f64) -> Option<Spread> {
        if !self.missing(row, way).is_empty() {
            return None;
        }
        spread(self.measured(row, way).map(|(_, m)| figure(m)).collect())
    }

    /// The figure as a multiple of that of another row and way in each round.
    pub fn ratio(
        &self,
        (row, way): (&str, Way),
        (base_row, base_way): (&str, Way),
        figure: fn(&Measured) -> f64,
    ) -> Option<Spread> {
        if !self.missing(row, way).is_empty() {
            return None;
        }
        let ratio = |(round, m): (usize, &Measured)| {
            let mut bases = self.measured(base_row, base_way);
            let (_, base) = bases.find(|(other, _)| *other == round)?;
            Some(figure(m) / figure(base))
        };
        spread(self.measured(row, way).filter_map(ratio).collect())
    }

    pub fn counts(&self, row: &str, way: Way) -> Option<&Counts> {
        let found = |counts: &&Counts| counts.row == row && counts.way == way;
        self.counts.iter().find(found)
    }
}
