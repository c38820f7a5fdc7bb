//! Names that resolve to several addresses.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::error::BoxError;
use crate::check::{ConfigError, DAY, check, check_time};

/// Addresses that are read of one answer. What a resolver says beyond is not looked at.
const READ: usize = 4096;

/// How a [`Multiplex`](super::Multiplex) finds the addresses of its targets' names; always
/// valid.
///
/// Each address gets connections of its own, and channels are balanced over all of them. The
/// guide says [how](crate::guide::pool#discovery).
///
/// ```
/// use std::time::Duration;
///
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::{Discovery, Multiplex};
///
/// let discovery = Discovery::default().interval(Duration::from_secs(5))?;
/// let connector = Multiplex::new(HttpConnector::new()).with_discovery(discovery);
/// # let _ = connector;
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Discovery {
    resolver: Arc<dyn Resolve>,
    interval: Duration,
    max_addresses: usize,
}

impl Default for Discovery {
    fn default() -> Self {
        Discovery {
            resolver: Arc::new(Resolver(GaiResolver::new())),
            interval: Duration::from_secs(10),
            max_addresses: 64,
        }
    }
}

impl Discovery {
    /// What resolves names, as for hyper-util's `HttpConnector`. Default `GaiResolver`, the
    /// system's `getaddrinfo` on a thread for blocking calls.
    ///
    /// A port that an address has counts if the URI has none. The family of the first address
    /// is preferred: the other one is used while all addresses of this family fail, or none
    /// of them has connected within 1 s.
    ///
    /// An answer that takes longer than [`open_timeout`](super::PoolConfig::open_timeout) is
    /// not waited for.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use hyper_util::client::legacy::connect::dns::Name;
    /// use tcpchan::client::Discovery;
    ///
    /// let resolver = tower::service_fn(|name: Name| async move {
    ///     let addresses = match name.as_str() {
    ///         "app" => vec![SocketAddr::from(([10, 0, 0, 1], 0))],
    ///         _ => Vec::new(),
    ///     };
    ///     Ok::<_, std::io::Error>(addresses.into_iter())
    /// });
    /// let discovery = Discovery::default().resolver(resolver);
    /// # let _ = discovery;
    /// ```
    pub fn resolver<R>(mut self, resolver: R) -> Self
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: Iterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        self.resolver = Arc::new(Resolver(resolver));
        self
    }

    /// How often a name is resolved while its target is used, give or take a tenth. Default
    /// 10 s.
    ///
    /// A new server gets channels within this time, and the time that caches add. After a
    /// failed dial and after a lost connection the name is resolved at once, but not twice in a
    /// second. The guide has [the reasons](crate::guide::pool#discovery).
    ///
    /// # Errors
    ///
    /// Below 1 s or above a day.
    pub fn interval(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("interval", time, 1_000..=DAY)?;
        self.interval = time;
        Ok(self)
    }

    /// See [`interval`](Self::interval).
    #[must_use]
    pub fn get_interval(&self) -> Duration {
        self.interval
    }

    /// How many addresses of a name are used. Default 64. Each has a connection, so this is
    /// also how many connections a target has at least. Of more addresses, each client uses
    /// some by chance, and keeps to them while they stay.
    ///
    /// # Errors
    ///
    /// 0 or above 256.
    pub fn max_addresses(mut self, count: usize) -> Result<Self, ConfigError> {
        check("max_addresses", count as u128, 1..=256)?;
        self.max_addresses = count;
        Ok(self)
    }

    /// See [`max_addresses`](Self::max_addresses).
    #[must_use]
    pub fn get_max_addresses(&self) -> usize {
        self.max_addresses
    }

    /// Resolves a name to the addresses of its servers.
    pub(super) fn resolve(&self, host: &Host) -> Resolving {
        let (found, host) = (self.resolver.resolve(host.name.clone()), host.clone());
        Box::pin(async move {
            let mut found = found.await?;
            for addr in &mut found {
                if host.is_explicit || addr.port() == 0 {
                    addr.set_port(host.port);
                }
            }
            match found.is_empty() {
                true => Err("the name has no address".into()),
                false => Ok(found),
            }
        })
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("interval", &self.interval)
            .field("max_addresses", &self.max_addresses)
            .finish_non_exhaustive()
    }
}

/// A name that is resolved, and the port of its servers.
#[derive(Clone)]
pub(super) struct Host {
    name: Name,
    port: u16,
    /// The URI says the port.
    is_explicit: bool,
}

impl Host {
    /// That of a target, unless it has an address.
    pub fn of(scheme: Option<&Scheme>, authority: Option<&Authority>) -> Option<Self> {
        let authority = authority?;
        let host = authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let port = authority.port_u16();
        let default = if scheme == Some(&Scheme::HTTPS) {
            443
        } else {
            80
        };
        Some(Host {
            name: Name::from_str(host).ok()?,
            port: port.unwrap_or(default),
            is_explicit: port.is_some(),
        })
    }
}

/// The addresses to come.
pub(super) type Resolving = Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, BoxError>> + Send>>;

/// A resolver without its type.
trait Resolve: Send + Sync {
    fn resolve(&self, name: Name) -> Resolving;
}

struct Resolver<R>(R);

impl<R> Resolve for Resolver<R>
where
    R: Service<Name> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
    R::Error: Into<BoxError>,
    R::Future: Send,
{
    fn resolve(&self, name: Name) -> Resolving {
        let mut resolver = self.0.clone();
        Box::pin(async move {
            poll_fn(|cx| resolver.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            let found = resolver.call(name).await.map_err(Into::into)?;
            Ok(found.take(READ).collect())
        })
    }
}
