//! `tcpchan relay` through HAProxy to two `tcpchan serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::balancer::Haproxy;
use crate::guard::within;
use crate::programs::Daemon;

/// A service that sends back what it got, at the end of that.
async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut got = Vec::new();
                tcp.read_to_end(&mut got).await?;
                tcp.write_all(&got).await
            });
        }
    });
    addr
}

async fn exchange(relay: SocketAddr) -> std::io::Result<bool> {
    let mut client = TcpStream::connect(relay).await?;
    client.write_all(b"request").await?;
    client.shutdown().await?;
    let mut got = Vec::new();
    client.read_to_end(&mut got).await?;
    Ok(got == b"request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs HAProxy"]
async fn restarts_by_sigterm_cost_no_client() {
    let service = service().await;
    let serve = format!("serve --to {service} --stats=3600");
    let mut servers = [Daemon::start(&serve).await, Daemon::start(&serve).await];
    let haproxy = Haproxy::balancing([servers[0].addr, servers[1].addr]).await;
    let relay = Daemon::start(&format!("relay --to {} --connections 4", haproxy.addr)).await;
    let (count, mut done) = watch::channel(0);
    let failed = Arc::<AtomicUsize>::default();
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let (count, failed, relay) = (count.clone(), failed.clone(), relay.addr);
        clients.spawn(async move {
            loop {
                match exchange(relay).await {
                    Ok(true) => count.send_modify(|n| *n += 1),
                    other => {
                        eprintln!("{other:?}");
                        failed.fetch_add(1, SeqCst);
                    }
                }
            }
        });
    }
    for _ in 0..4 {
        let so_far = *done.borrow();
        within(done.wait_for(|n| *n >= so_far + 500)).await.unwrap();
        let [one, other] = servers;
        let place = one.addr.to_string();
        one.signal("TERM").await;
        let (code, printed) = one.ended().await;
        assert_eq!(code, Some(0));
        println!("{printed}");
        servers = [other, Daemon::at(&place, &serve).await];
    }
    clients.shutdown().await;
    assert_eq!(failed.load(SeqCst), 0);
}
