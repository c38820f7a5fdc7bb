//! How well the link kept its conditions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::line::Counts;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accuracy {
    /// Whether the link's thread had real-time priority.
    pub realtime: bool,
    pub to_client: Direction,
    pub to_server: Direction,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Direction {
    pub packets: u64,
    /// By the seeded loss.
    pub lost: u64,
    /// By the full queue of the rate limiter.
    pub queue_drops: u64,
    /// Not by the conditions: before the link read them, or as it wrote them.
    pub faults: u64,
    pub late_p50_us: u64,
    pub late_p99_us: u64,
    pub late_max_us: u64,
}

impl Direction {
    pub fn new(counts: &Counts, device_drops: u64) -> Self {
        let late = |quantile| counts.lateness.value_at_quantile(quantile);
        Direction {
            packets: counts.arrived,
            lost: counts.lost,
            queue_drops: counts.queue_drops,
            faults: counts.refused + device_drops,
            late_p50_us: late(0.5),
            late_p99_us: late(0.99),
            late_max_us: counts.lateness.max(),
        }
    }
}

impl Accuracy {
    /// Whether packets were lost that the conditions did not ask for.
    pub fn is_faulty(&self) -> bool {
        self.to_client.faults + self.to_server.faults > 0
    }
}

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let priority = if self.realtime { "real-time" } else { "normal" };
        write!(
            f,
            "link ({priority} priority): to the client {}; to the server {}",
            self.to_client, self.to_server
        )
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} packets, lost {}, queue drops {}, faults {}, late p50 {} us p99 {} us max {} us",
            self.packets,
            self.lost,
            self.queue_drops,
            self.faults,
            self.late_p50_us,
            self.late_p99_us,
            self.late_max_us
        )
    }
}
