//! Servers that speak neither, without TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tcpchan::Config;
use tcpchan::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::fixture::{Kind, Port, ask, asks, client, plain};
use super::raw::{asks_briefly, listen};
use crate::certs::Authority;
use crate::guard::within;

/// A server that answers each connection with these bytes, again and again; how many it
/// could send, and whether it met a request.
async fn says(
    bytes: &'static [u8],
    endless: bool,
) -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (listener, addr) = listen().await;
    let (sent, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (sent.clone(), requests.clone());
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let (sent, requests) = counts.clone();
            tokio::spawn(async move {
                let mut first = [0];
                let _ = tcp.read(&mut first).await;
                requests.fetch_add(usize::from(first == *b"G"), SeqCst);
                while tcp.write_all(bytes).await.is_ok() && endless {
                    sent.fetch_add(bytes.len(), SeqCst);
                }
                let _ = tcp.read_to_end(&mut Vec::new()).await; // until the client goes
            });
        }
    });
    (addr, sent, requests)
}

#[tokio::test]
async fn one_of_a_third_protocol_is_an_error_and_gets_no_request() {
    let hellos: [&[u8]; 3] = [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example ESMTP\r\n",
        &[0x15, 3, 3, 0, 2, 2, 10], // an alert of TLS
    ];
    for hello in hellos {
        let (addr, _, requests) = says(hello, false).await;
        let client = client(plain());
        for _ in 0..2 {
            let uri = format!("http://{addr}/").parse().unwrap();
            let error = ask(&client, uri).await.unwrap_err();
            assert!(error.is_connect(), "{error:?}");
            assert!(
                format!("{error:?}").contains("its first byte is"),
                "{error:?}"
            );
        }
        assert_eq!(requests.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn a_tls_server_is_not_called_in_the_clear() {
    let (listener, addr) = listen().await;
    let acceptor = TlsAcceptor::from(Arc::new(Authority::new().server()));
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let _ = acceptor.accept(tcp).await;
        }
    });
    let uri = format!("http://{addr}/").parse().unwrap();
    let error = ask(&client(plain()), uri).await.unwrap_err();
    assert!(
        error.is_connect() && format!("{error:?}").contains("as of TLS"),
        "{error:?}"
    );
}

#[tokio::test]
async fn endless_bytes_in_place_of_a_hello_are_cut_off() {
    let starts: [&[u8]; 4] = [&[b'H'; 4096], &[0xff; 4096], &[1; 4096], &[0; 4096]];
    for bytes in starts {
        let (addr, sent, _) = says(bytes, true).await;
        let fallback = plain().with_config(asks_briefly());
        let uri: hyper::Uri = format!("http://{addr}/").parse().unwrap();
        ask(&client(fallback.clone()), uri.clone())
            .await
            .unwrap_err();
        drop(fallback);
        within(async {
            let mut before = usize::MAX;
            while before != sent.load(SeqCst) {
                before = sent.load(SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

/// A hello that never comes to its end is no answer of HTTP.
#[tokio::test]
async fn the_start_of_a_hello_is_no_reason_for_http() {
    let (addr, _, requests) = says(&[1, 2], false).await;
    let client = client(plain().with_config(asks_briefly()));
    let uri = format!("http://{addr}/").parse().unwrap();
    let error = ask(&client, uri).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(requests.load(SeqCst), 0);
}

#[tokio::test]
async fn a_server_of_another_magic_is_an_error() {
    let (listener, addr) = listen().await;
    let config = Config::default().magic(7);
    let mut acceptor = Acceptor::new(listener).with_config(config);
    tokio::spawn(async move { acceptor.accept().await });
    let uri = format!("http://{addr}/").parse().unwrap();
    let error = ask(&client(plain().with_config(asks())), uri)
        .await
        .unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_target_that_is_down_is_a_connect_error_on_both_ways() {
    let mut port = Port::plain().await;
    port.serve(Kind::Http);
    let client = super::fixture::without_pool(plain());
    ask(&client, port.uri("")).await.unwrap();
    let (uri, nowhere) = (port.uri(""), listen().await.1);
    drop(port);
    within(async {
        loop {
            match ask(&client, uri.clone()).await {
                Ok(_) => tokio::task::yield_now().await, // the server stops
                Err(error) => return assert!(error.is_connect(), "{error:?}"),
            }
        }
    })
    .await;
    let uri = format!("http://{nowhere}/").parse().unwrap();
    assert!(ask(&client, uri).await.unwrap_err().is_connect());
}
