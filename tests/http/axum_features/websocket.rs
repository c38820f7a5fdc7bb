use axum::Router;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{Message as Served, WebSocket};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::axum_features::fixture::{channel, connect, serve};
use crate::guard::within;

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if !matches!(message, Served::Text(_) | Served::Binary(_)) {
            continue;
        }
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

fn app() -> Router {
    let upgrade = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) };
    Router::new().route("/", get(upgrade))
}

#[tokio::test]
async fn a_web_socket_runs_over_a_channel() {
    let channel = channel(serve(app()).await).await;
    let upgrade = tokio_tungstenite::client_async("ws://host/", channel);
    let (mut socket, _) = within(upgrade).await.unwrap();
    for i in 0..100 {
        let message = Message::text(format!("message {i}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(within(socket.next()).await.unwrap().unwrap(), message);
    }
}

/// axum drops what is under a web socket without a shutdown.
#[tokio::test]
async fn a_web_socket_is_closed_by_both_sides() {
    let channel = channel(serve(app()).await).await;
    let upgrade = tokio_tungstenite::client_async("ws://host/", channel);
    let (mut socket, _) = within(upgrade).await.unwrap();
    socket.close(None).await.unwrap();
    assert!(within(socket.next()).await.unwrap().unwrap().is_close());
    assert!(within(socket.next()).await.is_none());
}

#[tokio::test]
async fn web_sockets_share_a_connection() {
    let connection = connect(serve(app()).await).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let channel = connection.open().await.unwrap();
        let upgrade = tokio_tungstenite::client_async("ws://host/", channel);
        sockets.push(within(upgrade).await.unwrap().0);
    }
    for socket in &mut sockets {
        socket
            .send(Message::binary(vec![7; 100_000]))
            .await
            .unwrap();
    }
    for socket in &mut sockets {
        let message = within(socket.next()).await.unwrap().unwrap();
        assert_eq!(message.into_data(), vec![7; 100_000]);
    }
}
