//! A readiness probe that warms the client up: the app says that it is ready once the
//! connections to its backend are there, and says why it is not.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;

/// Connections that the app's first requests find.
const CONNECTIONS: usize = 2;

#[derive(Clone)]
struct Backend {
    connector: Multiplex<HttpConnector>,
    uri: Uri,
}

/// What Kubernetes asks every few seconds, which also keeps the connections.
async fn ready(State(backend): State<Backend>) -> (StatusCode, String) {
    let Backend { connector, uri } = backend;
    match connector.prewarm(&uri, CONNECTIONS).await {
        Ok(()) => (StatusCode::OK, "ready".to_owned()),
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}"));
            let text = format!("{error}{}", cause.unwrap_or_default());
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn probe(app: SocketAddr) -> Result<(), Box<dyn Error>> {
    let client: Client<_, Empty<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let response = client.get(format!("http://{app}/ready").parse()?).await?;
    let status = response.status();
    let text = response.into_body().collect().await?.to_bytes();
    println!("{status}: {}", String::from_utf8_lossy(&text));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The backend's address is known, and the backend is not up yet.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let backend = listener.local_addr()?;
    drop(listener);

    let connector = Multiplex::new(HttpConnector::new());
    let state = Backend {
        connector: connector.clone(),
        uri: format!("http://{backend}/").parse()?,
    };
    let app = Router::new().route("/ready", get(ready)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    probe(addr).await?;

    let acceptor = Acceptor::new(TcpListener::bind(backend).await?);
    let work = Router::new().route("/", get(|| async { "work" }));
    tokio::spawn(async { axum::serve(acceptor, work).await });
    probe(addr).await?;
    for target in connector.stats() {
        println!("{} connections are up", target.connections.len());
    }
    Ok(())
}
