//! A connection of an acceptor ends at its age, so that who it is with is checked again.
#![cfg(all(feature = "client", feature = "server", feature = "tls"))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tcpchan::server::{Acceptor, SharedPort, Tls};
use tcpchan::{ALPN, Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use crate::certs::Authority;
use crate::guard::within;
use crate::started::started;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn of_an_hour() -> Config {
    Config::default().max_connection_age(HOUR, MINUTE).unwrap()
}

/// An acceptor of one connection, a client's end, and a channel that is in use.
async fn connected(config: Config) -> (Acceptor, Connection, [Channel; 2]) {
    let (near, far) = duplex(1 << 16);
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let incoming = stream::iter([Ok((far, addr))]).chain(stream::pending());
    let mut acceptor = Acceptor::from_incoming(incoming).with_config(config);
    let client = Connection::client(near, Config::default());
    let mut channel = client.open().await.unwrap();
    channel.write_u8(1).await.unwrap();
    let (mut accepted, _) = acceptor.accept().await;
    accepted.read_u8().await.unwrap();
    (acceptor, client, [channel, accepted])
}

#[tokio::test(start_paused = true)]
async fn it_drains_at_its_age_and_what_runs_has_its_time() {
    let start = Instant::now();
    let (_acceptor, client, [mut channel, mut accepted]) = connected(of_an_hour()).await;
    while client.is_open() {
        sleep(MINUTE / 60).await;
    }
    let age = start.elapsed();
    assert!(
        HOUR * 9 / 10 <= age && age <= HOUR * 11 / 10 + MINUTE,
        "{age:?}"
    );
    accepted.write_u8(2).await.unwrap();
    assert_eq!(channel.read_u8().await.unwrap(), 2);
    let error = channel.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("its age"), "{error}");
    let rest = start.elapsed() - age;
    assert!(rest <= MINUTE + MINUTE / 30, "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn without_an_age_it_stays() {
    let (_acceptor, client, _channel) = connected(Config::default()).await;
    sleep(24 * HOUR).await;
    assert!(client.is_open());
}

/// How the handshakes of a client's two connections were.
async fn handshakes(addr: SocketAddr, client: ClientConfig) -> [HandshakeKind; 2] {
    let connector = TlsConnector::from(Arc::new(client));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = within(connector.connect(name, tcp)).await.unwrap();
        kinds.push(tls.get_ref().1.handshake_kind().unwrap());
        let connection = Connection::client(tls, Config::default());
        while connection.rtt().is_none() {
            sleep(Duration::from_millis(1)).await; // a ticket comes along
        }
    }
    kinds.try_into().unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_checked_again_for_each_connection_where_there_is_an_age() {
    let authority = Authority::new();
    let server = || authority.server_for_known_clients();
    for (config, second) in [
        (Config::default(), HandshakeKind::Resumed),
        (of_an_hour(), HandshakeKind::Full),
    ] {
        for shared in [false, true] {
            let mut client = authority.client_with(authority.certify("client"));
            client.alpn_protocols = vec![ALPN.to_vec()];
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (tls, config) = (Tls::new(server()), config.clone());
            let _listens: Box<dyn Send> = match shared {
                false => Box::new(started(
                    Acceptor::new(listener).with_config(config).with_tls(tls),
                )),
                true => Box::new(started(
                    SharedPort::new(listener).with_config(config).with_tls(tls),
                )),
            };
            let kinds = handshakes(addr, client).await;
            assert_eq!(kinds, [HandshakeKind::Full, second]);
        }
    }
}
