use tower_layer::Layer;

use super::Multiplex;
use crate::config::Config;

/// Wraps a connector in a [`Multiplex`].
#[derive(Clone, Debug, Default)]
pub struct MultiplexLayer {
    config: Config,
}

impl MultiplexLayer {
    /// A layer whose connections have this configuration.
    pub fn new(config: Config) -> Self {
        MultiplexLayer { config }
    }
}

impl<C> Layer<C> for MultiplexLayer {
    type Service = Multiplex<C>;

    fn layer(&self, inner: C) -> Multiplex<C> {
        Multiplex::new(inner).with_config(self.config.clone())
    }
}
