//! The services that a process has now, and what is left of those it had.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::failure::Failure;
use crate::net::Listeners;
use crate::reverse::Published;
use crate::service::{Change, Directory, Ended, Ending, Service, Spec};

pub struct Services {
    running: BTreeMap<String, Service>,
    listeners: Listeners,
    /// Each takes the clients of one address, or carries what it took. It tells whether
    /// something was cut off.
    tasks: JoinSet<bool>,
    endings: Vec<Arc<Ending>>,
    directory: Directory,
    published: Published,
}

impl Services {
    pub fn new(listeners: Listeners) -> Self {
        Services {
            running: BTreeMap::new(),
            listeners,
            tasks: JoinSet::new(),
            endings: Vec::new(),
            directory: Directory::default(),
            published: Published::default(),
        }
    }

    /// Has these services from now on and no others, or changes nothing.
    pub async fn apply(&mut self, specs: Vec<Spec>) -> Result<(), Failure> {
        let mut changes = Vec::new();
        let mut problems = Vec::new();
        for spec in specs {
            let (old, origin) = (self.running.get(spec.label.name()), spec.origin.clone());
            match Change::prepare(spec, old, &mut self.listeners, &self.published).await {
                Ok(change) => changes.push(change),
                Err(problem) => problems.push(origin.tell(&problem)),
            }
        }
        if problems.is_empty() {
            self.commit(changes);
            self.tell_unused();
        }
        let running = &self.running;
        self.listeners
            .retain(|place| running.values().any(|service| service.listens_on(place)));
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Failure::lines(1, problems)),
        }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let mut old = std::mem::take(&mut self.running);
        for change in changes {
            let name = change.label().name().to_owned();
            let service = change.commit(old.remove(&name), &mut self.tasks);
            self.running.insert(name, service);
        }
        old.into_values().for_each(Service::retire);
        self.endings.retain(|ending| !ending.is_over());
        for front in self.running.values().flat_map(Service::fronts) {
            if !self
                .endings
                .iter()
                .any(|one| Arc::ptr_eq(one, &front.ending))
            {
                self.endings.push(front.ending.clone());
            }
        }
        let running = self.running.values().map(Service::running);
        self.directory.set(running.collect());
    }

    /// Warns of sockets that were passed and that nobody takes clients from.
    fn tell_unused(&self) {
        let used: Vec<_> = self.running.values().flat_map(Service::fronts).collect();
        let used: Vec<_> = used.into_iter().map(|front| front.place.clone()).collect();
        for name in self.listeners.unused(&used) {
            let listen = format!("systemd:{name}");
            warn!(
                listen,
                "no service takes clients from a socket that was passed"
            );
        }
    }

    /// For people who ask the service manager.
    pub fn status(&self) -> String {
        match self.running.len() {
            1 => "1 service".to_owned(),
            count => format!("{count} services"),
        }
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Takes note of a task that has ended; never ready without one.
    pub async fn reap(&mut self) -> bool {
        match self.tasks.join_next().await {
            Some(ended) => ended.unwrap_or(true),
            None => std::future::pending().await,
        }
    }

    /// Takes no new clients, and waits until those that are there have ended, or the deadline
    /// has. Whether something was cut off.
    pub async fn finish(&mut self, mut ended: Ended) -> bool {
        let endings = std::mem::take(&mut self.endings);
        let tell = |deadline| endings.iter().for_each(|ending| ending.by(deadline));
        tell(ended.asked().await);
        self.listeners.retain(|_| false);
        for ending in &endings {
            ending.closed().await;
        }
        info!("stopping");
        let mut cut_off = false;
        loop {
            tokio::select! {
                sooner = ended.sooner() => tell(sooner),
                task = self.tasks.join_next() => match task {
                    Some(ended) => cut_off |= ended.unwrap_or(true),
                    None => return cut_off,
                },
            }
        }
    }

    /// Whether something is still on its way.
    pub fn carry(&self) -> bool {
        self.running.values().any(Service::carries)
    }
}
