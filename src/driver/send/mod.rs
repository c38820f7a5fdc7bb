//! When bytes leave.

pub mod coalesce;
pub mod pacer;
