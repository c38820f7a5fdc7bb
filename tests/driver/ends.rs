//! What the peer sees of every order in which the halves of a channel are shut down,
//! reset, stopped and dropped: the table of the guide's page on channels.

use std::io;
use std::time::Duration;

use tcpchan::proto::ChannelError;
use tcpchan::{Channel, Config, Connection, ReadHalf, WriteHalf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::guard::within;

/// Bytes that the peer has room for.
const WINDOW: usize = 64 << 10;

const RESET: u32 = 5;
const STOP: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Shutdown,
    Reset,
    Stop,
    DropWriter,
    DropReader,
    DropAll,
}

use Act::*;

/// How it is when the first of the acts comes.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Bytes that were written: all have left, or the peer has no room for the last.
    written: usize,
    /// The peer has sent what nobody has read.
    unread: bool,
    /// Each act has left before the next comes.
    settles: bool,
}

/// What the peer's reader comes to, behind some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Reset(u32),
    /// It waits for more.
    None,
}

/// What the table says that the peer sees.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Whether the reader gets all that was written.
    all: bool,
    end: End,
    /// The code that the writer gets, at its second write at the latest.
    stopped: Option<u32>,
}

/// The rows of the table, one after another.
fn table(start: Start, acts: &[Act]) -> Seen {
    let room = start.written <= WINDOW;
    let mut seen = Seen {
        all: room,
        end: End::None,
        stopped: None,
    };
    for act in acts {
        match (act, &seen.end) {
            (Shutdown, End::None) => (seen.all, seen.end) = (true, End::Clean),
            (Reset, End::None) => seen.end = End::Reset(RESET),
            // What has left stays a clean end.
            (Reset, End::Clean) if !(room && start.settles) => {
                (seen.all, seen.end) = (room, End::Reset(RESET));
            }
            (DropWriter | DropAll, End::None) => seen.end = End::Reset(0),
            _ => {}
        }
        let code = match act {
            Stop => Some(STOP),
            DropReader | DropAll => Some(0),
            _ => None,
        };
        seen.stopped = seen.stopped.or(code);
    }
    seen
}

/// The channel or what is left of it.
enum Near {
    Whole(Channel),
    Halves(Option<ReadHalf>, Option<WriteHalf>),
}

impl Near {
    /// Does it, unless there is nothing to do it with.
    async fn act(&mut self, act: Act) -> bool {
        match (self, act) {
            (Near::Whole(channel), Shutdown) => channel.shutdown().await.unwrap(),
            (Near::Whole(channel), Reset) => channel.reset(RESET),
            (Near::Whole(channel), Stop) => channel.stop(STOP),
            (this @ Near::Whole(_), DropAll) => *this = Near::Halves(None, None),
            (Near::Halves(_, Some(writer)), Shutdown) => writer.shutdown().await.unwrap(),
            (Near::Halves(_, Some(writer)), Reset) => writer.reset(RESET),
            (Near::Halves(Some(reader), _), Stop) => reader.stop(STOP),
            (Near::Halves(reader @ Some(_), _), DropReader) => *reader = None,
            (Near::Halves(_, writer @ Some(_)), DropWriter) => *writer = None,
            _ => return false,
        }
        true
    }
}

async fn settle() {
    sleep(Duration::from_millis(50)).await;
}

fn channel_error(error: &io::Error) -> ChannelError {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    inner.cloned().unwrap()
}

/// What the peer sees; `None` if the acts can't be done in this order.
async fn sees(start: Start, split: bool, acts: &[Act]) -> Option<Seen> {
    let (near, far) = tokio::io::duplex(1 << 20);
    let client = Connection::client(near, Config::default());
    let server = Connection::server(far, Config::default().receive_budget(0));
    let mut channel = client.open().await.unwrap();
    channel.write_all(&vec![7; start.written]).await.unwrap();
    let mut far = server.accept().await.unwrap();
    if start.unread {
        far.write_all(&[8; 1000]).await.unwrap();
    }
    settle().await;
    let mut near = match split {
        false => Near::Whole(channel),
        true => {
            let (reader, writer) = channel.into_split();
            Near::Halves(Some(reader), Some(writer))
        }
    };
    for act in acts {
        if !near.act(*act).await {
            return None;
        }
        if start.settles {
            settle().await;
        }
    }
    settle().await;
    let mut read = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(60), far.read_to_end(&mut read));
    let end = match reading.await {
        Err(_) => End::None,
        Ok(Ok(_)) => End::Clean,
        Ok(Err(error)) => match channel_error(&error) {
            ChannelError::Reset(code) => End::Reset(code),
            other => panic!("{other:?}"),
        },
    };
    // Where the acts follow each other, what was written leaves before them or after.
    let all = match end {
        End::None => start.written <= WINDOW,
        _ => read.len() == start.written,
    };
    let _ = far.write_all(&[9; 10]).await;
    settle().await;
    let stopped = match far.write_all(&[9; 10]).await {
        Ok(()) => None,
        Err(error) => match channel_error(&error) {
            ChannelError::Stopped(code) => Some(code),
            other => panic!("{other:?}"),
        },
    };
    drop(near);
    Some(Seen { all, end, stopped })
}

/// All orders of one to three acts.
fn orders() -> Vec<Vec<Act>> {
    let one = [Shutdown, Reset, Stop, DropWriter, DropReader, DropAll].map(|act| vec![act]);
    let more = |orders: &[Vec<Act>]| -> Vec<Vec<Act>> {
        let each = orders
            .iter()
            .flat_map(|order| one.iter().map(move |last| (order, last)));
        each.map(|(order, last)| [&order[..], last].concat())
            .collect()
    };
    let two = more(&one);
    let three = more(&two);
    one.into_iter().chain(two).chain(three).collect()
}

async fn every_order_is_as_the_table_says(written: usize) {
    let mut tried = 0;
    for acts in orders() {
        for n in 0..8 {
            let start = Start {
                written,
                unread: n & 1 == 1,
                settles: n & 2 == 2,
            };
            let split = n & 4 == 4;
            if let Some(seen) = within(sees(start, split, &acts)).await {
                tried += 1;
                assert_eq!(
                    seen,
                    table(start, &acts),
                    "{start:?} {acts:?}, split: {split}"
                );
            }
        }
    }
    assert!(tried > 400, "{tried} orders");
}

#[tokio::test(start_paused = true)]
async fn every_order_of_ends_is_seen_as_the_table_says() {
    every_order_is_as_the_table_says(10).await;
}

#[tokio::test(start_paused = true)]
async fn every_order_of_ends_is_seen_as_the_table_says_with_bytes_that_have_not_left() {
    every_order_is_as_the_table_says(100_000).await;
}
