//! What a hyper-util client learns of the connection under a channel.

use std::any::Any;

use hyper_util::client::legacy::connect::{Connected, Connection as Connects, HttpInfo};

use super::channel::Channel;
use super::connection::Connection;
use crate::socket::find;

/// Asks an I/O object.
pub(crate) type Tell = fn(&dyn Any) -> Connected;

#[derive(Debug)]
pub(super) enum Told {
    /// The addresses of its socket, which do not change, if that can be found.
    Socket(Option<HttpInfo>),
    /// The I/O object is asked for each channel: what it tells can't be copied.
    By(Tell),
}

impl Connection {
    /// Has its channels tell what `tell` does, instead of the addresses.
    pub(crate) fn told_by(&self, tell: Tell) {
        let _ = self.handle.0.told.set(Told::By(tell));
    }
}

fn addresses(io: &dyn Any) -> Option<HttpInfo> {
    let mut extras = http::Extensions::new();
    find(io)?.connected().get_extras(&mut extras);
    extras.remove()
}

impl Channel {
    /// What is known of its connection; nothing new once that is over.
    pub(crate) fn told(&self) -> Connected {
        let shared = &self.handle.0;
        let addresses = || Told::Socket(shared.transport().io().and_then(addresses));
        match shared.told.get_or_init(addresses) {
            Told::Socket(None) => Connected::new(),
            Told::Socket(Some(info)) => Connected::new().extra(info.clone()),
            Told::By(tell) => {
                let told = shared.transport().io().map_or_else(Connected::new, tell);
                // That is for who speaks HTTP on the connection itself.
                match told.is_negotiated_h2() {
                    true => Connected::new(),
                    false => told.proxy(false),
                }
            }
        }
    }
}
