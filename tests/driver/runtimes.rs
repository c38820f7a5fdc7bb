//! Connections and the runtimes that they are made in: none, one that lacks something,
//! one that is gone, one of another kind.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::proto::{ChannelError, ConnectionError};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::started::started;

fn whole() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn threads() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn timeless() -> Runtime {
    Builder::new_current_thread().enable_io().build().unwrap()
}

fn connect() -> (Connection, Connection) {
    let (near, far) = duplex(1 << 16);
    (
        Connection::client(near, Config::default()),
        Connection::server(far, Config::default()),
    )
}

async fn pair() -> (Connection, Connection, Channel, Channel) {
    let (client, server) = connect();
    let mut near = client.open().await.unwrap();
    near.write_all(b"x").await.unwrap();
    let mut far = server.accept().await.unwrap();
    far.read_u8().await.unwrap();
    (client, server, near, far)
}

/// What it says when it panics.
fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let panicked = catch_unwind(AssertUnwindSafe(run)).err().unwrap();
    match panicked.downcast::<String>() {
        Ok(said) => *said,
        Err(other) => (*other.downcast::<&str>().unwrap()).to_owned(),
    }
}

fn is_abandoned<T>(result: std::io::Result<T>) -> bool {
    let error = result.err().unwrap();
    let inner = error.get_ref().unwrap().downcast_ref();
    matches!(
        inner,
        Some(ChannelError::Connection(ConnectionError::Abandoned))
    )
}

/// An error, or what is not: a hang.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap()
}

#[test]
fn a_connection_outside_of_a_runtime_is_a_panic_that_names_it() {
    let said = panic_of(connect);
    assert!(said.contains("Tokio 1.x runtime"), "{said}");
    whole().block_on(pair()); // and nothing is broken by it
}

#[test]
fn a_connection_in_a_runtime_without_timers_is_a_panic_that_names_them() {
    let said = panic_of(|| timeless().block_on(async { connect() }));
    assert!(said.contains("enable_time"), "{said}");
}

#[test]
fn an_acceptor_in_a_runtime_without_timers_is_a_panic_that_names_them() {
    let said = panic_of(|| {
        timeless().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Acceptor::new(listener).accept().await;
        })
    });
    assert!(said.contains("enable_time"), "{said}");
}

async fn serve() -> (SocketAddr, Acceptor) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, started(Acceptor::new(listener)))
}

#[test]
fn a_connector_that_was_used_without_timers_says_so_and_works_where_there_are_some() {
    let server = threads();
    let (addr, _acceptor) = server.block_on(serve());
    let connector = Multiplex::new(HttpConnector::new());
    let uri: http::Uri = format!("http://{addr}/").parse().unwrap();
    let said = panic_of(|| timeless().block_on(connector.clone().oneshot(uri.clone())));
    assert!(said.contains("enable_time"), "{said}");
    whole().block_on(soon(connector.oneshot(uri))).unwrap();
}

#[test]
fn a_connector_that_was_used_outside_of_a_runtime_says_so_and_works_in_one() {
    let server = threads();
    let (addr, _acceptor) = server.block_on(serve());
    let connector = Multiplex::new(HttpConnector::new());
    let uri: http::Uri = format!("http://{addr}/").parse().unwrap();
    let said = panic_of(|| {
        let mut opening = tokio_test::task::spawn(connector.clone().oneshot(uri.clone()));
        opening.poll().is_pending()
    });
    assert!(said.contains("Tokio 1.x runtime"), "{said}");
    whole().block_on(soon(connector.oneshot(uri))).unwrap();
}

#[test]
fn a_connection_made_after_its_runtime_was_shut_down_is_abandoned() {
    let runtime = whole();
    let handle = runtime.handle().clone();
    drop(runtime);
    let entered = handle.enter();
    let (client, server) = connect();
    drop(entered);
    assert_eq!(client.error(), Some(ConnectionError::Abandoned));
    whole().block_on(async {
        soon(client.open()).await.unwrap_err();
        assert!(soon(server.accept()).await.is_none());
        soon(client.closed()).await;
    });
}

#[test]
fn what_waits_on_a_connection_whose_runtime_shuts_down_gets_an_error() {
    for runtime in [whole(), threads()] {
        let (client, server, near, far) = runtime.block_on(pair());
        let other = threads();
        let (mut reader, mut writer) = near.into_split();
        let reads = other.spawn(async move { reader.read_u8().await });
        let writes = other.spawn(async move {
            loop {
                writer.write_all(&[0; 4096]).await?;
            }
            #[allow(unreachable_code)]
            Ok(())
        });
        let accepted = client.clone();
        let accepts = other.spawn(async move { accepted.accept().await.is_none() });
        std::thread::sleep(Duration::from_millis(20)); // until they wait
        drop(runtime);
        whole().block_on(async {
            assert!(is_abandoned(soon(reads).await.unwrap()));
            assert!(is_abandoned(soon(writes).await.unwrap()));
            assert!(soon(accepts).await.unwrap());
            soon(client.open()).await.unwrap_err();
            soon(server.closed()).await;
            assert_eq!(client.error(), Some(ConnectionError::Abandoned));
        });
        drop(far);
    }
}

/// hyper's reader waits for a writer before it tells of a failure, by a timer.
#[test]
fn hypers_reader_needs_no_timers_of_its_own_runtime() {
    async fn read(mut channel: Channel) -> std::io::Result<()> {
        let mut byte = [0];
        let mut buf = hyper::rt::ReadBuf::new(&mut byte);
        poll_fn(|cx| hyper::rt::Read::poll_read(Pin::new(&mut channel), cx, buf.unfilled())).await
    }
    let runtime = threads();
    let (client, server) = runtime.block_on(async { connect() });
    let opened = runtime.block_on(async {
        let opened = [client.open().await.unwrap(), client.open().await.unwrap()];
        server.close("gone");
        client.closed().await;
        opened
    });
    let [first, second] = opened;
    timeless().block_on(read(first)).unwrap_err();
    drop(runtime);
    timeless().block_on(read(second)).unwrap_err();
}

#[test]
fn a_connection_in_a_local_set_works() {
    let local = LocalSet::new();
    let runtime = whole();
    let (mut near, mut far) = local.block_on(&runtime, async {
        let (_client, _server, near, far) = pair().await;
        tokio::task::spawn_local(async move {
            let mut channels = (near, far);
            channels.0.write_all(b"y").await.unwrap();
            channels.1.read_u8().await.unwrap();
            channels
        })
        .await
        .unwrap()
    });
    runtime.block_on(async {
        far.write_all(b"z").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'z');
    });
}

#[test]
fn a_runtime_of_one_thread_serves_both_ends() {
    let runtime = whole();
    let (_client, _server, mut near, mut far) = runtime.block_on(pair());
    // Between two calls the runtime does nothing.
    runtime.block_on(near.write_all(b"y")).unwrap();
    assert_eq!(runtime.block_on(far.read_u8()).unwrap(), b'y');
}

#[test]
fn a_runtime_inside_another_has_connections_of_its_own() {
    threads().block_on(async {
        let (_client, _server, mut near, mut far) = pair().await;
        let inner = std::thread::spawn(|| {
            let runtime = whole();
            let pair = runtime.block_on(pair());
            (runtime, pair)
        });
        let (runtime, (_c, _s, mut inner_near, mut inner_far)) = inner.join().unwrap();
        inner_near.write_all(b"i").await.unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let read = runtime.block_on(inner_far.read_u8());
            drop(runtime);
            read
        });
        assert_eq!(read.await.unwrap().unwrap(), b'i');
        near.write_all(b"o").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'o');
        assert!(is_abandoned(soon(inner_near.read_u8()).await));
    });
}
