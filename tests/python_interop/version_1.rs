//! Against `tests/python/v1`, a peer of version 1 that was written from SPEC.md and the
//! vectors alone.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tcpchan::proto::{ChannelError, ConnectionError};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection, Protocol};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::process::soon;
use super::{accept, config, connect, echo, listen, sample, serve_echo};

/// Killed when it is dropped.
fn start(arguments: &str) -> Child {
    Command::new("python3")
        .args(["-B", "-m", "v1"])
        .args(arguments.split_whitespace())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// An echo server in Python.
async fn serve(arguments: &str) -> (Child, Connection) {
    let mut python = start(&format!("serve 127.0.0.1:0 {arguments}"));
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let line = soon(lines.next_line()).await.unwrap().unwrap();
    let addr: SocketAddr = line.strip_prefix("listening on ").unwrap().parse().unwrap();
    (python, connect(addr, config(Protocol::V1)).await)
}

/// A client in Python that checks the echoes of this acceptor and drains.
fn check(acceptor: &Acceptor, arguments: &str) -> Child {
    let addr = acceptor.local_addr().unwrap();
    start(&format!("check {addr} {arguments}"))
}

async fn acceptor(config: Config) -> Acceptor {
    Acceptor::new(listen().await.0).with_config(config)
}

async fn echo_until_the_end(channel: Channel) -> io::Result<()> {
    let (mut reader, mut writer) = channel.into_split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}

async fn serve_channels(mut acceptor: Acceptor) {
    loop {
        tokio::spawn(echo_until_the_end(acceptor.accept().await.0));
    }
}

/// All that it checked was right, and the end was orderly.
async fn passes(mut python: Child) {
    assert!(soon(python.wait()).await.unwrap().success());
}

fn channel_error(error: &io::Error) -> &ChannelError {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

async fn read_error(channel: &mut Channel) -> ChannelError {
    let error = soon(channel.read_to_end(&mut Vec::new())).await;
    channel_error(&error.unwrap_err()).clone()
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_client_has_more_channels_than_the_peer_allows_at_a_time() {
    let (_python, connection) = serve("").await;
    let mut echoes = JoinSet::new();
    for _ in 0..600 {
        let connection = connection.clone();
        echoes.spawn(async move {
            let channel = soon(connection.open()).await.unwrap();
            echo(channel, &sample(50_000), &[7000]).await;
        });
    }
    assert_eq!(echoes.join_all().await.len(), 600);
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn megabytes_come_back_with_any_credit() {
    let data = sample(6 << 20);
    for credit in [
        "--budget 0",
        "--budget 300000",
        "--window 1000000 --budget 8000000",
    ] {
        let (_python, connection) = serve(credit).await;
        let channel = connection.open().await.unwrap();
        echo(channel, &data, &[1, 16_385, 1 << 20]).await;
    }
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_channel_that_a_client_does_not_read_stops_no_other() {
    let (_python, connection) = serve("").await;
    let data = sample(12 << 20);
    let channel = connection.open().await.unwrap();
    let (mut reader, mut writer) = channel.into_split();
    let (stalled, written) = tokio::sync::oneshot::channel();
    let sent = data.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent[..1 << 20]).await.unwrap();
        stalled.send(()).unwrap();
        writer.write_all(&sent[1 << 20..]).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    soon(written).await.unwrap();
    for _ in 0..5 {
        echo(
            connection.open().await.unwrap(),
            &sample(1 << 20),
            &[10_000],
        )
        .await;
    }
    assert!(!writing.is_finished());
    let mut got = Vec::new();
    soon(reader.read_to_end(&mut got)).await.unwrap();
    assert!(got == data);
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_reset_or_a_stop_ends_its_channel_alone() {
    let (_python, connection) = serve("").await;
    let other = connection.open().await.unwrap();
    for _ in 0..300 {
        let mut channel = connection.open().await.unwrap();
        channel.write_all(b"hello").await.unwrap();
        channel.reset(7);
        assert_eq!(read_error(&mut channel).await, ChannelError::Reset(0));

        let mut channel = connection.open().await.unwrap();
        channel.write_all(b"hello").await.unwrap();
        channel.stop(9);
        let error = soon(async {
            loop {
                if let Err(error) = channel.write_all(&[0; 1000]).await {
                    break error;
                }
            }
        });
        assert_eq!(*channel_error(&error.await), ChannelError::Stopped(0));
    }
    echo(other, b"goes on", &[3]).await;
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_client_drains_and_what_is_under_way_ends_before() {
    let (_python, connection) = serve("").await;
    let channel = connection.open().await.unwrap();
    connection.drain();
    echo(channel, &sample(5 << 20), &[100_000]).await;
    soon(connection.closed()).await;
    assert_eq!(connection.error(), Some(ConnectionError::Closed));
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_python_client_has_its_echoes_resets_and_drain_with_any_credit() {
    for config in [
        Config::default(),
        Config::default().receive_budget(0),
        Config::default()
            .max_channels(256)
            .unwrap()
            .receive_budget(300_000),
    ] {
        let acceptor = acceptor(config).await;
        let python = check(&acceptor, "--channels 400 --resets 200 --bytes 50000");
        tokio::spawn(serve_channels(acceptor));
        passes(python).await;
    }
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_python_client_reads_megabytes_slowly() {
    let acceptor = acceptor(Config::default()).await;
    let python = check(&acceptor, "--channels 4 --bytes 8000000 --delay 0.01");
    tokio::spawn(serve_channels(acceptor));
    passes(python).await;
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn an_acceptor_drains_and_the_echoes_of_a_python_client_end_before() {
    let mut acceptor = acceptor(Config::default()).await;
    let drain = acceptor.drain_handle();
    let python = check(&acceptor, "--channels 20 --bytes 2000000 --delay 0.005");
    for _ in 0..20 {
        let (channel, _) = soon(acceptor.accept()).await;
        tokio::spawn(echo_until_the_end(channel));
    }
    drain.drain(Duration::from_secs(60));
    passes(python).await;
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_python_client_refuses_the_channels_of_a_server() {
    let (listener, addr) = listen().await;
    let python = start(&format!("check {addr} --channels 1 --bytes 1000000"));
    let connection = accept(&listener, config(Protocol::V1)).await;
    let from_python = soon(connection.accept()).await.unwrap();
    for _ in 0..10 {
        let mut channel = soon(connection.open()).await.unwrap();
        assert_eq!(read_error(&mut channel).await, ChannelError::Refused(None));
    }
    tokio::spawn(echo_until_the_end(from_python));
    passes(python).await;
}

#[tokio::test]
#[ignore = "needs Python: run by .ci/run"]
async fn a_server_opens_channels_to_a_python_client() {
    let (listener, addr) = listen().await;
    let _python = start(&format!("connect {addr}"));
    let connection = accept(&listener, config(Protocol::V1)).await;
    tokio::spawn(serve_echo(connection.clone()));
    let mut echoes = JoinSet::new();
    for _ in 0..100 {
        let channel = soon(connection.open()).await.unwrap();
        echoes.spawn(async { echo(channel, &sample(100_000), &[7000]).await });
    }
    assert_eq!(echoes.join_all().await.len(), 100);
}
