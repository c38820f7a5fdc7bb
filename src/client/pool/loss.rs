//! More connections where the link loses packets and TCP takes that for a full link.
//!
//! TCP does not tell of loss. A connection is throughput-limited if its transport held it
//! back over eight round trips at a low rate ([`ThroughputLimited`]), which a slow link does, too.
//! So it is an experiment: try twice as many connections, and keep them if together they
//! carry more. On a slow link, or on one that is shared, they don't.

use std::time::{Duration, Instant};

use super::select::View;
use crate::driver::ThroughputLimited;

/// How long a sign is taken for how things are.
const RECENT: Duration = Duration::from_secs(5);

/// Twice the connections help if they carry so much more, in percent.
const HELPS: u64 = 140;

/// An experiment that shows nothing for so long is over: there is too little to carry.
const TRIAL: Duration = Duration::from_secs(90);

/// Without a sign for so long the loss has ended.
const KEEP: Duration = Duration::from_secs(60);

/// How long no more are tried after they were of no use, at first and at most.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(32 * 60);

#[derive(Debug)]
pub(super) struct Loss {
    /// At least 1.
    wanted: usize,
    /// So many were found to carry more than half as many.
    proven: bool,
    trial: Option<Trial>,
    /// When there was a sign.
    seen: Instant,
    rests_until: Instant,
    rest: Duration,
}

/// Connections are changed from one number to another.
#[derive(Debug)]
struct Trial {
    since: Instant,
    from: usize,
    /// Bytes a second that so many carried.
    carried: u64,
    to: usize,
    /// When there were as many.
    ready: Option<Instant>,
}

impl Loss {
    pub fn new(now: Instant) -> Self {
        Loss {
            wanted: 1,
            proven: false,
            trial: None,
            seen: now,
            rests_until: now,
            rest: REST,
        }
    }

    /// How many connections loss asks for; 1 without loss.
    pub fn look(&mut self, views: &[View], most: usize, now: Instant) -> usize {
        let fresh = || views.iter().filter(|view| view.is_fresh());
        let signs = fresh().filter_map(|view| view.held_up);
        let signs: Vec<ThroughputLimited> = signs.filter(|sign| now < sign.at + RECENT).collect();
        match signs.is_empty() {
            true => self.fade(now),
            false => {
                self.seen = now;
                let channels = fresh().map(|view| view.channels).sum();
                self.judge(&signs, fresh().count(), channels, most, now);
            }
        }
        self.wanted
    }

    fn judge(
        &mut self,
        signs: &[ThroughputLimited],
        there: usize,
        channels: usize,
        most: usize,
        now: Instant,
    ) {
        match &mut self.trial {
            Some(trial) => {
                let reached = match trial.to > trial.from {
                    true => there >= trial.to,
                    false => there <= trial.to,
                };
                if reached {
                    let ready = *trial.ready.get_or_insert(now);
                    if let Some(carried) = carried(signs, there, Some(ready)) {
                        self.conclude(carried, now);
                    }
                }
                self.trial.take_if(|trial| now >= trial.since + TRIAL);
            }
            // One transfer at a time can't use another connection.
            None if channels >= 2 * there => {
                if let Some(carried) = carried(signs, there, None) {
                    self.begin(there, carried, most, now);
                }
            }
            None => {}
        }
    }

    /// Fewer are tried first where nothing shows that so many help.
    fn begin(&mut self, there: usize, carried: u64, most: usize, now: Instant) {
        let to = match there > 1 && !(self.proven && there <= self.wanted) {
            true => there.div_ceil(2),
            false if now >= self.rests_until => most.min(2 * there),
            false => return,
        };
        if to != there {
            self.wanted = to;
            self.trial = Some(Trial {
                since: now,
                from: there,
                carried,
                to,
                ready: None,
            });
        }
    }

    fn conclude(&mut self, carried: u64, now: Instant) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        let (from, to) = ((trial.from, trial.carried), (trial.to, carried));
        let (fewer, more) = (from.min(to), from.max(to));
        self.proven = more.1 * 100 >= fewer.1 * HELPS;
        match self.proven {
            true => (self.wanted, self.rest) = (more.0, REST),
            false => {
                self.wanted = fewer.0;
                self.rests_until = now + self.rest;
                self.rest = (self.rest * 2).min(LONGEST_REST);
            }
        }
    }

    /// While there is no sign, half of them go each minute.
    fn fade(&mut self, now: Instant) {
        if self.wanted > 1 && now >= self.seen + KEEP {
            self.wanted = self.wanted.div_ceil(2);
            (self.trial, self.seen) = (None, now);
            self.proven &= self.wanted > 1;
        }
    }

    /// When to look again though there is no sign.
    pub fn next(&self) -> Option<Instant> {
        (self.wanted > 1).then_some(self.seen + KEEP)
    }
}

/// Bytes a second that so many connections carry together, if most of them have had a
/// sign since then: the others are taken for as quick.
fn carried(signs: &[ThroughputLimited], connections: usize, since: Option<Instant>) -> Option<u64> {
    let signs = signs.iter().filter(|sign| Some(sign.at) > since);
    let (count, sum) = signs.fold((0, 0), |(count, sum), sign| {
        (count + 1, sum + sign.bytes_per_second)
    });
    (2 * count > connections).then(|| sum * connections as u64 / count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 16;

    fn views(count: usize, pace: Option<u64>, now: Instant) -> Vec<View> {
        let view = View {
            held_up: pace.map(|pace| ThroughputLimited::at(now, pace)),
            ..View::with(10)
        };
        vec![view; count]
    }

    /// How many there are after some minutes on a link where so many connections carry
    /// so much each, and the most that there were.
    fn after(minutes: u64, begin: usize, pace: impl Fn(usize) -> u64) -> (usize, usize) {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        let (mut there, mut most) = (begin, begin);
        for second in 0..60 * minutes {
            let now = start + Duration::from_secs(second);
            let wanted = loss.look(&views(there, Some(pace(there)), now), MOST, now);
            // Dials take a moment; what is not needed goes after half a minute.
            if wanted > there || second % 30 == 0 {
                there = wanted;
            }
            most = most.max(there);
        }
        (there, most)
    }

    #[test]
    fn where_packets_are_lost_each_connection_carries_as_much_so_there_are_many() {
        assert_eq!(after(2, 1, |_| 16_000), (MOST, MOST));
    }

    #[test]
    fn a_slow_link_carries_no_more_so_there_is_one() {
        assert_eq!(after(20, 1, |there| 50_000 / there as u64).1, 2);
        assert_eq!(after(5, 1, |there| 50_000 / there as u64).0, 1);
    }

    #[test]
    fn what_a_cold_burst_had_dialled_stays_only_if_it_helps() {
        assert_eq!(after(5, 13, |there| 50_000 / there as u64).0, 1);
        assert!(after(5, 13, |_| 16_000).0 >= 13);
    }

    #[test]
    fn a_link_that_a_few_connections_fill_has_a_few() {
        let (_, most) = after(20, 1, |there| 16_000.min(64_000 / there as u64));
        assert_eq!(most, 8, "one more step showed that they are of no use");
    }

    #[test]
    fn half_of_them_go_each_minute_without_loss() {
        let start = Instant::now();
        let mut loss = Loss::new(start);
        (loss.wanted, loss.proven) = (MOST, true);
        let counts: Vec<usize> = (1..=5)
            .map(|minute| {
                let now = start + KEEP * minute;
                loss.look(&views(MOST, None, now), MOST, now)
            })
            .collect();
        assert_eq!(counts, [8, 4, 2, 1, 1]);
    }

    #[test]
    fn one_transfer_at_a_time_tries_nothing() {
        let now = Instant::now();
        let mut alone = views(1, Some(16_000), now);
        alone[0].channels = 1;
        assert_eq!(Loss::new(now).look(&alone, MOST, now), 1);
    }
}
