//! Servers restart one after another under load, and no client notices.
#![cfg(all(feature = "axum", feature = "retry"))]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, RetryPolicy};
use tcpchan::proto::{self, Role};
use tcpchan::server::{Acceptor, DrainHandle};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::guard::within;
use crate::proxy::Proxy;
use crate::started::started;

const AT_ONCE: usize = 100;
const RESTARTS: usize = 3;
/// Requests that each server answers before it is replaced.
const EACH: usize = 1000;

struct Server {
    addr: SocketAddr,
    served: watch::Receiver<usize>,
    stop: Arc<Notify>,
    drain: DrainHandle,
    task: JoinHandle<()>,
}

/// `first`: peers are told before the server stops.
async fn serve(first: bool) -> Server {
    let (count, served) = watch::channel(0);
    let app = Router::new().route(
        "/",
        post(move || {
            count.send_modify(|n| *n += 1);
            async { "done" }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr().unwrap();
    let (stop, drain) = (Arc::<Notify>::default(), acceptor.drain_handle());
    let (stopped, handle) = (stop.clone(), drain.clone());
    let signal = async move {
        stopped.notified().await;
        if first {
            handle.drain(Duration::from_secs(20));
            handle.drained().await;
        }
    };
    let task = tokio::spawn(async move {
        let server = axum::serve(acceptor, app).with_graceful_shutdown(signal);
        server.await.unwrap();
    });
    Server {
        addr,
        served,
        stop,
        drain,
        task,
    }
}

/// 100 requests in flight all the time, while each server is replaced by the
/// next. How many were answered, and how many not.
async fn restarts(first: bool, policy: RetryPolicy) -> (usize, usize) {
    let mut server = serve(first).await;
    let proxy = Proxy::start(server.addr, None).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(Multiplex::new(HttpConnector::new()));
    let client = ServiceBuilder::new().retry(policy).service(client);
    let (done, failed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (mut client, addr) = (client.clone(), proxy.addr);
        let (done, failed) = (done.clone(), failed.clone());
        workers.spawn(async move {
            loop {
                let request = Request::post(format!("http://{addr}/"));
                let request = request.body(Full::default()).unwrap();
                let answer = async {
                    let response = client.ready().await?.call(request).await?;
                    let body = response.into_body().collect().await;
                    Ok::<_, hyper_util::client::legacy::Error>(body.map(|body| body.to_bytes()))
                };
                match answer.await {
                    Ok(Ok(body)) if body == "done" => done.fetch_add(1, SeqCst),
                    other => {
                        eprintln!("{other:?}");
                        failed.fetch_add(1, SeqCst)
                    }
                };
            }
        });
    }
    for _ in 0..RESTARTS {
        within(server.served.wait_for(|n| *n >= EACH))
            .await
            .unwrap();
        let next = serve(first).await;
        proxy.switch(next.addr);
        let old = std::mem::replace(&mut server, next);
        old.stop.notify_one();
        within(old.task).await.unwrap();
        within(old.drain.closed()).await;
    }
    within(server.served.wait_for(|n| *n >= EACH))
        .await
        .unwrap();
    let counted = (done.load(SeqCst), failed.load(SeqCst));
    workers.shutdown().await; // they would spin in a runtime that shuts down
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_drain_first_restart_without_an_error() {
    let (done, failed) = restarts(true, RetryPolicy::new().retries(0)).await;
    assert_eq!(failed, 0);
    assert!(done >= EACH * RESTARTS);
}

/// Axum drops its listener at once, so channels on their way are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_just_stop_restart_without_an_error_if_what_is_refused_is_retried() {
    let (done, failed) = restarts(false, RetryPolicy::new()).await;
    assert_eq!(failed, 0);
    assert!(done >= EACH * RESTARTS);
}

async fn pair() -> (Acceptor, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = started(Acceptor::new(listener));
    let stream = TcpStream::connect(acceptor.local_addr().unwrap());
    let client = Connection::client(stream.await.unwrap(), Config::default());
    (acceptor, client)
}

#[tokio::test]
async fn a_drain_lets_what_is_in_flight_finish_and_then_closes() {
    let (mut acceptor, client) = pair().await;
    let mut near = client.open().await.unwrap();
    let (mut far, _) = within(acceptor.accept()).await;
    let handle = acceptor.drain_handle();
    handle.drain(Duration::from_secs(60));
    within(handle.drained()).await;
    assert!(client.open().await.is_err());
    near.write_all(b"late").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = Vec::new();
    within(far.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got, b"late");
    far.shutdown().await.unwrap();
    within(near.read_to_end(&mut got)).await.unwrap();
    drop((near, far));
    within(handle.closed()).await;
}

#[tokio::test]
async fn what_is_left_at_the_deadline_of_a_drain_is_closed() {
    let (mut acceptor, client) = pair().await;
    let mut near = client.open().await.unwrap();
    let _far = within(acceptor.accept()).await;
    let handle = acceptor.drain_handle();
    handle.drain(Duration::from_millis(1));
    within(handle.closed()).await;
    let error = within(near.read_u8()).await.unwrap_err();
    assert!(error.to_string().contains("deadline"), "{error}");
}

#[tokio::test]
async fn a_drain_takes_no_more_connections() {
    let (acceptor, client) = pair().await;
    let addr = acceptor.local_addr().unwrap();
    let handle = acceptor.drain_handle();
    handle.drain(Duration::from_secs(60));
    within(handle.closed()).await;
    within(async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(client);
}

/// A connection in memory that is up.
async fn joined() -> (Acceptor, Connection) {
    let (acceptor, near) = in_memory(1 << 20);
    let client = Connection::client(near, Config::default());
    while client.rtt().is_none() {
        tokio::time::sleep(SECOND / 1000).await;
    }
    (acceptor, client)
}

/// An acceptor of one connection in memory, and the far end of that.
fn in_memory(buffer: usize) -> (Acceptor, DuplexStream) {
    let (near, far) = tokio::io::duplex(buffer);
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let incoming = futures_util::stream::iter([Ok((far, addr))]);
    let incoming = incoming.chain(futures_util::stream::pending());
    (started(Acceptor::from_incoming(incoming)), near)
}

/// Whether a future is still pending after a time.
async fn waits<F: Future>(time: Duration, future: F) -> bool {
    tokio::time::timeout(time, future).await.is_err()
}

const SECOND: Duration = Duration::from_secs(1);

/// So that a process may exit then.
#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_only_when_its_last_bytes_have_left() {
    let (mut acceptor, mut near) = in_memory(1024);
    let now = || tokio::time::Instant::now().into_std();
    let mut client = proto::Connection::new(Role::Client, proto::Config::default(), now());
    let channel = client.open().unwrap();
    client.write(channel, b"!").unwrap();
    let mut bytes = Vec::new();
    client.poll_transmit(&mut bytes, usize::MAX, now());
    near.write_all(&bytes).await.unwrap();
    let (mut far, _) = acceptor.accept().await;
    far.write_all(&[7; 50_000]).await.unwrap();
    let handle = acceptor.drain_handle();
    handle.drain(SECOND);
    assert!(waits(10 * SECOND, handle.closed()).await);
    bytes.clear();
    near.read_to_end(&mut bytes).await.unwrap();
    client.handle_input(&bytes, now());
    let error = client.error().unwrap().to_string();
    assert!(error.contains("deadline"), "{error}");
    drop(near);
    assert!(!waits(SECOND, handle.closed()).await);
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_over_when_every_channel_that_waited_was_read() {
    let (mut acceptor, client) = joined().await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut channel = client.open().await.unwrap();
        channel.write_u8(1).await.unwrap();
        held.push(channel);
    }
    let handle = acceptor.drain_handle();
    handle.drain(60 * SECOND);
    assert!(
        waits(30 * SECOND, handle.drained()).await,
        "none was accepted"
    );
    let mut accepted = Vec::new();
    for _ in 0..200 {
        assert!(waits(SECOND / 1000, handle.drained()).await);
        let (mut channel, _) = acceptor.accept().await;
        channel.read_u8().await.unwrap();
        accepted.push(channel);
    }
    assert!(!waits(SECOND / 1000, handle.drained()).await);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_a_second_for_the_first_byte_of_an_accepted_channel() {
    let (mut acceptor, client) = joined().await;
    let _silent = client.open().await.unwrap();
    let handle = acceptor.drain_handle();
    handle.drain(60 * SECOND);
    let mut drained = pin!(handle.drained());
    assert!(waits(10 * SECOND, &mut drained).await);
    let _accepted = acceptor.accept().await;
    assert!(waits(SECOND * 9 / 10, &mut drained).await);
    assert!(!waits(SECOND / 5, &mut drained).await);
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_channels_that_nobody_accepts_is_over_at_its_deadline() {
    let (acceptor, client) = joined().await;
    let mut channel = client.open().await.unwrap();
    channel.write_u8(1).await.unwrap();
    let handle = acceptor.drain_handle();
    handle.drain(5 * SECOND);
    assert!(waits(SECOND * 49 / 10, handle.drained()).await);
    assert!(!waits(SECOND / 5, handle.drained()).await);
}
