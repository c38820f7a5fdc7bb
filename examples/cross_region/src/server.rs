//! The axum server: one app on two listeners, plain TCP and tcpchan, and the
//! count of the TCP connections that each accepted.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::serve::{Listener, ListenerExt};
use axum::{Json, Router};
use bytes::Bytes;
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;

use crate::{Failure, body};

/// How long requests may take to finish once the server has to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Where a server listens.
#[derive(Clone, Copy)]
pub struct Target {
    pub plain: SocketAddr,
    pub tcpchan: SocketAddr,
}

/// The TCP connections accepted so far.
#[derive(Default)]
struct Accepted {
    plain: AtomicU64,
    tcpchan: AtomicU64,
}

pub struct Server {
    pub target: Target,
    plain: TcpListener,
    tcpchan: TcpListener,
}

impl Server {
    pub fn new(plain: TcpListener, tcpchan: TcpListener) -> io::Result<Server> {
        body::of_length(0).map_err(io::Error::other)?; // so that no request waits for the pattern
        let target = Target {
            plain: plain.local_addr()?,
            tcpchan: tcpchan.local_addr()?,
        };
        Ok(Server {
            target,
            plain,
            tcpchan,
        })
    }

    /// Serves until `stop` is ready; requests that are under way get [`GRACE`].
    pub async fn run<S>(self, stop: impl Fn() -> S) -> io::Result<()>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let accepted = Arc::new(Accepted::default());
        let app = Router::new()
            .route("/connections", get(connections))
            .route("/exchange/{sent}/{wanted}", any(exchange))
            .with_state(accepted.clone());
        let acceptor = Acceptor::new(self.tcpchan);
        let drain = acceptor.drain_handle();
        let tcpchan = Counted(acceptor, accepted.clone());
        let plain = self.plain.tap_io(move |io| {
            let _ = io.set_nodelay(true); // a socket that is gone says so when it is read
            accepted.plain.fetch_add(1, Relaxed);
        });
        let late = async {
            stop().await;
            tokio::time::sleep(GRACE).await
        };
        let plain = axum::serve(plain, app.clone()).with_graceful_shutdown(stop());
        let plain = async {
            tokio::select! {
                result = plain.into_future() => result,
                () = late => Ok(()),
            }
        };
        let serve = |stop| axum::serve(tcpchan, app).with_graceful_shutdown(stop);
        let tcpchan = drain.serve_until(stop(), GRACE, serve);
        tokio::try_join!(plain, tcpchan).map(drop)
    }
}

async fn connections(State(accepted): State<Arc<Accepted>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "plain": accepted.plain.load(Relaxed),
        "tcpchan": accepted.tcpchan.load(Relaxed),
    }))
}

/// Takes a body of the one length and answers with one of the other.
async fn exchange(
    Path((sent, wanted)): Path<(usize, usize)>,
    body: Body,
) -> Result<Bytes, (StatusCode, String)> {
    let refuse = |error: Failure| (StatusCode::BAD_REQUEST, error.to_string());
    let (expected, answer) = (body::of_length(sent), body::of_length(wanted));
    body::check(body, expected.map_err(refuse)?)
        .await
        .map_err(refuse)?;
    answer.map_err(refuse)
}

/// Notes the number of each channel's connection, as [`Acceptor`] counts them.
struct Counted<L>(L, Arc<Accepted>);

impl<L: Listener<Addr = PeerInfo>> Listener for Counted<L> {
    type Io = L::Io;
    type Addr = PeerInfo;

    async fn accept(&mut self) -> (L::Io, PeerInfo) {
        let (channel, peer) = self.0.accept().await;
        self.1.tcpchan.fetch_max(peer.connection, Relaxed);
        (channel, peer)
    }

    fn local_addr(&self) -> io::Result<PeerInfo> {
        self.0.local_addr()
    }
}
