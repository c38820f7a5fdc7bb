//! `Requests` under `tower::balance` and a timeout, where one of two hosts fails: how
//! many requests fail, and whether the host gets requests again once it is well. On a
//! virtual network and a paused clock.
#![cfg(all(feature = "requests", feature = "server"))]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, Response, Uri};
use tcpchan::client::{Multiplex, Requests};
use tcpchan::{Channel, Config, Connection};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::util::BoxCloneService;
use tower::{ServiceBuilder, ServiceExt};

use crate::network::{Conditions, Network};

/// As many as 225 in five seconds.
const BETWEEN: Duration = Duration::from_millis(22);

/// A server behind a network of its own.
#[derive(Clone)]
struct Host {
    network: Network,
    served: Arc<AtomicUsize>,
    /// Milliseconds until it answers.
    takes: Arc<AtomicU64>,
    /// The number of the request whose handler panics.
    panics_at: Arc<AtomicUsize>,
}

impl Host {
    fn new() -> Host {
        let (network, ends) = Network::new();
        let host = Host {
            network,
            served: Arc::default(),
            takes: Arc::default(),
            panics_at: Arc::new(AtomicUsize::new(usize::MAX)),
        };
        tokio::spawn(host.clone().run(ends));
        host
    }

    async fn run(self, mut ends: mpsc::UnboundedReceiver<DuplexStream>) {
        while let Some(end) = ends.recv().await {
            let host = self.clone();
            tokio::spawn(async move {
                let connection = Connection::server(end, Config::default());
                while let Some(channel) = connection.accept().await {
                    tokio::spawn(host.clone().serve(channel));
                }
            });
        }
    }

    async fn serve(self, channel: Channel) {
        let answer = hyper::service::service_fn(|_| async {
            let number = self.served.fetch_add(1, SeqCst);
            assert_ne!(number, self.panics_at.load(SeqCst), "as it is told to");
            sleep(Duration::from_millis(self.takes.load(SeqCst))).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("answer")))
        });
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(channel, answer).await;
    }

    fn requests(&self) -> Requests<Network> {
        let uri = Uri::from_static("http://host");
        Requests::new(Multiplex::new(self.network.clone()), uri)
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }
}

/// Two hosts, and a client of both.
struct World {
    good: Host,
    other: Host,
    calls: mpsc::UnboundedSender<Instant>,
    ends: mpsc::UnboundedReceiver<bool>,
}

impl World {
    fn new() -> World {
        let (good, other) = (Host::new(), Host::new());
        let services = [good.requests(), other.requests()];
        type Call = Request<Empty<Bytes>>;
        let balanced: Balance<_, Call> = Balance::new(ServiceList::new::<Call>(services));
        let service = ServiceBuilder::new()
            .buffer::<Call>(1_024)
            .timeout(Duration::from_secs(1))
            .service(balanced);
        let service = BoxCloneService::new(service);
        let (calls, mut times) = mpsc::unbounded_channel();
        let (ended, ends) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(at) = times.recv().await {
                sleep_until(at).await;
                let (service, ended) = (service.clone(), ended.clone());
                tokio::spawn(async move {
                    let request = Request::get("http://host/").body(Empty::new()).unwrap();
                    let whole = match service.oneshot(request).await {
                        Ok(response) => response.into_body().collect().await.is_ok(),
                        Err(_) => false,
                    };
                    let _ = ended.send(whole); // the test may be over
                });
            }
        });
        World {
            good,
            other,
            calls,
            ends,
        }
    }

    /// Requests come for so many seconds; how many there were, and how many failed.
    async fn run(&mut self, seconds: u64) -> (usize, usize) {
        let until = Instant::now() + Duration::from_secs(seconds);
        let (mut at, mut count) = (Instant::now(), 0);
        while at < until {
            self.calls.send(at).unwrap();
            at += BETWEEN;
            count += 1;
        }
        sleep_until(until).await;
        let mut failed = 0;
        for _ in 0..count {
            failed += usize::from(!self.ends.recv().await.unwrap());
        }
        (count, failed)
    }

    /// After two seconds at most one request in a hundred fails.
    async fn fails_one_in_a_hundred_at_most(&mut self) {
        self.run(2).await;
        let (count, failed) = self.run(30).await;
        assert!(failed * 100 <= count, "{failed} of {count} failed");
    }

    /// Within so many seconds the other host gets requests, and about its share.
    async fn gets_its_share_after(&mut self, seconds: u64) {
        self.run(seconds).await;
        let before = self.other.served();
        let (count, failed) = self.run(5).await;
        let share = self.other.served() - before;
        assert!(share * 4 >= count, "{share} of {count}");
        assert_eq!(failed, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_falls_silent() {
    let mut world = World::new();
    world.run(2).await;
    world.other.network.change(|now| now.stalled = true);
    world.fails_one_in_a_hundred_at_most().await;
    world.other.network.change(|now| now.stalled = false);
    world.gets_its_share_after(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_mute_from_the_start() {
    let mut world = World::new();
    world.other.network.change(|now| now.stalled = true);
    world.fails_one_in_a_hundred_at_most().await;
    world.other.network.change(|now| now.stalled = false);
    world.gets_its_share_after(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_answers_no_dial() {
    let mut world = World::new();
    world.other.network.change(|now| now.silent = true);
    world.fails_one_in_a_hundred_at_most().await;
    world.other.network.change(|now| now.silent = false);
    world.gets_its_share_after(5).await;
}

/// It is dialled in the background, and tried by a request once it has answered that.
#[tokio::test(start_paused = true)]
async fn no_request_goes_to_a_host_that_never_answered_while_there_is_one_that_does() {
    for change in [
        |now: &mut Conditions| now.stalled = true,
        |now: &mut Conditions| now.silent = true,
        |now: &mut Conditions| now.refuses = true,
    ] {
        let mut world = World::new();
        world.other.network.change(change);
        world.run(2).await;
        let (count, failed) = world.run(10).await;
        assert_eq!(failed, 0, "of {count}");
        world.other.network.change(|now| *now = Default::default());
        world.gets_its_share_after(5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_refuses_dials() {
    let mut world = World::new();
    world.other.network.change(|now| now.refuses = true);
    world.fails_one_in_a_hundred_at_most().await;
    world.other.network.change(|now| now.refuses = false);
    world.gets_its_share_after(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_begins_to_refuse_dials_after_it_was_cut_off() {
    let mut world = World::new();
    world.run(2).await;
    world.other.network.change(|now| now.refuses = true);
    for nth in 0..16 {
        world.other.network.cut(nth);
    }
    world.fails_one_in_a_hundred_at_most().await;
    world.other.network.change(|now| now.refuses = false);
    world.gets_its_share_after(5).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_answers_too_late() {
    let mut world = World::new();
    world.run(2).await;
    world.other.takes.store(1_000, SeqCst);
    world.fails_one_in_a_hundred_at_most().await;
    world.other.takes.store(0, SeqCst);
    world.gets_its_share_after(5).await;
}

#[tokio::test(start_paused = true)]
async fn one_panic_of_a_handler_is_not_the_hosts_failure() {
    let mut world = World::new();
    world.run(2).await;
    let before = world.other.served();
    world.other.panics_at.store(before + 5, SeqCst);
    let (count, failed) = world.run(4).await;
    assert_eq!(failed, 1);
    let share = world.other.served() - before;
    assert!(share * 3 >= count, "{share} of {count}");
    assert!(world.good.served() > 0);
}
