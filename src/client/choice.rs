//! What a pool decides: which connection gets the next channel, and how many
//! connections there should be. Functions of what is seen, and nothing else.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use super::config::PoolConfig;
use crate::proto::HeldUp;

/// Below it, differences between round-trip times are chance.
const FLOOR: Duration = Duration::from_millis(1);

/// Channels that a new connection gets before others: what it carries at first
/// is little, the kernel's first ten segments.
const FIRST: u64 = 32;

/// Up to how many connections are dialled because transfers fill the others.
const BESIDE: usize = 4;

/// How many connections there may be on top of the most that take channels,
/// however few those are: the ones that are late, and so are replaced.
const LATE: usize = 8;

/// One connection at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// It is neither late, nor drains, nor has ended.
    pub well: bool,
    /// The peer has answered.
    pub answered: bool,
    /// To be replaced: it gets channels only while no other can.
    pub retiring: bool,
    /// It was dialled lately.
    pub is_new: bool,
    /// Channels that are not over.
    pub channels: usize,
    /// Those of them that don't stay.
    pub at_work: usize,
    /// Channels that came to their end.
    pub served: u64,
    /// Bytes of channels that were over lately, and how many those were.
    pub carried: (u64, u64),
    /// It has its share of what connections that lose packets carry.
    pub sated: bool,
    /// Channels that the peer takes beside those.
    pub room: u32,
    /// The smoothed and the shortest round-trip time, once it was measured.
    pub rtt: Option<Duration>,
    pub min_rtt: Option<Duration>,
    /// When the peer was last heard.
    pub heard: Instant,
    /// How long the peer has said nothing since it got a channel.
    pub owes: Duration,
    /// A transfer fills it.
    pub filled: bool,
    /// When the link was found to hold it up, and how much.
    pub held_up: Option<HeldUp>,
}

impl View {
    /// Whether it counts among the connections that there should be.
    pub fn is_fresh(&self) -> bool {
        self.well && !self.retiring
    }

    /// Whether it is one of the best to take a channel.
    pub fn serves(&self) -> bool {
        self.is_fresh() && self.answered && self.room > 0
    }

    fn takes_channels(&self) -> bool {
        self.well && self.room > 0
    }

    /// How full it is: 1, it is busy; 2, it is new and has as many channels as it
    /// can be expected to carry. That doubles with each burst that it has served,
    /// as the window of TCP does.
    fn fullness(&self, busy_at: usize) -> u8 {
        match self.channels {
            n if self.is_new && n as u64 >= FIRST + self.served => 2,
            n => u8::from(n >= busy_at),
        }
    }

    /// The work that the connection has, in time. A peer that is silent counts
    /// as that slow already before it is late.
    fn load(&self, quickest: Duration) -> u128 {
        let rtt = self.rtt.unwrap_or(quickest).max(self.owes).max(FLOOR);
        (self.channels as u128 + 1) * rtt.as_nanos()
    }
}

/// Those that can take a channel, the best first: the least loaded and
/// quickest, and of those alike the one that was heard last. Looking at all of
/// them is better than at two by chance, and as cheap with so few. What may
/// never answer, is to be replaced, has its share, is filled by a transfer, is
/// busy, or is new and has enough for a start, comes after the others, in this
/// order.
pub(super) fn best_first(views: &[View], pool: &PoolConfig) -> Vec<usize> {
    let quickest = views.iter().filter_map(|view| view.rtt).min();
    let quickest = quickest.unwrap_or_default();
    let mut order: Vec<usize> = (0..views.len())
        .filter(|i| views[*i].takes_channels())
        .collect();
    order.sort_by_key(|i| {
        let view = &views[*i];
        let full = view.fullness(pool.busy_at);
        let last = (!view.answered, view.retiring, view.sated, view.filled, full);
        (last, view.load(quickest), Reverse(view.heard))
    });
    order
}

/// Channels that can be opened now.
pub(super) fn room(views: &[View]) -> usize {
    let well = views.iter().filter(|view| view.well);
    well.map(|view| view.room as usize)
        .fold(0, usize::saturating_add)
}

/// Whom more connections would be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A caller who has come for a channel.
    Caller,
    /// Nobody yet: so that the next caller finds a connection.
    Ahead,
}

/// How many more connections are to be dialled, beside the dials under way.
/// `for_loss` of them there should be at least. `failing`: no connection has been
/// good since the last failure, so it is one at a time, and only for a caller.
pub(super) fn missing(
    views: &[View],
    dialling: usize,
    pool: &PoolConfig,
    for_loss: usize,
    need: Need,
    failing: bool,
) -> usize {
    let fresh = views.iter().filter(|view| view.is_fresh()).count();
    let wanted = match (need, failing) {
        (Need::Ahead, true) => 0,
        (Need::Ahead, false) => pool.least.max(for_loss),
        (Need::Caller, true) => wanted_by_load(views, fresh, pool).min(fresh + 1),
        (Need::Caller, false) => wanted_by_load(views, fresh, pool).max(for_loss),
    };
    let room = (pool.most + pool.most.max(LATE)).saturating_sub(views.len() + dialling);
    wanted.saturating_sub(fresh + dialling).min(room)
}

/// One more than there are if each of those has enough to do.
fn wanted_by_load(views: &[View], fresh: usize, pool: &PoolConfig) -> usize {
    let free = |view: &View| {
        let is_free = view.channels < pool.busy_at && !(view.filled && fresh < BESIDE);
        view.is_fresh() && view.takes_channels() && is_free
    };
    let more = usize::from(!views.iter().any(free));
    (fresh + more).clamp(pool.least, pool.most)
}

#[cfg(test)]
impl View {
    /// A connection that is well and has nothing to do.
    pub fn idle() -> View {
        View {
            well: true,
            answered: true,
            retiring: false,
            is_new: false,
            channels: 0,
            at_work: 0,
            served: 0,
            carried: (0, 0),
            sated: false,
            room: 100,
            rtt: Some(Duration::from_millis(10)),
            min_rtt: Some(Duration::from_millis(40)),
            heard: Instant::now(),
            owes: Duration::ZERO,
            filled: false,
            held_up: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn best_first(views: &[View]) -> Vec<usize> {
        super::best_first(views, &PoolConfig::default())
    }

    fn with(channels: usize) -> View {
        View {
            channels,
            ..View::idle()
        }
    }

    fn pool(connections: std::ops::RangeInclusive<usize>) -> PoolConfig {
        let pool = PoolConfig::default().connections(connections).unwrap();
        pool.busy_at(10).unwrap()
    }

    fn missing_for(views: &[View], pool: &PoolConfig, need: Need, failing: bool) -> usize {
        missing(views, 0, pool, 1, need, failing)
    }

    #[test]
    fn the_least_loaded_comes_first_and_a_slow_one_counts_as_loaded() {
        let slow = View {
            rtt: Some(50 * MS),
            ..View::idle()
        };
        assert_eq!(best_first(&[with(3), slow, with(1)]), [2, 0, 1]);
    }

    #[test]
    fn of_those_alike_the_one_heard_last_comes_first() {
        let now = Instant::now();
        let heard = |heard| View {
            heard,
            ..View::idle()
        };
        assert_eq!(best_first(&[heard(now), heard(now + MS)]), [1, 0]);
    }

    #[test]
    fn differences_of_less_than_a_millisecond_are_chance() {
        let quick = |micros, channels| View {
            rtt: Some(Duration::from_micros(micros)),
            ..with(channels)
        };
        assert_eq!(best_first(&[quick(20, 1), quick(400, 0)]), [1, 0]);
    }

    #[test]
    fn one_that_was_not_measured_counts_as_the_quickest() {
        let new = View {
            rtt: None,
            ..with(1)
        };
        assert_eq!(best_first(&[with(2), new, with(0)]), [2, 1, 0]);
    }

    #[test]
    fn one_that_owes_an_answer_counts_as_that_slow() {
        let owes = View {
            owes: 40 * MS,
            ..View::idle()
        };
        assert_eq!(best_first(&[owes, with(2)]), [1, 0]);
    }

    #[test]
    fn what_never_answered_or_is_to_be_replaced_comes_last() {
        let new = View {
            answered: false,
            ..View::idle()
        };
        let old = View {
            retiring: true,
            ..View::idle()
        };
        assert_eq!(best_first(&[new, old, with(99)]), [2, 1, 0]);
    }

    #[test]
    fn what_is_not_well_or_is_full_gets_nothing() {
        let late = View {
            well: false,
            ..View::idle()
        };
        let full = View {
            room: 0,
            ..View::idle()
        };
        assert!(best_first(&[late, full]).is_empty());
        assert_eq!(room(&[late, full, View::idle()]), 100);
    }

    #[test]
    fn a_new_connection_gets_few_channels_until_it_has_served_some() {
        let old = View {
            served: 1000,
            ..with(200)
        };
        let few = FIRST as usize;
        let new = |channels, served| View {
            is_new: true,
            served,
            ..with(channels)
        };
        assert_eq!(best_first(&[old, new(few - 1, 0)]), [1, 0]);
        assert_eq!(best_first(&[old, new(few, 0)]), [0, 1]);
        assert_eq!(best_first(&[old, new(few, 1)]), [1, 0]);
        // Nor what is more than enough for others: that is for a moment.
        assert_eq!(best_first(&[with(900), new(few, 0)]), [0, 1]);
        assert_eq!(best_first(&[with(900), with(few)]), [1, 0]);
    }

    #[test]
    fn another_is_dialled_when_all_have_enough_to_do_up_to_the_most() {
        let pool = pool(1..=3);
        let count = |views: &[View]| missing_for(views, &pool, Need::Caller, false);
        assert_eq!(count(&[with(9)]), 0);
        assert_eq!(count(&[with(10)]), 1);
        assert_eq!(count(&[with(10), with(9)]), 0);
        assert_eq!(count(&[with(10); 3]), 0);
    }

    #[test]
    fn beside_transfers_there_is_a_connection_for_the_rest_up_to_four() {
        let full = View {
            filled: true,
            ..with(1)
        };
        let pool = pool(1..=8);
        let count = |views: &[View]| missing_for(views, &pool, Need::Caller, false);
        assert_eq!(count(&[full]), 1);
        assert_eq!(count(&[full, with(9)]), 0);
        assert_eq!(count(&[full; 3]), 1);
        assert_eq!(count(&[full; BESIDE]), 0);
        assert_eq!(best_first(&[full, with(9)]), [1, 0]);
    }

    #[test]
    fn dials_under_way_count() {
        assert_eq!(
            missing(&[with(10)], 1, &pool(1..=3), 1, Need::Caller, false),
            0
        );
    }

    #[test]
    fn nothing_is_dialled_ahead_but_what_there_must_be() {
        let busy = [with(10)];
        assert_eq!(missing_for(&busy, &pool(1..=3), Need::Ahead, false), 0);
        assert_eq!(missing_for(&busy, &pool(2..=3), Need::Ahead, false), 1);
    }

    #[test]
    fn what_is_late_or_old_is_replaced_ahead_of_need() {
        let late = View {
            well: false,
            ..View::idle()
        };
        let old = View {
            retiring: true,
            ..View::idle()
        };
        for view in [late, old] {
            assert_eq!(missing_for(&[view], &pool(1..=1), Need::Ahead, false), 1);
        }
    }

    #[test]
    fn a_target_that_fails_is_dialled_one_at_a_time_and_only_for_a_caller() {
        let pool = pool(4..=8);
        assert_eq!(missing_for(&[], &pool, Need::Caller, false), 4);
        assert_eq!(missing_for(&[], &pool, Need::Caller, true), 1);
        assert_eq!(missing_for(&[], &pool, Need::Ahead, true), 0);
    }

    #[test]
    fn loss_asks_for_more_unless_the_target_fails() {
        let count = |failing| missing(&[View::idle()], 0, &pool(1..=8), 4, Need::Caller, failing);
        assert_eq!((count(false), count(true)), (3, 0));
    }

    #[test]
    fn those_that_are_late_are_replaced_up_to_a_bound() {
        let late = View {
            well: false,
            ..View::idle()
        };
        let pool = pool(1..=1);
        assert_eq!(missing_for(&[late; LATE], &pool, Need::Caller, false), 1);
        assert_eq!(
            missing_for(&[late; LATE + 1], &pool, Need::Caller, false),
            0
        );
    }

    /// Web sockets, say, on a connection that has served many.
    #[test]
    fn channels_that_stay_are_spread_as_the_pool_says() {
        let pool = PoolConfig::default();
        let (room, served) = (4000, 1000);
        let mut views = vec![View {
            room,
            served,
            ..View::idle()
        }];
        for _ in 0..1500 {
            let at = best_first(&views)[0];
            views[at].channels += 1;
            for _ in 0..missing_for(&views, &pool, Need::Caller, false) {
                views.push(View {
                    room,
                    ..View::idle()
                });
            }
        }
        assert!(views.iter().all(|view| view.channels <= pool.busy_at));
    }
}
