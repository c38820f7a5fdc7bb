//! A pool of several connections through HAProxy to two servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, PoolConfig};
use tokio::task::JoinSet;

use crate::app::Server;
use crate::balancer::Haproxy;

type Calls = Client<Multiplex<HttpConnector>, Full<Bytes>>;

const WORKERS: usize = 50;
const RESTARTS: usize = 4;

/// A channel for each request, on four connections that are renewed often.
fn client() -> Calls {
    let pool = PoolConfig::default()
        .connections(4..=4)
        .and_then(|pool| pool.max_age(Some(Duration::from_secs(1))));
    let connector = Multiplex::new(HttpConnector::new()).with_pool(pool.unwrap());
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector)
}

/// A request that must not be sent twice.
async fn call(client: &Calls, uri: &str) -> Result<(), String> {
    let request = Request::post(uri).body(Full::default()).unwrap();
    let response = client.request(request).await;
    let response = response.map_err(|error| format!("{error:?}"))?;
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| format!("{error:?}"))?.to_bytes();
    (body == "done").then_some(()).ok_or(format!("{body:?}"))
}

/// Calls until it is dropped, and counts what failed.
fn load(client: Calls, uri: String, failed: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, uri, failed) = (client.clone(), uri.clone(), failed.clone());
        workers.spawn(async move {
            loop {
                if let Err(error) = call(&client, &uri).await {
                    eprintln!("{error}");
                    failed.fetch_add(1, SeqCst);
                }
            }
        });
    }
    workers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs HAProxy"]
async fn connections_spread_and_restarts_cost_no_request() {
    let place = "127.0.0.1:0".parse().unwrap();
    let mut servers = [Server::start(place).await, Server::start(place).await];
    let haproxy = Haproxy::balancing(servers.each_ref().map(|server| server.addr)).await;
    let failed = Arc::default();
    let mut workers = load(client(), format!("http://{}/", haproxy.addr), &failed);
    for server in &mut servers {
        server.has_served(1000).await;
        assert!(server.connections() >= 2, "{}", server.connections());
    }
    for restart in 0..RESTARTS {
        let [one, other] = servers;
        // The other server is next; a restarted one gets requests again.
        servers = [other, one.restart().await];
        let served = *servers[0].served.borrow();
        servers[0].has_served(served + 500).await;
        servers[1].has_served(500).await;
        assert_eq!(failed.load(SeqCst), 0, "after restart {restart}");
    }
    workers.shutdown().await;
    assert_eq!(failed.load(SeqCst), 0);
}
