//! tinyproxy, and microsocks.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::guard::within;
use crate::programs::Daemon;
use crate::web::Web;

/// A proxy that runs; a user `me` has the password `secret` there.
struct Proxy {
    _child: Child,
    addr: SocketAddr,
}

impl Proxy {
    /// Starts it, once it is known where it is to listen.
    async fn start(command: impl FnOnce(SocketAddr) -> Command) -> Proxy {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let mut command = command(addr);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().unwrap();
        let up = async {
            while TcpStream::connect(addr).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within(up).await;
        Proxy {
            _child: child,
            addr,
        }
    }

    async fn tinyproxy() -> Proxy {
        Proxy::start(|addr| {
            let name = format!("tinyproxy-{}.conf", addr.port());
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
            let port = addr.port();
            let text =
                format!("Port {port}\nListen 127.0.0.1\nBasicAuth me secret\nLogLevel Error\n");
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(file);
            command
        })
        .await
    }

    async fn microsocks() -> Proxy {
        Proxy::start(|addr| {
            let mut command = Command::new("microsocks");
            let port = addr.port().to_string();
            command.args(["-i", "127.0.0.1", "-p", &port, "-u", "me", "-P", "secret"]);
            command
        })
        .await
    }
}

/// The page, by HTTP/1.0 and without hyper.
async fn page(relay: &Daemon) -> std::io::Result<String> {
    let mut tcp = TcpStream::connect(relay.addr).await?;
    tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    within(tcp.read_to_string(&mut page)).await?;
    Ok(page)
}

/// A page through the proxy, by its name for the proxy's host; and what is said without the
/// password, and of a server that is not there.
async fn works(proxy: Proxy, scheme: &str) {
    let web = Web::start().await;
    let (addr, port) = (proxy.addr, web.serve.addr.port());
    let relay = |to: &str, auth: &str| {
        let args = format!("relay --to {to} --proxy {scheme}://{auth}{addr}");
        async move { Daemon::start(&args).await }
    };
    let through = relay(&format!("localhost:{port}"), "me:secret@").await;
    assert!(page(&through).await.unwrap().ends_with("hello"));
    let mut closed = relay("localhost:1", "me:secret@").await;
    page(&closed).await.unwrap_err();
    closed.says("does not connect to localhost:1: ").await;
    let mut wrong = relay("localhost:1", "me:no@").await;
    page(&wrong).await.unwrap_err();
    wrong
        .says("does not accept the user and password of --proxy")
        .await;
    let mut without = relay("localhost:1", "").await;
    page(&without).await.unwrap_err();
    without.says("wants USER:PASSWORD@ before the host").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs tinyproxy"]
async fn a_relay_reaches_its_server_through_tinyproxy() {
    works(Proxy::tinyproxy().await, "http").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs microsocks"]
async fn a_relay_reaches_its_server_through_microsocks() {
    works(Proxy::microsocks().await, "socks5").await;
}
