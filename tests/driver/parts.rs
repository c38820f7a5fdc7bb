//! While a task answers many channels, its peer should not have to wait: a part of the
//! answers leaves before the next is begun.

use futures_util::future::join_all;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::{JoinSet, unconstrained, yield_now};

use crate::guard::within;
use crate::noted::Writes;

const ECHO: usize = 100;

/// A client's channels to a server that echoes on each, and the server's writes.
async fn echoes(count: usize) -> (Vec<Channel>, Writes) {
    let (near, far) = duplex(1 << 20);
    let writes = Writes::default();
    let client = Connection::client(near, Config::default());
    let server = Connection::server(writes.of(far), Config::default());
    tokio::spawn(async move {
        while let Some(channel) = server.accept().await {
            tokio::spawn(echo(channel));
        }
    });
    let mut channels = Vec::new();
    for _ in 0..count {
        let mut channel = client.open().await.unwrap();
        round(&mut channel).await;
        channels.push(channel);
    }
    (channels, writes)
}

async fn echo(mut channel: Channel) {
    let mut bytes = [0; ECHO];
    while channel.read_exact(&mut bytes).await.is_ok() {
        channel.write_all(&bytes).await.unwrap();
    }
}

async fn round(channel: &mut Channel) {
    channel.write_all(&[7; ECHO]).await.unwrap();
    channel.read_exact(&mut [0; ECHO]).await.unwrap();
}

/// The server's writes for one echo on each channel, all at once.
async fn writes_for(count: usize) -> Vec<usize> {
    let (mut channels, writes) = echoes(count).await;
    let before = writes.lengths().len();
    within(join_all(channels.iter_mut().map(round))).await;
    writes.lengths().split_off(before)
}

#[tokio::test]
async fn sixteen_of_many_answers_leave_before_the_next_are_begun() {
    for (count, parts) in [(32, 2), (48, 3)] {
        let lengths = writes_for(count).await;
        assert_eq!(lengths.len(), parts, "{lengths:?}");
        assert!(lengths.iter().all(|length| *length == lengths[0]));
    }
}

/// The first round shows what the frames of many channels cost, so the second is read in pieces.
#[tokio::test]
async fn all_readers_are_woken_while_the_peer_has_sent_more() {
    let (mut channels, writes) = echoes(1000).await;
    let mut before = 0;
    for _ in 0..2 {
        before = writes.lengths().len();
        within(unconstrained(join_all(channels.iter_mut().map(round)))).await;
    }
    let lengths = writes.lengths().split_off(before);
    assert!(lengths.len() <= 16, "{lengths:?}");
}

#[tokio::test]
async fn few_answers_leave_together() {
    let lengths = writes_for(8).await;
    assert_eq!(lengths.len(), 1, "{lengths:?}");
}

/// The runtimes run in turn, so the server finds the last bytes and the transport's end in one
/// read.
#[test]
fn all_readers_learn_of_an_end_right_behind_their_bytes() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (here, there) = (runtime(), runtime());
    let (near, far) = duplex(1 << 20);
    let mut channels = there.block_on(async {
        let client = Connection::client(near, Config::default());
        let mut channels = Vec::new();
        for _ in 0..64 {
            channels.push(client.open().await.unwrap());
        }
        write(&mut channels).await;
        channels
    });
    let mut readers = JoinSet::new();
    here.block_on(async {
        let server = Connection::server(far, Config::default());
        for _ in 0..64 {
            let mut channel = server.accept().await.unwrap();
            channel.read_u8().await.unwrap();
            readers.spawn(async move { while channel.read_u8().await.is_ok() {} });
        }
        settle().await;
    });
    there.block_on(write(&mut channels));
    drop(there);
    here.block_on(within(readers.join_all()));
}

async fn write(channels: &mut [Channel]) {
    for channel in channels {
        channel.write_u8(7).await.unwrap();
    }
    settle().await;
}

/// All tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}
