//! Clients come by the names in their certificates.
#![cfg(all(feature = "client", feature = "tls"))]

use std::sync::Arc;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, AllowedNames, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::Service;

use crate::certs::{Authority, Certified};
use crate::guard::within;

/// Sends a byte over a channel, from a client with this certificate to a server that
/// allows these names, and waits for it to come back.
async fn call(authority: &Authority, client: Certified, names: &[&str]) -> Result<(), String> {
    let names = AllowedNames::new(authority.verifier(), names.iter().copied());
    let tls = Tls::new(authority.server_with(Arc::new(names)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let mut acceptor = Acceptor::new(listener).with_tls(tls);
    tokio::spawn(async move {
        let (mut channel, _) = acceptor.accept().await;
        let byte = channel.read_u8().await.unwrap();
        channel.write_u8(byte).await.unwrap();
        std::future::pending::<()>().await;
    });
    let connector: TlsConnector<HttpConnector> = TlsConnector::new(authority.client_with(client));
    let call = async {
        let uri = uri.parse().unwrap();
        let mut channel = match Multiplex::new(connector).call(uri).await {
            Ok(channel) => channel,
            Err(error) => return Err(format!("{error:?}")),
        };
        let io = async {
            channel.write_u8(7).await?;
            channel.read_u8().await
        };
        io.await.map(drop).map_err(|error| format!("{error:?}"))
    };
    within(call).await
}

async fn is_allowed(authority: &Authority, client: Certified, names: &[&str]) -> bool {
    match call(authority, client, names).await {
        Ok(()) => true,
        Err(text) => {
            assert!(text.contains("AccessDenied"), "{text}");
            false
        }
    }
}

#[tokio::test]
async fn a_dns_name_is_allowed_whole_and_in_any_case() {
    let authority = Authority::new();
    for (names, allowed) in [
        (&["web.example"][..], true),
        (&["other", "WEB.example"], true),
        (&["example"], false),
        (&["*.example"], false),
        (&["web.example.com"], false),
        (&[], false),
    ] {
        let client = authority.certify("web.example");
        assert_eq!(
            is_allowed(&authority, client, names).await,
            allowed,
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn a_spiffe_id_is_allowed_whole_or_by_its_beginning() {
    let authority = Authority::new();
    let web = "spiffe://example.org/ns/prod/sa/web";
    for (id, name, allowed) in [
        (web, web, true),
        (web, "spiffe://example.org/ns/prod/*", true),
        (web, "spiffe://example.org/*", true),
        (web, "spiffe://example.org/ns/pro*", false),
        (web, "spiffe://example.org/ns/test/*", false),
        (web, "spiffe://example.com/*", false),
        (web, "spiffe://example.org/ns/prod", false),
        (
            "spiffe://example.org/ns/prod/",
            "spiffe://example.org/ns/prod/*",
            false,
        ),
        (
            "spiffe://example.org/ns/prod/../dev/sa",
            "spiffe://example.org/ns/prod/*",
            false,
        ),
        (
            "spiffe://example.org/ns/prod/%2e%2e/dev",
            "spiffe://example.org/ns/prod/*",
            false,
        ),
    ] {
        let client = authority.certify_uris(&[id]);
        assert_eq!(
            is_allowed(&authority, client, &[name]).await,
            allowed,
            "{id} {name}"
        );
    }
}

#[tokio::test]
async fn a_certificate_with_a_spiffe_id_and_another_uri_is_refused() {
    let authority = Authority::new();
    let web = "spiffe://example.org/web";
    let uris = [web, "spiffe://example.org/admin"];
    let client = authority.certify_uris(&uris);
    assert!(!is_allowed(&authority, client, &[web]).await);
    let client = authority.certify_names(vec!["web.example".into()], &uris);
    assert!(!is_allowed(&authority, client, &["web.example"]).await);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_whatever_its_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = other.certify("web.example");
    let text = call(&authority, client, &["web.example"])
        .await
        .unwrap_err();
    assert!(
        text.contains("UnknownCA") || text.contains("DecryptError"),
        "{text}"
    );
}
