//! Where connections come from and go to.

mod listeners;
mod narrow;
mod outgoing;
mod proxy;

pub use self::listeners::{Listeners, Place};
pub use self::outgoing::Outgoing;
pub use self::proxy::{Proxy, ProxyError};
