//! How a service comes to a hub.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tcpchan::Config;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::greeting;
use super::keys::Keys;
use crate::args;
use crate::explain::explain;
use crate::failure::Problem;
use crate::net::Outgoing;
use crate::tls::{self, HUB_ALPN};

/// How long a hub may take for each step. Two of TCP's segments may be lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may take: longer than a proxy has, which says what it waits for.
const CONNECT: Duration = Duration::from_secs(12);

pub struct Dialler {
    name: String,
    keys: Option<Keys>,
    outgoing: Outgoing,
    tls: Option<tls::Client>,
    config: Config,
}

impl Dialler {
    pub fn new(args: &args::Way) -> Result<Self, Problem> {
        let keys = args.key_file.as_deref().map(Keys::read).transpose()?;
        if keys
            .as_ref()
            .is_some_and(|keys| keys.sign(&args.name, "").is_none())
        {
            let text = format!("it has no key of the name {}", args.name);
            return Err(Problem::new("key-file", text));
        }
        Ok(Dialler {
            name: args.name.clone(),
            keys,
            outgoing: args::outgoing(args.proxy.as_ref())?,
            tls: tls::Client::new(&args.tls)?,
            config: args.accepted.config()?,
        })
    }

    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// A connection without TLS on which the hub has taken the service.
    pub async fn plain(&self, hub: &str) -> io::Result<(TcpStream, SocketAddr)> {
        let (mut tcp, addr) = self.connect(hub).await?;
        in_time(greeting::send(&mut tcp, &self.name, self.keys.as_ref())).await?;
        Ok((tcp, addr))
    }

    /// The same with TLS.
    pub async fn tls(&self, hub: &str) -> io::Result<(TlsStream<TcpStream>, SocketAddr)> {
        let none = || io::Error::other("TLS is off");
        let tls = self.tls.as_ref().ok_or_else(none)?;
        let (tcp, addr) = self.connect(hub).await?;
        let host = hub.rsplit_once(':').map_or(hub, |(host, _)| host);
        let name = tls
            .name_of(host)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut config = tls.config.as_ref().clone();
        config.alpn_protocols = vec![HUB_ALPN.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let shake = async {
            let shaken = connector.connect(name, tcp).await;
            shaken.map_err(|error| io::Error::other(explain(&error)))
        };
        let mut stream = in_time(shake).await?;
        in_time(greeting::send(&mut stream, &self.name, self.keys.as_ref())).await?;
        Ok((stream, addr))
    }

    async fn connect(&self, hub: &str) -> io::Result<(TcpStream, SocketAddr)> {
        let connect = async {
            let connected = self.outgoing.connect(hub).await;
            connected.map_err(|error| {
                let error: &(dyn Error + 'static) = error.as_ref();
                io::Error::other(explain(error))
            })
        };
        let tcp = timeout(CONNECT, connect).await.map_err(|_| {
            let text =
                "no connection within 12 s: check host and port, and the firewalls on the way";
            io::Error::new(io::ErrorKind::TimedOut, text)
        })??;
        let addr = tcp.peer_addr()?;
        self.config.get_socket().apply(&tcp)?;
        Ok((tcp, addr))
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || {
        let text =
            format!("it said nothing for {PATIENCE:?}: do both sides speak TLS, or neither?");
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    timeout(PATIENCE, step).await.map_err(|_| late())?
}
