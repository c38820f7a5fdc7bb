//! One stream: counted while it lasts, and a line in the log when it has ended.

use std::fmt::Display;
use std::io;
use std::time::Instant;

use tcpchan::proto::ChannelError;
use tracing::{info, warn};

use crate::carry::Broken;
use crate::counters::{Counters, Traffic};
use crate::explain::explain;
use crate::label::Label;

/// How a stream has ended.
#[derive(Debug)]
pub enum End {
    Finished,
    ClientReset(String),
    ServiceReset(String),
    /// Nobody took it.
    Refused(String),
    /// A connection was lost, or a limit or the process ended it.
    CutOff(String),
}

/// Which side of the channel this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Service,
}

/// What is known of a stream. It was cut off unless it is said to have ended.
pub struct Record<'a> {
    label: &'a Label,
    counters: &'a Counters,
    side: Side,
    pub client: String,
    pub target: Option<String>,
    /// The channel's number, the same at both ends of its connection.
    pub channel: Option<u32>,
    since: Instant,
    pub traffic: Traffic<'a>,
    end: End,
}

impl<'a> Record<'a> {
    pub fn new(
        label: &'a Label,
        counters: &'a Counters,
        side: Side,
        client: &impl Display,
    ) -> Self {
        counters.begin();
        Record {
            label,
            counters,
            side,
            client: client.to_string(),
            target: None,
            channel: None,
            since: Instant::now(),
            traffic: Traffic::of(counters),
            end: End::CutOff("the process ended it".to_owned()),
        }
    }

    pub fn end(mut self, end: End) {
        self.end = end;
    }

    /// What an error means here.
    pub fn broken(&self, broken: &Broken) -> End {
        match broken {
            Broken::Silent(limit) => {
                End::CutOff(format!("half-closed, and no byte came for {limit:?}"))
            }
            Broken::Socket(error) => self.reset(self.side, explain(error)),
            Broken::Channel(error) if is_refusal(error) => {
                End::Refused("the server refused the stream: see its log".to_owned())
            }
            Broken::Channel(error) if is_of_connection(error) => End::CutOff(explain(error)),
            Broken::Channel(error) => self.reset(self.side.other(), explain(error)),
        }
    }

    fn reset(&self, by: Side, error: String) -> End {
        match by {
            Side::Client => End::ClientReset(error),
            Side::Service => End::ServiceReset(error),
        }
    }

    /// Bytes to the service, and to the client.
    fn bytes(&self) -> (u64, u64) {
        let (received, sent) = self.traffic.bytes();
        match self.side {
            Side::Client => (received, sent),
            Side::Service => (sent, received),
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let (service, client) = (self.label.field(), &self.client);
        let (target, channel) = (self.target.as_deref(), self.channel);
        let (end, error) = match &self.end {
            End::Finished => ("finished", None),
            End::ClientReset(error) => ("client_reset", Some(error.as_str())),
            End::ServiceReset(error) => ("service_reset", Some(error.as_str())),
            End::CutOff(error) => ("cut_off", Some(error.as_str())),
            End::Refused(error) => {
                self.counters.end(Some(&self.counters.refused));
                return match self.counters.warns_of_refusal() {
                    Some(suppressed) => {
                        warn!(
                            service,
                            client, target, error, suppressed, "refused a client"
                        );
                    }
                    None => {
                        info!(target: "tcpchan::streams", service, client, target, error, "refused a client");
                    }
                };
            }
        };
        let is_whole = matches!(self.end, End::Finished);
        self.counters.end((!is_whole).then_some(&self.counters.cut));
        let (bytes_to_service, bytes_to_client) = self.bytes();
        let seconds = (self.since.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        info!(
            target: "tcpchan::streams",
            service,
            client,
            target,
            channel,
            bytes_to_service,
            bytes_to_client,
            seconds,
            end,
            error,
            "the stream has ended"
        );
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Side::Client => Side::Service,
            Side::Service => Side::Client,
        }
    }
}

/// Whether an error is the end of a whole connection between the two sides.
pub fn is_of_connection(error: &io::Error) -> bool {
    let channel = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        channel,
        Some(ChannelError::Connection(_) | ChannelError::Refused(Some(_)))
    )
}

/// Whether the server said that nobody takes the stream.
fn is_refusal(error: &io::Error) -> bool {
    let channel = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(channel, Some(ChannelError::Refused(None)))
}
