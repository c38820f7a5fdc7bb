//! The PROXY protocol: a load balancer tells who its client is, and nobody else does.
#![cfg(all(feature = "proxy-protocol", feature = "tls"))]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tcpchan::server::{
    Acceptor, ConnectionLimits, PeerInfo, ProxyProtocol, SharedIo, SharedPort, Tls,
};
use tcpchan::{Channel, Config, Connection, MemoryBudget};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::certs::Authority;
use crate::guard::within;
use crate::rude::violation;
use crate::started::started;

const BALANCER: &str = "10.0.0.1:999";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

/// Of a client with this address of IPv4, with what AWS adds: the VPC's endpoint.
fn of_client(ip: [u8; 4], port: u16) -> Vec<u8> {
    let addresses = [&ip[..], &[10, 0, 0, 9], &port.to_be_bytes(), &[1, 187]].concat();
    v2(0x21, 0x11, &[&addresses[..], b"\xea\0\x04\x01vpc"].concat())
}

fn trusting() -> ProxyProtocol {
    let networks = ["10.0.0.0/8", "127.0.0.1"];
    ProxyProtocol::default().trusted_networks(networks).unwrap()
}

/// What a listener would be, in memory.
struct Listener(mpsc::UnboundedSender<io::Result<(DuplexStream, SocketAddr)>>);

impl Listener {
    fn new() -> (Listener, Acceptor) {
        let (to, incoming) = mpsc::unbounded_channel();
        let acceptor = Acceptor::from_incoming(UnboundedReceiverStream::new(incoming));
        (Listener(to), acceptor)
    }

    /// A connection that takes so many bytes at a time.
    fn comes(&self, from: &str, buffer: usize) -> DuplexStream {
        let (near, far) = duplex(buffer);
        self.0.send(Ok((far, from.parse().unwrap()))).unwrap();
        near
    }
}

/// A channel on a connection that begins with these bytes, and whoever the acceptor takes its
/// client to be. An error if the acceptor closes it.
async fn serve<T>(acceptor: &mut Acceptor, mut io: T, first: &[u8]) -> io::Result<PeerInfo>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let call = async {
        io.write_all(first).await?;
        call(io).await
    };
    let served = async {
        let (mut channel, peer) = acceptor.accept().await;
        assert_eq!(channel.read_u8().await.unwrap(), b'x');
        channel.write_all(b"y").await.unwrap();
        Ok(peer)
    };
    let called = async {
        let mut channel: Channel = call.await?.1;
        match channel.read_u8().await {
            Ok(_) => std::future::pending().await,
            Err(error) => Err(error),
        }
    };
    within(async {
        tokio::select! {
            biased;
            peer = served => peer,
            error = called => error,
        }
    })
    .await
}

async fn call(
    io: impl AsyncRead + AsyncWrite + Send + 'static,
) -> io::Result<(Connection, Channel)> {
    let client = Connection::client(io, Config::default());
    let mut channel = client.open().await?;
    channel.write_all(b"x").await?;
    Ok((client, channel))
}

/// Whom an acceptor takes this peer to be, whose connection begins with these bytes.
async fn taken(
    proxy: ProxyProtocol,
    from: &str,
    first: &[u8],
    buffer: usize,
) -> io::Result<PeerInfo> {
    let (listener, acceptor) = Listener::new();
    let mut acceptor = acceptor.with_proxy_protocol(proxy);
    let io = listener.comes(from, buffer);
    serve(&mut acceptor, io, first).await
}

/// Headers, and the client that each tells of.
fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let mut tcp6 = [0x20, 1, 0xd, 0xb8].to_vec();
    tcp6.resize(32, 7);
    let mapped = "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.9 4711 443\r\n";
    let tcp6 = v2(0x21, 0x21, &[&tcp6[..], &[18, 103, 1, 187]].concat());
    let ipv4 = of_client([192, 0, 2, 7], 4711);
    vec![
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 443\r\n".into(),
            Some("192.0.2.7:4711"),
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".into(),
            Some("[2001:db8::7]:4711"),
        ),
        (mapped.into(), Some("192.0.2.7:4711")),
        (b"PROXY UNKNOWN\r\n".into(), None),
        (
            b"PROXY UNKNOWN of whom more is said than one would think\r\n".into(),
            None,
        ),
        (ipv4.clone(), Some("192.0.2.7:4711")),
        (tcp6, Some("[2001:db8:707:707:707:707:707:707]:4711")),
        // LOCAL, as of health checks, with what is to be skipped.
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, &ipv4[16..]), None),
        (v2(0x20, 0xff, &[9; 4]), None),
        // No address, a unix socket's, and one of UDP.
        (v2(0x21, 0x00, &[9; 40]), None),
        (v2(0x21, 0x31, &[9; 216]), None),
        (v2(0x21, 0x12, &ipv4[16..]), None),
        // As long as one may be.
        (
            v2(0x21, 0x11, &[&ipv4[16..28], &[0; 4068][..]].concat()),
            Some("192.0.2.7:4711"),
        ),
    ]
}

/// Where header and hello come together, and where each byte comes by itself.
#[tokio::test]
async fn a_header_of_either_version_tells_who_the_client_is() {
    for (header, client) in headers() {
        for buffer in [1 << 16, 1] {
            let peer = taken(trusting(), BALANCER, &header, buffer).await.unwrap();
            let told = (
                peer.addr.to_string(),
                peer.proxy.map(|proxy| proxy.to_string()),
            );
            let expected = match client {
                Some(client) => (client.to_owned(), Some(BALANCER.to_owned())),
                None => (BALANCER.to_owned(), None),
            };
            assert_eq!(told, expected, "{header:?}");
        }
    }
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let authority = Authority::new();
    for buffer in [1 << 16, 64] {
        let (listener, acceptor) = Listener::new();
        let tls = Tls::new(authority.server_for_known_clients());
        let mut acceptor = acceptor.with_proxy_protocol(trusting()).with_tls(tls);
        let mut near = listener.comes(BALANCER, buffer);
        let client = authority.client_with(authority.certify("one"));
        let connector = TlsConnector::from(Arc::new(client));
        let called = async {
            near.write_all(&of_client([192, 0, 2, 7], 4711))
                .await
                .unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            call(connector.connect(name, near).await.unwrap())
                .await
                .unwrap()
        };
        let both = async { tokio::join!(acceptor.accept(), called) };
        let ((mut channel, peer), _client) = within(both).await;
        assert_eq!(channel.read_u8().await.unwrap(), b'x');
        assert_eq!(peer.addr.to_string(), "192.0.2.7:4711");
        assert_eq!(peer.proxy.unwrap().to_string(), BALANCER);
        assert!(peer.identity.is_some());
    }
}

#[tokio::test]
async fn a_header_that_is_not_as_the_protocol_says_closes_the_connection() {
    let good = of_client([192, 0, 2, 7], 4711);
    let mut version_3 = good.clone();
    version_3[12] = 0x31;
    let mut command_2 = good.clone();
    command_2[12] = 0x22;
    let mut longest = good.clone();
    longest[14..16].fill(255);
    let too_long = v2(0x21, 0x11, &[&good[16..28], &[0; 4069][..]].concat());
    for bad in [
        &[
            &b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 443\n"[..],
            &[b'x'; 107],
        ]
        .concat()[..],
        b"PROXY TCP4 192.0.2.7 10.0.0.9 4711\r\n",
        b"PROXY TCP4 192.0.2.777 10.0.0.9 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 65536\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.9 4711 443\r\n",
        b"PROXY TCP4 \r\n",
        b"PROXY \r\n",
        b"PROXY UDP4 192.0.2.7 10.0.0.9 4711 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP4 192.0.2.7\r10.0.0.9 4711 443\r\n",
        &[b"PROXY UNKNOWN ", &[b'x'; 92][..], b"\r\n"].concat(),
        &version_3,
        &command_2,
        &longest,
        &too_long,
        &v2(0x21, 0x11, &[1, 2, 3]),
        &v2(0x21, 0x51, &good[16..]),
    ] {
        let taken = taken(trusting(), BALANCER, bad, 1 << 16).await;
        assert!(taken.is_err(), "{:?}", String::from_utf8_lossy(bad));
    }
}

/// Nobody waits for the rest of a line that is too long already.
#[tokio::test(start_paused = true)]
async fn a_header_of_version_1_ends_within_107_bytes_or_its_connection_closes() {
    let line = |len: usize, end: &[u8]| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(len - end.len(), b'x');
        [&line, end].concat()
    };
    let longest = taken(trusting(), BALANCER, &line(107, b"\r\n"), 1 << 16).await;
    assert_eq!(longest.unwrap().addr.to_string(), BALANCER);
    let longer = taken(trusting(), BALANCER, &line(108, b"\r\n"), 1 << 16).await;
    assert!(longer.is_err(), "{longer:?}");
    let (listener, acceptor) = Listener::new();
    let _acceptor = started(acceptor.with_proxy_protocol(trusting()));
    let mut endless = listener.comes(BALANCER, 1 << 16);
    let start = Instant::now();
    endless.write_all(&line(107, b"")).await.unwrap();
    assert!(is_closed(&mut endless).await);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

#[tokio::test]
async fn only_a_trusted_network_is_believed_and_only_if_it_must_be_is_it_asked() {
    let nobody = ProxyProtocol::default();
    let optional = trusting().required(false);
    let header = of_client([192, 0, 2, 7], 4711);
    for (proxy, from, first, client) in [
        (
            &trusting(),
            "10.9.9.9:1",
            &header[..],
            Some("192.0.2.7:4711"),
        ),
        (
            &trusting(),
            "[::ffff:10.9.9.9]:1",
            &header,
            Some("192.0.2.7:4711"),
        ),
        (&trusting(), "11.0.0.1:1", &header, None),
        (&trusting(), "[::ffff:11.0.0.1]:1", &header, None),
        (
            &trusting(),
            "[2001:db8::1]:1",
            b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 443\r\n",
            None,
        ),
        (&trusting(), "11.0.0.1:1", b"", Some("11.0.0.1:1")),
        (&trusting(), "10.9.9.9:1", b"", None),
        (&optional, "10.9.9.9:1", b"", Some("10.9.9.9:1")),
        (&optional, "10.9.9.9:1", &header, Some("192.0.2.7:4711")),
        (&optional, "11.0.0.1:1", &header, None),
        (&nobody, "10.9.9.9:1", &header, None),
        (&nobody, "10.9.9.9:1", b"", Some("10.9.9.9:1")),
    ] {
        for buffer in [1 << 16, 1] {
            let taken = taken(proxy.clone(), from, first, buffer).await;
            let addr = taken.ok().map(|peer| peer.addr.to_string());
            assert_eq!(addr.as_deref(), client, "{from} {proxy:?}");
        }
    }
}

#[tokio::test]
async fn a_second_header_is_the_clients_own_and_not_believed() {
    let twice = [of_client([192, 0, 2, 7], 1), of_client([192, 0, 2, 8], 2)].concat();
    assert!(taken(trusting(), BALANCER, &twice, 1 << 16).await.is_err());
    let taken = taken(trusting().required(false), BALANCER, &twice, 1).await;
    assert!(taken.is_err());
}

/// Whatever a client says, its bytes come after the load balancer's.
#[tokio::test]
async fn an_http_client_of_a_shared_port_is_known_by_the_header_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut port = SharedPort::new(listener).with_proxy_protocol(trusting());
    let mut balancer = TcpStream::connect(addr).await.unwrap();
    let request = b"PROXY TCP4 192.0.2.8 1.1.1.1 1 1\r\n\r\n";
    let first = [&of_client([192, 0, 2, 7], 4711), &request[..]].concat();
    balancer.write_all(&first).await.unwrap();
    let (SharedIo::Http(mut io), peer) = within(port.accept()).await else {
        panic!("a channel")
    };
    assert_eq!(peer.addr.to_string(), "192.0.2.7:4711");
    assert_eq!(peer.proxy, balancer.local_addr().ok());
    let mut read = vec![0; request.len()];
    within(io.read_exact(&mut read)).await.unwrap();
    assert_eq!(read, request);

    let mut balancer = TcpStream::connect(addr).await.unwrap();
    let header = of_client([192, 0, 2, 9], 4711);
    balancer.write_all(&header).await.unwrap();
    let _client = call(balancer).await.unwrap();
    let (io, peer) = within(port.accept()).await;
    assert!(matches!(io, SharedIo::Channel(_)), "{io:?}");
    assert_eq!(peer.addr.to_string(), "192.0.2.9:4711");
}

/// Some begin as a header does.
#[tokio::test]
async fn http_that_comes_without_a_header_is_served_whole() {
    for proxy_protocol in [trusting().required(false), ProxyProtocol::default()] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut port = SharedPort::new(listener).with_proxy_protocol(proxy_protocol);
        for method in ["GET", "POST", "PROPFIND", "PROXY"] {
            let request = format!("{method}\t/ HTTP/1.1\r\n\r\n");
            let mut client = TcpStream::connect(addr).await.unwrap();
            client.set_nodelay(true).unwrap();
            client.write_all(&request.as_bytes()[..4]).await.unwrap();
            client.write_all(&request.as_bytes()[4..]).await.unwrap();
            let (mut io, peer) = within(port.accept()).await;
            assert_eq!(Some(peer.addr), client.local_addr().ok());
            let mut read = vec![0; request.len()];
            within(io.read_exact(&mut read)).await.unwrap();
            assert_eq!(read, request.as_bytes());
        }
    }
}

async fn is_closed(io: &mut DuplexStream) -> bool {
    let read = tokio::time::timeout(SECOND / 100, io.read_u8()).await;
    read.is_ok_and(|read| read.is_err())
}

#[tokio::test(start_paused = true)]
async fn a_header_that_comes_slowly_has_the_time_of_a_handshake_in_all() {
    for tls in [false, true] {
        let (listener, acceptor) = Listener::new();
        let config = Config::default().handshake_timeout(3 * SECOND).unwrap();
        let mut acceptor = acceptor.with_config(config).with_proxy_protocol(trusting());
        if tls {
            let tls = Tls::new(Authority::new().server());
            acceptor = acceptor.with_tls(tls.handshake_timeout(3 * SECOND).unwrap());
        }
        let _acceptor = started(acceptor);
        let (mut slow, start) = (listener.comes(BALANCER, 1 << 10), Instant::now());
        for byte in b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 443\r\n" {
            if slow.write_u8(*byte).await.is_err() {
                break;
            }
            sleep(SECOND / 4).await;
        }
        assert!(is_closed(&mut slow).await);
        assert!(start.elapsed() < 4 * SECOND, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_come_count_among_the_handshakes() {
    let (listener, acceptor) = Listener::new();
    let config = Config::default().handshake_timeout(HOUR).unwrap();
    let config = config.max_handshakes(1).unwrap();
    let mut acceptor = started(acceptor.with_config(config).with_proxy_protocol(trusting()));
    let mut silent = listener.comes(BALANCER, 1 << 16);
    sleep(2 * SECOND).await;
    let next = listener.comes(BALANCER, 1 << 16);
    let peer = serve(&mut acceptor, next, &of_client([192, 0, 2, 7], 1)).await;
    assert!(peer.is_ok());
    assert!(is_closed(&mut silent).await);
}

/// All come from one load balancer. The oldest is not of the crowd's network.
#[tokio::test(start_paused = true)]
async fn the_limit_of_half_open_connections_sees_clients_and_not_their_load_balancer() {
    for tls in [false, true] {
        let (listener, acceptor) = Listener::new();
        let config = Config::default().handshake_timeout(HOUR).unwrap();
        let config = config.max_handshakes(3).unwrap();
        let mut acceptor = acceptor.with_config(config).with_proxy_protocol(trusting());
        if tls {
            let tls = Tls::new(Authority::new().server());
            let tls = tls.handshake_timeout(HOUR).unwrap();
            acceptor = acceptor.with_tls(tls.max_handshakes(3).unwrap());
        }
        let _acceptor = started(acceptor);
        let mut silent = Vec::new();
        for client in [1, 2, 2] {
            let mut io = listener.comes(BALANCER, 1 << 16);
            io.write_all(&of_client([192, 0, 2, client], 1))
                .await
                .unwrap();
            sleep(SECOND / 100).await;
            silent.push(io);
        }
        sleep(2 * SECOND).await;
        let mut fourth = listener.comes(BALANCER, 1 << 16);
        let header = of_client([192, 0, 2, 3], 1);
        fourth.write_all(&header).await.unwrap();
        sleep(SECOND / 100).await;
        let mut closed = Vec::new();
        for io in &mut silent {
            closed.push(is_closed(io).await);
        }
        assert_eq!(closed, [false, true, false], "with TLS: {tls}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_a_network_are_for_each_client_and_not_for_their_load_balancer() {
    let (listener, acceptor) = Listener::new();
    let limits = ConnectionLimits::default().max_per_network(1).unwrap();
    let acceptor = acceptor.with_connection_limits(limits);
    let mut acceptor = started(acceptor.with_proxy_protocol(trusting()));
    let mut clients = Vec::new();
    for client in [1, 2, 3] {
        let io = listener.comes(BALANCER, 1 << 16);
        let (mut near, far) = (io, of_client([192, 0, 2, client], 1));
        near.write_all(&far).await.unwrap();
        clients.push(call(near).await.unwrap());
        let (_, peer) = within(acceptor.accept()).await;
        assert_eq!(peer.addr.ip().to_string(), format!("192.0.2.{client}"));
    }
    let again = of_client([192, 0, 2, 2], 2);
    let io = listener.comes(BALANCER, 1 << 16);
    assert!(serve(&mut acceptor, io, &again).await.is_err());
    // The first one's place is free once it has ended.
    drop(clients);
    sleep(SECOND).await;
    let io = listener.comes(BALANCER, 1 << 16);
    assert!(serve(&mut acceptor, io, &again).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_network_is_for_each_client_and_not_for_their_load_balancer() {
    let mut used = Vec::new();
    for clients in [1, 20] {
        let (listener, acceptor) = Listener::new();
        let budget = MemoryBudget::new(64 << 20).unwrap();
        let acceptor = acceptor.with_config(Config::default().memory_budget(budget.clone()));
        let mut acceptor = started(acceptor.with_proxy_protocol(trusting()));
        let mut opened = Vec::new();
        for nth in 0..20 {
            let mut io = listener.comes(BALANCER, 1 << 16);
            let client = [192, 0, 2, nth % clients];
            io.write_all(&of_client(client, 1)).await.unwrap();
            let (client, first) = call(io).await.unwrap();
            opened.push(first);
            for _ in 0..100 {
                opened.push(client.open().await.unwrap());
            }
            opened.last_mut().unwrap().write_all(b"x").await.unwrap();
        }
        let mut held = Vec::new();
        let all = async {
            loop {
                held.push(acceptor.accept().await);
            }
        };
        let _ = tokio::time::timeout(SECOND, all).await;
        used.push(budget.used());
    }
    assert!(used[1] > used[0] + (5 << 20), "{used:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_rules_holds_back_itself_and_nobody_else_behind_its_load_balancer() {
    let (listener, acceptor) = Listener::new();
    let mut acceptor = started(acceptor.with_proxy_protocol(trusting()));
    for _ in 0..8 {
        let mut io = listener.comes(BALANCER, 1 << 16);
        let first = [of_client([192, 0, 2, 1], 1), violation()].concat();
        io.write_all(&first).await.unwrap();
        let _ = io.read_to_end(&mut Vec::new()).await; // however it ends
        drop(io);
        sleep(SECOND / 1000).await;
    }
    for (client, is_held_back) in [(2, false), (1, true)] {
        let (io, start) = (listener.comes(BALANCER, 1 << 16), Instant::now());
        let peer = serve(&mut acceptor, io, &of_client([192, 0, 2, client], 1)).await;
        assert!(peer.is_ok());
        let held_back = start.elapsed() >= SECOND / 200;
        assert_eq!(held_back, is_held_back, "{client}: {:?}", start.elapsed());
    }
}

/// It costs no more than a connection.
#[tokio::test(start_paused = true)]
async fn a_network_whose_headers_are_not_believed_is_not_held_back() {
    const ELSEWHERE: &str = "198.51.100.1:1";
    let (listener, acceptor) = Listener::new();
    let mut acceptor = started(acceptor.with_proxy_protocol(trusting()));
    for _ in 0..20 {
        let mut io = listener.comes(ELSEWHERE, 1 << 16);
        io.write_all(&of_client([192, 0, 2, 1], 1)).await.unwrap();
        let _ = io.read_to_end(&mut Vec::new()).await; // however it ends
    }
    let (io, start) = (listener.comes(ELSEWHERE, 1 << 16), Instant::now());
    assert!(serve(&mut acceptor, io, &[]).await.is_ok());
    assert!(start.elapsed() < SECOND / 200, "{:?}", start.elapsed());
}

/// The application has made TLS, and the header is inside.
#[tokio::test]
async fn a_header_inside_tls_leaves_the_client_its_certificates() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = TlsConnector::from(Arc::new(authority.client_with(authority.certify("one"))));
    let server = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_for_known_clients()));
    let addr = listener.local_addr().unwrap();
    let connect = async {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        connector.connect(name, tcp).await.unwrap()
    };
    let accept = async {
        let (tcp, from) = listener.accept().await.unwrap();
        (server.accept(tcp).await.unwrap(), from)
    };
    let (client, accepted) = within(async { tokio::join!(connect, accept) }).await;
    let incoming = tokio_stream::once(Ok(accepted)).chain(tokio_stream::pending());
    let mut acceptor = Acceptor::from_incoming(incoming).with_proxy_protocol(trusting());
    let header = of_client([192, 0, 2, 7], 1);
    let peer = serve(&mut acceptor, client, &header).await.unwrap();
    assert_eq!(peer.addr.to_string(), "192.0.2.7:1");
    assert!(peer.identity.is_some());
}

/// Else the first of a crowd would wait for the last.
#[tokio::test]
async fn a_client_whose_handshake_has_ended_does_not_wait_for_those_that_come_later() {
    const CROWD: u16 = 1_000;
    let (mut clients, mut crowd) = (Vec::new(), Vec::new());
    for nth in 0..CROWD {
        let (mut client, far) = duplex(64);
        let [high, low] = nth.to_be_bytes();
        let header = of_client([192, 0, high, low], 1);
        client.write_all(&header).await.unwrap();
        clients.push(client);
        crowd.push(Ok((far, BALANCER.parse().unwrap())));
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let counts = taken.clone();
    let crowd = tokio_stream::iter(crowd).map(move |one| {
        counts.fetch_add(1, Relaxed);
        one
    });
    let acceptor = Acceptor::from_incoming(crowd.chain(tokio_stream::pending()));
    let acceptor = started(acceptor.with_proxy_protocol(trusting()));
    while taken.load(Relaxed) < usize::from(CROWD) / 2 {
        tokio::task::yield_now().await;
    }
    let (served, taken) = (acceptor.connections().snapshot().len(), taken.load(Relaxed));
    assert!(served * 2 > taken, "{served} of {taken}");
}

#[tokio::test]
async fn a_header_that_is_half_there_when_a_drain_begins_is_served_to_its_end() {
    let (listener, acceptor) = Listener::new();
    let mut acceptor = started(acceptor.with_proxy_protocol(trusting()));
    let mut io = listener.comes(BALANCER, 1 << 16);
    let header = of_client([192, 0, 2, 7], 4711);
    let (half, rest) = header.split_at(20);
    io.write_all(half).await.unwrap();
    tokio::task::yield_now().await;
    let drain = acceptor.drain_handle();
    drain.drain(HOUR);
    let mut drained = tokio_test::task::spawn(drain.drained());
    assert!(drained.poll().is_pending());
    io.write_all(rest).await.unwrap();
    let called = tokio::spawn(call(io));
    let (mut channel, peer) = within(acceptor.accept()).await;
    assert_eq!(channel.read_u8().await.unwrap(), b'x');
    assert_eq!(peer.addr.to_string(), "192.0.2.7:4711");
    drop((channel, called.await.unwrap()));
    within(drain.drained()).await;
    within(drain.closed()).await;
}

#[test]
fn networks_are_read_as_people_write_them() {
    let given = [
        "10.1.2.3/8",
        "192.0.2.7",
        "fd00::1/8",
        "::ffff:10.0.0.0/104",
    ];
    let proxy = ProxyProtocol::default().trusted_networks(given).unwrap();
    let networks = proxy.get_trusted_networks();
    assert_eq!(
        networks,
        ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "10.0.0.0/8"]
    );
    assert!(proxy.get_required() && !proxy.required(false).get_required());
    for bad in ["10.0.0/8", "10.0.0.0/33", "balancer.example", ""] {
        let error = ProxyProtocol::default()
            .trusted_networks([bad])
            .unwrap_err();
        let says = format!(
            "trusted_networks has {bad:?} and must have an address, or a network such as \
             10.0.0.0/8"
        );
        assert_eq!(error.to_string(), says);
    }
}

#[tokio::test]
async fn what_is_set_of_it_can_be_read() {
    let (_listener, acceptor) = Listener::new();
    assert!(acceptor.proxy_protocol().is_none());
    let acceptor = acceptor.with_proxy_protocol(trusting());
    assert_eq!(acceptor.proxy_protocol(), Some(&trusting()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = SharedPort::new(listener).with_proxy_protocol(trusting());
    assert_eq!(port.proxy_protocol(), Some(&trusting()));
}

#[tokio::test]
#[should_panic(expected = "it knows whom it dials")]
async fn an_acceptor_that_dials_takes_no_header() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let dial = move || async move { Ok((TcpStream::connect(addr).await?, addr)) };
    let _ = Acceptor::dialling(dial).with_proxy_protocol(trusting());
}
