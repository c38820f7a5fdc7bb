//! The ways to carry requests, by name.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::anyhow;
use clap::ValueEnum;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tcpchan::client::PoolConfig;
use tcpchan::{Config, ConfigError, SocketProfile};
use tokio::sync::Semaphore;

use crate::conditions::Congestion;
use crate::link::SERVER;

/// For the ways that are told a window: 8 times the link's delay times its rate.
pub const LARGE_WINDOW: u32 = 16 << 20;

/// A way, and whether it runs over TLS. Its name is the kind's, with `+tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub kind: Kind,
    pub tls: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// tcpchan, one channel a request
    Tcpchan,
    /// tcpchan, channels kept in hyper's pool
    TcpchanPooled,
    /// tcpchan with the system's congestion control
    TcpchanSystem,
    /// tcpchan with that, and on one connection only
    TcpchanOne,
    /// tcpchan with that, and four connections dialled at first
    TcpchanFour,
    /// tcpchan with that, and eight
    TcpchanEight,
    /// HTTP/1, a new connection for each request
    H1New,
    /// HTTP/1, hyper's keep-alive pool
    H1Pool,
    /// HTTP/1, the same with 16 requests at once, so at most 16 connections
    H1Sixteen,
    /// HTTP/2 as hyper sets it up
    H2,
    /// HTTP/2 with large windows
    H2Large,
    /// HTTP/2 with adaptive windows
    H2Adaptive,
    /// HTTP/1 on QUIC streams, one a request; QUIC has TLS always
    Quic,
    /// One plain TCP connection, for transfers
    Tcp,
}

impl Kind {
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().into())
    }

    /// The kind whose server it uses.
    pub fn served_by(self) -> Kind {
        match self {
            Kind::TcpchanPooled => Kind::Tcpchan,
            Kind::TcpchanOne | Kind::TcpchanFour | Kind::TcpchanEight => Kind::TcpchanSystem,
            Kind::H1New | Kind::H1Sixteen => Kind::H1Pool,
            kind => kind,
        }
    }

    pub fn is_tcpchan(self) -> bool {
        matches!(self.served_by(), Kind::Tcpchan | Kind::TcpchanSystem)
    }

    /// Under BBR the system's congestion control is what tcpchan chooses.
    pub fn differs_under(self, congestion: Congestion) -> bool {
        self != Kind::TcpchanSystem || congestion != Congestion::Bbr
    }

    /// tcpchan's configuration, of both sides.
    pub fn config(self) -> Config {
        let profile = match self.served_by() {
            Kind::TcpchanSystem => SocketProfile::default().system_congestion(),
            _ => SocketProfile::default(),
        };
        Config::default().socket(profile)
    }

    /// How tcpchan keeps connections.
    pub fn pool(self) -> Result<PoolConfig, ConfigError> {
        let pool = PoolConfig::default();
        match self {
            Kind::TcpchanOne => pool.connections(1..=1),
            Kind::TcpchanFour => pool.connections(4..=16),
            Kind::TcpchanEight => pool.connections(8..=16),
            _ => Ok(pool),
        }
    }

    /// How many requests are under way at most; the others wait for one to end.
    pub fn at_once(self) -> usize {
        match self {
            Kind::H1Sixteen => 16,
            _ => Semaphore::MAX_PERMITS,
        }
    }

    pub fn has_tls(self) -> bool {
        !matches!(self, Kind::Quic | Kind::Tcp)
    }
}

impl Way {
    /// Where its server listens.
    pub fn address(self) -> SocketAddr {
        let port = 7000 + self.kind.served_by() as u16 + if self.tls { 100 } else { 0 };
        (SERVER, port).into()
    }

    /// All ways, those without TLS first.
    pub fn all() -> impl Iterator<Item = Way> {
        let of = |tls| move |kind: &Kind| Way { kind: *kind, tls };
        let plain = Kind::value_variants().iter().map(of(false));
        plain.chain(Self::tls())
    }

    fn tls() -> impl Iterator<Item = Way> {
        let kinds = Kind::value_variants().iter().filter(|kind| kind.has_tls());
        kinds.map(|kind| Way {
            kind: *kind,
            tls: true,
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "+tls" } else { "" };
        f.pad(&format!("{}{tls}", self.kind.name()))
    }
}

impl FromStr for Way {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Way::all()
            .find(|way| way.to_string() == name)
            .ok_or_else(|| anyhow!("no way is called {name}"))
    }
}

impl Serialize for Way {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Way {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}
