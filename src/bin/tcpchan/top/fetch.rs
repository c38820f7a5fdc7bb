//! Asks an admin address.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cells::cut;
use crate::admin::document::Document;
use crate::explain::explain;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Bytes of an answer: twice what a thousand connections have.
const MOST: usize = 4 << 20;

/// Characters of the text of an error.
const TEXT: usize = 200;

/// What a process shows. An error is a line for people.
pub async fn fetch(address: &str) -> Result<Document, String> {
    match timeout(WITHIN, ask(address)).await {
        Ok(asked) => asked,
        Err(_) => Err(format!("no answer within {WITHIN:?}")),
    }
}

async fn ask(address: &str) -> Result<Document, String> {
    let tcp = TcpStream::connect(address).await;
    let tcp = tcp.map_err(|error| explain(&error))?;
    let no_http = |error: hyper::Error| format!("it speaks no HTTP: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(no_http)?;
    let request = Request::get("/connections").header(HOST, address);
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(no_http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        // Both texts may have what the other side said.
        let shown = |text: &str| cut(text.trim(), TEXT);
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|error| {
                let error = shown(&error.to_string());
                format!("it is no admin address of tcpchan's: {error}")
            }),
            status => {
                let text = shown(&String::from_utf8_lossy(&body));
                Err(format!("{status}: {text}"))
            }
        }
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await, // what it got is still to be read
    }
}
