//! A future of the server's that is dropped, at whatever await, takes nothing
//! from others.
#![cfg(all(feature = "client", feature = "server"))]

use std::time::Duration;

use futures_util::StreamExt;
use tcpchan::server::{Acceptor, SharedIo, SharedPort};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::guard::within;
use crate::polls::wake_up_to;
use crate::started::started;

/// More polls than any of these futures needs.
const POLLS: usize = 8;

const LONG: Duration = Duration::from_secs(60);

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn dial(acceptor: &Acceptor) -> Connection {
    let stream = TcpStream::connect(acceptor.local_addr().unwrap());
    Connection::client(stream.await.unwrap(), Config::default())
}

async fn pair() -> (Acceptor, Connection) {
    let acceptor = started(Acceptor::new(listen().await));
    let client = dial(&acceptor).await;
    (acceptor, client)
}

async fn up(client: &Connection) {
    while client.rtt().is_none() {
        tokio::task::yield_now().await;
    }
}

/// A channel with a byte that says which it is.
async fn open(client: &Connection, mark: usize) -> Channel {
    let mut channel = client.open().await.unwrap();
    channel.write_u8(mark as u8).await.unwrap();
    channel
}

async fn assert_is(mut accepted: impl AsyncRead + Unpin, mark: usize) {
    assert_eq!(within(accepted.read_u8()).await.unwrap(), mark as u8);
}

#[tokio::test]
async fn an_accept_that_is_dropped_takes_no_channel() {
    let (mut acceptor, client) = pair().await;
    for polls in 0..POLLS {
        let _near = open(&client, polls).await;
        let far = match within(wake_up_to(polls, acceptor.accept())).await {
            Some(accepted) => accepted,
            None => within(acceptor.accept()).await,
        };
        assert_is(far.0, polls).await;
    }
}

#[tokio::test]
async fn a_next_of_the_stream_that_is_dropped_takes_no_channel() {
    let (mut acceptor, client) = pair().await;
    for polls in 0..POLLS {
        let _near = open(&client, polls).await;
        let far = match within(wake_up_to(polls, acceptor.next())).await {
            Some(accepted) => accepted,
            None => within(acceptor.next()).await,
        };
        assert_is(far.unwrap().unwrap().into_parts().0, polls).await;
    }
}

#[tokio::test]
async fn an_accept_of_a_shared_port_that_is_dropped_takes_neither_channel_nor_connection() {
    let mut port = SharedPort::new(listen().await);
    let addr = port.local_addr().unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let client = Connection::client(stream, Config::default());
    for polls in 0..POLLS {
        // Marks of channels are less than a letter of HTTP.
        let _near = open(&client, polls).await;
        let mut http = TcpStream::connect(addr).await.unwrap();
        http.write_all(b"A\r\n\r\n").await.unwrap();
        let mut marks = Vec::new();
        let early = within(wake_up_to(polls, port.accept())).await;
        let mut next = early.map(|(io, _)| io);
        while marks.len() < 2 {
            let mut io: SharedIo = match next.take() {
                Some(io) => io,
                None => within(port.accept()).await.0,
            };
            marks.push(within(io.read_u8()).await.unwrap());
        }
        marks.sort_unstable();
        assert_eq!(marks, [polls as u8, b'A']);
    }
}

#[tokio::test]
async fn an_accept_of_a_connection_that_is_dropped_takes_no_channel() {
    let listener = listen().await;
    let stream = TcpStream::connect(listener.local_addr().unwrap());
    let client = Connection::client(stream.await.unwrap(), Config::default());
    let server = Connection::server(listener.accept().await.unwrap().0, Config::default());
    for polls in 0..POLLS {
        let _near = open(&client, polls).await;
        let far = match within(wake_up_to(polls, server.accept())).await {
            Some(accepted) => accepted,
            None => within(server.accept()).await,
        };
        assert_is(far.unwrap(), polls).await;
    }
}

/// With one channel that waits and one that is served, until all is over.
#[tokio::test]
async fn a_wait_for_a_drain_that_is_dropped_ends_no_other_wait_and_no_channel() {
    let mut finished = false;
    for polls in 0.. {
        let (mut acceptor, client) = pair().await;
        let near = [open(&client, 1).await, open(&client, 2).await];
        let (first, _) = within(acceptor.accept()).await;
        let handle = acceptor.drain_handle();
        let other = tokio::spawn({
            let handle = handle.clone();
            async move {
                handle.drained().await;
                handle.closed().await;
            }
        });
        handle.drain(LONG);
        let serving = tokio::spawn(async move {
            let (second, _) = acceptor.accept().await;
            assert_is(first, 1).await;
            assert_is(second, 2).await;
            acceptor
        });
        let dropped = within(wake_up_to(polls, handle.drained())).await;
        within(handle.drained()).await;
        let _acceptor = within(serving).await.unwrap();
        drop(near);
        let closed = within(wake_up_to(polls, handle.closed())).await;
        within(handle.closed()).await;
        within(other).await.unwrap();
        finished |= polls > 0 && dropped.is_some() && closed.is_some();
        if finished {
            return;
        }
    }
}

#[tokio::test]
async fn a_refuse_that_is_dropped_refuses_no_more() {
    for polls in 0..POLLS {
        let listener = listen().await;
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let client = Connection::client(stream.await.unwrap(), Config::default());
        let server = Connection::server(listener.accept().await.unwrap().0, Config::default());
        let served = tokio::spawn(async move {
            // Each that is refused is followed by another.
            loop {
                let mut near = open(&client, polls).await;
                if near.read_u8().await.is_ok() {
                    return near.id();
                }
            }
        });
        assert!(within(wake_up_to(polls, server.refuse())).await.is_none());
        let mut far = within(server.accept()).await.unwrap();
        far.write_u8(1).await.unwrap();
        assert_eq!(within(served).await.unwrap(), far.id());
    }
}

#[tokio::test]
async fn a_wait_for_the_end_of_a_connection_that_is_dropped_ends_no_other() {
    for polls in 0..POLLS {
        let (mut acceptor, client) = pair().await;
        let near = open(&client, polls).await;
        let far = within(acceptor.accept()).await;
        let other = tokio::spawn({
            let client = client.clone();
            async move { client.closed().await }
        });
        client.drain();
        drop((near, far));
        within(wake_up_to(polls, client.closed())).await;
        within(client.closed()).await;
        within(other).await.unwrap();
    }
}

#[tokio::test]
async fn an_acceptor_that_is_dropped_refuses_what_waits_and_closes_the_rest() {
    for polls in 0..POLLS {
        let (mut acceptor, client) = pair().await;
        let mut near = open(&client, polls).await;
        within(up(&client)).await;
        let handle = acceptor.drain_handle();
        drop(within(wake_up_to(polls, acceptor.accept())).await);
        drop(acceptor);
        let error = within(near.read_u8()).await.unwrap_err();
        assert!(tcpchan::client::is_retryable(&error), "{error}");
        drop(near);
        within(handle.closed()).await;
    }
}
