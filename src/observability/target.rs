//! Whom a dial is to, and the labels of that.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::emit::Label;

/// Whom a dial is to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub address: Option<Arc<str>>,
    pub port: Option<u16>,
    pub labels: Vec<Label>,
    /// Tells one from another where the address is not known.
    number: u64,
}

impl Target {
    pub fn new(host: Option<&str>, port: Option<u16>, labels: Vec<Label>) -> Self {
        Target {
            address: host.map(Arc::from),
            port,
            labels,
            number: 0,
        }
    }

    /// One whose address its acceptor knows.
    pub fn unnamed() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Relaxed);
        Target {
            number,
            ..Target::default()
        }
    }

    pub(super) fn who(&self) -> Who {
        Who::Target(self.address.clone(), self.port, self.number)
    }
}

/// A host and a port.
type Name = (String, Option<u16>);

/// The labels of targets, of which only so many are told apart: a recorder keeps each
/// for ever.
#[derive(Debug)]
pub(crate) struct TargetLabels {
    most: usize,
    given: Mutex<HashMap<Name, Vec<Label>>>,
}

impl TargetLabels {
    pub fn new(most: usize) -> Self {
        TargetLabels {
            most,
            given: Mutex::default(),
        }
    }

    #[cfg(feature = "metrics")]
    pub fn most(&self) -> usize {
        self.most
    }

    pub fn of(&self, host: Option<&str>, port: Option<u16>) -> Vec<Label> {
        let key = (host.unwrap_or_default().to_owned(), port);
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = given.get(&key) {
            return labels.clone();
        }
        if given.len() >= self.most {
            return labels("other", "");
        }
        let port = port.map_or_else(String::new, |port| port.to_string());
        let labels = labels(&key.0, &port);
        given.insert(key, labels.clone());
        labels
    }
}

/// Each request copies them.
fn labels(address: &str, port: &str) -> Vec<Label> {
    vec![
        Label::new("server_address", Arc::<str>::from(address)),
        Label::new("server_port", Arc::<str>::from(port)),
    ]
}

/// Whose lines are limited together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Peer(IpAddr),
    Target(Option<Arc<str>>, Option<u16>, u64),
}
