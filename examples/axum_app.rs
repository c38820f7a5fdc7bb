//! An axum app on an acceptor: who calls, server-sent events, a web socket, and
//! a graceful end. Called by a hyper client and a web socket client, all on one
//! connection.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocket;
use axum::extract::{ConnectInfo, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tcpchan::server::{Acceptor, PeerInfo};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tower::Service;

fn app() -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/count", get(count))
        .route(
            "/echo",
            get(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }),
        )
}

async fn who(ConnectInfo(peer): ConnectInfo<PeerInfo>) -> String {
    format!("channel {} of connection {}", peer.channel, peer.connection)
}

async fn count() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let numbers = futures_util::stream::iter(1..=3);
    Sse::new(numbers.map(|number: u32| Ok(Event::default().data(number.to_string()))))
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let acceptor = Acceptor::new(listener);
    let drain = acceptor.drain_handle();
    let acceptor = acceptor.tap_io(|channel| println!("channel {} begins", channel.id()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = app().into_make_service_with_connect_info::<PeerInfo>();
    let serve = |stop| axum::serve(acceptor, service).with_graceful_shutdown(stop);
    let signal = async { stopped.await.unwrap_or_default() };
    let served = async move {
        drain
            .serve_until(signal, Duration::from_secs(10), serve)
            .await
    };
    let served = tokio::spawn(served);

    let mut connector = Multiplex::new(HttpConnector::new());
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector.clone());
    for path in ["who", "count"] {
        let uri = format!("http://{addr}/{path}").parse()?;
        let body = client
            .get(uri)
            .await?
            .into_body()
            .collect()
            .await?
            .to_bytes();
        println!("{path}: {:?}", String::from_utf8_lossy(&body));
    }

    let channel = connector.call(format!("http://{addr}").parse()?).await?;
    let (mut socket, _) =
        tokio_tungstenite::client_async(format!("ws://{addr}/echo"), channel).await?;
    socket.send(Message::text("hello")).await?;
    if let Some(message) = socket.next().await {
        println!("echo: {:?}", message?.to_text()?);
    }

    drop((client, socket, connector));
    let _ = stop.send(());
    served.await??;
    println!("every channel came to its end");
    Ok(())
}
