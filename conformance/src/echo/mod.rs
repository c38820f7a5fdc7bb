//! A small echo endpoint, written from SPEC.md, with faults to switch on: what shows that
//! the cases catch them. Without any it passes.

mod channel;
mod endpoint;
mod frames;
mod work;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::peer::Role;
use endpoint::Endpoint;

/// The faults of an endpoint: numbers of rules that it overlooks in what it hears, and
/// names of what it does wrong itself.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<BTreeSet<&'static str>>);

impl Faults {
    /// These.
    pub fn new(faults: &[&'static str]) -> Faults {
        Faults(Arc::new(faults.iter().copied().collect()))
    }

    /// Whether it has this one.
    pub fn has(&self, fault: &str) -> bool {
        self.0.contains(fault)
    }
}

/// Serves echoes until the process ends.
pub fn serve(faults: &Faults) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let faults = faults.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let faults = faults.clone();
            std::thread::spawn(move || Endpoint::new(Role::Server, stream, faults).run());
        }
    });
    Ok(address)
}

/// Dials again and again until nobody listens: the client that the kit wants.
pub fn dial(address: SocketAddr, faults: &Faults) {
    let faults = faults.clone();
    std::thread::spawn(move || {
        while let Ok(stream) = TcpStream::connect(address) {
            // The next connection waits in the backlog while this one goes on.
            let _ = Endpoint::new(Role::Client, stream, faults.clone()).run();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
