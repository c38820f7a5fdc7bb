//! What was written before a drop arrives ahead of the error, also where the peer has
//! not accepted the channel yet.

use std::io::{self, ErrorKind};

use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use crate::guard::within;

const WRITES: [&[u8]; 3] = [b"one ", b"two ", b"three"];
const ALL: &[u8] = b"one two three";

async fn pair() -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dial = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(dial, listener.accept());
    let client = Connection::client(near.unwrap(), Config::default());
    let server = Connection::server(far.unwrap().0, Config::default());
    (client, server)
}

/// What lets go of a channel.
#[derive(Clone, Copy, Debug)]
enum Drop {
    Whole,
    ReaderFirst,
    WriterFirst,
}

impl Drop {
    async fn write_and_drop(self, mut channel: Channel) {
        if let Drop::Whole = self {
            for bytes in WRITES {
                channel.write_all(bytes).await.unwrap();
            }
            return;
        }
        let (reader, mut writer) = channel.into_split();
        for bytes in WRITES {
            writer.write_all(bytes).await.unwrap();
        }
        match self {
            Drop::ReaderFirst => drop((reader, writer)),
            _ => drop((writer, reader)),
        }
    }
}

async fn read_all(mut channel: Channel) -> (Vec<u8>, io::Result<usize>) {
    let mut all = Vec::new();
    let end = within(channel.read_to_end(&mut all)).await;
    (all, end)
}

/// Many rounds, since it depends on how the bytes and the ends leave and come.
async fn arrives(accepts_late: bool) {
    for drop in [Drop::Whole, Drop::ReaderFirst, Drop::WriterFirst] {
        let (client, server) = pair().await;
        for round in 0..40 {
            let channel = client.open().await.unwrap();
            drop.write_and_drop(channel).await;
            // A channel that is opened later and answered: all before it has come.
            if accepts_late {
                let mut later = client.open().await.unwrap();
                later.write_all(b"?").await.unwrap();
                while server.stats().accepted < 2 * round + 2 {
                    yield_now().await;
                }
                let (all, end) = read_all(server.accept().await.unwrap()).await;
                assert_eq!(all, ALL, "{drop:?}, round {round}");
                assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
                server.accept().await.unwrap();
                continue;
            }
            let (all, end) = read_all(server.accept().await.unwrap()).await;
            assert_eq!(all, ALL, "{drop:?}, round {round}");
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_a_drop_arrives() {
    arrives(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_a_drop_arrives_where_it_was_not_accepted_yet() {
    arrives(true).await;
}
