//! Hostile peers over real TCP: they are cut off with a code and a text, their
//! channels are told, and nobody else notices.
#![cfg(feature = "server")]

mod fixture;
mod floods;
#[path = "../support/guard.rs"]
mod guard;
mod violations;
