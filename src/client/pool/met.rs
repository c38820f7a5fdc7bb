//! What the pool does when it learns which protocol a server speaks.

use std::time::Instant;

use super::action::Action;
use super::addresses::AddressId;
use super::link::Link;
use super::pooled::Pooled;
use super::state::State;
use crate::client::ConnectError;
use crate::client::fallback::met::Evidence;

impl<L: Link> State<L> {
    /// A dial met a server that speaks HTTP. As after a failure, the next dial waits, and
    /// nobody has one made ahead.
    pub(super) fn met_http(
        &mut self,
        address: Option<AddressId>,
        error: ConnectError,
        now: Instant,
    ) {
        if let Some(met) = error.met() {
            self.put_off(address, now);
            self.verdict.met_http(met.evidence, now);
            self.unreported = Some(error);
        }
    }

    /// A server's hello came, though on a connection of HTTP.
    pub fn met_hello(&mut self, now: Instant) {
        self.verdict.spoke(now);
        self.met_tcpchan();
    }

    /// A server speaks tcpchan. Dials that were put off for others need not wait.
    pub fn met_tcpchan(&mut self) {
        if self.verdict.forget() {
            self.addresses.clear_all();
        }
    }

    /// A caller has a connection that carries HTTP; TLS may have told.
    pub fn note_http(&mut self, by_tls: bool, now: Instant) {
        self.used = now;
        self.verdict.fell_back += 1;
        if by_tls {
            self.verdict.met_http(Evidence::Alpn, now);
        }
    }

    /// A caller that dialled for itself met a server of tcpchan. The pool takes the
    /// connection unless it has as many as there may be.
    pub fn adopt(&mut self, link: L, now: Instant) {
        self.met_tcpchan();
        let snapshots = self.serve(now);
        let fresh = snapshots.iter().filter(|snapshot| snapshot.is_fresh());
        // Where names are resolved, its address is not known, so others take its place.
        let all = match self.resolution {
            Some(_) => snapshots.len(),
            None => fresh.count(),
        };
        let is_wanted = all < self.settings.pool.most;
        match is_wanted && self.room(&snapshots) > 0 {
            true => {
                let address = self.addresses.only();
                let one = Pooled::new(link, address, &self.settings, now);
                self.pooled.push(one);
            }
            false => self.actions.push(Action::Release(link)),
        }
        self.look(now);
    }
}
