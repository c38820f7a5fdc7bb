//! Without TLS, the first answer tells what a server speaks.

use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{FallbackConfig, Protocols, is_retryable};
use tcpchan::server::{Acceptor, SharedPort};
use tokio::task::JoinSet;
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::fixture::{Kind, Port, ask, asks, client, plain, without_pool};
use super::raw::{Stranger, asks_briefly, http, listen};
use crate::guard::within;

const STRANGERS: [Stranger; 3] = [
    Stranger::Answers400,
    Stranger::HangsUp,
    Stranger::SaysNothing,
];

fn uri(addr: std::net::SocketAddr) -> Uri {
    format!("http://{addr}/").parse().unwrap()
}

#[tokio::test]
async fn each_kind_of_server_is_called_by_what_it_speaks() {
    for (kind, way) in [
        (Kind::Tcpchan, "channel"),
        (Kind::Shared, "channel"),
        (Kind::Http, "http/1.1"),
    ] {
        let mut port = Port::plain().await;
        port.serve(kind);
        let client = client(plain());
        for _ in 0..3 {
            assert_eq!(ask(&client, port.uri("")).await.unwrap(), way, "{kind:?}");
        }
    }
}

/// The hello goes ahead alone, and the request once, on a connection of its own.
#[tokio::test]
async fn whatever_a_server_of_http_does_with_a_hello_it_gets_each_request_once() {
    for stranger in STRANGERS {
        let (addr, heard) = http(stranger).await;
        let client = without_pool(plain().with_config(asks_briefly()));
        for _ in 0..3 {
            assert_eq!(ask(&client, uri(addr)).await.unwrap(), "raw");
        }
        assert_eq!(heard.hellos_and_requests(), (1, 3), "{stranger:?}");
        let first = heard.all().remove(0);
        assert!(!first.windows(4).any(|bytes| bytes == b"GET "), "{first:?}");
    }
}

#[tokio::test]
async fn a_crowd_of_callers_has_the_server_asked_once() {
    for stranger in STRANGERS {
        let (addr, heard) = http(stranger).await;
        let client = without_pool(plain().with_config(asks_briefly()));
        let mut asks = JoinSet::new();
        for _ in 0..50 {
            let client = client.clone();
            asks.spawn(async move { ask(&client, uri(addr)).await.unwrap() });
        }
        within(asks.join_all()).await;
        assert_eq!(heard.hellos_and_requests(), (1, 50), "{stranger:?}");
    }
}

#[tokio::test]
async fn without_the_request_for_it_a_server_of_http_is_an_error() {
    let mut port = Port::plain().await;
    port.serve(Kind::Http);
    let client = client(plain().with_config(FallbackConfig::default()));
    for _ in 0..3 {
        let error = ask(&client, port.uri("")).await.unwrap_err();
        assert!(is_retryable(&error), "{error:?}");
    }
    assert!(port.seen.paths.lock().unwrap().is_empty());
}

#[tokio::test]
async fn with_the_switch_at_http_no_hello_is_sent() {
    let (addr, heard) = http(Stranger::Answers400).await;
    let off = asks().protocols(Protocols::Http);
    let client = without_pool(plain().with_config(off));
    for _ in 0..3 {
        ask(&client, uri(addr)).await.unwrap();
    }
    assert_eq!(heard.hellos_and_requests(), (0, 3));
}

#[tokio::test]
async fn a_server_is_asked_again_after_the_time_while_it_is_called_by_http() {
    let (addr, heard) = http(Stranger::SaysNothing).await;
    let often = asks_briefly().retry_after(Duration::from_millis(1));
    let fallback = plain().with_config(often.unwrap());
    let client = without_pool(fallback.clone());
    let mut requests = 0;
    while heard.hellos_and_requests().0 < 3 {
        ask(&client, uri(addr)).await.unwrap();
        requests += 1;
    }
    assert_eq!(heard.hellos_and_requests().1, requests);
    assert!(requests > 3, "requests wait for no answer");
}

#[tokio::test]
async fn a_server_that_gets_tcpchan_is_found_after_the_time_and_one_that_loses_it_at_once() {
    let mut port = Port::plain().await;
    let often = asks().retry_after(Duration::from_millis(1)).unwrap();
    let client = without_pool(plain().with_config(often));
    for kind in [Kind::Http, Kind::Shared, Kind::Http, Kind::Shared] {
        port.serve(kind);
        let way = if kind == Kind::Http {
            "http/1.1"
        } else {
            "channel"
        };
        within(async {
            while ask(&client, port.uri("")).await.unwrap() != way {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// It was asked a moment ago, and speaks no HTTP any more.
#[tokio::test]
async fn a_request_to_a_server_that_has_changed_to_tcpchan_alone_may_be_sent_again() {
    let mut port = Port::plain().await;
    let client = without_pool(plain());
    port.serve(Kind::Http);
    ask(&client, port.uri("first")).await.unwrap();
    port.serve(Kind::Tcpchan);
    let mut way = ask(&client, port.uri("second")).await;
    while way.as_ref().is_ok_and(|way| way == "http/1.1") {
        way = ask(&client, port.uri("old")).await; // the old one took it
    }
    let error = way.unwrap_err();
    assert!(is_retryable(&error), "{error:?}");
    assert!(format!("{error:?}").contains("Changed"), "{error:?}");
    assert_eq!(ask(&client, port.uri("third")).await.unwrap(), "channel");
    assert_eq!(port.seen.paths.lock().unwrap()["/third"], 1);
}

/// h2 leaves the error's text alone.
#[tokio::test]
async fn a_request_by_http_2_to_a_server_that_has_changed_may_be_sent_again_too() {
    let mut port = Port::plain().await;
    let mut builder = Client::builder(TokioExecutor::new());
    let client = builder
        .pool_max_idle_per_host(0)
        .http2_only(true)
        .build(plain());
    port.serve(Kind::Http);
    assert_eq!(ask(&client, port.uri("first")).await.unwrap(), "h2");
    port.serve(Kind::Tcpchan);
    let mut way = ask(&client, port.uri("second")).await;
    while way.as_ref().is_ok_and(|way| way == "h2") {
        way = ask(&client, port.uri("old")).await; // the old one took it
    }
    let error = way.unwrap_err();
    assert!(is_retryable(&error), "{error:?}");
    assert_eq!(ask(&client, port.uri("third")).await.unwrap(), "channel");
}

/// As a server that restarts does, or a load balancer without one.
#[tokio::test]
async fn a_target_of_tcpchan_that_hangs_up_is_sent_no_http() {
    let (listener, addr) = listen().await;
    let keeps = listener.into_std().unwrap();
    let listener = || tokio::net::TcpListener::from_std(keeps.try_clone().unwrap()).unwrap();
    let mut acceptor = Acceptor::new(listener());
    let server = tokio::spawn(async move { acceptor.accept().await });
    let fallback = plain();
    within(fallback.prewarm(&uri(addr), 1)).await.unwrap();
    server.abort();
    assert!(server.await.is_err());

    let heard = super::raw::Heard::default();
    tokio::spawn(super::raw::serve(
        listener(),
        Stranger::HangsUp,
        heard.clone(),
    ));
    let client = without_pool(fallback);
    while heard.all().len() < 3 {
        let error = ask(&client, uri(addr)).await.unwrap_err();
        assert!(is_retryable(&error), "{error:?}");
    }
    assert_eq!(heard.hellos_and_requests().1, 0);
}

/// Its hello is later than a client waits for it.
#[tokio::test]
async fn a_server_whose_hello_came_on_a_connection_of_http_is_sent_no_more_http() {
    let (listener, addr) = listen().await;
    let heard = super::raw::Heard::default();
    tokio::spawn(super::raw::slow(listener, heard.clone()));
    let client = without_pool(plain().with_config(asks_briefly()));
    for _ in 0..3 {
        let error = ask(&client, uri(addr)).await.unwrap_err();
        assert!(is_retryable(&error), "{error:?}");
    }
    assert_eq!(heard.hellos_and_requests().1, 1, "by the first request");
}

/// It speaks HTTP/2 and nothing else.
#[tokio::test]
async fn tonics_server_without_tcpchan_is_called_by_http_2() {
    let (listener, addr) = listen().await;
    let (_, health) = tonic_health::server::health_reporter();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let serve = Server::builder()
        .add_service(health)
        .serve_with_incoming(incoming);
    tokio::spawn(serve);
    let fallback = plain();
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let channel = endpoint.connect_with_connector(fallback.clone());
    let mut client = HealthClient::new(within(channel).await.unwrap());
    for _ in 0..3 {
        within(client.check(HealthCheckRequest::default()))
            .await
            .unwrap();
    }
    assert!(fallback.stats_of(&uri(addr)).unwrap().speaks_http);
}

#[tokio::test]
async fn a_shared_port_is_never_called_by_http() {
    let (listener, addr) = listen().await;
    let mut port = SharedPort::new(listener);
    let accepted = tokio::spawn(async move { port.accept().await });
    let fallback = plain();
    within(fallback.prewarm(&uri(addr), 1)).await.unwrap();
    let stats = fallback.stats_of(&uri(addr)).unwrap();
    assert_eq!((stats.connections.len(), stats.fell_back), (1, 0));
    assert!(!accepted.is_finished(), "it met a connection of HTTP");
}
