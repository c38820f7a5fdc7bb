//! What the connector under a `Multiplex` tells of its connections reaches the
//! responses of a hyper-util client.

use crate::certs;
use crate::link::stream::Stream;
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector, HttpInfo};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::net::{TcpListener, TcpStream};
use tower::{Service, ServiceExt};

type Sent = Request<Empty<Bytes>>;

async fn serve(channel: Channel) {
    let service =
        service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(channel, service).await;
}

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    serve_all(Acceptor::new(listener));
    addr
}

fn serve_all(mut acceptor: Acceptor) {
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            tokio::spawn(serve(channel));
        }
    });
}

fn request(addr: SocketAddr) -> Sent {
    Request::get(format!("http://{addr}/"))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn the_addresses_of_hypers_connector_are_in_each_response() {
    let addr = server().await;
    let connector = Multiplex::new(HttpConnector::new());
    let client = Client::builder(TokioExecutor::new()).build(connector);
    for _ in 0..2 {
        let response = client.request(request(addr)).await.unwrap();
        let info = response.extensions().get::<HttpInfo>().unwrap();
        assert_eq!(info.remote_addr(), addr);
        assert_ne!(info.local_addr(), addr);
    }
}

#[tokio::test]
async fn the_addresses_of_one_connection_are_in_each_response() {
    let addr = server().await;
    let tcp = TcpStream::connect(addr).await.unwrap();
    let local = tcp.local_addr().unwrap();
    let connection = Connection::client(tcp, Config::default());
    let client = Client::builder(TokioExecutor::new()).build(connection);
    let response = client.request(request(addr)).await.unwrap();
    let info = response.extensions().get::<HttpInfo>().unwrap();
    assert_eq!((info.local_addr(), info.remote_addr()), (local, addr));
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn the_addresses_under_this_crates_tls_are_in_each_response() {
    use tcpchan::client::TlsConnector;
    use tcpchan::server::Tls;

    let authority = certs::Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let tls = Tls::new(authority.server());
    serve_all(Acceptor::new(listener).with_tls(tls));
    let connector = Multiplex::new(TlsConnector::new(authority.client()));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request(addr)).await.unwrap();
    let info = response.extensions().get::<HttpInfo>().unwrap();
    assert_eq!(info.remote_addr(), addr);
}

#[derive(Clone, Debug, PartialEq)]
struct Name(&'static str);

#[tokio::test]
async fn extras_of_any_connector_are_in_each_response_if_they_are_asked_for() {
    let addr = server().await;
    let connector = HttpConnector::new().map_response(|io| {
        // A proxy that speaks HTTP is the connection's, and none of its channels'.
        Stream::new(io, |io| io.connected().extra(Name("wire")).proxy(true))
    });
    let multiplex = Multiplex::new(connector).with_extras();
    let channel = multiplex.clone().call(request(addr).uri().clone()).await;
    assert!(!channel.unwrap().connected().is_proxied());
    let client = Client::builder(TokioExecutor::new()).build(multiplex);
    let response = client.request(request(addr)).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Name("wire")));
    let info = response.extensions().get::<HttpInfo>().unwrap();
    assert_eq!(info.remote_addr(), addr);
}
