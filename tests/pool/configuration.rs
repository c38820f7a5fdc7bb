//! What is set of the client's side can be read.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{
    Discovery, LocalSocket, Multiplex, MultiplexLayer, PoolConfig, Requests, RetryLayer,
    RetryPolicy, TlsConnector,
};
use tcpchan::{Config, SocketProfile};
use tokio::runtime::Handle;
use tower::Layer;
use tower::retry::budget::{Budget, TpsBudget};

use crate::certs::Authority;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config::default().max_channels(300).unwrap()
}

fn pool() -> PoolConfig {
    PoolConfig::default().connections(2..=4).unwrap()
}

#[tokio::test]
async fn each_setting_of_a_multiplex() {
    let multiplex = Multiplex::new(HttpConnector::new());
    assert_eq!(*multiplex.config(), Config::default());
    assert_eq!(*multiplex.pool(), PoolConfig::default());
    assert!(multiplex.runtime().is_none() && !multiplex.extras());
    assert_eq!(multiplex.target_labels(), None);
    let multiplex = multiplex
        .with_config(config())
        .with_pool(pool())
        .with_runtime(Handle::current())
        .with_extras()
        .with_target_labels(7);
    are_set(&multiplex);
    assert!(multiplex.extras());
    let _: &HttpConnector = multiplex.connector();
}

#[tokio::test]
async fn each_setting_of_a_layer_and_of_the_multiplex_that_it_makes() {
    let layer = MultiplexLayer::new()
        .with_config(config())
        .with_pool(pool())
        .with_runtime(Handle::current())
        .with_target_labels(7);
    assert_eq!(*layer.config(), config());
    assert_eq!(*layer.pool(), pool());
    assert_eq!(layer.target_labels(), Some(7));
    assert_eq!(layer.runtime().unwrap().id(), Handle::current().id());
    are_set(&layer.layer(HttpConnector::new()));
}

fn are_set(multiplex: &Multiplex<HttpConnector>) {
    assert_eq!(*multiplex.config(), config());
    assert_eq!(*multiplex.pool(), pool());
    assert_eq!(multiplex.target_labels(), Some(7));
    let runtime = multiplex.runtime().map(Handle::id);
    assert_eq!(runtime, Some(Handle::current().id()));
}

#[test]
fn each_setting_of_a_pool() {
    let pool = pool()
        .await_hello(true)
        .target_concurrency(3)
        .and_then(|pool| pool.open_timeout(4 * SECOND))
        .and_then(|pool| pool.max_waiting(5))
        .and_then(|pool| pool.idle_timeout(6 * SECOND))
        .and_then(|pool| pool.max_age(Some(7 * SECOND)))
        .and_then(|pool| pool.max_opened(8))
        .and_then(|pool| pool.drain_timeout(Some(9 * SECOND)))
        .unwrap();
    assert_eq!(pool.get_connections(), 2..=4);
    assert!(pool.get_await_hello());
    assert_eq!(pool.get_target_concurrency(), 3);
    assert_eq!(pool.get_open_timeout(), 4 * SECOND);
    assert_eq!(pool.get_max_waiting(), 5);
    assert_eq!(pool.get_idle_timeout(), 6 * SECOND);
    assert_eq!(pool.get_max_age(), Some(7 * SECOND));
    assert_eq!(pool.get_max_opened(), 8);
    assert_eq!(pool.get_drain_timeout(), Some(9 * SECOND));
}

#[test]
fn each_setting_of_a_discovery() {
    let discovery = Discovery::default()
        .interval(2 * SECOND)
        .and_then(|discovery| discovery.max_addresses(3))
        .unwrap();
    assert_eq!(discovery.get_interval(), 2 * SECOND);
    assert_eq!(discovery.get_max_addresses(), 3);
    let multiplex = Multiplex::new(HttpConnector::new());
    assert!(multiplex.discovery().is_none());
    let multiplex = multiplex.with_discovery(discovery).with_pool(pool());
    assert_eq!(multiplex.discovery().unwrap().get_max_addresses(), 3);
    for wrong in [
        Discovery::default().interval(SECOND / 2),
        Discovery::default().max_addresses(0),
        Discovery::default().max_addresses(257),
    ] {
        assert!(wrong.is_err());
    }
}

#[test]
fn each_setting_of_a_socket() {
    let profile = SocketProfile::default()
        .unsent(Some(1))
        .and_then(|profile| profile.user_timeout(Some(2 * SECOND)))
        .and_then(|profile| profile.keep_alive(Some(3 * SECOND)))
        .unwrap();
    assert_eq!(profile.get_unsent(), Some(1));
    assert_eq!(profile.get_user_timeout(), Some(2 * SECOND));
    assert_eq!(profile.get_keep_alive(), Some(3 * SECOND));
    assert_eq!(profile.get_congestion(), None);
    assert!(!profile.get_system_congestion());
    assert!(profile.system_congestion().get_system_congestion());
    if cfg!(target_os = "linux") {
        let named = SocketProfile::default().congestion("reno").unwrap();
        assert_eq!(named.get_congestion(), Some("reno"));
    }
}

#[test]
fn each_setting_of_retries() {
    let budget: Arc<dyn Budget + Send + Sync> = Arc::new(TpsBudget::default());
    let policy = RetryPolicy::new()
        .idempotent(true)
        .retries(5)
        .budget(budget.clone());
    let layer: RetryLayer = RetryLayer::new(policy);
    assert!(layer.policy().get_idempotent());
    assert_eq!(layer.policy().get_retries(), 5);
    assert!(Arc::ptr_eq(layer.policy().get_budget(), &budget));
}

#[test]
fn each_setting_of_a_tls_connector() {
    let config = Arc::new(Authority::new().client());
    let connector = TlsConnector::over(HttpConnector::new(), config.clone());
    assert_eq!(connector.server_name(), None);
    let name: tokio_rustls::rustls::pki_types::ServerName = "name.example".try_into().unwrap();
    let connector = connector.with_server_name(name.clone());
    assert_eq!(connector.server_name(), Some(&name));
    assert!(Arc::ptr_eq(&connector.config(), &config));
    let _: &HttpConnector = connector.connector();
    let next = Arc::new(Authority::new().client());
    connector.handle().replace(next.clone());
    assert!(Arc::ptr_eq(&connector.config(), &next));
}

#[tokio::test]
async fn where_requests_and_a_local_socket_go() {
    let multiplex = Multiplex::new(HttpConnector::new()).with_pool(pool());
    let target = Uri::from_static("http://server.example:3000/");
    let requests = Requests::new(multiplex.clone(), target.clone());
    assert_eq!(*requests.target(), target);
    assert_eq!(*requests.multiplex().pool(), pool());
    #[cfg(unix)]
    {
        let socket = LocalSocket::new(multiplex, target.clone()).unwrap();
        assert_eq!(*socket.target(), target);
        assert!(socket.path().exists());
    }
}
