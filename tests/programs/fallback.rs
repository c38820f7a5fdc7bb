//! Servers that know nothing of tcpchan, and a client that asks them by a hello.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tcpchan::client::{Fallback, FallbackConfig, Multiplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::guard::within;

async fn free_place() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A program, once it listens.
async fn start(addr: SocketAddr, program: &str, args: &[&str]) -> Child {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it is installed");
    within(async {
        while TcpStream::connect(addr).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{program} ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    child
}

/// Two requests; only the first has to find out.
async fn is_called_by_http(addr: SocketAddr, hello_within: Duration) {
    let config = FallbackConfig::default().first_answer(true);
    let config = config.hello_within(hello_within).unwrap();
    let fallback = Fallback::new(Multiplex::new(HttpConnector::new())).with_config(config);
    let client: Client<_, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(fallback.clone());
    let uri: hyper::Uri = format!("http://{addr}/").parse().unwrap();
    for _ in 0..2 {
        let response = within(client.get(uri.clone())).await.unwrap();
        assert!(response.status().is_success());
    }
    let stats = fallback.stats_of(&uri).unwrap();
    assert!(stats.speaks_http && stats.dials == 1, "{stats:?}");
}

/// It waits for the end of a line, and so says nothing.
#[tokio::test]
#[ignore = "needs Python"]
async fn pythons_web_server_is_called_by_http() {
    let addr = free_place().await;
    let port = addr.port().to_string();
    let args = ["-m", "http.server", "--bind", "127.0.0.1", &port];
    let _python = start(addr, "python3", &args).await;
    is_called_by_http(addr, Duration::from_millis(300)).await;
}

/// It answers with an error, which needs no time limit.
#[tokio::test]
#[ignore = "needs HAProxy"]
async fn haproxy_in_http_mode_is_called_by_http() {
    let addr = free_place().await;
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 5s\n\
         frontend web\n bind {addr}\n http-request return status 200\n"
    );
    let name = format!("fallback-{}.cfg", addr.port());
    let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&config, text).unwrap();
    let args = ["-db", "-f", config.to_str().unwrap()];
    let _haproxy = start(addr, "haproxy", &args).await;
    is_called_by_http(addr, Duration::from_secs(60)).await;
    std::fs::remove_file(config).unwrap();
}
