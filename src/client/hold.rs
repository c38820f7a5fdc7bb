//! Who waits for a connection while packets are lost.
//!
//! What was sent on a connection can't be taken back when another is through
//! sooner. So while loss has the pool keep several, a connection gets no more
//! channels at a time than its share: as many as it is expected to carry in four
//! round trips, and at least one. A channel is expected to be the mean of the last,
//! and a connection to have the pace at which it was lately found, or else the one
//! that it was opened for. Callers wait until one is through, but not long: the
//! mean says nothing about a single channel. Channels that were there when a
//! connection had got no other for long, such as web sockets, say nothing about it
//! and don't count.

use std::time::Duration;

use tokio::time::Instant;

use super::choice::View;
use super::spread::is_recent;
use crate::proto::{HEALTHY, LEAST_ROUND, Stats};

/// Round trips of which a share is the work.
const ROUNDS: u64 = 4;

/// A share of so many is no limit: the channels are small.
const MANY: u64 = 8;

/// Round trips after which a channel is one that stays, and a caller waits no more.
pub(super) const PATIENCE: u32 = 8;

/// How often those who wait look for a connection that is through, in a round trip.
pub(super) const LOOKS: u32 = 8;

/// How many callers wait at most, since each of them looks. If more come, nobody
/// waits.
pub(super) const WAITING: usize = 64;

/// Channels of which there is a mean.
const FEW: u64 = 32;

/// Bytes of a channel that count: one of more is no different, and a single one of
/// very many is to be forgotten soon.
const COUNTED: u64 = 128 << 10;

/// What the channels of a connection were like lately.
#[derive(Debug)]
pub(super) struct Lately {
    /// Of all that are over: bytes, and how many.
    seen: (u64, u64),
    /// The same of the last.
    bytes: u64,
    over: u64,
    /// When a channel was last opened.
    opened_at: Instant,
    /// Channels that were there long after that.
    stay: usize,
}

impl Lately {
    pub fn new(now: Instant) -> Self {
        Lately {
            seen: (0, 0),
            bytes: 0,
            over: 0,
            opened_at: now,
            stay: 0,
        }
    }

    /// Looks at the connection, of whose channels so many are over.
    pub fn look(&mut self, stats: &Stats, over: u64, now: Instant) {
        self.count(stats.carried, over);
        let long = stats.min_rtt.map(|rtt| rtt * PATIENCE);
        self.stay = match long.is_some_and(|long| now >= self.opened_at + long) {
            true => stats.channels,
            false => self.stay.min(stats.channels),
        };
    }

    /// So many bytes were carried by channels that are over, and so many those are.
    fn count(&mut self, bytes: u64, over: u64) {
        let seen = std::mem::replace(&mut self.seen, (bytes, over));
        let over = over.saturating_sub(seen.1);
        self.bytes += (bytes - seen.0).min(over * COUNTED);
        self.over += over;
        while self.over >= FEW {
            (self.bytes, self.over) = (self.bytes / 2, self.over / 2);
        }
    }

    pub fn on_open(&mut self, now: Instant) {
        self.opened_at = now;
    }

    /// Of so many channels those that don't stay.
    pub fn at_work(&self, channels: usize) -> usize {
        channels - self.stay.min(channels)
    }

    /// The bytes of so many channels that are over.
    pub fn carried(&self) -> (u64, u64) {
        (self.bytes, self.over)
    }
}

/// Finds which connections have their share of those that loss asks for.
pub(super) fn sate(views: &mut [View], wanted: usize, now: Instant) {
    let there = views.iter().filter(|view| view.serves()).count();
    let (bytes, over) = views.iter().fold((0, 0), |(bytes, over), view| {
        (bytes + view.carried.0, over + view.carried.1)
    });
    if wanted.min(there) < 2 || over == 0 {
        return;
    }
    let (mean, expected) = ((bytes / over).max(1), HEALTHY / wanted.min(there) as u64);
    for view in views {
        let found = view.held_up.filter(|found| is_recent(found, now));
        let pace = found.map_or(expected, |found| found.pace);
        let share = ((ROUNDS * pace + mean / 2) / mean).max(1);
        view.sated = share < MANY && view.at_work as u64 >= share;
    }
}

/// When a caller is to look again, if all who could serve it have their share. On
/// short links, where a pace is that of a longer time, it is not to wait.
pub(super) fn pause(views: &[View]) -> Option<Duration> {
    let mut there = views.iter().filter(|view| view.serves()).peekable();
    let rtt = there.peek()?.min_rtt.filter(|rtt| *rtt >= LEAST_ROUND)?;
    there.all(|view| view.sated).then_some(rtt / LOOKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::HeldUp;

    const MS: Duration = Duration::from_millis(1);
    const MOST: usize = 16;

    /// One of several connections whose channels carry so many bytes.
    fn with(at_work: usize, mean: u64, held_up: Option<HeldUp>) -> View {
        View {
            at_work,
            carried: (mean * 3, 3),
            held_up,
            ..View::idle()
        }
    }

    /// Whether that one has its share, of the most that there are.
    fn is_sated(view: View) -> bool {
        let mut views = [view; MOST];
        sate(&mut views, MOST, Instant::now());
        views[0].sated
    }

    #[test]
    fn a_share_is_what_a_connection_is_expected_to_carry_in_four_round_trips() {
        let mean = HEALTHY / MOST as u64 * 4 / 3;
        assert!(!is_sated(with(2, mean, None)));
        assert!(is_sated(with(3, mean, None)));
    }

    #[test]
    fn it_is_less_where_the_connection_was_lately_found_to_be_slower() {
        let mean = HEALTHY / MOST as u64 * 4 / 3;
        let now = Instant::now().into_std();
        let found = |at| Some(HeldUp::at(at, mean / 2));
        assert!(!is_sated(with(1, mean, found(now))));
        assert!(is_sated(with(2, mean, found(now))));
        assert!(!is_sated(with(2, mean, found(now - 6000 * MS))));
    }

    #[test]
    fn it_is_at_least_one_channel() {
        assert!(!is_sated(with(0, 1 << 30, None)));
        assert!(is_sated(with(1, 1 << 30, None)));
    }

    #[test]
    fn channels_of_which_many_are_a_share_are_not_limited() {
        let mean = HEALTHY / MOST as u64 * 4 / MANY;
        assert!(!is_sated(with(1000, mean, None)));
        assert!(is_sated(with(1000, mean * 2, None)));
    }

    #[test]
    fn nobody_waits_on_a_short_link() {
        let short = View {
            sated: true,
            min_rtt: Some(19 * MS),
            ..View::idle()
        };
        assert_eq!(pause(&[short]), None);
    }

    #[test]
    fn a_single_large_channel_among_small_ones_is_soon_forgotten() {
        let mut lately = Lately::new(Instant::now());
        lately.count(1 << 30, 1);
        lately.count((1 << 30) + 9_000, 10);
        let (bytes, over) = lately.carried();
        assert!(bytes / over < 16 << 10);
    }

    #[test]
    fn nothing_is_expected_before_a_channel_was_over() {
        let mut views = [with(9, 1 << 20, None); MOST];
        views.iter_mut().for_each(|view| view.carried = (0, 0));
        sate(&mut views, MOST, Instant::now());
        assert!(!views[0].sated);
    }

    #[test]
    fn a_caller_looks_again_while_all_that_could_serve_it_have_their_share() {
        let sated = View {
            sated: true,
            ..View::idle()
        };
        let old = View {
            retiring: true,
            ..View::idle()
        };
        assert_eq!(pause(&[sated, old]), Some(40 * MS / LOOKS));
        assert_eq!(pause(&[sated, View::idle()]), None);
        assert_eq!(pause(&[old]), None);
    }
}
