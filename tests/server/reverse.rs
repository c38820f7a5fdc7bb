//! An axum app on a connection that it dialled: the side that took the
//! connection calls it.
#![cfg(all(feature = "axum", feature = "client"))]

#[cfg(feature = "tls")]
use crate::certs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tcpchan::server::{Acceptor, PeerInfo};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::guard::within;
use crate::started::started;

/// Where apps dial in.
struct Hub(TcpListener);

impl Hub {
    async fn new() -> Self {
        Hub(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn accept(&self) -> Connection {
        let (tcp, _) = within(self.0.accept()).await.unwrap();
        Connection::server(tcp, Config::default())
    }
}

async fn dial(hub: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let tcp = TcpStream::connect(hub).await?;
    Ok((tcp, hub))
}

fn serve(acceptor: Acceptor, app: Router) -> JoinHandle<io::Result<()>> {
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await })
}

fn dialling(hub: SocketAddr) -> Acceptor {
    Acceptor::dialling(move || dial(hub))
}

fn app() -> Router {
    let peer = |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
        format!("{} {} {}", peer.addr, peer.connection, peer.channel)
    };
    Router::new().route("/", get(peer))
}

async fn call(app: &Connection) -> String {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(app.clone());
    let response = within(client.get("http://app/".parse().unwrap()));
    let body = response.await.unwrap().into_body().collect().await;
    String::from_utf8(body.unwrap().to_bytes().into()).unwrap()
}

#[tokio::test]
async fn an_app_is_called_over_the_connection_that_it_dialled() {
    let hub = Hub::new().await;
    serve(dialling(hub.addr()), app());
    let connection = hub.accept().await;
    assert_eq!(call(&connection).await, format!("{} 1 2", hub.addr()));
    assert_eq!(call(&connection).await, format!("{} 1 4", hub.addr()));
}

#[tokio::test]
async fn it_dials_again_when_the_connection_is_lost() {
    let hub = Hub::new().await;
    serve(dialling(hub.addr()), app());
    hub.accept().await.close("lost");
    let second = hub.accept().await;
    assert_eq!(call(&second).await, format!("{} 2 2", hub.addr()));
}

#[tokio::test]
async fn it_dials_again_when_a_dial_fails() {
    let hub = Hub::new().await;
    let (addr, dials) = (hub.addr(), AtomicUsize::new(0));
    let flaky = move || {
        let fails = dials.fetch_add(1, SeqCst) < 2;
        async move {
            match fails {
                true => Err(io::ErrorKind::NetworkUnreachable.into()),
                false => dial(addr).await,
            }
        }
    };
    serve(Acceptor::dialling(flaky), app());
    let connection = hub.accept().await;
    assert_eq!(call(&connection).await, format!("{} 1 2", hub.addr()));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_ends_each_connection_soon_is_dialled_ever_more_slowly() {
    let dials = Arc::new(AtomicUsize::new(0));
    let count = dials.clone();
    let dial = move || {
        count.fetch_add(1, SeqCst);
        let (near, far) = tokio::io::duplex(1 << 16);
        let hub = Connection::server(far, Config::default());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            hub.drain();
        });
        async { Ok((near, SocketAddr::from(([127, 0, 0, 1], 1)))) }
    };
    let _acceptor = started(Acceptor::dialling(dial));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let dials = dials.load(SeqCst);
    assert!((12..40).contains(&dials), "{dials} dials");
}

#[tokio::test]
async fn a_hub_that_drains_gets_another_connection_and_its_answers() {
    let hub = Hub::new().await;
    let (started, finish) = <(Arc<Notify>, Arc<Notify>)>::default();
    let (begun, end) = (started.clone(), finish.clone());
    let slow = || async move {
        begun.notify_one();
        end.notified().await;
        "done"
    };
    let app = Router::new().route("/", get(slow));
    serve(dialling(hub.addr()), app);
    let first = hub.accept().await;
    let answer = tokio::spawn({
        let first = first.clone();
        async move { call(&first).await }
    });
    within(started.notified()).await;
    first.drain();
    let _second = hub.accept().await;
    finish.notify_one();
    assert_eq!(within(answer).await.unwrap(), "done");
}

#[tokio::test]
async fn an_app_that_stops_dials_no_more_and_lets_go() {
    let hub = Hub::new().await;
    let acceptor = dialling(hub.addr());
    let drain = acceptor.drain_handle();
    let served = serve(acceptor, app());
    let connection = hub.accept().await;
    call(&connection).await;
    served.abort();
    within(drain.closed()).await;
    assert!(connection.open().await.is_err());
    let again = std::time::Duration::from_millis(200);
    let again = tokio::time::timeout(again, hub.0.accept()).await;
    assert!(again.is_err(), "it dialled again");
}

#[tokio::test]
async fn it_dials_again_when_a_dial_panics() {
    let hub = Hub::new().await;
    let (addr, dials) = (hub.addr(), AtomicUsize::new(0));
    let panics = move || {
        let dial_number = dials.fetch_add(1, SeqCst);
        assert_ne!(dial_number, 0, "a panic before the future");
        async move {
            assert_ne!(dial_number, 1, "a panic within it");
            dial(addr).await
        }
    };
    serve(Acceptor::dialling(panics), app());
    let connection = hub.accept().await;
    assert_eq!(call(&connection).await, format!("{} 1 2", hub.addr()));
}

/// How long after a hub has fallen silent the next dial comes. `answers`: it fell silent
/// while the app answered it.
async fn noticed_after(answers: bool) -> Duration {
    let (dialled, mut hubs) = tokio::sync::mpsc::unbounded_channel();
    let dial = move || {
        let (near, far) = tokio::io::duplex(1 << 16);
        dialled.send(far).unwrap();
        async { Ok((near, SocketAddr::from(([127, 0, 0, 1], 1)))) }
    };
    let mut acceptor = started(Acceptor::dialling(dial));
    let (near, mut wire) = tokio::io::duplex(1 << 16);
    let mut far = hubs.recv().await.unwrap();
    let silence = Arc::new(Notify::new());
    let falls_silent = silence.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut wire, &mut far) => {}
            () = falls_silent.notified() => std::future::pending().await,
        }
    });
    let hub = Connection::server(near, Config::default());
    let mut channel = hub.open().await.unwrap();
    channel.write_all(b"?").await.unwrap();
    let (mut accepted, _) = acceptor.accept().await;
    assert_eq!(accepted.read_u8().await.unwrap(), b'?');
    tokio::time::sleep(Duration::from_secs(1)).await;
    silence.notify_one();
    let start = tokio::time::Instant::now();
    if answers {
        accepted.write_all(b"!").await.unwrap();
    }
    hubs.recv().await.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_falls_silent_is_replaced_as_by_a_pool() {
    let second = Duration::from_secs(1);
    let noticed = noticed_after(true).await;
    assert!(noticed < 4 * second, "{noticed:?}");
    let noticed = noticed_after(false).await;
    assert!(noticed < 18 * second, "{noticed:?}");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn an_app_knows_its_hub_by_its_certificate() {
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    let authority = certs::Authority::new();
    let server = authority.server();
    let (hub, client) = (Hub::new().await, Arc::new(authority.client()));
    let addr = hub.addr();
    let dial = move || {
        let tls = TlsConnector::from(client.clone());
        async move {
            let (tcp, addr) = dial(addr).await?;
            let name = ServerName::try_from("127.0.0.1").unwrap();
            Ok((tls.connect(name, tcp).await?, addr))
        }
    };
    let mut acceptor = started(Acceptor::dialling(dial));
    let (tcp, _) = within(hub.0.accept()).await.unwrap();
    let tls = within(TlsAcceptor::from(Arc::new(server)).accept(tcp))
        .await
        .unwrap();
    let connection = Connection::server(tls, Config::default());
    let mut channel = connection.open().await.unwrap();
    channel.write_all(b"?").await.unwrap();
    let (_accepted, peer) = within(acceptor.accept()).await;
    assert_eq!(peer.identity.unwrap().certificates().len(), 1);
}

/// While it blocks, later attempts wait for it, and leave the runtime's other thread alone.
#[test]
fn a_dial_that_blocks_its_thread_blocks_no_other_one() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let dial = move || {
        let _ = blocked.recv();
        std::future::ready(Err::<(tokio::net::TcpStream, _), _>(
            io::ErrorKind::HostUnreachable.into(),
        ))
    };
    let config = Config::default().handshake_timeout(Duration::from_millis(10));
    let _entered = runtime.enter();
    let _acceptor = started(Acceptor::dialling(dial).with_config(config.unwrap()));
    let (tell, alive) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        // Long enough for several attempts.
        tokio::time::sleep(Duration::from_secs(1)).await;
        tell.send(()).unwrap();
    });
    let alive = alive.recv_timeout(Duration::from_secs(20));
    drop(release);
    alive.expect("a thread was left");
}
