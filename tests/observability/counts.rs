//! What is counted is what happened, in 10,000 opens, resets, refusals and redials on
//! real TCP.
#![cfg(all(feature = "client", feature = "server", feature = "metrics"))]

use std::cell::{Cell, RefCell};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use futures_util::StreamExt;
use hyper_util::client::legacy::connect::HttpConnector;
use metrics_exporter_prometheus::PrometheusHandle;
use tcpchan::Channel;
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_stream::wrappers::TcpListenerStream;
use tower::Service;

use crate::guard::within;
use crate::scrape::{recorder, sum, value};

const ROUNDS: usize = 100;
const EACH: usize = 100;

#[derive(Clone, Copy, PartialEq)]
enum What {
    Echo,
    Refused,
    ResetByServer,
    ResetByClient,
}

impl What {
    fn nth(nth: usize) -> What {
        match nth % 10 {
            3 => What::Refused,
            5 => What::ResetByServer,
            8 => What::ResetByClient,
            _ => What::Echo,
        }
    }
}

/// A server that does with the next channel what it is told, and whose connections can
/// be cut.
struct Server {
    addr: SocketAddr,
    next: Rc<Cell<What>>,
    sockets: Rc<RefCell<Vec<std::net::TcpStream>>>,
    done: mpsc::UnboundedReceiver<()>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let next = Rc::new(Cell::new(What::Echo));
        let sockets = Rc::new(RefCell::new(Vec::new()));
        let (tells, done) = mpsc::unbounded_channel();
        let (to, streams) = mpsc::unbounded_channel();
        let kept = sockets.clone();
        tokio::task::spawn_local(async move {
            let mut incoming = TcpListenerStream::new(listener);
            while let Some(Ok(tcp)) = incoming.next().await {
                let peer = tcp.peer_addr().unwrap();
                let tcp = tcp.into_std().unwrap();
                kept.borrow_mut().push(tcp.try_clone().unwrap());
                let tcp = tokio::net::TcpStream::from_std(tcp);
                to.send(tcp.map(|tcp| (tcp, peer))).unwrap();
            }
        });
        let streams = tokio_stream::wrappers::UnboundedReceiverStream::new(streams);
        let mut acceptor = Acceptor::from_incoming(streams);
        let what = next.clone();
        tokio::task::spawn_local(async move {
            loop {
                let (channel, _) = acceptor.accept().await;
                serve(channel, what.get()).await;
                tells.send(()).unwrap();
            }
        });
        Server {
            addr,
            next,
            sockets,
            done,
        }
    }
}

async fn serve(mut channel: Channel, what: What) {
    let mut bytes = Vec::new();
    match what {
        What::Echo => {
            channel.read_to_end(&mut bytes).await.unwrap();
            channel.write_all(&bytes).await.unwrap();
            channel.shutdown().await.unwrap();
        }
        What::Refused => channel.refuse(),
        What::ResetByServer => {
            channel.read_u8().await.unwrap();
            channel.reset(7);
        }
        What::ResetByClient => {
            channel.read_to_end(&mut bytes).await.unwrap_err();
        }
    }
}

async fn ask(mut channel: Channel, what: What) {
    channel.write_all(b"ask").await.unwrap();
    let mut answer = Vec::new();
    match what {
        What::Echo => {
            channel.shutdown().await.unwrap();
            channel.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"ask");
        }
        What::Refused | What::ResetByServer => {
            channel.read_to_end(&mut answer).await.unwrap_err();
        }
        What::ResetByClient => {}
    }
}

/// A round on a new connector, whose connection the server cuts in every other round.
async fn round(server: &mut Server, round: usize) {
    // One, so that a busy machine's late answer is no reason to dial another.
    let one = PoolConfig::default().connections(1..=1).unwrap();
    let mut connector = Multiplex::new(HttpConnector::new()).with_pool(one);
    let uri: http::Uri = format!("http://{}", server.addr).parse().unwrap();
    for nth in 0..EACH {
        let what = What::nth(nth);
        server.next.set(what);
        let channel = within(connector.call(uri.clone())).await.unwrap();
        within(ask(channel, what)).await;
        within(server.done.recv()).await.unwrap();
    }
    let sockets = std::mem::take(&mut *server.sockets.borrow_mut());
    if round.is_multiple_of(2) {
        for socket in sockets {
            socket.shutdown(Shutdown::Both).unwrap();
        }
        while !connector.stats()[0].connections.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

async fn refused_dial() {
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", down.local_addr().unwrap());
    drop(down);
    let mut connector = Multiplex::new(HttpConnector::new());
    within(connector.call(uri.parse().unwrap()))
        .await
        .unwrap_err();
}

/// Waits until the connections have ended, and have said and heard their last.
async fn ended(metrics: &PrometheusHandle) {
    let live = || sum(metrics, "tcpchan_connections{");
    let bytes = |what: &str| sum(metrics, &format!("tcpchan_{what}_bytes_total"));
    within(async {
        while live() > 0.0 || bytes("sent") != bytes("received") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_opens_resets_refusals_and_redials() {
    let (recorder, metrics) = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let run = async {
        let mut server = Server::start().await;
        for nth in 0..ROUNDS {
            round(&mut server, nth).await;
            refused_dial().await;
        }
        ended(&metrics).await;
    };
    LocalSet::new().run_until(run).await;
    let all = (ROUNDS * EACH) as f64;
    let (rounds, kind) = (ROUNDS as f64, all / 10.0);
    for (name, expected) in [
        ("open_duration_seconds_count", all),
        (
            "open_duration_seconds_count{error_type=\"refused\"}",
            rounds,
        ),
        ("channels_opened_total{role=\"client\",by=\"self\"}", all),
        ("channels_opened_total{role=\"client\",by=\"peer\"}", 0.0),
        ("channels_opened_total{role=\"server\",by=\"peer\"}", all),
        ("channels_refused_total{role=\"client\",by=\"peer\"}", kind),
        ("channels_refused_total{role=\"client\",by=\"self\"}", 0.0),
        ("channels_refused_total{role=\"server\",by=\"self\"}", kind),
        ("channels_refused_total{role=\"server\",by=\"peer\"}", 0.0),
        ("channels_reset_total{role=\"client\",by=\"self\"}", kind),
        ("channels_reset_total{role=\"client\",by=\"peer\"}", kind),
        ("channels_reset_total{role=\"server\",by=\"self\"}", kind),
        ("channels_reset_total{role=\"server\",by=\"peer\"}", kind),
        ("dial_duration_seconds_count", rounds),
        (
            "dial_duration_seconds_count{error_type=\"refused\"}",
            rounds,
        ),
        ("connections_opened_total{role=\"client\"}", rounds),
        ("connections_opened_total{role=\"server\"}", rounds),
        (
            "connections_closed_total{role=\"client\",reason=\"lost\"}",
            rounds / 2.0,
        ),
        (
            "connections_closed_total{role=\"server\",reason=\"lost\"}",
            rounds / 2.0,
        ),
        (
            "connections_closed_total{role=\"client\",reason=\"closed\"}",
            rounds / 2.0,
        ),
        (
            "connections_closed_total{role=\"server\",reason=\"peer_closed\"}",
            rounds / 2.0,
        ),
        ("connections{role=\"client\"}", 0.0),
        ("connections{role=\"server\"}", 0.0),
        ("channels{role=\"client\"}", 0.0),
        ("channels{role=\"server\"}", 0.0),
        ("buffered_bytes{role=\"client\"}", 0.0),
        ("buffered_bytes{role=\"server\"}", 0.0),
        ("waiting_callers", 0.0),
    ] {
        assert_eq!(
            value(&metrics, &format!("tcpchan_{name}")),
            expected,
            "{name}"
        );
    }
    let bytes = |what: &str, role: &str| {
        value(
            &metrics,
            &format!("tcpchan_{what}_bytes_total{{role=\"{role}\"}}"),
        )
    };
    assert_eq!(bytes("sent", "client"), bytes("received", "server"));
    assert_eq!(bytes("received", "client"), bytes("sent", "server"));
}
