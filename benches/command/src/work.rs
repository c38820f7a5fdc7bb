//! The work, and the table of its figures.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::usage;
use crate::way::{Chain, Way};

/// Bytes of a small answer.
const SMALL: usize = 1024;

/// Bytes that a download asks for at a time.
const LARGE: usize = 64 << 20;

/// Clients at a time of the small requests.
const CLIENTS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    Download,
    Kept,
    Fresh,
    Idle,
}

/// The rate, and what it cost for each unit: of processor time, in microseconds. Of idle
/// streams: streams opened in a second, and bytes of memory for each.
#[derive(Clone, Copy)]
pub struct Figure {
    rate: f64,
    cost: f64,
}

impl Work {
    pub const TIMED: [Work; 3] = [Work::Download, Work::Kept, Work::Fresh];

    /// Does it for a time, after a start whose figures are not taken.
    pub async fn run(self, chain: &Chain, time: Duration) -> Result<Figure> {
        let done = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        let count = if self == Work::Download { 1 } else { CLIENTS };
        for _ in 0..count {
            clients.spawn(self.client(chain.addr, done.clone()));
        }
        tokio::time::sleep(time / 3).await;
        let (start, before) = (Instant::now(), done.load(Relaxed));
        let used = usage::processor(&chain.ids())?;
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            Some(failed) = clients.join_next() => failed??,
        }
        let units = (done.load(Relaxed) - before) as f64;
        let used = (usage::processor(&chain.ids())? - used).as_secs_f64();
        Ok(Figure {
            rate: units / start.elapsed().as_secs_f64(),
            cost: used * 1e6 / units,
        })
    }

    /// Counts MiB, or requests.
    async fn client(self, to: SocketAddr, done: Arc<AtomicU64>) -> Result<()> {
        let mut buffer = vec![0; 1 << 20];
        if self == Work::Fresh {
            loop {
                let mut tcp = connect(to).await?;
                ask(&mut tcp, &mut buffer[..SMALL]).await?;
                done.fetch_add(1, Relaxed);
            }
        }
        let mut tcp = connect(to).await?;
        loop {
            if self == Work::Kept {
                ask(&mut tcp, &mut buffer[..SMALL]).await?;
                done.fetch_add(1, Relaxed);
                continue;
            }
            tcp.write_u64(LARGE as u64).await?;
            for _ in 0..LARGE / buffer.len() {
                tcp.read_exact(&mut buffer).await?;
                done.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Opens streams, one after another, with a request on each, and keeps them.
pub async fn idle(chain: &Chain, streams: usize) -> Result<Figure> {
    let mut buffer = [0; SMALL];
    let mut held = Vec::with_capacity(streams);
    let first = connect(chain.addr).await?;
    held.push(first);
    ask(&mut held[0], &mut buffer).await?;
    let before = usage::memory(&chain.ids())?;
    let start = Instant::now();
    for number in 1..streams {
        let mut tcp = connect(chain.addr).await?;
        let asked = timeout(Duration::from_secs(20), ask(&mut tcp, &mut buffer));
        let asked = asked.await.with_context(|| format!("stream {number}"))?;
        asked.with_context(|| format!("stream {number}"))?;
        held.push(tcp);
    }
    let rate = (streams - 1) as f64 / start.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = usage::memory(&chain.ids())?.saturating_sub(before);
    for tcp in &mut held {
        ask(tcp, &mut buffer)
            .await
            .context("a stream that was idle")?;
    }
    Ok(Figure {
        rate,
        cost: grown as f64 / (streams - 1) as f64,
    })
}

async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn ask(tcp: &mut TcpStream, answer: &mut [u8]) -> Result<()> {
    tcp.write_u64(answer.len() as u64).await?;
    tcp.read_exact(answer).await?;
    Ok(())
}

#[derive(Default)]
pub struct Figures(HashMap<(String, Work), Vec<Figure>>);

impl Figures {
    pub fn add(&mut self, way: &Way, work: Work, figure: Figure) {
        let of = self.0.entry((way.name.clone(), work)).or_default();
        of.push(figure);
    }

    pub fn table(&self, ways: &[Way]) -> String {
        let mut table = String::from(
            "| way | download, MiB/s | CPU us/MiB | requests/s, kept | CPU us | \
             requests/s, fresh | CPU us | idle, bytes a stream |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for way in ways {
            let _ = write!(table, "| {} |", way.name);
            for work in Work::TIMED {
                let (rate, cost) = self.medians(way, work);
                let _ = write!(table, " {rate} | {cost} |");
            }
            let (_, memory) = self.medians(way, Work::Idle);
            let _ = writeln!(table, " {memory} |");
        }
        table
    }

    fn medians(&self, way: &Way, work: Work) -> (String, String) {
        let Some(figures) = self.0.get(&(way.name.clone(), work)) else {
            return ("-".to_owned(), "-".to_owned());
        };
        let median = |part: fn(&Figure) -> f64| {
            let mut values: Vec<f64> = figures.iter().map(part).collect();
            values.sort_by(f64::total_cmp);
            format!("{:.0}", values[values.len() / 2])
        };
        (median(|figure| figure.rate), median(|figure| figure.cost))
    }
}
