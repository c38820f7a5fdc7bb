//! What a target's state machine does after each event: it dials what is missing, and
//! retires what is not needed.

use std::time::Instant;

use super::action::Action;
use super::addresses::AddressId;
use super::demand::Asked;
use super::link::Link;
use super::pooled::Pooled;
use super::select::{Snapshot, beyond, replaced, warmest, worth_keeping};
use super::state::State;

/// How many connections there may be on top of the most that take channels,
/// however few those are: the ones that are late, and so are replaced.
const REPLACED: usize = 8;

impl<L: Link> State<L> {
    /// Dials what is missing, and retires what is not needed.
    pub(super) fn adjust(&mut self, mut snapshots: Vec<Snapshot>, caller: bool, now: Instant) {
        let waiting = self.waiters.callers();
        let failing = self.addresses.all_fail();
        let slow = !failing && !self.verdict.asks_first() && self.dials.is_slow(now);
        let draining = self.draining.links().count();
        let most = self.settings.pool.most;
        self.loss.look(&snapshots, draining, most, now);
        let asked = Asked {
            caller: caller || waiting > 0,
            behind_slow_dial: if slow { waiting } else { 0 },
            prewarm: self.waiters.prewarmed(),
            loss: self.loss.proven(),
            tried: self.loss.wanted(),
            failing,
        };
        let wanted = self.demand.wanted(&snapshots, asked, &self.settings.pool);
        if !self.is_idle(now) {
            let to_dial = self.missing(wanted, &snapshots, now);
            if to_dial > 0 {
                self.make_room(&mut snapshots, now);
            }
            self.dial(to_dial, &snapshots, now);
            self.resolve(now);
        }
        self.retire_old(&mut snapshots, now);
        self.retire_surplus(&snapshots, now);
        self.spare = snapshots;
    }

    /// Retires an old connection if there are so many that none can be dialled in their place, and
    /// if another one serves. What is late goes of itself.
    fn make_room(&mut self, snapshots: &mut Vec<Snapshot>, now: Instant) {
        let is_full = self.dials.count() == 0 && self.room(snapshots) == 0;
        if !is_full || !snapshots.iter().all(Snapshot::is_usable) {
            return;
        }
        let counts = |one: &Snapshot| one.retiring && one.address.is_some();
        let old = (0..snapshots.len()).filter(|at| counts(&snapshots[*at]));
        let Some(at) = old.min_by_key(|at| snapshots[*at].channels) else {
            return;
        };
        let serves = |one: &Snapshot| one.greeted && one.is_available();
        if (0..snapshots.len()).any(|other| other != at && serves(&snapshots[other])) {
            snapshots.remove(at);
            self.retire(at, now);
        }
    }

    /// How many connections are missing, beside the dials that may come to something.
    fn missing(&self, wanted: usize, snapshots: &[Snapshot], now: Instant) -> usize {
        let fresh = snapshots
            .iter()
            .filter(|snapshot| snapshot.is_fresh())
            .count();
        let waits = !self.waiters.is_empty();
        let late_after = waits.then(|| self.settings.suspect_after());
        let promising = self.dials.promising(&self.addresses, late_after, now);
        let to_dial = wanted.saturating_sub(fresh + promising);
        match self.addresses.all_fail() && to_dial == 0 {
            true => 0,
            false => to_dial.max(self.addresses.missing()),
        }
    }

    fn dial(&mut self, to_dial: usize, snapshots: &[Snapshot], now: Instant) {
        let most = self.most();
        // Beside those that serve, each address that fails is tried again.
        let (retries, dials) = (self.addresses.resolved(), self.dials.count());
        let room = self.room(snapshots);
        let room = room.min((retries + most.max(2)).saturating_sub(dials));
        // Those that spoke HTTP are asked again when they are needed, or when it is time.
        let verdict = &mut self.verdict;
        let is_due = to_dial > 0 || !verdict.is_http() || (retries > 0 && verdict.asks_again(now));
        for at in 0..room {
            let picked = (at < to_dial).then(|| self.addresses.pick(now)).flatten();
            let retried = || is_due.then(|| self.addresses.pick_failing()).flatten();
            match picked.or_else(retried) {
                Some(address) => self.dial_to(address, now),
                None => break,
            }
        }
    }

    /// How many more connections there may be, beside these and the dials.
    pub(super) fn room(&self, snapshots: &[Snapshot]) -> usize {
        let there = snapshots.iter().filter(|one| one.address.is_some()).count();
        let (most, retries) = (self.most(), self.addresses.resolved());
        (retries + most + most.max(REPLACED)).saturating_sub(there + self.dials.count())
    }

    fn dial_to(&mut self, address: AddressId, now: Instant) {
        self.next_dial += 1;
        let at = self.addresses.start(address, now);
        self.dials.add(self.next_dial, address, at);
        let addr = self.addresses.addr(address);
        self.actions.push(Action::Dial(self.next_dial, addr, at));
    }

    fn resolve(&mut self, now: Instant) {
        let late_after = self.settings.suspect_after();
        let resolution = self.resolution.as_mut();
        if let Some(question) = resolution.and_then(|asks| asks.begin(late_after, now)) {
            self.actions.push(Action::Resolve(question));
        }
    }

    /// The most connections, one for each address at least.
    fn most(&self) -> usize {
        self.settings.pool.most.max(self.addresses.len())
    }

    /// Retires the connections that others have replaced.
    fn retire_old(&mut self, snapshots: &mut Vec<Snapshot>, now: Instant) {
        let up = snapshots
            .iter()
            .filter(|snapshot| snapshot.is_fresh() && snapshot.greeted);
        let enough = up.count() >= self.settings.pool.least;
        while let Some(at) = replaced(snapshots, &self.addresses, enough) {
            snapshots.remove(at);
            self.retire(at, now);
        }
    }

    /// Retires what nobody needs: of a target that is idle all.
    fn retire_surplus(&mut self, snapshots: &[Snapshot], now: Instant) {
        let keep = self.demand.keep(&self.settings.pool, now);
        // While some wait, what is idle is about to get channels.
        let dials = self.dials.promising(&self.addresses, None, now);
        let settled = self.waiters.is_empty() && dials == 0;
        let count = snapshots.len();
        let one_rests = || snapshots.iter().any(|one| one.channels == 0);
        let mut surplus: Vec<usize> = match (keep.busy, keep.idle) {
            _ if self.is_idle(now) => (0..count).collect(),
            (Some(busy), _) if count > busy => {
                beyond(busy, worth_keeping(snapshots), snapshots, &self.addresses)
            }
            (None, Some(idle)) if settled && count > idle && one_rests() => {
                let order =
                    beyond(idle, warmest(snapshots), snapshots, &self.addresses).into_iter();
                order.filter(|at| snapshots[*at].channels == 0).collect()
            }
            _ => return,
        };
        surplus.sort_unstable();
        for at in surplus.into_iter().rev() {
            self.retire(at, now);
        }
    }

    /// Takes a connection from the choice. What it carries goes on.
    pub(super) fn retire(&mut self, at: usize, now: Instant) -> Pooled<L> {
        let one = self.pooled.remove(at);
        let within = self.settings.pool.drain_timeout;
        let drain = self.draining.add(one.link.clone(), within, now);
        self.actions.push(drain);
        one
    }
}
