//! The rows of the table and the ways that can run them.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::transport::Transport::{self, Plain, Tls};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Way {
    Tcp,
    Tcpchan,
    /// Version 0 of its protocol.
    TcpchanV0,
    RustYamux,
    TokioYamux,
    AsyncSmux,
    H2,
    Quinn,
    Qmux,
    /// hyper's own HTTP/2, in the HTTP rows.
    HyperHttp2,
}

impl Way {
    pub fn label(self) -> &'static str {
        match self {
            Way::Tcp => "plain TCP",
            Way::Tcpchan => "tcpchan",
            Way::TcpchanV0 => "tcpchan v0",
            Way::RustYamux => "rust-yamux",
            Way::TokioYamux => "tokio-yamux",
            Way::AsyncSmux => "async_smux",
            Way::H2 => "h2 streams",
            Way::Quinn => "quinn",
            Way::Qmux => "qmux",
            Way::HyperHttp2 => "hyper HTTP/2",
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Where the two ends run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cores {
    /// Both on one thread with a current-thread runtime.
    One,
    /// Each on a thread with a current-thread runtime.
    Two,
    /// Both on one multi-thread runtime with two workers.
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    Echo {
        streams: usize,
        idle: usize,
    },
    Open {
        at_once: usize,
        /// Wait for the peer's end before the next one.
        ended: bool,
    },
    /// In writes of 64 KiB; `read` is the size of the reader's buffer.
    Bulk {
        streams: usize,
        read: usize,
    },
    Get {
        at_once: usize,
    },
    GetFresh {
        at_once: usize,
    },
    /// By hyper-util's client, with a stream for each request.
    Client {
        at_once: usize,
    },
    /// By `Requests`.
    Requests {
        at_once: usize,
    },
    Upload {
        at_once: usize,
    },
    Memory {
        tasks: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub label: &'static str,
    pub work: Work,
    pub cores: Cores,
    pub transport: Transport,
    /// What tcpchan aims at: times plain TCP, or at most so many bytes.
    pub target: Option<f64>,
}

const fn row(name: &'static str, label: &'static str, work: Work, cores: Cores) -> Row {
    Row {
        name,
        label,
        work,
        cores,
        transport: Plain,
        target: None,
    }
}

impl Row {
    const fn target(self, target: f64) -> Row {
        Row {
            target: Some(target),
            ..self
        }
    }

    const fn tls(self) -> Row {
        Row {
            transport: Tls,
            ..self
        }
    }
}

use Cores::{One, Shared, Two};
use Work::{Bulk, Client, Echo, Get, GetFresh, Memory, Open, Requests, Upload};

const fn bulk(streams: usize, read_kib: usize) -> Work {
    let read = read_kib << 10;
    Bulk { streams, read }
}

const fn echo(streams: usize) -> Work {
    Echo { streams, idle: 0 }
}

const fn open(at_once: usize) -> Work {
    let ended = false;
    Open { at_once, ended }
}

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("echo1", "one stream, 100 B echo, one core", echo(1), One).target(0.9),
    row("echo64", "64 streams, 100 B echoes", echo(64), Two).target(2.0),
    row("echo1000", "1,000 streams, 100 B echoes", echo(1_000), Two),
    row("echo10000", "10,000 streams, 100 B echoes", echo(10_000), Two),
    row("echo64-idle", "64 streams, 100 B echoes, 100,000 idle", Echo { streams: 64, idle: 100_000 }, Two),
    row("open1", "open, 100 B echo, close; one after another, one core", open(1), One).target(6.0),
    row("open1-ended", "the same, and wait for the peer's end", Open { at_once: 1, ended: true }, One),
    row("open64", "open, 100 B echo, close; 64 at once", open(64), Two).target(12.0),
    row("bulk1", "bulk, one stream, writes and reads of 64 KiB", bulk(1, 64), Two),
    row("bulk32", "bulk, 32 streams, writes and reads of 64 KiB", bulk(32, 64), Two),
    row("bulk1-1k", "bulk, one stream, writes of 64 KiB, reads of 1 KiB", bulk(1, 1), Two).target(2.5),
    row("bulk32-1k", "bulk, 32 streams, writes of 64 KiB, reads of 1 KiB", bulk(32, 1), Two).target(1.1),
    row("get64", "HTTP/1 GET (200 B), 64 at once, streams kept", Get { at_once: 64 }, Two).target(2.2),
    row("get64-fresh", "HTTP/1 GET, 64 at once, a stream per request", GetFresh { at_once: 64 }, Two).target(11.0),
    row("client64", "the same by hyper-util's client", Client { at_once: 64 }, Two),
    row("requests64", "the same by `Requests`; the others by hyper alone", Requests { at_once: 64 }, Two),
    row("upload8", "HTTP/1 POST (256 KiB), 8 at once, streams kept", Upload { at_once: 8 }, Two),
    row("tls-echo64", "TLS: 64 streams, 100 B echoes", echo(64), Two).tls(),
    row("tls-open64", "TLS: open, 100 B echo, close; 64 at once", open(64), Two).tls(),
    row("tls-bulk1", "TLS: bulk, one stream", bulk(1, 64), Two).tls(),
    row("tls-get64", "TLS: HTTP/1 GET, 64 at once, streams kept", Get { at_once: 64 }, Two).tls(),
    row("multi-echo64", "multi-thread runtime: 64 streams, 100 B echoes", echo(64), Shared),
    row("multi-get64", "multi-thread runtime: HTTP/1 GET, 64 at once, kept", Get { at_once: 64 }, Shared),
    row("memory", "resident bytes per idle stream, both ends, an echo task each", Memory { tasks: true }, One).target(1_000.0),
    row("memory-alone", "the same without the tasks", Memory { tasks: false }, One),
];

pub fn find(name: &str) -> Result<&'static Row, String> {
    let names = || {
        ROWS.iter()
            .map(|row| row.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    ROWS.iter()
        .find(|row| row.name == name)
        .ok_or_else(|| format!("no such row; there are {}", names()))
}

impl Row {
    pub fn runs(&self, way: Way) -> bool {
        let http = matches!(self.work, Get { .. } | GetFresh { .. } | Upload { .. });
        let clients = matches!(self.work, Client { .. } | Requests { .. });
        match way {
            Way::HyperHttp2 => http || clients,
            _ if clients => matches!(way, Way::Tcp | Way::Tcpchan),
            Way::Tcp => !matches!(self.work, Echo { idle: 1.., .. }), // more than there are ports
            _ => true,
        }
    }

    /// One of those that compare more streams with 64, round by round.
    pub fn is_scale(&self) -> bool {
        self.cores == Two && self.transport == Plain && matches!(self.work, Echo { .. })
    }

    /// Whether system calls and allocations are counted.
    pub fn is_counted(&self) -> bool {
        self.cores != Shared
            && self.transport == Plain
            && (!self.is_scale() || self.name == "echo64")
            && !self.is_memory()
    }

    /// What figures for each operation are multiplied by: bulk counts bytes.
    pub fn unit(&self) -> f64 {
        match self.work {
            Bulk { .. } => f64::from(1 << 20),
            _ => 1.0,
        }
    }

    pub fn is_bulk(&self) -> bool {
        matches!(self.work, Bulk { .. })
    }

    pub fn is_memory(&self) -> bool {
        matches!(self.work, Memory { .. })
    }
}
