//! Limits of the connections of one or several acceptors.

mod network;
mod penalty;
mod rate;
mod recent;
mod table;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub(super) use self::network::Network;
use self::network::{Prefixes, contains};
pub(super) use self::rate::{Bucket, Rate};
pub(super) use self::table::Refusal;
use self::table::{Bounds, NetworkBounds, Table};
use crate::check::{ConfigError, MOST, check};

/// How many connections may come, and how quickly. An acceptor or a shared port gets it by
/// `with_connection_limits`.
///
/// A *network* is an IPv4 address or an IPv6 /64 ([`prefixes`](Self::prefixes)).
///
/// | limit | default | beyond it, a connection |
/// |---|---|---|
/// | [`max_connections`](Self::max_connections) | none | is refused |
/// | [`max_per_network`](Self::max_per_network) | none | is refused |
/// | [`rate`](Self::rate) | none | waits |
/// | [`rate_per_network`](Self::rate_per_network) | 500 a second, 10,000 at once | is refused |
/// | [`penalties`](Self::penalties) | on | is held back for up to a second, or refused |
///
/// A connection that is refused is reset before a byte of it is read. A client of this crate
/// gets a dial's error at once, and may try elsewhere: none of its requests was begun. It
/// does not wait in the backlog, because a tcpchan client that gets no answer to its hello
/// dials another connection. A client that a PROXY header names is known later, so its connection is
/// reset behind that header.
///
/// The counts have no default, because connections last: behind a load balancer, one address
/// has all clients, and a count would keep some out for ever. The
/// [memory budget](crate::MemoryBudget), which has room for 16,384 by default, and the system's
/// limit on file descriptors bound them. An acceptor goes on there once one has closed. One network
/// may have three quarters of the budget, 12,288 connections at rest; a further one is reset before
/// its hello is read. Set the counts if clients come from the internet directly.
///
/// **Clones share their counts.** So give clones of one value to several acceptors to limit
/// them together. What is set on a clone holds for that clone: an acceptor for administrators
/// can have a higher limit than the public one beside it.
///
/// ```
/// use tcpchan::server::ConnectionLimits;
///
/// let limits = ConnectionLimits::default()
///     .max_connections(20_000)?
///     .max_per_network(200)?;
/// assert_eq!(limits.get_max_per_network(), 200);
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectionLimits {
    max_connections: u32,
    max_per_network: u32,
    rate: Rate,
    rate_per_network: Rate,
    penalties: bool,
    prefixes: Prefixes,
    exempt: Vec<(IpAddr, u8)>,
    table: Arc<Mutex<Table>>,
}

/// A number of connections that stands for no limit.
const UNLIMITED: u32 = MOST as u32;

/// The burst is that of a large crowd behind one address, as after a restart. At the rate, a
/// network has at most half of the connections that may be half-open when each of them is
/// silent for the second after which it can be evicted.
const RATE_PER_NETWORK: Rate = Rate {
    per_second: 500,
    burst: 10_000,
};

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            max_connections: UNLIMITED,
            max_per_network: UNLIMITED,
            rate: Rate::UNLIMITED,
            rate_per_network: RATE_PER_NETWORK,
            penalties: true,
            prefixes: Prefixes { ipv4: 32, ipv6: 64 },
            exempt: Vec::new(),
            table: Arc::default(),
        }
    }
}

impl ConnectionLimits {
    /// Connections at a time, with those whose handshake is under way. Default 2^31 - 1: no
    /// limit.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_connections(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_connections", count.into(), 1..=MOST)?;
        self.max_connections = count;
        Ok(self)
    }

    /// See [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn get_max_connections(&self) -> u32 {
        self.max_connections
    }

    /// Connections at a time from one network. Default 2^31 - 1: no limit.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_per_network(mut self, count: u32) -> Result<Self, ConfigError> {
        check("max_per_network", count.into(), 1..=MOST)?;
        self.max_per_network = count;
        Ok(self)
    }

    /// See [`max_per_network`](Self::max_per_network).
    #[must_use]
    pub fn get_max_per_network(&self) -> u32 {
        self.max_per_network
    }

    /// New connections a second, and how many may come at once. Default 2^31 - 1 a second: no
    /// limit.
    ///
    /// Beyond it connections wait, so a crowd is served in turn. The other limits refuse those of
    /// a network at once, so they take nothing of the rate and hold up nobody. 256 connections
    /// of a listener wait; others stay in the system's backlog. But if one network has more than
    /// half of those, further ones of it are refused, and others may wait beside it: at most
    /// 512 then wait in all.
    ///
    /// A client behind a load balancer that speaks the PROXY protocol is known only once its
    /// connection has had its turn.
    ///
    /// # Errors
    ///
    /// Either is 0 or above 2^31 - 1.
    pub fn rate(mut self, per_second: u32, burst: u32) -> Result<Self, ConfigError> {
        self.rate = Rate::checked("rate", per_second, burst)?;
        Ok(self)
    }

    /// `per_second` and `burst` of [`rate`](Self::rate).
    #[must_use]
    pub fn get_rate(&self) -> (u32, u32) {
        self.rate.get()
    }

    /// New connections a second from one network, and how many may come at once. Default 500
    /// and 10,000; 2^31 - 1 a second is no limit.
    ///
    /// # Errors
    ///
    /// Either is 0 or above 2^31 - 1.
    pub fn rate_per_network(mut self, per_second: u32, burst: u32) -> Result<Self, ConfigError> {
        self.rate_per_network = Rate::checked("rate_per_network", per_second, burst)?;
        Ok(self)
    }

    /// `per_second` and `burst` of [`rate_per_network`](Self::rate_per_network).
    #[must_use]
    pub fn get_rate_per_network(&self) -> (u32, u32) {
        self.rate_per_network.get()
    }

    /// Whether a network is held back whose connections break rules. Default `true`.
    ///
    /// A violation that ended a connection counts, and a TLS handshake in which the client broke
    /// a rule or showed no certificate that is accepted. A lost connection does not count, nor
    /// does a client that refuses the server's certificate. Nor does a peer that says no valid
    /// PROXY header, hello or settings, such as a health check by HTTP. With TLS, bytes that are no
    /// TLS count, and so does a client that offers no protocol of the port by ALPN.
    ///
    /// Four are free, and one a second is forgiven. After the fifth, connections of that
    /// network are served one each 10 ms. The time doubles with each further violation, up to
    /// 500 ms.
    ///
    /// A connection that would have to wait above a second is refused. So an honest client at
    /// the address of an attacker keeps its connections, and waits at most a second for a
    /// new one. It is refused while the attacker has two or more connections waiting. Seven
    /// seconds after the last violation, nobody waits.
    pub fn penalties(mut self, on: bool) -> Self {
        self.penalties = on;
        self
    }

    /// See [`penalties`](Self::penalties).
    #[must_use]
    pub fn get_penalties(&self) -> bool {
        self.penalties
    }

    /// How many leading bits of an address name a network. Default 32 for IPv4 and 64 for
    /// IPv6, which is what one customer commonly has.
    ///
    /// # Errors
    ///
    /// `ipv4` is not from 1 to 32, or `ipv6` not from 1 to 128.
    pub fn prefixes(mut self, ipv4: u8, ipv6: u8) -> Result<Self, ConfigError> {
        check("ipv4 of prefixes", ipv4.into(), 1..=32)?;
        check("ipv6 of prefixes", ipv6.into(), 1..=128)?;
        self.prefixes = Prefixes { ipv4, ipv6 };
        Ok(self)
    }

    /// `ipv4` and `ipv6` of [`prefixes`](Self::prefixes).
    #[must_use]
    pub fn get_prefixes(&self) -> (u8, u8) {
        (self.prefixes.ipv4, self.prefixes.ipv6)
    }

    /// Exempts the addresses whose leading bits are those of `addr` from the limits of one
    /// network: [`max_per_network`](Self::max_per_network),
    /// [`rate_per_network`](Self::rate_per_network), [`penalties`](Self::penalties), and its part of
    /// the [memory budget](crate::MemoryBudget).
    ///
    /// It is for a load balancer that does not say who its clients are. All of them have its
    /// address, so a limit would make each answer for the others.
    ///
    /// # Errors
    ///
    /// `prefix` is above 32 for IPv4, or above 128 for IPv6.
    pub fn exempt(mut self, addr: IpAddr, prefix: u8) -> Result<Self, ConfigError> {
        let most = if addr.is_ipv4() { 32 } else { 128 };
        check("prefix of exempt", prefix.into(), 0..=most)?;
        // A network of IPv4 in the form of IPv6.
        self.exempt.push(match (addr, addr.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(addr)) if prefix >= 96 => (addr.into(), prefix - 96),
            _ => (addr, prefix),
        });
        Ok(self)
    }
}

/// What an acceptor asks.
impl ConnectionLimits {
    /// Another connection is to be served now, unless it must wait so long for the rate in all.
    pub(super) fn take_turn(&self) -> Result<(), Duration> {
        lock(&self.table).take_turn(self.rate, Instant::now().into_std())
    }

    /// A connection from this address has come. It is to be held back so long.
    pub(super) fn admit(&self, addr: IpAddr) -> Result<(Admission, Duration), Refusal> {
        self.admit_of(self.network(addr))
    }

    /// The connection of a proxy has come, whose client is not known yet.
    #[cfg(feature = "proxy-protocol")]
    pub(super) fn admit_proxy(&self) -> Result<(Admission, Duration), Refusal> {
        self.admit_of(None)
    }

    fn admit_of(&self, network: Option<Network>) -> Result<(Admission, Duration), Refusal> {
        let bounds = Bounds {
            connections: self.max_connections,
            network: network.map(|network| self.bounds(network)),
        };
        let now = Instant::now().into_std();
        let held_back = lock(&self.table).admit(&bounds, now)?;
        let admission = Admission {
            table: self.table.clone(),
            network: network.map_or_else(OnceLock::new, OnceLock::from),
        };
        Ok((admission, held_back))
    }

    fn bounds(&self, network: Network) -> NetworkBounds {
        NetworkBounds {
            network,
            connections: self.max_per_network,
            rate: self.rate_per_network,
            penalties: self.penalties,
        }
    }

    /// None if it is exempt.
    fn network(&self, addr: IpAddr) -> Option<Network> {
        let exempt = self.exempt.iter().any(|exempt| contains(*exempt, addr));
        (!exempt).then(|| self.prefixes.network(addr))
    }
}

/// A connection that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    table: Arc<Mutex<Table>>,
    /// None if it is exempt, or a proxy's whose client is not known yet.
    network: OnceLock<Network>,
}

impl Admission {
    /// The client of a proxy's connection is known. It is to be held back so long.
    pub fn is_from(&self, client: IpAddr, limits: &ConnectionLimits) -> Result<Duration, Refusal> {
        let Some(network) = limits.network(client) else {
            return Ok(Duration::ZERO);
        };
        let (bounds, now) = (limits.bounds(network), Instant::now().into_std());
        let held_back = lock(&self.table).assign(&bounds, now)?;
        let assigned = self.network.set(network);
        debug_assert!(assigned.is_ok(), "a connection has one client");
        Ok(held_back)
    }

    /// Whose it is; none if it is exempt or not known.
    pub fn network(&self) -> Option<Network> {
        self.network.get().copied()
    }

    /// The connection has broken a rule.
    pub fn violated(&self) {
        if let Some(network) = self.network.get() {
            lock(&self.table).violated(*network, Instant::now().into_std());
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.table).release(self.network.get().copied());
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
