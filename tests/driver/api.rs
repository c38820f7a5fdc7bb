//! What the API guidelines ask of types, as far as a compiler can check it.
#![cfg(all(
    feature = "axum",
    feature = "requests",
    feature = "retry",
    feature = "tls"
))]

use std::error::Error;
use std::fmt::Debug;
use std::hash::Hash;
use std::io;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tcpchan::client::{
    ConnectError, Connecting, Fallback, FallbackConfig, FallbackConnecting, FallbackIo, Multiplex,
    MultiplexLayer, Negotiated, Opening, PoolConfig, Protocols, RequestError, Requests, Responding,
    RetryPolicy, TargetStats, TlsConnector, TlsIo,
};
use tcpchan::proto::{self, ChannelError, ConnectionError, Event, Key, OpenError, Role, Stats};
use tcpchan::server::{Acceptor, Connections, DrainHandle, PeerInfo, SharedIo, SharedPort, Tls};
use tcpchan::wire::{Control, Decoded, Decoder, Frame, Settings, Version, WireError};
use tcpchan::{
    Channel, Config, ConfigError, Connection, ConnectionStats, Identity, Protocol, ReadHalf,
    SocketProfile, WriteHalf,
};
use tokio::net::TcpStream;

fn is_sync<T: Debug + Send + Sync + Unpin>() {}
fn is_send<T: Debug + Send + Unpin>() {}
fn is_error<T: Error + Send + Sync + 'static>() {}
fn is_value<T: Debug + Clone + PartialEq + Eq>() {}
fn is_plain<T: Debug + Copy + PartialEq + Eq + Hash>() {}

#[test]
fn every_public_type_goes_between_threads_and_can_be_printed() {
    is_sync::<Channel>();
    is_sync::<ReadHalf>();
    is_sync::<WriteHalf>();
    is_sync::<Connection>();
    is_sync::<proto::Connection>();
    is_sync::<Decoder>();
    is_sync::<Multiplex<HttpConnector>>();
    is_sync::<MultiplexLayer>();
    is_sync::<Fallback<HttpConnector>>();
    is_sync::<FallbackIo<TlsIo<TokioIo<TcpStream>>>>();
    is_sync::<TlsConnector>();
    is_sync::<Requests<HttpConnector>>();
    is_sync::<RetryPolicy>();
    is_sync::<TargetStats>();
    is_sync::<Acceptor>();
    is_sync::<SharedPort>();
    is_sync::<SharedIo>();
    is_sync::<DrainHandle>();
    is_sync::<Connections>();
    is_sync::<Tls>();
    is_send::<Connecting>();
    is_send::<FallbackConnecting<TokioIo<TcpStream>>>();
    is_send::<Responding>();
    is_send::<Opening>();
    is_send::<<TlsConnector as tower::Service<http::Uri>>::Future>();
}

#[test]
fn every_error_is_a_std_error() {
    is_error::<ChannelError>();
    is_error::<ConfigError>();
    is_error::<ConnectError>();
    is_error::<ConnectionError>();
    is_error::<OpenError>();
    is_error::<RequestError>();
    is_error::<WireError>();
}

#[test]
fn values_compare() {
    is_value::<Config>();
    is_value::<PoolConfig>();
    is_value::<FallbackConfig>();
    is_value::<SocketProfile>();
    is_value::<ConfigError>();
    is_value::<ConnectionError>();
    is_value::<ChannelError>();
    is_value::<OpenError>();
    is_value::<Control>();
    is_value::<Decoded<'_>>();
    is_value::<Frame<'_>>();
    is_value::<Stats>();
    is_value::<TargetStats>();
    is_value::<ConnectionStats>();
    is_value::<Identity>();
    is_value::<PeerInfo>();
    #[cfg(feature = "proxy-protocol")]
    is_value::<tcpchan::server::ProxyProtocol>();
}

#[test]
fn small_values_are_copied_and_may_be_keys() {
    is_plain::<Event>();
    is_plain::<Key>();
    is_plain::<proto::Read>();
    is_plain::<Protocol>();
    is_plain::<Protocols>();
    is_plain::<Negotiated>();
    is_plain::<Role>();
    is_plain::<Settings>();
    is_plain::<Version>();
}

#[test]
fn the_cores_errors_become_io_errors_that_still_tell_them() {
    let error = io::Error::from(ChannelError::Reset(7));
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert_eq!(inner, Some(&ChannelError::Reset(7)));
    let error = io::Error::from(OpenError::Draining);
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    let error = io::Error::from(ConnectionError::Dead);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
