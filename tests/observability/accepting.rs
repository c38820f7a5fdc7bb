//! What a listener sees before a connection is one of this protocol: handshakes, and the
//! HTTP of a shared port.
#![cfg(all(feature = "server", feature = "metrics", feature = "tls"))]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
#[cfg(all(feature = "proxy-protocol", feature = "tracing"))]
use tcpchan::server::ProxyProtocol;
use tcpchan::server::{Acceptor, ChannelLimits, ConnectionLimits, SharedIo, SharedPort, Tls};
use tcpchan::{Channel, Config, Connection, MemoryBudget};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
#[cfg(all(feature = "proxy-protocol", feature = "tracing"))]
use tracing::Level;

use crate::certs::Authority;
use crate::guard::within;
#[cfg(all(feature = "proxy-protocol", feature = "tracing"))]
use crate::log::Log;
use crate::rude::violation;
use crate::scrape::{recorder, sum, value};
use crate::started::started;

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Waits until one handshake has ended, and says how.
async fn ended_with(metrics: &PrometheusHandle, kind: Option<&str>) {
    within(async {
        while sum(metrics, "tcpchan_handshake_duration_seconds_count") < 1.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let labels = kind.map_or_else(String::new, |kind| format!("{{error_type=\"{kind}\"}}"));
    let name = format!("tcpchan_handshake_duration_seconds_count{labels}");
    assert_eq!(value(metrics, &name), 1.0);
}

#[tokio::test]
async fn a_handshake_that_succeeds() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let authority = Authority::new();
    let (listener, addr) = listen().await;
    let _acceptor = started(Acceptor::new(listener).with_tls(Tls::new(authority.server())));
    let mut config = authority.client();
    config.alpn_protocols = vec![tcpchan::ALPN.to_vec()];
    let tls = TlsConnector::from(std::sync::Arc::new(config));
    let tcp = TcpStream::connect(addr).await.unwrap();
    let _tls = within(tls.connect(addr.ip().into(), tcp)).await.unwrap();
    ended_with(&metrics, None).await;
}

#[tokio::test]
async fn one_with_bytes_that_are_no_tls() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let tls = Tls::new(Authority::new().server());
    let _acceptor = started(Acceptor::new(listener).with_tls(tls));
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
    ended_with(&metrics, Some("tls")).await;
}

#[tokio::test]
async fn one_that_takes_too_long() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let tls = Tls::new(Authority::new().server());
    let tls = tls.handshake_timeout(Duration::from_millis(1)).unwrap();
    let _acceptor = started(Acceptor::new(listener).with_tls(tls));
    let _tcp = TcpStream::connect(addr).await.unwrap();
    ended_with(&metrics, Some("timeout")).await;
}

#[tokio::test]
async fn one_whose_client_hangs_up() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let _port = started(SharedPort::new(listener));
    drop(TcpStream::connect(addr).await.unwrap());
    ended_with(&metrics, Some("lost")).await;
}

#[tokio::test]
async fn one_whose_place_another_needs() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let config = Config::default().max_handshakes(1).unwrap();
    let _port = started(SharedPort::new(listener).with_config(config));
    let _silent = TcpStream::connect(addr).await.unwrap();
    let _another = TcpStream::connect(addr).await.unwrap(); // after a second's grace
    ended_with(&metrics, Some("evicted")).await;
}

#[tokio::test]
async fn a_connection_that_a_limit_refuses() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let limits = ConnectionLimits::default().max_connections(1).unwrap();
    let _acceptor = started(Acceptor::new(listener).with_connection_limits(limits));
    let _first = TcpStream::connect(addr).await.unwrap();
    let second = TcpStream::connect(addr).await;
    let refused = async { second?.read_u8().await };
    within(refused).await.unwrap_err();
    let name = "tcpchan_connections_refused_total{limit=\"max_connections\"}";
    assert_eq!(value(&metrics, name), 1.0);
}

/// It is the least budget: the 32 KiB of 32 connections, of which one network has three quarters.
fn little_memory() -> Config {
    Config::default().memory_budget(MemoryBudget::new(1 << 20).unwrap())
}

/// So many connections are served, and one more is reset.
async fn serves_24<T, F>(metrics: &PrometheusHandle, connect: impl Fn() -> F)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = T>,
{
    let opened = "tcpchan_connections_opened_total{role=\"server\"}";
    let mut served = Vec::new();
    for nth in 1..=24 {
        served.push(Connection::client(connect().await, Config::default()));
        within(async {
            while sum(metrics, opened) < f64::from(nth) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let error = within(connect().await.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let refused = "tcpchan_connections_refused_total{limit=\"memory_budget\"}";
    assert_eq!(value(metrics, refused), 1.0);
}

#[tokio::test]
async fn a_connection_beyond_the_memory_of_its_network() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let _acceptor = started(Acceptor::new(listener).with_config(little_memory()));
    serves_24(&metrics, || async {
        TcpStream::connect(addr).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn the_same_at_a_shared_port_behind_the_handshake() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let authority = Authority::new();
    let (listener, addr) = listen().await;
    let port = SharedPort::new(listener).with_config(little_memory());
    let _port = started(port.with_tls(Tls::new(authority.server())));
    let mut config = authority.client();
    config.alpn_protocols = vec![tcpchan::ALPN.to_vec()];
    let tls = TlsConnector::from(std::sync::Arc::new(config));
    serves_24(&metrics, || async {
        let tcp = TcpStream::connect(addr).await.unwrap();
        within(tls.connect(addr.ip().into(), tcp)).await.unwrap()
    })
    .await;
}

/// Nobody else tells why the server takes no more.
#[tokio::test]
async fn an_acceptor_that_waits_for_memory() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    #[cfg(feature = "tracing")]
    let (log, _log) = crate::log::Log::start(tracing::Level::WARN);
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let config = Config::default().memory_budget(budget.clone());
    let _others: Vec<_> = (0..32)
        .map(|_| Connection::client(tokio::io::duplex(64).0, config.clone()))
        .collect();
    assert_eq!(budget.used(), budget.bytes());
    let (listener, _) = listen().await;
    let _acceptor = started(Acceptor::new(listener).with_config(config));
    within(async {
        while value(&metrics, "tcpchan_accept_errors_total") < 1.0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    #[cfg(feature = "tracing")]
    {
        let line = log.line(&["no connection can be accepted"]);
        assert!(line.contains("raise Config::memory_budget"), "{line}");
    }
}

/// The sixth violation in a row is the second that waits.
#[tokio::test]
async fn connections_of_a_network_that_breaks_rules() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let _acceptor = started(Acceptor::new(listener));
    for _ in 0..6 {
        let mut peer = TcpStream::connect(addr).await.unwrap();
        peer.write_all(&violation()).await.unwrap();
        let _ = within(peer.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(value(&metrics, "tcpchan_connections_held_back_total"), 1.0);
}

/// Each costs this side a part of a handshake.
#[tokio::test]
async fn connections_of_a_network_that_breaks_the_rules_of_tls() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let tls = Tls::new(Authority::new().server());
    let _acceptor = started(Acceptor::new(listener).with_tls(tls));
    for _ in 0..6 {
        let mut peer = TcpStream::connect(addr).await.unwrap();
        peer.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        let _ = within(peer.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(value(&metrics, "tcpchan_connections_held_back_total"), 1.0);
}

#[tokio::test]
async fn channels_that_wait_to_be_accepted() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let limits = ChannelLimits::default().max_channels(1).unwrap();
    let limits = limits.max_wait(Duration::from_secs(3600)).unwrap();
    let mut acceptor = Acceptor::new(listener).with_channel_limits(limits);
    let tcp = TcpStream::connect(addr).await.unwrap();
    let client = Connection::client(tcp, Config::default());
    let _first = client.open().await.unwrap();
    let (_held, _) = within(acceptor.accept()).await;
    let _others = [client.open().await.unwrap(), client.open().await.unwrap()];
    // One at the limit, at once, and one behind it, by the next report.
    within(async {
        let name = "tcpchan_channels_waiting{role=\"server\"}";
        while value(&metrics, name) < 2.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// An acceptor whose memory does for one channel of a connection, and two channels of a client.
async fn one_with_memory(max_wait: Duration) -> (Acceptor, Connection, [Channel; 2]) {
    let budget = MemoryBudget::new(1 << 20).unwrap();
    let config = Config::default().memory_budget(budget);
    let limits = ChannelLimits::default().memory_per_channel(256 << 10);
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener).with_config(config);
    let acceptor = acceptor.with_channel_limits(limits.max_wait(max_wait).unwrap());
    let tcp = TcpStream::connect(addr).await.unwrap();
    let client = Connection::client(tcp, Config::default());
    let channels = [client.open().await.unwrap(), client.open().await.unwrap()];
    (acceptor, client, channels)
}

async fn until(metrics: &PrometheusHandle, name: &str, expected: f64) {
    within(async {
        while value(metrics, name) != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_waits_for_the_memory_of_its_application() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let hour = Duration::from_secs(3600);
    let (mut acceptor, _client, _channels) = one_with_memory(hour).await;
    let (held, _) = within(acceptor.accept()).await;
    let waiting = "tcpchan_channels_waiting{role=\"server\"}";
    until(&metrics, waiting, 1.0).await;
    drop(held);
    let (_second, _) = within(acceptor.accept()).await;
    until(&metrics, waiting, 0.0).await;
}

#[tokio::test]
async fn a_channel_that_gets_no_memory_for_its_application() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    #[cfg(feature = "tracing")]
    let (log, _log) = crate::log::Log::start(tracing::Level::WARN);
    let soon = Duration::from_millis(1);
    let (mut acceptor, _client, _channels) = one_with_memory(soon).await;
    let _held = within(acceptor.accept()).await;
    for by in [("server", "self"), ("client", "peer")] {
        let labels = format!("{{role=\"{}\",by=\"{}\"}}", by.0, by.1);
        let name = format!("tcpchan_channels_refused_total{labels}");
        within(async {
            while sum(&metrics, &name) < 1.0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    assert_eq!(
        value(&metrics, "tcpchan_channels_waiting{role=\"server\"}"),
        0.0
    );
    #[cfg(feature = "tracing")]
    log.line(&["the channel was refused", "memory_per_channel"]);
}

#[tokio::test]
async fn an_http_connection_of_a_shared_port_counts_until_it_is_dropped() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (listener, addr) = listen().await;
    let mut port = SharedPort::new(listener);
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (io, _) = within(port.accept()).await;
    let SharedIo::Http(mut http) = io else {
        panic!("{io:?}")
    };
    http.read_u8().await.unwrap();
    assert_eq!(value(&metrics, "tcpchan_http_connections"), 1.0);
    assert_eq!(
        value(&metrics, "tcpchan_http_connections_opened_total"),
        1.0
    );
    drop(http);
    assert_eq!(value(&metrics, "tcpchan_http_connections"), 0.0);
    ended_with(&metrics, None).await;
}

/// Whoever looks at the log sees that the setting lacks a network.
#[cfg(all(feature = "proxy-protocol", feature = "tracing"))]
#[tokio::test]
async fn a_proxy_header_of_an_untrusted_network_is_a_warning_that_says_what_to_change() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::WARN);
    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener).with_proxy_protocol(ProxyProtocol::default());
    let _acceptor = started(acceptor);
    let mut balancer = TcpStream::connect(addr).await.unwrap();
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 443\r\n";
    balancer.write_all(header).await.unwrap();
    let read = within(balancer.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
    ended_with(&metrics, Some("proxy_header")).await;
    let line = log.line(&[
        "the PROXY header was refused",
        "network.peer.address=127.0.0.1",
    ]);
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("ProxyProtocol::trusted_networks"), "{line}");
}

/// As a health check does.
#[cfg(all(feature = "proxy-protocol", feature = "tracing"))]
#[tokio::test]
async fn a_connection_that_closes_before_its_proxy_header_is_no_warning() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (log, _log) = Log::start(Level::WARN);
    let (listener, addr) = listen().await;
    let proxy_protocol = ProxyProtocol::default().trusted_networks([addr.ip().to_string()]);
    let acceptor = Acceptor::new(listener).with_proxy_protocol(proxy_protocol.unwrap());
    let _acceptor = started(acceptor);
    drop(TcpStream::connect(addr).await.unwrap());
    ended_with(&metrics, Some("lost")).await;
    assert_eq!(log.text(), "");
}

/// What happens in a handshake behind the header is told of the client.
#[cfg(all(feature = "proxy-protocol", feature = "tracing"))]
#[tokio::test]
async fn events_behind_a_proxy_name_the_client() {
    let (log, _log) = Log::start(Level::DEBUG);
    let (listener, addr) = listen().await;
    let proxy_protocol = ProxyProtocol::default().trusted_networks([addr.ip().to_string()]);
    let acceptor = Acceptor::new(listener).with_proxy_protocol(proxy_protocol.unwrap());
    let _plain = started(acceptor);
    let (listener, with_tls) = listen().await;
    let proxy_protocol = ProxyProtocol::default().trusted_networks([addr.ip().to_string()]);
    let acceptor = Acceptor::new(listener).with_proxy_protocol(proxy_protocol.unwrap());
    let _tls = started(acceptor.with_tls(Tls::new(Authority::new().server())));
    for (addr, event) in [
        (addr, "the connection has ended"),
        (with_tls, "the handshake failed"),
    ] {
        let mut balancer = TcpStream::connect(addr).await.unwrap();
        let first = b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 443\r\nno such protocol";
        balancer.write_all(first).await.unwrap();
        let _ = within(balancer.read_to_end(&mut Vec::new())).await; // however it ends
        within(async {
            while !log.text().contains(event) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let line = log.line(&[event]);
        assert!(line.contains("192.0.2.7"), "{line}");
    }
}
