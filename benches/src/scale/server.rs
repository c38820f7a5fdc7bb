//! The process that is measured. It is told on its input to report or to drain, and answers on
//! its output.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::time::{ClockId, clock_gettime};
use tcpchan::Config;
use tcpchan::server::{Acceptor, ChannelLimits};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use super::plan::{HTTP2_WINDOW, Way};
use crate::memory::resident;
use crate::way::STREAMS;
use crate::work::echo;

/// tcpchan's default.
const PING_AFTER: Duration = Duration::from_secs(15);

/// Longer than a measurement.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
pub async fn run(way: Way) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(4096)?;
    println!("{}", listener.local_addr()?);
    let (drain, drains) = oneshot::channel();
    std::thread::spawn(|| obey(drain));
    match way {
        Way::Tcpchan => tcpchan(listener, drains).await?,
        Way::HyperHttp2 => http2(listener, None, drains).await?,
        Way::HyperHttp2Pings => http2(listener, Some(PING_AFTER), drains).await?,
    }
    report()
}

/// Reports for each line but the last, which says to drain.
fn obey(drain: oneshot::Sender<()>) -> anyhow::Result<()> {
    for line in io::stdin().lines() {
        match line?.as_str() {
            "drain" => {
                let _ = drain.send(());
                return Ok(());
            }
            _ => report()?,
        }
    }
    std::process::exit(0) // whoever measures is gone
}

/// Nanoseconds of processor time, and resident bytes.
fn report() -> anyhow::Result<()> {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec;
    println!("{cpu} {}", resident()?);
    Ok(())
}

async fn tcpchan(listener: TcpListener, drains: oneshot::Receiver<()>) -> anyhow::Result<()> {
    let config = Config::default().max_channels(STREAMS)?;
    let limits = ChannelLimits::default().memory_per_channel(0); // a task that echoes has little
    let acceptor = Acceptor::new(listener).with_config(config);
    let mut acceptor = acceptor.with_channel_limits(limits);
    let drain = acceptor.drain_handle();
    tokio::spawn(async move {
        loop {
            let (channel, _) = acceptor.accept().await;
            tokio::spawn(echo::serve(channel));
        }
    });
    drains.await?;
    drain.drain(HOUR);
    drain.closed().await;
    Ok(())
}

async fn http2(
    listener: TcpListener,
    pings: Option<Duration>,
    mut drains: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_connection_window_size(HTTP2_WINDOW)
        .keep_alive_interval(pings);
    let graceful = GracefulShutdown::new();
    loop {
        let (tcp, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = &mut drains => break,
        };
        tcp.set_nodelay(true)?;
        let connection = http.serve_connection(TokioIo::new(tcp), service_fn(answer));
        let served = graceful.watch(connection);
        tokio::spawn(async {
            if let Err(error) = served.await {
                eprintln!("a connection ended: {error:?}");
            }
        });
    }
    graceful.shutdown().await;
    Ok(())
}

/// An answer with the request's body, piece by piece as it comes.
async fn answer(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}
