//! Callers that want a channel of a connector.

use std::future::Future;

use super::emit::Label;

/// Runs what gets a channel for a caller; `kind` names an error.
#[cfg(not(feature = "metrics"))]
pub(crate) async fn opening<T, E>(
    open: impl Future<Output = Result<T, E>>,
    _: Vec<Label>,
    _: impl FnOnce(&E) -> &'static str,
) -> Result<T, E> {
    open.await
}

/// Runs what gets a channel for a caller; `kind` names an error.
#[cfg(feature = "metrics")]
pub(crate) async fn opening<T, E>(
    open: impl Future<Output = Result<T, E>>,
    labels: Vec<Label>,
    kind: impl FnOnce(&E) -> &'static str,
) -> Result<T, E> {
    use std::future::poll_fn;
    use std::pin::pin;

    let mut open = pin!(open);
    let mut caller = Caller {
        since: tokio::time::Instant::now(),
        labels,
        waits: None,
        result: Some("cancelled"),
    };
    let opened = poll_fn(|cx| {
        let polled = open.as_mut().poll(cx);
        if polled.is_pending() {
            caller.waits();
        }
        polled
    })
    .await;
    caller.result = opened.as_ref().err().map(kind);
    opened
}

#[cfg(feature = "metrics")]
struct Caller {
    since: tokio::time::Instant,
    labels: Vec<Label>,
    waits: Option<super::emit::Level>,
    /// The kind of error, if it is one.
    result: Option<&'static str>,
}

#[cfg(feature = "metrics")]
impl Caller {
    fn waits(&mut self) {
        let waits = || super::emit::Level::new("tcpchan_waiting_callers", self.labels.clone(), 1);
        self.waits.get_or_insert_with(waits);
    }
}

#[cfg(feature = "metrics")]
impl Drop for Caller {
    fn drop(&mut self) {
        let mut labels = std::mem::take(&mut self.labels);
        labels.extend(self.result.map(|kind| Label::new("error_type", kind)));
        let took = self.since.elapsed();
        super::emit::record("tcpchan_open_duration_seconds", labels, took);
    }
}
