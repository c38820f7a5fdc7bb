//! `tcpchan ping`: how long a round trip takes, and where.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tcpchan::{Channel, Config, Connection, SocketProfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;

use crate::args;
use crate::carry::proxy;
use crate::explain::explain;
use crate::failure::Failure;
use crate::process::tasks_ended;
use crate::stats::print;
use crate::tls;

/// How long the connections may take at the end to close. The user waits for it.
const GOODBYE: Duration = Duration::from_secs(1);

/// What one round has measured.
struct Round {
    addr: SocketAddr,
    tcp: Duration,
    tls: Option<Duration>,
    /// None with a peer of version 0, which has no pings.
    link: Option<Duration>,
    channel: Duration,
}

pub async fn run(args: args::Ping) -> Result<(), Failure> {
    let failed = |error| Failure::because("--send-proxy-v2", &error);
    let pinger = Pinger {
        tls: tls::Client::new(&args.tls)?,
        header: match args.send_proxy_v2 {
            true => proxy::header_of_nobody().map_err(failed)?,
            false => Vec::new(),
        },
        to: args.to,
    };
    let mut rounds = Vec::new();
    let mut next = interval(args.interval);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..args.count {
        next.tick().await;
        match timeout(args.timeout, pinger.round()).await {
            Ok(Ok(round)) => {
                print(&round.to_string());
                rounds.push(round);
            }
            Ok(Err(error)) => print(&format!("{}  {error}", pinger.to)),
            Err(_) => print(&format!(
                "{}  no answer within {:?}",
                pinger.to, args.timeout
            )),
        }
    }
    let (answered, count) = (rounds.len(), args.count);
    if answered > 0 {
        print(&summary(&rounds));
    }
    let _ = timeout(GOODBYE, tasks_ended()).await;
    match answered == count as usize {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{answered} of {count} rounds were answered"
        ))),
    }
}

struct Pinger {
    to: String,
    tls: Option<tls::Client>,
    /// Begins the channel.
    header: Vec<u8>,
}

impl Pinger {
    /// Connects, and opens a channel. An error is a line for people.
    async fn round(&self) -> Result<Round, String> {
        let start = Instant::now();
        let failed = |error: io::Error| explain(&error);
        let tcp = TcpStream::connect(&self.to).await.map_err(failed)?;
        let tcp_took = start.elapsed();
        SocketProfile::default().apply(&tcp).map_err(failed)?;
        let addr = tcp.peer_addr().map_err(failed)?;
        let (connection, tls_took) = match &self.tls {
            None => (Connection::client(tcp, Config::default()), None),
            Some(tls) => {
                let start = Instant::now();
                let host = self.to.rsplit_once(':').map_or("", |(host, _)| host);
                let name = tls.name_of(host).map_err(|error| error.to_string())?;
                let connector = TlsConnector::from(tls.config.clone());
                let io = connector.connect(name, tcp).await.map_err(failed)?;
                (
                    Connection::client(io, Config::default()),
                    Some(start.elapsed()),
                )
            }
        };
        let start = Instant::now();
        let mut channel = connection.open().await.map_err(failed)?;
        self.is_answered(&mut channel).await.map_err(failed)?;
        Ok(Round {
            addr,
            tcp: tcp_took,
            tls: tls_took,
            link: connection.rtt(),
            channel: start.elapsed(),
        })
    }

    async fn is_answered(&self, channel: &mut Channel) -> io::Result<()> {
        channel.write_all(&self.header).await?;
        channel.shutdown().await?;
        channel.read(&mut [0]).await.map(drop)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link {
            Some(link) => write!(f, "{}  link {}", self.addr, ms(link))?,
            None => write!(f, "{}  link ?", self.addr)?,
        }
        write!(f, "  set-up {}", ms(self.set_up()))?;
        if let Some(tls) = self.tls {
            write!(f, " (TCP {}, TLS {})", ms(self.tcp), ms(tls))?;
        }
        write!(f, "  channel {}", ms(self.channel))
    }
}

impl Round {
    fn set_up(&self) -> Duration {
        self.tcp + self.tls.unwrap_or_default()
    }
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn summary(rounds: &[Round]) -> String {
    let link = rounds.iter().filter_map(|round| round.link);
    let set_up = rounds.iter().map(Round::set_up);
    let channel = rounds.iter().map(|round| round.channel);
    format!(
        "least, median, most:  link {}  set-up {}  channel {}",
        spread(link.collect()),
        spread(set_up.collect()),
        spread(channel.collect()),
    )
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    match times[..] {
        [] => "?".to_owned(),
        [least, ..] => {
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            format!("{}, {}, {}", ms(least), ms(median), ms(most))
        }
    }
}
