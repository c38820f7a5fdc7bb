//! The listeners of a process. A service that is reloaded takes its own again, so that no
//! client is refused in between.

use std::collections::HashMap;
use std::io;

use tokio::net::TcpListener;

/// Where a listener is. One with a free port is its service's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub address: String,
    owner: Option<(String, usize)>,
}

impl Place {
    /// The place of the service's address with this number.
    pub fn new(service: &str, number: usize, address: &str) -> Self {
        let is_free = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port == "0");
        Place {
            address: address.to_owned(),
            owner: is_free.then(|| (service.to_owned(), number)),
        }
    }
}

/// What listens. Each user has a duplicate of the descriptor.
#[derive(Default)]
pub struct Listeners(HashMap<Place, std::net::TcpListener>);

impl Listeners {
    /// A listener, new or of a socket that is there.
    pub async fn take(&mut self, place: &Place) -> io::Result<TcpListener> {
        if let Some(listener) = self.0.get(place) {
            return TcpListener::from_std(listener.try_clone()?);
        }
        let listener = TcpListener::bind(&place.address).await?.into_std()?;
        let taken = TcpListener::from_std(listener.try_clone()?)?;
        self.0.insert(place.clone(), listener);
        Ok(taken)
    }

    /// Closes those that are not kept, once their users close them.
    pub fn retain(&mut self, is_kept: impl Fn(&Place) -> bool) {
        self.0.retain(|place, _| is_kept(place));
    }
}
