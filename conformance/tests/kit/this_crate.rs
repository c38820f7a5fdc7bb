//! The crate itself passes, as a server and as a client.

use std::net::SocketAddr;
use std::time::Duration;

use tcpchan::{Channel, Config, Connection, Protocol};
use tcpchan_conformance::peer::Target;
use tcpchan_conformance::report::{self, Options};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// A budget that cases can use up.
fn config(protocol: Protocol) -> Config {
    let config = Config::default().protocol(protocol);
    config.max_channels(256).unwrap().receive_budget(300_000)
}

async fn echo(channel: Channel) -> std::io::Result<()> {
    let (mut reader, mut writer) = channel.into_split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}

async fn echoes(connection: Connection) {
    while let Some(channel) = connection.accept().await {
        tokio::spawn(echo(channel));
    }
}

fn passes(target: &Target, protocol: Protocol, least: usize) {
    let options = Options {
        patience: Duration::from_secs(5),
        both_versions: protocol == Protocol::Auto,
        ..Options::default()
    };
    let mut group = "";
    let rows = report::run(target, &options, |row| {
        println!("{}", report::line(row, &mut group));
    });
    println!("{}", report::summary(&rows));
    let passed = report::count(&rows, |verdict| *verdict == report::Verdict::Passed);
    assert!(passed == rows.len() && passed >= least, "{passed} passed");
}

fn server_passes(protocol: Protocol) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echoes(Connection::server(stream, config(protocol))));
        }
    });
    passes(&Target::Server(address.to_string()), protocol, 240);
}

fn client_passes(protocol: Protocol) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(dial_for_ever(address, protocol));
    passes(&Target::Client(listener), protocol, 240);
}

/// What the kit wants of a client.
async fn dial_for_ever(address: SocketAddr, protocol: Protocol) {
    while let Ok(stream) = TcpStream::connect(address).await {
        let connection = Connection::client(stream, config(protocol));
        if let Ok(mut channel) = connection.open().await {
            let _ = channel.write_all(b"hello").await;
            tokio::spawn(echo(channel));
        }
        echoes(connection).await;
    }
}

#[test]
fn it_passes_as_a_server() {
    server_passes(Protocol::V1);
}

#[test]
fn it_passes_as_a_client() {
    client_passes(Protocol::V1);
}

#[test]
fn it_passes_as_a_server_of_both_versions() {
    server_passes(Protocol::Auto);
}

#[test]
fn it_passes_as_a_client_of_both_versions() {
    client_passes(Protocol::Auto);
}
