//! Clean ends and ends that nobody waits for, through hyper.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Mutex;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tcpchan::Channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::guard::within;
use crate::hyper_ends::fixture::{
    Body, BodySender, CLIENTS, Far, Loss, collect, listen, raw, read_head,
};

/// A hyper server that answers with the request's body.
fn echo(channel: Channel) {
    let echo = |request: Request<_>| async {
        let body = collect(request.into_body()).await.unwrap();
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    };
    let mut builder = http1::Builder::new();
    builder.half_close(true);
    tokio::spawn(builder.serve_connection(channel, service_fn(echo)));
}

/// What a client that is played by hand reads up to the end of file.
async fn exchange(request: &str, finish: bool) -> std::io::Result<String> {
    let (listener, addr) = listen().await;
    let mut channel = raw(addr).await;
    channel.write_all(request.as_bytes()).await?;
    if finish {
        channel.shutdown().await?;
    }
    let mut far = Far::accept(&listener).await;
    echo(far.channel.take().unwrap());
    let mut response = String::new();
    channel.read_to_string(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn a_client_that_has_finished_still_gets_its_response() {
    let request = "POST / HTTP/1.1\r\ncontent-length: 8\r\n\r\nquestion";
    let response = within(exchange(request, true)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response:?}");
    assert!(response.ends_with("\r\n\r\nquestion"), "{response:?}");
}

#[tokio::test]
async fn a_server_that_closes_ends_its_channel_with_a_fin() {
    let request = "POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let response = within(exchange(request, false)).await.unwrap();
    assert!(response.ends_with("\r\n\r\nhi"), "{response:?}");
}

#[tokio::test]
async fn a_client_that_closes_ends_its_channel_with_a_fin() {
    for via in CLIENTS {
        let (listener, addr) = listen().await;
        let serve = async {
            let mut far = Far::accept(&listener).await;
            read_head(far.channel()).await;
            let response = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
            far.channel().write_all(response.as_bytes()).await.unwrap();
            far.channel().read_to_end(&mut Vec::new()).await
        };
        let client = async { collect(via.get(addr).await.unwrap().into_body()).await };
        let (body, end) = within(async { tokio::join!(client, serve) }).await;
        assert_eq!(body.unwrap(), "hi");
        assert_eq!(end.unwrap(), 0, "{via:?}");
    }
}

/// A hyper server whose response body the test writes.
async fn streaming(listener: &TcpListener) -> (Far, BodySender) {
    let mut far = Far::accept(listener).await;
    let (sender, body) = Body::new(1);
    let body = Mutex::new(Some(body));
    let respond = move |_| {
        let body = body.lock().unwrap().take().unwrap();
        ready(Ok::<_, Infallible>(Response::new(body)))
    };
    let channel = far.channel.take().unwrap();
    tokio::spawn(http1::Builder::new().serve_connection(channel, service_fn(respond)));
    (far, sender)
}

/// Ends a response that the client has read a part of, and waits until the
/// server writes no more.
async fn server_stops_after(end: impl Fn(Incoming, &mut Far) -> Option<Incoming>) {
    for via in CLIENTS {
        let (listener, addr) = listen().await;
        let (response, (mut far, mut sender)) = tokio::join!(via.get(addr), streaming(&listener));
        let mut body = response.unwrap().into_body();
        sender.send_data("part".into()).await.unwrap();
        body.frame().await.unwrap().unwrap();
        let _body = end(body, &mut far);
        while sender.send_data("more".into()).await.is_ok() {}
    }
}

#[tokio::test]
async fn a_client_that_drops_a_response_stops_the_server() {
    let drop_it = |body, _: &mut Far| {
        drop(body);
        None
    };
    within(server_stops_after(drop_it)).await;
}

#[tokio::test]
async fn the_loss_of_the_connection_stops_the_server() {
    for how in [Loss::Eof, Loss::Rst] {
        let lose = |body, far: &mut Far| {
            far.lose(how);
            Some(body)
        };
        within(server_stops_after(lose)).await;
    }
}
