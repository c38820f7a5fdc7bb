#![doc = include_str!("PROTO.md")]

mod api;
mod buffer;
mod channel;
mod chunks;
mod close;
mod config;
mod connection;
mod counts;
mod encode;
mod error;
mod event;
mod flow_control;
mod half;
mod handshake;
mod input;
mod keepalive;
mod key;
mod memory;
mod memory_limit;
mod pending;
mod queues;
mod rate_limit;
mod receive;
mod recv_budget;
mod release;
mod scheduler;
mod send_budget;
mod shutdown;
mod slow_peer;
mod stats;
mod store;
mod timers;
mod transmit;
mod version0;

pub use self::api::Read;
pub use self::config::Config;
pub use self::connection::Connection;
pub use self::error::{
    ChannelError, ConnectionError, ErrorCode, OpenError, REFUSED, TOO_SLOW, TransportError,
};
pub use self::event::Event;
pub use self::handshake::Role;
pub use self::keepalive::DeliverySample;
pub use self::key::Key;
pub use self::stats::Stats;
