//! One connector on several runtimes, that come and go, are blocked, or are not run.
#![cfg(feature = "client")]

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tcpchan::client::{Discovery, Multiplex, PoolConfig};
use tcpchan::server::Acceptor;
use tcpchan::{Channel, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::{Service, service_fn};

/// The times of a task that is not run, as of a peer that is silent.
const LATE: Duration = Duration::from_millis(300);
const DEAD: Duration = Duration::from_secs(2);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn echo(channel: Channel) {
    let (mut reader, mut writer) = channel.into_split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = writer.shutdown().await;
}

/// An echo server on a thread of its own, for as long as the process runs.
fn server() -> Uri {
    let (tell, told) = mpsc::channel::<SocketAddr>();
    thread::spawn(move || {
        runtime().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let mut acceptor = Acceptor::new(listener);
            loop {
                let (channel, _) = acceptor.accept().await;
                tokio::spawn(echo(channel));
            }
        })
    });
    format!("http://{}/", told.recv().unwrap()).parse().unwrap()
}

type Connector = Multiplex<HttpConnector>;

fn connector(pool: PoolConfig) -> Connector {
    let config = Config::default().ping_after(LATE).unwrap();
    let config = config.answer_within(LATE, DEAD).unwrap();
    let pool = pool.open_timeout(Duration::from_secs(20)).unwrap();
    Multiplex::new(HttpConnector::new())
        .with_config(config)
        .with_pool(pool)
}

/// Sends a byte and reads it.
async fn ping(channel: &mut Channel) -> std::io::Result<()> {
    channel.write_all(b"!").await?;
    channel.read_u8().await.map(drop)
}

async fn call(connector: &Connector, uri: &Uri) -> Result<(), String> {
    let mut channel = connector.clone().call(uri.clone()).await;
    let channel = channel.as_mut().map_err(|error| error.to_string())?;
    ping(channel).await.map_err(|error| error.to_string())
}

#[test]
fn sixty_runtimes_one_after_another_are_all_served() {
    let uri = server();
    for connections in [1..=1, 1..=16, 4..=4] {
        let pool = PoolConfig::default().connections(connections).unwrap();
        let connector = connector(pool);
        for _ in 0..60 {
            runtime().block_on(call(&connector, &uri)).unwrap();
        }
    }
}

#[test]
fn a_dial_that_was_lost_with_its_runtime_is_not_waited_for() {
    let uri = server();
    let connector = connector(PoolConfig::default().connections(1..=1).unwrap());
    for _ in 0..10 {
        let (mut connector, uri) = (connector.clone(), uri.clone());
        // It is begun, and not run on.
        runtime().block_on(async move {
            let _ = timeout(Duration::ZERO, connector.call(uri)).await;
        });
    }
    runtime().block_on(call(&connector, &uri)).unwrap();
}

#[test]
fn who_waits_for_a_dial_of_a_runtime_that_ends_dials_on_its_own() {
    let uri = server();
    let dials = Arc::new(AtomicUsize::new(0));
    let hangs_once = service_fn({
        let dials = dials.clone();
        move |uri: Uri| {
            let first = dials.fetch_add(1, SeqCst) == 0;
            async move {
                match first {
                    true => std::future::pending().await,
                    false => HttpConnector::new().call(uri).await,
                }
            }
        }
    });
    let connector = Multiplex::new(hangs_once);
    let first = runtime();
    let begun = connector.clone().call(uri.clone());
    let begun = first.block_on(async { timeout(Duration::from_millis(10), begun).await });
    assert!(begun.is_err());
    let waits = thread::spawn({
        let (mut connector, uri) = (connector.clone(), uri.clone());
        move || runtime().block_on(async { connector.call(uri).await.map(drop) })
    });
    thread::sleep(Duration::from_millis(50));
    drop(first);
    waits.join().unwrap().unwrap();
    assert_eq!(dials.load(SeqCst), 2);
}

/// The name is asked for on a runtime that is kept, and no longer run.
#[test]
fn who_waits_for_a_question_to_the_resolver_that_nobody_runs_asks_again() {
    let uri = server();
    let addr: SocketAddr = uri.authority().unwrap().as_str().parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = service_fn({
        let asked = asked.clone();
        move |_: Name| {
            asked.fetch_add(1, SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, std::io::Error>([addr].into_iter())
            }
        }
    });
    let connector = connector(PoolConfig::default());
    let connector = connector.with_discovery(Discovery::default().resolver(resolver));
    let uri: Uri = format!("http://app:{}/", addr.port()).parse().unwrap();
    let not_run = runtime();
    let begun = connector.clone().call(uri.clone());
    let begun = not_run.block_on(async { timeout(Duration::from_millis(10), begun).await });
    assert!(begun.is_err());
    let start = Instant::now();
    runtime().block_on(call(&connector, &uri)).unwrap();
    assert!(start.elapsed() < 10 * LATE, "{:?}", start.elapsed());
    assert_eq!(asked.load(SeqCst), 2);
}

#[test]
fn a_connection_that_nobody_runs_gets_no_channels_after_the_suspect_time() {
    let uri = server();
    let connector = connector(PoolConfig::default());
    let rests = runtime();
    rests.block_on(call(&connector, &uri)).unwrap();
    let runs = runtime();
    runs.block_on(async {
        let first = timeout(LATE * 3, call(&connector, &uri)).await;
        assert!(first.is_err(), "nobody read the answer");
        timeout(LATE * 2, call(&connector, &uri))
            .await
            .unwrap()
            .unwrap();
    });
}

#[test]
fn what_is_on_a_connection_that_nobody_runs_fails_after_the_dead_time() {
    let uri = server();
    let connector = connector(PoolConfig::default());
    let rests = runtime();
    rests.block_on(call(&connector, &uri)).unwrap();
    let start = Instant::now();
    runtime().block_on(call(&connector, &uri)).unwrap_err();
    assert!(start.elapsed() < 3 * DEAD, "{:?}", start.elapsed());
}

/// The first of many readers blocks the connection's runtime. The task was to wake some of the
/// others next.
#[test]
fn all_readers_of_a_connection_that_is_no_longer_run_are_woken() {
    let uri = server();
    let connector = connector(PoolConfig::default().connections(1..=1).unwrap());
    let (home, away) = (runtime(), runtime());
    let mut channels = home.block_on(async {
        let mut channels = Vec::new();
        for _ in 0..64 {
            let mut channel = connector.clone().call(uri.clone()).await.unwrap();
            ping(&mut channel).await.unwrap();
            channels.push(channel);
        }
        channels
    });
    away.block_on(async {
        for channel in &mut channels {
            channel.write_u8(b'!').await.unwrap();
        }
        let mut first = channels.remove(0);
        let mut readers = JoinSet::new();
        for mut channel in channels {
            readers.spawn(async move { channel.read_u8().await });
        }
        tokio::task::yield_now().await; // they read
        thread::spawn(move || {
            home.block_on(async move {
                tokio::spawn(async move {
                    first.read_u8().await.unwrap();
                    loop {
                        thread::park();
                    }
                });
                pending::<()>().await;
            });
        });
        let read = timeout(DEAD * 4, readers.join_all());
        let (_, read) = tokio::join!(call(&connector, &uri), read);
        read.expect("no hang");
    });
}

/// Each of some runtimes is blocked for a while, in turns, and one goes away.
#[test]
fn of_four_runtimes_at_a_time_those_that_run_go_on() {
    let uri = server();
    let connector = connector(PoolConfig::default());
    let mut threads = Vec::new();
    for nth in 0..4 {
        let (connector, uri) = (connector.clone(), uri.clone());
        threads.push(thread::spawn(move || {
            let mut served = 0;
            for round in 0..6 {
                let runtime = runtime();
                runtime.block_on(async {
                    let until = Instant::now() + Duration::from_millis(200);
                    while Instant::now() < until {
                        let called = timeout(DEAD * 4, call(&connector, &uri)).await;
                        served += usize::from(called.expect("no hang").is_ok());
                    }
                    if (nth + round) % 4 == 0 {
                        thread::sleep(LATE * 2); // it is blocked
                    }
                });
            }
            served
        }));
    }
    for thread in threads {
        assert!(thread.join().unwrap() > 50);
    }
}

#[test]
fn connections_of_a_given_runtime_outlive_the_callers() {
    let uri = server();
    let mut home = Builder::new_multi_thread();
    let home = home.worker_threads(1).enable_all().build().unwrap();
    let connector = connector(PoolConfig::default()).with_runtime(home.handle().clone());
    for _ in 0..10 {
        runtime().block_on(call(&connector, &uri)).unwrap();
    }
    let stats = &connector.stats()[0];
    assert_eq!((stats.dials, stats.connections.len()), (1, 1));
    drop(home);
    let said = runtime().block_on(call(&connector, &uri)).unwrap_err();
    assert!(said.contains("the dial failed"), "{said}");
}
