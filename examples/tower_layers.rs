//! A hyper client on a `Multiplex` under the layers of tower and tower-http:
//! decompression, tracing, a timeout, a limit of requests at a time, and retries
//! of what the server provably never saw or what may be done twice.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, RetryPolicy};
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::trace::TraceLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::io::stderr)
        .init();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}/", listener.local_addr()?);
    let app = Router::new()
        .route("/", get(|| async { "again and again, ".repeat(1000) }))
        .layer(CompressionLayer::new());
    let acceptor = Acceptor::new(listener);
    tokio::spawn(async { axum::serve(acceptor, app).await });

    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0) // a channel for each request
        .build::<_, Full<Bytes>>(Multiplex::new(HttpConnector::new()));
    let mut service = ServiceBuilder::new()
        .layer(DecompressionLayer::new())
        .layer(TraceLayer::new_for_http())
        .timeout(Duration::from_secs(10))
        .concurrency_limit(100)
        .retry(RetryPolicy::new().idempotent(true))
        .service(client);

    let request = Request::get(uri).body(Full::default())?;
    let response = service.ready().await?.call(request).await?;
    println!("{}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    println!("{} bytes, decompressed", body.len());
    Ok(())
}
