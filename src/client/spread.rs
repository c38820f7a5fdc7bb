//! How many connections loss asks for.
//!
//! One connection that loses packets carries little, however much there is to
//! carry, and several carry several times as much. When a connection is found to
//! be held up, as many are wanted as would together carry what a healthy one
//! does. If most of them are held up and together carry no more than the one did,
//! they share a slow link: it is one again, and the next try waits, each time
//! twice as long. When none was found to be held up for a while, the loss has
//! ended.

use std::time::Duration;

use tokio::time::Instant;

use crate::proto::{HEALTHY, HeldUp};

/// What was found within this time is how things are.
const RECENT: Duration = Duration::from_secs(5);

/// How long connections stay after one of them was last found to be held up.
const KEEP: Duration = Duration::from_secs(60);

/// How long no more are tried after they were of no use, at first and at most.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Spread {
    /// At least 1.
    wanted: usize,
    /// The pace of one connection while only it was held up.
    alone: u64,
    /// When it is one again.
    until: Instant,
    rests_until: Instant,
    rest: Duration,
}

impl Spread {
    pub fn new(now: Instant) -> Self {
        Spread {
            wanted: 1,
            alone: 0,
            until: now,
            rests_until: now,
            rest: REST,
        }
    }

    /// Connections that loss asks for; 1 without loss.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// When to look again though nothing is found.
    pub fn until(&self) -> Option<Instant> {
        (self.wanted > 1).then_some(self.until)
    }

    /// Takes what was found of each connection. Whether it is one again from now
    /// on.
    pub fn look(&mut self, found: impl Iterator<Item = HeldUp>, most: usize, now: Instant) -> bool {
        let recent = found.filter(|found| is_recent(found, now));
        let paces: Vec<u64> = recent.map(|found| found.pace.max(1)).collect();
        if paces.is_empty() {
            let over = self.wanted > 1 && now >= self.until;
            if over {
                (self.wanted, self.rest) = (1, REST);
            }
            return over;
        }
        let together: u64 = paces.iter().sum();
        if paces.len() == 1 {
            self.alone = self.alone.min(together);
        }
        let most_of_them = paces.len() > 1 && paces.len() * 2 >= self.wanted;
        if self.wanted > 1 && most_of_them && together < self.alone + self.alone / 4 {
            self.wanted = 1;
            self.rests_until = now + self.rest;
            self.rest = LONGEST_REST.min(self.rest * 2);
            return true;
        }
        if self.wanted == 1 && now < self.rests_until {
            return false;
        }
        let pace = together / paces.len() as u64;
        if self.wanted == 1 {
            self.alone = pace;
        }
        let wanted = HEALTHY.div_ceil(pace).min(most as u64) as usize;
        self.wanted = self.wanted.max(wanted);
        self.until = now + KEEP;
        false
    }
}

/// Whether what was found is how things are.
pub(super) fn is_recent(found: &HeldUp, now: Instant) -> bool {
    now.duration_since(found.at.into()) < RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 16;

    /// Connections that were found at these paces, now.
    fn found(paces: &[u64], now: Instant) -> impl Iterator<Item = HeldUp> {
        let at = now.into_std();
        paces.iter().map(move |pace| HeldUp::at(at, *pace))
    }

    fn spread(alone: u64) -> (Spread, Instant) {
        let now = Instant::now();
        let mut spread = Spread::new(now);
        spread.look(found(&[alone], now), MOST, now);
        (spread, now)
    }

    #[test]
    fn a_connection_that_carries_a_fourth_of_what_a_healthy_one_does_asks_for_four() {
        assert_eq!(spread(HEALTHY / 4).0.wanted(), 4);
    }

    #[test]
    fn no_more_are_wanted_than_there_may_be() {
        assert_eq!(spread(1).0.wanted(), MOST);
    }

    #[test]
    fn connections_that_carry_several_times_as_much_stay() {
        let (mut spread, now) = spread(HEALTHY / 4);
        assert!(!spread.look(found(&[HEALTHY / 4; 4], now), MOST, now));
        assert_eq!(spread.wanted(), 4);
    }

    #[test]
    fn loss_that_grows_asks_for_more() {
        let (mut spread, now) = spread(HEALTHY / 4);
        spread.look(found(&[HEALTHY / 8; 4], now), MOST, now);
        assert_eq!(spread.wanted(), 8);
    }

    #[test]
    fn connections_that_share_a_slow_link_become_one_and_the_next_try_waits() {
        let (mut spread, now) = spread(HEALTHY / 4);
        assert!(spread.look(found(&[HEALTHY / 16; 4], now), MOST, now));
        assert_eq!(spread.wanted(), 1);
        let soon = now + REST / 2;
        spread.look(found(&[HEALTHY / 4], soon), MOST, soon);
        assert_eq!(spread.wanted(), 1);
        let later = now + REST;
        spread.look(found(&[HEALTHY / 4], later), MOST, later);
        assert_eq!(spread.wanted(), 4);
    }

    #[test]
    fn a_second_useless_try_is_followed_by_a_longer_rest() {
        let (mut spread, now) = spread(HEALTHY / 4);
        spread.look(found(&[HEALTHY / 16; 4], now), MOST, now);
        let again = now + REST;
        spread.look(found(&[HEALTHY / 4], again), MOST, again);
        spread.look(found(&[HEALTHY / 16; 4], again), MOST, again);
        let later = again + REST;
        spread.look(found(&[HEALTHY / 4], later), MOST, later);
        assert_eq!(spread.wanted(), 1);
    }

    #[test]
    fn it_is_one_again_a_while_after_the_loss_ended() {
        let (mut spread, now) = spread(HEALTHY / 4);
        let until = spread.until().unwrap();
        assert!(!spread.look(found(&[], now), MOST, until - Duration::from_millis(1)));
        assert!(spread.look(found(&[], now), MOST, until));
        assert_eq!((spread.wanted(), spread.until()), (1, None));
    }

    #[test]
    fn what_was_found_long_ago_says_nothing() {
        let (spread, now) = (Spread::new(Instant::now()), Instant::now());
        let mut spread = spread;
        spread.look(found(&[1], now), MOST, now + RECENT);
        assert_eq!(spread.wanted(), 1);
    }
}
