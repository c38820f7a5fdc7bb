//! The dials of one target: when the next may begin, and how the last ones went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::addresses::{AddressId, Addresses};
use crate::client::ConnectError;

/// A dial that takes longer goes over a long link, or has lost a packet. On a fast link
/// one connection takes a burst before another dial would be over.
const SLOW: Duration = Duration::from_millis(5);

/// How long the addresses of one family are waited for before those of the other are dialled:
/// on some networks one family leads nowhere. A dial with TLS that asks by a hello takes three
/// round trips, which are 900 ms on a link of 300 ms.
const LATE: Duration = Duration::from_secs(1);

/// How long the pool waits for a dial beyond its time: its runtime may not be run.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Dial {
    /// When it is to begin.
    at: Instant,
    /// When it did. Its task may wait for its turn behind all that waits for it.
    began: Option<Instant>,
    /// Where to, while the target has the address.
    address: Option<AddressId>,
}

impl Dial {
    fn begins(&self) -> Instant {
        self.began.unwrap_or(self.at)
    }

    /// When it is slow, if it has started.
    fn slow_at(&self) -> Option<Instant> {
        self.began.map(|began| began + SLOW)
    }

    /// When it is late, if it has started.
    fn late_at(&self) -> Option<Instant> {
        self.began.map(|began| began + LATE)
    }
}

#[derive(Debug, Default)]
pub(super) struct Dials {
    pending: BTreeMap<u64, Dial>,
    /// Until when those who wait leave the first connection of several.
    settles_at: Option<Instant>,
    last_error: Option<ConnectError>,
    /// Dials so far.
    pub started: u64,
    /// Dials that failed, and connections that ended before they were good.
    pub failed: u64,
}

impl Dials {
    /// Notes a dial that is to begin at this time.
    pub fn add(&mut self, id: u64, address: AddressId, at: Instant) {
        self.started += 1;
        let (began, address) = (None, Some(address));
        let dial = Dial { at, began, address };
        self.pending.insert(id, dial);
    }

    /// The addresses that are dialled, and whether that dial is late.
    pub fn addresses(&self, now: Instant) -> impl Iterator<Item = (AddressId, bool)> {
        let late = move |dial: &Dial| dial.late_at().is_some_and(|at| at <= now);
        let dials = self.pending.values();
        dials.filter_map(move |dial| Some((dial.address?, late(dial))))
    }

    /// The target has this address no more.
    pub fn forget(&mut self, address: AddressId) {
        for dial in self.pending.values_mut() {
            dial.address.take_if(|dialled| *dialled == address);
        }
    }

    pub fn has(&self, id: u64) -> bool {
        self.pending.contains_key(&id)
    }

    pub fn begin(&mut self, id: u64, now: Instant) {
        if let Some(dial) = self.pending.get_mut(&id) {
            dial.began = Some(now);
        }
    }

    /// A dial is over, however it ended; when it had started, and where to. `None` if the
    /// pool did not wait for it any more.
    pub fn end(&mut self, id: u64) -> Option<(Instant, Option<AddressId>)> {
        let dial = self.pending.remove(&id)?;
        Some((dial.begins(), dial.address))
    }

    /// A dial that began at `began` has succeeded: those that began with it are about to
    /// end too. How many those are, for whom callers wait a little.
    pub fn siblings(&mut self, began: Instant, now: Instant) -> usize {
        let took = now.saturating_duration_since(began);
        let until = now + took / 2;
        let expected = self
            .pending
            .values()
            .map(|dial| dial.begins() + took + took / 8);
        let expected: Vec<Instant> = expected.filter(|at| (now..=until).contains(at)).collect();
        self.settles_at = expected.iter().max().copied();
        expected.len()
    }

    pub fn settles(&self, now: Instant) -> bool {
        !self.pending.is_empty() && self.settles_at.is_some_and(|at| now < at)
    }

    /// A dial failed, or a connection ended before it was good.
    pub fn fail(&mut self, error: ConnectError) {
        self.failed += 1;
        self.last_error = Some(error);
    }

    /// Whether an address is dialled.
    pub fn is_to(&self, address: AddressId) -> bool {
        let mut dials = self.pending.values();
        dials.any(|dial| dial.address == Some(address))
    }

    /// What went wrong last.
    pub fn error(&self) -> Option<ConnectError> {
        self.last_error.clone()
    }

    pub fn count(&self) -> usize {
        self.pending.len()
    }

    /// Those that do not wait for their time.
    pub fn under_way(&self, now: Instant) -> usize {
        self.pending.values().filter(|dial| dial.at <= now).count()
    }

    /// Dials from which a connection may be expected: not those to an address that fails
    /// while others don't, and if `late_after` is given, not those that are late.
    pub fn promising(
        &self,
        addresses: &Addresses,
        late_after: Option<Duration>,
        now: Instant,
    ) -> usize {
        let all_fail = addresses.all_fail();
        let promising = self.pending.values().filter(|dial| {
            let late = late_after.is_some_and(|late_after| now >= dial.at + late_after);
            !late && (all_fail || !addresses.fails(dial.address))
        });
        promising.count()
    }

    pub fn is_slow(&self, now: Instant) -> bool {
        self.pending
            .values()
            .any(|dial| dial.slow_at().is_some_and(|at| at <= now))
    }

    /// Gives up those that were not over in time, nor failed: nobody runs them.
    pub fn expire(&mut self, within: Duration, now: Instant) {
        let grace = within + GRACE;
        self.pending.retain(|_, dial| now < dial.at + grace);
    }

    /// When something changes of itself, for callers who wait or for none.
    pub fn next(
        &self,
        suspect_after: Duration,
        within: Duration,
        waiting: bool,
        now: Instant,
    ) -> Option<Instant> {
        let times = self.pending.values().flat_map(|dial| {
            let suspect = Some(dial.at + suspect_after);
            let soon = [dial.slow_at(), dial.late_at(), suspect];
            let [slow, late, suspect] = soon.map(|at| at.filter(|_| waiting));
            [slow, late, suspect, Some(dial.at + within + GRACE)]
        });
        let settles = self.settles_at.filter(|_| waiting);
        let times = times.flatten().chain(settles);
        times.filter(|at| *at > now).min()
    }
}
