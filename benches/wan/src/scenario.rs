//! What is measured.

use anyhow::{Context, Result};

use crate::way::{Kind, Way};

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub work: Work,
    /// Cold starts, each with its warm repeats.
    pub rounds: u32,
    /// The link's losses to run it with.
    pub losses: &'static [f64],
    pub jitter_ms: u64,
    /// The links to run it on.
    pub shapes: &'static [Shape],
    /// How long each of its stages lasts, in seconds, if it has some.
    pub stage: u64,
    /// The ways to run it for unless others are asked for; `None` for all.
    pub ways: Option<&'static [Kind]>,
    /// Those to run over TLS too.
    pub tls: &'static [Kind],
}

/// A link without its conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Mbit/s in each direction; 0 is no limit.
    pub rate: u64,
    pub rtt_ms: u64,
    pub queue_ms: u64,
}

#[derive(Clone, Copy)]
pub enum Work {
    /// So many GETs at once, on no connection and then on those that are open.
    Gets { count: usize, bytes: u64 },
    /// The same with uploads.
    Puts { count: usize, bytes: u64 },
    /// GETs after so many seconds in which the open connections were idle.
    Idle {
        count: usize,
        bytes: u64,
        seconds: u64,
    },
    /// Small GETs while a transfer runs, and the transfer alone.
    Beside { bytes: u64 },
    /// The same with a download and an upload at once.
    BothWays { bytes: u64 },
    /// A stream of requests on a link that turns lossy and recovers.
    Recovers { loss: f64 },
    /// Requests of all sizes on a link that turns lossy, and an event stream.
    Mixed,
    /// So many downloads at once, again and again, in each of the stages.
    Downloads { counts: &'static [usize] },
    /// A GET on a client that keeps so many connections or channels, and on one
    /// that keeps one.
    KeptGet { count: usize, bytes: u64 },
    /// The same with an upload.
    KeptPut { count: usize, bytes: u64 },
    /// GETs on a link whose round trip was another at first, and on one where it
    /// was always the same.
    Changes { from_ms: u64 },
    /// The link itself: echoes, connects, one flow.
    Link,
    /// The link's loss of datagrams.
    Datagrams,
}

/// A small answer: with its headers, 50 of them don't fit the first ten
/// segments that a server's kernel sends on a cold connection.
pub const SMALL: u64 = 256;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// And what shows how many connections tell.
const LOSSY: &[Kind] = &[
    Kind::Tcpchan,
    Kind::TcpchanPooled,
    Kind::TcpchanSystem,
    Kind::TcpchanOne,
    Kind::H1Pool,
    Kind::H1Sixteen,
    Kind::H2Large,
    Kind::Quic,
];

/// What a user may choose between.
const MAIN: &[Kind] = &[
    Kind::Tcpchan,
    Kind::TcpchanSystem,
    Kind::H1Pool,
    Kind::H2Large,
    Kind::Quic,
    Kind::Tcp,
];

/// And what keeps channels.
const KEPT: &[Kind] = &[
    Kind::Tcpchan,
    Kind::TcpchanPooled,
    Kind::TcpchanSystem,
    Kind::H1Pool,
    Kind::H2Large,
    Kind::Quic,
];

/// And what shares one connection.
const BESIDE: &[Kind] = &[
    Kind::Tcpchan,
    Kind::TcpchanSystem,
    Kind::TcpchanOne,
    Kind::H1Pool,
    Kind::H2Large,
    Kind::Quic,
];

/// What decides how many connections there are, and peers of both kinds.
const POOLS: &[Kind] = &[
    Kind::Tcpchan,
    Kind::TcpchanPooled,
    Kind::TcpchanSystem,
    Kind::H1Pool,
    Kind::H2Large,
];

/// And what differs for bursts.
const BURSTS: &[Kind] = &[
    Kind::Tcpchan,
    Kind::TcpchanSystem,
    Kind::TcpchanOne,
    Kind::TcpchanFour,
    Kind::TcpchanEight,
    Kind::H1New,
    Kind::H1Pool,
    Kind::H2Large,
    Kind::Quic,
];

const WITH_TLS: &[Kind] = &[Kind::Tcpchan, Kind::H1New, Kind::H1Pool, Kind::H2Large];

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        ways: Some(BURSTS),
        tls: WITH_TLS,
        ..scenario("small", "a GET of 256 bytes", gets(1, SMALL), 5)
    },
    Scenario {
        ways: None,
        tls: WITH_TLS,
        ..scenario("burst-50", "50 small GETs at once", gets(50, SMALL), 6)
    },
    Scenario {
        ways: Some(BURSTS),
        ..scenario("burst-200", "200 small GETs at once", gets(200, SMALL), 5)
    },
    Scenario {
        ways: Some(BURSTS),
        ..scenario(
            "burst-1000",
            "1,000 small GETs at once",
            gets(1000, SMALL),
            3,
        )
    },
    Scenario {
        ways: None,
        tls: WITH_TLS,
        ..scenario("1mib", "a GET of 1 MiB", gets(1, MIB), 4)
    },
    scenario(
        "1mib-idle-2s",
        "a GET of 1 MiB after 2 s idle",
        idle(1, MIB, 2),
        3,
    ),
    scenario(
        "1mib-idle-30s",
        "a GET of 1 MiB after 30 s idle",
        idle(1, MIB, 30),
        1,
    ),
    scenario(
        "burst-50-idle",
        "50 small GETs at once after 2 s idle",
        idle(50, SMALL, 2),
        5,
    ),
    Scenario {
        ways: Some(LOSSY),
        losses: &[0.0, 0.01],
        ..scenario("50x64k", "50 GETs of 64 KiB at once", gets(50, 64 * KIB), 3)
    },
    scenario("16mib", "a GET of 16 MiB", gets(1, 16 * MIB), 2),
    Scenario {
        ways: Some(&[Kind::Tcpchan, Kind::TcpchanSystem, Kind::Tcp]),
        ..scenario(
            "flow",
            "a GET of 64 MiB: one flow's throughput",
            gets(1, 64 * MIB),
            1,
        )
    },
    scenario("upload-1mib", "an upload of 1 MiB", puts(1, MIB), 3),
    scenario("upload-16mib", "an upload of 16 MiB", puts(1, 16 * MIB), 2),
    Scenario {
        ways: Some(KEPT),
        ..scenario(
            "upload-50x64k",
            "50 uploads of 64 KiB at once",
            puts(50, 64 * KIB),
            3,
        )
    },
    Scenario {
        ways: Some(KEPT),
        ..scenario(
            "16mib-kept",
            "a GET of 16 MiB, on a client that keeps what 200 small GETs left",
            Work::KeptGet {
                count: 200,
                bytes: 16 * MIB,
            },
            2,
        )
    },
    Scenario {
        ways: Some(KEPT),
        ..scenario(
            "upload-16mib-kept",
            "an upload of 16 MiB, on a client that keeps what 200 small GETs left",
            Work::KeptPut {
                count: 200,
                bytes: 16 * MIB,
            },
            2,
        )
    },
    Scenario {
        ways: Some(BESIDE),
        ..scenario(
            "beside",
            "small GETs, one each 20 ms, beside a download of 32 MiB",
            Work::Beside { bytes: 32 * MIB },
            3,
        )
    },
    Scenario {
        ways: Some(BESIDE),
        ..scenario(
            "both-ways",
            "small GETs, one each 20 ms, beside a download and an upload of 32 MiB",
            Work::BothWays { bytes: 32 * MIB },
            2,
        )
    },
    Scenario {
        jitter_ms: 10,
        ..scenario(
            "jitter",
            "50 small GETs at once, 10 ms of jitter each way",
            gets(50, SMALL),
            5,
        )
    },
    scenario(
        "recovers",
        "GETs of 16 KiB, one each 25 ms; 2 % loss from 3 s to 6 s",
        Work::Recovers { loss: 0.02 },
        1,
    ),
    Scenario {
        stage: 30,
        shapes: &[rtt(160)],
        ways: Some(POOLS),
        ..scenario(
            "mixed",
            "50 requests a second, 200 B to 10 MB, bursts, an event stream; clean, lossy, clean",
            Work::Mixed,
            1,
        )
    },
    Scenario {
        shapes: &[
            shape(1, 80, 240), // 20 packets
            shape(5, 80, 80),
            shape(20, 200, 40),
            shape(50, 20, 40),
        ],
        ways: Some(&[Kind::Tcpchan, Kind::TcpchanSystem, Kind::TcpchanOne]),
        ..scenario(
            "links",
            "one, four and twenty downloads at a time on slower links, clean",
            Work::Downloads {
                counts: &[1, 4, 20],
            },
            1,
        )
    },
    Scenario {
        shapes: &[rtt(200)],
        ..scenario(
            "longer",
            "GETs at a round trip of 200 ms, that was 20 ms at first",
            Work::Changes { from_ms: 20 },
            2,
        )
    },
    Scenario {
        shapes: &[rtt(20)],
        ..scenario(
            "shorter",
            "GETs at a round trip of 20 ms, that was 200 ms at first",
            Work::Changes { from_ms: 200 },
            2,
        )
    },
    scenario(
        "link",
        "the link itself: echoes, connects, a flow of 64 MiB",
        Work::Link,
        1,
    ),
    Scenario {
        losses: &[0.01],
        ..scenario("datagrams", "the link's loss", Work::Datagrams, 1)
    },
];

const fn scenario(name: &'static str, about: &'static str, work: Work, rounds: u32) -> Scenario {
    Scenario {
        name,
        about,
        work,
        rounds,
        losses: &[0.0],
        jitter_ms: 0,
        shapes: const { &[rtt(80)] },
        stage: 8,
        ways: Some(MAIN),
        tls: &[],
    }
}

/// Of the round trip that is given, as most scenarios have it.
const fn rtt(rtt_ms: u64) -> Shape {
    shape(200, rtt_ms, 40)
}

const fn shape(rate: u64, rtt_ms: u64, queue_ms: u64) -> Shape {
    Shape {
        rate,
        rtt_ms,
        queue_ms,
    }
}

const fn gets(count: usize, bytes: u64) -> Work {
    Work::Gets { count, bytes }
}

const fn puts(count: usize, bytes: u64) -> Work {
    Work::Puts { count, bytes }
}

const fn idle(count: usize, bytes: u64, seconds: u64) -> Work {
    Work::Idle {
        count,
        bytes,
        seconds,
    }
}

impl Scenario {
    /// The ways that it is run for: those that were asked for, or its own.
    pub fn ways<'a>(&'a self, asked: &'a [Way]) -> impl Iterator<Item = Way> + 'a {
        let is_asked = move |way: &Way| match asked {
            [] if way.tls => self.tls.contains(&way.kind),
            [] => self.ways.is_none_or(|ways| ways.contains(&way.kind)),
            asked => asked.contains(way) || self.is_of_the_link(),
        };
        Way::all().filter(move |way| is_asked(way) && self.takes(*way))
    }

    /// Plain TCP carries one transfer at a time, and only it measures the link.
    fn takes(&self, way: Way) -> bool {
        match self.work {
            Work::Gets { count: 1, bytes } | Work::Puts { count: 1, bytes } => {
                way.kind != Kind::Tcp || bytes > SMALL
            }
            Work::Idle { count, .. } => way.kind != Kind::Tcp || count == 1,
            Work::Changes { .. } => true,
            Work::Link | Work::Datagrams => way.kind == Kind::Tcp,
            _ => way.kind != Kind::Tcp,
        }
    }

    /// Whether it does nothing most of the time.
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle { seconds, .. } if seconds > 10)
    }

    fn is_of_the_link(&self) -> bool {
        matches!(self.work, Work::Link | Work::Datagrams)
    }
}

/// Where it stands in the list.
pub fn place(name: &str) -> Option<usize> {
    SCENARIOS.iter().position(|scenario| scenario.name == name)
}

pub fn find(name: &str) -> Result<&'static Scenario> {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("no scenario is called {name}"))
}
