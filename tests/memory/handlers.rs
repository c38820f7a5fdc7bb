//! What axum and hyper hold for the channels of hostile peers stays under the budget, too.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tcpchan::server::{Acceptor, ChannelLimits};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Frame, Settings, Version};
use tcpchan::{Config, MemoryBudget};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;

use super::{MIB, Meter, ids};

const PEERS: usize = 50;

/// Sends a byte on each of its channels, and stays.
async fn peer(mut io: DuplexStream) {
    let mut out = Vec::new();
    let say = |control, out: &mut Vec<u8>| Frame::Control(control).encode(Version::V1, out);
    let magic = DEFAULT_MAGIC;
    let body = Settings::default().encode();
    say(Control::Hello { magic }, &mut out);
    say(Control::Settings { body }, &mut out);
    for channel in ids(1024) {
        say(Control::Open { channel }, &mut out);
        let body = b"G";
        Frame::Data { channel, body }.encode(Version::V1, &mut out);
    }
    if io.write_all(&out).await.is_ok() {
        drop(out);
        let mut heard = [0; 1024];
        while let Ok(1..) = io.read(&mut heard).await {}
    }
}

#[test]
fn tasks_and_buffers_of_axum_fit_in_the_budget() {
    let budget = MemoryBudget::new(64 * MIB).unwrap();
    let (held, tasks) = held_beside(&budget, ChannelLimits::default());
    assert!(held <= budget.bytes(), "{held} bytes");
    assert!(tasks >= 500, "only {tasks} tasks");
}

/// Else the test above would show nothing.
#[test]
fn they_would_not_fit_if_they_did_not_count() {
    let budget = MemoryBudget::new(64 * MIB).unwrap();
    let limits = ChannelLimits::default().memory_per_channel(0);
    let (held, _) = held_beside(&budget, limits);
    assert!(held > 4 * budget.bytes(), "only {held} bytes");
}

/// The most bytes that such peers make a server hold, and the fewest tasks that it then has.
fn held_beside(budget: &MemoryBudget, limits: ChannelLimits) -> (u64, usize) {
    let config = Config::default().memory_budget(budget.clone());
    let meter = Meter::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let most = runtime.block_on(async {
        let (mut most, mut least) = (0, usize::MAX);
        let (near, far): (Vec<_>, Vec<_>) = (0..PEERS).map(|_| duplex(4 << 10)).unzip();
        let addr = std::net::SocketAddr::from(([10, 0, 0, 1], 1));
        let incoming = tokio_stream::iter(far.into_iter().map(move |io| Ok((io, addr))));
        let incoming = tokio_stream::StreamExt::chain(incoming, tokio_stream::pending());
        let acceptor = Acceptor::from_incoming(incoming).with_config(config);
        let acceptor = acceptor.with_channel_limits(limits);
        let app = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(async { axum::serve(acceptor, app).await });
        let peers: JoinSet<()> = near.into_iter().map(peer).collect();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (held, tasks) = (meter.held(), runtime.metrics().num_alive_tasks());
            println!("{held} bytes, {tasks} tasks, {} leased", budget.used());
            (most, least) = (held.max(most), tasks.min(least));
        }
        drop(peers);
        (most, least)
    });
    drop(runtime);
    assert_eq!(budget.used(), 0, "it is given back");
    most
}
