//! An axum app on an acceptor, which restarts.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::post;
use tcpchan::server::{Acceptor, DrainHandle, PeerInfo};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::guard::within;

pub struct Server {
    pub addr: SocketAddr,
    /// Requests so far.
    pub served: watch::Receiver<usize>,
    /// The connections that they came on.
    connections: Arc<Mutex<HashSet<u64>>>,
    stop: oneshot::Sender<()>,
    drain: DrainHandle,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(addr: SocketAddr) -> Server {
        let listener = TcpListener::bind(addr).await.unwrap();
        let acceptor = Acceptor::new(listener);
        let addr = acceptor.local_addr().unwrap();
        let drain = acceptor.drain_handle();
        let (count, served) = watch::channel(0);
        let connections = Arc::<Mutex<HashSet<u64>>>::default();
        let seen = connections.clone();
        let answer = move |ConnectInfo(peer): ConnectInfo<PeerInfo>| async move {
            seen.lock().unwrap().insert(peer.connection);
            count.send_modify(|n| *n += 1);
            "done"
        };
        let app = Router::new().route("/", post(answer));
        let (stop, stopped) = oneshot::channel();
        let draining = drain.clone();
        let task = tokio::spawn(async move {
            let signal = async move {
                let _ = stopped.await;
                draining.drain(Duration::from_secs(60));
                draining.drained().await;
            };
            let service = app.into_make_service_with_connect_info::<PeerInfo>();
            let serve = axum::serve(acceptor, service).with_graceful_shutdown(signal);
            serve.await.unwrap();
        });
        Server {
            addr,
            served,
            connections,
            stop,
            drain,
            task,
        }
    }

    /// How many connections brought requests.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Waits until it has answered so many requests.
    pub async fn has_served(&mut self, count: usize) {
        let served = self.served.wait_for(|served| *served >= count);
        within(served).await.unwrap();
    }

    /// Lets what is in flight finish, and starts anew at the same place.
    pub async fn restart(self) -> Server {
        self.stop.send(()).unwrap();
        within(self.task).await.unwrap();
        within(self.drain.closed()).await;
        Server::start(self.addr).await
    }
}
