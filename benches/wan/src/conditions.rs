//! What the link does to packets, the same in both directions.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    pub round_trip: Duration,
    /// Uniform, added in each direction; it never reorders.
    pub jitter: Duration,
    /// Bits per second of IP packets; 0 is no limit.
    pub rate: u64,
    /// The tail-drop queue before the rate limiter, as time at that rate.
    pub queue: Duration,
    /// The share of packets lost in each direction.
    pub loss: f64,
    pub congestion: Congestion,
    pub seed: u64,
}

impl Conditions {
    /// One way.
    pub fn delay(&self) -> Duration {
        self.round_trip / 2
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions {
            round_trip: Duration::from_millis(80),
            jitter: Duration::ZERO,
            rate: 200_000_000,
            queue: Duration::from_millis(40),
            loss: 0.0,
            congestion: Congestion::Bbr,
            seed: 1,
        }
    }
}

/// The congestion control of both sides' TCP, and of quinn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    Bbr,
    Cubic,
}

impl Congestion {
    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Congestion::Bbr => "bbr",
            Congestion::Cubic => "cubic",
        }
    }
}
