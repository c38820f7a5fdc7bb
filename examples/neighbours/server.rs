//! An axum server on one thread, and a plain TCP port beside it that takes what
//! comes.

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::StreamExt;
use tcpchan::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

static LARGE: &[u8] = &[7; 1 << 20];

/// Prints its two addresses.
#[tokio::main(flavor = "current_thread")]
pub async fn run() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let sink = TcpListener::bind("127.0.0.1:0").await?;
    println!("{} {}", listener.local_addr()?, sink.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = sink.accept().await {
            tokio::spawn(swallow(stream));
        }
    });
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { LARGE }))
        .route("/swallow", post(swallow_body));
    axum::serve(Acceptor::new(listener), app).await?;
    Ok(())
}

async fn swallow(mut stream: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(1..) = stream.read(&mut bytes).await {}
}

async fn swallow_body(body: Body) {
    let mut pieces = body.into_data_stream();
    while let Some(Ok(_)) = pieces.next().await {}
}
