//! Servers that change one after another while requests are under way: none is lost, none
//! comes twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use hyper_util::client::legacy::connect::Connect;
use tcpchan::Config;
use tcpchan::client::FallbackIo;
use tcpchan::server::{Acceptor, Tls};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::Service;

use super::fixture::{Http, Kind, Port, ask_until_done, asks, over_tls, plain, without_pool};
use super::raw::listen;
use crate::certs::Authority;
use crate::guard::within;

/// In any order, and back.
const MOVES: [Kind; 10] = [
    Kind::Http,
    Kind::Tcpchan,
    Kind::Http,
    Kind::Shared,
    Kind::Tcpchan,
    Kind::Shared,
    Kind::Http,
    Kind::Tcpchan,
    Kind::Tcpchan,
    Kind::Http,
];

/// Requests until each kind has served some.
async fn moves<C>(mut port: Port, client: Http<C>)
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let (done, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    port.serve(MOVES[0]);
    let mut callers = JoinSet::new();
    for caller in 0..6 {
        let uris: Vec<_> = (0..5000)
            .map(|n| port.uri(&format!("{caller}/{n}")))
            .collect();
        let (client, done, stop) = (client.clone(), done.clone(), stop.clone());
        callers.spawn(async move {
            let mut asked = 0;
            for uri in uris {
                if stop.load(SeqCst) {
                    break;
                }
                ask_until_done(&client, uri).await;
                asked += 1;
                done.fetch_add(1, SeqCst);
            }
            asked
        });
    }
    for kind in MOVES {
        port.serve(kind);
        let before = done.load(SeqCst);
        within(async {
            while done.load(SeqCst) < before + 60 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    stop.store(true, SeqCst);
    let asked: usize = within(callers.join_all()).await.into_iter().sum();
    let paths = port.seen.paths.lock().unwrap();
    assert_eq!(paths.len(), asked);
    let twice: Vec<_> = paths.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test]
async fn servers_change_in_any_order_over_tls() {
    let authority = Authority::new();
    let port = Port::tls(&authority).await;
    moves(port, without_pool(over_tls(&authority))).await;
}

#[tokio::test]
async fn servers_change_in_any_order_without_tls() {
    let port = Port::plain().await;
    let often = asks().retry_after(Duration::from_millis(5)).unwrap();
    moves(port, without_pool(plain().with_config(often))).await;
}

/// A load balancer that gives each connection to the next server.
async fn balancer(servers: Vec<SocketAddr>) -> SocketAddr {
    let (listener, addr) = listen().await;
    tokio::spawn(async move {
        for server in servers.into_iter().cycle() {
            let (mut near, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    addr
}

#[tokio::test]
async fn one_balancer_has_servers_of_both_kinds_behind_it() {
    let authority = Authority::new();
    let mut ports = Vec::new();
    for kind in [Kind::Http, Kind::Tcpchan] {
        let mut port = Port::tls(&authority).await;
        port.serve(kind);
        ports.push(port);
    }
    let addr = balancer(ports.iter().map(|port| port.addr).collect()).await;
    let fallback = over_tls(&authority);
    let client = without_pool(fallback.clone());
    let mut ways = Vec::new();
    for n in 0..30 {
        let uri = format!("https://{addr}/{n}").parse().unwrap();
        ways.push(ask_until_done(&client, uri).await);
    }
    assert_eq!(ways[0], "h2");
    assert_eq!(ways[1], "channel", "the second server");
    assert!(ways[2..].iter().all(|way| way == "channel"), "{ways:?}");
}

/// Channels that a server takes on a connection, at least.
const FULL: u32 = 256;

/// What a dial has met is not forgotten because a connection is there that takes no more.
#[tokio::test]
async fn who_waits_behind_a_full_connection_has_the_connection_of_http_that_was_dialled() {
    let authority = Authority::new();
    let (listener, full) = listen().await;
    let config = Config::default().max_channels(FULL).unwrap();
    let mut acceptor = Acceptor::new(listener)
        .with_config(config)
        .with_tls(Tls::new(authority.server()));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(acceptor.accept().await);
        }
    });
    let mut port = Port::tls(&authority).await;
    port.serve(Kind::Http);
    let addr = balancer(vec![full, port.addr]).await;
    let uri: hyper::Uri = format!("https://{addr}/").parse().unwrap();
    let mut fallback = over_tls(&authority);
    within(fallback.prewarm(&uri, 1)).await.unwrap();
    let mut channels = Vec::new();
    for _ in 0..FULL {
        channels.push(within(fallback.call(uri.clone())).await.unwrap());
    }
    let mut all = channels.iter();
    assert!(all.all(|io| matches!(io, FallbackIo::Channel(_))));
    let next = timeout(Duration::from_secs(5), fallback.call(uri)).await;
    assert!(matches!(next, Ok(Ok(FallbackIo::Http(_)))));
    assert_eq!(port.seen.http(), 1, "none was dialled in vain");
}
