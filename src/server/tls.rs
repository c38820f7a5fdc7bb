//! TLS in front of an acceptor.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ProducesTickets};
use tokio_rustls::server::TlsStream;

use super::handshake_limits::Limits;
use super::peer::Peer;
use crate::check::{ConfigError, HOUR, MOST, check, check_time};
use crate::config::{Config, MAX_HANDSHAKES};
use crate::tls::{Identity, Prepared, Slot, TlsHandle};

/// How a server speaks TLS: rustls's configuration, and limits of handshakes.
///
/// Client certificates are asked for by rustls's `with_client_cert_verifier`.
///
/// ```
/// use std::time::Duration;
/// use tcpchan::server::Tls;
///
/// # fn make(config: tokio_rustls::rustls::ServerConfig) -> Result<Tls, tcpchan::ConfigError> {
/// Tls::new(config).handshake_timeout(Duration::from_secs(3))
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Tls {
    pub(super) config: Slot<ServerConfig>,
    pub(super) limits: Limits,
}

impl Tls {
    /// With a configuration of rustls. The crypto provider is your choice. The ALPN is set by
    /// what takes this.
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> Self {
        Tls {
            config: Slot::new(config.into()),
            limits: Limits {
                within: Duration::from_secs(10),
                at_once: MAX_HANDSHAKES as usize,
            },
        }
    }

    /// How long a handshake may take. Default 10 s: three TCP segments may be lost.
    ///
    /// # Errors
    ///
    /// Below 1 ms or above an hour.
    pub fn handshake_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        check_time("handshake_timeout", time, 1..=HOUR)?;
        self.limits.within = time;
        Ok(self)
    }

    /// See [`handshake_timeout`](Self::handshake_timeout).
    #[must_use]
    pub fn get_handshake_timeout(&self) -> Duration {
        self.limits.within
    }

    /// Handshakes at a time. Beyond that, one is evicted as [`Config::max_handshakes`] tells.
    /// Default 1,024.
    ///
    /// # Errors
    ///
    /// 0 or above 2^31 - 1.
    pub fn max_handshakes(mut self, count: usize) -> Result<Self, ConfigError> {
        check("max_handshakes", count as u128, 1..=MOST)?;
        self.limits.at_once = count;
        Ok(self)
    }

    /// See [`max_handshakes`](Self::max_handshakes).
    #[must_use]
    pub fn get_max_handshakes(&self) -> usize {
        self.limits.at_once
    }

    /// The configuration of rustls that the next handshake uses.
    #[must_use]
    pub fn get_config(&self) -> Arc<ServerConfig> {
        self.config.get()
    }

    /// What exchanges the configuration, also when an acceptor has taken it. Clones share
    /// it.
    pub fn handle(&self) -> TlsHandle<ServerConfig> {
        self.config.handle()
    }

    /// The configurations for handshakes, with what `alpn` makes of their protocols.
    pub(super) fn prepared(
        self,
        alpn: impl Fn(&mut Vec<Vec<u8>>) + Send + Sync + 'static,
        config: &Config,
    ) -> Arc<Prepared<ServerConfig>> {
        let resumes = config.get_max_connection_age().is_none();
        Arc::new(Prepared::new(
            self.config,
            move |config: &mut ServerConfig| {
                alpn(&mut config.alpn_protocols);
                if !resumes {
                    config.session_storage = Arc::new(NoServerSessionStorage {});
                    config.ticketer = Arc::new(NoTickets);
                    config.send_tls13_tickets = 0;
                }
            },
        ))
    }
}

/// Sessions are not resumed.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// A handshake, and whom it was with.
pub(super) async fn shake<T>(
    config: Arc<ServerConfig>,
    io: T,
    mut peer: Peer,
) -> io::Result<(TlsStream<T>, Peer)>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsAcceptor::from(config).accept(io).await?;
    peer.identity = Identity::new(stream.get_ref().1);
    Ok((stream, peer))
}
