//! A name, the servers at its addresses, and a resolver that a test controls.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::dns::Name;
use tcpchan::client::{ConnectError, ConnectTo, Discovery, Multiplex};
use tcpchan::{Channel, Config};
use tower::{Service, service_fn};

use crate::local::{Net, Way, ping};

/// What a resolver says.
#[derive(Clone)]
pub enum Answer {
    Addresses(Vec<SocketAddr>),
    Fails,
    Hangs,
    Panics,
}

/// A resolver that a test controls.
#[derive(Clone)]
pub struct Script(Arc<Mutex<(Answer, Vec<String>)>>);

impl Script {
    pub fn new(addresses: &[SocketAddr]) -> Script {
        let answer = Answer::Addresses(addresses.to_vec());
        Script(Arc::new(Mutex::new((answer, Vec::new()))))
    }

    pub fn say(&self, answer: Answer) {
        self.0.lock().unwrap().0 = answer;
    }

    pub fn resolves_to(&self, addresses: &[SocketAddr]) {
        self.say(Answer::Addresses(addresses.to_vec()));
    }

    /// The names that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }

    pub fn discovery(&self) -> Discovery {
        let script = self.clone();
        Discovery::default().resolver(service_fn(move |name: Name| {
            let script = script.clone();
            async move {
                let answer = {
                    let mut script = script.0.lock().unwrap();
                    script.1.push(name.to_string());
                    script.0.clone()
                };
                match answer {
                    Answer::Addresses(addresses) => Ok(addresses.into_iter()),
                    Answer::Fails => Err(io::Error::other("the resolver has no answer")),
                    Answer::Hangs => std::future::pending().await,
                    Answer::Panics => panic!("the resolver panics"),
                }
            }
        }))
    }
}

/// Echo servers in memory, each at an address.
#[derive(Clone, Default)]
pub struct Servers(Arc<Mutex<BTreeMap<SocketAddr, Net>>>);

impl Servers {
    pub fn at(&self, addr: SocketAddr) -> Net {
        let mut all = self.0.lock().unwrap();
        let one = all.entry(addr);
        one.or_insert_with(|| Net::new(Config::default())).clone()
    }

    /// The channels that each of these has been asked for.
    pub fn channels(&self, addresses: &[SocketAddr]) -> Vec<u64> {
        let channels = |addr: &SocketAddr| -> u64 {
            let servers = self.at(*addr).servers();
            servers.iter().map(|server| server.stats().accepted).sum()
        };
        addresses.iter().map(channels).collect()
    }
}

impl Service<Uri> for Servers {
    type Response = <Net as Service<Uri>>::Response;
    type Error = io::Error;
    type Future = <Net as Service<Uri>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let addr = uri.authority().unwrap().as_str().parse();
        self.at(addr.expect("the name was not resolved")).call(uri)
    }
}

impl ConnectTo for Servers {
    fn connect_to(&mut self, uri: Uri, addr: SocketAddr) -> Self::Future {
        assert_eq!(uri.host(), Some("app"));
        self.at(addr).call(uri)
    }
}

pub fn v4(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 3000))
}

pub fn v6(last: u16) -> SocketAddr {
    SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, last], 3000))
}

/// A name, its servers, and a client of it.
pub struct Cluster {
    pub script: Script,
    pub servers: Servers,
    pub multiplex: Multiplex<Servers>,
}

impl Cluster {
    pub fn new(addresses: &[SocketAddr]) -> Cluster {
        Cluster::with(addresses, |discovery| discovery)
    }

    pub fn with(addresses: &[SocketAddr], set: impl FnOnce(Discovery) -> Discovery) -> Cluster {
        let (script, servers) = (Script::new(addresses), Servers::default());
        let discovery = set(script.discovery());
        let multiplex = Multiplex::new(servers.clone()).with_discovery(discovery);
        Cluster {
            script,
            servers,
            multiplex,
        }
    }

    pub async fn open(&self) -> Result<Channel, ConnectError> {
        let uri = Uri::from_static("http://app:3000/");
        self.multiplex.clone().call(uri).await
    }

    /// Opens so many channels one after another, which are served.
    pub async fn ping(&self, times: usize) {
        for _ in 0..times {
            ping(&mut self.open().await.unwrap()).await.unwrap();
        }
    }

    pub fn is_down(&self, addr: SocketAddr) {
        self.servers.at(addr).set(Way::Refused);
        for server in self.servers.at(addr).servers() {
            server.close("the server is gone");
        }
    }

    /// The channels that the next pings bring to each of these.
    pub async fn share(&self, times: usize, addresses: &[SocketAddr]) -> Vec<u64> {
        let before = self.servers.channels(addresses);
        self.ping(times).await;
        let after = self.servers.channels(addresses);
        after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect()
    }
}
