//! TLS between relay and serve, by files.

use crate::files::Files;
use crate::fixture::exchange;
use crate::programs::tcpchan;

pub const SERVER: &str = "--tls-cert @127.0.0.1.pem --tls-key @127.0.0.1.key";
pub const FOR_CLIENTS: &str =
    "--tls-cert @127.0.0.1.pem --tls-key @127.0.0.1.key --tls-client-ca @ca.pem";
pub const CLIENT: &str = "--tls --tls-ca @ca.pem --tls-cert @client.pem --tls-key @client.key";

#[tokio::test]
async fn certificates_on_both_sides_let_a_client_through() {
    let files = Files::new("both");
    let serve = files.serve(FOR_CLIENTS).await;
    let relay = files.relay(&serve, CLIENT).await;
    assert_eq!(exchange(relay.addr, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_relay_without_a_certificate_that_is_asked_for_gets_nowhere() {
    let files = Files::new("none");
    let mut serve = files
        .serve(&format!("{FOR_CLIENTS} --log-level debug"))
        .await;
    let mut relay = files.relay(&serve, "--tls --tls-ca @ca.pem").await;
    exchange(relay.addr, b"hello").await.unwrap_err();
    relay.says("is down").await;
    serve.says("the client was refused").await;
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_told_by_the_relay() {
    let (files, others) = (Files::new("own"), Files::new("other"));
    let serve = files.serve(SERVER).await;
    for args in ["--tls --tls-ca @ca.pem", "--tls"] {
        let mut relay = others.relay(&serve, args).await;
        exchange(relay.addr, b"hello").await.unwrap_err();
        relay.says("no trusted CA has signed").await;
    }
}

#[tokio::test]
async fn the_servers_name_may_be_given() {
    let files = Files::new("name");
    let serve = "--tls-cert @else.where.pem --tls-key @else.where.key";
    let serve = files.serve(serve).await;
    let mut relay = files.relay(&serve, "--tls --tls-ca @ca.pem").await;
    exchange(relay.addr, b"hello").await.unwrap_err();
    relay.says("not valid for name").await;
    let named = "--tls --tls-ca @ca.pem --tls-name else.where";
    let relay = files.relay(&serve, named).await;
    assert_eq!(exchange(relay.addr, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_relay_without_tls_gets_nowhere() {
    let files = Files::new("plain");
    let serve = files.serve(SERVER).await;
    let relay = files.relay(&serve, "").await;
    exchange(relay.addr, b"hello").await.unwrap_err();
}

#[tokio::test]
async fn ping_speaks_tls() {
    let files = Files::new("ping");
    let serve = files.serve(FOR_CLIENTS).await;
    let ping = files.args(&format!("ping {} -c 1 {CLIENT}", serve.addr));
    let output = tcpchan(&ping).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("  tls "), "{printed}");
}
