#![cfg_attr(all(feature = "client", feature = "server"), doc = include_str!("index.md"))]
#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    doc = "How to use the crate, on [docs.rs](https://docs.rs/tcpchan/latest/tcpchan/guide/), \
           since its pages link to what the default features have."
)]

/// A page. What it links to is elsewhere where a feature is off.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[cfg_attr(
            not(all(feature = "client", feature = "server")),
            doc = "A page on [docs.rs](https://docs.rs/tcpchan/latest/tcpchan/guide/)."
        )]
        #[cfg_attr(all(feature = "client", feature = "server"), doc = include_str!($file))]
        #[doc = ""]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`ALPN`]: crate::ALPN")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`ALPN`]: https://docs.rs/tcpchan/latest/tcpchan/constant.ALPN.html")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`TlsConnector`]: crate::client::TlsConnector")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`TlsConnector`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.TlsConnector.html")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`Tls`]: crate::server::Tls")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`Tls`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.Tls.html")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`Tls::max_handshakes`]: crate::server::Tls::max_handshakes")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`Tls::max_handshakes`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.Tls.html#method.max_handshakes")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`Tls::handshake_timeout`]: crate::server::Tls::handshake_timeout")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`Tls::handshake_timeout`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.Tls.html#method.handshake_timeout")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`SharedPort::with_tls`]: crate::server::SharedPort::with_tls")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`SharedPort::with_tls`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.SharedPort.html#method.with_tls")]
        #[cfg_attr(all(feature = "requests", feature = "client", feature = "server"), doc = "[`Requests`]: crate::client::Requests")]
        #[cfg_attr(not(all(feature = "requests", feature = "client", feature = "server")), doc = "[`Requests`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.Requests.html")]
        #[cfg_attr(all(feature = "retry", feature = "client", feature = "server"), doc = "[`RetryPolicy`]: crate::client::RetryPolicy")]
        #[cfg_attr(not(all(feature = "retry", feature = "client", feature = "server")), doc = "[`RetryPolicy`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.RetryPolicy.html")]
        #[cfg_attr(all(feature = "retry", feature = "client", feature = "server"), doc = "[`RetryLayer`]: crate::client::RetryLayer")]
        #[cfg_attr(not(all(feature = "retry", feature = "client", feature = "server")), doc = "[`RetryLayer`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.RetryLayer.html")]
        #[cfg_attr(all(any(feature = "axum", feature = "tonic"), feature = "client", feature = "server"), doc = "[`ConnectInfoLayer`]: crate::server::ConnectInfoLayer")]
        #[cfg_attr(not(all(any(feature = "axum", feature = "tonic"), feature = "client", feature = "server")), doc = "[`ConnectInfoLayer`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.ConnectInfoLayer.html")]
        #[cfg_attr(all(unix, feature = "client", feature = "server"), doc = "[`LocalSocket`]: crate::client::LocalSocket")]
        #[cfg_attr(not(all(unix, feature = "client", feature = "server")), doc = "[`LocalSocket`]: https://docs.rs/tcpchan/latest/tcpchan/client/struct.LocalSocket.html")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`TlsHandle`]: crate::TlsHandle")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`TlsHandle`]: https://docs.rs/tcpchan/latest/tcpchan/struct.TlsHandle.html")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`TlsHandle::watch`]: crate::TlsHandle::watch")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`TlsHandle::watch`]: https://docs.rs/tcpchan/latest/tcpchan/struct.TlsHandle.html#method.watch")]
        #[cfg_attr(all(feature = "tls", feature = "client", feature = "server"), doc = "[`AllowedNames`]: crate::server::AllowedNames")]
        #[cfg_attr(not(all(feature = "tls", feature = "client", feature = "server")), doc = "[`AllowedNames`]: https://docs.rs/tcpchan/latest/tcpchan/server/struct.AllowedNames.html")]
        pub mod $name {}
    };
}

page!(quick_start, "quick_start.md");
page!(axum, "axum.md");
page!(tonic, "tonic.md");
page!(reqwest, "reqwest.md");
page!(channels, "channels.md");
page!(pool, "pool.md");
page!(deploying, "deploying.md");
page!(long_links, "long_links.md");
page!(fast_links, "fast_links.md");
page!(failures, "failures.md");
page!(command, "command.md");
page!(command_file, "command_file.md");
page!(command_admin, "command_admin.md");
page!(security, "security.md");
page!(limits, "limits.md");
page!(wire_protocol, "wire_protocol.md");
page!(from_python, "from_python.md");
page!(when_not, "when_not.md");
page!(dependencies, "dependencies.md");
