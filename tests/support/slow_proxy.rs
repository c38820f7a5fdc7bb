//! A TCP proxy that carries bytes each way after a delay.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Connections go to `backend`, as it is when they come.
pub async fn run(listener: TcpListener, backend: Arc<Mutex<SocketAddr>>, delay: Duration) {
    while let Ok((client, _)) = listener.accept().await {
        let backend = *backend.lock().unwrap();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(backend).await else {
                return;
            };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, delay));
            tokio::spawn(carry(from_server, to_client, delay));
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut on_its_way) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            let _ = sender.send((Instant::now() + delay, piece[..n].to_vec()));
        }
    });
    while let Some((at, bytes)) = on_its_way.recv().await {
        sleep_until(at).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
