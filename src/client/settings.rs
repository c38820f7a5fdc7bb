//! What is set of a multiplex, or of the layer that makes one.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::config::PoolConfig;
use super::discovery::Discovery;
use super::fallback::config::FallbackConfig;
use super::fallback::negotiated::Questions;
use crate::config::Config;
use crate::driver::Describe;
use crate::observability::TargetLabels;

#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Of each connection.
    pub config: Config,
    pub pool: PoolConfig,
    /// How names are resolved, if the connector does not do it.
    pub discovery: Option<Discovery>,
    /// Where connections run, instead of where they are dialled.
    pub runtime: Option<Handle>,
    /// What the inner connector says of a connection, if that is passed on.
    pub describe: Option<Describe>,
    /// The metrics' labels of targets, if they have any.
    pub labels: Option<Arc<TargetLabels>>,
    /// Whether callers may call by HTTP.
    pub fallback: Option<(Questions, FallbackConfig)>,
}

impl Settings {
    /// How late a first answer may be, and for how long a task may not run before its
    /// connection is suspect.
    pub fn suspect_after(&self) -> Duration {
        self.config.core().get_answer_within().0
    }

    /// For how long until the connection has ended.
    pub fn dead(&self) -> Duration {
        self.config.core().get_answer_within().1
    }
}
