//! A conformance kit for the tcpchan wire protocol: it plays client against any server
//! and server against any client, and runs the rules of SPEC.md as cases.

pub mod cases;
pub mod echo;
pub mod frame;
pub mod judge;
pub mod peer;
pub mod report;
