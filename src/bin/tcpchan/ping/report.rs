//! What a ping tells: a line for each round and a table, or one JSON document.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::round::Round;
use super::spread::{Spread, milliseconds};
use crate::failure::Failure;

type Part = fn(&Round) -> Option<Duration>;

/// The parts of a round, in their order.
const PARTS: [(&str, Part); 4] = [
    ("tcp", |round| Some(round.tcp)),
    ("tls", |round| round.tls),
    ("hello", |round| round.hello),
    ("channel", |round| Some(round.channel)),
];

pub struct Report {
    to: String,
    rounds: Vec<Result<Round, String>>,
}

/// The document. Its fields are in the guide.
#[derive(Serialize)]
struct Document<'a> {
    to: &'a str,
    sent: usize,
    answered: usize,
    tcp_ms: Option<Spread>,
    tls_ms: Option<Spread>,
    hello_ms: Option<Spread>,
    channel_ms: Option<Spread>,
    rounds: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Answered {
        address: String,
        tcp_ms: f64,
        tls_ms: Option<f64>,
        hello_ms: Option<f64>,
        channel_ms: f64,
    },
    Failed {
        error: &'a str,
    },
}

impl<'a> From<&'a Result<Round, String>> for Entry<'a> {
    fn from(round: &'a Result<Round, String>) -> Self {
        match round {
            Ok(round) => Entry::Answered {
                address: round.addr.to_string(),
                tcp_ms: milliseconds(round.tcp),
                tls_ms: round.tls.map(milliseconds),
                hello_ms: round.hello.map(milliseconds),
                channel_ms: milliseconds(round.channel),
            },
            Err(error) => Entry::Failed { error },
        }
    }
}

impl Report {
    pub fn new(to: String) -> Self {
        Report {
            to,
            rounds: Vec::new(),
        }
    }

    pub fn add(&mut self, round: Result<Round, String>) {
        self.rounds.push(round);
    }

    /// The line of a round that is not added yet.
    pub fn line(&self, round: &Result<Round, String>) -> String {
        let mut line = format!("{}", self.rounds.len() + 1);
        match round {
            Ok(round) => {
                let _ = write!(line, "  {}", round.addr);
                for (name, part) in PARTS {
                    if let Some(time) = part(round) {
                        let _ = write!(line, "  {name} {:.2} ms", milliseconds(time));
                    }
                }
            }
            Err(error) => {
                let _ = write!(line, "  {}  {error}", self.to);
            }
        }
        line
    }

    fn answered(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().flatten()
    }

    fn spread(&self, part: Part) -> Option<Spread> {
        Spread::of(self.answered().filter_map(part))
    }

    /// Of all rounds; nothing if none was answered.
    pub fn table(&self) -> String {
        let (sent, answered) = (self.rounds.len(), self.answered().count());
        let mut table = format!("{answered} of {sent} rounds answered");
        let spreads = PARTS.map(|(name, part)| (name, self.spread(part)));
        if answered > 0 {
            let [name, min, p50, p90, p99, max] = ["ms", "min", "p50", "p90", "p99", "max"];
            let _ = write!(
                table,
                "\n\n{name:<7}{min:>10}{p50:>10}{p90:>10}{p99:>10}{max:>10}   from min to max"
            );
        }
        for (name, spread) in spreads {
            let Some(spread) = spread else { continue };
            let _ = write!(table, "\n{name:<7}");
            let Spread {
                min,
                p50,
                p90,
                p99,
                max,
                histogram,
            } = spread;
            for time in [min, p50, p90, p99, max] {
                let _ = write!(table, "{time:>10.2}");
            }
            let _ = write!(table, "   |{histogram}|");
        }
        table
    }

    pub fn json(&self) -> Result<String, Failure> {
        let [tcp, tls, hello, channel] = PARTS.map(|(_, part)| self.spread(part));
        let document = Document {
            to: &self.to,
            sent: self.rounds.len(),
            answered: self.answered().count(),
            tcp_ms: tcp,
            tls_ms: tls,
            hello_ms: hello,
            channel_ms: channel,
            rounds: self.rounds.iter().map(Entry::from).collect(),
        };
        serde_json::to_string_pretty(&document).map_err(|error| Failure::new(error.to_string()))
    }

    /// For the exit code.
    pub fn result(&self) -> Result<(), Failure> {
        let (sent, answered) = (self.rounds.len(), self.answered().count());
        match answered == sent && sent > 0 {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "{answered} of {sent} rounds were answered"
            ))),
        }
    }
}
