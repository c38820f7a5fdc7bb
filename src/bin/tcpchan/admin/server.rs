//! HTTP connections to the admin address: few, short, and one request each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::routes::Admin;
use crate::net::is_of_one_connection;

/// Connections at a time. Further ones wait in the system's backlog.
const MOST: usize = 16;

/// How long a request may take to come, and a connection in all.
const REQUEST: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);

/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;

pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((tcp, _)) => {
                    connections.spawn(answer(tcp, admin.clone()));
                }
                Err(error) if is_of_one_connection(&error) => {}
                // Out of file descriptors, for one.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(tcp: TcpStream, admin: Arc<Admin>) {
    let service = service_fn(|request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), service);
    let _ = timeout(WHOLE, connection).await; // whatever the client did wrong
}
