//! `tcpchan hub`: services come here, and are reached by their names.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tcpchan::{Config, Connection, ConnectionStats};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tracing::{debug, info, warn};

use super::ending::{Ended, Open};
use super::strangers::Strangers;
use super::swap::Swap;
use super::view::View;
use crate::args;
use crate::counters::Counters;
use crate::failure::{Problem, in_a_line};
use crate::label::Label;
use crate::net::{Address, Client, Listener, Stream};
use crate::reverse::{Keys, Published, is_certified, receive};
use crate::targets::TargetView;
use crate::tls::{self, HUB_ALPN};

/// How long a service may take for TLS and its name.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections of services. Further ones wait in the system's backlog.
const MOST: usize = 4096;

const TCP_ONLY: &str = "a hub takes services over TCP only, not at a unix socket";

pub struct Hub {
    label: Label,
    /// Of streams it has none: they are its relays'.
    counters: Counters,
    published: Published,
    plan: Swap<Plan>,
}

/// What it does with a service that comes; another after a reload.
pub struct Plan {
    config: Config,
    tls: Option<Arc<ServerConfig>>,
    keys: Option<Keys>,
}

impl Plan {
    pub fn new(args: &args::Hub) -> Result<Self, Problem> {
        let keys = args.key_file.as_deref().map(Keys::read).transpose()?;
        if keys.is_none() && args.tls.tls_client_ca.is_none() {
            let text = "without it, or tls-client-ca, anybody could take a name";
            return Err(Problem::new("key-file", text));
        }
        let unix = |listen: &&String| matches!(Address::of(listen), Address::Unix(_));
        if let Some(listen) = args.listen.listen.iter().find(unix) {
            return Err(Problem::new("listen", TCP_ONLY).of(listen));
        }
        let tls = tls::server(&args.tls)?.map(|mut tls| {
            tls.alpn_protocols = vec![HUB_ALPN.to_vec()];
            Arc::new(tls)
        });
        Ok(Plan {
            config: args.socket.config()?,
            tls,
            keys,
        })
    }

    /// Does what comes before tcpchan, and gives the service's name.
    async fn greet(&self, mut tcp: TcpStream) -> io::Result<(String, Connection)> {
        self.config.get_socket().apply(&tcp)?;
        let Some(tls) = self.tls.clone() else {
            let check = |name: &str, nonce: &str, code: &[u8]| self.check(name, nonce, code, true);
            let name = receive(&mut tcp, check).await?;
            return Ok((name, Connection::server(tcp, self.config.clone())));
        };
        let mut tls = TlsAcceptor::from(tls).accept(tcp).await?;
        let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = certificates.first().cloned();
        let check = |name: &str, nonce: &str, code: &[u8]| {
            let certificate = certificate.as_ref();
            let is_certified = certificate.is_some_and(|one| is_certified(one, name));
            self.check(name, nonce, code, is_certified)
        };
        let name = receive(&mut tls, check).await?;
        Ok((name, Connection::server(tls, self.config.clone())))
    }

    /// With keys, the key decides, and otherwise the certificate.
    fn check(&self, name: &str, nonce: &str, code: &[u8], certified: bool) -> Result<(), String> {
        match &self.keys {
            Some(keys) if keys.verify(name, nonce, code) => Ok(()),
            Some(_) => Err("the key is wrong, or key-file has none of the name".to_owned()),
            None if certified => Ok(()),
            None => Err("the certificate has no such DNS name".to_owned()),
        }
    }
}

impl Hub {
    pub fn new(label: Label, plan: Plan, published: Published) -> Self {
        Hub {
            label,
            counters: Counters::default(),
            published,
            plan: Swap::new(plan),
        }
    }

    pub fn change(&self, plan: Plan) {
        self.plan.set(plan);
    }

    /// Takes services until it is to end; then lets what is carried to them end. Whether
    /// something was cut off, the relays tell.
    pub async fn run(self: Arc<Self>, listener: Listener, mut ended: Ended, open: Open) -> bool {
        let mut strangers = Strangers::new();
        let mut services = JoinSet::new();
        loop {
            let has_room = services.len() < MOST;
            tokio::select! {
                accepted = listener.accept(), if has_room => match accepted {
                    Ok((stream, client)) => {
                        let hub = self.clone();
                        let addr = client.addr().map(|addr| addr.ip());
                        strangers.add(addr, async move { hub.greet(stream, client).await });
                    }
                    Err(error) => {
                        warn!(service = self.label.field(), %error, "can't accept a service");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
                come = strangers.next(), if has_room => if let Some(come) = come {
                    let (hub, told) = (self.clone(), ended.clone());
                    services.spawn(async move { hub.serve(come, told).await });
                },
                Some(_) = services.join_next() => {}
                _ = ended.asked() => break,
            }
        }
        drop((listener, open, strangers));
        tokio::select! {
            () = async { while services.join_next().await.is_some() {} } => {}
            () = ended.deadline() => services.shutdown().await,
        }
        false
    }

    /// Lets a service in, or tells why not.
    async fn greet(&self, stream: Stream, client: Client) -> Option<Come> {
        let plan = self.plan.get();
        let greeted = match stream {
            Stream::Tcp(tcp) => timeout(PATIENCE, plan.greet(tcp)).await,
            #[cfg(unix)]
            Stream::Unix(_) => Ok(Err(io::Error::other(TCP_ONLY))), // systemd has passed it
        };
        match greeted.unwrap_or_else(|late| Err(late.into())) {
            Ok((name, connection)) => Some(Come {
                name,
                connection,
                client,
            }),
            Err(error) => {
                let (service, error) = (self.label.field(), in_a_line(&error));
                match self.counters.warns_of_refusal() {
                    Some(suppressed) => {
                        warn!(service, %client, error, suppressed, "refused a service");
                    }
                    None => debug!(service, %client, error, "refused a service"),
                }
                None
            }
        }
    }

    /// Lists a service as long as its connection lives.
    async fn serve(&self, come: Come, mut ended: Ended) {
        let Come {
            name,
            connection,
            client,
        } = come;
        let service = self.label.field();
        let listed = self.published.list(name.clone(), connection.clone());
        info!(service, %client, name, "a service has come");
        tokio::select! {
            () = refuse_streams(&connection) => {}
            _ = ended.asked() => {
                drop(listed);
                connection.drain();
                refuse_streams(&connection).await;
            }
        }
        let error = connection.error();
        let error = error.map(|error| error.to_string());
        info!(service, %client, name, error, "a service has gone");
    }
}

/// Refuses what a service opens, until its connection has ended. Otherwise that would wait, with
/// its bytes.
async fn refuse_streams(connection: &Connection) {
    while let Some(channel) = connection.accept().await {
        channel.refuse();
    }
    connection.closed().await;
}

/// A service that was let in.
struct Come {
    name: String,
    connection: Connection,
    client: Client,
}

impl View for Hub {
    fn mode(&self) -> &'static str {
        "hub"
    }

    fn label(&self) -> &Label {
        &self.label
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The services that have come.
    fn targets(&self) -> Vec<TargetView> {
        let mut streams = BTreeMap::<String, usize>::new();
        for (name, connection) in self.published.all() {
            *streams.entry(name).or_default() += connection.stats().channels;
        }
        let view = |(name, live)| TargetView {
            name,
            state: "up",
            live,
            link: None,
        };
        streams.into_iter().map(view).collect()
    }

    fn bytes(&self) -> (u64, u64) {
        (0, 0) // they are the relays'
    }

    fn connections(&self) -> Vec<(Option<String>, ConnectionStats)> {
        let all = self.published.all().into_iter();
        all.map(|(name, one)| (Some(name), one.snapshot()))
            .collect()
    }

    /// A hub is ready whoever has come. If it were not, a load balancer might keep all out.
    fn reachable(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>> {
        Box::pin(async { Ok("hub".to_owned()) })
    }
}
