//! What the pool does with the answers of the resolver.

use std::net::SocketAddr;
use std::time::Instant;

use super::link::Link;
use super::state::State;
use crate::client::ConnectError;

impl<L: Link> State<L> {
    /// The addresses may have changed.
    pub(super) fn hasten(&mut self, now: Instant) {
        if let Some(resolution) = &mut self.resolution {
            resolution.hasten(now);
        }
    }

    /// What the name resolves to. If that can't be known, the last answer stays.
    pub fn resolved(
        &mut self,
        question: u64,
        result: Result<Vec<SocketAddr>, ConnectError>,
        now: Instant,
    ) {
        let resolution = self.resolution.as_mut();
        let error = result.as_ref().err().cloned();
        if !resolution.is_some_and(|resolution| resolution.end(question, error, now)) {
            return;
        }
        match result {
            Ok(found) => {
                for gone in self.addresses.set(found) {
                    self.dials.forget(gone);
                    let there = self.pooled.iter_mut();
                    there.for_each(|one| _ = one.address.take_if(|address| *address == gone));
                }
            }
            // As after a dial, who came late is not told of a time that is over.
            Err(error) if self.addresses.len() == 0 && !error.is_timeout() => {
                self.unreported = Some(error);
            }
            Err(_) => {}
        }
        self.look(now);
    }

    /// The task of a question runs.
    pub fn resolution_runs(&mut self, question: u64, now: Instant) {
        if let Some(resolution) = &mut self.resolution {
            resolution.runs(question, now);
        }
    }

    /// The resolver was asked on a runtime that has ended.
    pub fn resolution_lost(&mut self, question: u64) {
        if let Some(resolution) = &mut self.resolution {
            resolution.lost(question);
        }
    }
}
