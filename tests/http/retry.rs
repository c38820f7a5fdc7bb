//! What the retry policy repeats, and what it leaves alone.
#![cfg(feature = "retry")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use hyper::{Method, Request, Response};
use tcpchan::Config;
use tcpchan::client::{ConnectError, Multiplex, PoolConfig, RetryPolicy, is_retryable};
use tower::retry::budget::TpsBudget;
use tower::{Service, ServiceBuilder, service_fn};

use crate::local::{Net, Way, open};

/// Opens a channel for each request, by the policy; the last error and how
/// often it was tried.
async fn tried(policy: RetryPolicy, multiplex: Multiplex<Net>) -> (ConnectError, usize) {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let service = service_fn(move |_: Request<()>| {
        count.fetch_add(1, SeqCst);
        let multiplex = multiplex.clone();
        async move { open(&multiplex).await.map(|_| Response::new(())) }
    });
    let mut service = ServiceBuilder::new().retry(policy).service(service);
    let request = Request::builder().method(Method::GET).body(()).unwrap();
    let error = service.call(request).await.unwrap_err();
    (error, tries.load(SeqCst))
}

fn pool(way: Way, pool: PoolConfig) -> Multiplex<Net> {
    let net = Net::new(Config::default());
    net.set(way);
    Multiplex::new(net).with_pool(pool)
}

fn policy() -> RetryPolicy {
    RetryPolicy::new().idempotent(true)
}

#[tokio::test(start_paused = true)]
async fn a_failed_dial_is_retried_up_to_three_times() {
    let multiplex = pool(Way::Refused, PoolConfig::default());
    let (error, tries) = tried(policy(), multiplex).await;
    assert!(is_retryable(&error));
    assert_eq!(tries, 4);
}

/// Its caller has waited as long as the pool lets it.
#[tokio::test(start_paused = true)]
async fn an_open_that_took_too_long_is_not_retried() {
    let multiplex = pool(Way::Hangs, PoolConfig::default());
    let (error, tries) = tried(policy(), multiplex).await;
    assert!(error.is_timeout() && is_retryable(&error));
    assert_eq!(tries, 1);
}

/// It would be refused again at once.
#[tokio::test(start_paused = true)]
async fn an_open_beyond_the_callers_that_may_wait_is_not_retried() {
    let multiplex = pool(Way::Hangs, PoolConfig::default().max_waiting(1).unwrap());
    let waits = multiplex.clone();
    tokio::spawn(async move { open(&waits).await });
    tokio::task::yield_now().await;
    let (error, tries) = tried(policy(), multiplex).await;
    assert!(error.is_full() && is_retryable(&error));
    assert_eq!(tries, 1);
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_their_budget() {
    let multiplex = pool(Way::Refused, PoolConfig::default());
    let policy = policy().budget(Arc::new(TpsBudget::new(Duration::from_secs(1), 1, 0.0)));
    let (_, tries) = tried(policy.clone(), multiplex.clone()).await;
    assert!(tries <= 2, "{tries}");
    let (_, tries) = tried(policy, multiplex).await;
    assert_eq!(tries, 1);
}
