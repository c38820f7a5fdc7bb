//! Listeners and connections of the system.

mod listeners;

pub use self::listeners::{Listeners, Place};
