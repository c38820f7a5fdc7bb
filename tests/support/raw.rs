//! A peer that says what the test tells it to, frame by frame.
#![allow(dead_code)] // each test file uses a part

use std::time::{Duration, Instant};

use tcpchan::proto::{
    ChannelError, Config, Connection, ConnectionError, ErrorCode, Event, Key, Role,
};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, Protocol, Settings, Version};

/// A core, and the peer that the test plays.
pub struct Raw {
    pub core: Connection,
    pub now: Instant,
    version: Version,
    decoder: Decoder,
    keys: Vec<Key>,
}

/// Codes of a GOAWAY.
pub const PROTOCOL: u32 = 1;
pub const FLOW_CONTROL: u32 = 2;
pub const LIMIT: u32 = 3;
pub const HANDSHAKE: u32 = 4;

impl Raw {
    /// A core that has heard nothing yet.
    pub fn silent(core: Role) -> Raw {
        Raw::with(core, Config::default())
    }

    /// A core of this configuration that has heard nothing yet.
    fn with(core: Role, config: Config) -> Raw {
        let now = Instant::now();
        Raw {
            core: Connection::new(core, config, now),
            now,
            version: Version::V1,
            decoder: Decoder::new(Protocol::Auto),
            keys: Vec::new(),
        }
    }

    /// A server core whose client has said its hello.
    pub fn client() -> Raw {
        Raw::client_of(Config::default())
    }

    /// A server core of this configuration whose client has said its hello.
    pub fn client_of(config: Config) -> Raw {
        Raw::with(Role::Server, config)
            .say(Control::Hello {
                magic: DEFAULT_MAGIC,
            })
            .say(settings(&Settings::default().encode()))
            .heard()
    }

    /// A server core of this configuration whose client speaks version 0.
    pub fn version0_client_of(config: Config) -> Raw {
        let mut raw = Raw::with(Role::Server, config.protocol(Protocol::V0));
        raw.version = Version::V0;
        let magic = DEFAULT_MAGIC;
        raw.say(Control::Hello { magic }).heard()
    }

    /// A client core whose server has said its hello.
    pub fn server() -> Raw {
        Raw::server_with(Settings::default())
    }

    /// A client core whose server has said its hello, with these settings.
    pub fn server_with(said: Settings) -> Raw {
        Raw::server_of(Config::default(), said)
    }

    /// A client core of this configuration whose server has said its hello, with
    /// these settings.
    pub fn server_of(config: Config, said: Settings) -> Raw {
        Raw::with(Role::Client, config)
            .say(Control::HelloReply {
                magic: DEFAULT_MAGIC,
            })
            .say(settings(&said.encode()))
            .heard()
    }

    fn heard(mut self) -> Raw {
        assert_eq!(self.core.poll_event(), Some(Event::Connected));
        self.hear();
        self
    }

    /// Sends a frame.
    pub fn say(self, control: Control) -> Raw {
        let mut bytes = Vec::new();
        Frame::Control(control).encode(self.version, &mut bytes);
        self.bytes(&bytes)
    }

    /// Sends DATA of `len` bytes, in frames of full size.
    pub fn data(self, channel: u32, len: usize) -> Raw {
        let body = vec![7; len];
        body.chunks(16 << 10)
            .fold(self, |raw, body| raw.frame(channel, body))
    }

    /// Sends one DATA frame.
    pub fn frame(self, channel: u32, body: &[u8]) -> Raw {
        let mut bytes = Vec::new();
        Frame::Data { channel, body }.encode(self.version, &mut bytes);
        self.bytes(&bytes)
    }

    /// Sends bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.core.handle_input(bytes, self.now);
        self
    }

    /// Does the same so often.
    pub fn times(self, count: u32, act: impl Fn(Raw, u32) -> Raw) -> Raw {
        (0..count).fold(self, act)
    }

    /// Lets time pass; what the core owes meanwhile is taken.
    pub fn wait(mut self, time: Duration) -> Raw {
        self.now += time;
        self.core.handle_timeout(self.now);
        self.hear();
        self
    }

    /// The peer opens a channel.
    pub fn open(self, channel: u32) -> Raw {
        self.say(Control::Open { channel })
    }

    /// The peer opens a channel, and the application gets it.
    pub fn accepted(self, channel: u32) -> Raw {
        let mut raw = self.open(channel);
        raw.keys
            .push(raw.core.accept().expect("a channel to accept"));
        raw
    }

    /// The application opens a channel, and the peer hears of it.
    pub fn opened(mut self) -> Raw {
        self.keys.push(self.core.open().expect("a channel"));
        self.hear();
        self
    }

    /// The channel that the application got last.
    pub fn key(&self) -> Key {
        *self.keys.last().expect("a channel")
    }

    /// The application finishes and lets go of its channels from one index to
    /// another.
    pub fn released(mut self, which: std::ops::Range<usize>) -> Raw {
        for key in self.keys.drain(which) {
            self.core.finish(key).expect("a living channel");
            self.core.release(key);
        }
        self
    }

    /// The application lets go of its channels as they are.
    pub fn released_unfinished(mut self) -> Raw {
        for key in self.keys.drain(..) {
            self.core.release(key);
        }
        self
    }

    /// What the core sends, without the bytes of DATA.
    pub fn hear(&mut self) -> Vec<Control> {
        let mut bytes = Vec::new();
        while self.core.poll_transmit(&mut bytes, 64 << 10, self.now) > 0 {}
        let mut input = &bytes[..];
        let mut controls = Vec::new();
        while let Some(decoded) = self.decoder.decode(&mut input).expect("frames") {
            if let Decoded::Control(control) = decoded {
                controls.push(control);
            }
        }
        controls
    }

    /// The channels of the DATA frames and FINs that the core sends, and how many bytes.
    pub fn hear_data(&mut self) -> Vec<(u32, usize)> {
        let mut bytes = Vec::new();
        while self.core.poll_transmit(&mut bytes, 64 << 10, self.now) > 0 {}
        let mut input = &bytes[..];
        let mut frames = Vec::new();
        while let Some(decoded) = self.decoder.decode(&mut input).expect("frames") {
            match decoded {
                Decoded::Data { channel, len } => frames.push((channel, len)),
                Decoded::Control(Control::Fin { channel, .. }) => frames.push((channel, 0)),
                _ => {}
            }
        }
        frames
    }

    /// The connection goes on.
    pub fn goes_on(mut self) -> Raw {
        assert_eq!(self.core.error(), None);
        let token = u64::MAX;
        self = self.say(Control::Ping { token });
        assert!(self.hear().contains(&Control::Pong { token }));
        self
    }

    /// The connection has not ended; for version 0, which has no ping.
    pub fn lives(&self) {
        assert_eq!(self.core.error(), None);
    }

    /// The connection ended with this code and a text that contains `part`,
    /// which a peer of version 0 can't be told.
    pub fn fails(&self, code: u32, part: &str) -> ConnectionError {
        let error = self.core.error().expect("an error").clone();
        let ConnectionError::Violation { code: told, text } = &error else {
            panic!("{error:?}");
        };
        assert!((told.0, text.contains(part)) == (code, true), "{error:?}");
        error
    }

    /// The connection ended by a GOAWAY with this code and a text that contains
    /// `part`; every channel was told, and nothing more is done or said.
    pub fn ends(mut self, code: u32, part: &str) {
        let error = self.fails(code, part);
        assert!(self.core.wants_transmit());
        let Some(Control::GoAway {
            code: said,
            text: words,
            ..
        }) = self.hear().pop()
        else {
            panic!("no GOAWAY");
        };
        assert_eq!(
            error,
            ConnectionError::Violation {
                code: ErrorCode(said),
                text: words
            }
        );
        for key in std::mem::take(&mut self.keys) {
            let told = self
                .core
                .write(key, b"x")
                .expect_err("the connection ended");
            let released = told == ChannelError::Unknown;
            assert!(released || told == ChannelError::Connection(error.clone()));
        }
        let events: Vec<Event> = std::iter::from_fn(|| self.core.poll_event()).collect();
        assert_eq!(events.last(), Some(&Event::Closed));
        self.ignores_the_rest();
    }

    /// Whatever else the peer sends, nothing happens.
    fn ignores_the_rest(mut self) {
        for channel in 1..9 {
            self = self
                .open(channel)
                .data(channel, 9)
                .say(Control::Ping { token: 1 });
        }
        assert_eq!(self.hear(), []);
        assert_eq!((self.core.accept(), self.core.poll_event()), (None, None));
        assert_eq!(
            (self.core.wants_transmit(), self.core.poll_timeout()),
            (false, None)
        );
    }
}

/// The settings frame with this body.
pub fn settings(body: &[u8]) -> Control {
    let body = body.to_vec().into();
    Control::Settings { body }
}
