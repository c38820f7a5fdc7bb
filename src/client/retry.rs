//! What an error says about the request that it ended.

use std::error::Error;
use std::io;

use super::error::{ConnectError, is_changed};
use crate::proto::{ChannelError, ConnectionError, OpenError};

/// Whether the peer's application provably never saw the request that failed with this
/// error. If so, it can be sent again without being done twice. That is the case if:
///
/// - no channel could be had;
/// - hyper had not begun to send the request;
/// - the peer never gave its channel to the application.
///
/// `false` once anything of an answer has come, whatever the peer says.
///
/// Looks at the error and its sources, such as those of a hyper client's error.
///
/// ```no_run
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use tcpchan::client::{Multiplex, is_lost, is_retryable};
/// # use http_body_util::Empty;
///
/// # async fn run(client: Client<Multiplex<HttpConnector>, Empty<bytes::Bytes>>) {
/// match client.get(http::Uri::from_static("http://server.example/")).await {
///     Ok(_) => println!("done"),
///     Err(error) if is_retryable(&error) => println!("not done: {error}"),
///     Err(error) if is_lost(&error) => println!("perhaps done: {error}"),
///     Err(error) => println!("failed: {error}"),
/// }
/// # }
/// ```
pub fn is_retryable(error: &(dyn Error + 'static)) -> bool {
    find(error, |error| {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_user() {
                return Some(false); // the body's own error: it was being sent
            }
            if is_of_upgrade(error) {
                return Some(false); // the response has come
            }
            // Hyper's own words for a request that it had not begun to send.
            return (error.is_canceled() || error.is_closed()).then_some(true);
        }
        if let Some(error) = error.downcast_ref::<ChannelError>() {
            return Some(error.is_retryable());
        }
        let unseen = error.is::<ConnectError>() || error.is::<OpenError>() || is_changed(error);
        unseen.then_some(true)
    })
    .unwrap_or(false)
}

/// Whether the request that failed with this error was cut off: its channel or
/// connection was lost, or ended without a whole response. The peer may have
/// seen it, so it can be sent again only if doing it twice is harmless.
///
/// `false` if the request's own body failed, such as one that comes from another connection.
pub fn is_lost(error: &(dyn Error + 'static)) -> bool {
    find(error, |error| {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_user() {
                return Some(false); // of the request, whatever its body says
            }
            let cut = error.is_incomplete_message() || error.is_canceled();
            return cut.then_some(true);
        }
        let is = error.is::<ChannelError>()
            || error.is::<ConnectionError>()
            || error.is::<ConnectError>()
            || error.is::<OpenError>();
        is.then_some(true)
    })
    .unwrap_or(false)
}

/// What of the peer an error says was lost.
#[cfg(feature = "requests")]
pub(super) enum Lost {
    Connection,
    Channel,
}

/// What was lost with a request that failed with this error, unless the request itself
/// was at fault.
#[cfg(feature = "requests")]
pub(super) fn lost(error: &(dyn Error + 'static)) -> Option<Lost> {
    let told = find(error, |error| {
        if error.downcast_ref().is_some_and(hyper::Error::is_user) {
            return Some(None); // its body failed, say
        }
        let channel = error.downcast_ref::<ChannelError>();
        let of_channel = channel.is_some_and(|error| match error {
            ChannelError::Refused(reason) => reason.is_some(),
            error => matches!(error, ChannelError::Connection(_)),
        });
        let is = error.is::<ConnectionError>() || error.is::<ConnectError>() || of_channel;
        is.then_some(Some(Lost::Connection))
    });
    let channel = || (is_lost(error) || is_retryable(error)).then_some(Lost::Channel);
    told.unwrap_or_else(channel)
}

/// Whether a connection ended between the answer 101 and the upgrade, of which hyper leaves a text
/// alone.
fn is_of_upgrade(error: &hyper::Error) -> bool {
    let cause = error.source().map(ToString::to_string);
    error.is_canceled() && cause.is_some_and(|cause| cause == "upgrade expected but not completed")
}

/// Whether there was no channel in time, or no place to wait for one.
#[cfg(feature = "retry")]
pub(super) fn is_overload(error: &(dyn Error + 'static)) -> bool {
    find(error, |error| {
        let error = error.downcast_ref::<ConnectError>()?;
        Some(error.is_full() || error.is_timeout())
    })
    .unwrap_or(false)
}

/// The first answer on the way from an error to its cause. What an `io::Error`
/// wraps is not among its sources.
fn find<T>(
    error: &(dyn Error + 'static),
    ask: impl Fn(&(dyn Error + 'static)) -> Option<T>,
) -> Option<T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(answer) = ask(error) {
            return Some(answer);
        }
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
