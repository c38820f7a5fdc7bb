//! An app behind a load balancer that forwards TCP, such as AWS NLB, HAProxy or nginx. The
//! load balancer tells who the client is by the PROXY protocol. Here, a few lines stand for it.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::{Acceptor, ConnectInfoLayer, PeerInfo, ProxyProtocol};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A handler that knows nothing of tcpchan, and the layer that finds the address for it.
fn app() -> Router {
    let who = |ConnectInfo(addr): ConnectInfo<SocketAddr>| async move { format!("you are {addr}") };
    Router::new()
        .route("/", get(who))
        .route("/proxy", get(proxy))
        .layer(ConnectInfoLayer::new())
}

async fn proxy(ConnectInfo(peer): ConnectInfo<PeerInfo>) -> String {
    format!("behind {:?}", peer.proxy.map(|proxy| proxy.ip()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    // In production, the networks of the load balancer alone: they can claim any address.
    let proxy_protocol = ProxyProtocol::default().trusted_networks(["127.0.0.1"])?;
    let acceptor = Acceptor::new(listener).with_proxy_protocol(proxy_protocol);
    let service = app().into_make_service_with_connect_info::<PeerInfo>();
    tokio::spawn(async { axum::serve(acceptor, service).await });

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let balancer = listener.local_addr()?;
    tokio::spawn(forward(listener, server));

    let client = Client::builder(TokioExecutor::new())
        .build::<_, Empty<Bytes>>(Multiplex::new(HttpConnector::new()));
    for path in ["/", "/proxy"] {
        let response = client
            .get(format!("http://{balancer}{path}").parse()?)
            .await?;
        let body = response.into_body().collect().await?.to_bytes();
        println!("{}", String::from_utf8_lossy(&body));
    }
    Ok(())
}

/// The load balancer: it knows only TCP, and introduces each client by a line.
async fn forward(listener: TcpListener, server: SocketAddr) -> io::Result<()> {
    loop {
        let (mut client, addr) = listener.accept().await?;
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await?;
            let (from, to) = (addr.ip(), client.local_addr()?);
            let line = format!(
                "PROXY TCP4 {from} {} {} {}\r\n",
                to.ip(),
                addr.port(),
                to.port()
            );
            server.write_all(line.as_bytes()).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
