//! A service: what it is to do, what does it, and how that changes.

mod change;
mod ending;
mod hub;
mod publish;
mod record;
mod relay;
mod serve;
mod spec;
mod strangers;
mod swap;
mod view;

pub use self::change::{Change, Service};
pub use self::ending::{Ended, Ending};
pub use self::spec::{Mode, Spec};
pub use self::view::{Directory, Running, View};
