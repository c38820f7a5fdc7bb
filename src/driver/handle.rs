//! What keeps a connection up: its handles and channels.

use std::sync::Arc;

use super::shared::Shared;

/// Held by each handle and channel of a connection. The last that goes closes it.
#[derive(Debug)]
pub(super) struct Handle(pub Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|inner| {
            inner.closing = true;
            inner.core.send_deferred_stops();
        });
    }
}
