//! Requests by the clients that programs have. They dial for themselves, and each request has
//! a stream of its own.

use std::net::SocketAddr;

use anyhow::bail;
use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Multiplex, Requests};
use tcpchan::server::Acceptor;

use crate::http2;
use crate::measure::{self, count};
use crate::row::{Way as Name, Work};
use crate::transport::Listener;
use crate::way::{Tcp, Way};
use crate::work::http::{Body, finish, serve as serve_http};
use crate::work::run_all;

pub async fn serve(way: Name, listener: Listener) -> anyhow::Result<()> {
    match way {
        Name::HyperHttp2 => http2::serve(listener).await,
        Name::Tcp => Tcp::serve(listener, |stream| serve_http(Tcp::http(stream))).await,
        _ => {
            let mut acceptor = Acceptor::new(listener.tcp);
            loop {
                let (channel, _) = acceptor.accept().await;
                tokio::spawn(serve_http(channel));
            }
        }
    }
}

pub async fn drive(way: Name, work: Work, addr: SocketAddr) -> anyhow::Result<()> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    let mut builder = Client::builder(TokioExecutor::new());
    match way {
        Name::HyperHttp2 => builder.http2_only(true),
        _ => builder.pool_max_idle_per_host(0), // a stream for each request
    };
    let target = Uri::try_from(format!("http://{addr}"))?;
    match (work, way) {
        (Work::Client { at_once }, Name::Tcpchan) => {
            pooled(&builder, Multiplex::new(tcp), at_once, target).await
        }
        (Work::Client { at_once }, _) => pooled(&builder, tcp, at_once, target).await,
        (Work::Requests { at_once }, Name::Tcpchan) => {
            let requests = Requests::new(Multiplex::new(tcp), target.clone());
            run(at_once, target, move |request| {
                tower_service::Service::call(&mut requests.clone(), request)
            })
            .await
        }
        _ => bail!("not a row of clients"),
    }
}

async fn pooled<C>(
    builder: &Builder,
    connector: C,
    at_once: usize,
    target: Uri,
) -> anyhow::Result<()>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Body> = builder.build(connector);
    run(at_once, target, move |request| client.request(request)).await
}

/// Requests to the target, `at_once` at a time.
async fn run<F, E, R>(
    at_once: usize,
    target: Uri,
    send: impl Fn(Request<Body>) -> F + Clone + Send + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = Result<Response<R>, E>> + Send,
    R: http_body::Body<Data = Bytes, Error = hyper::Error> + Send + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    let answer = Uri::try_from(format!("{target}answer"))?;
    measure::ready();
    run_all(at_once, || {
        let (send, answer) = (send.clone(), answer.clone());
        async move {
            loop {
                let mut request = Request::new(Body::default());
                *request.uri_mut() = answer.clone();
                finish(send(request).await?).await?;
                count(1);
            }
        }
    })
    .await
}
