//! Many *channels* over one TCP connection.
//!
//! A channel is a full-duplex byte stream with the behaviour of a TCP
//! connection; opening one costs no round trip, because the open and the first
//! bytes leave together on a connection that is already up.
//!
//! This version holds the lowest layer, [`wire`]: the frames of the protocol.
#![warn(missing_docs)]

pub mod wire;
