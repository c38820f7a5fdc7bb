//! What the end of a channel or a connection looks like from both sides.

use std::io::ErrorKind;

use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{Fault, Proxy};

/// A client and a server over real TCP.
async fn pair() -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let client = Connection::client(near.unwrap(), Config::default());
    (
        client,
        Connection::server(far.unwrap().0, Config::default()),
    )
}

/// The two ends of one channel.
async fn channel(client: &Connection, server: &Connection) -> (Channel, Channel) {
    let near = client.open().await.unwrap();
    (near, server.accept().await.unwrap())
}

#[tokio::test]
async fn half_close_ends_one_direction_and_leaves_the_other() {
    let (client, server) = pair().await;
    let (mut near, mut far) = channel(&client, &server).await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = String::new();
    far.read_to_string(&mut got).await.unwrap();
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    let mut back = String::new();
    near.read_to_string(&mut back).await.unwrap();
    assert_eq!((got.as_str(), back.as_str()), ("question", "answer"));
}

#[tokio::test]
async fn a_dropped_channel_is_a_reset_at_its_reader() {
    let (client, server) = pair().await;
    let (mut near, mut far) = channel(&client, &server).await;
    near.write_all(b"part").await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'p');
    drop(near);
    let error = far.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reader_that_is_gone_is_a_broken_pipe_at_its_writer() {
    let (client, server) = pair().await;
    let (mut near, far) = channel(&client, &server).await;
    drop(far);
    let error = loop {
        if let Err(error) = near.write_all(&[0; 1000]).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_peer_that_is_no_tcpchan_gets_a_goaway_and_everyone_here_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let server = Connection::server(far.unwrap().0, Config::default());
    let mut raw = near.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(server.accept().await.is_none());
    let mut answer = Vec::new();
    let _ = raw.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("0x47"), "{text:?}");
}

#[tokio::test]
async fn the_loss_of_the_connection_is_an_error_for_readers_and_opens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let client = Connection::client(near.unwrap(), Config::default());
    let mut channel = client.open().await.unwrap();
    drop(far);
    let error = channel.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(client.open().await.is_err());
    assert!(client.accept().await.is_none());
}

#[tokio::test]
async fn a_finished_channel_arrives_whole_though_all_handles_are_gone() {
    let (client, server) = pair().await;
    let mut near = client.open().await.unwrap();
    drop(client);
    near.write_all(&[7; 60_000]).await.unwrap();
    near.shutdown().await.unwrap();
    drop(near);
    let mut far = server.accept().await.unwrap();
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    assert!(got == [7; 60_000]);
}

/// A client and a server whose TCP connection can be cut.
async fn pair_through_a_proxy() -> (Connection, Connection, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap(), None).await;
    let (near, far) = tokio::join!(TcpStream::connect(proxy.addr), listener.accept());
    let client = Connection::client(near.unwrap(), Config::default());
    let server = Connection::server(far.unwrap().0, Config::default());
    (client, server, proxy)
}

#[tokio::test]
async fn a_cut_is_an_error_for_both_readers_though_bytes_came_before_it() {
    for cut in [Fault::Fin, Fault::Reset] {
        let (client, server, proxy) = pair_through_a_proxy().await;
        let (mut near, mut far) = channel(&client, &server).await;
        near.write_u8(b'a').await.unwrap();
        far.write_u8(b'b').await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'a');
        assert_eq!(near.read_u8().await.unwrap(), b'b');
        proxy.hurt(cut);
        for end in [&mut near, &mut far] {
            let error = end.read(&mut [0]).await.unwrap_err();
            let kind = match cut {
                Fault::Reset => ErrorKind::ConnectionReset, // the transport's own
                _ => ErrorKind::ConnectionAborted,
            };
            assert_eq!(error.kind(), kind, "{cut:?}");
        }
    }
}

#[tokio::test]
async fn a_fin_ahead_of_a_cut_is_a_clean_end_in_both_directions() {
    for cut in [Fault::Fin, Fault::Reset] {
        let (client, server, proxy) = pair_through_a_proxy().await;
        let (mut near, mut far) = channel(&client, &server).await;
        near.shutdown().await.unwrap();
        far.shutdown().await.unwrap();
        for end in [&mut near, &mut far] {
            assert_eq!(end.read(&mut [0]).await.unwrap(), 0);
        }
        proxy.hurt(cut);
        while client.error().is_none() || server.error().is_none() {
            tokio::task::yield_now().await;
        }
        for end in [&mut near, &mut far] {
            assert_eq!(end.read(&mut [0]).await.unwrap(), 0, "{cut:?}");
        }
    }
}
