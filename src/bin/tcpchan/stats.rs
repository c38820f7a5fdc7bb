//! What `--stats` prints.

use std::io::Write;
use std::time::Duration;

use tcpchan::client::TargetStats;
use tokio::task::JoinSet;

use crate::service::Directory;
use crate::targets::TargetView;

/// Prints lines while it lives, and a last time at its end.
pub struct Report {
    services: Directory,
    _task: JoinSet<()>,
}

impl Report {
    pub fn start(every: Duration, services: Directory) -> Self {
        let mut task = JoinSet::new();
        let printed = services.clone();
        task.spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                print(&lines(&printed));
            }
        });
        let _task = task;
        Report { services, _task }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        print(&lines(&self.services));
    }
}

fn lines(services: &Directory) -> String {
    let services = services.list();
    let lines = services.iter().flat_map(|running| {
        let service = &running.view;
        let name = match service.label().name() {
            "" => service.mode().to_owned(),
            name => format!("{} service={name}", service.mode()),
        };
        let targets = service.targets();
        let targets: Vec<_> = targets
            .iter()
            .map(|one| format!("{name} {}", line(one)))
            .collect();
        std::iter::once(format!("{name} {}", service.counters())).chain(targets)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn line(target: &TargetView) -> String {
    let line = format!(
        "target={} state={} live={}",
        target.name, target.state, target.live
    );
    match &target.link {
        Some(link) => format!("{line} {}", link_line(link)),
        None => line,
    }
}

fn link_line(link: &TargetStats) -> String {
    let rtts = link.connections.iter().filter_map(|one| one.rtt);
    let rtt = rtts.min().map(|rtt| rtt.as_secs_f64() * 1e3);
    let rtt = rtt.map_or("?".to_owned(), |rtt| format!("{rtt:.2}"));
    format!(
        "connections={} rtt_ms={rtt} dials={} dials_failed={}",
        link.connections.len(),
        link.dials,
        link.failed
    )
}

pub fn print(lines: &str) {
    // Who has closed stdout wants no more.
    let _ = writeln!(std::io::stdout(), "{lines}");
}
