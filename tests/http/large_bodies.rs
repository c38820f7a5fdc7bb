//! Large bodies arrive whole and hold up nobody, whether they flow or nobody
//! reads them.
//!
//! Nothing here is timed: a large body ends only once the small requests beside
//! it were answered, so a small one that is held up never ends.
#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::Sender;
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};
use tcpchan::client::{Multiplex, PoolConfig};
use tcpchan::server::PeerInfo;
use tokio::sync::SetOnce;
use tokio::task::JoinSet;

use crate::app::serve;
use crate::guard::within;

const MIB: usize = 1 << 20;
const PIECE: usize = 16 << 10;

/// Opens once the small requests were answered.
type Gate = Arc<SetOnce<()>>;
type BodySender = Sender<Bytes, std::io::Error>;

/// Bytes that differ from piece to piece.
fn data(len: usize) -> Bytes {
    static DATA: LazyLock<Bytes> = LazyLock::new(|| {
        let bytes = (0..8 << 20).map(|i: u32| (i.wrapping_mul(i) >> 7) as u8);
        bytes.collect()
    });
    DATA.slice(..len)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A body of `len` bytes whose last piece waits for the gate.
fn gated(len: usize, gate: Gate) -> Body {
    let (sender, body) = http_body_util::channel::Channel::new(1);
    tokio::spawn(send_gated(sender, data(len), gate));
    Body::new(body)
}

async fn send_gated(mut sender: BodySender, mut data: Bytes, gate: Gate) {
    while data.len() > PIECE {
        if sender.send_data(data.split_to(PIECE)).await.is_err() {
            return;
        }
    }
    gate.wait().await;
    let _ = sender.send_data(data).await; // who asked for it may be gone
}

async fn hash(mut body: Body) -> [u8; 32] {
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        hash.update(frame.unwrap().into_data().unwrap());
    }
    hash.finalize().into()
}

struct Test {
    client: Client<Multiplex<HttpConnector>, Body>,
    addr: SocketAddr,
    gate: Gate,
}

impl Test {
    async fn new() -> Test {
        let gate = Gate::default();
        let app = Router::new()
            .route("/small", get(small))
            .route("/response", get(response))
            .route("/data", get(async || data(8 * MIB)))
            .route("/hash", post(async |body: Body| hash(body).await.to_vec()))
            .route("/stalled", post(stalled))
            .with_state(gate.clone());
        let addr = serve(app).await;
        let one = PoolConfig::default().connections(1..=1).unwrap();
        let connector = Multiplex::new(HttpConnector::new()).with_pool(one);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Test { client, addr, gate }
    }

    async fn get(&self, path: &str) -> Body {
        let uri = format!("http://{}{path}", self.addr).parse().unwrap();
        let response = self.client.get(uri).await.unwrap();
        assert!(response.status().is_success());
        Body::new(response.into_body())
    }

    /// Posts a body; what the server answers.
    async fn post(&self, path: &str, body: Body) -> Bytes {
        let request = Request::post(format!("http://{}{path}", self.addr));
        let response = self.client.request(request.body(body).unwrap()).await;
        collect(Body::new(response.unwrap().into_body())).await
    }

    /// 49 requests at once, all on the one connection.
    async fn small_requests(&self) {
        let mut requests = JoinSet::new();
        for _ in 0..49 {
            let uri = format!("http://{}/small", self.addr).parse().unwrap();
            let response = self.client.get(uri);
            requests.spawn(async { collect(Body::new(response.await.unwrap())).await });
        }
        assert_eq!(requests.join_all().await, ["1"; 49]);
    }
}

async fn collect(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

/// The connection's number.
async fn small(ConnectInfo(peer): ConnectInfo<PeerInfo>) -> String {
    peer.connection.to_string()
}

/// A mebibyte whose last piece waits for the gate.
async fn response(State(gate): State<Gate>) -> Body {
    gated(MIB, gate)
}

/// Reads no body before the gate opens.
async fn stalled(State(gate): State<Gate>, body: Body) -> Vec<u8> {
    gate.wait().await;
    hash(body).await.to_vec()
}

#[tokio::test]
async fn a_mebibyte_of_response_arrives_whole_beside_49_small_requests() {
    let test = Test::new().await;
    let mut large = test.get("/response").await;
    let first = large.frame().await.unwrap().unwrap().into_data().unwrap();
    let rest = tokio::spawn(collect(large));
    within(test.small_requests()).await;
    assert!(!rest.is_finished());
    test.gate.set(()).unwrap();
    let whole = [first, within(rest).await.unwrap()].concat();
    assert_eq!(digest(&whole), digest(&data(MIB)));
}

#[tokio::test]
async fn a_mebibyte_of_request_arrives_whole_beside_49_small_requests() {
    let test = Test::new().await;
    let upload = test.post("/hash", gated(MIB, test.gate.clone()));
    let small = async {
        test.small_requests().await;
        test.gate.set(()).unwrap();
    };
    let (hash, ()) = within(async { tokio::join!(upload, small) }).await;
    assert_eq!(hash, digest(&data(MIB))[..]);
}

#[tokio::test]
async fn a_response_that_is_not_read_holds_up_no_other_request() {
    let test = Test::new().await;
    let large = test.get("/data").await;
    within(test.small_requests()).await;
    let whole = within(collect(large)).await;
    assert_eq!(digest(&whole), digest(&data(8 * MIB)));
}

#[tokio::test]
async fn a_request_body_that_is_not_read_holds_up_no_other_request() {
    let test = Test::new().await;
    let upload = test.post("/stalled", data(8 * MIB).into());
    let small = async {
        test.small_requests().await;
        test.gate.set(()).unwrap();
    };
    let (hash, ()) = within(async { tokio::join!(upload, small) }).await;
    assert_eq!(hash, digest(&data(8 * MIB))[..]);
}

#[tokio::test]
async fn a_hundred_responses_that_are_not_read_hold_up_no_other_request() {
    let test = Test::new().await;
    let mut large = Vec::new();
    for _ in 0..100 {
        large.push(within(test.get("/data")).await);
    }
    within(test.small_requests()).await;
}
