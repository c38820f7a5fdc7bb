//! An axum server on one thread, and two plain TCP ports beside it: one takes what comes, the
//! other closes after 48 KiB.

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::StreamExt;
use tcpchan::MemoryBudget;
use tcpchan::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::Failure;

static LARGE: &[u8] = &[7; 1 << 20];

/// Bytes after which the second port closes a connection.
const CLOSES_AFTER: usize = 48 << 10;

/// Prints its three addresses.
#[tokio::main(flavor = "current_thread")]
pub async fn run() -> Result<(), Failure> {
    // Of a short backlog a flood of connects leaves nothing to others.
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(4096)?;
    let sink = TcpListener::bind("127.0.0.1:0").await?;
    let closes = TcpListener::bind("127.0.0.1:0").await?;
    let addr = |listener: &TcpListener| listener.local_addr();
    println!("{} {} {}", addr(&listener)?, addr(&sink)?, addr(&closes)?);
    tokio::spawn(plain(sink, usize::MAX));
    tokio::spawn(plain(closes, CLOSES_AFTER));
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { LARGE }))
        .route("/swallow", post(swallow_body))
        .route("/hold", post(hold_body))
        .route(
            "/leased",
            get(async || MemoryBudget::of_process().used().to_string()),
        );
    axum::serve(Acceptor::new(listener), app).await?;
    Ok(())
}

/// Takes so many bytes of each connection, and closes it.
async fn plain(listener: TcpListener, most: usize) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(swallow(stream, most));
    }
}

async fn swallow(mut stream: TcpStream, most: usize) {
    let (mut bytes, mut taken) = (vec![0; 64 << 10], 0);
    while taken < most
        && let Ok(n @ 1..) = stream.read(&mut bytes).await
    {
        taken = taken.saturating_add(n);
    }
}

async fn hold_body(_: Body) {
    std::future::pending().await
}

async fn swallow_body(body: Body) {
    let mut pieces = body.into_data_stream();
    while let Some(Ok(_)) = pieces.next().await {}
}
