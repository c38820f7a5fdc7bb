//! The kit against this crate, and against its own endpoint with each of its faults. In one
//! binary, since most of it waits: run it with many threads.

mod command;
mod faults;
mod rules;
mod this_crate;
