//! What is set before an acceptor starts, and that it starts when it is first asked.
#![cfg(feature = "tls")]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tcpchan::server::{Acceptor, SharedPort, Tls};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_stream::{Stream, StreamExt};

use crate::certs::Authority;
use crate::guard::within;
use crate::started::started;

const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const MINUTE: Duration = Duration::from_secs(60);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// One connection, and then no end.
fn one<T: Send + 'static>(io: T) -> impl Stream<Item = io::Result<(T, SocketAddr)>> + Send {
    tokio_stream::once(Ok((io, ADDR))).chain(tokio_stream::pending())
}

/// Whether an acceptor has neither a channel nor anything to do at once.
async fn is_idle(acceptor: &mut Acceptor) -> bool {
    let mut accept = pin!(acceptor.accept());
    poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_pending())).await
}

#[test]
fn it_is_made_outside_a_runtime_and_runs_on_the_one_that_accepts() {
    let (near, far) = duplex(1 << 16);
    let mut acceptor = Acceptor::from_incoming(one(far)).with_config(Config::default());
    Runtime::new().unwrap().block_on(within(async {
        let client = Connection::client(near, Config::default());
        let mut channel = client.open().await.unwrap();
        channel.write_all(b"x").await.unwrap();
        let (mut accepted, _) = acceptor.accept().await;
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    }));
}

#[tokio::test]
async fn what_is_set_can_be_read() {
    let config = Config::default().max_channels(300).unwrap();
    let tls = Tls::new(Authority::new().server());
    let tls = tls.handshake_timeout(MINUTE).unwrap();
    let tls = tls.max_handshakes(7).unwrap();
    assert_eq!(tls.get_handshake_timeout(), MINUTE);
    assert_eq!(tls.get_max_handshakes(), 7);

    let (listener, addr) = listen().await;
    let acceptor = Acceptor::new(listener);
    assert_eq!(*acceptor.config(), Config::default());
    assert!(acceptor.tls().is_none());
    let acceptor = acceptor.with_config(config.clone()).with_tls(tls.clone());
    assert_eq!(*acceptor.config(), config);
    assert_eq!(acceptor.tls().unwrap().get_max_handshakes(), 7);
    assert_eq!(acceptor.local_addr().unwrap(), addr);

    let port = SharedPort::new(listen().await.0).with_config(config.clone());
    assert!(port.tls().is_none());
    let port = port.with_tls(tls);
    assert_eq!(*port.config(), config);
    assert_eq!(port.tls().unwrap().get_max_handshakes(), 7);
}

#[tokio::test]
async fn a_drain_before_the_start_takes_nothing_and_is_over_at_once() {
    let (listener, addr) = listen().await;
    let mut acceptor = Acceptor::new(listener);
    let drain = acceptor.drain_handle();
    let mut client = TcpStream::connect(addr).await.unwrap();
    drain.drain(MINUTE);
    within(drain.drained()).await;
    within(drain.closed()).await;
    assert!(is_idle(&mut acceptor).await);
    let read = within(client.read(&mut [0])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "it was served");
    assert!(TcpStream::connect(addr).await.is_err(), "it still listens");
}

#[tokio::test]
async fn a_wait_for_a_drain_before_the_start_goes_on_after_it() {
    let (listener, addr) = listen().await;
    let mut acceptor = Acceptor::new(listener);
    let drain = acceptor.drain_handle();
    let mut closed = tokio_test::task::spawn(drain.closed());
    assert!(closed.poll().is_pending());
    let stream = TcpStream::connect(addr).await.unwrap();
    let client = Connection::client(stream, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"x").await.unwrap();
    let (accepted, _) = within(acceptor.accept()).await;
    assert!(closed.poll().is_pending());
    drain.drain(Duration::ZERO);
    drop((accepted, channel));
    within(drain.closed()).await;
    assert!(closed.poll().is_ready());
}

#[tokio::test]
async fn an_acceptor_that_is_dropped_unstarted_leaves_nothing() {
    let stream = Arc::new(());
    let held = stream.clone();
    let incoming = tokio_stream::pending::<io::Result<(TcpStream, SocketAddr)>>()
        .filter(move |_| Arc::strong_count(&held) > 0);
    let acceptor = Acceptor::from_incoming(incoming);
    let drain = acceptor.drain_handle();
    drop(acceptor);
    within(drain.closed()).await;
    assert_eq!(Arc::strong_count(&stream), 1);
}

#[tokio::test]
async fn a_shared_port_that_was_drained_before_its_start_takes_nothing() {
    let (listener, addr) = listen().await;
    let port = SharedPort::new(listener);
    port.drain_handle().drain(MINUTE);
    within(port.drain_handle().closed()).await;
    let _port = started(port);
    assert!(TcpStream::connect(addr).await.is_err(), "it still listens");
}

/// Of memory, as it could be a unix socket.
#[tokio::test]
async fn tls_goes_over_whatever_a_stream_yields() {
    let authority = Authority::new();
    let (near, far) = duplex(1 << 16);
    let tls = Tls::new(authority.server_for_known_clients());
    let mut acceptor = Acceptor::from_incoming(one(far)).with_tls(tls);
    let connector = TlsConnector::from(Arc::new(authority.client_with(authority.certify("one"))));
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let serve = acceptor.accept();
    let call = async {
        let stream = connector.connect(name, near).await.unwrap();
        let client = Connection::client(stream, Config::default());
        let mut channel = client.open().await.unwrap();
        channel.write_all(b"x").await.unwrap();
        (client, channel)
    };
    let ((mut accepted, peer), _client) = within(async { tokio::join!(serve, call) }).await;
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    assert_eq!(peer.addr, ADDR);
    assert!(peer.identity.is_some());
}

#[tokio::test]
#[should_panic(expected = "return a TlsStream from `dial`")]
async fn an_acceptor_that_dials_takes_no_tls_of_a_server() {
    let dial = || async { Ok((TcpStream::connect(ADDR).await?, ADDR)) };
    let _ = Acceptor::dialling(dial).with_tls(Tls::new(Authority::new().server()));
}
