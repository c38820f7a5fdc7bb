//! What the command tells its operator on stderr, whatever `--log` says.

use std::sync::Arc;

/// The name of a service, in front of what is said of it. Empty where the process has only the
/// one of its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(Arc<str>);

impl Label {
    pub fn new(name: &str) -> Self {
        Label(name.into())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// A line about the service.
    pub fn say(&self, line: &str) {
        match self.0.is_empty() {
            true => eprintln!("tcpchan: {line}"),
            false => eprintln!("tcpchan: {}: {line}", self.0),
        }
    }
}

/// A line about the process.
pub fn say(line: &str) {
    eprintln!("tcpchan: {line}");
}
