//! Over TLS, ALPN tells what a server speaks.

use hyper::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, HttpInfo};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{
    Fallback, FallbackConfig, Multiplex, Negotiated, PoolConfig, Protocols, TlsConnector,
};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Identity, Server, ServerTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::fixture::{
    Kind, Port, ask, ask_until_done, client, over_tls, over_tls_http_1, without_pool,
};
use super::raw::listen;
use crate::certs::Authority;
use crate::guard::within;

async fn port(kind: Kind) -> (Port, Authority) {
    let authority = Authority::new();
    let mut port = Port::tls(&authority).await;
    port.serve(kind);
    (port, authority)
}

#[tokio::test]
async fn each_kind_of_server_is_called_by_what_it_speaks() {
    for (kind, way) in [
        (Kind::Tcpchan, "channel"),
        (Kind::Shared, "channel"),
        (Kind::Http, "h2"),
        (Kind::NoAlpn, "http/1.1"),
    ] {
        let (port, authority) = port(kind).await;
        let client = client(over_tls(&authority));
        for _ in 0..3 {
            assert_eq!(ask(&client, port.uri("")).await.unwrap(), way, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_client_without_http_2_is_called_by_http_1() {
    let (port, authority) = port(Kind::Http).await;
    let client = client(over_tls_http_1(&authority));
    assert_eq!(ask(&client, port.uri("")).await.unwrap(), "http/1.1");
}

#[tokio::test]
async fn the_connection_that_was_dialled_carries_the_request() {
    let (port, authority) = port(Kind::Http).await;
    let client = client(over_tls_http_1(&authority));
    for _ in 0..3 {
        ask(&client, port.uri("")).await.unwrap();
    }
    assert_eq!(port.seen.http(), 1, "hyper's pool keeps it");
}

#[tokio::test]
async fn each_request_has_a_channel_of_its_own_though_the_client_has_a_pool() {
    let (port, authority) = port(Kind::Tcpchan).await;
    let client = client(over_tls(&authority));
    for _ in 0..3 {
        ask(&client, port.uri("")).await.unwrap();
    }
    assert_eq!(port.seen.channels.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_client_of_http_2_alone_calls_both_kinds() {
    for kind in [Kind::Http, Kind::Tcpchan] {
        let (port, authority) = port(kind).await;
        let mut builder = Client::builder(TokioExecutor::new());
        let client = builder.http2_only(true).build(over_tls(&authority));
        let mut asks = JoinSet::new();
        for n in 0..50 {
            let (client, uri) = (client.clone(), port.uri(&n.to_string()));
            asks.spawn(async move { ask(&client, uri).await.unwrap() });
        }
        within(asks.join_all()).await;
        assert_eq!(port.seen.paths.lock().unwrap().len(), 50, "{kind:?}");
    }
}

#[tokio::test]
async fn callers_at_once_have_a_connection_each_beyond_the_pools_limit() {
    let (port, authority) = port(Kind::Http).await;
    let pool = PoolConfig::default().connections(1..=1).unwrap();
    let tls = TlsConnector::new(authority.client());
    let fallback = Fallback::tls(Multiplex::new(tls).with_pool(pool));
    let client = without_pool(fallback.clone());
    for round in 0..2 {
        let mut asks = JoinSet::new();
        for n in 0..20 {
            let (client, uri) = (client.clone(), port.uri(&format!("{round}/{n}")));
            asks.spawn(async move { ask(&client, uri).await.unwrap() });
        }
        let ways = within(asks.join_all()).await;
        assert!(ways.iter().all(|way| way == "http/1.1"));
    }
    assert_eq!(port.seen.http(), 40, "none was dialled in vain");
    let stats = fallback.stats_of(&port.uri("")).unwrap();
    assert_eq!((stats.fell_back, stats.failed), (40, 0));
    assert!(stats.speaks_http);
}

#[tokio::test]
async fn a_server_that_gets_tcpchan_is_found_by_the_next_dial_and_one_that_loses_it() {
    let (mut port, authority) = port(Kind::Http).await;
    let fallback = over_tls(&authority);
    let client = without_pool(fallback.clone());
    for kind in [
        Kind::Http,
        Kind::Tcpchan,
        Kind::Http,
        Kind::Shared,
        Kind::Http,
    ] {
        port.serve(kind);
        let way = match kind {
            Kind::Http => "h2",
            _ => "channel",
        };
        // A dial may have met the server before.
        let mut asked = 0;
        while ask_until_done(&client, port.uri("")).await != way {
            asked += 1;
            assert!(asked < 100, "{kind:?} is not found");
        }
        assert_eq!(ask(&client, port.uri("")).await.unwrap(), way);
    }
}

#[tokio::test]
async fn a_connection_of_tcpchan_that_a_caller_met_serves_the_others() {
    let (mut port, authority) = port(Kind::Http).await;
    let fallback = over_tls(&authority);
    let client = without_pool(fallback.clone());
    ask(&client, port.uri("")).await.unwrap();
    port.serve(Kind::Tcpchan);
    let mut asks = JoinSet::new();
    for _ in 0..50 {
        let (client, uri) = (client.clone(), port.uri(""));
        asks.spawn(async move { ask_until_done(&client, uri).await });
    }
    let ways = within(asks.join_all()).await;
    assert!(ways.iter().any(|way| way == "channel"));
    let stats = fallback.stats_of(&port.uri("")).unwrap();
    assert!(
        stats.connections.len() <= 32 && !stats.speaks_http,
        "{stats:?}"
    );
}

#[tokio::test]
async fn a_wrong_certificate_is_an_error_and_no_reason_for_http() {
    let (port, _) = port(Kind::Http).await;
    let client = client(over_tls(&Authority::new()));
    let error = ask(&client, port.uri("")).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(port.seen.paths.lock().unwrap().is_empty());
}

#[tokio::test]
async fn with_the_switch_at_http_tcpchan_is_not_asked_for() {
    let (port, authority) = port(Kind::Shared).await;
    let off = FallbackConfig::default().protocols(Protocols::Http);
    let client = client(over_tls(&authority).with_config(off));
    assert_eq!(ask(&client, port.uri("")).await.unwrap(), "h2");
}

#[tokio::test]
async fn with_the_switch_at_tcpchan_a_server_of_http_is_an_error() {
    let (mut port, authority) = port(Kind::Http).await;
    let only = FallbackConfig::default().protocols(Protocols::Tcpchan);
    let client = client(over_tls(&authority).with_config(only));
    let error = ask(&client, port.uri("")).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    port.serve(Kind::Shared);
    while ask(&client, port.uri("")).await.is_err() {} // each waits for the next dial
}

#[tokio::test]
async fn the_switch_goes_back_and_forth() {
    let (port, authority) = port(Kind::Shared).await;
    let mut fallback = over_tls(&authority);
    for (protocols, way) in [
        (Protocols::Http, "h2"),
        (Protocols::Tcpchan, "channel"),
        (Protocols::Http, "h2"),
        (Protocols::Both, "channel"),
    ] {
        let config = fallback.config().clone().protocols(protocols);
        fallback = fallback.with_config(config);
        let client = client(fallback.clone());
        assert_eq!(ask(&client, port.uri("")).await.unwrap(), way);
    }
}

/// hyper-rustls's connector, which has a type of its own for both.
fn over_hyper_rustls(authority: &Authority) -> Fallback<HttpsConnector<HttpConnector>> {
    let mut config = authority.client();
    config.alpn_protocols = vec![tcpchan::ALPN.to_vec(), b"http/1.1".to_vec()];
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let https = HttpsConnector::from((http, config));
    Fallback::new(Multiplex::new(https)).with_negotiated(|io| match io {
        MaybeHttpsStream::Http(_) => Negotiated::Nothing,
        MaybeHttpsStream::Https(tls) => {
            Negotiated::by_alpn(tls.inner().get_ref().1.alpn_protocol())
        }
    })
}

#[tokio::test]
async fn another_tls_connector_tells_what_was_chosen() {
    let authority = Authority::new();
    let client = client(over_hyper_rustls(&authority));
    for (kind, way) in [(Kind::Http, "http/1.1"), (Kind::Shared, "channel")] {
        let mut port = Port::tls(&authority).await;
        port.serve(kind);
        assert_eq!(ask(&client, port.uri("")).await.unwrap(), way);
    }
}

#[tokio::test]
async fn another_tls_connector_that_offers_what_is_off_is_an_error() {
    let (port, authority) = port(Kind::Shared).await;
    let off = FallbackConfig::default().protocols(Protocols::Http);
    let client = client(over_hyper_rustls(&authority).with_config(off));
    let error = ask(&client, port.uri("")).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("TLS chose tcpchan, which is off"), "{text}");
}

#[tokio::test]
async fn a_server_of_http_is_ready_and_has_no_connection_ahead() {
    let (port, authority) = port(Kind::Http).await;
    let fallback = over_tls(&authority);
    let uri: Uri = port.uri("");
    for _ in 0..3 {
        within(fallback.prewarm(&uri, 2)).await.unwrap();
    }
    let stats = fallback.stats_of(&uri).unwrap();
    assert!(stats.speaks_http && stats.dials <= 2, "{stats:?}");
}

#[tokio::test]
async fn responses_have_the_addresses_of_their_connection_on_both_ways() {
    for kind in [Kind::Http, Kind::Tcpchan] {
        let (port, authority) = port(kind).await;
        let client = client(over_tls(&authority));
        let response = within(client.get(port.uri(""))).await.unwrap();
        let info = response.extensions().get::<HttpInfo>().unwrap();
        assert_eq!(info.remote_addr(), port.addr, "{kind:?}");
    }
}

#[tokio::test]
async fn tonics_server_without_tcpchan_is_called_by_http_2() {
    let authority = Authority::new();
    let (certificate, key) = authority.certify_pem("127.0.0.1");
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let (_, health) = tonic_health::server::health_reporter();
    let (listener, addr) = listen().await;
    let serve = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(health)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serve);
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let fallback = Fallback::tls(Multiplex::new(TlsConnector::new(config)));
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).unwrap();
    let channel = endpoint.connect_with_connector(fallback.clone());
    let mut client = HealthClient::new(within(channel).await.unwrap());
    within(client.check(HealthCheckRequest::default()))
        .await
        .unwrap();
    assert_eq!(fallback.stats()[0].fell_back, 1);
}
