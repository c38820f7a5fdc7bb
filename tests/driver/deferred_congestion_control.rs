//! A connection's socket begins with the system's congestion control, and gets BBR
//! when it has something large to send.
#![cfg(all(
    target_os = "linux",
    feature = "client",
    feature = "server",
    feature = "tls"
))]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, SharedIo, SharedPort, Tls};
use tcpchan::{Channel, SocketProfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tower::{Service, ServiceExt, service_fn};

use crate::certs::Authority;
use crate::guard::within;
use crate::neighbour::{Family, Neighbour};
use crate::started::started;

const SMALL: usize = 1000;
const LARGE: usize = 512 << 10;

/// Of a link to another region, one way.
const FAR: Duration = Duration::from_millis(10);
/// Of one to a container on the same host.
const NEAR: Duration = Duration::ZERO;

/// Another host, and a listener here that it connects to, whose sockets have Reno.
async fn there(family: Family, delay: Duration) -> Option<(Neighbour, TcpListener)> {
    there_with(Some(b"reno"), family, delay).await
}

async fn there_with(
    congestion: Option<&[u8]>,
    family: Family,
    delay: Duration,
) -> Option<(Neighbour, TcpListener)> {
    if SocketProfile::default().congestion("bbr").is_err() {
        println!("NOT TESTED: this system has no BBR or does not let this user choose it");
        return None;
    }
    let host = Neighbour::new(family, delay)?;
    let listener = listener_at(host.ours, congestion).await;
    host.carry_to(listener.local_addr().unwrap());
    Some((host, listener))
}

/// With this congestion control, or the system's.
async fn listener_at(address: IpAddr, congestion: Option<&[u8]>) -> TcpListener {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    if let Some(congestion) = congestion {
        let socket = SockRef::from(&listener);
        socket.set_tcp_congestion(congestion).unwrap();
    }
    listener
}

async fn connect(uri: Uri) -> Result<TokioIo<TcpStream>, tower::BoxError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let io = http.oneshot(uri).await?;
    SockRef::from(io.inner()).set_tcp_congestion(b"reno")?;
    Ok(io)
}

/// The congestion control of this process's socket to that peer.
fn congestion(peer: SocketAddr) -> String {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let found = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .find_map(|entry| {
            let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let file = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok()?;
            let stream = std::net::TcpStream::from(file);
            (stream.peer_addr().ok()? == peer).then_some(stream)
        });
    name(&SockRef::from(&found.unwrap()))
}

fn name(socket: &socket2::Socket) -> String {
    let name = String::from_utf8(socket.tcp_congestion().unwrap()).unwrap();
    name.trim_end_matches('\0').to_owned()
}

/// The congestion control of the socket from which so many bytes went.
async fn sent(
    bytes: usize,
    (from, to_peer): &mut (Channel, SocketAddr),
    (to, _): &mut (Channel, SocketAddr),
) -> String {
    let mut read = vec![0; bytes];
    let write = async { from.write_all(&vec![0; bytes]).await };
    let (written, read) = within(async { tokio::join!(write, to.read_exact(&mut read)) }).await;
    written.and(read.map(drop)).unwrap();
    congestion(*to_peer)
}

/// Both ends of a channel, and whom the socket of each is connected to.
struct Ends {
    near: (Channel, SocketAddr),
    far: (Channel, SocketAddr),
}

impl Ends {
    /// The client dials `server`.
    async fn between<C>(mut acceptor: Acceptor, connector: Multiplex<C>, server: SocketAddr) -> Self
    where
        Multiplex<C>: Service<Uri, Response = Channel, Error: std::fmt::Debug>,
    {
        let near = opened(server, connector).await;
        let (far, peer) = within(acceptor.accept()).await;
        Ends::new(near, server, far, peer.addr).await
    }

    async fn new(near: Channel, server: SocketAddr, far: Channel, client: SocketAddr) -> Self {
        let (near, far) = ((near, server), (far, client));
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

    /// The server's and the client's once each has sent much.
    async fn both(mut self) -> [String; 2] {
        [self.served(LARGE).await, self.uploaded(LARGE).await]
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
    for _ in 0..3 {
        // Each knows the round trip then.
        assert_eq!(ends.served(SMALL).await, "reno");
        assert_eq!(ends.uploaded(SMALL).await, "reno");
    }
    assert_eq!(ends.served(LARGE).await, "bbr");
    assert_eq!(ends.uploaded(SMALL).await, "reno");
    assert_eq!(ends.uploaded(LARGE).await, "bbr");
}

async fn over_tcp(listener: TcpListener, server: SocketAddr) -> Ends {
    let acceptor = started(Acceptor::new(listener));
    Ends::between(acceptor, Multiplex::new(service_fn(connect)), server).await
}

#[tokio::test]
async fn to_another_host() {
    if let Some((host, listener)) = there(Family::V4, FAR).await {
        each_side_chooses_by_what_it_sends(over_tcp(listener, host.addr).await).await;
    }
}

#[tokio::test]
async fn to_another_host_by_ipv6() {
    if let Some((host, listener)) = there(Family::V6, FAR).await {
        each_side_chooses_by_what_it_sends(over_tcp(listener, host.addr).await).await;
    }
}

#[tokio::test]
async fn over_tls() {
    if let Some((host, listener)) = there(Family::V4, FAR).await {
        let authority = Authority::new();
        let acceptor = Acceptor::new(listener).with_tls(Tls::new(authority.server()));
        let acceptor = started(acceptor);
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls =
            TlsConnector::over(service_fn(connect), authority.client()).with_server_name(name);
        let ends = Ends::between(acceptor, Multiplex::new(tls), host.addr).await;
        each_side_chooses_by_what_it_sends(ends).await;
    }
}

#[tokio::test]
async fn on_one_port_with_http() {
    if let Some((host, listener)) = there(Family::V4, FAR).await {
        let mut port = SharedPort::new(listener);
        let near = opened(host.addr, Multiplex::new(service_fn(connect))).await;
        let (SharedIo::Channel(far), peer) = within(port.accept()).await else {
            panic!("that is no channel");
        };
        let ends = Ends::new(near, host.addr, far, peer.addr).await;
        each_side_chooses_by_what_it_sends(ends).await;
    }
}

/// A container of the same host. A machine that is busy may take longer than a round
/// trip to another region for some.
#[tokio::test]
async fn where_a_round_trip_is_short_none_is_chosen() {
    for attempt in 1.. {
        let Some((host, listener)) = there(Family::V4, NEAR).await else {
            return;
        };
        let both = over_tcp(listener, host.addr).await.both().await;
        if both == ["reno", "reno"] {
            return;
        }
        assert!(attempt < 40, "{both:?}");
    }
}

#[tokio::test]
async fn on_the_same_host_none_is_chosen() {
    let mut ours = vec![Ipv4Addr::LOCALHOST.into()];
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    if probe.connect("192.0.2.1:9").is_ok() {
        ours.push(probe.local_addr().unwrap().ip()); // sends nothing
    }
    for address in ours {
        let listener = listener_at(address, Some(b"reno")).await;
        let server = listener.local_addr().unwrap();
        let both = over_tcp(listener, server).await.both().await;
        assert_eq!(both, ["reno", "reno"], "{address}");
    }
}

/// As its server would on a port of its own.
#[tokio::test]
async fn an_http_connection_on_one_port_has_the_systems() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let systems = name(&SockRef::from(&listener));
    let mut port = SharedPort::new(listener);
    let mut client = TcpStream::connect(port.local_addr().unwrap())
        .await
        .unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (_io, peer) = within(port.accept()).await;
    assert_eq!(congestion(peer.addr), systems);
}

/// On this system's default, on any link.
#[tokio::test]
async fn what_a_listener_accepts_begins_without_it_where_it_is_the_default() {
    let Some((host, listener)) = there_with(None, Family::V4, NEAR).await else {
        return;
    };
    if name(&SockRef::from(&listener)) != "bbr" {
        return println!("NOT TESTED: BBR is not this system's default");
    }
    let mut ends = over_tcp(listener, host.addr).await;
    assert_ne!(ends.served(SMALL).await, "bbr");
    assert_eq!(ends.served(LARGE).await, "bbr");
}
