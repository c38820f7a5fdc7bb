//! HAProxy as a service that wants to know who its clients are.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::balancer::{Haproxy, free_place};
use crate::guard::within;
use crate::programs::Daemon;

const CONFIG: &str = "
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen web
    bind LISTEN accept-proxy
    http-request set-header X-Client %[src]:%[src_port]
    server app APP
";

#[tokio::test]
#[ignore = "needs HAProxy"]
async fn a_service_learns_the_clients_address_by_the_proxy_protocol() {
    let who = |headers: HeaderMap| async move { format!("{:?}", headers["x-client"]) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(who));
    tokio::spawn(async { axum::serve(listener, router).await });
    let addr = free_place().await;
    let config = CONFIG
        .replace("LISTEN", &addr.to_string())
        .replace("APP", &app.to_string());
    let haproxy = Haproxy::start(addr, &config).await;
    let serve = format!("serve --to {} --accept-proxy --send-proxy-v2", haproxy.addr);
    let serve = Daemon::start(&serve).await;
    let relay = Daemon::start(&format!("relay --to {} --send-proxy-v2", serve.addr)).await;
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    let own = format!("{:?}", client.local_addr().unwrap().to_string());
    assert!(answer.ends_with(&own), "{answer}");
}
