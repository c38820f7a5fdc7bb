//! Over real TCP and TLS: hyper's client sends the name, whatever the address is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{HeaderMap, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, Tls};
use tokio::net::TcpListener;

use super::fixture::Script;
use crate::certs::Authority;

const SERVERS: u8 = 3;

/// What each server was asked for: its number, and the host.
type Seen = Arc<Mutex<Vec<(u8, String)>>>;

/// Servers at 127.0.0.1 and so on, all on one port.
async fn servers(tls: Option<Tls>) -> (Vec<SocketAddr>, Seen) {
    let seen = Seen::default();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for number in 1..=SERVERS {
        let port = addresses.first().map_or(0, SocketAddr::port);
        let ip = Ipv4Addr::new(127, 0, 0, number);
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let note = seen.clone();
        let app = Router::new().route(
            "/",
            get(move |headers: HeaderMap| async move {
                let host = headers["host"].to_str().unwrap().to_owned();
                note.lock().unwrap().push((number, host));
            }),
        );
        let acceptor = match tls.clone() {
            Some(tls) => Acceptor::new(listener).with_tls(tls),
            None => Acceptor::new(listener),
        };
        tokio::spawn(axum::serve(acceptor, app).into_future());
    }
    (addresses, seen)
}

async fn get_all(connector: impl Connect + Clone + Send + Sync + 'static, uri: &Uri, times: usize) {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    for _ in 0..times {
        let response = client.get(uri.clone()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
}

/// Each server was asked for the name, as often as the others.
fn check(seen: &Seen, host: &str, each: usize) {
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(_, asked)| asked == host), "{seen:?}");
    for number in 1..=SERVERS {
        let count = seen.iter().filter(|(by, _)| *by == number).count();
        assert!(count.abs_diff(each) <= 1, "{number}: {seen:?}");
    }
}

/// Waits until all servers are connected.
async fn are_up(multiplex: &Multiplex<impl Sized>) {
    while multiplex.stats()[0].connections.len() < SERVERS.into() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn requests_of_hypers_client_go_to_all_servers_with_the_name_as_their_host() {
    let (addresses, seen) = servers(None).await;
    let discovery = Script::new(&addresses).discovery();
    let multiplex = Multiplex::new(HttpConnector::new()).with_discovery(discovery);
    let host = format!("app.example:{}", addresses[0].port());
    let uri: Uri = format!("http://{host}/").parse().unwrap();
    multiplex.prewarm(&uri, SERVERS.into()).await.unwrap();
    are_up(&multiplex).await;
    get_all(multiplex, &uri, 30).await;
    check(&seen, &host, 10);
}

#[tokio::test]
async fn certificates_are_asked_for_by_name() {
    let authority = Authority::new();
    let tls = Tls::new(authority.server_at("app.example"));
    let (addresses, seen) = servers(Some(tls)).await;
    let discovery = Script::new(&addresses).discovery();
    let connector = TlsConnector::new(authority.client());
    let multiplex = Multiplex::new(connector).with_discovery(discovery);
    let host = format!("app.example:{}", addresses[0].port());
    let uri: Uri = format!("https://{host}/").parse().unwrap();
    multiplex.prewarm(&uri, SERVERS.into()).await.unwrap();
    are_up(&multiplex).await;
    get_all(multiplex, &uri, 30).await;
    check(&seen, &host, 10);
}
