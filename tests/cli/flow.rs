//! Who reads slowly holds up its own peer, and nobody else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::{Chain, talk};
use crate::guard::within;

/// More than all buffers between two peers hold: a window of 16 MiB, and those
/// of the kernel.
const MUCH: usize = 64 << 20;

/// Writes until nothing is taken for a second; how much was.
async fn fill(tcp: &mut TcpStream) -> usize {
    let piece = vec![7; 64 * 1024];
    let mut total = 0;
    while total < MUCH {
        match timeout(Duration::from_secs(1), tcp.write(&piece)).await {
            Ok(n) => total += n.unwrap(),
            Err(_) => break,
        }
    }
    total
}

/// Checks that the writer is held up and another pair is not, and that no byte
/// is lost once the reader reads.
async fn is_held_up(
    (mut writer, mut reader): (TcpStream, TcpStream),
    (mut client, mut service): (TcpStream, TcpStream),
) {
    let written = fill(&mut writer).await;
    assert!(written < MUCH, "{written} bytes were taken");
    talk(&mut client, &mut service).await;
    let read = tokio::spawn(async move {
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.map(|_| got.len())
    });
    writer.shutdown().await.unwrap();
    assert_eq!(within(read).await.unwrap().unwrap(), written);
}

#[tokio::test]
async fn a_service_that_does_not_read_holds_up_its_client_alone() {
    let chain = Chain::new().await;
    let (client, service) = chain.connect().await;
    is_held_up((client, service), chain.connect().await).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_its_service_alone() {
    let chain = Chain::new().await;
    let (client, service) = chain.connect().await;
    is_held_up((service, client), chain.connect().await).await;
}
