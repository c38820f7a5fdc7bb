//! A TCP proxy that hurts connections: by RST, by FIN, by silence.
#![allow(dead_code)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Reset,
    Fin,
    Silence,
}

#[derive(Clone)]
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    backend: Mutex<SocketAddr>,
    living: Mutex<Vec<oneshot::Sender<Fault>>>,
    /// For each connection that ended though nobody hurt it: how long one of its
    /// directions was silent.
    ended: Mutex<Vec<Duration>>,
    accepted: AtomicUsize,
    /// Flows without a byte for this long are dropped in silence.
    drops_idle: Option<Duration>,
}

impl Proxy {
    pub async fn start(backend: SocketAddr, drops_idle: Option<Duration>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            backend: Mutex::new(backend),
            living: Mutex::default(),
            ended: Mutex::default(),
            accepted: AtomicUsize::new(0),
            drops_idle,
        });
        let proxy = Proxy { addr, shared };
        tokio::spawn(proxy.clone().run(listener));
        proxy
    }

    async fn run(self, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            let backend = *self.shared.backend.lock().unwrap();
            let Ok(server) = TcpStream::connect(backend).await else {
                continue;
            };
            let (kill, killed) = oneshot::channel();
            self.shared.accepted.fetch_add(1, SeqCst);
            self.shared.living.lock().unwrap().push(kill);
            let proxy = self.clone();
            tokio::spawn(async move { proxy.carry(client, server, killed).await });
        }
    }

    async fn carry(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        killed: oneshot::Receiver<Fault>,
    ) {
        let idle = self.shared.drops_idle;
        let fault = tokio::select! {
            fault = killed => fault.ok(),
            silence = copy(&mut client, &mut server, idle) => {
                self.shared.ended.lock().unwrap().push(silence);
                None
            }
        };
        match fault {
            Some(Fault::Reset) => {
                for stream in [&client, &server] {
                    let linger = Some(Duration::ZERO);
                    SockRef::from(stream).set_linger(linger).unwrap();
                }
            }
            Some(Fault::Fin) => {
                let _ = client.shutdown().await;
                let _ = server.shutdown().await;
            }
            Some(Fault::Silence) => std::future::pending().await,
            None => {}
        }
    }

    /// Hurts the oldest connection; whether there was one.
    pub fn hurt(&self, fault: Fault) -> bool {
        let mut living = self.shared.living.lock().unwrap();
        living.retain(|kill| !kill.is_closed());
        let there = !living.is_empty();
        there && living.remove(0).send(fault).is_ok()
    }

    /// New connections go there.
    pub fn switch(&self, backend: SocketAddr) {
        *self.shared.backend.lock().unwrap() = backend;
    }

    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// Connections that ended though nobody hurt them and neither direction of
    /// them was ever silent for so long.
    pub fn ended(&self, silence: Duration) -> usize {
        let ended = self.shared.ended.lock().unwrap();
        ended.iter().filter(|silent| **silent < silence).count()
    }
}

/// Until either side ends; how long one direction was silent at most. A flow
/// that is idle for too long is carried no more and nobody is told.
async fn copy(client: &mut TcpStream, server: &mut TcpStream, idle: Option<Duration>) -> Duration {
    let (mut a, mut b) = ([0; 16 * 1024], [0; 16 * 1024]);
    let idle = idle.unwrap_or(Duration::from_secs(3600));
    let mut heard = [Silence::begin(); 2];
    loop {
        let step = async {
            tokio::select! {
                n = client.read(&mut a) => pass(n, &a, server, &mut heard[0]).await,
                n = server.read(&mut b) => pass(n, &b, client, &mut heard[1]).await,
            }
        };
        match tokio::time::timeout(idle, step).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return heard.map(Silence::most).into_iter().max().unwrap(),
            Err(_) => std::future::pending().await,
        }
    }
}

async fn pass(
    n: io::Result<usize>,
    from: &[u8],
    to: &mut TcpStream,
    silence: &mut Silence,
) -> io::Result<()> {
    match n? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            *silence = Silence(silence.most(), Instant::now());
            to.write_all(&from[..n]).await
        }
    }
}

/// How long a direction was silent at most, and since when it is.
#[derive(Clone, Copy)]
struct Silence(Duration, Instant);

impl Silence {
    fn begin() -> Silence {
        Silence(Duration::ZERO, Instant::now())
    }

    fn most(self) -> Duration {
        self.0.max(self.1.elapsed())
    }
}
