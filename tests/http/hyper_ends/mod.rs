//! What the end of a channel or of its connection looks like through hyper, at
//! both sides: a body that was cut off is an error, never a short body.

mod fixture;
mod half_close;
mod requests;
mod responses;
