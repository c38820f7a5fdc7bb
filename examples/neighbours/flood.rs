//! A peer that floods as fast as the link takes it, and comes again when it is
//! cut off.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tcpchan::wire::{Control, DEFAULT_MAGIC, Decoded, Decoder, Frame, Protocol, Settings, Version};

pub struct Kind {
    pub name: &'static str,
    /// Seconds that it is given beyond what is asked for.
    pub longer: u64,
    /// What it says first, behind its hello.
    first: fn(&mut Vec<u8>),
    /// What it says again and again, each time with the next number.
    say: fn(u32, &Allowed, &mut Vec<u8>),
    how: How,
}

#[derive(PartialEq)]
enum How {
    Floods,
    /// And reads nothing.
    Deaf,
    /// To the plain TCP port.
    Plain,
    /// Connects as quickly as it can, and keeps so many connections.
    Connects(usize),
}

/// What the server allows.
struct Allowed {
    channels: AtomicU32,
    /// On channel 1.
    bytes: AtomicU64,
    /// It has answered a request.
    answered: AtomicBool,
    over: AtomicBool,
}

impl Kind {
    /// Whether it goes to a plain TCP port anyway.
    pub fn is_plain(&self) -> bool {
        self.how == How::Plain
    }
}

const NOTHING: fn(&mut Vec<u8>) = |_| ();

const fn flood(name: &'static str, say: fn(u32, &Allowed, &mut Vec<u8>)) -> Kind {
    Kind {
        name,
        longer: 0,
        first: NOTHING,
        say,
        how: How::Floods,
    }
}

pub const KINDS: &[Kind] = &[
    Kind {
        how: How::Plain,
        ..flood("bytes to a plain TCP port", |_, _, out| {
            data(1, &[7; 1], out)
        })
    },
    Kind {
        how: How::Connects(0),
        ..flood("connects", |_, _, _| ())
    },
    Kind {
        how: How::Connects(4096),
        ..flood("connects that stay silent", |_, _, _| ())
    },
    flood("opens", |nth, _, out| {
        say(Control::Open { channel: id(nth) }, out)
    }),
    flood("opens and resets", |nth, allowed, out| {
        if nth < allowed.channels.load(Relaxed) {
            say(Control::Open { channel: id(nth) }, out);
            say(
                Control::Reset {
                    channel: id(nth),
                    code: 0,
                    debt: 0,
                },
                out,
            );
        }
    }),
    flood("requests and resets", |nth, allowed, out| {
        if nth < allowed.channels.load(Relaxed) {
            request(nth, GET, out);
            say(
                Control::Reset {
                    channel: id(nth),
                    code: 0,
                    debt: 0,
                },
                out,
            );
        }
    }),
    flood(
        "requests that wait, then a violation",
        |nth, allowed, out| {
            // All have begun when the last is answered.
            match nth {
                ..1023 => request(nth, POST, out),
                1023 => request(nth, GET, out),
                _ if allowed.answered.load(Relaxed) => again(out),
                _ => {}
            }
        },
    ),
    flood("pings", |nth, _, out| {
        say(Control::Ping { token: nth.into() }, out)
    }),
    Kind {
        first: open,
        ..flood("windows", |nth, _, out| {
            let limit = (1 << 20) + u64::from(nth);
            say(
                Control::Window {
                    channel: 1,
                    limit,
                    loan: 1 << 20,
                },
                out,
            );
        })
    },
    Kind {
        first: open,
        ..flood("empty frames", |_, _, out| data(1, &[], out))
    },
    Kind {
        first: open,
        ..flood("one-byte frames that nobody reads", |_, _, out| {
            data(1, &[7], out)
        })
    },
    Kind {
        first: |out| {
            open(out);
            data(1, POST, out);
        },
        ..flood("one-byte frames that are read", |nth, allowed, out| {
            if u64::from(nth) + (POST.len() as u64) < allowed.bytes.load(Relaxed) {
                data(1, &[7], out);
            }
        })
    },
    flood("unknown ops", |_, _, out| {
        out.extend([1, 0xFF, 0, 0, 0, 0, 0, 0])
    }),
    flood("settings", |_, _, out| again(out)),
    Kind {
        how: How::Deaf,
        ..flood("pings, reading nothing", |nth, _, out| {
            say(Control::Ping { token: nth.into() }, out)
        })
    },
    Kind {
        how: How::Deaf,
        longer: 32,
        ..flood("large answers, reading nothing", |nth, _, out| {
            if nth < 1024 {
                request(nth, LARGE, out);
            }
        })
    },
];

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";
pub const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n";
const POST: &[u8] = b"POST /swallow HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n";

pub fn id(nth: u32) -> u32 {
    2 * nth + 1
}

pub fn say(control: Control, out: &mut Vec<u8>) {
    Frame::Control(control).encode(Version::V1, out);
}

pub fn data(channel: u32, body: &[u8], out: &mut Vec<u8>) {
    match body {
        [] => out.extend([1, 5, 0, 0, 0, channel as u8, 0, 0]), // no frame of the protocol
        body => Frame::Data { channel, body }.encode(Version::V1, out),
    }
}

pub fn request(nth: u32, head: &[u8], out: &mut Vec<u8>) {
    say(Control::Open { channel: id(nth) }, out);
    data(id(nth), head, out);
}

/// Settings, which are a violation but the first time.
fn again(out: &mut Vec<u8>) {
    let body = Settings::default().encode();
    say(Control::Settings { body }, out);
}

fn open(out: &mut Vec<u8>) {
    say(Control::Open { channel: 1 }, out);
}

/// Where a flood goes, and from where.
#[derive(Clone, Copy)]
pub struct Route {
    pub from: IpAddr,
    pub to: SocketAddr,
    /// `to` is a plain TCP port: nobody there says what is allowed.
    pub plain: bool,
}

/// Floods for so long; what became of it.
pub fn run(kind: &Kind, route: Route, time: Duration) -> String {
    if let How::Connects(kept) = kind.how {
        return connects(route, kept, time);
    }
    let start = Instant::now();
    let (mut cut_off, mut first, mut bytes) = (0u32, None, 0);
    while start.elapsed() < time {
        // A connection that ends in an error was cut off, too.
        let _ = once(kind, route, start + time, &mut bytes);
        if start.elapsed() < time {
            cut_off += 1;
            first.get_or_insert(start.elapsed());
        }
    }
    let rate = bytes as f64 / time.as_secs_f64() / 1e6;
    match first {
        None => format!("{rate:.1} MB/s, not cut off"),
        Some(first) => format!("{rate:.1} MB/s, cut off after {first:.1?}, {cut_off} times in all"),
    }
}

/// One connection, until it is cut off or the time is over.
fn once(kind: &Kind, route: Route, end: Instant, bytes: &mut u64) -> io::Result<()> {
    let mut stream = connect(route)?;
    stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    let allowed = Arc::new(match route.plain {
        true => Allowed {
            channels: u32::MAX.into(),
            bytes: u64::MAX.into(),
            answered: true.into(),
            over: false.into(),
        },
        false => Allowed {
            channels: 1024.into(),
            bytes: (64 << 10).into(),
            answered: false.into(),
            over: false.into(),
        },
    });
    if kind.how == How::Floods {
        let (stream, allowed) = (stream.try_clone()?, allowed.clone());
        std::thread::spawn(move || {
            let _ = hear(stream, &allowed); // however it ends
            allowed.over.store(true, Relaxed);
        });
    }
    let mut out = Vec::new();
    if kind.how != How::Plain {
        say(
            Control::Hello {
                magic: DEFAULT_MAGIC,
            },
            &mut out,
        );
        say(
            Control::Settings {
                body: Settings::default().encode(),
            },
            &mut out,
        );
        (kind.first)(&mut out);
    }
    let mut nth = 0;
    while Instant::now() < end && !allowed.over.load(Relaxed) {
        while out.len() < 16 << 10 {
            let before = out.len();
            (kind.say)(nth, &allowed, &mut out);
            if out.len() == before {
                break; // it may say no more for now
            }
            nth += 1;
        }
        if out.is_empty() && kind.how == How::Deaf {
            // It learns so, and only so, that it was cut off.
            std::thread::sleep(Duration::from_millis(100));
            say(Control::Ping { token: 1 }, &mut out);
        } else if out.is_empty() {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        match stream.write(&out) {
            Ok(n) => {
                *bytes += n as u64;
                out.drain(..n);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    stream.shutdown(Shutdown::Both)
}

/// Connects for so long, and keeps the last connections.
fn connects(route: Route, kept: usize, time: Duration) -> String {
    let start = Instant::now();
    let (mut made, mut failed, mut last) = (0u32, 0u32, VecDeque::new());
    while start.elapsed() < time {
        match begin_connect(route) {
            Ok(socket) => last.push_back(socket),
            Err(_) => failed += 1,
        }
        made += 1;
        if last.len() > kept {
            last.pop_front();
        }
    }
    let rate = f64::from(made) / time.as_secs_f64();
    format!("{rate:.0} connects a second, of which {failed} failed in all")
}

fn connect(route: Route) -> io::Result<TcpStream> {
    let socket = bind(route)?;
    socket.connect(&route.to.into())?;
    Ok(socket.into())
}

/// Does not wait until the server's backlog has room.
fn begin_connect(route: Route) -> io::Result<Socket> {
    let socket = bind(route)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&route.to.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Linux's number for a connect that goes on.
const EINPROGRESS: i32 = 115;

fn bind(route: Route) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(route.to), Type::STREAM, None)?;
    // A port is free again at once. Else a flood ends when it has used them all.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddr::new(route.from, 0).into())?;
    Ok(socket)
}

/// Notes what the server allows, until it ends the connection.
fn hear(mut stream: TcpStream, allowed: &Allowed) -> io::Result<()> {
    let mut decoder = Decoder::new(Protocol::V1);
    let mut bytes = vec![0; 64 << 10];
    loop {
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        let mut input = &bytes[..n];
        while let Some(decoded) = decoder.decode(&mut input).map_err(io::Error::other)? {
            match decoded {
                Decoded::Control(Control::MaxChannels { count }) => {
                    allowed.channels.store(count, Relaxed);
                }
                Decoded::Control(Control::Window {
                    channel: 1, limit, ..
                }) => {
                    allowed.bytes.store(limit, Relaxed);
                }
                Decoded::Data { .. } => allowed.answered.store(true, Relaxed),
                Decoded::Control(Control::GoAway { .. }) => return Ok(()),
                _ => {}
            }
        }
    }
}
