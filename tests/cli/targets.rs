//! Several targets: clients are spread, and one that is down costs nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{exchange, named_echo};
use crate::guard::within;
use crate::programs::Daemon;
use crate::proxy::{Fault, Proxy};

async fn to_all(command: &str, targets: &[SocketAddr]) -> Daemon {
    let to: Vec<String> = targets.iter().map(|to| format!("--to {to}")).collect();
    Daemon::start(&format!("{command} {}", to.join(" "))).await
}

/// Who answers a client, which stays.
async fn connect(to: SocketAddr) -> (char, TcpStream) {
    let mut client = TcpStream::connect(to).await.unwrap();
    let name = within(client.read_u8()).await.unwrap();
    (name.into(), client)
}

/// How many of some clients each service has at a time.
async fn spread(to: SocketAddr, clients: usize) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    let mut held = Vec::new();
    for _ in 0..clients {
        let (name, client) = connect(to).await;
        *counts.entry(name).or_default() += 1;
        held.push(client);
    }
    counts
}

#[tokio::test]
async fn a_relay_spreads_its_clients_over_its_servers() {
    let a = Daemon::serve(named_echo("a").await).await;
    let b = Daemon::serve(named_echo("b").await).await;
    let relay = to_all("relay", &[a.addr, b.addr]).await;
    let counts = spread(relay.addr, 20).await;
    assert_eq!(counts, [('a', 10), ('b', 10)].into());
}

#[tokio::test]
async fn a_serve_spreads_its_channels_over_its_services() {
    let services = [named_echo("a").await, named_echo("b").await];
    let serve = to_all("serve", &services).await;
    let relay = Daemon::relay(serve.addr).await;
    let counts = spread(relay.addr, 20).await;
    assert_eq!(counts, [('a', 10), ('b', 10)].into());
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_costs_no_new_client_anything() {
    let a = Daemon::serve(named_echo("a").await).await;
    let service = named_echo("b").await;
    let b = Daemon::serve(service).await;
    let place = b.addr.to_string();
    let mut relay = to_all("relay", &[a.addr, b.addr]).await;
    spread(relay.addr, 2).await;
    b.kill().await;
    assert_eq!(spread(relay.addr, 10).await, [('a', 10)].into());
    relay.says("is down").await;
    let _b = Daemon::at(&place, &format!("serve --to {service}")).await;
    relay.says("is up again").await;
    assert_eq!(spread(relay.addr, 10).await, [('a', 5), ('b', 5)].into());
}

#[tokio::test]
async fn a_service_that_goes_and_comes_back_costs_no_new_client_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let mut serve = to_all("serve", &[named_echo("a").await, place]).await;
    let relay = Daemon::relay(serve.addr).await;
    assert_eq!(spread(relay.addr, 10).await, [('a', 10)].into());
    serve.says("is down").await;
    let listener = TcpListener::bind(place).await.unwrap();
    serve.says("is up again").await;
    let (_tries, _) = within(listener.accept()).await.unwrap();
    let client = tokio::spawn(spread(relay.addr, 2));
    within(listener.accept()).await.unwrap();
    client.abort();
}

#[tokio::test]
async fn a_server_that_goes_silent_gets_no_more_clients() {
    let a = Daemon::serve(named_echo("a").await).await;
    let b = Daemon::serve(named_echo("b").await).await;
    let way = Proxy::start(a.addr, None).await;
    let mut relay = to_all("relay", &[way.addr, b.addr]).await;
    spread(relay.addr, 2).await;
    // Neither the connection that is there nor a new one is answered any more.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    way.switch(silent.local_addr().unwrap());
    assert!(way.hurt(Fault::Silence));
    let mut clients = Vec::new();
    let left = async {
        loop {
            clients.push(TcpStream::connect(relay.addr).await.unwrap());
            let said = relay.says("error=\"it said nothing");
            if timeout(Duration::from_millis(100), said).await.is_ok() {
                return;
            }
        }
    };
    within(left).await;
    drop(clients);
    assert_eq!(spread(relay.addr, 10).await, [('b', 10)].into());
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_gets_no_client() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let b = Daemon::serve(named_echo("b").await).await;
    let relay = to_all("relay", &[silent.local_addr().unwrap(), b.addr]).await;
    for _ in 0..4 {
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"b!");
    }
}
