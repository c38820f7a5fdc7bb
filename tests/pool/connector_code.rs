//! No lock of the pool is held while it runs code of the connector.
#![cfg(feature = "client")]

use std::io;
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
