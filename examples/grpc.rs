//! gRPC by tonic: the client through the connector, the server through its incoming
//! stream. HTTP/2 runs over one channel, beside whatever else the connection carries.

use std::error::Error;

use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::Multiplex;
use tcpchan::server::{Acceptor, ConnectInfoLayer, PeerInfo};
use tokio::net::TcpListener;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let acceptor = Acceptor::new(listener);
    let (reporter, _) = tonic_health::server::health_reporter();
    let health = HealthService::from_health_reporter(reporter);
    let server = Server::builder()
        .layer(ConnectInfoLayer::new()) // for `Request::remote_addr`
        .add_service(HealthServer::with_interceptor(health, show));
    tokio::spawn(server.serve_with_incoming(acceptor));

    let connector = Multiplex::new(HttpConnector::new());
    let channel = Endpoint::from_shared(uri)?
        .connect_with_connector(connector.clone())
        .await?;
    let mut client = HealthClient::new(channel);
    let answer = client.check(HealthCheckRequest::default()).await?;
    println!("the server is {:?}", answer.into_inner().status());
    for target in connector.stats() {
        println!(
            "{} connection(s), {} dial(s)",
            target.connections.len(),
            target.dials
        );
    }
    Ok(())
}

/// What a handler learns of its caller.
fn show(request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<PeerInfo>();
    let on = peer.map(|peer| (peer.connection, peer.channel));
    println!(
        "a call from {:?} on {on:?}",
        request.remote_addr().is_some()
    );
    Ok(request)
}
