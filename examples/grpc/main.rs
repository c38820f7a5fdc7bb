//! gRPC by tonic: the client through the connector, the server through its
//! incoming stream. HTTP/2 runs over one channel, beside whatever else the
//! connection carries.

mod io;

use std::convert::Infallible;
use std::error::Error;

use futures_util::StreamExt;
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::Config;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let incoming = Acceptor::new(listener, Config::default())
        .map(|accepted| Ok::<_, Infallible>(io::GrpcIo::new(accepted)));
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(incoming));

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
