//! Why something failed, in one word.

use std::error::Error;
use std::io;

/// The kind of an error, by the causes that it has.
pub(crate) fn kind(error: &(dyn Error + 'static)) -> &'static str {
    let causes = || std::iter::successors(Some(error), |error| inner(*error));
    // A client whose certificate is refused learns of it in place of the hello.
    if let Some(kind) = causes().find_map(by_type) {
        return kind;
    }
    if causes().any(|error| error.is::<crate::proto::ConnectionError>()) {
        return "hello";
    }
    causes().find_map(by_io).unwrap_or("error")
}

fn by_type(error: &(dyn Error + 'static)) -> Option<&'static str> {
    #[cfg(feature = "tls")]
    if error.is::<tokio_rustls::rustls::Error>() {
        return Some("tls");
    }
    // Neither the standard library nor hyper-util nor tokio-rustls has a type for these.
    let text = error.to_string();
    match text.as_str() {
        "tls handshake eof" => Some("tls"),
        "dns error" => Some("dns"),
        text if text.starts_with("failed to lookup address") => Some("dns"),
        _ => None,
    }
}

fn by_io(error: &(dyn Error + 'static)) -> Option<&'static str> {
    use io::ErrorKind::*;
    match error.downcast_ref::<io::Error>()?.kind() {
        ConnectionRefused => Some("refused"),
        TimedOut => Some("timeout"),
        HostUnreachable | NetworkUnreachable => Some("unreachable"),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Some("lost"),
        _ => None,
    }
}

/// The source of an error; for one of `io` also what is in it.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match inside {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}
