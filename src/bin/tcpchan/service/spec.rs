//! What a service is to do.

use std::collections::BTreeMap;

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
    Hub(args::Hub),
    Publish(args::Publish),
}

impl Spec {
    /// Where it listens.
    pub fn places(&self) -> Vec<Place> {
        let listen = match &self.mode {
            Mode::Relay(relay) => &relay.listen,
            Mode::Serve(serve) => &serve.listen,
            Mode::Hub(hub) => &hub.listen,
            Mode::Publish(publish) => {
                let hub = |(number, hub): (usize, &String)| {
                    Place::dialled(self.label.name(), number, hub)
                };
                return publish.way.hub.iter().enumerate().map(hub).collect();
            }
        };
        let (listen, mode) = (&listen.listen, listen.unix_mode);
        let name = self.label.name();
        let place = |(number, address): (usize, &String)| Place::new(name, number, address, mode);
        listen.iter().enumerate().map(place).collect()
    }

    /// The service, and with a hub the relays of its services.
    pub fn with_relays(self) -> Vec<Spec> {
        let mut addresses = BTreeMap::<&str, Vec<&str>>::new();
        if let Mode::Hub(hub) = &self.mode {
            for (name, address) in &hub.service {
                addresses.entry(name).or_default().push(address);
            }
        }
        let relays = addresses.into_iter();
        let relays: Vec<_> = relays
            .map(|(name, listen)| self.relay(name, &listen))
            .collect();
        std::iter::once(self).chain(relays).collect()
    }

    fn relay(&self, name: &str, listen: &[&str]) -> Spec {
        let label = match self.label.name() {
            "" => name.to_owned(),
            hub => format!("{hub}.{name}"),
        };
        Spec {
            label: Label::new(&label),
            mode: Mode::Relay(args::Relay::of_hub(name, listen)),
            origin: self.origin.clone(),
        }
    }
}
