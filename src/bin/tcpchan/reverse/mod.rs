//! Services that come to a hub, and are reached through it by their names.

mod certified;
mod dialler;
mod greeting;
mod keys;
mod published;

pub use self::certified::is_certified;
pub use self::dialler::Dialler;
pub use self::greeting::receive;
pub use self::keys::Keys;
pub use self::published::Published;
