//! What an open on a warm connection allocates: nothing, so its futures have no box.

use hyper::Uri;
use tcpchan::client::Multiplex;
use tcpchan::{Channel, Config, Connection};
use tower::Service;

use super::{ALLOCATOR, Meter};
use crate::local::{Net, open, ping};

/// The fewest allocations of a hundred opens: other threads may allocate at the same time.
async fn of_an_open(open: impl AsyncFn() -> Channel) -> usize {
    let mut fewest = usize::MAX;
    for _ in 0..100 {
        let before = ALLOCATOR.stats();
        let mut channel = open().await;
        let after = ALLOCATOR.stats();
        let count = after.allocations + after.reallocations;
        fewest = fewest.min(count - before.allocations - before.reallocations);
        ping(&mut channel).await.unwrap();
    }
    fewest
}

#[tokio::test(start_paused = true)]
async fn an_open_by_a_multiplex_allocates_nothing() {
    let _meter = Meter::new();
    let multiplex = Multiplex::new(Net::new(Config::default()));
    let uri = Uri::from_static("http://here/");
    multiplex.prewarm(&uri, 1).await.unwrap();
    let count = of_an_open(async || open(&multiplex).await.unwrap());
    assert_eq!(count.await, 0);
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_by_a_connection() {
    let _meter = Meter::new();
    let net = Net::new(Config::default());
    let io = net.clone().call(Uri::from_static("http://here/")).await;
    let connection = Connection::client(io.unwrap().into_inner(), Config::default());
    let open = async || {
        let uri = Uri::from_static("http://here/");
        connection.clone().call(uri).await.unwrap()
    };
    assert_eq!(of_an_open(open).await, 0);
}
