//! The way from `relay` to a `serve`: a pool of connections.

use std::io;
use std::time::Duration;

use http::Uri;
use tcpchan::client::{ConnectError, Multiplex, PoolConfig, TargetStats, TlsConnector};
use tcpchan::proto::Stats;
use tcpchan::{Channel, Config, Connection, ConnectionStats};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tower_service::Service;

use super::way::{Unreached, Way};
#[cfg(unix)]
use crate::net::UnixConnector;
use crate::net::{Address, Outgoing};
use crate::reverse::Published;

/// How long a server may take to answer where there are others: two of TCP's
/// segments may be lost.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub struct Link {
    uri: Uri,
    pool: Pool,
}

enum Pool {
    Plain(Multiplex<Outgoing>),
    Tls(Multiplex<TlsConnector<Outgoing>>),
    #[cfg(unix)]
    Unix(Multiplex<UnixConnector>),
    /// A name, and the services that have come.
    Published(String, Published),
}

impl Link {
    pub fn new(
        to: &str,
        outgoing: Outgoing,
        tls: Option<TlsConnector<Outgoing>>,
        config: Config,
        pool: PoolConfig,
        published: &Published,
    ) -> Result<Self, http::Error> {
        if let Address::Published(name) = Address::of(to) {
            return Ok(Link {
                uri: Uri::from_static("http://published"),
                pool: Pool::Published(name, published.clone()),
            });
        }
        #[cfg(unix)]
        if let Address::Unix(name) = Address::of(to) {
            let pool_of = Multiplex::new(UnixConnector(name)).with_config(config);
            return Ok(Link {
                uri: Uri::from_static("http://unix"),
                pool: Pool::Unix(pool_of.with_pool(pool)),
            });
        }
        let uri = Uri::builder()
            .scheme("http")
            .authority(to)
            .path_and_query("/")
            .build()?;
        let pool = match tls {
            None => {
                let pool_of = Multiplex::new(outgoing).with_config(config);
                Pool::Plain(pool_of.with_pool(pool))
            }
            Some(tls) => {
                let pool_of = Multiplex::new(tls).with_config(config);
                Pool::Tls(pool_of.with_pool(pool))
            }
        };
        Ok(Link { uri, pool })
    }

    async fn open(&self) -> Result<Channel, Unreached> {
        let opened = match &self.pool {
            Pool::Plain(pool) => pool.clone().call(self.uri.clone()).await,
            Pool::Tls(pool) => pool.clone().call(self.uri.clone()).await,
            #[cfg(unix)]
            Pool::Unix(pool) => pool.clone().call(self.uri.clone()).await,
            Pool::Published(name, all) => return all.open(name).await,
        };
        opened.map_err(|error| self.why_not(&error))
    }

    fn why_not(&self, error: &ConnectError) -> Unreached {
        match Unreached::because(error) {
            // A connection that is well, and no channel on it.
            Unreached::Down(_) if error.is_timeout() && self.is_good() => {
                let open = self.stats().map_or(0, |stats| {
                    stats.connections.iter().map(|one| one.channels).sum()
                });
                Unreached::Full(format!(
                    "{open} streams are open, and it takes no more (see --max-channels of `serve`)"
                ))
            }
            unreached => unreached,
        }
    }

    /// Each connection, with its peer.
    pub fn connections(&self) -> Vec<ConnectionStats> {
        match &self.pool {
            Pool::Plain(pool) => pool.connections(&self.uri),
            Pool::Tls(pool) => pool.connections(&self.uri),
            #[cfg(unix)]
            Pool::Unix(pool) => pool.connections(&self.uri),
            Pool::Published(..) => Vec::new(), // they are the hub's
        }
    }

    /// Whether a connection has been heard and is well.
    pub fn is_good(&self) -> bool {
        let good = |one: &Stats| one.bytes_received > 0 && !one.suspect && !one.draining;
        self.each().iter().any(good)
    }

    /// Whether it has a channel that is not over.
    pub fn carries(&self) -> bool {
        let draining = self.stats().map(|stats| stats.draining).unwrap_or_default();
        let connections = self.each();
        let mut all = connections.iter().chain(&draining);
        all.any(|one| one.channels > 0)
    }

    fn each(&self) -> Vec<Stats> {
        match &self.pool {
            Pool::Published(name, all) => {
                let connections = all.connections(name);
                connections.iter().map(Connection::stats).collect()
            }
            _ => self
                .stats()
                .map(|stats| stats.connections)
                .unwrap_or_default(),
        }
    }

    /// Waits for the first that is heard from the peer of a new channel.
    async fn greeted(&self, channel: &mut Channel) -> io::Result<()> {
        while !self.is_good() {
            let _none = channel.read(&mut []).await?; // fails with its connection
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Way for Link {
    type Io = Channel;

    async fn reach(&self, careful: bool) -> Result<Channel, Unreached> {
        let mut channel = self.open().await?;
        if careful && !self.is_good() {
            let silent = format!("it said nothing for {PATIENCE:?}");
            let greeted = timeout(PATIENCE, self.greeted(&mut channel)).await;
            let greeted = greeted.map_err(|_| Unreached::Down(silent))?;
            greeted.map_err(|error| Unreached::because(&error))?;
        }
        Ok(channel)
    }

    async fn probe(&self) -> Result<(), Unreached> {
        let connected = match &self.pool {
            Pool::Plain(pool) => pool.prewarm(&self.uri, 1).await,
            Pool::Tls(pool) => pool.prewarm(&self.uri, 1).await,
            #[cfg(unix)]
            Pool::Unix(pool) => pool.prewarm(&self.uri, 1).await,
            Pool::Published(name, all) => return all.probe(name),
        };
        connected.map_err(|error| self.why_not(&error))
    }

    fn stats(&self) -> Option<TargetStats> {
        let all = match &self.pool {
            Pool::Plain(pool) => pool.stats(),
            Pool::Tls(pool) => pool.stats(),
            #[cfg(unix)]
            Pool::Unix(pool) => pool.stats(),
            Pool::Published(..) => return None,
        };
        all.into_iter().next()
    }
}
