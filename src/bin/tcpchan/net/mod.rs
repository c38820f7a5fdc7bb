//! Where connections come from and go to.

mod address;
mod listener;
mod listeners;
mod narrow;
mod outgoing;
mod passed;
mod proxy;
mod stream;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod unix_connector;
#[cfg(unix)]
mod unix_incoming;

pub use self::address::Address;
pub use self::listener::{Listener, is_of_one_connection};
pub use self::listeners::{Listeners, Place};
pub use self::outgoing::Outgoing;
pub use self::passed::Passed;
pub use self::proxy::{Proxy, ProxyError};
pub use self::stream::{Client, Stream};
#[cfg(unix)]
pub use self::unix_connector::UnixConnector;
#[cfg(unix)]
pub use self::unix_incoming::{UnixIncoming, unix_limits};
