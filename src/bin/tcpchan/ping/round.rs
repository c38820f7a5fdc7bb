//! One round: a connection of its own, and a channel on it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tcpchan::{Channel, Config, Connection, SocketProfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::args;
use crate::carry::proxy;
use crate::explain::explain;
use crate::failure::Failure;
use crate::net::Outgoing;
use crate::tls;

/// What one round has measured.
pub struct Round {
    pub addr: SocketAddr,
    pub tcp: Duration,
    pub tls: Option<Duration>,
    /// None with a peer of version 0, which has no pings.
    pub hello: Option<Duration>,
    pub channel: Duration,
}

/// Does rounds.
pub struct Pinger {
    to: String,
    outgoing: Outgoing,
    tls: Option<tls::Client>,
    /// Begins the channel.
    header: Vec<u8>,
    stage: Cell<Stage>,
}

/// What a round waits for.
#[derive(Clone, Copy)]
enum Stage {
    Tcp,
    Tls,
    Hello,
}

impl Pinger {
    pub fn new(args: &args::Ping) -> Result<Self, Failure> {
        let failed = |error| Failure::because("--send-proxy-v2", &error);
        Ok(Pinger {
            to: args.to.clone(),
            outgoing: args::outgoing(args.proxy.as_ref())?,
            tls: tls::Client::new(&args.tls)?,
            header: match args.send_proxy_v2 {
                true => proxy::header_of_nobody().map_err(failed)?,
                false => Vec::new(),
            },
            stage: Cell::new(Stage::Tcp),
        })
    }

    /// What a round that takes too long has waited for.
    pub fn waits_for(&self) -> &'static str {
        match self.stage.get() {
            Stage::Tcp => "no TCP connection: check host and port, and the firewalls on the way",
            Stage::Tls => "TLS's handshake did not end: does the other side speak TLS?",
            Stage::Hello => {
                "it took the connection and says nothing: is it a tcpchan server, does it want \
                 TLS (--tls), and does its service answer?"
            }
        }
    }

    /// Connects, and opens a channel. An error is a line for people.
    pub async fn round(&self) -> Result<Round, String> {
        let failed = |error: io::Error| explain(&error);
        let start = Instant::now();
        self.stage.set(Stage::Tcp);
        let tcp = self.outgoing.connect(&self.to).await;
        let tcp = tcp.map_err(|error| explain(&*error))?;
        let tcp_took = start.elapsed();
        SocketProfile::default().apply(&tcp).map_err(failed)?;
        let addr = tcp.peer_addr().map_err(failed)?;
        self.stage.set(Stage::Tls);
        let start = Instant::now();
        let connection = self.connection(tcp).await?;
        let tls_took = start.elapsed();
        self.stage.set(Stage::Hello);
        let start = Instant::now();
        let mut channel = connection.open().await.map_err(failed)?;
        self.is_answered(&mut channel).await.map_err(failed)?;
        Ok(Round {
            addr,
            tcp: tcp_took,
            tls: self.tls.is_some().then_some(tls_took),
            // The first ping leaves with the hello.
            hello: connection.rtt(),
            channel: start.elapsed(),
        })
    }

    /// Over TLS, if that was asked for.
    async fn connection(&self, tcp: TcpStream) -> Result<Connection, String> {
        let Some(tls) = &self.tls else {
            return Ok(Connection::client(tcp, Config::default()));
        };
        let host = self.to.rsplit_once(':').map_or("", |(host, _)| host);
        let name = tls.name_of(host).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(tls.config.clone());
        let io = connector.connect(name, tcp).await;
        let io = io.map_err(|error| explain(&error))?;
        Ok(Connection::client(io, Config::default()))
    }

    async fn is_answered(&self, channel: &mut Channel) -> io::Result<()> {
        channel.write_all(&self.header).await?;
        channel.shutdown().await?;
        channel.read(&mut [0]).await.map(drop)
    }
}
