//! Who looks at connections sees their peers and what they do, at both ends.

use futures_util::stream;
use http::Uri;
use tcpchan::client::{Multiplex, TlsConnector};
use tcpchan::server::{Acceptor, Connections, Tls};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tower::Service;

use crate::certs::Authority;
use crate::guard::within;
use crate::started::started;

const SPIFFE: &str = "spiffe://example.org/web";

struct Link {
    multiplex: Multiplex<TlsConnector>,
    uri: Uri,
    acceptor: Acceptor,
}

/// A client that shows a certificate to an acceptor with TLS.
async fn link() -> Link {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let tls = Tls::new(authority.server_for_known_clients());
    let certified = authority.certify_names(vec!["web.example".into()], &[SPIFFE]);
    Link {
        acceptor: started(Acceptor::new(listener).with_tls(tls)),
        multiplex: Multiplex::new(TlsConnector::new(authority.client_with(certified))),
        uri: uri.parse().unwrap(),
    }
}

impl Link {
    async fn channel(&mut self) -> (Channel, Channel) {
        let mut near = within(self.multiplex.call(self.uri.clone())).await.unwrap();
        near.write_all(b"?").await.unwrap();
        let (mut far, _) = within(self.acceptor.accept()).await;
        assert_eq!(within(far.read_u8()).await.unwrap(), b'?');
        (near, far)
    }
}

#[tokio::test]
async fn an_acceptor_shows_each_peer_and_what_its_connection_does() {
    let mut link = link().await;
    let connections = link.acceptor.connections();
    assert!(connections.snapshot().is_empty());
    let _channels = [link.channel().await, link.channel().await];
    let snapshot = connections.snapshot();
    let [one] = &snapshot[..] else {
        panic!("{snapshot:?}")
    };
    let addr = one.peer_addr.unwrap();
    assert!(addr.ip().is_loopback() && addr.port() != 0, "{addr}");
    assert_eq!(
        one.identity.as_ref().unwrap().names(),
        [SPIFFE, "web.example"]
    );
    assert_eq!((one.stats.channels, one.stats.accepted), (2, 2));
}

#[tokio::test]
async fn a_multiplex_shows_the_same_connection_from_its_end() {
    let mut link = link().await;
    assert!(link.multiplex.connections(&link.uri).is_empty());
    let _channels = link.channel().await;
    let near = link.multiplex.connections(&link.uri);
    let far = link.acceptor.connections().snapshot();
    assert_eq!((near.len(), far.len()), (1, 1));
    assert_eq!(
        near[0].peer_addr.unwrap().to_string(),
        link.uri.authority().unwrap().as_str()
    );
    let identity = near[0].identity.as_ref().unwrap();
    assert_eq!(identity.certificates().len(), 1);
    assert_eq!(near[0].stats.connection_id, far[0].stats.connection_id);
    let other: Uri = "http://127.0.0.1:1".parse().unwrap();
    assert!(link.multiplex.connections(&other).is_empty());
}

async fn is_empty(connections: &Connections) {
    while !connections.snapshot().is_empty() {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_leaves_the_list_when_it_has_ended() {
    let mut link = link().await;
    let connections = link.acceptor.connections();
    let channels = link.channel().await;
    drop((channels, link.multiplex));
    within(is_empty(&connections)).await;
}

#[tokio::test]
async fn the_list_outlives_the_acceptor_while_channels_do() {
    let mut link = link().await;
    let connections = link.acceptor.connections();
    let channels = link.channel().await;
    drop(link);
    yield_now().await;
    assert_eq!(connections.snapshot().len(), 1);
    drop(channels);
    within(is_empty(&connections)).await;
}

/// As a PROXY header says it, where the socket knows only the balancer.
#[tokio::test]
async fn the_address_is_the_one_that_came_with_the_connection() {
    let (near, far) = duplex(1 << 10);
    let addr = "192.0.2.7:4711".parse().unwrap();
    let mut acceptor = Acceptor::from_incoming(stream::iter([Ok((far, addr))]));
    let client = Connection::client(near, Config::default());
    let _channel = client.open().await.unwrap();
    let _accepted = within(acceptor.accept()).await;
    let snapshot = acceptor.connections().snapshot();
    assert_eq!(snapshot[0].peer_addr, Some(addr));
    assert_eq!(client.snapshot().peer_addr, None);
}
