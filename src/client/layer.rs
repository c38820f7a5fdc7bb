#[cfg(feature = "metrics")]
use std::sync::Arc;

use tokio::runtime::Handle;
use tower_layer::Layer;

use super::connector::Connector;
use super::settings::Settings;
use super::{Multiplex, PoolConfig};
use crate::config::Config;
#[cfg(feature = "metrics")]
use crate::observability::TargetLabels;

/// Wraps a connector in a [`Multiplex`] with these settings.
///
/// What depends on the type of the inner connector is set afterwards:
/// [`Multiplex::with_extras`] and [`Multiplex::with_discovery`].
///
/// ```
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::{MultiplexLayer, PoolConfig};
/// use tower::ServiceBuilder;
///
/// let pool = PoolConfig::default().connections(2..=4)?;
/// let connector = ServiceBuilder::new()
///     .layer(MultiplexLayer::new().with_pool(pool))
///     .service(HttpConnector::new());
/// assert_eq!(connector.pool().get_connections(), 2..=4);
/// # Ok::<(), tcpchan::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct MultiplexLayer {
    settings: Settings,
}

impl MultiplexLayer {
    /// A layer with the defaults of [`Multiplex::new`].
    pub fn new() -> Self {
        MultiplexLayer::default()
    }

    /// As [`Multiplex::with_config`].
    pub fn with_config(mut self, config: Config) -> Self {
        self.settings.config = config;
        self
    }

    /// As [`Multiplex::config`].
    pub fn config(&self) -> &Config {
        &self.settings.config
    }

    /// As [`Multiplex::with_pool`].
    pub fn with_pool(mut self, pool: PoolConfig) -> Self {
        self.settings.pool = pool;
        self
    }

    /// As [`Multiplex::pool`].
    pub fn pool(&self) -> &PoolConfig {
        &self.settings.pool
    }

    /// As [`Multiplex::with_runtime`].
    pub fn with_runtime(mut self, runtime: Handle) -> Self {
        self.settings.runtime = Some(runtime);
        self
    }

    /// As [`Multiplex::runtime`].
    #[must_use]
    pub fn runtime(&self) -> Option<&Handle> {
        self.settings.runtime.as_ref()
    }

    /// As [`Multiplex::with_target_labels`]; all connectors of the layer share the labels.
    #[cfg(feature = "metrics")]
    pub fn with_target_labels(mut self, most: usize) -> Self {
        self.settings.labels = Some(Arc::new(TargetLabels::new(most)));
        self
    }

    /// As [`Multiplex::target_labels`].
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn target_labels(&self) -> Option<usize> {
        self.settings.labels.as_ref().map(|labels| labels.most())
    }
}

impl<C: Connector> Layer<C> for MultiplexLayer {
    type Service = Multiplex<C>;

    fn layer(&self, inner: C) -> Multiplex<C> {
        Multiplex::with_settings(inner, self.settings.clone())
    }
}
