//! The page of the admin address, in a real browser.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::browser::Page;
use crate::guard::within;
use crate::programs::Daemon;

/// An expression of the page: the big number of a chart.
fn value(chart: &str) -> String {
    format!(
        "[...document.querySelectorAll('figure')]\
         .find((one) => one.textContent.startsWith('{chart}')).querySelector('b').textContent"
    )
}

/// A relay to a service that answers, with an admin address.
async fn relay() -> (Daemon, Daemon, String, TcpListener) {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serve = Daemon::serve(service.local_addr().unwrap()).await;
    let args = format!("relay --to {} --admin 127.0.0.1:0", serve.addr);
    let mut relay = Daemon::start(&args).await;
    let url = format!("http://{}/", relay.admin().await);
    (relay, serve, url, service)
}

async fn stream(relay: &Daemon, service: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    client.write_all(b"?").await.unwrap();
    let (mut far, _) = within(service.accept()).await.unwrap();
    within(far.read_u8()).await.unwrap();
    (client, far)
}

#[tokio::test]
#[ignore = "runs Chromium"]
async fn it_shows_a_connection_and_its_streams_as_they_change() {
    let (relay, serve, url, service) = relay().await;
    let page = Page::open(&url).await;
    page.shows("document.querySelector('#services section')")
        .await;
    page.shows("document.querySelector('.quiet').textContent === 'no connection'")
        .await;
    let mut streams = vec![stream(&relay, &service).await];
    page.shows(&format!("{} === '1'", value("Open streams")))
        .await;
    page.shows(&format!("{} === '1'", value("Connections")))
        .await;
    let peer = serve.addr;
    page.shows(&format!(
        "document.querySelector('tbody tr td span').textContent === '{peer}'"
    ))
    .await;
    page.shows(&format!("{}.endsWith(' ms')", value("Round trip")))
        .await;
    streams.push(stream(&relay, &service).await);
    streams.push(stream(&relay, &service).await);
    page.shows(&format!("{} === '3'", value("Open streams")))
        .await;
    page.shows("document.querySelector('tbody tr').cells[3].textContent === '3'")
        .await;
    streams.truncate(1);
    page.shows(&format!("{} === '1'", value("Open streams")))
        .await;
    page.shows("document.querySelector('path.one').getAttribute('d').includes('L')")
        .await;
    assert_eq!(page.complaints().await, Vec::<serde_json::Value>::new());
    page.close().await;
}

#[tokio::test]
#[ignore = "runs Chromium"]
async fn it_says_when_the_process_is_gone() {
    let (relay, _serve, url, _service) = relay().await;
    let page = Page::open(&url).await;
    page.shows("document.querySelector('#status').textContent.startsWith('up ')")
        .await;
    relay.kill().await;
    page.shows("document.querySelector('#status').textContent.startsWith('no answer since ')")
        .await;
    page.close().await;
}

/// The names of services and peers are text, whatever is in them.
#[tokio::test]
#[ignore = "runs Chromium"]
async fn a_name_with_markup_is_shown_and_not_run() {
    let (_relay, _serve, url, _service) = relay().await;
    let page = Page::open(&url).await;
    page.shows("sections.size === 1").await;
    let name = "<img src=x onerror=window.ran=1>";
    let shown = page
        .run(&format!(
            "const one = {{name: '{name}', mode: 'serve', listen: ['{name}'], \
             streams: {{open: 0, finished: 0, refused: 0, cut_off: 0}}, \
             bytes_to_clients: 0, bytes_to_services: 0, \
             targets: [{{name: '{name}', state: '{name}'}}], connections_left_out: 0, \
             connections: [{{key: 1, peer: '{name}', target: '{name}2', identity: ['{name}'], \
             state: '{name}', age_seconds: 1, round_trip_ms: 1, received_bytes: 0, sent_bytes: 0, \
             received_bytes_per_second: null, sent_bytes_per_second: null, streams: {{open: 0}}}}]}}; \
             const section = new Section(); section.show(one); \
             document.body.append(section.node); \
             return [section.node.querySelectorAll('img').length, \
             section.node.textContent.split('{name}').length - 1, window.ran ?? null]"
        ))
        .await;
    assert_eq!(shown[0], 0, "{shown}");
    assert_eq!(shown[1], 8, "{shown}");
    assert_eq!(shown[2], serde_json::Value::Null);
    page.close().await;
}
