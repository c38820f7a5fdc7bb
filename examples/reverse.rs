//! An axum app without a port of its own, as behind NAT: it dials a hub, and
//! the hub calls it over that connection. Two processes: the hub starts the
//! app. By hand: `reverse hub 127.0.0.1:3000`, `reverse app 127.0.0.1:3000`.

use std::error::Error;
use std::process::{Command, Stdio};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tcpchan::server::Acceptor;
use tcpchan::{Config, Connection};
use tokio::net::{TcpListener, TcpStream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["app", addr] => app(addr.to_owned()).await,
        ["hub", addr] => hub(TcpListener::bind(addr).await?).await,
        _ => both().await,
    }
}

async fn both() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?.to_string();
    let mut app = Command::new(std::env::current_exe()?)
        .args(["app", &addr])
        .stdout(Stdio::inherit())
        .spawn()?;
    let called = hub(listener).await;
    app.kill()?;
    app.wait()?;
    called
}

/// Serves an app to the hub, whenever that is there.
async fn app(hub: String) -> Result<()> {
    let hello = |Path(name): Path<String>| async move {
        format!("hello {name}, from process {}", std::process::id())
    };
    let router = Router::new().route("/hello/{name}", get(hello));
    let dial = move || {
        let hub = hub.clone();
        async move {
            let tcp = TcpStream::connect(hub).await?;
            let addr = tcp.peer_addr()?;
            Ok((tcp, addr))
        }
    };
    let acceptor = Acceptor::dialling(dial);
    Ok(axum::serve(acceptor, router).await?)
}

/// Waits for an app, and calls it.
async fn hub(listener: TcpListener) -> Result<()> {
    let (tcp, _) = listener.accept().await?;
    let app = Connection::server(tcp, Config::default());
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(app);
    println!("the hub is process {}", std::process::id());
    for name in ["one", "two"] {
        let uri = format!("http://app/hello/{name}").parse()?;
        let body = client.get(uri).await?.into_body().collect().await?;
        println!("{}", String::from_utf8_lossy(&body.to_bytes()));
    }
    Ok(())
}
