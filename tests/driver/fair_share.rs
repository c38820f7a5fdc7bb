//! A small answer does not wait behind a large one: of the bytes that leave
//! after it was written, it is among the first.

use std::sync::Arc;

use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, split};
use tokio::sync::Semaphore;

use crate::guard::within;

const KIB: usize = 1 << 10;

/// A transport that moves at most a KiB to the client for each permit.
fn metered(permits: Arc<Semaphore>) -> (DuplexStream, DuplexStream) {
    let (near, near_end) = tokio::io::duplex(16 * KIB);
    let (far, far_end) = tokio::io::duplex(16 * KIB);
    let (near_read, near_write) = split(near_end);
    let (far_read, far_write) = split(far_end);
    tokio::spawn(pump(far_read, near_write, permits));
    let no_limit = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    tokio::spawn(pump(near_read, far_write, no_limit));
    (near, far)
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    permits: Arc<Semaphore>,
) {
    let mut piece = [0; KIB];
    while let Ok(permit) = permits.acquire().await {
        permit.forget();
        let Ok(n @ 1..) = from.read(&mut piece).await else {
            return;
        };
        if to.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}

/// Both ends of a channel.
async fn channel(client: &Connection, server: &Connection) -> (Channel, Channel) {
    let mut near = client.open().await.unwrap();
    near.write_all(b"?").await.unwrap();
    let mut far = server.accept().await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'?');
    (near, far)
}

#[tokio::test]
async fn a_small_answer_is_among_the_next_256_kib_beside_a_large_one() {
    let permits = Arc::new(Semaphore::new(KIB));
    let (near, far) = metered(permits.clone());
    // Neither the window nor the buffer keeps any of the large answer back.
    let config = Config::default().initial_window(16 << 20).unwrap();
    let config = config.send_buffer(16 << 20).unwrap();
    let client = Connection::client(near, config.clone());
    let server = Connection::server(far, config);
    let (mut large, mut large_far) = channel(&client, &server).await;
    let (mut small, mut small_far) = channel(&client, &server).await;
    large_far.write_all(&vec![0; 8 << 20]).await.unwrap();
    tokio::spawn(async move { tokio::io::copy(&mut large, &mut tokio::io::sink()).await });
    let a_mebibyte_has_left = async {
        while permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(a_mebibyte_has_left).await;
    small_far.write_all(b"small").await.unwrap();
    permits.add_permits(256);
    let mut answer = [0; 5];
    within(small.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"small");
}
