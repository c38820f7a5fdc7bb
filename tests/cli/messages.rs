//! What the command says when it gets nowhere: what is there, and what to change.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};

use crate::files::Files;
use crate::fixture::echo;
use crate::guard::within;
use crate::programs::{Daemon, run, tcpchan};
use crate::tls::{CLIENT, FOR_CLIENTS, SERVER};

/// Both `ping` and `relay` say this of a server.
async fn says(files: &Files, server: &str, args: &str, text: &str) {
    let ping = format!("ping {server} -c 1 --timeout 60 {args}");
    let output = within(tcpchan(&files.args(&ping)).output()).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(text), "{printed}, not {text}");
    assert_eq!(output.status.code(), Some(1));
    let mut relay = Daemon::start(&files.args(&format!("relay --to {server} {args}"))).await;
    let _client = TcpStream::connect(relay.addr).await.unwrap();
    relay.says(text).await;
}

#[tokio::test]
async fn a_server_that_wants_or_refuses_a_certificate() {
    let (files, others) = (Files::new("wants"), Files::new("refuses"));
    let to = echo().await;
    let serve = files.args(&format!("serve --to {to} {FOR_CLIENTS}"));
    let serve = Daemon::start(&serve).await;
    let server = serve.addr.to_string();
    let wants = "the server wants a certificate: give one with --tls-cert";
    says(&files, &server, "--tls --tls-ca @ca.pem", wants).await;
    let own = CLIENT.replace("@client", &others.args("@client"));
    let refuses = "the server refuses the certificate of --tls-cert";
    says(&files, &server, &own, refuses).await;
}

#[tokio::test]
async fn a_certificate_of_the_server_that_is_no_good() {
    let (files, others) = (Files::new("good"), Files::new("bad"));
    let to = echo().await;
    let serve = |args: &str| files.args(&format!("serve --to {to} {args}"));
    let good = Daemon::start(&serve(SERVER)).await;
    let old = Daemon::start(&serve("--tls-cert @old.pem --tls-key @old.key")).await;
    let else_where = "--tls-cert @else.where.pem --tls-key @else.where.key";
    let else_where = Daemon::start(&serve(else_where)).await;
    for (files, server, text) in [
        (
            &others,
            good.addr,
            "signed the server's certificate: give its CA with --tls-ca",
        ),
        (
            &files,
            old.addr,
            "the server's certificate is too old (certificate expired",
        ),
        (
            &files,
            else_where.addr,
            "give the name that it is for with --tls-name",
        ),
    ] {
        says(files, &server.to_string(), "--tls --tls-ca @ca.pem", text).await;
    }
}

/// An HTTP server.
async fn web() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new()).await });
    addr
}

#[tokio::test]
async fn something_else_where_a_server_should_be() {
    let files = Files::new("else");
    let to = echo().await;
    let plain = Daemon::serve(to).await;
    let tls = Daemon::start(&files.args(&format!("serve --to {to} {SERVER}"))).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (silent_addr, nobody_addr) = (silent.local_addr().unwrap(), nobody.local_addr().unwrap());
    drop(nobody);
    let web = web().await;
    let with_tls = "--tls --tls-ca @ca.pem";
    for (server, args, text) in [
        (
            plain.addr,
            with_tls,
            "the other side speaks no TLS: leave out --tls",
        ),
        (
            web,
            with_tls,
            "the other side speaks no TLS: leave out --tls",
        ),
        (tls.addr, "", "the other side speaks TLS: give --tls"),
        (web, "", "the other side is no tcpchan server"),
        (
            silent_addr,
            "",
            "the other side took the connection and says nothing",
        ),
        (
            nobody_addr,
            "",
            "nothing listens there: is it started? Check host and port",
        ),
    ] {
        says(&files, &server.to_string(), args, text).await;
    }
    let text = "check the name, and this host's DNS";
    says(&files, "no-such-host.invalid:1", "", text).await;
}

/// Runs a `serve` that can't start, and gives what it says.
async fn fails(args: &str) -> String {
    let output = tcpchan(&format!("serve --to 127.0.0.1:1 {args}")).output();
    let output = within(output).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (said.lines().count(), output.status.code()),
        (1, Some(1)),
        "{said}"
    );
    said
}

#[tokio::test]
async fn a_file_that_is_no_use() {
    let files = Files::new("files");
    for (args, says) in [
        ("--tls-cert @no.pem --tls-key @client.key", "no.pem: "),
        (
            "--tls-cert @client.key --tls-key @client.key",
            "client.key: no certificate in it",
        ),
        (
            "--tls-cert @client.pem --tls-key @client.pem",
            "client.pem: no private key in it",
        ),
        (
            "--tls-cert @127.0.0.1.pem --tls-key @client.key",
            "client.key: it is not the key of the certificate in ",
        ),
    ] {
        let said = fails(&files.args(&format!("--listen 127.0.0.1:0 {args}"))).await;
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn an_address_where_it_can_not_listen() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, says) in [
        (
            taken.as_str(),
            "another program has it; `ss -ltnp` says which",
        ),
        ("192.0.2.1:0", "this host has no such address"),
        ("no-such-host.invalid:1", "failed to lookup address"),
    ] {
        let said = fails(&format!("--listen {listen}")).await;
        assert!(said.contains(says), "{said}");
    }
}

/// Where the system keeps such ports for root.
#[tokio::test]
async fn a_port_below_1024() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim() != "1024") || !rustix::process::geteuid().is_root() {
        return;
    }
    let program = env!("CARGO_BIN_EXE_tcpchan");
    let args = "--bounding-set -net_bind_service --inh-caps -net_bind_service";
    let args = args
        .split(' ')
        .chain([program, "serve", "--to", "a:1", "--listen", "127.0.0.1:1"]);
    let output = run("setpriv", args).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ports below 1024 need root"), "{said}");
}
