//! No lock of the pool is held while it runs code of the connector.
#![cfg(feature = "client")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use hyper::Uri;
use tcpchan::Config;
use tcpchan::client::Multiplex;
use tower::Service;

use crate::local::Net;

/// Looks at its own multiplex whenever it is cloned.
struct Curious {
    net: Net,
    multiplex: Arc<OnceLock<Multiplex<Curious>>>,
}

impl Clone for Curious {
    fn clone(&self) -> Self {
        self.multiplex.get().map(Multiplex::stats);
        Curious {
            net: self.net.clone(),
            multiplex: self.multiplex.clone(),
        }
    }
}

impl Service<Uri> for Curious {
    type Response = <Net as Service<Uri>>::Response;
    type Error = io::Error;
    type Future = <Net as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.net.call(uri)
    }
}

#[test]
fn a_connector_may_look_at_its_multiplex_when_it_is_cloned() {
    let (done, told) = channel();
    // A thread of its own: where a lock is held, it hangs for ever.
    thread::spawn(move || {
        let multiplex = Arc::default();
        let connector = Curious {
            net: Net::new(Config::default()),
            multiplex: Arc::clone(&multiplex),
        };
        let mut connector = Multiplex::new(connector);
        assert!(multiplex.set(connector.clone()).is_ok());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let opened = runtime.block_on(connector.call(Uri::from_static("http://here/")));
        done.send(opened.map(drop)).unwrap();
    });
    told.recv_timeout(Duration::from_secs(5)).unwrap().unwrap();
}

/// Panics when it is cloned for the first dial.
struct Fragile {
    net: Net,
    clones: Arc<AtomicUsize>,
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        // The first two are the handle's and the target's.
        assert_ne!(self.clones.fetch_add(1, SeqCst), 2, "the connector's clone");
        Fragile {
            net: self.net.clone(),
            clones: self.clones.clone(),
        }
    }
}

impl Service<Uri> for Fragile {
    type Response = <Net as Service<Uri>>::Response;
    type Error = io::Error;
    type Future = <Net as Service<Uri>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.net.call(uri)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_when_it_is_cloned_costs_others_nothing() {
    let mut connector = Multiplex::new(Fragile {
        net: Net::new(Config::default()),
        clones: Arc::default(),
    });
    let uri = Uri::from_static("http://here/");
    let (mut calls, first) = (connector.clone(), uri.clone());
    let panicked = tokio::spawn(async move { calls.call(first).await.map(drop) });
    assert!(panicked.await.unwrap_err().is_panic());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let start = tokio::time::Instant::now();
    connector.call(uri).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
}
