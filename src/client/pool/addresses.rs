//! The addresses of a target: which there are, which of them fail, and which is dialled
//! next.
//!
//! A target whose connector finds the address itself has one, which is not known.

use std::net::SocketAddr;
use std::time::Instant;

use slab::Slab;

use crate::backoff::Backoff;

/// Names an address while the target has it.
pub(super) type AddressId = usize;

/// A connection to an address.
pub(super) struct Connected {
    pub id: AddressId,
    pub channels: usize,
    pub is_fresh: bool,
    /// Its peer answers.
    pub serves: bool,
}

#[derive(Debug)]
pub(super) struct Addresses {
    all: Slab<Address>,
    /// How many there may be, if a name is resolved.
    most: Option<usize>,
    /// Channels that were given to any of them.
    given: u64,
}

#[derive(Debug)]
struct Address {
    /// Nothing if the connector finds it.
    addr: Option<SocketAddr>,
    /// It is of the family that the resolver put first.
    preferred: bool,
    backoff: Backoff,
    /// What there is at this moment: channels, fresh connections, and dials.
    channels: usize,
    connections: usize,
    dials: usize,
    /// A dial to it is late, and there is no connection.
    late: bool,
    /// A peer answers on a connection to it.
    serves: bool,
    /// How many channels had been given when it last got one.
    turn: u64,
}

impl Address {
    fn new(addr: Option<SocketAddr>) -> Self {
        Address {
            addr,
            preferred: true,
            backoff: Backoff::default(),
            channels: 0,
            connections: 0,
            dials: 0,
            late: false,
            serves: false,
            turn: 0,
        }
    }
}

impl Addresses {
    /// The one that the connector finds, or those to come of a name, of which so many are
    /// used at most.
    pub fn new(most: Option<usize>) -> Self {
        let mut all = Slab::new();
        if most.is_none() {
            all.insert(Address::new(None));
        }
        let given = 0;
        Addresses { all, most, given }
    }

    /// Takes what the name resolves to. The result is those that it has no more.
    #[must_use]
    pub fn set(&mut self, found: Vec<SocketAddr>) -> Vec<AddressId> {
        let Some(is_ipv4) = found.first().map(SocketAddr::is_ipv4) else {
            return Vec::new();
        };
        let found = self.choose(found, is_ipv4);
        let gone = self.all.iter().filter(|(_, one)| {
            let there = one.addr.is_some_and(|addr| found.contains(&addr));
            !there
        });
        let gone: Vec<AddressId> = gone.map(|(id, _)| id).collect();
        for id in &gone {
            self.all.remove(*id);
        }
        for addr in found {
            if !self.has(addr) {
                self.all.insert(Address::new(Some(addr)));
            }
        }
        for (_, one) in &mut self.all {
            one.preferred = one.addr.is_some_and(|addr| addr.is_ipv4() == is_ipv4);
        }
        gone
    }

    /// As many as are used: first the family that the resolver prefers, then those that are
    /// used already. The rest is by chance, so that clients don't all use the same.
    fn choose(&self, mut found: Vec<SocketAddr>, is_ipv4: bool) -> Vec<SocketAddr> {
        found.sort_unstable();
        found.dedup();
        fastrand::shuffle(&mut found);
        found.sort_by_cached_key(|addr| (addr.is_ipv4() != is_ipv4, !self.has(*addr)));
        found.truncate(self.most.unwrap_or(1));
        found
    }

    fn has(&self, addr: SocketAddr) -> bool {
        self.all.iter().any(|(_, one)| one.addr == Some(addr))
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn addr(&self, id: AddressId) -> Option<SocketAddr> {
        self.all.get(id).and_then(|one| one.addr)
    }

    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        self.all.iter().filter_map(|(_, one)| one.addr)
    }

    /// Notes what there is at this moment; of each dial whether it is late.
    pub fn count(
        &mut self,
        connections: impl Iterator<Item = Connected>,
        dials: impl Iterator<Item = (AddressId, bool)>,
    ) {
        for (_, one) in &mut self.all {
            (one.channels, one.connections, one.dials) = (0, 0, 0);
            (one.late, one.serves) = (false, false);
        }
        for connected in connections {
            if let Some(one) = self.all.get_mut(connected.id) {
                one.channels += connected.channels;
                one.connections += usize::from(connected.is_fresh);
                one.serves |= connected.serves;
            }
        }
        for (id, late) in dials {
            if let Some(one) = self.all.get_mut(id) {
                one.dials += 1;
                one.late |= late && one.connections == 0;
            }
        }
    }

    /// A channel was given to it.
    pub fn opened(&mut self, id: Option<AddressId>) {
        self.given += 1;
        if let Some(one) = id.and_then(|id| self.all.get_mut(id)) {
            one.channels += 1;
            one.turn = self.given;
        }
    }

    /// The channels of an address that a name resolved to, and when it last got one.
    pub fn load(&self, id: Option<AddressId>) -> Option<(usize, u64)> {
        let one = id.and_then(|id| self.all.get(id));
        let one = one.filter(|_| self.most.is_some());
        one.map(|one| (one.channels, one.turn))
    }

    pub fn fail(&mut self, id: AddressId, now: Instant) {
        if let Some(one) = self.all.get_mut(id) {
            one.backoff.failed(now);
        }
    }

    pub fn pause(&mut self, id: AddressId, now: Instant) {
        if let Some(one) = self.all.get_mut(id) {
            one.backoff.pause(now);
        }
    }

    /// A connection to it is good.
    pub fn clear(&mut self, id: AddressId) {
        if let Some(one) = self.all.get_mut(id) {
            one.backoff.clear();
        }
    }

    /// A server speaks tcpchan, at whatever address.
    pub fn clear_all(&mut self) {
        for (_, one) in &mut self.all {
            one.backoff.clear();
        }
    }

    /// The only one, if the connector finds it.
    pub fn only(&self) -> Option<AddressId> {
        let known = self.most.is_some();
        self.all.iter().map(|(id, _)| id).find(|_| !known)
    }

    /// When it may be dialled.
    pub fn start(&self, id: AddressId, now: Instant) -> Instant {
        let one = self.all.get(id);
        one.map_or(now, |one| one.backoff.start(now))
    }

    /// Whether no connection to it was good since it last failed.
    pub fn fails(&self, id: Option<AddressId>) -> bool {
        let one = id.and_then(|id| self.all.get(id));
        one.is_none_or(|one| !one.backoff.is_clear())
    }

    /// Whether all of them fail. Of several, one that still has a connection serves.
    pub fn all_fail(&self) -> bool {
        let serves = |one: &Address| one.serves && self.most.is_some();
        let well = |one: &Address| one.backoff.is_clear() || serves(one);
        !self.all.is_empty() && !self.all.iter().any(|(_, one)| well(one))
    }

    /// Whether another may serve those who wait, after a dial has failed.
    pub fn has_another(&self) -> bool {
        self.most.is_some() && self.all.iter().any(|(_, one)| one.backoff.is_clear())
    }

    /// How many a name has resolved to.
    pub fn resolved(&self) -> usize {
        self.iter().count()
    }

    /// Those that are wanted: of the family that the resolver prefers while one of it neither
    /// fails nor is late, else of the other.
    fn wanted(&self) -> impl Iterator<Item = (AddressId, &Address)> {
        let clear = |preferred| {
            let well = |one: &Address| one.backoff.is_clear() && !one.late;
            let mut all = self.all.iter();
            all.any(|(_, one)| one.preferred == preferred && well(one))
        };
        let family = [true, false].into_iter().find(|family| clear(*family));
        let all = self.all.iter();
        all.filter(move |(_, one)| family.is_none_or(|family| one.preferred == family))
    }

    /// Those of which a connection stays though nobody needs it.
    pub fn to_keep(&self) -> impl Iterator<Item = AddressId> {
        self.wanted().map(|(id, _)| id)
    }

    /// Whether a connection to it may be replaced by one to another: it fails, is gone, or is
    /// not wanted.
    pub fn is_replaceable(&self, id: Option<AddressId>) -> bool {
        self.fails(id) || !self.to_keep().any(|kept| Some(kept) == id)
    }

    /// How many have neither a connection nor a dial, of those that don't fail. If all fail,
    /// how many have no dial.
    pub fn missing(&self) -> usize {
        if self.all_fail() {
            let all = self.all.iter();
            return all.filter(|(_, one)| one.dials == 0).count();
        }
        let clear = self.wanted().filter(|(_, one)| one.backoff.is_clear());
        clear
            .filter(|(_, one)| one.connections + one.dials == 0)
            .count()
    }

    /// The address for a dial: the one with the fewest connections that does not fail. If
    /// all fail, it is the one that may be dialled first.
    pub fn pick(&mut self, now: Instant) -> Option<AddressId> {
        let id = match self.all_fail() {
            true => {
                let key = |one: &Address| (one.dials, one.backoff.start(now));
                let picked = self.all.iter().min_by_key(|(_, one)| key(one));
                picked.map(|(id, _)| id)
            }
            false => {
                let clear = self.wanted().filter(|(_, one)| one.backoff.is_clear());
                let picked = clear.min_by_key(|(_, one)| one.connections + one.dials);
                picked.map(|(id, _)| id)
            }
        }?;
        self.all[id].dials += 1;
        Some(id)
    }

    /// One that fails and that no dial tries again, while others serve. Those of the preferred
    /// family are tried though the other serves.
    pub fn pick_failing(&mut self) -> Option<AddressId> {
        if self.all_fail() {
            return None;
        }
        let preferred = self.all.iter().filter(|(_, one)| one.preferred);
        let mut all = preferred.chain(self.wanted());
        let failing = all.find(|(_, one)| !one.backoff.is_clear() && one.dials == 0);
        let id = failing.map(|(id, _)| id)?;
        drop(all);
        self.all[id].dials += 1;
        Some(id)
    }
}
