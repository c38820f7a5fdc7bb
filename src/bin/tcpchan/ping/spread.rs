//! How measured times are spread: percentiles, and a histogram.

use std::time::Duration;

use serde::Serialize;

/// Columns of a histogram, from the shortest time to the longest.
const COLUMNS: usize = 16;

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Times in milliseconds. A percentile is one of the times: the first that so many are not
/// above.
#[derive(Debug, PartialEq, Serialize)]
pub struct Spread {
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    #[serde(skip)]
    pub histogram: String,
}

pub fn milliseconds(time: Duration) -> f64 {
    // A microsecond is what a clock and a scheduler are good for.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl Spread {
    /// None of no times.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<f64> = times.into_iter().map(milliseconds).collect();
        times.sort_by(f64::total_cmp);
        let (min, max) = (*times.first()?, *times.last()?);
        let percentile = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Some(Spread {
            min,
            p50: percentile(50),
            p90: percentile(90),
            p99: percentile(99),
            max,
            histogram: histogram(&times, min, max),
        })
    }
}

/// A bar for each column, as high as the number of times there. One time is seen beside any
/// number.
fn histogram(times: &[f64], min: f64, max: f64) -> String {
    let mut counts = [0; COLUMNS];
    for time in times {
        let part = (time - min) / (max - min).max(f64::MIN_POSITIVE);
        counts[((part * COLUMNS as f64) as usize).min(COLUMNS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let full = BARS.len() - 1;
    let bar = |count: usize| BARS[(count * full).div_ceil(most)];
    counts.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: &[u64]) -> Option<Spread> {
        Spread::of(milliseconds.iter().map(|ms| Duration::from_millis(*ms)))
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let spread = of(&hundred).unwrap();
        let shown = (spread.min, spread.p50, spread.p90, spread.p99, spread.max);
        assert_eq!(shown, (1.0, 50.0, 90.0, 99.0, 100.0));
        let spread = of(&[1, 2, 9]).unwrap();
        assert_eq!((spread.p50, spread.p90, spread.p99), (2.0, 9.0, 9.0));
    }

    #[test]
    fn a_histogram_shows_one_time_beside_many() {
        let mut times = vec![10; 1000];
        times.push(20);
        assert_eq!(of(&times).unwrap().histogram, "█              ▁");
    }

    #[test]
    fn no_times_and_one_time_are_no_trouble() {
        assert_eq!(of(&[]), None);
        let one = of(&[7]).unwrap();
        assert_eq!((one.min, one.p99, one.max), (7.0, 7.0, 7.0));
        assert_eq!(one.histogram.trim_end(), "█");
    }
}
