//! A server and what its clients send.

use std::net::SocketAddr;

use hyper::Uri;
use serde_json::{Value, json};

pub fn order(count: u32) -> Value {
    json!({ "item": "bolt", "count": count })
}

/// Doubles an order.
pub async fn double(axum::Json(order): axum::Json<Value>) -> axum::Json<Value> {
    let count = order["count"].as_u64().unwrap();
    axum::Json(json!({ "item": order["item"], "count": 2 * count }))
}

pub fn uri(addr: SocketAddr) -> Uri {
    format!("http://{addr}").parse().unwrap()
}
