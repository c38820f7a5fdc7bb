//! What a service is to do.

use crate::args;
use crate::config::Origin;
use crate::label::Label;
use crate::net::Place;

/// A service as its options describe it.
#[derive(Clone, Debug)]
pub struct Spec {
    pub label: Label,
    pub mode: Mode,
    pub origin: Origin,
}

#[derive(Clone, Debug)]
pub enum Mode {
    Relay(args::Relay),
    Serve(args::Serve),
}

impl Spec {
    /// Where it listens.
    pub fn places(&self) -> Vec<Place> {
        let listen = match &self.mode {
            Mode::Relay(relay) => &relay.listen,
            Mode::Serve(serve) => &serve.listen,
        };
        let (listen, mode) = (&listen.listen, listen.unix_mode);
        let name = self.label.name();
        let place = |(number, address): (usize, &String)| Place::new(name, number, address, mode);
        listen.iter().enumerate().map(place).collect()
    }
}
