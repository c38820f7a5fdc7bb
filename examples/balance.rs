//! Requests over several servers: tower's balancer takes, of two servers by
//! chance, the one with fewer requests under way; each server has few
//! connections of its own, which heal themselves.
//!
//! `cargo run --example balance` runs it against three servers of its own.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceExt, service_fn};

type AnyError = Box<dyn Error + Send + Sync>;

async fn serve(name: &'static str) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let acceptor = Acceptor::new(listener);
    let addr = acceptor.local_addr()?;
    let app = Router::new().route("/", get(move || async move { name }));
    tokio::spawn(async { axum::serve(acceptor, app).await });
    Ok(addr)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut addresses = Vec::new();
    for name in ["north", "south", "west"] {
        addresses.push(serve(name).await?);
    }

    // One connector: its pool keeps the connections of each address apart.
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(Multiplex::new(HttpConnector::new()));
    let endpoints = addresses.into_iter().map(|address| {
        let client = client.clone();
        let endpoint = service_fn(move |mut request: Request<Empty<Bytes>>| {
            let uri = Uri::builder().scheme("http").authority(address.to_string());
            let uri = uri.path_and_query(request.uri().path()).build();
            let client = client.clone();
            async move {
                *request.uri_mut() = uri?;
                Ok::<_, AnyError>(client.request(request).await?)
            }
        });
        PendingRequests::new(endpoint, CompleteOnResponse::default())
    });
    // For addresses that come and go, give it a stream of `Change`s instead.
    // `tower::buffer` makes a balancer that many tasks share.
    let mut service = Balance::new(ServiceList::new(endpoints));

    let mut answers = BTreeMap::new();
    for _ in 0..300 {
        let request = Request::get("/").body(Empty::new())?;
        let response = service.ready().await?.call(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        *answers.entry(body).or_insert(0) += 1;
    }
    println!("{answers:?}");
    Ok(())
}
