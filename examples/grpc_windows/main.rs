//! What HTTP/2's windows cost gRPC on a long link: 16 MiB each way through tonic, over a
//! simulated link of 200 ms without a limit of rate, with the windows by default and with
//! windows of 16 MiB. The times are round trips.

mod service;
#[path = "../support/slow_link.rs"]
mod slow_link;

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_prost::ProstCodec;

use crate::service::{Bulk, PIECE, PIECES};
use crate::slow_link::SlowLink;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const RTT: Duration = Duration::from_millis(200);
const LARGE: u32 = 16 << 20;

fn connector() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http
}

async fn connect(window: Option<u32>) -> Result<Channel, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let acceptor = Acceptor::new(listener);
    let mut server = Server::builder()
        .initial_stream_window_size(window)
        .initial_connection_window_size(window);
    tokio::spawn(server.add_service(Bulk).serve_with_incoming(acceptor));
    let endpoint = Endpoint::from_shared(uri)?
        .initial_stream_window_size(window)
        .initial_connection_window_size(window);
    let multiplex = Multiplex::new(SlowLink::new(RTT));
    Ok(endpoint.connect_with_connector(multiplex).await?)
}

/// Sends messages and reads the answers; how many round trips that took.
async fn run(channel: &Channel, messages: Vec<String>) -> Result<f64, Failure> {
    let begun = Instant::now();
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await?;
    let path = PathAndQuery::from_static("/bulk.Bulk/Run");
    let request = Request::new(tokio_stream::iter(messages));
    let codec = ProstCodec::<String, String>::default();
    let mut answers = client.streaming(request, path, codec).await?.into_inner();
    while answers.next().await.transpose()?.is_some() {}
    Ok(begun.elapsed().as_secs_f64() / RTT.as_secs_f64())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    println!("| windows | a small call | 16 MiB down | 16 MiB up |\n|---|---|---|---|");
    for (name, window) in [("by default", None), ("16 MiB", Some(LARGE))] {
        let channel = connect(window).await?;
        run(&channel, vec!["first".to_owned()]).await?;
        let small = run(&channel, vec!["small".to_owned()]).await?;
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            down.push(run(&channel, vec!["down".to_owned()]).await?);
            up.push(run(&channel, vec!["u".repeat(PIECE); PIECES]).await?);
        }
        down.sort_by(f64::total_cmp);
        up.sort_by(f64::total_cmp);
        println!("| {name} | {small:.2} | {:.2} | {:.2} |", down[1], up[1]);
    }
    Ok(())
}
