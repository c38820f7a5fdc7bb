//! A process: its services, from their start by way of reloads to their end.

mod notify;
mod open_files;
mod services;
mod signals;
mod source;

use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{error, info, warn};

use self::notify::Notify;
use self::services::Services;
use self::signals::Signal;
pub use self::signals::Signals;
pub use self::source::Source;
use crate::admin::{self, Metrics};
use crate::args::Process;
use crate::failure::Failure;
use crate::net::{Listeners, Passed};
use crate::service::Ending;
use crate::stats::Report;

/// Runs services until a signal, and what they carry to its end.
pub async fn run(source: Source, args: Process, passed: Passed) -> Result<(), Failure> {
    open_files::raise_limit();
    let mut signals = Signals::new().map_err(|error| Failure::because("signals", &error))?;
    let metrics = args.admin.admin.is_some().then(Metrics::install).flatten();
    let mut services = Services::new(Listeners::new(passed));
    let mut notify = Notify::new();
    services.apply(source.read()?.0).await?;
    let admin = admin::Server::start(&args.admin, metrics, services.directory().clone()).await?;
    notify.ready(&services.status());
    let report = args
        .stats
        .map(|every| Report::start(every, services.directory().clone()));
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => reload(&source, &mut services, &mut notify).await,
            },
            _ = services.reap() => {}
            () = notify.alive() => {}
        }
    }
    notify.stopping();
    if let Some(admin) = &admin {
        admin.process_stops();
    }
    let ending = Ending::new();
    let hurry = async {
        signals.stop().await;
        ending.within(Duration::ZERO);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = finish(services, (report, admin), args.grace, &ending) => ended,
        () = hurry => Ok(()), // never
        () = notify.alive() => Ok(()), // never
    }
}

/// Changes the services to what the source says now, or nothing.
async fn reload(source: &Source, services: &mut Services, notify: &mut Notify) {
    notify.reloading();
    let apply = async {
        let (specs, changed) = source.read()?;
        services.apply(specs).await.map(|()| changed)
    };
    let result = tokio::select! {
        result = apply => result,
        () = notify.alive() => return, // never: a name may take the system long
    };
    match result {
        Ok(changed) => {
            for key in changed {
                warn!(option = key, "a changed option needs a restart");
            }
            info!("reloaded");
            notify.ready(&services.status());
        }
        Err(failure) => {
            failure.text().iter().for_each(|line| error!("{line}"));
            error!("not reloaded: nothing has changed");
            let why = failure.text().join("; ");
            notify.ready(&format!("{}; not reloaded: {why}", services.status()));
        }
    }
}

/// Waits until what is carried has ended, then for the connections, which close once nobody
/// holds the services. What is left after the grace, or once `ending` says so, is cut off; a
/// connection whose peer is silent has nothing left.
async fn finish(
    mut services: Services,
    viewers: (Option<Report>, Option<admin::Server>),
    grace: Duration,
    ending: &Ending,
) -> Result<(), Failure> {
    ending.within(grace);
    let mut late = pin!(ending.told().deadline());
    let mut cut_off = services.finish(ending.told()).await;
    while !cut_off && services.carry() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = &mut late => cut_off = true,
        }
    }
    if cut_off {
        return Err(Failure::cut_off("what was still carried was cut off"));
    }
    drop((services, viewers));
    tokio::select! {
        () = tasks_ended() => {}
        () = late => {}
    }
    Ok(())
}

/// Waits for the tasks that nobody can join: those of the connections, which
/// send their last bytes.
pub async fn tasks_ended() {
    while Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}

/// How often to look where nothing tells. It is only looked while the command stops.
const LOOK: Duration = Duration::from_millis(2);
