//! What the target's name resolves to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Ends, SECOND, World};
use crate::client::ConnectError;

/// How many of the addresses are used.
pub const MOST_ADDRESSES: usize = 5;

#[derive(Default)]
pub struct Names {
    /// The first says which family is preferred.
    pub found: Vec<SocketAddr>,
    /// The last answer.
    pub told: Vec<SocketAddr>,
    pub down: BTreeSet<SocketAddr>,
    /// When the resolver answers, and how.
    pub answers: Option<(Instant, Ends)>,
    /// What it was asked last.
    question: u64,
}

impl World {
    /// The name gets other addresses, and others are down.
    pub(super) fn change_addresses(&mut self) {
        let (rng, Some(names)) = (&mut self.rng, &mut self.names) else {
            return;
        };
        let some = |rng: &mut fastrand::Rng, count| -> Vec<SocketAddr> {
            let addr = |rng: &mut fastrand::Rng| match rng.u8(..8) {
                7 => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], rng.u16(1..4))),
                n => SocketAddr::from(([10, 0, 0, n], 80)),
            };
            (0..count).map(|_| addr(rng)).collect()
        };
        let (found, down) = (rng.usize(..9), rng.usize(..4));
        names.found = some(rng, found);
        names.down = some(rng, down).into_iter().collect();
    }

    pub(super) fn asks_resolver(&mut self, question: u64) {
        let at = self.now + self.some_time().min(SECOND);
        let ends = self.ends;
        let names = self.names.as_mut().expect("it has no name");
        assert!(names.answers.is_none(), "it is asked twice at a time");
        names.question = question;
        names.answers = match ends {
            Ends::Never => None, // its runtime is not run
            Ends::MeetsHttp => Some((at, Ends::Fails)),
            ends => Some((at, ends)),
        };
    }

    pub(super) fn resolver_answers(&mut self, ends: Ends) {
        let names = self.names.as_mut().expect("it has no name");
        names.answers = None;
        let question = names.question;
        let found = match ends {
            Ends::Well if !names.found.is_empty() => Ok(names.found.clone()),
            Ends::IsLost => {
                self.state.resolution_lost(question);
                return self.look();
            }
            _ => Err(ConnectError::resolve("no answer")),
        };
        if let Ok(found) = &found {
            names.told.clone_from(found);
        }
        self.state.resolved(question, found, self.now);
        self.run();
    }

    /// Whether a dial fails because nothing is at its address.
    pub(super) fn is_down(&self, addr: Option<SocketAddr>) -> bool {
        let (names, addr) = (self.names.as_ref(), addr.as_ref());
        addr.is_some_and(|addr| names.is_some_and(|names| names.down.contains(addr)))
    }

    /// The addresses that should each have a connection.
    pub(super) fn addresses_in_use(&self) -> usize {
        let told = self.names.iter().flat_map(|names| &names.told);
        let is_ipv4 = told.clone().next().map(SocketAddr::is_ipv4);
        let told = told.filter(|addr| Some(addr.is_ipv4()) == is_ipv4);
        let all: BTreeSet<_> = told.collect();
        all.len().min(MOST_ADDRESSES)
    }
}
