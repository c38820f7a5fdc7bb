//! Who has got its end and stays is let go, once no byte moves.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Chain, reset};
use crate::guard::within;

#[tokio::test]
async fn a_client_that_never_closes_is_let_go() {
    let mut chain = Chain::with("--client-fin-timeout 0.2 --stats=0.05", "--stats=0.05").await;
    let (mut client, service) = chain.connect_and_talk().await;
    drop(service);
    assert_eq!(within(client.read(&mut [0])).await.unwrap(), 0);
    chain
        .relay
        .prints("relay live=0 total=1 refused=0 cut=1")
        .await;
    chain.serve.prints("serve live=0 total=1").await;
    // It learns of that when it sends.
    let refused = within(async {
        loop {
            if let Err(error) = client.write_all(b"late").await {
                return error.kind();
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(matches!(
        refused.await,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    ));
}

#[tokio::test]
async fn a_client_that_is_let_go_still_gets_what_was_sent_to_it() {
    let mut chain = Chain::with("--client-fin-timeout 0.2 --stats=0.05", "").await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    let answer = vec![1; 256 << 10];
    service.write_all(&answer).await.unwrap();
    drop(service);
    chain.relay.prints("relay live=0 total=1").await;
    let mut got = Vec::new();
    within(client.read_to_end(&mut got)).await.unwrap();
    assert!(got == answer);
}

#[tokio::test]
async fn a_client_that_still_sends_is_never_cut_off() {
    let chain = Chain::with("--client-fin-timeout 1", "").await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    service.shutdown().await.unwrap();
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(3) {
        client.write_all(b"x").await.unwrap();
        assert_eq!(within(service.read_u8()).await.unwrap(), b'x');
        tokio::time::sleep(Duration::from_millis(50)).await;
        sent += 1;
    }
    drop(client);
    assert_eq!(within(service.read(&mut [0])).await.unwrap(), 0);
    assert!(sent > 3);
}

#[tokio::test]
async fn a_client_that_has_ended_waits_for_its_answer_as_long_as_serve_allows() {
    let chain = Chain::with("--client-fin-timeout 0.1", "--server-fin-timeout 1").await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    client.shutdown().await.unwrap();
    assert_eq!(within(service.read(&mut [0])).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(400)).await;
    service.write_all(b"a").await.unwrap();
    assert_eq!(within(client.read_u8()).await.unwrap(), b'a');
    // From here on the service is silent.
    let error = within(client.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    reset(service);
}
