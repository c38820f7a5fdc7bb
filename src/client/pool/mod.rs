//! The connections of each target.
//!
//! [`state`] is the pool of one target: a state machine that is given the time, asks
//! its connections how they are, [adjusts](adjust) them, and returns [actions](action). Each
//! part owns what it decides on:
//!
//! - [`pooled`] and [`outlier`]: what is known of a connection;
//! - [`select`]: which connection gets a channel;
//! - [`demand`] and [`loss`]: how many connections there should be;
//! - [`dials`]: the dials under way;
//! - [`addresses`]: where the next dial goes, and when it may begin;
//! - [`resolution`]: when the target's name is resolved, and [`resolved`]: what follows;
//! - [`waiters`]: who is served next;
//! - [`drains`]: connections that get no more channels;
//! - [`verdict`]: whether callers are to call by HTTP, and [`met`]: what follows when a server
//!   has shown what it speaks.
//!
//! [`simulation`] drives the state machine from seeds. [`target`] runs its actions.
//! [`targets`] has all targets and the task that wakes them.

mod action;
mod addresses;
mod adjust;
mod answers;
mod ask;
mod demand;
mod dial;
mod dialling;
mod dials;
mod drains;
mod link;
mod loss;
mod met;
mod outlier;
mod pooled;
mod resolution;
mod resolved;
mod resolving;
mod select;
#[cfg(test)]
mod simulation;
mod state;
mod target;
mod targets;
mod verdict;
mod waiters;

pub(super) use self::ask::Direct;
pub(super) use self::dial::{DialTo, Dialler};
pub(super) use self::target::{Found, Target, Waiting};
pub(super) use self::targets::Targets;
