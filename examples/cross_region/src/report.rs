//! The table, and the same as JSON.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::calls::{Row, Way, Work};
use crate::probe::CONNECTS;

/// What the calls went over.
pub enum Path {
    /// A link of this round trip inside the process.
    Simulated(Duration),
    /// The network to this host, with the round trip that was measured.
    Real(SocketAddr, Duration),
}

impl Path {
    fn rtt(&self) -> Duration {
        match self {
            Path::Simulated(rtt) | Path::Real(_, rtt) => *rtt,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Simulated(rtt) => write!(
                f,
                "Simulated: a link of {} ms round trip inside this process, where setting up a TCP \
                 connection costs one round trip and there is no loss, no rate limit and no slow \
                 start.",
                rtt.as_millis(),
            ),
            Path::Real(addr, rtt) => write!(
                f,
                "Not simulated: the link to {addr} was real, and its measured round trip was {:.2} \
                 ms (median of {CONNECTS} TCP connects).",
                millis(*rtt),
            ),
        }
    }
}

pub struct Report {
    path: Path,
    rows: Vec<Row>,
}

impl Report {
    pub fn new(path: Path, rows: Vec<Row>) -> Report {
        Report { path, rows }
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| self.json_row(row));
        json!({
            "simulated": matches!(self.path, Path::Simulated(_)),
            "rtt_ms": millis(self.path.rtt()),
            "link": self.path.to_string(),
            "rows": rows.collect::<Value>(),
        })
    }

    fn json_row(&self, row: &Row) -> Value {
        let (p50, p99) = (row.percentile(50), row.percentile(99));
        json!({
            "way": row.way.to_string(),
            "work": row.work.to_string(),
            "requests": row.latencies.len(),
            "tcp_connections": row.connections,
            "p50_ms": millis(p50),
            "p99_ms": millis(p99),
            "p50_rtt": self.round_trips(p50),
            "p99_rtt": self.round_trips(p99),
            "requests_per_second": row.rate(),
        })
    }

    fn round_trips(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.path.rtt().as_secs_f64()
    }

    /// What tcpchan's burst gained over the pool's, as measured.
    fn gain(&self) -> Option<String> {
        let burst = |way| {
            let mut rows = self.rows.iter();
            rows.find(|row| row.way == way && row.work == Work::Burst)
        };
        let (tcpchan, pool) = (burst(Way::Tcpchan)?, burst(Way::KeepAlivePool)?);
        Some(format!(
            "tcpchan's burst of {} took {:.2} round trips (median) where the keep-alive pool took \
             {:.2}; in all, tcpchan used {} and the pool {}.",
            tcpchan.latencies.len(),
            self.round_trips(tcpchan.percentile(50)),
            self.round_trips(pool.percentile(50)),
            connections(self.connections_in_all(Way::Tcpchan)),
            self.connections_in_all(Way::KeepAlivePool),
        ))
    }

    fn connections_in_all(&self, way: Way) -> u64 {
        let rows = self.rows.iter().filter(|row| row.way == way);
        rows.map(|row| row.connections).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:<18} {:>8} {:>5} {:>9} {:>9} {:>8} {:>8} {:>9}",
            "way", "work", "requests", "TCP", "p50 ms", "p99 ms", "p50 RTT", "p99 RTT", "req/s"
        )?;
        for row in &self.rows {
            let (p50, p99) = (row.percentile(50), row.percentile(99));
            writeln!(
                f,
                "{:<16} {:<18} {:>8} {:>5} {:>9.2} {:>9.2} {:>8.2} {:>8.2} {:>9.1}",
                row.way,
                row.work,
                row.latencies.len(),
                row.connections,
                millis(p50),
                millis(p99),
                self.round_trips(p50),
                self.round_trips(p99),
                row.rate(),
            )?;
        }
        writeln!(
            f,
            "TCP: connections accepted, as the server counted them. RTT: round trips."
        )?;
        if let Some(gain) = self.gain() {
            writeln!(f, "{gain}")?;
        }
        writeln!(f, "{}", self.path)
    }
}

impl Row {
    /// The latency that `percent` of the requests stayed within.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        let latency = self.latencies.get(rank.saturating_sub(1));
        latency.copied().unwrap_or_default()
    }

    /// Requests a second.
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.wall.as_secs_f64()
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn connections(count: u64) -> String {
    match count {
        1 => "1 TCP connection".into(),
        _ => format!("{count} TCP connections"),
    }
}
