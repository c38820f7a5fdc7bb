#![doc = include_str!("index.md")]

#[doc = include_str!("quick_start.md")]
pub mod quick_start {}

#[doc = include_str!("axum.md")]
pub mod axum {}

#[doc = include_str!("tonic.md")]
pub mod tonic {}

#[doc = include_str!("reqwest.md")]
#[cfg_attr(unix, doc = "\n[`LocalSocket`]: crate::client::LocalSocket")]
pub mod reqwest {}

#[doc = include_str!("channels.md")]
pub mod channels {}

#[doc = include_str!("pool.md")]
pub mod pool {}

#[doc = include_str!("deploying.md")]
pub mod deploying {}

#[doc = include_str!("long_links.md")]
pub mod long_links {}

#[doc = include_str!("fast_links.md")]
pub mod fast_links {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("command.md")]
pub mod command {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("wire_protocol.md")]
pub mod wire_protocol {}

#[doc = include_str!("from_python.md")]
pub mod from_python {}

#[doc = include_str!("when_not.md")]
pub mod when_not {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}
