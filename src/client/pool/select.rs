//! Selection: which connection gets the next channel.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use crate::driver::ThroughputLimited;

/// Below it, and below five eighths, differences between round-trip times are chance, or
/// the queue of a transfer: one of half a round trip is common.
const FLOOR: Duration = Duration::from_millis(1);

/// Channels that a new connection gets before others: what it carries at first
/// is little, the kernel's first ten segments.
const FIRST: u64 = 32;

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
pub(super) struct View {
    pub standing: Standing,
    /// The peer has answered the hello.
    pub greeted: bool,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// A channel has failed: it is avoided for a while.
    pub ejected: bool,
    /// Its channels fail time and again.
    pub broken: bool,
    /// It was dialled lately.
    pub is_new: bool,
    /// Channels that are in use.
    pub channels: usize,
    /// Channels that the peer takes beside those.
    pub room: u32,
    /// Channels that the peer has answered.
    pub answered: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    pub rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// How long the peer has said nothing since it got a channel.
    pub owes: Duration,
    /// A transfer fills it, so that what is small waits behind it.
    pub saturated: bool,
    /// When the transport was last found to hold it back, and at what rate.
    pub held_up: Option<ThroughputLimited>,
}

impl View {
    /// Whether it counts among the connections that there should be.
    pub fn is_fresh(&self) -> bool {
        self.standing != Standing::Suspect && !self.retiring
    }

    /// Whether it could serve a caller, now or once it has room.
    pub fn is_usable(&self) -> bool {
        self.standing != Standing::Suspect
    }

    /// Whether it can take a channel now.
    pub fn is_available(&self) -> bool {
        self.standing == Standing::Healthy && self.room > 0
    }

    /// How full it is: 1, it has its target concurrency; 2, it is new and has as many
    /// channels as it can be expected to carry. That doubles with each burst that it
    /// has served, as the window of TCP does.
    fn fullness(&self, concurrency: usize) -> u8 {
        match self.channels {
            n if self.is_new && n as u64 >= FIRST + self.answered => 2,
            n => u8::from(n >= concurrency),
        }
    }

    /// The work that the connection has, in time. A peer that is silent counts
    /// as that slow already before it is late.
    fn load(&self, quickest: Duration) -> u128 {
        let alike = quickest + quickest / 2 + quickest / 8;
        let rtt = self.rtt.filter(|rtt| *rtt > alike).unwrap_or(quickest);
        let rtt = rtt.max(self.owes).max(FLOOR);
        (self.channels as u128 + 1) * rtt.as_nanos()
    }
}

/// The best connection for a channel: the least loaded and quickest, and of those alike
/// the one that has carried most, whose congestion window is open. To look at all of them is better than at two by chance,
/// and as cheap with so few. Others come first than those that may never answer, are ejected,
/// are to be replaced, are saturated or have enough to do, in this order.
pub(super) fn best(views: &[View], concurrency: usize) -> Option<usize> {
    let quickest = views.iter().filter_map(|view| view.rtt).min();
    let quickest = quickest.unwrap_or_default();
    let rank = |view: &View| {
        let full = view.fullness(concurrency);
        let last = (!view.greeted, view.ejected, view.retiring);
        let load = view.load(quickest);
        let warm = Reverse((view.bytes, view.heard));
        (last, view.saturated, full, load, warm)
    };
    let available = (0..views.len()).filter(|at| views[*at].is_available());
    available.min_by_key(|at| rank(&views[*at]))
}

/// The connections that get channels in turn, those to keep first: they have channels
/// that would otherwise have to end, and have carried most.
pub(super) fn worth_keeping(views: &[View]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..views.len())
        .filter(|at| views[*at].is_fresh())
        .collect();
    order.sort_by_key(|at| {
        let view = &views[*at];
        let last = (!view.greeted, view.broken || view.ejected);
        (last, Reverse((view.channels, view.bytes)))
    });
    order
}

/// The same order by what they have carried: after a burst those stay whose congestion
/// windows are open.
pub(super) fn warmest(views: &[View]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..views.len())
        .filter(|at| views[*at].is_fresh())
        .collect();
    order.sort_by_key(|at| {
        let view = &views[*at];
        let last = (!view.greeted, view.broken || view.ejected);
        (last, Reverse((view.bytes, view.channels)))
    });
    order
}

#[cfg(test)]
impl View {
    /// A connection that is well and has nothing to do.
    pub fn idle() -> View {
        View {
            standing: Standing::Healthy,
            greeted: true,
            retiring: false,
            ejected: false,
            broken: false,
            is_new: false,
            channels: 0,
            room: 100,
            answered: 0,
            bytes: 0,
            rtt: Some(Duration::from_millis(10)),
            heard: Instant::now(),
            owes: Duration::ZERO,
            saturated: false,
            held_up: None,
        }
    }

    pub fn with(channels: usize) -> View {
        View {
            channels,
            ..View::idle()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn best(views: &[View]) -> Option<usize> {
        super::best(views, 256)
    }

    fn with(channels: usize) -> View {
        View::with(channels)
    }

    #[test]
    fn the_least_loaded_comes_first_and_a_slow_one_counts_as_loaded() {
        let slow = View {
            rtt: Some(50 * MS),
            ..View::idle()
        };
        assert_eq!(best(&[with(3), slow, with(1)]), Some(2));
        assert_eq!(best(&[with(3), slow]), Some(0));
    }

    #[test]
    fn of_those_alike_the_one_that_has_carried_most_comes_first() {
        let carried = |bytes| View {
            bytes,
            ..View::idle()
        };
        assert_eq!(best(&[carried(10), carried(1 << 20), carried(0)]), Some(1));
    }

    #[test]
    fn small_differences_between_round_trips_are_chance() {
        let quick = |micros, channels| View {
            rtt: Some(Duration::from_micros(micros)),
            ..with(channels)
        };
        assert_eq!(best(&[quick(20, 1), quick(400, 0)]), Some(1));
        let warm = View {
            bytes: 1 << 20,
            ..quick(81_000, 0)
        };
        assert_eq!(best(&[quick(80_000, 0), warm]), Some(1));
    }

    #[test]
    fn one_that_was_not_measured_counts_as_the_quickest() {
        let new = View {
            rtt: None,
            ..with(1)
        };
        assert_eq!(best(&[with(2), new]), Some(1));
        assert_eq!(best(&[with(0), new]), Some(0));
    }

    #[test]
    fn one_that_owes_an_answer_counts_as_that_slow() {
        let owes = View {
            owes: 40 * MS,
            ..View::idle()
        };
        assert_eq!(best(&[owes, with(2)]), Some(1));
    }

    #[test]
    fn what_fails_never_answered_or_is_to_be_replaced_comes_last() {
        let fails = View {
            ejected: true,
            ..View::idle()
        };
        let new = View {
            greeted: false,
            ..View::idle()
        };
        let old = View {
            retiring: true,
            ..View::idle()
        };
        let order = [new, fails, old, with(99)];
        assert_eq!(best(&order), Some(3));
        assert_eq!(best(&order[..3]), Some(2));
        assert_eq!(best(&order[..2]), Some(1));
        assert_eq!(best(&order[..1]), Some(0), "and still serves");
    }

    #[test]
    fn what_is_late_stalled_or_full_gets_nothing() {
        let in_standing = |standing| View {
            standing,
            ..View::idle()
        };
        let full = View {
            room: 0,
            ..View::idle()
        };
        let late = in_standing(Standing::Suspect);
        assert_eq!(best(&[late, in_standing(Standing::Stalled), full]), None);
    }

    #[test]
    fn small_requests_pass_beside_a_transfer() {
        let transfer = View {
            saturated: true,
            ..with(1)
        };
        assert_eq!(best(&[transfer, with(9)]), Some(1));
    }

    #[test]
    fn a_new_connection_gets_few_channels_until_it_has_served_some() {
        let old = View {
            answered: 1000,
            ..with(200)
        };
        let few = FIRST as usize;
        let new = |channels, answered| View {
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
        let fails = View {
            ejected: true,
            ..with(5)
        };
        assert_eq!(worth_keeping(&[with(0), fails, with(3)]), [2, 0, 1]);
    }
}
