//! Where the services of a process come from, at its start and at each reload.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::config::{Config, Set};
use crate::failure::{Failure, Problem};
use crate::service::{Change, Spec};

pub enum Source {
    Arguments(Box<Spec>),
    File {
        path: PathBuf,
        /// The options of the process as it has them.
        process: Vec<Set>,
    },
}

impl Source {
    /// The services, as the source has them now. Of the process's own options it is told which
    /// have changed, and have no effect.
    pub fn read(&self) -> Result<(Vec<Spec>, Vec<String>), Failure> {
        let (services, changed) = match self {
            Source::Arguments(spec) => (vec![Spec::clone(spec)], Vec::new()),
            Source::File { path, process } => {
                let config = Config::read(path)?;
                (config.services, changed(process, &config.process))
            }
        };
        let services: Vec<_> = services.into_iter().flat_map(Spec::with_relays).collect();
        match same_name(&services).or_else(|| same_place(&services)) {
            Some(line) => Err(Failure::wrong(vec![line])),
            None => Ok((services, changed)),
        }
    }

    /// Says what would keep the services from starting, but for addresses that others have.
    pub fn check(&self) -> Result<usize, Failure> {
        let (services, _) = self.read()?;
        let wrong = services.iter().filter_map(|spec| {
            let problem = Change::check(spec).err()?;
            Some(spec.origin.tell(&problem))
        });
        let wrong: Vec<_> = wrong.collect();
        match wrong.is_empty() {
            true => Ok(services.len()),
            false => Err(Failure::wrong(wrong)),
        }
    }
}

fn changed(before: &[Set], now: &[Set]) -> Vec<String> {
    let differs = |set: &&Set, others: &[Set]| {
        let other = others.iter().find(|other| other.key == set.key);
        other.is_none_or(|other| other.words != set.words)
    };
    let changed = now.iter().filter(|set| differs(set, before));
    let gone = before
        .iter()
        .filter(|set| !now.iter().any(|one| one.key == set.key));
    changed.chain(gone).map(|set| set.key.clone()).collect()
}

/// A line about two services with one name: a hub's relays have theirs after it.
fn same_name(services: &[Spec]) -> Option<String> {
    let mut seen = HashSet::new();
    let twice = services
        .iter()
        .find(|spec| !seen.insert(spec.label.name()))?;
    let what = format!("another service has the name {}", twice.label.name());
    Some(twice.origin.tell(&Problem::new("mode", what)))
}

/// A line about an address that two services listen on.
fn same_place(services: &[Spec]) -> Option<String> {
    let mut seen = Vec::new();
    for spec in services {
        for place in spec.places() {
            if seen.contains(&place) {
                let what = format!("{} is there twice", place.address);
                return Some(spec.origin.tell(&Problem::new("listen", what)));
            }
            seen.push(place);
        }
    }
    None
}
