//! A graceful shutdown, as it is shown, cuts nothing off: the server's runtime ends,
//! with all of its sockets, in the moment in which the shutdown has.
#![cfg(all(feature = "axum", feature = "client", feature = "tls"))]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tcpchan::server::{Acceptor, SharedPort, Stop, Tls};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};
use tcpchan::{ALPN, Config, Connection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::certs::Authority;
use crate::guard::within;
use crate::started::started;

const MS: Duration = Duration::from_millis(1);

/// `TCPCHAN_ROUNDS=1000` for a long run.
fn rounds() -> usize {
    let rounds = std::env::var("TCPCHAN_ROUNDS");
    rounds.map_or(5, |rounds| rounds.parse().unwrap())
}

/// What the docs of `DrainHandle`, the README and the quick start show.
async fn serve(
    acceptor: Acceptor,
    app: Router,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    let drain = acceptor.drain_handle();
    let serve = |stop| axum::serve(acceptor, app).with_graceful_shutdown(stop);
    drain
        .serve_until(signal, Duration::from_secs(30), serve)
        .await
}

/// What the guide shows for Kubernetes.
async fn serve_port(
    port: SharedPort,
    app: Router,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    let drain = port.drain_handle();
    let serve = |stop| axum::serve(port, app).with_graceful_shutdown(stop);
    drain
        .serve_until(signal, Duration::from_secs(45), serve)
        .await
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Tls,
    Port,
    TlsPort,
}

const WAYS: [Way; 4] = [Way::Plain, Way::Tls, Way::Port, Way::TlsPort];

/// A server that is alone in its runtime, as in a process.
struct Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    fn start(way: Way, authority: &Authority) -> Server {
        let tls = Tls::new(authority.server());
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let addr = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            let config = Config::default();
            runtime.block_on(async {
                let signal = async { stopped.await.unwrap() };
                let listener = TcpListener::from_std(socket).unwrap();
                match way {
                    Way::Plain => {
                        serve(Acceptor::new(listener).with_config(config), app(), signal).await
                    }
                    Way::Tls => {
                        serve(
                            Acceptor::new(listener).with_config(config).with_tls(tls),
                            app(),
                            signal,
                        )
                        .await
                    }
                    Way::Port => {
                        serve_port(SharedPort::new(listener).with_config(config), app(), signal)
                            .await
                    }
                    Way::TlsPort => {
                        serve_port(
                            SharedPort::new(listener).with_config(config).with_tls(tls),
                            app(),
                            signal,
                        )
                        .await
                    }
                }
            })
        });
        Server {
            addr,
            stop: Some(stop),
            thread,
        }
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn ended(self) -> io::Result<()> {
        let joined = tokio::task::spawn_blocking(|| self.thread.join());
        within(joined).await.unwrap().unwrap()
    }
}

/// Answers with so many bytes.
fn app() -> Router {
    let bytes = |extract::Path(length): extract::Path<usize>| async move { vec![7; length] };
    Router::new().route("/{length}", get(bytes))
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn dial(addr: SocketAddr, way: Way, authority: &Authority, alpn: &[u8]) -> Box<dyn Io> {
    let tcp = TcpStream::connect(addr).await.unwrap();
    if matches!(way, Way::Plain | Way::Port) {
        return Box::new(tcp);
    }
    let mut config = authority.client();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    Box::new(tls.await.unwrap())
}

/// The body of the answer to a request for so many bytes, with a head that has come.
async fn ask(io: impl Io + 'static, length: usize) -> Incoming {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(16 << 10)
        .handshake(TokioIo::new(io))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("/{length}")).header("host", "h");
    let request = request.body(Body::empty()).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    response.into_body()
}

/// Reads a body slowly; how much of it came.
async fn read_slowly(mut body: Incoming) -> usize {
    let mut got = 0;
    while let Some(frame) = within(http_body_util::BodyExt::frame(&mut body)).await {
        let Ok(frame) = frame else { break };
        let before = got;
        got += frame.into_data().unwrap().len();
        if before / (64 << 10) < got / (64 << 10) {
            sleep(MS).await;
        }
    }
    got
}

/// Answers of this length that a shutdown cut off.
async fn cut(way: Way, alpn: &[u8], length: usize) -> usize {
    let authority = Authority::new();
    let mut cut = 0;
    for round in 0..rounds() {
        let mut server = Server::start(way, &authority);
        let io = dial(server.addr, way, &authority, alpn).await;
        let body = match alpn == ALPN {
            true => {
                let connection = Connection::client(io, Config::default());
                ask(connection.open().await.unwrap(), length).await
            }
            false => ask(io, length).await,
        };
        let got = tokio::spawn(read_slowly(body));
        sleep(MS * (round as u32 % 10)).await;
        server.stop();
        server.ended().await.unwrap();
        cut += usize::from(got.await.unwrap() < length);
    }
    cut
}

#[tokio::test]
async fn answers_to_slow_readers_are_whole() {
    for way in WAYS {
        for length in [200 << 10, 4 << 20] {
            assert_eq!(cut(way, ALPN, length).await, 0, "{way:?} {length}");
        }
    }
}

#[tokio::test]
async fn so_are_those_over_http_on_the_same_port() {
    for way in [Way::Port, Way::TlsPort] {
        for length in [200 << 10, 4 << 20] {
            assert_eq!(cut(way, b"http/1.1", length).await, 0, "{way:?} {length}");
        }
    }
}

/// One whose handler had ended before the shutdown began.
#[tokio::test]
async fn an_answer_that_was_given_before_the_signal_is_whole() {
    let authority = Authority::new();
    for _ in 0..rounds() {
        let mut server = Server::start(Way::Plain, &authority);
        let tcp = TcpStream::connect(server.addr).await.unwrap();
        let connection = Connection::client(tcp, Config::default());
        let mut channel = connection.open().await.unwrap();
        let head = "GET /60000 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        channel.write_all(head.as_bytes()).await.unwrap();
        sleep(MS * 20).await; // nothing is read
        server.stop();
        let reads = tokio::spawn(async move {
            sleep(MS * 20).await;
            let mut got = Vec::new();
            within(channel.read_to_end(&mut got)).await.map(|_| got)
        });
        server.ended().await.unwrap();
        let got = reads.await.unwrap().unwrap();
        assert!(got.ends_with(&[7; 60_000]));
    }
}

#[tokio::test]
async fn what_is_cut_off_at_the_deadline_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let (addr, drain) = (acceptor.local_addr().unwrap(), acceptor.drain_handle());
    let connection = Connection::client(TcpStream::connect(addr).await.unwrap(), Config::default());
    let (body, signalled) = oneshot::channel();
    let signal = async move { signalled.await.unwrap() };
    let serve = |stop| axum::serve(acceptor, app()).with_graceful_shutdown(stop);
    let served = drain.serve_until(signal, MS * 100, serve);
    let unread = async {
        let asked = ask(connection.open().await.unwrap(), 4 << 20).await;
        body.send(()).unwrap();
        asked
    };
    let (served, _unread) = within(async { tokio::join!(served, unread) }).await;
    assert_eq!(served.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

/// It would answer no ping and close nothing.
#[tokio::test]
async fn a_peer_that_falls_silent_is_waited_for_until_the_deadline_and_nothing_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let acceptor = Acceptor::new(listener);
    let (addr, drain) = (acceptor.local_addr().unwrap(), acceptor.drain_handle());
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = |stop| axum::serve(acceptor, app()).with_graceful_shutdown(stop);
    let signal = async { stopped.await.unwrap() };
    let served = drain.serve_until(signal, MS * 200, serve);
    let silent = async {
        let (near, mut tunnel) = tokio::io::duplex(1 << 20);
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        let (silence, falls) = oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut tunnel, &mut tcp) => {}
                _ = falls => std::future::pending().await,
            }
        });
        let connection = Connection::client(near, Config::default());
        let body = ask(connection.open().await.unwrap(), 1000).await;
        assert_eq!(read_slowly(body).await, 1000);
        while connection.stats().channels > 0 {
            sleep(MS).await;
        }
        sleep(MS * 20).await; // the server has the end of the channel
        silence.send(()).unwrap();
        stop.send(()).unwrap();
        connection
    };
    let start = Instant::now();
    let (served, _silent) = within(async { tokio::join!(served, silent) }).await;
    served.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// It never says that it has opened all channels, and others must have time to end theirs.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_does_not_keep_the_server_from_stopping() {
    let (near, mut silent) = tokio::io::duplex(1 << 20);
    let mut hello = Vec::new();
    for control in [
        Control::Hello {
            magic: DEFAULT_MAGIC,
        },
        Control::Settings {
            body: Settings::default().encode(),
        },
    ] {
        Frame::Control(control).encode(Version::V1, &mut hello);
    }
    silent.write_all(&hello).await.unwrap();
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let incoming = stream::iter([Ok((near, addr))]).chain(stream::pending());
    let acceptor = Acceptor::from_incoming(incoming);
    let drain = acceptor.drain_handle();
    let (second, start) = (MS * 1000, tokio::time::Instant::now());
    let serve = async |stop: Stop| {
        let _acceptor = started(acceptor);
        stop.await;
        Ok::<_, io::Error>(start.elapsed())
    };
    let stopped = drain.serve_until(sleep(second), 10 * second, serve).await;
    assert!(stopped.unwrap() < 7 * second);
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(std::fs::read_to_string(path).unwrap_or_default()),
        }
    }
}

/// axum's own, of a listener of channels, outside of prose.
fn shows_a_shutdown(line: &&str) -> bool {
    let shown = line.contains(".with_graceful_shutdown(");
    shown && !line.contains('`') && !line.contains("axum::serve(plain, ")
}

#[test]
fn every_shutdown_that_is_shown_is_of_the_form_that_is_tested_here() {
    // tests/lowest is a package below it.
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above.find(|path| path.join("README.md").exists()).unwrap();
    let mut texts = vec![std::fs::read_to_string(root.join("README.md")).unwrap()];
    files(&root.join("src"), &mut texts);
    files(&root.join("examples"), &mut texts);
    let mut count = 0;
    for text in &texts {
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.iter().filter(|line| shows_a_shutdown(line)).count();
        let tested = lines.windows(6).filter(|lines| {
            let serve = lines[0].trim().trim_start_matches("/// ");
            serve.starts_with("let serve = |stop| axum::serve(")
                && serve.ends_with(").with_graceful_shutdown(stop);")
                && lines[1..].concat().contains(".serve_until(")
        });
        assert_eq!(shown, tested.count(), "{text}");
        count += shown;
    }
    assert!(count >= 5, "{count}");
}

/// It stops itself. `cargo test` builds it, `cargo test --test server graceful::` does not.
#[tokio::test]
async fn the_example_ends_well() {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(2).unwrap().join("examples");
    let Ok(program) = folder.join("axum_app").canonicalize() else {
        return println!("not tested: examples/axum_app is not built");
    };
    let output = tokio::process::Command::new(program).output();
    let output = within(output).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.ends_with("came to its end\n"),
        "{said}"
    );
}
