//! What a hyper-util client learns of the connection under a channel.

use std::any::Any;

use hyper_util::client::legacy::connect::{Connected, Connection as _, HttpInfo};

use crate::socket::find;

/// Asks an I/O object what hyper-util is to learn of it.
pub(crate) type Describe = fn(&dyn Any) -> Connected;

/// Where that comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The addresses of the socket, if it can be found. They don't change.
    Socket(Option<HttpInfo>),
    /// The I/O object is asked for each channel, because `Connected` can't be copied.
    Io(Describe),
}

impl Source {
    pub fn socket(io: Option<&dyn Any>) -> Self {
        let addresses = |io: &dyn Any| {
            let mut extras = http::Extensions::new();
            find(io)?.connected().get_extras(&mut extras);
            extras.remove()
        };
        Source::Socket(io.and_then(addresses))
    }

    /// `io` is `None` once the connection has ended; then nothing is learned from it.
    pub fn connected(&self, io: Option<&dyn Any>) -> Connected {
        match self {
            Source::Socket(None) => Connected::new(),
            Source::Socket(Some(info)) => Connected::new().extra(info.clone()),
            Source::Io(describe) => {
                let connected = io.map_or_else(Connected::new, describe);
                // HTTP/2 and a proxy concern who speaks HTTP on the connection itself.
                match connected.is_negotiated_h2() {
                    true => Connected::new(),
                    false => connected.proxy(false),
                }
            }
        }
    }
}
