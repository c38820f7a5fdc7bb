//! Connectors that can be told which address of a name to dial.

use std::net::SocketAddr;

use http::Uri;
use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

/// A connector that dials the address that it is given, for the name of a URI. A
/// [`Multiplex`](super::Multiplex) with a [`Discovery`](super::Discovery) needs one.
///
/// hyper-util's `HttpConnector` is one, and so is `TlsConnector`, which asks for the
/// certificate of the URI's name. A connector of your own implements it in a few lines:
///
/// ```
/// use std::net::SocketAddr;
/// use std::task::{Context, Poll};
///
/// use http::Uri;
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::ConnectTo;
/// use tower::Service;
///
/// #[derive(Clone)]
/// struct Logged(HttpConnector);
///
/// impl Service<Uri> for Logged {
///     type Response = <HttpConnector as Service<Uri>>::Response;
///     type Error = <HttpConnector as Service<Uri>>::Error;
///     type Future = <HttpConnector as Service<Uri>>::Future;
///
///     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
///         self.0.poll_ready(cx)
///     }
///
///     fn call(&mut self, uri: Uri) -> Self::Future {
///         self.0.call(uri)
///     }
/// }
///
/// impl ConnectTo for Logged {
///     fn connect_to(&mut self, uri: Uri, addr: SocketAddr) -> Self::Future {
///         println!("{uri} at {addr}");
///         self.0.connect_to(uri, addr)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be told which address to dial, as discovery needs",
    label = "does not implement `ConnectTo`",
    note = "`HttpConnector` and `tcpchan::client::TlsConnector` do; for another connector, \
            implement `tcpchan::client::ConnectTo` on a type of yours around it"
)]
pub trait ConnectTo: Service<Uri> {
    /// Dials this address. The URI is that of the call: the name in it is the one to ask a
    /// certificate for.
    fn connect_to(&mut self, uri: Uri, addr: SocketAddr) -> Self::Future;
}

/// A URI with an address is resolved by nobody.
impl<R> ConnectTo for HttpConnector<R>
where
    HttpConnector<R>: Service<Uri>,
{
    fn connect_to(&mut self, uri: Uri, addr: SocketAddr) -> Self::Future {
        self.call(with_address(uri, addr))
    }
}

fn with_address(uri: Uri, addr: SocketAddr) -> Uri {
    // By its parts: a URI can't say the scope of an IPv6 address.
    let addr = SocketAddr::new(addr.ip(), addr.port()).to_string();
    let mut parts = uri.clone().into_parts();
    parts.authority = Authority::try_from(addr).ok();
    Uri::from_parts(parts).unwrap_or(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_authority_stays() {
        for (addr, uri) in [
            ("10.0.0.1:80", "https://10.0.0.1:80/path?query"),
            ("[fe80::1%7]:80", "https://[fe80::1]:80/path?query"),
        ] {
            let name = Uri::from_static("https://name.example/path?query");
            assert_eq!(with_address(name, addr.parse().unwrap()), uri);
        }
    }
}
