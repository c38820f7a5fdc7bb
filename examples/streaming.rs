//! Bodies that are sent while they are made, both ways at once on one channel,
//! with trailers at their end.

use std::convert::Infallible;
use std::error::Error;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::post;
use http_body_util::{BodyExt, Channel as ChannelBody};
use hyper::Request;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;

/// Answers each piece as it comes, and ends with the trailers that it got.
async fn shout(body: Body) -> impl IntoResponse {
    let body =
        body.map_frame(|frame| frame.map_data(|data| Bytes::from(data.to_ascii_uppercase())));
    ([("trailer", "pieces")], Body::new(body))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}/", listener.local_addr()?);
    let acceptor = Acceptor::new(listener);
    let app = Router::new().route("/", post(shout));
    tokio::spawn(async { axum::serve(acceptor, app).await });

    let client = Client::builder(TokioExecutor::new())
        .build::<_, ChannelBody<Bytes, Infallible>>(Multiplex::new(HttpConnector::new()));
    let (mut sender, body) = ChannelBody::new(1);
    let request = Request::post(uri)
        .header("te", "trailers") // or hyper's server sends none
        .header("trailer", "pieces")
        .body(body)?;
    let mut answer = client.request(request).await?.into_body();
    for piece in ["one", "two", "three"] {
        sender.send_data(Bytes::from(piece)).await?;
        let frame = answer.frame().await.ok_or("the answer ended early")??;
        println!(
            "{piece} came back as {:?}",
            frame.into_data().map_err(|_| "trailers")?
        );
    }
    let trailers = HeaderMap::from_iter([("pieces".parse()?, "3".parse()?)]);
    sender.send_trailers(trailers).await?;
    drop(sender);
    println!("then {:?}", answer.collect().await?.trailers());
    Ok(())
}
