//! What a caller with an `https` URI is told.

use std::error::Error;
use std::net::SocketAddr;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, Tls};
use tokio::net::TcpListener;
use tonic::transport::{ClientTlsConfig, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::certs::Authority;
use crate::guard::within;

/// All errors in a row.
fn texts(error: impl Error + 'static) -> String {
    let first: &dyn Error = &error;
    let errors = std::iter::successors(Some(first), |&error| error.source());
    errors.map(|error| format!("{error}; ")).collect()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn serve(acceptor: Acceptor) {
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(acceptor));
}

#[tokio::test]
async fn without_tls_in_the_multiplex_the_error_says_to_put_it_there() {
    let endpoint = Endpoint::from_static("https://127.0.0.1:1");
    let connect = endpoint.connect_with_connector(Multiplex::new(HttpConnector::new()));
    let text = texts(within(connect).await.unwrap_err());
    assert!(
        text.contains("an https URI needs TLS: put a TlsConnector into the Multiplex"),
        "{text}"
    );
}

#[tokio::test]
async fn with_tls_in_the_multiplex_tonic_asks_for_its_own() {
    let authority = Authority::new();
    let (listener, addr) = listen().await;
    serve(Acceptor::new(listener).with_tls(Tls::new(authority.server())));
    let connector = Multiplex::new(TlsConnector::new(authority.client()));
    let endpoint = Endpoint::from_shared(format!("https://{addr}")).unwrap();
    let connect = endpoint.connect_with_connector(connector);
    let text = texts(within(connect).await.unwrap_err());
    assert!(
        text.contains("Connecting to HTTPS without TLS enabled"),
        "{text}"
    );
}

#[tokio::test]
async fn tls_of_tonic_within_a_channel_is_refused_by_a_server_without_it() {
    let authority = Authority::new();
    let (listener, addr) = listen().await;
    serve(Acceptor::new(listener));
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let tls = ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(authority.pem()));
    let endpoint = Endpoint::from_shared(format!("https://{addr}")).unwrap();
    let endpoint = endpoint.tls_config(tls).unwrap();
    let connect = endpoint.connect_with_connector(Multiplex::new(http));
    let text = match within(connect).await {
        Err(error) => texts(error),
        Ok(channel) => {
            let mut client = HealthClient::new(channel);
            let check = client.check(HealthCheckRequest::default());
            texts(within(check).await.unwrap_err())
        }
    };
    assert!(text.contains("received corrupt message"), "{text}");
}
