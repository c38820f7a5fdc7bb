//! The spans and events that operators see, by tracing's own subscriber.
#![cfg(all(feature = "client", feature = "server", feature = "tracing"))]

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::Service;
use tracing::Level;

use crate::guard::within;
use crate::log::Log;

fn pair(near: DuplexStream, far: DuplexStream) -> (Connection, Connection) {
    let client = Connection::client(near, Config::default());
    (client, Connection::server(far, Config::default()))
}

async fn exchange(client: &Connection, server: &Connection) {
    let mut channel = client.open().await.unwrap();
    channel.write_all(b"secret").await.unwrap();
    let mut accepted = server.accept().await.unwrap();
    accepted.read_exact(&mut [0; 6]).await.unwrap();
    accepted.shutdown().await.unwrap();
    channel.shutdown().await.unwrap();
    channel.read_to_end(&mut Vec::new()).await.unwrap();
    accepted.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_and_goes_in_order_is_info() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let (near, far) = duplex(64 << 10);
    let (client, server) = pair(near, far);
    exchange(&client, &server).await;
    client.close("enough");
    while server.accept().await.is_some() {}
    tokio::time::sleep(Duration::from_secs(60)).await;
    for role in ["client", "server"] {
        let role = format!("connection{{role=\"{role}\"");
        assert!(log.line(&[&role, "is up"]).contains("version=1"));
    }
    let ended = log.line(&["role=\"client\"", "has ended"]);
    assert!(
        ended.contains("INFO") && ended.contains("reason=\"closed\""),
        "{ended}"
    );
    assert!(
        ended.contains("opened=1") && ended.contains("channels=0"),
        "{ended}"
    );
    let ended = log.line(&["role=\"server\"", "has ended"]);
    assert!(
        ended.contains("INFO") && ended.contains("reason=\"peer_closed\""),
        "{ended}"
    );
    assert!(ended.contains("enough"), "{ended}");
    assert!(!log.text().contains("WARN"), "{}", log.text());
}

/// Carries bytes until it is told to stop, and then holds on to both ends.
async fn carry(mut near: DuplexStream, mut far: DuplexStream, stop: Arc<Notify>) {
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        () = stop.notified() => std::future::pending().await,
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_a_warning_twice() {
    let (log, _guard) = Log::start(Level::INFO);
    let ((near, one), (other, far)) = (duplex(64 << 10), duplex(64 << 10));
    let stop = Arc::new(Notify::new());
    tokio::spawn(carry(one, other, stop.clone()));
    let (client, server) = pair(near, far);
    exchange(&client, &server).await;
    stop.notify_one();
    while client.accept().await.is_some() {}
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(log.line(&["role=\"client\"", "suspect"]).contains("WARN"));
    let ended = log.line(&["role=\"client\"", "has ended"]);
    assert!(
        ended.contains("WARN") && ended.contains("reason=\"dead\""),
        "{ended}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_told_on_both_sides() {
    let (log, _guard) = Log::start(Level::INFO);
    let (near, far) = duplex(64 << 10);
    let (client, server) = pair(near, far);
    exchange(&client, &server).await;
    let _held = client.open().await.unwrap();
    server.drain();
    tokio::time::sleep(Duration::from_secs(1)).await;
    log.line(&["role=\"client\"", "INFO", "the peer drains", "channels=1"]);
    log.line(&[
        "role=\"server\"",
        "INFO",
        "this side has drained",
        "channels=1",
    ]);
}

#[tokio::test(start_paused = true)]
async fn frames_are_traced_without_what_they_carry() {
    let (log, _guard) = Log::start(Level::TRACE);
    let (near, far) = duplex(64 << 10);
    let (client, server) = pair(near, far);
    exchange(&client, &server).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (role, direction) in [("client", "sent"), ("server", "received")] {
        let role = format!("role=\"{role}\"");
        let line = |what: &str| {
            let direction = format!("direction=\"{direction}\"");
            log.line(&["TRACE", "tcpchan::frames", &role, &direction, what]);
        };
        line("frame=Hello ");
        line("frame=Open { channel: 1 }");
        line("channel=1 len=6");
        line("frame=Fin { channel: 1, debt: 0 }");
    }
    assert!(!log.text().contains("secret"), "{}", log.text());
}

#[tokio::test]
async fn spans_name_the_peer_and_the_target() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener);
    let mut connector = Multiplex::new(HttpConnector::new());
    let uri = format!("http://user:secret@{addr}/path");
    let channel = connector.call(uri.parse().unwrap()).await.unwrap();
    let (_accepted, peer) = within(acceptor.accept()).await;
    drop(channel);
    within(async {
        while log.text().matches("is up").count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let server = format!(
        "peer{{network.peer.address=127.0.0.1 network.peer.port={} connection=1}}:connection",
        peer.addr.port()
    );
    log.line(&[&server, "is up"]);
    let client = format!(
        "target{{server.address=\"127.0.0.1\" server.port={}}}:connection",
        addr.port()
    );
    log.line(&[&client, "is up"]);
    assert!(!log.text().contains("secret"), "{}", log.text());
}

#[test]
fn a_runtime_that_shuts_down_is_no_warning() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (near, far) = duplex(1 << 16);
    let (client, _server) = runtime.block_on(async {
        let (client, server) = pair(near, far);
        exchange(&client, &server).await;
        (client, server)
    });
    drop(runtime);
    assert_eq!(
        client.error(),
        Some(tcpchan::proto::ConnectionError::Abandoned)
    );
    log.line(&["INFO", "client", "the connection has ended", "abandoned"]);
    assert!(!log.text().contains("WARN"), "{}", log.text());
}

/// Whoever can connect could else fill the log.
#[tokio::test]
async fn a_client_that_says_no_hello_is_no_warning() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let (near, far) = duplex(1 << 16);
    let server = Connection::server(far, Config::default());
    drop(near);
    assert!(within(server.accept()).await.is_none());
    tokio::task::yield_now().await;
    log.line(&["DEBUG", "the connection has ended", "no_hello"]);
}

/// As scanners send them, and clients of another protocol.
#[tokio::test]
async fn strangers_are_no_warning() {
    let (log, _guard) = Log::start(Level::DEBUG);
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x01\x01\x12\x34\x56\x78", // a hello of another magic
    ] {
        let (mut near, far) = duplex(1 << 16);
        let server = Connection::server(far, Config::default());
        near.write_all(bytes).await.unwrap();
        assert!(within(server.accept()).await.is_none());
        drop(near);
        within(server.closed()).await;
    }
    let ended = log.text().matches("the connection has ended").count();
    assert_eq!(ended, 4);
    assert!(
        !log.text().contains("WARN") && !log.text().contains("INFO"),
        "{}",
        log.text()
    );
}

/// Of a connection there are two logs.
#[tokio::test]
async fn both_ends_of_a_connection_have_one_id() {
    let (log, _guard) = Log::start(Level::INFO);
    let (near, far) = duplex(64 << 10);
    let (client, server) = pair(near, far);
    exchange(&client, &server).await;
    let id = client.stats().connection_id.expect("an id");
    assert_eq!(server.stats().connection_id, Some(id));
    for role in ["client", "server"] {
        let span = format!("connection{{role=\"{role}\" id={id:016x}}}");
        log.line(&[&span, "is up"]);
    }
    let (near, far) = duplex(64 << 10);
    let (other, _server) = pair(near, far);
    assert_ne!(other.stats().connection_id, Some(id));
}

/// It would never end while its connection lives.
#[tokio::test]
async fn the_span_of_a_request_is_not_the_parent_of_its_connection() {
    let (log, _guard) = Log::start(Level::INFO);
    let (near, far) = duplex(64 << 10);
    let (client, server) = tracing::info_span!("request").in_scope(|| pair(near, far));
    exchange(&client, &server).await;
    log.line(&["INFO connection{role=\"client\"", "is up"]);
    assert!(!log.text().contains("request"), "{}", log.text());
}

/// A region that is lost ends thousands.
#[tokio::test]
async fn connections_that_are_lost_together_are_a_few_warnings() {
    let (log, _guard) = Log::start(Level::DEBUG);
    for _ in 0..20 {
        let (near, mut wire) = duplex(64 << 10);
        let (mut other, far) = duplex(64 << 10);
        let cut = Arc::new(Notify::new());
        let is_cut = cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = copy_bidirectional(&mut wire, &mut other) => {}
                () = is_cut.notified() => {}
            }
        });
        let (client, server) = pair(near, far);
        exchange(&client, &server).await;
        cut.notify_one();
        within(client.closed()).await;
        within(server.closed()).await;
    }
    let text = log.text();
    let lost = |level: &str| {
        let lines = text.lines().filter(|line| line.contains("reason=\"lost\""));
        lines.filter(|line| line.contains(level)).count()
    };
    assert_eq!((lost("WARN"), lost("DEBUG")), (10, 30), "{text}"); // five of each role
}

/// As with a load balancer whose health check says a whole hello.
#[tokio::test]
async fn a_peer_that_comes_and_goes_all_the_time_is_a_few_lines() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener);
    for _ in 0..20 {
        let tcp = TcpStream::connect(addr).await.unwrap();
        let client = Connection::client(tcp, Config::default());
        let _channel = client.open().await.unwrap();
        within(acceptor.accept()).await;
        client.close("");
    }
    let of_the_peer = |level: &str, what: &str| {
        let text = log.text();
        let lines = text
            .lines()
            .filter(|line| line.contains("peer{") && line.contains(level) && line.contains(what));
        lines.count()
    };
    for what in ["is up", "has ended"] {
        while of_the_peer("", what) < 20 {
            tokio::task::yield_now().await;
        }
        // Other tests' peers are at this address, too.
        assert!(of_the_peer("INFO", what) <= 5, "{}", log.text());
    }
}

/// The page's table of events, held against the texts in the code.
#[test]
fn the_pages_table_has_all_events_and_no_others() {
    const DOCS: &str = include_str!("../../src/observability/OBSERVABILITY.md");
    let code = [
        include_str!("../../src/observability/trace.rs"),
        include_str!("../../src/observability/mod.rs"),
    ];
    let code = code.map(|text| text.split("#[cfg(test)]").next().unwrap());
    let rows = DOCS
        .lines()
        .skip_while(|line| !line.starts_with("| event |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let table: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    let told = code
        .iter()
        .flat_map(|text| text.split('"').skip(1).step_by(2));
    let starts = ["the ", "this ", "no "];
    let is_event = |text: &&str| starts.iter().any(|start| text.starts_with(start));
    let told: Vec<&str> = told.filter(is_event).collect();
    assert!(told.len() >= 10, "{told:?}");
    for text in table.iter().filter(|text| **text != "frame") {
        assert!(told.contains(text), "nothing tells: {text}");
    }
    for text in &told {
        assert!(table.contains(text), "not in the table: {text}");
    }
}
