//! A name with several addresses, as that of a headless Kubernetes service: each address has
//! connections of its own, and requests are balanced over them. Then a server goes and
//! another comes.
//!
//! `cargo run --example discovery` runs it against servers of its own. In your program
//! `Discovery::default()` asks the system's resolver.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Discovery, Multiplex};
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tower::service_fn;

type AnyError = Box<dyn Error + Send + Sync>;
type App = Client<Multiplex<HttpConnector>, Empty<bytes::Bytes>>;

/// A pod of the service, which answers with its number.
async fn serve(number: u8) -> std::io::Result<(SocketAddr, AbortHandle)> {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, number), 0)).await?;
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr()?;
    let app = Router::new().route("/", get(move || async move { number.to_string() }));
    let task = tokio::spawn(async { axum::serve(acceptor, app).await });
    Ok((addr, task.abort_handle()))
}

/// Which pod answered how many of 300 requests.
async fn answers(client: &App) -> Result<BTreeMap<String, usize>, AnyError> {
    let mut answers = BTreeMap::new();
    for _ in 0..300 {
        let response = client.get("http://app/".parse()?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        let number = String::from_utf8(body.to_vec())?;
        *answers.entry(number).or_insert(0) += 1;
    }
    Ok(answers)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut pods = Vec::new();
    for number in 1..=3 {
        pods.push(serve(number).await?);
    }
    let addresses = |pods: &[(SocketAddr, _)]| pods.iter().map(|(addr, _)| *addr).collect();
    let dns: Arc<Mutex<Vec<SocketAddr>>> = Arc::new(Mutex::new(addresses(&pods)));

    // In place of DNS. Its addresses have ports, because the URI has none.
    let zone = dns.clone();
    let resolver = service_fn(move |_: Name| {
        let found = zone.lock().unwrap().clone();
        async { Ok::<_, AnyError>(found.into_iter()) }
    });
    let discovery = Discovery::default()
        .resolver(resolver)
        .interval(Duration::from_secs(1))?;
    let connector = Multiplex::new(HttpConnector::new()).with_discovery(discovery);
    connector.prewarm(&"http://app/".parse()?, 3).await?;
    // A channel for each request, so that each is balanced.
    let client: App = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector);
    println!("three pods: {:?}", answers(&client).await?);

    let (_, gone) = pods.remove(0);
    pods.push(serve(4).await?);
    *dns.lock().unwrap() = addresses(&pods);
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!(
        "another pod in place of the first: {:?}",
        answers(&client).await?
    );
    gone.abort();
    Ok(())
}
