//! One row of one way, in a process of its own: nothing is left over for the
//! next, and one that hangs can be killed.

use std::future::Future;
use std::thread;
use std::time::Duration;

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::measure::{self, Measured};
use crate::row::{Cores, Row, Way as Name, Work};
use crate::transport::Listener;
use crate::way::{self, Way};
use crate::work::{bulk, echo, http};
use crate::{client, http2, memory};

/// Runs the row, prints what was measured and exits.
pub fn run(row: &'static Row, name: Name, time: Duration) -> anyhow::Result<()> {
    allow_many_files();
    match name {
        _ if is_of_clients(row, name) => start_clients(row, name, time),
        Name::Tcpchan => start::<way::TcpChan<1>>(row, time),
        Name::TcpchanV0 => start::<way::TcpChan<0>>(row, time),
        Name::Tcp => start::<way::Tcp>(row, time),
        Name::RustYamux => start::<way::Yamux>(row, time),
        Name::TokioYamux => start::<way::TokioYamux>(row, time),
        Name::AsyncSmux => start::<way::Smux>(row, time),
        Name::H2 => start::<way::H2>(row, time),
        Name::Quinn => start::<way::Quinn>(row, time),
        Name::Qmux => start::<way::Qmux>(row, time),
        Name::HyperHttp2 => start_http2(row, time),
    }
}

fn start<W: Way>(row: &'static Row, time: Duration) -> anyhow::Result<()> {
    let (bound, addr) = oneshot::channel();
    let server = async move {
        let (addr, listener) = W::listen(row.transport)?;
        let _ = bound.send(addr);
        serve::<W>(listener, row.work).await
    };
    let client = async move {
        let addr = addr.await?;
        match row.work {
            Work::Memory { tasks } => {
                report(&Measured {
                    bytes: Some(memory::drive::<W>(addr, row.transport, tasks).await?),
                    ..Measured::default()
                });
            }
            work => drive::<W>(W::connect(addr, row.transport).await?, work).await?,
        }
        bail!("the client ended")
    };
    launch(row.cores, server, client)?;
    report(&measure::traffic(time));
}

/// Whether a program's client dials. hyper alone is what others have in place of `Requests`.
fn is_of_clients(row: &Row, name: Name) -> bool {
    match row.work {
        Work::Client { .. } => true,
        Work::Requests { .. } => name == Name::Tcpchan,
        _ => false,
    }
}

fn start_clients(row: &'static Row, name: Name, time: Duration) -> anyhow::Result<()> {
    let (bound, addr) = oneshot::channel();
    let server = async move {
        let (addr, listener) = Listener::bind(row.transport)?;
        let _ = bound.send(addr);
        client::serve(name, listener).await
    };
    let client = async move { client::drive(name, row.work, addr.await?).await };
    launch(row.cores, server, client)?;
    report(&measure::traffic(time));
}

fn start_http2(row: &'static Row, time: Duration) -> anyhow::Result<()> {
    let (bound, addr) = oneshot::channel();
    let server = async move {
        let (addr, listener) = Listener::bind(row.transport)?;
        let _ = bound.send(addr);
        http2::serve(listener).await
    };
    let (at_once, upload) = match row.work {
        Work::Get { at_once } | Work::GetFresh { at_once } | Work::Requests { at_once } => {
            (at_once, false)
        }
        Work::Upload { at_once } => (at_once, true),
        _ => bail!("not a row of HTTP"),
    };
    let client = async move { http2::drive(addr.await?, row.transport, at_once, upload).await };
    launch(row.cores, server, client)?;
    report(&measure::traffic(time));
}

async fn serve<W: Way>(listener: W::Listener, work: Work) -> anyhow::Result<()> {
    match work {
        Work::Bulk { read, .. } => {
            W::serve(listener, move |stream| bulk::serve(stream, read)).await
        }
        Work::Get { .. } | Work::GetFresh { .. } | Work::Requests { .. } | Work::Upload { .. } => {
            W::serve(listener, |stream| http::serve(W::http(stream))).await
        }
        Work::Memory { tasks: false } => W::serve(listener, memory::keep()).await,
        _ => W::serve(listener, echo::serve).await,
    }
}

async fn drive<W: Way>(client: W::Client, work: Work) -> anyhow::Result<()> {
    match work {
        Work::Echo { streams, idle } => echo::kept::<W>(client, streams, idle).await,
        Work::Open { at_once, ended } => echo::fresh::<W>(client, at_once, ended).await,
        Work::Bulk { streams, .. } => bulk::send::<W>(client, streams).await,
        Work::Get { at_once } => http::kept::<W>(client, at_once, false).await,
        Work::Upload { at_once } => http::kept::<W>(client, at_once, true).await,
        Work::GetFresh { at_once } | Work::Requests { at_once } => {
            http::fresh::<W>(client, at_once).await
        }
        Work::Client { .. } | Work::Memory { .. } => Ok(()),
    }
}

/// Puts the two ends where the row wants them.
fn launch<S, C>(cores: Cores, server: S, client: C) -> anyhow::Result<()>
where
    S: Future<Output = anyhow::Result<()>> + Send + 'static,
    C: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (server, client) = (or_exit("server", server), or_exit("client", client));
    let current = || Builder::new_current_thread().enable_all().build();
    if cores == Cores::Two {
        spawn(current()?, server);
        spawn(current()?, client);
        return Ok(());
    }
    let runtime = match cores {
        Cores::Shared => Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?,
        _ => current()?,
    };
    spawn(runtime, async {
        tokio::spawn(server);
        let _ = tokio::spawn(client).await;
    });
    Ok(())
}

fn spawn(runtime: Runtime, end: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(move || runtime.block_on(end));
}

/// An end that is over before the measurement is an error.
async fn or_exit(end: &str, future: impl Future<Output = anyhow::Result<()>>) {
    let result = future.await;
    eprintln!("the {end} ended: {result:?}");
    std::process::exit(1);
}

fn report(measured: &Measured) -> ! {
    match serde_json::to_string(measured) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("{error}"),
    }
    std::process::exit(0)
}

/// Two file descriptors for each stream, where each is a connection.
pub fn allow_many_files() {
    let limit = Some(100_000);
    let wanted = Rlimit {
        current: limit,
        maximum: limit,
    };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let most = getrlimit(Resource::Nofile).maximum;
        let most = Rlimit {
            current: most,
            maximum: most,
        };
        let _ = setrlimit(Resource::Nofile, most);
    }
}
