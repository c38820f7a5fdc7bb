//! A connection's socket begins with the system's congestion control, and gets BBR
//! when it has something large to send.
#![cfg(all(
    target_os = "linux",
    feature = "client",
    feature = "server",
    feature = "tls"
))]

#[path = "support/certs.rs"]
mod certs;
#[path = "support/guard.rs"]
mod guard;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, SharedIo, SharedPort, Tls};
use tcpchan::{Channel, Config, SocketProfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tower::{Service, ServiceExt, service_fn};

use certs::Authority;
use guard::within;

const SMALL: usize = 1000;
const LARGE: usize = 256 << 10;

/// At an address of this host that is not a loopback one, whose sockets have Reno;
/// none where there is no such address or no BBR.
async fn listener() -> Option<TcpListener> {
    listener_with(b"reno").await
}

async fn listener_with(congestion: &[u8]) -> Option<TcpListener> {
    let listens = async {
        let _ = SocketProfile::default().congestion("bbr").ok()?;
        let probe = UdpSocket::bind("0.0.0.0:0").ok()?;
        probe.connect("192.0.2.1:9").ok()?; // sends nothing
        listener_at(probe.local_addr().ok()?.ip(), congestion).await
    };
    let listener = listens.await;
    if listener.is_none() {
        println!("not tested: this system has no BBR or no address");
    }
    listener
}

async fn listener_at(address: IpAddr, congestion: &[u8]) -> Option<TcpListener> {
    let listener = TcpListener::bind((address, 0)).await.ok()?;
    let socket = SockRef::from(&listener);
    socket.set_tcp_congestion(congestion).unwrap();
    Some(listener)
}

async fn connect(uri: Uri) -> Result<TokioIo<TcpStream>, tower::BoxError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let io = http.oneshot(uri).await?;
    SockRef::from(io.inner()).set_tcp_congestion(b"reno")?;
    Ok(io)
}

/// The congestion control of this process's socket between the two.
fn congestion(local: SocketAddr, peer: SocketAddr) -> String {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let found = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .find_map(|entry| {
            let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let file = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok()?;
            let stream = std::net::TcpStream::from(file);
            let is_it = stream.local_addr().ok()? == local && stream.peer_addr().ok()? == peer;
            is_it.then_some(stream)
        });
    let name = SockRef::from(&found.unwrap()).tcp_congestion().unwrap();
    String::from_utf8(name)
        .unwrap()
        .trim_end_matches('\0')
        .into()
}

/// The congestion control of the socket from which so many bytes went.
async fn sent(
    bytes: usize,
    (from, local): &mut (Channel, SocketAddr),
    (to, peer): &mut (Channel, SocketAddr),
) -> String {
    let mut read = vec![0; bytes];
    let write = async { from.write_all(&vec![0; bytes]).await };
    let (written, read) = within(async { tokio::join!(write, to.read_exact(&mut read)) }).await;
    written.and(read.map(drop)).unwrap();
    congestion(*local, *peer)
}

/// Both ends of a channel, and where the socket of each is.
struct Ends {
    near: (Channel, SocketAddr),
    far: (Channel, SocketAddr),
}

impl Ends {
    async fn between<C>(mut acceptor: Acceptor, connector: Multiplex<C>) -> Self
    where
        Multiplex<C>: Service<Uri, Response = Channel, Error: std::fmt::Debug>,
    {
        let server = acceptor.local_addr().unwrap();
        let near = opened(server, connector).await;
        let (far, peer) = within(acceptor.accept()).await;
        Ends::new(near, peer.addr, far, server).await
    }

    async fn new(near: Channel, client: SocketAddr, far: Channel, server: SocketAddr) -> Self {
        let (near, far) = ((near, client), (far, server));
        let mut ends = Ends { near, far };
        assert_eq!(ends.far.0.read_u8().await.unwrap(), b'a');
        ends
    }

    /// The server's congestion control once it has sent so much.
    async fn served(&mut self, bytes: usize) -> String {
        sent(bytes, &mut self.far, &mut self.near).await
    }

    /// The client's.
    async fn uploaded(&mut self, bytes: usize) -> String {
        sent(bytes, &mut self.near, &mut self.far).await
    }
}

/// A channel on which one byte was written.
async fn opened<C>(server: SocketAddr, connector: Multiplex<C>) -> Channel
where
    Multiplex<C>: Service<Uri, Response = Channel, Error: std::fmt::Debug>,
{
    let uri = format!("https://{server}").parse().unwrap();
    let mut near = within(connector.oneshot(uri)).await.unwrap();
    near.write_all(b"a").await.unwrap();
    near
}

async fn each_side_chooses_by_what_it_sends(mut ends: Ends) {
    assert_eq!(ends.served(SMALL).await, "reno");
    assert_eq!(ends.served(LARGE).await, "bbr");
    assert_eq!(ends.uploaded(SMALL).await, "reno");
    assert_eq!(ends.uploaded(LARGE).await, "bbr");
}

#[tokio::test]
async fn over_tcp() {
    if let Some(listener) = listener().await {
        let acceptor = Acceptor::new(listener, Config::default());
        let multiplex = Multiplex::new(service_fn(connect));
        each_side_chooses_by_what_it_sends(Ends::between(acceptor, multiplex).await).await;
    }
}

#[tokio::test]
async fn over_tls() {
    if let Some(listener) = listener().await {
        let authority = Authority::new();
        let acceptor = Acceptor::tls(listener, Tls::new(authority.server()), Config::default());
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = TlsConnector::over(service_fn(connect), authority.client()).server_name(name);
        let ends = Ends::between(acceptor, Multiplex::new(tls)).await;
        each_side_chooses_by_what_it_sends(ends).await;
    }
}

#[tokio::test]
async fn on_one_port_with_http() {
    if let Some(listener) = listener().await {
        let mut port = SharedPort::plain(listener, Config::default());
        let server = port.local_addr().unwrap();
        let near = opened(server, Multiplex::new(service_fn(connect))).await;
        let (SharedIo::Channel(far), peer) = within(port.accept()).await else {
            panic!("that is no channel");
        };
        let ends = Ends::new(near, peer.addr, far, server).await;
        each_side_chooses_by_what_it_sends(ends).await;
    }
}

#[tokio::test]
async fn an_http_connection_on_one_port_has_it_at_once() {
    if let Some(listener) = listener().await {
        let mut port = SharedPort::plain(listener, Config::default());
        let server = port.local_addr().unwrap();
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(b"GET").await.unwrap();
        let (_io, peer) = within(port.accept()).await;
        assert_eq!(congestion(server, peer.addr), "bbr");
    }
}

/// On this system's default.
#[tokio::test]
async fn what_a_listener_accepts_begins_without_it_where_it_is_the_default() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = SockRef::from(&socket).tcp_congestion().unwrap();
    if !name.starts_with(b"bbr") {
        return println!("not tested: BBR is not this system's default");
    }
    if let Some(listener) = listener_with(b"bbr").await {
        let acceptor = Acceptor::new(listener, Config::default());
        let multiplex = Multiplex::new(service_fn(connect));
        let mut ends = Ends::between(acceptor, multiplex).await;
        assert_ne!(ends.served(SMALL).await, "bbr");
        assert_eq!(ends.served(LARGE).await, "bbr");
    }
}

#[tokio::test]
async fn on_the_same_host_none_is_chosen() {
    let listener = listener_at(Ipv4Addr::LOCALHOST.into(), b"reno").await;
    let acceptor = Acceptor::new(listener.unwrap(), Config::default());
    let multiplex = Multiplex::new(service_fn(connect));
    let mut ends = Ends::between(acceptor, multiplex).await;
    assert_eq!(ends.served(LARGE).await, "reno");
    assert_eq!(ends.uploaded(LARGE).await, "reno");
}
