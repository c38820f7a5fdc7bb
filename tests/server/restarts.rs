//! Servers restart under new clients, whose handshakes are under way: none fails.
#![cfg(all(feature = "axum", feature = "client", feature = "tls"))]

use crate::slow_proxy;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, TlsConnector, is_retryable};
use tcpchan::proto::{ConnectionError, ErrorCode};
use tcpchan::server::{Acceptor, SharedPort, Tls};
use tcpchan::{Config, Connection};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep};
use tower::BoxError;

use crate::certs::Authority;
use crate::guard::within;
use crate::started::started;

const MS: Duration = Duration::from_millis(1);

/// From one end to the other. A handshake of TLS takes three times that.
const DELAY: Duration = Duration::from_millis(5);

/// Until a balancer sends the old server nothing more: what comes to a listener that is
/// being closed is reset.
const BALANCER: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Tls,
    Port,
    TlsPort,
    /// HTTP's clients of the two.
    PortHttp,
    TlsPortHttp,
}

/// `TCPCHAN_ROUNDS=1000` for a long run.
fn rounds() -> u32 {
    let rounds = std::env::var("TCPCHAN_ROUNDS");
    rounds.map_or(60, |rounds| rounds.parse().unwrap())
}

struct Server {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(way: Way, tls: &Tls) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let signal = async { stopped.await.unwrap() };
        let app = Router::new().route("/", post(|body: Bytes| async { body }));
        let config = Config::default();
        let within = Duration::from_secs(30);
        let task = match way {
            Way::Plain | Way::Tls => {
                let acceptor = match way {
                    Way::Plain => Acceptor::new(listener).with_config(config),
                    _ => Acceptor::new(listener)
                        .with_config(config)
                        .with_tls(tls.clone()),
                };
                let drain = acceptor.drain_handle();
                let serve = |stop| axum::serve(acceptor, app).with_graceful_shutdown(stop);
                tokio::spawn(async move { drain.serve_until(signal, within, serve).await })
            }
            _ => {
                let port = match way {
                    Way::Port | Way::PortHttp => SharedPort::new(listener).with_config(config),
                    _ => SharedPort::new(listener)
                        .with_config(config)
                        .with_tls(tls.clone()),
                };
                let drain = port.drain_handle();
                let serve = |stop| axum::serve(port, app).with_graceful_shutdown(stop);
                tokio::spawn(async move { drain.serve_until(signal, within, serve).await })
            }
        };
        Server { addr, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        within(self.task).await.unwrap().unwrap();
    }
}

/// Where clients connect to, on the way to the server of now.
struct Proxy {
    addr: SocketAddr,
    backend: Arc<Mutex<SocketAddr>>,
}

impl Proxy {
    async fn start(backend: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let backend = Arc::new(Mutex::new(backend));
        tokio::spawn(slow_proxy::run(listener, backend.clone(), DELAY));
        Proxy { addr, backend }
    }
}

/// A new client's request.
async fn request(way: Way, addr: SocketAddr, authority: &Authority) -> Result<(), BoxError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    match way {
        Way::Plain | Way::Port => request_by(Multiplex::new(http), "http", addr).await,
        Way::Tls | Way::TlsPort => {
            let tls = TlsConnector::new(authority.client());
            request_by(Multiplex::new(tls), "https", addr).await
        }
        Way::PortHttp => request_by(http, "http", addr).await,
        Way::TlsPortHttp => {
            let mut config = authority.client();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            request_by(HttpsConnector::from((http, config)), "https", addr).await
        }
    }
}

/// One that must not be sent twice.
async fn request_by<C>(connector: C, scheme: &str, addr: SocketAddr) -> Result<(), BoxError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let mut client = Client::builder(TokioExecutor::new());
    let client = client.retry_canceled_requests(false).build(connector);
    let request =
        Request::post(format!("{scheme}://{addr}/")).body(Full::new(Bytes::from("body")))?;
    let response = client.request(request).await?;
    assert!(response.status().is_success());
    assert_eq!(response.into_body().collect().await?.to_bytes(), "body");
    Ok(())
}

/// Of as many requests of new clients those that failed by a restart at each millisecond.
async fn failed_by_a_restart(way: Way) -> u32 {
    let authority = Arc::new(Authority::new());
    let tls = Tls::new(authority.server());
    let mut failed = 0;
    for round in 0..rounds() {
        let (old, new) = (
            Server::start(way, &tls).await,
            Server::start(way, &tls).await,
        );
        let proxy = Proxy::start(old.addr).await;
        let (addr, known) = (proxy.addr, authority.clone());
        let asked = tokio::spawn(async move { request(way, addr, &known).await });
        sleep(MS * (round % 60)).await;
        *proxy.backend.lock().unwrap() = new.addr;
        sleep(BALANCER).await;
        old.stop().await;
        if let Err(error) = within(asked).await.unwrap() {
            println!("{way:?}, at {} ms: {error:?}", round % 60);
            failed += 1;
        }
        new.stop().await;
    }
    failed
}

/// Of the requests of 100 new clients a second those that failed, while servers restart.
async fn failed_by_restarts(way: Way) -> usize {
    let authority = Arc::new(Authority::new());
    let tls = Tls::new(authority.server());
    let mut server = Server::start(way, &tls).await;
    let proxy = Proxy::start(server.addr).await;
    let (addr, known) = (proxy.addr, authority.clone());
    let clients = tokio::spawn(async move {
        let (mut every, mut asked) = (interval(MS * 10), JoinSet::new());
        for _ in 0..rounds() {
            every.tick().await;
            let known = known.clone();
            asked.spawn(async move { request(way, addr, &known).await });
        }
        within(asked.join_all()).await
    });
    while !clients.is_finished() {
        sleep(MS * 25).await;
        let new = Server::start(way, &tls).await;
        *proxy.backend.lock().unwrap() = new.addr;
        sleep(BALANCER).await;
        std::mem::replace(&mut server, new).stop().await;
    }
    let asked = clients.await.unwrap();
    let failed = asked.iter().filter_map(|asked| asked.as_ref().err());
    failed
        .inspect(|error| println!("{way:?}: {error:?}"))
        .count()
}

macro_rules! ways {
    ($($name:ident: $way:expr),* $(,)?) => {
        mod at_each_millisecond_of_a_handshake {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                assert_eq!(super::failed_by_a_restart($way).await, 0);
            })*
        }

        mod under_a_hundred_new_clients_a_second {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                assert_eq!(super::failed_by_restarts($way).await, 0);
            })*
        }
    };
}

ways! {
    plain: super::Way::Plain,
    tls: super::Way::Tls,
    shared_port: super::Way::Port,
    shared_port_with_tls: super::Way::TlsPort,
    http_on_a_shared_port: super::Way::PortHttp,
    https_on_a_shared_port: super::Way::TlsPortHttp,
}

/// Without a drain before it, what was opened is refused and may be sent again.
#[tokio::test]
async fn a_handshake_that_is_under_way_when_its_acceptor_is_dropped_ends_with_a_drain() {
    let authority = Authority::new();
    for way in [Way::Tls, Way::TlsPort] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await;
        let tls = Tls::new(authority.server());
        let acceptor: Box<dyn Send> = match way {
            Way::Tls => Box::new(started(Acceptor::new(listener).with_tls(tls))),
            _ => Box::new(started(SharedPort::new(listener).with_tls(tls))),
        };
        let asked = request(way, proxy.addr, &authority);
        let dropped = async {
            sleep(DELAY * 3 / 2).await;
            drop(acceptor);
        };
        let (asked, ()) = within(async { tokio::join!(asked, dropped) }).await;
        let error = asked.unwrap_err();
        assert!(is_retryable(&*error), "{way:?}: {error:?}");
    }
}

/// On one thread, where the system has not been asked since they came. They are more than
/// a task may take in one turn.
#[tokio::test]
async fn what_came_before_a_drain_is_taken() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1_000).unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = started(Acceptor::new(listener));
    let dial = || std::net::TcpStream::connect(addr).unwrap();
    let clients: Vec<_> = (0..300).map(|_| dial()).collect();
    acceptor.drain_handle().drain(MS * 10_000);
    for client in clients {
        client.set_nonblocking(true).unwrap();
        let tcp = tokio::net::TcpStream::from_std(client).unwrap();
        let connection = Connection::client(tcp, Config::default());
        within(connection.closed()).await;
        let error = connection.error().unwrap();
        let drained = matches!(
            error,
            ConnectionError::PeerClosed {
                code: ErrorCode::NO_ERROR,
                ..
            }
        );
        assert!(drained, "{error:?}");
    }
}
