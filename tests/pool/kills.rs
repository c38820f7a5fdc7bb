//! Connections that are killed all the time cost only the requests on them,
//! and idempotent ones not even that.
#![cfg(all(feature = "axum", feature = "requests", feature = "retry"))]

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::any;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::Config;
use tcpchan::client::{Multiplex, PoolConfig, Requests, RetryPolicy, is_lost};
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::retry::budget::TpsBudget;
use tower::util::BoxCloneService;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::guard::within;
use crate::proxy::{Fault, Proxy};

const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 64;
const SUSPECT: Duration = Duration::from_millis(150);
const DEAD: Duration = Duration::from_millis(700);

type Counts = Arc<Vec<AtomicU32>>;

fn counts() -> Counts {
    Arc::new((0..REQUESTS).map(|_| AtomicU32::new(0)).collect())
}

/// Silence is noticed soon, and yet a busy machine has time to answer.
fn config() -> Config {
    let config = Config::default().ping_after(Duration::from_millis(50));
    config.unwrap().answer_within(SUSPECT, DEAD).unwrap()
}

async fn serve(runs: Counts) -> SocketAddr {
    async fn run(State(runs): State<Counts>, Path(id): Path<usize>) -> String {
        runs[id].fetch_add(1, SeqCst);
        id.to_string()
    }
    let app = Router::new().route("/{id}", any(run)).with_state(runs);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener).with_config(config());
    let addr = acceptor.local_addr().unwrap();
    tokio::spawn(async { axum::serve(acceptor, app).await });
    addr
}

#[derive(Debug)]
struct CallError(Box<dyn Error + Send + Sync>);

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// Kills the oldest connection every 100 ms, each time in another way.
async fn kill(proxy: Proxy, kills: Arc<AtomicUsize>, done: Arc<AtomicBool>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let faults = [Fault::Reset, Fault::Fin, Fault::Silence];
    for fault in faults.into_iter().cycle() {
        ticks.tick().await;
        if done.load(SeqCst) {
            return;
        }
        if proxy.hurt(fault) {
            kills.fetch_add(1, SeqCst);
        }
    }
}

/// A service of whole responses.
type Caller = BoxCloneService<Request<Full<Bytes>>, Response<Bytes>, CallError>;

async fn collect<E>(answer: Result<Response<Incoming>, E>) -> Result<Response<Bytes>, CallError>
where
    E: Error + Send + Sync + 'static,
{
    let (head, body) = answer.map_err(|e| CallError(e.into()))?.into_parts();
    let body = body.collect().await.map_err(|e| CallError(e.into()))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn requests(multiplex: Multiplex<HttpConnector>, target: Uri) -> Caller {
    let requests = Requests::new(multiplex, target);
    Caller::new(tower::service_fn(move |request| {
        let answer = requests.clone().call(request);
        async move { collect(answer.await).await }
    }))
}

fn hyper_util(multiplex: Multiplex<HttpConnector>, _: Uri) -> Caller {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(multiplex);
    Caller::new(tower::service_fn(move |request| {
        let answer = client.request(request);
        async move { collect(answer.await).await }
    }))
}

struct Outcome {
    failures: Vec<(usize, CallError)>,
    runs: Counts,
    attempts: Counts,
    kills: usize,
}

/// One at a time, or they would take each other's time to answer.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn ten_thousand(
    method: Method,
    client: fn(Multiplex<HttpConnector>, Uri) -> Caller,
) -> Outcome {
    let _turn = TURN.lock().await;
    let (runs, attempts) = (counts(), counts());
    let proxy = Proxy::start(serve(runs.clone()).await, None).await;
    let (kills, done) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let killer = tokio::spawn(kill(proxy.clone(), kills.clone(), done.clone()));
    let pool = PoolConfig::default().connections(4..=4).unwrap();
    let multiplex = Multiplex::new(HttpConnector::new())
        .with_config(config())
        .with_pool(pool);
    let target = Uri::try_from(format!("http://{}", proxy.addr)).unwrap();
    let client = client(multiplex, target);
    let tried = attempts.clone();
    let call = client.map_request(move |request: Request<_>| {
        let id: usize = request.uri().path()[1..].parse().unwrap();
        tried[id].fetch_add(1, SeqCst);
        request
    });
    let budget = TpsBudget::new(Duration::from_secs(10), 1000, 2.0);
    // Where the machine is slower than the kills, most tries are in vain.
    let policy = RetryPolicy::new().idempotent(true).retries(1000);
    let service = ServiceBuilder::new()
        .retry(policy.budget(Arc::new(budget)))
        .service(call);

    let failures: Arc<Mutex<Vec<(usize, CallError)>>> = Arc::default();
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (mut service, method) = (service.clone(), method.clone());
        let (failures, next, addr) = (failures.clone(), next.clone(), proxy.addr);
        workers.spawn(async move {
            loop {
                let id = next.fetch_add(1, SeqCst);
                if id >= REQUESTS {
                    return;
                }
                let request = Request::builder()
                    .method(method.clone())
                    .uri(format!("http://{addr}/{id}"))
                    .body(Full::default())
                    .unwrap();
                match service.ready().await.unwrap().call(request).await {
                    Ok(response) => assert_eq!(response.body(), &id.to_string()),
                    Err(error) => failures.lock().unwrap().push((id, error)),
                }
            }
        });
    }
    within(workers.join_all()).await;
    // Nothing ended but what was killed, or was silent because the machine was
    // too busy to run this.
    assert_eq!(proxy.ended(DEAD - SUSPECT), 0);
    done.store(true, SeqCst);
    killer.await.unwrap();
    let kills = kills.load(SeqCst);
    assert!(kills >= 6, "{kills} kills");
    let failures = std::mem::take(&mut *failures.lock().unwrap());
    Outcome {
        failures,
        runs,
        attempts,
        kills,
    }
}

async fn none_fails(client: fn(Multiplex<HttpConnector>, Uri) -> Caller) {
    let outcome = ten_thousand(Method::GET, client).await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures[0]);
    let mut again = 0;
    for (runs, attempts) in outcome.runs.iter().zip(outcome.attempts.iter()) {
        let (runs, attempts) = (runs.load(SeqCst), attempts.load(SeqCst));
        assert!(1 <= runs && runs <= attempts);
        again += attempts - 1;
    }
    assert!(again > 0, "{} kills hurt no request", outcome.kills);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idempotent_requests_do_not_fail_when_connections_are_killed_every_100_ms() {
    none_fails(requests).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idempotent_requests_of_hyper_utils_client_do_not_fail_either() {
    none_fails(hyper_util).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_requests_fail_only_with_their_connection_and_are_never_run_twice() {
    let outcome = ten_thousand(Method::POST, requests).await;
    assert!(!outcome.failures.is_empty());
    for (id, error) in &outcome.failures {
        assert!(is_lost(error), "{id}: {error:?}");
    }
    for (id, runs) in outcome.runs.iter().enumerate() {
        let failed = outcome.failures.iter().any(|(failed, _)| *failed == id);
        let runs = runs.load(SeqCst);
        assert!(
            runs == 1 || (runs == 0 && failed),
            "{id} was run {runs} times"
        );
    }
}
