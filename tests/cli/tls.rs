//! TLS between relay and serve, by files.

use std::fs;
use std::path::PathBuf;

use crate::certs::Authority;
use crate::fixture::{echo, exchange};
use crate::programs::{Daemon, tcpchan};

/// Files of an authority, of a server and of a client, removed at the end.
pub struct Files(PathBuf);

impl Files {
    pub fn new(name: &str) -> Files {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new();
        let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
        write("ca.pem", authority.pem());
        for name in ["127.0.0.1", "client", "else.where"] {
            let (certificate, key) = authority.certify_pem(name);
            write(&format!("{name}.pem"), certificate);
            write(&format!("{name}.key"), key);
        }
        let (certificate, key) = authority.certify_pem_of_2020("127.0.0.1");
        write("old.pem", certificate);
        write("old.key", key);
        Files(folder)
    }

    /// Arguments in which `@` stands for the folder.
    pub fn args(&self, args: &str) -> String {
        args.replace('@', &format!("{}/", self.0.display()))
    }

    async fn serve(&self, args: &str) -> Daemon {
        let to = echo().await;
        Daemon::start(&self.args(&format!("serve --to {to} {args}"))).await
    }

    async fn relay(&self, serve: &Daemon, args: &str) -> Daemon {
        Daemon::start(&self.args(&format!("relay --to {} {args}", serve.addr))).await
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

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
    let mut serve = files.serve(&format!("{FOR_CLIENTS} --log debug")).await;
    let mut relay = files.relay(&serve, "--tls --tls-ca @ca.pem").await;
    exchange(relay.addr, b"hello").await.unwrap_err();
    relay.says("is down").await;
    serve.says("the handshake failed").await;
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
