use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use super::run_all;
use crate::measure::{self, count};
use crate::way::Way;

pub type Body = Full<Bytes>;

static URI: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("http://localhost/answer"));
static ANSWER: [u8; 200] = [b'a'; 200];
static UPLOAD: [u8; UPLOAD_BYTES] = [b'u'; UPLOAD_BYTES];
const UPLOAD_BYTES: usize = 256 << 10;

/// Reads the request to its end and answers 200 bytes.
pub async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    Ok(Response::new(Full::new(Bytes::from_static(&ANSWER))))
}

pub fn request(upload: bool) -> Request<Body> {
    let (method, body) = match upload {
        true => (Method::POST, Bytes::from_static(&UPLOAD)),
        false => (Method::GET, Bytes::new()),
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = URI.clone();
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    request
}

/// Reads a response to its end.
pub async fn finish<B>(response: Response<B>) -> anyhow::Result<()>
where
    B: http_body::Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    anyhow::ensure!(response.status().is_success());
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    anyhow::ensure!(length == ANSWER.len());
    Ok(())
}

pub async fn serve<T>(io: T)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let _ = Builder::new()
        .serve_connection(io, service_fn(answer))
        .await;
}

async fn sender<W: Way>(client: &W::Client) -> anyhow::Result<SendRequest<Body>> {
    let stream = W::http(W::open(client).await?);
    let (sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(sender: &mut SendRequest<Body>, upload: bool) -> anyhow::Result<()> {
    finish(sender.send_request(request(upload)).await?).await
}

/// Requests on `at_once` streams that are kept.
pub async fn kept<W: Way>(client: W::Client, at_once: usize, upload: bool) -> anyhow::Result<()> {
    let client = Arc::new(client);
    exchange(&mut sender::<W>(&client).await?, upload).await?;
    measure::ready();
    run_all(at_once, || {
        let client = client.clone();
        async move {
            let mut sender = sender::<W>(&client).await?;
            loop {
                sender.ready().await?;
                exchange(&mut sender, upload).await?;
                count(1);
            }
        }
    })
    .await
}

/// A stream for each request, `at_once` at a time.
pub async fn fresh<W: Way>(client: W::Client, at_once: usize) -> anyhow::Result<()> {
    let client = Arc::new(client);
    measure::ready();
    run_all(at_once, || {
        let client = client.clone();
        async move {
            loop {
                exchange(&mut sender::<W>(&client).await?, false).await?;
                count(1);
            }
        }
    })
    .await
}
