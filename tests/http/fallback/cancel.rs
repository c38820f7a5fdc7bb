//! Callers that go away.

use std::sync::Arc;
use std::time::Duration;

use tcpchan::client::FallbackIo;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::fixture::{Kind, Port, over_tls, plain};
use super::raw::listen;
use crate::certs::Authority;
use crate::guard::within;

#[tokio::test]
async fn the_connection_that_one_caller_dialled_goes_to_another() {
    let authority = Authority::new();
    let mut tls = authority.server();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (listener, addr) = listen().await;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let mut fallback = over_tls(&authority);
    let uri: hyper::Uri = format!("https://{addr}/").parse().unwrap();
    let mut first = tokio::spawn(fallback.call(uri.clone()));
    let (tcp, _) = within(listener.accept()).await.unwrap();
    let waits = tokio::time::timeout(Duration::ZERO, &mut first).await;
    assert!(waits.is_err());
    let second = tokio::spawn(fallback.call(uri));
    while fallback.stats()[0].waiting < 2 {
        tokio::task::yield_now().await;
    }
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
    let mut tls = authority.server();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (listener, addr) = listen().await;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let mut fallback = over_tls(&authority);
    let uri = format!("https://{addr}/").parse().unwrap();
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
