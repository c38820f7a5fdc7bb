//! A server over real TCP, an honest neighbour, and a peer that says what the
//! test tells it to.

use std::io;
use std::net::SocketAddr;

use tcpchan::server::Acceptor;
use tcpchan::wire::{
    Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, MAX_DATA, Protocol, Settings, Version,
};
use tcpchan::{Channel, Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::guard::within;

/// Codes of a GOAWAY.
pub const PROTOCOL: u32 = 1;
pub const FLOW_CONTROL: u32 = 2;
pub const LIMIT: u32 = 3;
pub const HANDSHAKE: u32 = 4;

/// An echo server, with an honest client of it that has one channel.
pub struct Server {
    addr: SocketAddr,
    /// How each channel ended.
    ends: mpsc::UnboundedReceiver<io::Result<()>>,
    neighbour: Channel,
}

impl Server {
    pub async fn start(config: Config) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut acceptor = Acceptor::new(listener).with_config(config);
        let (sender, ends) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (channel, _) = acceptor.accept().await;
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(echo(channel).await) });
            }
        });
        let stream = TcpStream::connect(addr).await.unwrap();
        let neighbour = Connection::client(stream, Config::default());
        let neighbour = neighbour.open().await.unwrap();
        Server {
            addr,
            ends,
            neighbour,
        }
    }

    /// A peer that has said nothing.
    pub async fn stranger(&self) -> Peer {
        Peer {
            io: TcpStream::connect(self.addr).await.unwrap(),
            version: Version::V1,
            out: Vec::new(),
            decoder: Decoder::new(Protocol::Auto),
            has_a_channel: false,
        }
    }

    /// A peer that has said its hello, and nothing else.
    pub async fn peer(&self) -> Peer {
        let magic = DEFAULT_MAGIC;
        let peer = self.stranger().await.say(Control::Hello { magic });
        peer.settings(&Settings::default().encode())
    }

    /// A peer whose channel 1 the server has echoed a byte on.
    pub async fn peer_with_a_channel(&self) -> Peer {
        let mut peer = self.peer().await.open(1).data(1, 1).sent().await;
        while !peer
            .hears()
            .await
            .expect("an echo")
            .contains(&Heard::Data(1))
        {}
        peer.has_a_channel = true;
        peer
    }

    /// The neighbour is served.
    pub async fn serves_its_neighbour(&mut self) {
        within(async {
            self.neighbour.write_u8(b'!').await.unwrap();
            assert_eq!(self.neighbour.read_u8().await.unwrap(), b'!');
        })
        .await;
    }

    /// Why the next channel that ended did so.
    pub async fn channel_failed(&mut self) -> io::Error {
        let end = within(self.ends.recv()).await.unwrap();
        end.expect_err("an error, not a clean end")
    }

    /// The peer says this, each time with the next number, until its connection
    /// is ended by a GOAWAY with this code and a text that contains `part`.
    pub async fn cuts_off_flood(
        &mut self,
        mut peer: Peer,
        say: impl Fn(Peer, u32) -> Peer,
        code: u32,
        part: &str,
    ) {
        let (mut nth, mut heard) = (0, Vec::new());
        loop {
            for _ in 0..1000 {
                peer = say(peer, nth);
                nth += 1;
            }
            peer = peer.sent().await;
            match peer.hears_now().await {
                Some(more) => heard.extend(more),
                None => break,
            }
            self.serves_its_neighbour().await;
        }
        is_cut_off(&heard, code, part);
        self.serves_its_neighbour().await;
    }

    /// What the peer has said, and whatever it says behind that, ends its
    /// connection by a GOAWAY with this code and a text that contains `part`.
    /// Its one channel is told, nothing more is taken from it, and others are
    /// served on.
    pub async fn cuts_off(&mut self, peer: Peer, code: u32, part: &str) {
        // What must not be processed.
        let peer = peer.open(3).data(3, 1).say(Control::Fin {
            channel: 3,
            debt: 0,
        });
        let has_a_channel = peer.has_a_channel;
        let heard = peer.sent().await.hears_the_end().await;
        is_cut_off(&heard, code, part);
        assert!(!heard.contains(&Heard::Data(3)), "channel 3 was served");
        if has_a_channel {
            let error = self.channel_failed().await;
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        self.serves_its_neighbour().await;
        assert!(self.ends.try_recv().is_err(), "another channel ended");
    }
}

/// The last that a peer heard is a GOAWAY with this code, and a text that
/// contains `part`.
#[track_caller]
pub fn is_cut_off(heard: &[Heard], code: u32, part: &str) {
    let last = heard.last().expect("a GOAWAY");
    let Heard::Frame(Control::GoAway {
        code: told, text, ..
    }) = last
    else {
        panic!("no GOAWAY, but {last:?}");
    };
    assert!(
        (*told, text.contains(part)) == (code, true),
        "{told}: {text}"
    );
}

/// Ends when the channel does, in the same way.
async fn echo(mut channel: Channel) -> io::Result<()> {
    let mut bytes = [0; 1024];
    loop {
        match channel.read(&mut bytes).await? {
            0 => return channel.shutdown().await,
            n => channel.write_all(&bytes[..n]).await?,
        }
    }
}

/// What a peer hears.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Frame(Control),
    Data(u32),
}

/// What it says leaves when it is [`sent`](Peer::sent).
pub struct Peer {
    pub io: TcpStream,
    version: Version,
    out: Vec<u8>,
    decoder: Decoder,
    has_a_channel: bool,
}

impl Peer {
    /// Says a frame.
    pub fn say(mut self, control: Control) -> Peer {
        Frame::Control(control).encode(self.version, &mut self.out);
        self
    }

    /// Says its settings, of this body.
    pub fn settings(self, body: &[u8]) -> Peer {
        let body = body.to_vec().into();
        self.say(Control::Settings { body })
    }

    pub fn open(self, channel: u32) -> Peer {
        self.say(Control::Open { channel })
    }

    /// Sends so many bytes on a channel, in frames of full size.
    pub fn data(self, channel: u32, len: usize) -> Peer {
        let body = vec![7; len];
        body.chunks(MAX_DATA).fold(self, |mut peer, body| {
            Frame::Data { channel, body }.encode(peer.version, &mut peer.out);
            peer
        })
    }

    /// Says bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Peer {
        self.out.extend_from_slice(bytes);
        self
    }

    /// Sends what it has said. The server may have closed by then.
    pub async fn sent(mut self) -> Peer {
        let _ = within(self.io.write_all(&self.out)).await;
        self.out.clear();
        self
    }

    /// The next frames, and for DATA its channel; nothing at the end.
    pub async fn hears(&mut self) -> Option<Vec<Heard>> {
        let mut bytes = vec![0; 1 << 16];
        let n = within(self.io.read(&mut bytes))
            .await
            .ok()
            .filter(|n| *n > 0)?;
        let (mut input, mut heard) = (&bytes[..n], Vec::new());
        while let Some(decoded) = self.decoder.decode(&mut input).unwrap() {
            match decoded {
                Decoded::Control(control) => heard.push(Heard::Frame(control)),
                Decoded::Data { channel, .. } => heard.push(Heard::Data(channel)),
                _ => {}
            }
        }
        Some(heard)
    }

    /// What has come, without waiting for more; nothing at the end.
    async fn hears_now(&mut self) -> Option<Vec<Heard>> {
        tokio::select! {
            biased;
            heard = self.hears() => heard,
            () = std::future::ready(()) => Some(Vec::new()),
        }
    }

    /// All that the server says up to its end.
    pub async fn hears_the_end(mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(more) = self.hears().await {
            all.extend(more);
        }
        all
    }
}
