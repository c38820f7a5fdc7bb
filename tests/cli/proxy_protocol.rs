//! The service learns who the client is, if that is asked for.

use std::net::SocketAddr;

use ppp::v2::{Addresses, Command, Header, IPv4};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::Chain;
use crate::guard::within;

/// Bytes of a header of IPv4 addresses without more.
const LENGTH: usize = 28;

/// What a service gets of a client that says `!`, and who the client was.
async fn what_comes(chain: &Chain) -> (Vec<u8>, SocketAddr) {
    let mut client = TcpStream::connect(chain.relay.addr).await.unwrap();
    client.write_all(b"!").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut service, _) = within(chain.service.accept()).await.unwrap();
    let mut got = Vec::new();
    within(service.read_to_end(&mut got)).await.unwrap();
    (got, client.local_addr().unwrap())
}

/// The source and the destination that a header tells.
fn addresses(header: &[u8]) -> (SocketAddr, SocketAddr) {
    let header = Header::try_from(header).unwrap();
    assert_eq!(header.command, Command::Proxy);
    let Addresses::IPv4(IPv4 {
        source_address,
        source_port,
        destination_address,
        destination_port,
    }) = header.addresses
    else {
        panic!("{:?}", header.addresses)
    };
    let source = (source_address, source_port).into();
    (source, (destination_address, destination_port).into())
}

#[tokio::test]
async fn without_an_option_the_bytes_are_the_clients() {
    let chain = Chain::new().await;
    assert_eq!(what_comes(&chain).await.0, b"!");
}

#[tokio::test]
async fn a_relays_header_reaches_the_service() {
    for serve in ["", "--accept-proxy --send-proxy-v2"] {
        let chain = Chain::with("--send-proxy-v2", serve).await;
        let (got, client) = what_comes(&chain).await;
        assert_eq!(addresses(&got[..LENGTH]), (client, chain.relay.addr));
        assert_eq!(got[LENGTH..], b"!"[..]);
    }
}

#[tokio::test]
async fn a_relays_header_may_end_at_serve() {
    let chain = Chain::with("--send-proxy-v2", "--accept-proxy").await;
    assert_eq!(what_comes(&chain).await.0, b"!");
}

#[tokio::test]
async fn serve_may_tell_where_the_connection_comes_from() {
    let chain = Chain::with("", "--send-proxy-v2").await;
    let (got, client) = what_comes(&chain).await;
    let (source, destination) = addresses(&got[..LENGTH]);
    assert_eq!(destination, chain.serve.addr);
    assert!(source.ip().is_loopback() && source != client);
    assert_eq!(got[LENGTH..], b"!"[..]);
}

#[tokio::test]
async fn a_channel_without_a_header_is_refused_where_one_is_expected() {
    let chain = Chain::with("", "--accept-proxy").await;
    let mut client = TcpStream::connect(chain.relay.addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    within(client.read_u8()).await.unwrap_err();
}

#[tokio::test]
async fn the_log_of_serve_has_the_client_that_a_header_tells() {
    let mut chain = Chain::with("--send-proxy-v2", "--accept-proxy --log-streams").await;
    let (_, client) = what_comes(&chain).await;
    let line = chain.serve.line("the stream has ended").await;
    assert!(line.contains(&format!(" client={client} ")), "{line}");
}
