//! What an operator sees: events by `tracing` on stderr, and metrics at
//! `/metrics`, on a port that Prometheus can read without tcpchan.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tcpchan::client::Multiplex;
use tcpchan::observability::{BUCKETS, describe_metrics};
use tcpchan::server::SharedPort;
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    // The alerts need these buckets.
    let buckets = Matcher::Prefix("tcpchan_".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &BUCKETS)?;
    let recorder = builder.install_recorder()?;
    describe_metrics();

    // One port: the app's clients come by tcpchan, Prometheus by plain HTTP.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/metrics", get(move || async move { recorder.render() }));
    let port = SharedPort::new(listener);
    tokio::spawn(async { axum::serve(port, app).await });

    let connector = Multiplex::new(HttpConnector::new());
    for _ in 0..10 {
        call(connector.clone(), format!("http://{addr}/")).await?;
    }
    drop(connector);
    // Connections tell what they have done once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let metrics = call(HttpConnector::new(), format!("http://{addr}/metrics")).await?;
    print!("{metrics}");
    Ok(())
}

async fn call<C>(connector: C, uri: String) -> Result<String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let body = client
        .get(uri.parse()?)
        .await?
        .into_body()
        .collect()
        .await?;
    Ok(String::from_utf8(body.to_bytes().into())?)
}
