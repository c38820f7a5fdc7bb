//! The names of services.

use std::sync::Arc;

/// The name of a service. Empty where the process has only the one of its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(Arc<str>);

impl Label {
    pub fn new(name: &str) -> Self {
        Label(name.into())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The field `service` of a line in the log.
    pub fn field(&self) -> Option<&str> {
        Some(&*self.0).filter(|name| !name.is_empty())
    }
}
