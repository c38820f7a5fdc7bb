//! A server and what its clients send.

use std::net::SocketAddr;

use axum::Router;
use hyper::Uri;
use serde_json::{Value, json};
use tcpchan::Config;
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;

pub fn order(count: u32) -> Value {
    json!({ "item": "bolt", "count": count })
}

/// Doubles an order.
pub async fn double(axum::Json(order): axum::Json<Value>) -> axum::Json<Value> {
    let count = order["count"].as_u64().unwrap();
    axum::Json(json!({ "item": order["item"], "count": 2 * count }))
}

pub async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener, Config::default());
    let addr = acceptor.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });
    addr
}

pub fn uri(addr: SocketAddr) -> Uri {
    format!("http://{addr}").parse().unwrap()
}
