//! Selection: which connection gets the next channel.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::addresses::{AddressId, Addresses, Connected};
use crate::driver::ThroughputLimited;

/// Below it, and below five eighths, differences between round-trip times are chance, or
/// the queue of a transfer: one of half a round trip is common.
const FLOOR: Duration = Duration::from_millis(1);

/// The same for addresses. The servers of a name are most often near each other, and then
/// their work counts for more than their links.
const ADDRESS_FLOOR: Duration = Duration::from_millis(10);

/// Channels that a new connection gets before others: what it carries at first
/// is little, the kernel's first ten segments.
const FEW_CHANNELS: u64 = 32;

/// Whether a connection may get channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Healthy,
    /// Its task was not run for long. It may be about to run, as after a call that
    /// blocked, so it is neither used nor replaced for a moment.
    Stalled,
    /// Its peer must answer the hello first, so it is neither used nor replaced.
    AwaitsHello,
    /// It is late, so it is replaced.
    Suspect,
}

/// One connection at one moment: the snapshot that the pool decides on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    /// Where it goes, while the target has the address.
    pub address: Option<AddressId>,
    pub standing: Standing,
    /// The peer has answered the hello.
    pub greeted: bool,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// A channel has failed: it is avoided for a while.
    pub ejected: bool,
    /// Its channels fail time and again.
    pub broken: bool,
    /// It was dialled recently.
    pub is_new: bool,
    /// Channels that are in use.
    pub channels: usize,
    /// Channels that the peer takes beside those.
    pub available: u32,
    /// Channels that the peer has answered.
    pub answered: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    /// Bytes a second that it has carried of late.
    pub rate: u64,
    pub rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// How long the peer has said nothing since it got a channel.
    pub unanswered_for: Duration,
    /// A transfer fills it, so that what is small waits behind it.
    pub saturated: bool,
    /// When the transport was last found to hold it back, and at what rate.
    pub throughput_limited: Option<ThroughputLimited>,
}

impl Snapshot {
    /// Whether it counts among the connections that there should be.
    pub fn is_fresh(&self) -> bool {
        self.standing != Standing::Suspect && !self.retiring
    }

    /// Whether it could serve a caller, now or once it has room.
    pub fn is_usable(&self) -> bool {
        self.standing != Standing::Suspect
    }

    /// What it is for its address.
    pub fn connected(&self) -> Option<Connected> {
        Some(Connected {
            id: self.address?,
            channels: self.channels,
            is_fresh: self.is_fresh(),
            serves: self.greeted && self.is_usable(),
        })
    }

    /// Whether it can take a channel now.
    pub fn is_available(&self) -> bool {
        self.standing == Standing::Healthy && self.available > 0
    }

    /// It has got a channel.
    pub fn opened(&mut self) {
        self.channels += 1;
        self.available -= 1;
    }

    /// As if it had not got that channel.
    pub fn released(&mut self) {
        self.channels -= 1;
        self.available += 1;
    }

    /// How full it is: 1, it has its target concurrency; 2, it is new and has as many
    /// channels as it can be expected to carry. That doubles with each burst that it
    /// has served, as the window of TCP does.
    fn fullness(&self, concurrency: usize) -> u8 {
        match self.channels {
            n if self.is_new && n as u64 >= FEW_CHANNELS + self.answered => 2,
            n => u8::from(n >= concurrency),
        }
    }

    /// The work of so many channels on the connection, in time. A peer that is silent counts
    /// as that slow already before it is late.
    fn load(&self, channels: usize, quickest: Duration, floor: Duration) -> u128 {
        let alike = quickest + quickest / 2 + quickest / 8;
        let rtt = self.rtt.filter(|rtt| *rtt > alike).unwrap_or(quickest);
        let rtt = rtt.max(self.unanswered_for).max(floor);
        (channels as u128 + 1) * rtt.as_nanos()
    }
}

/// The best connection for a channel: of the least loaded and quickest address the least
/// loaded and quickest connection. Addresses that are alike take turns. Of connections alike
/// it is the one that has carried most, since its congestion window is open. Those come last
/// that have enough to do, then those that are saturated, are to be replaced, are ejected or
/// may never answer. All are looked at: with so few that is as cheap as two by chance, and
/// better.
pub(super) fn best(
    snapshots: &[Snapshot],
    addresses: &Addresses,
    concurrency: usize,
) -> Option<usize> {
    let quickest = snapshots.iter().filter_map(|snapshot| snapshot.rtt).min();
    let quickest = quickest.unwrap_or_default();
    let rank = |snapshot: &Snapshot| {
        let full = snapshot.fullness(concurrency);
        let last = (!snapshot.greeted, snapshot.ejected, snapshot.retiring);
        let of_address = addresses.load(snapshot.address);
        let of_address = of_address
            .map(|(channels, turn)| (snapshot.load(channels, quickest, ADDRESS_FLOOR), turn));
        let load = snapshot.load(snapshot.channels, quickest, FLOOR);
        let warm = Reverse((snapshot.bytes, snapshot.heard));
        (last, snapshot.saturated, full, of_address, load, warm)
    };
    let available = (0..snapshots.len()).filter(|at| snapshots[*at].is_available());
    available.min_by_key(|at| rank(&snapshots[*at]))
}

/// The connections that get channels in turn, those to keep first: they have channels
/// that would otherwise have to end, and have carried most.
pub(super) fn worth_keeping(snapshots: &[Snapshot]) -> Vec<usize> {
    fresh(snapshots, |snapshot| {
        (snapshot.channels as u64, snapshot.bytes)
    })
}

/// The same order by what they have carried: after a burst those stay whose congestion
/// windows are open.
pub(super) fn warmest(snapshots: &[Snapshot]) -> Vec<usize> {
    fresh(snapshots, |snapshot| {
        (snapshot.bytes, snapshot.channels as u64)
    })
}

/// The fresh connections, the highest value first. Those that may never answer, fail
/// their channels or are ejected come last.
fn fresh(snapshots: &[Snapshot], value: impl Fn(&Snapshot) -> (u64, u64)) -> Vec<usize> {
    let mut order: Vec<usize> = (0..snapshots.len())
        .filter(|at| snapshots[*at].is_fresh())
        .collect();
    order.sort_by_key(|at| {
        let snapshot = &snapshots[*at];
        let last = (!snapshot.greeted, snapshot.broken || snapshot.ejected);
        (last, Reverse(value(snapshot)))
    });
    order
}

/// An old connection in whose place there is another: one to the same address, or any if
/// that address is replaceable. There are `enough` if as many are up as there should be.
pub(super) fn replaced(
    snapshots: &[Snapshot],
    addresses: &Addresses,
    enough: bool,
) -> Option<usize> {
    snapshots.iter().position(|old| {
        if !old.retiring {
            return false;
        }
        if old.address.is_none() && !old.greeted {
            return true; // nothing would come of it
        }
        let any = addresses.is_replaceable(old.address);
        let replaces = |new: &Snapshot| any || new.address == old.address;
        let up = |new: &Snapshot| new.is_fresh() && new.greeted && replaces(new);
        let may = enough || old.address.is_none();
        may && snapshots.iter().any(up)
    })
}

/// Those behind so many of this order, and behind the first of each address that is wanted.
pub(super) fn beyond(
    keep: usize,
    order: Vec<usize>,
    snapshots: &[Snapshot],
    addresses: &Addresses,
) -> Vec<usize> {
    let mut wanted: BTreeSet<AddressId> = addresses.to_keep().collect();
    let mut is_first = |at: &usize| snapshots[*at].address.is_some_and(|id| wanted.remove(&id));
    let (firsts, others): (Vec<_>, Vec<_>) = order.into_iter().partition(&mut is_first);
    let keep = keep.saturating_sub(firsts.len());
    others.into_iter().skip(keep).collect()
}

#[cfg(test)]
impl Snapshot {
    /// A connection that is well and has nothing to do.
    pub fn idle() -> Snapshot {
        Snapshot {
            address: Some(0),
            standing: Standing::Healthy,
            greeted: true,
            retiring: false,
            ejected: false,
            broken: false,
            is_new: false,
            channels: 0,
            available: 100,
            answered: 0,
            bytes: 0,
            rate: 0,
            rtt: Some(Duration::from_millis(10)),
            heard: Instant::now(),
            unanswered_for: Duration::ZERO,
            saturated: false,
            throughput_limited: None,
        }
    }

    pub fn with(channels: usize) -> Snapshot {
        Snapshot {
            channels,
            ..Snapshot::idle()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn best(snapshots: &[Snapshot]) -> Option<usize> {
        super::best(snapshots, &Addresses::new(None), 256)
    }

    fn with(channels: usize) -> Snapshot {
        Snapshot::with(channels)
    }

    #[test]
    fn the_least_loaded_comes_first_and_a_slow_one_counts_as_loaded() {
        let slow = Snapshot {
            rtt: Some(50 * MS),
            ..Snapshot::idle()
        };
        assert_eq!(best(&[with(3), slow, with(1)]), Some(2));
        assert_eq!(best(&[with(3), slow]), Some(0));
        assert_eq!(best(&[with(9), slow]), Some(1));
    }

    #[test]
    fn of_those_alike_the_one_that_has_carried_most_comes_first() {
        let carried = |bytes| Snapshot {
            bytes,
            ..Snapshot::idle()
        };
        assert_eq!(best(&[carried(10), carried(1 << 20), carried(0)]), Some(1));
    }

    #[test]
    fn small_differences_between_round_trips_are_chance() {
        let quick = |micros, channels| Snapshot {
            rtt: Some(Duration::from_micros(micros)),
            ..with(channels)
        };
        assert_eq!(best(&[quick(20, 1), quick(400, 0)]), Some(1));
        let warm = Snapshot {
            bytes: 1 << 20,
            ..quick(81_000, 0)
        };
        assert_eq!(best(&[quick(80_000, 0), warm]), Some(1));
    }

    #[test]
    fn one_that_was_not_measured_counts_as_the_quickest() {
        let new = Snapshot {
            rtt: None,
            ..with(1)
        };
        assert_eq!(best(&[with(2), new]), Some(1));
        assert_eq!(best(&[with(0), new]), Some(0));
    }

    #[test]
    fn one_that_owes_an_answer_counts_as_that_slow() {
        let unanswered_for = Snapshot {
            unanswered_for: 40 * MS,
            ..Snapshot::idle()
        };
        assert_eq!(best(&[unanswered_for, with(2)]), Some(1));
    }

    #[test]
    fn what_fails_never_answered_or_is_to_be_replaced_comes_last() {
        let fails = Snapshot {
            ejected: true,
            ..Snapshot::idle()
        };
        let new = Snapshot {
            greeted: false,
            ..Snapshot::idle()
        };
        let old = Snapshot {
            retiring: true,
            ..Snapshot::idle()
        };
        let order = [new, fails, old, with(99)];
        assert_eq!(best(&order), Some(3));
        assert_eq!(best(&order[..3]), Some(2));
        assert_eq!(best(&order[..2]), Some(1));
        assert_eq!(best(&order[..1]), Some(0), "and still serves");
    }

    #[test]
    fn what_is_late_stalled_or_full_gets_nothing() {
        let in_standing = |standing| Snapshot {
            standing,
            ..Snapshot::idle()
        };
        let full = Snapshot {
            available: 0,
            ..Snapshot::idle()
        };
        let late = in_standing(Standing::Suspect);
        assert_eq!(best(&[late, in_standing(Standing::Stalled), full]), None);
    }

    #[test]
    fn small_requests_pass_beside_a_transfer() {
        let transfer = Snapshot {
            saturated: true,
            ..with(1)
        };
        assert_eq!(best(&[transfer, with(9)]), Some(1));
    }

    #[test]
    fn a_new_connection_gets_few_channels_until_it_has_served_some() {
        let old = Snapshot {
            answered: 1000,
            ..with(200)
        };
        let few = FEW_CHANNELS as usize;
        let new = |channels, answered| Snapshot {
            is_new: true,
            answered,
            ..with(channels)
        };
        assert_eq!(best(&[old, new(few - 1, 0)]), Some(1));
        assert_eq!(best(&[old, new(few, 0)]), Some(0));
        assert_eq!(best(&[old, new(few, 1)]), Some(1));
        // Nor what is more than enough for others: that is for a moment.
        assert_eq!(best(&[with(900), new(few, 0)]), Some(0));
        assert_eq!(best(&[with(900), with(few)]), Some(1));
    }

    #[test]
    fn those_that_carry_something_are_worth_keeping() {
        let fails = Snapshot {
            ejected: true,
            ..with(5)
        };
        assert_eq!(worth_keeping(&[with(0), fails, with(3)]), [2, 0, 1]);
    }
}
