//! What holds after each event, and once all is well again.

use std::net::SocketAddr;

use super::connection::Fake;
use super::names::MOST_ADDRESSES;
use super::{Ends, IDLE, OPEN_TIMEOUT, QUIET, SECOND, World};

impl World {
    pub(super) fn check(&self) {
        let now = self.now;
        let addresses = self.names.as_ref().map_or(0, |_| MOST_ADDRESSES);
        let most = self.pool.most.max(addresses);
        let dials = self.state.dials.count();
        assert!(dials <= most.max(2) + addresses, "{dials} dials");
        let there = self.state.connections().filter(|link| {
            let addr = link.0.borrow().addr;
            addr.is_none_or(|addr| self.state.addresses.iter().any(|one| one == addr))
        });
        let all = dials + there.count();
        assert!(
            all <= most + most.max(8) + addresses,
            "{all} connections and dials"
        );
        assert_eq!(self.state.waiters.callers(), self.waiting.len());
        assert!(self.waiting.len() <= self.pool.max_waiting);
        if self.waiting.is_empty() {
            return;
        }
        let usable = |link: &&Fake| !link.0.borrow().suspect;
        let resolves = self.names.as_ref().is_some_and(|_| {
            let resolution = self.state.resolution.as_ref();
            self.state.addresses.len() == 0 && resolution.is_some()
        });
        assert!(
            resolves || dials > 0 || self.state.connections().any(|link| usable(&link)),
            "callers wait for nothing"
        );
        let free = self.state.connections();
        let mut free = free.filter(|link| {
            let one = link.0.borrow();
            let never_failed = self.names.is_none() && !self.state.addresses.all_fail();
            let may = one.greeted || never_failed;
            may && one.is_available(now) && one.stalled.is_none()
        });
        let settles = self.state.dials.settles(now);
        assert!(settles || free.next().is_none(), "callers wait beside room");
    }

    /// All is well again: who waits is served, and what is not needed goes.
    pub(super) fn settle(&mut self) {
        (self.ends, self.fails, self.settles) = (Ends::Well, false, true);
        self.limits = None;
        if let Some(names) = &mut self.names {
            names.down.clear();
            if names.found.is_empty() {
                names.found.push(SocketAddr::from(([10, 0, 0, 1], 80)));
            }
        }
        for link in &self.links {
            let mut one = link.0.borrow_mut();
            (one.greeted, one.suspect, one.stalled) = (true, false, None);
        }
        self.look();
        for _ in 0..200 {
            self.end_channel(0);
            self.pass(SECOND / 10);
        }
        assert!(self.waiting.is_empty(), "callers were forgotten");
        // After failures each dial waits until the connection before it was good.
        for _ in 0..600 {
            if self.prewarming > 0 {
                self.pass(SECOND / 10);
            }
        }
        assert_eq!(self.prewarming, 0, "one waits for connections");
        while !self.channels.is_empty() {
            self.end_channel(0);
        }
        let served = self.served;
        self.state.met_tcpchan(); // as a caller's own connection did
        self.open();
        self.pass(OPEN_TIMEOUT);
        assert_eq!(self.served, served + 1, "the next caller gets no channel");
        self.end_channel(0);
        let (mut left, mut needed) = (0, 1);
        for _ in 0..2 {
            self.pass(QUIET);
            while self.state.dials.count() > 0 {
                self.pass(SECOND); // one reaches its age, and goes once it is replaced
            }
            left = self.state.connections().count();
            needed = self.pool.least.max(self.addresses_in_use());
            if left <= needed {
                break; // else more than one replaced it a moment ago
            }
        }
        assert_eq!(left, needed, "connections that nobody needs");
        for link in self.state.connections() {
            let addr = link.0.borrow().addr;
            let mut names = self.names.iter();
            let told = names.all(|names| addr.is_some_and(|addr| names.told.contains(&addr)));
            assert!(told, "a connection to what the name has no more");
        }
        self.pass(IDLE * 2);
        assert!(self.state.is_over(self.now), "it is never forgotten");
    }
}
