//! Whether the services can do what they are for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::service::{Running, View};

/// How long an answer is good for. So askers, however many, cost the targets a connection a
/// second.
const FRESH: Duration = Duration::from_secs(1);

/// How long the targets of a service may take.
const WITHIN: Duration = Duration::from_secs(10);

type Told = Result<String, String>;

#[derive(Default)]
pub struct Readiness(Mutex<Option<(Instant, Told)>>);

impl Readiness {
    /// A line for each service that is ready, or for each that is not.
    pub async fn check(&self, services: &[Running]) -> Told {
        let mut last = self.0.lock().await;
        if let Some((at, told)) = &*last
            && at.elapsed() < FRESH
        {
            return told.clone();
        }
        let told = check(services).await;
        *last = Some((Instant::now(), told.clone()));
        told
    }
}

async fn check(services: &[Running]) -> Told {
    let mut checks = JoinSet::new();
    for service in services {
        checks.spawn(check_one(service.view.clone()));
    }
    let mut checked: Vec<Told> = checks.join_all().await;
    checked.sort();
    let (mut ready, mut failed) = (String::new(), String::new());
    for one in checked {
        match one {
            Ok(line) => ready += &line,
            Err(line) => failed += &line,
        }
    }
    match (failed.is_empty(), ready.is_empty()) {
        (true, true) => Err("no service\n".to_owned()),
        (true, false) => Ok(ready),
        (false, _) => Err(failed),
    }
}

async fn check_one(service: Arc<dyn View>) -> Told {
    let name = service.label().field().unwrap_or(service.mode());
    match timeout(WITHIN, service.reachable()).await {
        Ok(Ok(target)) => Ok(format!("{name}: {target} is reachable\n")),
        Ok(Err(error)) => Err(format!("{name}: {error}\n")),
        Err(_) => Err(format!("{name}: no target was reached within {WITHIN:?}\n")),
    }
}
