//! The connections that there are and those of late: who may come. It takes the time and does
//! no I/O.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::network::Network;
use super::penalty::Penalty;
use super::rate::{Bucket, Rate};
use super::recent::Recent;

/// Networks without a connection that are remembered for their rates and penalties. At most
/// twice as many are held, in about a megabyte.
const REMEMBERED: usize = 4096;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Refusal {
    Connections,
    Rate,
    PerNetwork,
    RatePerNetwork,
    Penalty,
}

impl Refusal {
    /// The setter of the limit.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Connections => "max_connections",
            Refusal::Rate => "rate",
            Refusal::PerNetwork => "max_per_network",
            Refusal::RatePerNetwork => "rate_per_network",
            Refusal::Penalty => "penalties",
        }
    }
}

/// The limits that one connection is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub connections: u32,
    /// None if the peer's network has no limits of its own.
    pub network: Option<NetworkBounds>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct NetworkBounds {
    pub network: Network,
    pub connections: u32,
    pub rate: Rate,
    pub penalties: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    connections: u32,
    /// Those of each network that has any.
    by_network: HashMap<Network, u32>,
    bucket: Bucket,
    recent: Recent<Network, Past>,
}

/// What a network has done of late.
#[derive(Debug, Default)]
struct Past {
    bucket: Bucket,
    penalty: Penalty,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            connections: 0,
            by_network: HashMap::new(),
            bucket: Bucket::default(),
            recent: Recent::new(REMEMBERED),
        }
    }
}

impl Table {
    /// Another connection is to be served now, unless it must wait so long for the rate in all.
    pub fn take_turn(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        match self.bucket.wait(rate, now) {
            Duration::ZERO => {
                self.bucket.take(rate, now);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Counts a connection that has come, unless it is refused. It is to be held back so long.
    pub fn admit(&mut self, bounds: &Bounds, now: Instant) -> Result<Duration, Refusal> {
        let mut held_back = Duration::ZERO;
        if let Some(bounds) = &bounds.network {
            held_back = self.admit_of_network(bounds, now)?;
        }
        if self.connections >= bounds.connections {
            return Err(Refusal::Connections);
        }
        self.connections += 1;
        if let Some(bounds) = &bounds.network {
            self.count(bounds.network);
        }
        Ok(held_back)
    }

    /// A connection that was admitted as nobody's is this network's, unless it is refused. It
    /// is to be held back so long.
    pub fn assign(&mut self, bounds: &NetworkBounds, now: Instant) -> Result<Duration, Refusal> {
        let held_back = self.admit_of_network(bounds, now)?;
        self.count(bounds.network);
        Ok(held_back)
    }

    fn count(&mut self, network: Network) {
        *self.by_network.entry(network).or_default() += 1;
    }

    fn admit_of_network(
        &mut self,
        bounds: &NetworkBounds,
        now: Instant,
    ) -> Result<Duration, Refusal> {
        let connections = self.by_network.get(&bounds.network);
        if connections.is_some_and(|count| *count >= bounds.connections) {
            return Err(Refusal::PerNetwork);
        }
        let past = self.recent.get(bounds.network);
        if !past.bucket.wait(bounds.rate, now).is_zero() {
            return Err(Refusal::RatePerNetwork);
        }
        past.bucket.take(bounds.rate, now);
        match bounds.penalties {
            true => past.penalty.admit(now).ok_or(Refusal::Penalty),
            false => Ok(Duration::ZERO),
        }
    }

    /// A connection that was admitted has ended.
    pub fn release(&mut self, network: Option<Network>) {
        self.connections -= 1;
        if let Some(network) = network
            && let Some(count) = self.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    /// A connection of the network has broken a rule.
    pub fn violated(&mut self, network: Network, now: Instant) {
        self.recent.get(network).penalty.violated(now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn network(nth: u8) -> Network {
        Network(IpAddr::V4(Ipv4Addr::new(10, 0, 0, nth)))
    }

    const SLOW: Rate = Rate {
        per_second: 1,
        burst: 1,
    };

    fn bounds(nth: u8) -> Bounds {
        Bounds {
            connections: 5,
            network: Some(NetworkBounds {
                network: network(nth),
                connections: 3,
                rate: Rate::UNLIMITED,
                penalties: true,
            }),
        }
    }

    #[test]
    fn a_network_that_has_its_most_leaves_the_rest_to_others() {
        let (mut table, now) = (Table::default(), Instant::now());
        let admitted: Vec<_> = [1, 1, 1, 1, 2, 2, 2]
            .map(|nth| table.admit(&bounds(nth), now).err())
            .into();
        let (one, all) = (Some(Refusal::PerNetwork), Some(Refusal::Connections));
        assert_eq!(admitted, [None, None, None, one, None, None, all]);
        table.release(Some(network(1)));
        assert_eq!(table.admit(&bounds(2), now), Ok(Duration::ZERO));
    }

    #[test]
    fn the_rate_of_one_network_is_not_that_of_another() {
        let (mut table, now) = (Table::default(), Instant::now());
        let with_rate = |nth| {
            let mut bounds = bounds(nth);
            bounds.network.as_mut().unwrap().rate = SLOW;
            bounds
        };
        assert!(table.admit(&with_rate(1), now).is_ok());
        let second = table.admit(&with_rate(1), now);
        assert_eq!(second, Err(Refusal::RatePerNetwork));
        assert!(table.admit(&with_rate(2), now).is_ok());
    }

    #[test]
    fn violations_hold_back_their_own_network_alone() {
        let (mut table, now) = (Table::default(), Instant::now());
        (0..100).for_each(|_| table.violated(network(1), now));
        assert!(table.admit(&bounds(1), now).unwrap() > Duration::ZERO);
        assert_eq!(table.admit(&bounds(2), now), Ok(Duration::ZERO));
    }

    #[test]
    fn a_network_without_limits_counts_among_all_alone() {
        let (mut table, now) = (Table::default(), Instant::now());
        let mut bounds = bounds(1);
        bounds.network = None;
        let admitted = (0..9).filter(|_| table.admit(&bounds, now).is_ok());
        assert_eq!(admitted.count(), 5);
    }

    proptest! {
        /// Whoever comes, goes and breaks rules.
        #[test]
        fn counts_hold_and_end_at_nothing(steps in vec((0u8..4, 0u8..3, 0u64..200), 0..400)) {
            let (mut table, mut now) = (Table::default(), Instant::now());
            let mut held: Vec<u8> = Vec::new();
            for (nth, what, millis) in steps {
                now += Duration::from_millis(millis);
                match what {
                    0 if table.admit(&bounds(nth), now).is_ok() => held.push(nth),
                    1 if !held.is_empty() => table.release(Some(network(held.remove(0)))),
                    2 => table.violated(network(nth), now),
                    _ => {}
                }
                prop_assert!(held.len() <= 5);
                let of_one = held.iter().filter(|other| **other == nth).count();
                prop_assert!(of_one <= 3);
                prop_assert_eq!(table.connections as usize, held.len());
            }
            held.iter().for_each(|nth| table.release(Some(network(*nth))));
            prop_assert!(table.by_network.is_empty() && table.connections == 0);
        }
    }
}
