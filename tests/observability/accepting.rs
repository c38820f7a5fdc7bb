//! What a listener sees before a connection is one of this protocol: handshakes, and the
//! HTTP of a shared port.
#![cfg(all(feature = "server", feature = "metrics", feature = "tls"))]

use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::Config;
use tcpchan::server::{Acceptor, SharedIo, SharedPort, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::certs::Authority;
use crate::guard::within;
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
