//! What the user sees on standard error while the calls are made.

use std::io::{IsTerminal, Write, stderr};

/// How much is shown.
#[derive(Clone, Copy)]
pub enum Progress {
    /// One line that counts.
    Counter,
    /// A line for each step, as for a log.
    Steps,
    Silent,
}

impl Progress {
    pub fn new(json: bool) -> Progress {
        match stderr().is_terminal() {
            _ if json => Progress::Silent,
            true => Progress::Counter,
            false => Progress::Steps,
        }
    }

    /// `done` of `all` requests of a step were answered.
    pub fn show(self, step: &str, done: u16, all: u16) {
        // Nobody may be there to see it.
        let _ = match self {
            Progress::Counter => write!(stderr(), "\r\x1b[K{step}: {done}/{all}"),
            Progress::Steps if done == 0 => writeln!(stderr(), "{step} ({all})"),
            Progress::Steps | Progress::Silent => Ok(()),
        };
    }

    /// Gives the line back.
    pub fn clear(self) {
        if let Progress::Counter = self {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
