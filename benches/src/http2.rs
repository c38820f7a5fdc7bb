//! hyper's own HTTP/2: what a service would use in place of channels.

use hyper::client::conn::http2;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;

use crate::measure::{self, count};
use crate::transport::{Listener, Transport};
use crate::work::http::{Body, answer, finish, request};
use crate::work::run_all;

pub async fn serve(listener: Listener) -> anyhow::Result<()> {
    let io = TokioIo::new(listener.accept().await?);
    Builder::new(TokioExecutor::new())
        .serve_connection(io, service_fn(answer))
        .await?;
    Ok(())
}

/// Requests on one connection, `at_once` at a time.
pub async fn drive(
    addr: SocketAddr,
    transport: Transport,
    at_once: usize,
    upload: bool,
) -> anyhow::Result<()> {
    let io = TokioIo::new(transport.connect(addr).await?);
    let (sender, connection) = http2::handshake::<_, _, Body>(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    measure::ready();
    run_all(at_once, || {
        let mut sender = sender.clone();
        async move {
            loop {
                sender.ready().await?;
                finish(sender.send_request(request(upload)).await?).await?;
                count(1);
            }
        }
    })
    .await
}
