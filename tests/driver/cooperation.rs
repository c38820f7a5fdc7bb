//! A task that finds everything ready on channels lets others run now and then, as on
//! a socket.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::ReadBuf as HyperBuf;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, duplex};
use tokio::time::{advance, timeout};

/// Many more than a task may do at once.
const MANY: usize = 10_000;

/// What tokio lets a task do.
const BUDGET: usize = 128;

/// Takes a step as often as it can in one poll of a task, which is not too often; then
/// it is woken and goes on.
async fn at_once(mut step: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    let mut done = 0;
    poll_fn(|cx| {
        while done < MANY && step(cx).is_ready() {
            done += 1;
        }
        Poll::Ready(())
    })
    .await;
    assert!(done <= BUDGET, "{done} at once");
    poll_fn(|cx| step(cx)).await;
}

/// Two connections, and a channel between them with [`MANY`] bytes to read.
async fn filled() -> (Connection, Connection, Channel, Channel) {
    let (near, far) = duplex(1 << 20);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let mut writer = client.open().await.unwrap();
    writer.write_all(&[7; 2 * MANY]).await.unwrap();
    let reader = server.accept().await.unwrap();
    settle().await;
    (client, server, writer, reader)
}

/// Until what was written has come.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn read_one(reader: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<()> {
    let mut byte = [0];
    let mut buf = ReadBuf::new(&mut byte);
    Pin::new(reader).poll_read(cx, &mut buf).map(Result::unwrap)
}

fn write_one(writer: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<()> {
    let written = Pin::new(writer).poll_write(cx, &[7]);
    written.map(|written| assert_eq!(written.unwrap(), 1))
}

#[tokio::test]
async fn a_reader_of_single_bytes_lets_others_run() {
    let (_client, _server, _writer, mut reader) = filled().await;
    at_once(|cx| read_one(&mut reader, cx)).await;
    let (mut half, _writer) = reader.into_split();
    at_once(|cx| read_one(&mut half, cx)).await;
}

#[tokio::test]
async fn a_reader_by_hypers_trait_lets_others_run() {
    let (_client, _server, _writer, mut reader) = filled().await;
    let done = at_once(|cx| {
        let mut byte = [0];
        let mut buf = HyperBuf::new(&mut byte);
        let read = hyper::rt::Read::poll_read(Pin::new(&mut reader), cx, buf.unfilled());
        read.map(Result::unwrap)
    });
    done.await;
}

#[tokio::test]
async fn a_writer_of_single_bytes_lets_others_run() {
    let (_client, _server, mut writer, _reader) = filled().await;
    at_once(|cx| write_one(&mut writer, cx)).await;
    let done = at_once(|cx| {
        let written = hyper::rt::Write::poll_write(Pin::new(&mut writer), cx, &[7]);
        written.map(|written| assert_eq!(written.unwrap(), 1))
    });
    done.await;
    let (_reader, mut half) = writer.into_split();
    at_once(|cx| write_one(&mut half, cx)).await;
}

#[tokio::test]
async fn one_that_opens_and_accepts_channels_lets_others_run() {
    let (near, far) = duplex(1 << 20);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default());
    let mut channels = Vec::new();
    let opened = at_once(|cx| {
        let opened = pin!(client.open()).poll(cx);
        opened.map(|channel| channels.push(channel.unwrap()))
    });
    opened.await;
    while channels.len() < 2 * BUDGET {
        channels.push(client.open().await.unwrap());
    }
    settle().await;
    let accepted = at_once(|cx| {
        let accepted = pin!(server.accept()).poll(cx);
        accepted.map(|channel| channels.push(channel.unwrap()))
    });
    accepted.await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_busy_reader_fires() {
    let (_client, _server, _writer, mut reader) = filled().await;
    let limit = Duration::from_millis(100);
    let clock = tokio::spawn(async move { advance(limit).await });
    let mut reads = 0;
    let read_all = async {
        while reads < MANY {
            poll_fn(|cx| read_one(&mut reader, cx)).await;
            reads += 1;
        }
    };
    timeout(limit, read_all).await.unwrap_err();
    assert!(reads <= 8 * BUDGET, "{reads}");
    clock.await.unwrap();
}

/// A poll that had nothing to do has cost nothing.
#[tokio::test]
async fn waiting_costs_a_task_nothing_of_its_share() {
    let (_client, _server, mut writer, mut reader) = filled().await;
    while let Poll::Ready(()) = poll_fn(|cx| Poll::Ready(read_one(&mut reader, cx))).await {
        tokio::task::yield_now().await;
    }
    let mut waits = 0;
    let done = poll_fn(|cx| {
        while waits < MANY && read_one(&mut reader, cx).is_pending() {
            waits += 1;
        }
        Poll::Ready(write_one(&mut writer, cx))
    });
    assert!(done.await.is_ready());
    assert_eq!(waits, MANY);
}
