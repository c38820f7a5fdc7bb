//! reqwest in two ways: its requests and responses through `Requests`, and its own client
//! over a unix socket of this process.

use std::error::Error;

use axum::Json;
use axum::extract::ConnectInfo;
use axum::routing::{Router, post};
use http::Request;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tcpchan::client::{Multiplex, Requests};
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;
use tower::ServiceExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let target = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/order", post(order));
    let service = app.into_make_service_with_connect_info::<PeerInfo>();
    let acceptor = Acceptor::new(listener);
    tokio::spawn(async { axum::serve(acceptor, service).await });

    let multiplex = Multiplex::new(HttpConnector::new());
    converted(&multiplex, &target).await?;
    #[cfg(unix)]
    unix_socket(&multiplex, &target).await?;
    Ok(())
}

async fn order(ConnectInfo(peer): ConnectInfo<PeerInfo>, Json(order): Json<Value>) -> Json<Value> {
    let on = format!("channel {} of connection {}", peer.channel, peer.connection);
    Json(json!({ "item": order["item"], "on": on }))
}

/// Its requests and responses. Its client builds the request and does nothing else.
async fn converted(
    multiplex: &Multiplex<HttpConnector>,
    target: &str,
) -> Result<(), Box<dyn Error>> {
    let requests = Requests::new(multiplex.clone(), target.parse()?);
    let client = reqwest::Client::new();
    let request = client
        .post(format!("{target}/order"))
        .json(&json!({ "item": "bolt" }));

    let request: Request<reqwest::Body> = request.build()?.try_into()?;
    let response = requests.oneshot(request).await?;
    let response = reqwest::Response::from(response.map(reqwest::Body::wrap));
    println!("converted:   {}", response.json::<Value>().await?);
    Ok(())
}

/// Its own client, with all that it does around a request.
#[cfg(unix)]
async fn unix_socket(
    multiplex: &Multiplex<HttpConnector>,
    target: &str,
) -> Result<(), Box<dyn Error>> {
    let socket = tcpchan::client::LocalSocket::new(multiplex.clone(), target.parse()?)?;
    let client = reqwest::Client::builder()
        .unix_socket(socket.path())
        .pool_max_idle_per_host(0) // each request has a channel of its own
        .cookie_store(true)
        .build()?;
    let request = client
        .post(format!("{target}/order"))
        .json(&json!({ "item": "nut" }));
    println!(
        "unix socket: {}",
        request.send().await?.json::<Value>().await?
    );
    Ok(())
}
