//! The client's pool, the driver and the core over a virtual network, on a
//! paused clock, from seeds: calls, cancels, delays, splits, stalls, cuts,
//! drains and dials that fail. Whatever happens, a call gets the bytes that it
//! sent, all of them or an error; once the network is good again every call
//! ends, the next one succeeds, and when all is dropped no task is left.
//!
//! `TCPCHAN_SEEDS=5000 cargo test --test simulation_pool` tries more.
#![cfg(feature = "client")]

#[path = "support/network.rs"]
mod network;
#[path = "support/seeds.rs"]
mod seeds;

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use http::Uri;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use network::{Conditions, Network};

const SEEDS: u64 = 40;
const STEPS: usize = 60;

const MOST_CONNECTIONS: usize = 3;
const INITIAL_WINDOW: u64 = 64 << 10;
const BUDGET: u64 = 1 << 20;

/// Virtual time within which everything that can end has ended.
const BOUND: Duration = Duration::from_secs(120);

/// How a call may end.
const KINDS: [&str; 3] = ["whole", "an error", "no channel"];

/// How each call ended, and when.
type Trace = Vec<(Duration, &'static str)>;

fn pool() -> PoolConfig {
    let second = Duration::from_secs(1);
    PoolConfig::default()
        .connections(1..=MOST_CONNECTIONS)
        .and_then(|pool| pool.target_concurrency(3))
        .and_then(|pool| pool.open_timeout(second * 5))
        .and_then(|pool| pool.idle_timeout(second * 20))
        .and_then(|pool| pool.max_age(Some(second * 30)))
        .and_then(|pool| pool.max_opened(40))
        .and_then(|pool| pool.drain_timeout(Some(second * 10)))
        .expect("values in their ranges")
}

/// The server's side of every connection: channels whose bytes go back.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<Connection>>>);

impl Server {
    async fn run(self, mut ends: mpsc::UnboundedReceiver<DuplexStream>) {
        let mut serving = JoinSet::new();
        while let Some(io) = ends.recv().await {
            let connection = Connection::server(io, config());
            self.0.lock().unwrap().push(connection.clone());
            serving.spawn(async move {
                let mut channels = JoinSet::new();
                while let Some(channel) = connection.accept().await {
                    channels.spawn(echo(channel));
                    while channels.try_join_next().is_some() {}
                }
                channels.join_all().await;
            });
        }
        serving.join_all().await;
    }

    /// The connections that have not ended.
    fn connections(&self) -> Vec<Connection> {
        let mut all = self.0.lock().unwrap();
        all.retain(|connection| connection.error().is_none());
        all.clone()
    }
}

fn config() -> Config {
    Config::default().receive_budget(BUDGET)
}

/// Only the clean end is answered by one.
async fn echo(mut channel: Channel) {
    let mut buf = [0; 4096];
    loop {
        match channel.read(&mut buf).await {
            Ok(0) => break,
            Ok(n) if channel.write_all(&buf[..n]).await.is_ok() => {}
            _ => return,
        }
    }
    let _ = channel.shutdown().await; // the connection may be gone
}

/// One call: what it sent comes back whole, or it gets an error.
async fn call(mut connector: Multiplex<Network>, seed: u64, len: usize) -> &'static str {
    let uri = Uri::from_static("http://server.example");
    let Ok(channel) = connector.call(uri).await else {
        return KINDS[2];
    };
    let mut sent = vec![0; len];
    Rng::with_seed(seed).fill(&mut sent);
    let (mut reader, mut writer) = channel.into_split();
    let write = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    let mut got = Vec::new();
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut got));
    assert!(sent.starts_with(&got), "other bytes than were sent");
    if read.is_err() {
        return KINDS[1];
    }
    assert_eq!(got.len(), len, "an end before the end");
    KINDS[0]
}

struct World {
    rng: Rng,
    network: Network,
    server: Server,
    connector: Multiplex<Network>,
    calls: Vec<JoinHandle<()>>,
    trace: Arc<Mutex<Trace>>,
    began: Instant,
}

impl World {
    fn new(seed: u64) -> World {
        let (network, ends) = Network::new();
        let server = Server::default();
        tokio::spawn(server.clone().run(ends));
        let connector = Multiplex::new(network.clone());
        World {
            rng: Rng::with_seed(seed),
            network,
            server,
            connector: connector.with_config(config()).with_pool(pool()),
            calls: Vec::new(),
            trace: Arc::default(),
            began: Instant::now(),
        }
    }

    fn call(&mut self) {
        let len = match self.rng.u8(..) {
            0..10 => self.rng.usize(..300_000),
            10..60 => self.rng.usize(..20_000),
            _ => self.rng.usize(..1000),
        };
        let call = call(self.connector.clone(), self.rng.u64(..), len);
        let (trace, began) = (self.trace.clone(), self.began);
        self.calls.push(tokio::spawn(async move {
            let end = call.await;
            trace.lock().unwrap().push((began.elapsed(), end));
        }));
    }

    fn act(&mut self) {
        let rng = &mut self.rng;
        let (nth, on) = (rng.usize(..), rng.bool());
        match rng.u8(..100) {
            0..45 => (0..rng.usize(1..8)).for_each(|_| self.call()),
            45..55 => {
                if let Some(call) = self.calls.get(nth % self.calls.len().max(1)) {
                    call.abort();
                }
            }
            55..65 => {
                let delay = Duration::from_millis(rng.u64(..200));
                self.network.change(|now| now.delay = delay);
            }
            65..72 => {
                let piece = *rng.choice(&[1, 100, 5000, 32 << 10]).expect("some");
                self.network.change(|now| now.piece = piece);
            }
            72..78 => self.network.change(|now| now.stalled = on),
            78..83 => self.network.change(|now| now.refuses = on),
            83..86 => self.network.change(|now| now.silent = on),
            86..92 => self.network.cut(nth),
            kind => {
                let connections = self.server.connections();
                if let Some(one) = connections.get(nth % connections.len().max(1)) {
                    match kind {
                        92..97 => one.drain(),
                        _ => one.close("enough"),
                    }
                }
            }
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let running = self.calls.iter().filter(|call| !call.is_finished()).count();
        for target in self.connector.stats() {
            assert!(target.waiting <= running, "{target:#?}");
            assert!(target.dialling <= MOST_CONNECTIONS, "{target:#?}");
            let hopeless = target.dialling == 0 && target.connections.is_empty();
            assert!(target.waiting == 0 || !hopeless, "{target:#?}");
            for stats in target.connections {
                let most = stats.channels as u64 * INITIAL_WINDOW + BUDGET;
                assert!(stats.buffered <= most, "{stats:#?}");
            }
        }
        for connection in self.server.connections() {
            let stats = connection.stats();
            let most = stats.channels as u64 * INITIAL_WINDOW + BUDGET;
            assert!(stats.buffered <= most, "{stats:#?}");
        }
    }

    async fn live(mut self) -> Trace {
        for _ in 0..STEPS {
            self.act();
            let most = *self.rng.choice(&[1, 20, 300, 5000]).expect("some");
            sleep(Duration::from_millis(self.rng.u64(..most))).await;
            rest().await;
            self.check();
        }
        self.settle().await;
        let trace = std::mem::take(&mut *self.trace.lock().unwrap());
        self.leave().await;
        trace
    }

    /// The network is good again: every call ends, and the next one succeeds.
    async fn settle(&mut self) {
        self.network.change(|now| *now = Conditions::default());
        for call in std::mem::take(&mut self.calls) {
            let ended = timeout(BOUND, call).await.expect("a call is stuck");
            if let Err(error) = ended
                && error.is_panic()
            {
                resume_unwind(error.into_panic());
            }
        }
        sleep(Duration::from_secs(30)).await; // what was lost is noticed by then
        let last = call(self.connector.clone(), 7, 100_000);
        assert_eq!(timeout(BOUND, last).await, Ok(KINDS[0]));
        self.check();
        for target in self.connector.stats() {
            assert_eq!(target.waiting, 0);
            for stats in target.connections {
                assert!(stats.channels <= 1 && stats.buffered == 0, "{stats:#?}");
            }
        }
    }

    /// All is dropped: the connections close and no task is left.
    async fn leave(self) {
        let World {
            network,
            server,
            connector,
            ..
        } = self;
        server.0.lock().unwrap().clear();
        let _held = network.hold(); // that they end is for their own sides to do
        drop((connector, network));
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let gone = async {
            while tasks() > 0 {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let left = timeout(BOUND, gone).await;
        assert!(left.is_ok(), "{} tasks are left", tasks());
    }
}

/// Lets everyone do what is to be done at this moment.
async fn rest() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn simulate(seed: u64) -> Trace {
    fastrand::seed(seed); // what the pool leaves to chance
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(async { World::new(seed).live().await })
}

#[test]
fn calls_end_whole_or_in_an_error_and_nothing_is_left() {
    let mut ends = [0; 3];
    seeds::each(SEEDS, "--test simulation_pool", |seed| {
        for (_, end) in simulate(seed) {
            ends[KINDS.iter().position(|kind| *kind == end).expect("one")] += 1;
        }
    });
    let [whole, errors, none] = ends;
    println!("{whole} calls whole, {errors} with an error, {none} without a channel");
}

#[test]
fn a_seed_replays() {
    assert_eq!(simulate(1), simulate(1));
}
