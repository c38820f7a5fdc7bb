//! Requests without hyper-util's pool: a tower service that opens a channel for
//! each. Two servers under `tower::balance`, which asks each service how much
//! it has to do, and `tower::timeout`.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, Requests};
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::{Service, ServiceBuilder, ServiceExt};

type AnyError = Box<dyn Error + Send + Sync>;

/// A server that takes a while for each answer.
async fn serve(name: &'static str, takes: Duration) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr()?;
    let answer = move || async move {
        tokio::time::sleep(takes).await;
        name
    };
    let app = Router::new().route("/", get(answer));
    tokio::spawn(async { axum::serve(acceptor, app).await });
    Ok(addr)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let quick = serve("quick", Duration::from_millis(1)).await?;
    let slow = serve("slow", Duration::from_millis(20)).await?;

    let connector = Multiplex::new(HttpConnector::new());
    let mut services = Vec::new();
    for addr in [quick, slow] {
        let target = Uri::try_from(format!("http://{addr}"))?;
        services.push(Requests::new(connector.clone(), target));
    }
    let balanced = Balance::new(ServiceList::new::<Request<Empty<Bytes>>>(services));
    let mut service = ServiceBuilder::new()
        .timeout(Duration::from_secs(5))
        .service(balanced);

    let mut responses = Vec::new();
    for i in 0..400 {
        let request = Request::get("/").body(Empty::<Bytes>::new())?;
        responses.push(tokio::spawn(service.ready().await?.call(request)));
        if i % 20 == 19 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let mut answers = BTreeMap::new();
    for response in responses {
        let body = response.await??.into_body().collect().await?.to_bytes();
        *answers.entry(body).or_insert(0) += 1;
    }
    println!("{answers:?}");
    Ok(())
}
