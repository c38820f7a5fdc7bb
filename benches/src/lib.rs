//! tcpchan beside plain TCP and other multiplexers: the same traffic, in one
//! run. `README.md` beside this crate tells how to use it.

mod build;
mod child;
mod cli;
mod client;
mod http2;
mod machine;
mod measure;
mod memory;
mod plot;
mod report;
mod row;
mod run;
mod scale;
mod summary;
mod transport;
mod way;
mod work;

pub use self::cli::main;
pub use self::scale::main as scale;
