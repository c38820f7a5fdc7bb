//! A web server, and a relay to it.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::programs::Daemon;

/// Bytes of `/large`.
pub const LARGE: usize = 16 << 20;

pub fn large() -> Vec<u8> {
    (0..LARGE as u32).map(|i| (i / 251) as u8).collect()
}

pub fn hash(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { large() }))
        .route("/hash", post(|body: Bytes| async move { hash(&body) }))
        .layer(DefaultBodyLimit::disable())
        // Answers without reading what is sent.
        .route("/no", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
        .route("/endless", get(|| async { Body::from_stream(endless()) }))
}

fn endless() -> impl futures_util::Stream<Item = std::io::Result<Vec<u8>>> + Send {
    futures_util::stream::repeat_with(|| Ok(vec![0; 16 * 1024]))
}

pub struct Web {
    pub relay: Daemon,
    pub serve: Daemon,
}

impl Web {
    pub async fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app()).await });
        let serve = Daemon::serve(addr).await;
        let relay = Daemon::start(&format!("relay --to {} --stats=3600", serve.addr)).await;
        Web { relay, serve }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.relay.addr)
    }
}
