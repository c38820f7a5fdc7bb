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

/// Runs code of a test whenever it is cloned.
struct OnClone {
    net: Net,
    run: Arc<dyn Fn() + Send + Sync>,
}

impl Clone for OnClone {
    fn clone(&self) -> Self {
        (self.run)();
        OnClone {
            net: self.net.clone(),
            run: self.run.clone(),
        }
    }
}

impl Service<Uri> for OnClone {
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

fn connector(run: impl Fn() + Send + Sync + 'static) -> Multiplex<OnClone> {
    Multiplex::new(OnClone {
        net: Net::new(Config::default()),
        run: Arc::new(run),
    })
}

#[test]
fn a_connector_may_look_at_its_multiplex_when_it_is_cloned() {
    let (done, told) = channel();
    // A thread of its own: where a lock is held, it hangs for ever.
    thread::spawn(move || {
        let own: Arc<OnceLock<Multiplex<OnClone>>> = Arc::default();
        let looks = own.clone();
        let mut connector = connector(move || {
            looks.get().map(Multiplex::stats);
        });
        assert!(own.set(connector.clone()).is_ok());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        let opened = runtime.block_on(connector.call(Uri::from_static("http://here/")));
        done.send(opened.map(drop)).unwrap();
    });
    told.recv_timeout(Duration::from_secs(5)).unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_when_it_is_cloned_costs_others_nothing() {
    let clones = AtomicUsize::new(0);
    let mut connector = connector(move || {
        // The first two are the handle's and the target's, the third is for the first dial.
        assert_ne!(clones.fetch_add(1, SeqCst), 2, "as it is to");
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
