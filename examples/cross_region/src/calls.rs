//! The same calls in three ways, measured.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use tcpchan::client::{Connector, Multiplex};

use crate::caller::{Caller, Counter, builder, root};
use crate::progress::Progress;
use crate::server::Target;
use crate::{Failure, body};

/// What is asked of the server, and how often.
#[derive(Args, Clone, Copy)]
pub struct Load {
    /// Bytes of each request's body; 0 makes it a GET, anything else a POST
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=body::LARGEST as i64))]
    pub request_body: u32,
    /// Bytes of each response's body
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=body::LARGEST as i64))]
    pub response_body: u32,
    /// Requests one after another
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub count: u16,
    /// Requests at once in a burst; each may need a file descriptor, or two
    /// where the server is in the same process
    #[arg(long, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// Seconds that one request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Print JSON instead of a table, and no progress
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    NewConnections,
    KeepAlivePool,
    Tcpchan,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Way::NewConnections => "new connections",
            Way::KeepAlivePool => "keep-alive pool",
            Way::Tcpchan => "tcpchan",
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
pub enum Work {
    Cold,
    Burst,
    Sequence,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Work::Cold => "one cold",
            Work::Burst => "a burst",
            Work::Sequence => "one after another",
        })
    }
}

/// What one work in one way took.
pub struct Row {
    pub way: Way,
    pub work: Work,
    /// TCP connections that the server accepted meanwhile.
    pub connections: u64,
    /// In ascending order.
    pub latencies: Vec<Duration>,
    pub wall: Duration,
}

/// Makes all calls through `connector`, which is the same for all ways.
pub async fn three_ways<C>(connector: C, target: Target, load: Load) -> Result<Vec<Row>, Failure>
where
    C: Connect + Connector + Clone + Send + Sync + 'static,
    Multiplex<C>: Connect + Clone + Send + Sync + 'static,
{
    let counter = Counter::new(target).await?;
    let mut run = Run {
        target,
        load,
        counter,
        progress: Progress::new(load.json),
        rows: Vec::new(),
    };
    let new = builder().pool_max_idle_per_host(0).build(connector.clone());
    run.way(Way::NewConnections, new).await?;
    let pool = builder().build(connector.clone());
    run.way(Way::KeepAlivePool, pool).await?;
    let tcpchan = builder().build(Multiplex::new(connector));
    run.way(Way::Tcpchan, tcpchan).await?;
    Ok(run.rows)
}

struct Run {
    target: Target,
    load: Load,
    counter: Counter,
    progress: Progress,
    rows: Vec<Row>,
}

impl Run {
    /// The three works, on one client: cold, a burst, one after another.
    async fn way<C>(&mut self, way: Way, client: Client<C, Full<Bytes>>) -> Result<(), Failure>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let addr = match way {
            Way::Tcpchan => self.target.tcpchan,
            _ => self.target.plain,
        };
        let caller = Caller::new(client, addr, self.load)?;
        for work in [Work::Cold, Work::Burst, Work::Sequence] {
            let row = self.work(way, work, &caller).await;
            self.progress.clear();
            let row = row.map_err(|error| format!("{way}, {work}: {}", root(&*error)))?;
            self.rows.push(row);
        }
        Ok(())
    }

    async fn work<C>(&self, way: Way, work: Work, caller: &Caller<C>) -> Result<Row, Failure>
    where
        C: Connect + Clone + Send + Sync + 'static,
    {
        let before = self.counter.accepted(way).await?;
        let all = match work {
            Work::Cold => 1,
            Work::Burst => self.load.concurrency,
            Work::Sequence => self.load.count,
        };
        let step = format!("{way}, {work}");
        let show = |done| self.progress.show(&step, done, all);
        let start = Instant::now();
        let mut latencies = match work {
            Work::Burst => caller.burst(all, show).await?,
            Work::Cold | Work::Sequence => caller.sequence(all, show).await?,
        };
        let wall = start.elapsed();
        latencies.sort();
        let connections = self.counter.accepted(way).await?.checked_sub(before);
        Ok(Row {
            way,
            work,
            connections: connections.ok_or("the server was started anew meanwhile")?,
            latencies,
            wall,
        })
    }
}
