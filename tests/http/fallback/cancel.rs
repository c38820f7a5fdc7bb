//! Callers that go away.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use tcpchan::client::{
    Fallback, FallbackConfig, FallbackIo, Multiplex, PoolConfig, Protocols, TlsConnector,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::fixture::{Kind, OverTls, Port, over_tls, plain};
use super::raw::listen;
use crate::certs::Authority;
use crate::guard::within;

#[tokio::test]
async fn the_connection_that_one_caller_dialled_goes_to_another() {
    let authority = Authority::new();
    let (listener, acceptor, uri) = by_hand(&authority).await;
    let mut fallback = over_tls(&authority);
    let mut first = tokio::spawn(fallback.call(uri.clone()));
    let (tcp, _) = within(listener.accept()).await.unwrap();
    let waits = tokio::time::timeout(Duration::ZERO, &mut first).await;
    assert!(waits.is_err());
    let second = tokio::spawn(fallback.call(uri));
    wait_for(&fallback, 2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let _tls = within(acceptor.accept(tcp)).await.unwrap();
    let io = within(second).await.unwrap().unwrap();
    assert!(matches!(io, FallbackIo::Http(_)));
    let more = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(more.is_err(), "one connection is enough");
}

#[tokio::test]
async fn a_connection_that_nobody_waits_for_any_more_is_closed() {
    let authority = Authority::new();
    let (listener, acceptor, uri) = by_hand(&authority).await;
    let mut fallback = over_tls(&authority);
    let caller = tokio::spawn(fallback.call(uri));
    let (tcp, _) = within(listener.accept()).await.unwrap();
    caller.abort();
    let _ = caller.await;
    let mut tls = within(acceptor.accept(tcp)).await.unwrap();
    let mut bytes = Vec::new();
    let _ = within(tls.read_to_end(&mut bytes)).await; // by a FIN without TLS's own end
    assert!(bytes.is_empty());
}

#[tokio::test]
async fn a_dial_that_a_caller_makes_for_itself_goes_with_it() {
    let (mut port, mut fallback) = (Port::plain().await, plain());
    port.serve(Kind::Http);
    let uri = port.uri("");
    drop(within(fallback.call(uri.clone())).await.unwrap());
    let calls: JoinSet<_> = (0..20).map(|_| fallback.call(uri.clone())).collect();
    drop(calls);
    let io = within(fallback.call(uri)).await.unwrap();
    assert!(matches!(io, FallbackIo::Http(_)));
    assert_eq!(fallback.stats()[0].waiting, 0);
}

/// An I/O object belongs to the runtime on which it was made.
#[test]
fn a_connection_goes_to_no_caller_on_another_runtime() {
    let authority = Authority::new();
    let mut fallback = over_tls(&authority);
    let (servers, first, second) = (runtime(), runtime(), runtime());
    servers.block_on(async {
        let (listener, acceptor, uri) = by_hand(&authority).await;
        let goes = first.spawn(fallback.call(uri.clone()));
        let (tcp, _) = within(listener.accept()).await.unwrap();
        let stays = second.spawn(fallback.call(uri));
        wait_for(&fallback, 2).await;
        goes.abort();
        wait_for(&fallback, 1).await;
        let _dialled = within(acceptor.accept(tcp)).await.unwrap();
        let (tcp, _) = within(listener.accept()).await.unwrap(); // a dial of its own
        let _tls = within(acceptor.accept(tcp)).await.unwrap();
        let io = within(stays).await.unwrap().unwrap();
        assert!(matches!(io, FallbackIo::Http(_)));
    });
}

#[test]
fn a_runtime_of_its_own_has_the_dials_of_callers_and_fails_them_when_it_is_gone() {
    let authority = Authority::new();
    let (servers, own, callers) = (runtime(), runtime(), runtime());
    let multiplex = over_tls(&authority).multiplex().clone();
    let multiplex = multiplex.with_runtime(own.handle().clone());
    let mut fallback = Fallback::tls(multiplex);
    let mut port = servers.block_on(Port::tls(&authority));
    servers.block_on(async { port.serve(Kind::Http) });
    for _ in 0..2 {
        let io = callers
            .block_on(within(fallback.call(port.uri(""))))
            .unwrap();
        assert!(matches!(io, FallbackIo::Http(_)));
    }
    assert_eq!(port.seen.http(), 2, "none was dialled in vain");
    own.shutdown_background();
    let error = callers.block_on(within(fallback.call(port.uri(""))));
    let error = format!("{:?}", error.unwrap_err());
    assert!(error.contains("was shut down"), "{error}");
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// A server of HTTP/1.1 over TLS whose handshakes the test makes.
async fn by_hand(authority: &Authority) -> (TcpListener, TlsAcceptor, Uri) {
    let mut tls = authority.server();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (listener, addr) = listen().await;
    let uri = format!("https://{addr}/").parse().unwrap();
    (listener, TlsAcceptor::from(Arc::new(tls)), uri)
}

/// Waits until so many callers wait.
async fn wait_for(fallback: &OverTls, waiting: usize) {
    within(async {
        while fallback.stats()[0].waiting != waiting {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_is_called_by_http_is_forgotten_when_it_is_idle() {
    let authority = Authority::new();
    let mut port = Port::tls(&authority).await;
    port.serve(Kind::Http);
    let pool = PoolConfig::default().idle_timeout(Duration::from_millis(1));
    let tls = TlsConnector::new(authority.client());
    let multiplex = Multiplex::new(tls).with_pool(pool.unwrap());
    for protocols in [Protocols::Both, Protocols::Http] {
        let config = FallbackConfig::default().protocols(protocols);
        let mut fallback = Fallback::tls(multiplex.clone()).with_config(config);
        let io = within(fallback.call(port.uri(""))).await.unwrap();
        assert!(matches!(io, FallbackIo::Http(_)));
        within(async {
            while !fallback.stats().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}
