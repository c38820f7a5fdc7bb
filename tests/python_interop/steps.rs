//! The steps of the guide's `from_python`: a service moves from version 0 to version 1,
//! while its clients go on.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::Protocol;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tcpchan::wire::Version;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::process::{Python, soon};
use super::{HttpClient, ask, config, listen};

/// An address that stays while the server behind it is replaced.
struct Address {
    addr: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
}

impl Address {
    async fn of(server: SocketAddr) -> Address {
        let (listener, addr) = listen().await;
        let server = Arc::new(Mutex::new(server));
        let current = server.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let addr = *current.lock().unwrap();
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(addr).await?;
                    tokio::io::copy_bidirectional(&mut from, &mut to).await
                });
            }
        });
        Address { addr, server }
    }

    fn now_is(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
    }
}

/// An axum app that answers as the Python server does, until it is told to stop.
struct Axum {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Axum {
    async fn serve(protocol: Protocol) -> Axum {
        let (listener, addr): (TcpListener, _) = listen().await;
        let answer = |body: Bytes| async move { [b"POST /where ", &body[..]].concat() };
        let app = Router::new()
            .route("/where", post(answer))
            .route("/echo", post(|body: Bytes| async { body }));
        let (stop, stopped) = oneshot::channel::<()>();
        let acceptor = Acceptor::new(listener).with_config(config(protocol));
        let served = tokio::spawn(async move {
            let serve = axum::serve(acceptor, app);
            let stop = async { drop(stopped.await) };
            serve.with_graceful_shutdown(stop).await
        });
        Axum { addr, stop, served }
    }

    /// Lets requests end, and its clients go.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.served).await.unwrap().unwrap();
    }
}

/// A client that goes on while servers come and go.
struct User {
    multiplex: Multiplex<HttpConnector>,
    client: HttpClient,
    uri: String,
    /// Dials when it last asked.
    dials: Cell<u64>,
}

impl User {
    fn new(protocol: Protocol, addr: SocketAddr) -> User {
        let multiplex = Multiplex::new(HttpConnector::new()).with_config(config(protocol));
        let client = Client::builder(TokioExecutor::new());
        User {
            client: client.build::<_, Full<Bytes>>(multiplex.clone()),
            multiplex,
            uri: format!("http://{addr}/where"),
            dials: Cell::new(0),
        }
    }

    /// Asks, gets right answers, and says which version carried them.
    async fn asks(&self) -> Option<Version> {
        ask(self.client.clone(), self.uri.clone(), 10, "POST /where ").await;
        let stats = self.multiplex.stats();
        self.dials.set(stats[0].dials);
        stats[0].connections.last().expect("a connection").version
    }

    /// Its connections are gone. The pool may have dialled the next one already.
    async fn notices(&self) {
        let gone = || {
            self.multiplex
                .stats()
                .iter()
                .all(|target| target.connections.is_empty() || target.dials > self.dials.get())
        };
        let wait = async {
            while !gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(wait).await;
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn step_1_an_auto_client_joins_the_clients_of_a_python_server() {
    let (_python, server) = Python::serve("http_peer.py", "").await;
    let user = User::new(Protocol::Auto, server);
    assert_eq!(user.asks().await, Some(Version::V0));
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn step_2_the_server_is_replaced_by_an_auto_one_and_its_auto_clients_speak_version_1() {
    let (python, server) = Python::serve("http_peer.py", "").await;
    let address = Address::of(server).await;
    let user = User::new(Protocol::Auto, address.addr);
    assert_eq!(user.asks().await, Some(Version::V0));

    let axum = Axum::serve(Protocol::Auto).await;
    address.now_is(axum.addr);
    drop(python);
    user.notices().await;
    assert_eq!(user.asks().await, Some(Version::V1));

    let mut old = Python::dial("http_peer.py", address.addr, "--channels 5 --requests 2");
    assert_eq!(old.wait_for("checked").await["channels"], 5);
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn step_2_goes_back_to_the_python_server() {
    let axum = Axum::serve(Protocol::Auto).await;
    let address = Address::of(axum.addr).await;
    let user = User::new(Protocol::Auto, address.addr);
    assert_eq!(user.asks().await, Some(Version::V1));

    let (_python, server) = Python::serve("http_peer.py", "").await;
    address.now_is(server);
    axum.stop().await;
    user.notices().await;
    assert_eq!(user.asks().await, Some(Version::V0));
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn step_3_clients_of_all_kinds_share_an_auto_server() {
    let axum = Axum::serve(Protocol::Auto).await;
    for (protocol, version) in [
        (Protocol::V0, Version::V0),
        (Protocol::Auto, Version::V1),
        (Protocol::V1, Version::V1),
    ] {
        assert_eq!(User::new(protocol, axum.addr).asks().await, Some(version));
    }
    let mut old = Python::dial("http_peer.py", axum.addr, "--channels 5 --requests 2");
    assert_eq!(old.wait_for("checked").await["channels"], 5);
}

#[tokio::test]
#[ignore = "needs Python and PyPI: run by .ci/run"]
async fn step_4_a_version_1_server_serves_auto_and_version_1_and_lets_python_go() {
    let axum = Axum::serve(Protocol::V1).await;
    for protocol in [Protocol::Auto, Protocol::V1] {
        let user = User::new(protocol, axum.addr);
        assert_eq!(user.asks().await, Some(Version::V1));
    }
    let mut old = Python::dial("http_peer.py", axum.addr, "--channels 5 --requests 2");
    old.wait_for("lost").await;
}
