//! Each side sees the other's ends as they are.

use std::io::ErrorKind;

use tcpchan::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Chain, exchange, reset};
use crate::guard::within;
use crate::programs::Daemon;

/// Reads until an error, which must be a reset.
async fn is_reset(tcp: &mut TcpStream) -> bool {
    let mut got = Vec::new();
    let read = within(tcp.read_to_end(&mut got)).await;
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_client_that_has_ended_gets_the_whole_answer() {
    let chain = Chain::new().await;
    let (mut client, mut service) = chain.connect().await;
    client.write_all(b"request").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    within(service.read_to_end(&mut request)).await.unwrap();
    service.write_all(b"answer").await.unwrap();
    drop(service);
    within(client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(
        (&request[..], &answer[..]),
        (&b"request"[..], &b"answer"[..])
    );
}

#[tokio::test]
async fn a_service_that_has_ended_gets_the_whole_rest() {
    let chain = Chain::new().await;
    let (mut client, mut service) = chain.connect().await;
    service.write_all(b"hello").await.unwrap();
    service.shutdown().await.unwrap();
    let (mut hello, mut rest) = (Vec::new(), Vec::new());
    within(client.read_to_end(&mut hello)).await.unwrap();
    client.write_all(b"rest").await.unwrap();
    drop(client);
    within(service.read_to_end(&mut rest)).await.unwrap();
    assert_eq!((&hello[..], &rest[..]), (&b"hello"[..], &b"rest"[..]));
}

#[tokio::test]
async fn a_reset_of_the_service_is_one_for_the_client() {
    let chain = Chain::new().await;
    let (mut client, service) = chain.connect_and_talk().await;
    reset(service);
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn a_reset_of_the_client_is_one_for_the_service() {
    let chain = Chain::new().await;
    let (client, mut service) = chain.connect_and_talk().await;
    reset(client);
    assert!(is_reset(&mut service).await);
}

#[tokio::test]
async fn a_client_that_is_gone_after_its_end_does_not_hold_the_service() {
    let chain = Chain::new().await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    client.shutdown().await.unwrap();
    assert_eq!(within(service.read(&mut [0])).await.unwrap(), 0);
    reset(client);
    let piece = vec![0; 64 * 1024];
    let error = within(async {
        loop {
            if let Err(error) = service.write_all(&piece).await {
                return error;
            }
        }
    });
    let kind = error.await.kind();
    assert!(matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    ));
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Acceptor::new(listener);
    let relay = Daemon::relay(server.local_addr().unwrap()).await;
    let client = TcpStream::connect(relay.addr).await.unwrap();
    let (mut from_relay, mut to_relay) = client.into_split();
    let upload = tokio::spawn(async move { to_relay.write_all(&vec![0; 32 << 20]).await });
    let (channel, _) = within(server.accept()).await;
    let answer = vec![1; 8 << 20];
    let sent = answer.clone();
    tokio::spawn(async move {
        let (reader, mut writer) = channel.into_split();
        drop(reader); // it wants no request
        writer.write_all(&sent).await?;
        writer.shutdown().await
    });
    let mut got = Vec::new();
    within(from_relay.read_to_end(&mut got)).await.unwrap();
    assert!(got == answer);
    upload.abort();
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_reset() {
    let chain = Chain::new().await;
    let Chain {
        relay,
        mut serve,
        service,
    } = chain;
    drop(service);
    let error = exchange(relay.addr, b"request").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    serve.says("error=\"Connection refused").await;
}

#[tokio::test]
async fn a_serve_that_is_not_there_is_a_reset() {
    let Chain {
        mut relay, serve, ..
    } = Chain::new().await;
    serve.kill().await;
    let error = exchange(relay.addr, b"request").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    relay.says("is down").await;
}

#[tokio::test]
async fn a_relay_that_is_killed_is_a_reset_on_both_sides() {
    let chain = Chain::new().await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    chain.relay.kill().await;
    assert!(is_reset(&mut client).await);
    assert!(is_reset(&mut service).await);
}

#[tokio::test]
async fn a_serve_that_is_killed_is_a_reset_on_both_sides() {
    let chain = Chain::new().await;
    let (mut client, mut service) = chain.connect_and_talk().await;
    chain.serve.kill().await;
    assert!(is_reset(&mut client).await);
    assert!(is_reset(&mut service).await);
}

#[tokio::test]
async fn large_streams_arrive_whole_both_ways() {
    let chain = Chain::new().await;
    let (client, service) = chain.connect().await;
    let bytes: Vec<u8> = (0..8_u32 << 20).map(|i| (i / 7) as u8).collect();
    let both = [client, service].map(|tcp| {
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let (mut reader, mut writer) = tcp.into_split();
            let send = async {
                writer.write_all(&bytes).await?;
                writer.shutdown().await
            };
            let mut got = Vec::new();
            let (sent, read) = tokio::join!(send, reader.read_to_end(&mut got));
            (sent.unwrap(), read.unwrap(), got).2
        })
    });
    for got in both {
        assert!(within(got).await.unwrap() == bytes);
    }
}
