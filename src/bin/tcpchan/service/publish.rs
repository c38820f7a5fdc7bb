//! A service that comes to hubs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tcpchan::server::Acceptor;
use tracing::{info, warn};

use super::serve::{Serve, channel_limits};
use super::view::View;
use crate::failure::in_a_line;
use crate::label::Label;
use crate::reverse::Dialler;

/// Keeps a connection to a hub, with the service's plan of the time of each dial.
pub fn acceptor(serve: &Arc<Serve>, hub: &str) -> Option<Acceptor> {
    let (plan, told) = (
        serve.plan(),
        Arc::new(Told::new(serve.label().clone(), hub)),
    );
    let dialler = {
        let serve = Arc::downgrade(serve);
        move || dialler(&serve)
    };
    let acceptor = match plan.dialler()?.speaks_tls() {
        false => Acceptor::dialling(move || {
            let (dialler, told) = (dialler(), told.clone());
            async move { told.tell(dialler?.plain(&told.hub).await) }
        }),
        true => Acceptor::dialling(move || {
            let (dialler, told) = (dialler(), told.clone());
            async move { told.tell(dialler?.tls(&told.hub).await) }
        }),
    };
    let acceptor = acceptor.with_config(plan.config().clone());
    Some(acceptor.with_channel_limits(channel_limits()))
}

fn dialler(serve: &Weak<Serve>) -> io::Result<Arc<Dialler>> {
    let dialler = serve
        .upgrade()
        .and_then(|serve| serve.plan().dialler().cloned());
    dialler.ok_or_else(|| io::Error::other("the service is gone"))
}

/// What the log was told of a hub.
struct Told {
    service: Label,
    hub: String,
    /// Why it is down.
    why: Mutex<Option<String>>,
}

impl Told {
    fn new(service: Label, hub: &str) -> Self {
        Told {
            service,
            hub: hub.to_owned(),
            why: Mutex::default(),
        }
    }

    /// Tells of each connection, and of a failure unless the one before had the same cause.
    fn tell<T>(&self, dialled: io::Result<T>) -> io::Result<T> {
        let (service, hub) = (self.service.field(), &self.hub);
        let why = dialled.as_ref().err().map(|error| in_a_line(error));
        let mut last = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        match &why {
            None => info!(service, hub, "the hub has taken the service"),
            Some(error) if *last != why => warn!(service, hub, error, "the hub is down"),
            Some(_) => {}
        }
        *last = why;
        drop(last);
        dialled
    }
}
