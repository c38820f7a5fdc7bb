//! The tasks of a target: what starts them, and what they tell it.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use http::uri::Authority;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Target;
use crate::client::error::ConnectError;
use crate::client::pool::dialling::{DialGuard, Dials, dial};
use crate::client::pool::resolving::{ResolveGuard, Resolves, resolve};
use crate::driver::Connection;
use crate::observability;

/// Why nothing is dialled.
const SHUT_DOWN: &str = "the runtime for connections was shut down";

impl Target {
    /// Has a task of its own dial, so that no caller takes the dial from others.
    pub(super) fn dial(self: &Arc<Self>, id: u64, addr: Option<SocketAddr>, at: Instant) {
        let guard = DialGuard::new(self, id);
        let dialling = {
            let dialler = self.dialler.lock();
            dialler.unwrap_or_else(PoisonError::into_inner).dial(addr)
        };
        let task = self.runtime().spawn(dial(guard, dialling, at));
        let mut inner = self.lock();
        if inner.state.dials.has(id) {
            inner.dials.insert(id, task.abort_handle());
        }
    }

    /// Has a task resolve the name.
    pub(super) fn resolve(self: &Arc<Self>, question: u64) {
        let (Some(discovery), Some(host)) = (&self.settings.discovery, &self.host) else {
            return;
        };
        let guard = ResolveGuard::new(self, question);
        let within = self.settings.pool.open_timeout;
        let tells = self.settings.suspect_after() / 4;
        let asks = resolve(guard, discovery.resolve(host), within, tells);
        drop(self.runtime().spawn(asks));
    }

    /// Where dials and connections run.
    fn runtime(&self) -> Handle {
        let runtime = self.settings.runtime.clone();
        runtime.unwrap_or_else(Handle::current)
    }
}

impl Dials for Target {
    fn dial_begins(self: &Arc<Self>, id: u64) {
        self.with(|inner, now| inner.state.dial_begins(id, now));
    }

    fn dialled(self: &Arc<Self>, id: u64, result: Result<Connection, ConnectError>) {
        if let Ok(connection) = &result {
            connection.watched_by(self.watcher.clone());
        }
        let error = result.as_ref().err();
        let met = error.filter(|error| error.met().is_some()).cloned();
        let believed = self.with(|inner, now| {
            inner.dials.remove(&id);
            let (believed, result) = inner.state.verdict.judge(result, now);
            inner.state.dialled(id, result, now);
            believed
        });
        if let Some(met) = met.as_ref().and_then(ConnectError::met) {
            met.tell(believed);
        }
    }

    /// A dial ended with its runtime. What it was for is done on another that has
    /// callers.
    fn dial_lost(self: &Arc<Self>, id: u64) {
        if self.settings.runtime.is_some() {
            return self.dialled(id, Err(ConnectError::dial(SHUT_DOWN)));
        }
        let mut inner = self.lock();
        inner.dials.remove(&id);
        inner.state.dial_lost(id);
        drop(inner);
        self.look_at(Instant::now());
    }
}

impl Resolves for Target {
    fn resolved(self: &Arc<Self>, question: u64, result: Result<Vec<SocketAddr>, ConnectError>) {
        if let Err(error) = &result {
            let authority = self.key.1.as_ref();
            let (host, port) = (
                authority.map(Authority::host),
                authority.and_then(Authority::port_u16),
            );
            let target = observability::Target::new(host, port, Vec::new());
            observability::unresolved(&target, error);
        }
        self.with(|inner, now| inner.state.resolved(question, result, now));
    }

    fn resolution_runs(self: &Arc<Self>, question: u64) {
        let now = Instant::now().into();
        self.lock().state.resolution_runs(question, now);
    }

    fn resolution_lost(self: &Arc<Self>, question: u64) {
        if self.settings.runtime.is_some() {
            return self.resolved(question, Err(ConnectError::resolve(SHUT_DOWN)));
        }
        self.lock().state.resolution_lost(question);
        self.look_at(Instant::now());
    }
}
