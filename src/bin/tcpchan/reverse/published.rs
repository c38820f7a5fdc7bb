//! The services that have come to the hubs of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tcpchan::{Channel, Connection};
use tokio::time::timeout;

use crate::targets::Unreached;

const NONE: &str = "no service with this name has come";

/// How long a service may take for a new stream.
const PATIENCE: Duration = Duration::from_secs(5);

/// By name, the connections that services have made. Clones share it.
#[derive(Clone, Default)]
pub struct Published(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    /// With each, its number.
    by_name: HashMap<String, Vec<(u64, Connection)>>,
    next: u64,
}

/// Takes a connection off the list when it is dropped.
pub struct Listed {
    published: Published,
    name: String,
    number: u64,
}

impl Published {
    pub fn list(&self, name: String, connection: Connection) -> Listed {
        let mut all = self.lock();
        let number = all.next;
        all.next += 1;
        let of_name = all.by_name.entry(name.clone()).or_default();
        of_name.push((number, connection));
        drop(all);
        Listed {
            published: self.clone(),
            name,
            number,
        }
    }

    /// A channel to the service with this name: of those that have come, to the one that
    /// carries the fewest.
    pub async fn open(&self, name: &str) -> Result<Channel, Unreached> {
        let mut why = Unreached::Down(NONE.to_owned());
        for connection in self.order(name) {
            why = match timeout(PATIENCE, connection.open()).await {
                Ok(Ok(channel)) => return Ok(channel),
                Ok(Err(error)) => Unreached::because(&error),
                Err(_) => Unreached::Full(format!("no stream was free for {PATIENCE:?}")),
            };
        }
        Err(why)
    }

    /// Whether a service with this name is there.
    pub fn probe(&self, name: &str) -> Result<(), Unreached> {
        match self.order(name).is_empty() {
            true => Err(Unreached::Down(NONE.to_owned())),
            false => Ok(()),
        }
    }

    /// All connections, each with its name.
    pub fn all(&self) -> Vec<(String, Connection)> {
        let all = self.lock();
        let of_name = |(name, list): (&String, &Vec<(u64, Connection)>)| {
            let name = name.clone();
            let list = list.iter().map(|(_, one)| one.clone()).collect::<Vec<_>>();
            list.into_iter().map(move |one| (name.clone(), one))
        };
        all.by_name.iter().flat_map(of_name).collect()
    }

    /// Those that are well first, and of these the ones that carry the fewest.
    fn order(&self, name: &str) -> Vec<Connection> {
        let mut all = self.connections(name);
        all.retain(Connection::is_open);
        all.sort_by_cached_key(|one| (one.is_suspect(), one.stats().channels));
        all
    }

    /// The connections of a name.
    pub fn connections(&self, name: &str) -> Vec<Connection> {
        let all = self.lock();
        let of_name = all.by_name.get(name).into_iter().flatten();
        of_name.map(|(_, connection)| connection.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut all = self.published.lock();
        let Some(of_name) = all.by_name.get_mut(&self.name) else {
            return;
        };
        let gone: Vec<_> = of_name
            .extract_if(.., |(number, _)| *number == self.number)
            .collect();
        if of_name.is_empty() {
            all.by_name.remove(&self.name);
        }
        drop(all);
        drop(gone); // the lock is free
    }
}
