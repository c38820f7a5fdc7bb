//! Connections that get no more channels, until what they carry is over.

use std::time::{Duration, Instant};

use super::action::Action;
use super::link::{Health, Link};

pub(super) struct Drains<L>(Vec<Drain<L>>);

struct Drain<L> {
    link: L,
    /// When it is closed on its channels.
    closes_at: Option<Instant>,
}

impl<L: Link> Drains<L> {
    pub fn new() -> Self {
        Drains(Vec::new())
    }

    /// Takes a connection, whose channels may take so long.
    #[must_use]
    pub fn add(&mut self, link: L, within: Option<Duration>, now: Instant) -> Action<L> {
        let closes_at = within.and_then(|within| now.checked_add(within));
        let drain = Action::Drain(link.clone());
        self.0.push(Drain { link, closes_at });
        drain
    }

    /// Forgets those that have ended. A task that was not run for `dead` is not waited
    /// for.
    pub fn look(&mut self, dead: Duration, now: Instant, actions: &mut Vec<Action<L>>) {
        self.0.retain_mut(|one| {
            let seen = one.link.look(now);
            let over = match seen.health {
                Health::Ended(_) | Health::Abandoned => Action::Release,
                _ if seen.overdue >= dead => Action::Abandon,
                _ => {
                    if one.closes_at.take_if(|at| *at <= now).is_some() {
                        actions.push(Action::Close(one.link.clone()));
                    }
                    return true;
                }
            };
            actions.push(over(one.link.clone()));
            false
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn links(&self) -> impl Iterator<Item = &L> {
        self.0.iter().map(|one| &one.link)
    }

    /// When the next is closed on its channels.
    pub fn next(&self) -> Option<Instant> {
        self.0.iter().filter_map(|one| one.closes_at).min()
    }
}
