//! A channel under tokio's combinators, and what is dropped while it waits.

use std::io::{ErrorKind, IoSlice};
use std::task::Poll;

use bytes::Buf;
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, duplex, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_test::task::{Spawn, spawn};
use tokio_test::{assert_pending, assert_ready};

use crate::guard::within;
use crate::noted::Writes;

/// More than a channel's send buffer and window.
const LARGE: usize = 300_000;

fn large() -> Vec<u8> {
    (0..LARGE as u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect()
}

/// A client and a server over real TCP.
async fn pair() -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let client = Connection::client(near.unwrap(), Config::default());
    let few = Config::default().max_channels(256).unwrap();
    let server = Connection::server(far.unwrap().0, few);
    (client, server)
}

/// The two ends of one channel.
async fn channel() -> (Channel, Channel) {
    let (client, server) = pair().await;
    let near = client.open().await.unwrap();
    (near, server.accept().await.unwrap())
}

/// A channel whose other end returns what it gets, up to the end of file.
async fn echo() -> Channel {
    let (near, far) = channel().await;
    tokio::spawn(async move {
        let (mut read, mut write) = split(far);
        copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    });
    near
}

async fn read_all(channel: &mut Channel) -> Vec<u8> {
    let mut bytes = Vec::new();
    channel.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn the_halves_of_a_split_channel_work_in_two_tasks() {
    let (mut read, mut write) = split(echo().await);
    let writer = tokio::spawn(async move {
        write.write_all(&large()).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let reader = tokio::spawn(async move {
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    within(writer).await.unwrap();
    assert!(within(reader).await.unwrap() == large());
}

#[tokio::test]
async fn copy_bidirectional_joins_two_channels_and_hands_on_the_ends() {
    let (mut near, mut middle) = channel().await;
    let mut echo = echo().await;
    let joined = tokio::spawn(async move { copy_bidirectional(&mut middle, &mut echo).await });
    let exchange = async {
        near.write_all(b"question").await.unwrap();
        near.shutdown().await.unwrap();
        read_all(&mut near).await
    };
    assert_eq!(within(exchange).await, b"question");
    assert_eq!(within(joined).await.unwrap().unwrap(), (8, 8));
}

#[tokio::test]
async fn a_vectored_write_takes_all_slices_in_order() {
    let (mut near, mut far) = channel().await;
    assert!(AsyncWrite::is_write_vectored(&near));
    let slices = [&b"one "[..], b"", b"two ", b"three"].map(IoSlice::new);
    assert_eq!(near.write_vectored(&slices).await.unwrap(), 13);
    near.shutdown().await.unwrap();
    assert_eq!(within(read_all(&mut far)).await, b"one two three");
}

#[tokio::test]
async fn vectored_writes_beyond_the_buffer_lose_nothing() {
    let mut near = echo().await;
    let (mut read, mut write) = split(&mut near);
    let (head, tail) = (large(), large());
    let writes = async {
        let mut slices = Buf::chain(&head[..], &tail[..]);
        write.write_all_buf(&mut slices).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut bytes = Vec::new();
    let reads = read.read_to_end(&mut bytes);
    within(async { tokio::join!(writes, reads) })
        .await
        .1
        .unwrap();
    assert!(bytes == [large(), large()].concat());
}

#[tokio::test]
async fn a_read_of_nothing_returns_at_once_and_takes_nothing() {
    let (mut near, mut far) = channel().await;
    assert_eq!(within(far.read(&mut [])).await.unwrap(), 0);
    near.write_all(b"x").await.unwrap();
    assert_eq!(far.read(&mut []).await.unwrap(), 0);
    assert_eq!(within(far.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn a_write_of_nothing_returns_at_once_and_sends_nothing() {
    let (mut near, mut far) = channel().await;
    assert_eq!(within(near.write(&[])).await.unwrap(), 0);
    let empty = [IoSlice::new(&[]), IoSlice::new(&[])];
    assert_eq!(within(near.write_vectored(&empty)).await.unwrap(), 0);
    near.shutdown().await.unwrap();
    assert_eq!(within(read_all(&mut far)).await, b"");
}

#[tokio::test]
async fn a_write_after_the_shutdown_is_a_broken_pipe() {
    let (mut near, _far) = channel().await;
    near.shutdown().await.unwrap();
    let error = near.write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_second_shutdown_is_harmless() {
    let (mut near, mut far) = channel().await;
    near.write_all(b"x").await.unwrap();
    near.shutdown().await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(within(read_all(&mut far)).await, b"x");
    near.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_read_after_the_end_of_file_gives_the_end_again() {
    let (mut near, mut far) = channel().await;
    near.shutdown().await.unwrap();
    for _ in 0..3 {
        assert_eq!(within(far.read(&mut [0; 8])).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_read_after_a_reset_gives_the_error_again() {
    let (near, mut far) = channel().await;
    near.reset(7);
    for _ in 0..3 {
        let error = within(far.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_read_that_is_dropped_while_it_waits_takes_nothing() {
    let (mut near, mut far) = channel().await;
    let mut buf = [0; 8];
    let mut read = spawn(far.read(&mut buf));
    assert_pending!(read.poll());
    near.write_all(b"x").await.unwrap();
    woken(&read).await;
    drop(read);
    assert_eq!(within(far.read_u8()).await.unwrap(), b'x');
}

/// Waits until a future was woken, without polling it.
async fn woken<T>(future: &Spawn<T>) {
    let wakes = async {
        while !future.is_woken() {
            tokio::task::yield_now().await;
        }
    };
    within(wakes).await;
}

#[tokio::test]
async fn an_accept_that_is_dropped_while_it_waits_takes_no_channel() {
    let (client, server) = pair().await;
    let mut accept = spawn(server.accept());
    assert_pending!(accept.poll());
    drop(accept);
    let near = client.open().await.unwrap();
    let far = within(server.accept()).await.unwrap();
    assert_eq!(far.id(), near.id());
}

#[tokio::test]
async fn an_accept_that_is_dropped_once_woken_leaves_the_channel_to_the_next() {
    let (client, server) = pair().await;
    let (mut first, mut second) = (spawn(server.accept()), spawn(server.accept()));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    let near = client.open().await.unwrap();
    woken(&first).await;
    drop(first);
    woken(&second).await;
    assert_eq!(assert_ready!(second.poll()).unwrap().id(), near.id());
}

/// A client that has opened as many channels as the server takes.
struct Full {
    client: Connection,
    first: (Channel, Channel),
    _others: Vec<Channel>,
}

impl Full {
    async fn new() -> Full {
        let (client, server) = pair().await;
        let mut near = client.open().await.unwrap();
        let mut far = server.accept().await.unwrap();
        // An answer comes after the settings, so the limit is known.
        far.write_u8(1).await.unwrap();
        near.read_u8().await.unwrap();
        let open = || match spawn(client.open()).poll() {
            Poll::Ready(channel) => Some(channel.unwrap()),
            Poll::Pending => None,
        };
        let _others = std::iter::from_fn(open).collect();
        Full {
            client,
            first: (near, far),
            _others,
        }
    }
}

#[tokio::test]
async fn an_open_that_is_dropped_while_it_waits_takes_no_channel() {
    let full = Full::new().await;
    let mut open = spawn(full.client.open());
    assert_pending!(open.poll());
    drop(open);
    drop(full.first);
    within(full.client.open()).await.unwrap();
}

#[tokio::test]
async fn an_open_that_is_dropped_once_woken_leaves_its_place_to_the_next() {
    let full = Full::new().await;
    let (mut first, mut second) = (spawn(full.client.open()), spawn(full.client.open()));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(full.first);
    woken(&first).await;
    drop(first);
    woken(&second).await;
    assert_ready!(second.poll()).unwrap();
}

#[tokio::test]
async fn both_sides_open_channels() {
    let (client, server) = pair().await;
    let mut of_client = client.open().await.unwrap();
    let mut of_server = server.open().await.unwrap();
    assert_eq!((of_client.id() % 2, of_server.id() % 2), (1, 0));
    let mut at_server = within(server.accept()).await.unwrap();
    let mut at_client = within(client.accept()).await.unwrap();
    assert_eq!(at_server.id(), of_client.id());
    assert_eq!(at_client.id(), of_server.id());
    of_client.write_all(b"from the client").await.unwrap();
    of_server.write_all(b"from the server").await.unwrap();
    of_client.shutdown().await.unwrap();
    of_server.shutdown().await.unwrap();
    assert_eq!(within(read_all(&mut at_server)).await, b"from the client");
    assert_eq!(within(read_all(&mut at_client)).await, b"from the server");
}

#[tokio::test]
async fn a_server_may_open_before_it_hears_of_the_client() {
    let (near, far) = tokio::io::duplex(4096);
    let server = Connection::server(far, Config::default());
    let mut channel = server.open().await.unwrap();
    channel.write_all(b"early").await.unwrap();
    channel.shutdown().await.unwrap();
    let client = Connection::client(near, Config::default());
    let mut accepted = within(client.accept()).await.unwrap();
    assert_eq!(within(read_all(&mut accepted)).await, b"early");
}

/// rustls takes 64 KiB at once; with a rest behind each, there would be a record,
/// a system call and a packet more. So much fits the first window.
#[tokio::test]
async fn writes_of_64_kib_leave_in_pieces_of_64_kib() {
    let (near, far) = duplex(1 << 20);
    let writes = Writes::default();
    let client = Connection::client(writes.of(near), Config::default());
    let server = Connection::server(far, Config::default());
    let mut near = client.open().await.unwrap();
    let reader = tokio::spawn(async move {
        let mut far = server.accept().await.unwrap();
        read_all(&mut far).await.len()
    });
    for _ in 0..16 {
        near.write_all(&[7; 64 << 10]).await.unwrap();
    }
    near.shutdown().await.unwrap();
    assert_eq!(within(reader).await.unwrap(), 1 << 20);
    let writes = writes.lengths();
    let whole = writes.iter().filter(|&&len| len == 64 << 10).count();
    assert!(whole >= 12, "{writes:?}");
}

/// Where channels keep what was read, and where it is copied.
#[tokio::test]
async fn bytes_come_in_order_however_they_are_read() {
    for at_once in [1_000, 16_406, 1 << 20] {
        let (near, far) = duplex(at_once);
        let client = Connection::client(near, Config::default());
        let server = Connection::server(far, Config::default());
        let transfers = (1..=3).map(|nth| {
            let (client, server) = (client.clone(), server.clone());
            tokio::spawn(async move {
                let data: Vec<u8> = (0..20).flat_map(|_| large()).collect();
                let mut near = client.open().await.unwrap();
                near.write_all(&[nth]).await.unwrap();
                let mut far = server.accept().await.unwrap();
                let wanted = data.clone();
                let writer = tokio::spawn(async move {
                    near.write_all(&data).await.unwrap();
                    near.shutdown().await.unwrap();
                });
                far.read_exact(&mut [0]).await.unwrap();
                let (mut got, mut buf) = (Vec::new(), vec![0; 7_919 * usize::from(nth)]);
                loop {
                    let n = far.read(&mut buf).await.unwrap();
                    got.extend_from_slice(&buf[..n]);
                    if n == 0 {
                        break;
                    }
                }
                assert!(got == wanted, "{at_once} bytes at once");
                writer.await.unwrap();
            })
        });
        for transfer in transfers.collect::<Vec<_>>() {
            within(transfer).await.unwrap();
        }
    }
}
