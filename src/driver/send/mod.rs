//! When bytes leave: one [decision](decision::decide), and what it is made from.

pub mod coalesce;
pub mod decision;
pub mod pacer;
