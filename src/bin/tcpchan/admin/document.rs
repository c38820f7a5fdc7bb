//! What `/connections` says. The guide has the meaning of each field.

use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Document {
    pub version: String,
    pub uptime_seconds: f64,
    pub stopping: bool,
    pub services: Vec<Service>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub mode: String,
    pub listen: Vec<String>,
    pub streams: Streams,
    pub bytes_to_clients: u64,
    pub bytes_to_services: u64,
    pub targets: Vec<Target>,
    pub connections: Vec<Connection>,
    pub connections_left_out: usize,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Streams {
    pub open: u64,
    pub total: u64,
    pub finished: u64,
    pub refused: u64,
    pub cut_off: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Target {
    pub name: String,
    pub state: String,
    pub streams: u64,
    pub waiting: Option<u64>,
    pub dials: Option<u64>,
    pub dials_failed: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Connection {
    pub key: u64,
    pub id: Option<String>,
    pub peer: Option<String>,
    pub target: Option<String>,
    pub identity: Option<Vec<String>>,
    pub state: String,
    pub version: Option<u8>,
    pub age_seconds: f64,
    pub silent_seconds: f64,
    pub round_trip_ms: Option<f64>,
    pub shortest_round_trip_ms: Option<f64>,
    pub streams: ConnectionStreams,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub unread_bytes: u64,
    pub sent_bytes_per_second: Option<f64>,
    pub received_bytes_per_second: Option<f64>,
    pub limited_to_bytes_per_second: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionStreams {
    pub open: u64,
    pub ending: u64,
    pub available: u64,
    pub total: u64,
    pub refused: u64,
    pub reset: u64,
}
