use tower_layer::Layer;

use super::connector::Connector;
use super::{Multiplex, PoolConfig};
use crate::config::Config;

/// Wraps a connector in a [`Multiplex`].
///
/// ```
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::{Config, client::MultiplexLayer};
/// use tower::ServiceBuilder;
///
/// let connector = ServiceBuilder::new()
///     .layer(MultiplexLayer::new(Config::default()))
///     .service(HttpConnector::new());
/// # let _ = connector;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct MultiplexLayer {
    config: Config,
    pool: PoolConfig,
}

impl MultiplexLayer {
    /// A layer whose connections have this configuration.
    pub fn new(config: Config) -> Self {
        MultiplexLayer {
            config,
            pool: PoolConfig::default(),
        }
    }

    /// Keeps the connections like this.
    pub fn with_pool(mut self, pool: PoolConfig) -> Self {
        self.pool = pool;
        self
    }
}

impl<C: Connector> Layer<C> for MultiplexLayer {
    type Service = Multiplex<C>;

    fn layer(&self, inner: C) -> Multiplex<C> {
        let multiplex = Multiplex::new(inner).with_config(self.config.clone());
        multiplex.with_pool(self.pool.clone())
    }
}
