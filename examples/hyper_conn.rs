//! hyper's own connections on channels, without a pool: the server takes HTTP/1
//! or HTTP/2 on each channel, the client speaks the one on one channel and the
//! other on another, all on one TCP connection.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::net::{TcpListener, TcpStream};

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("hello by {:?}", request.version());
    Ok(Response::new(Full::from(text)))
}

async fn serve(mut acceptor: Acceptor) {
    loop {
        let (channel, peer) = acceptor.accept().await;
        tokio::spawn(async move {
            // For one version alone: hyper::server::conn::http1::Builder.
            let http = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = http.serve_connection(channel, service_fn(hello)).await {
                eprintln!("channel {} of {}: {error}", peer.channel, peer.addr);
            }
        });
    }
}

async fn print(response: Response<Incoming>) -> Result<(), Box<dyn Error>> {
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(serve(Acceptor::new(listener)));

    let tcp = TcpStream::connect(addr).await?;
    let connection = Connection::client(tcp, Config::default());

    let (mut sender, http) = http1::handshake(connection.open().await?).await?;
    tokio::spawn(http);
    let request = Request::get("/").header("host", "example");
    print(
        sender
            .send_request(request.body(Full::<Bytes>::default())?)
            .await?,
    )
    .await?;

    let channel = connection.open().await?;
    let (mut sender, http) = http2::handshake(TokioExecutor::new(), channel).await?;
    tokio::spawn(http);
    let request = Request::get("http://example/");
    print(
        sender
            .send_request(request.body(Full::<Bytes>::default())?)
            .await?,
    )
    .await?;

    println!("{} channels were opened", connection.stats().opened);
    Ok(())
}
