//! A unix socket in front of a multiplex, for clients whose connector can't be exchanged.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::{fs::DirBuilderExt, net};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, split};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tower_service::Service;

use super::connecting::Connecting;
use super::error::BoxError;
use super::multiplex::Multiplex;

/// Bytes that are read of a connection while its channel is opened: more than the head of
/// a request commonly has. The rest waits in the socket.
const EARLY: usize = 16 << 10;

/// How often to look whether the caller of a channel is gone.
const LOOKS: Duration = Duration::from_secs(1);

/// The wait after an error of `accept`, most often of a process without descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A unix socket of this process. Each connection to it becomes a channel to one target.
///
/// It is for HTTP clients that take a unix socket but no connector, such as reqwest
/// ([`guide::reqwest`](crate::guide::reqwest)):
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::{LocalSocket, Multiplex};
///
/// let target = http::Uri::from_static("http://server.example:3000");
/// let socket = LocalSocket::new(Multiplex::new(HttpConnector::new()), target)?;
/// let client = reqwest::Client::builder().unix_socket(socket.path()).build()?;
/// let response = client.get("http://server.example:3000/").send().await?;
/// # Ok(())
/// # }
/// ```
///
/// Bytes are carried as they are. A connection ends as its channel does, with one
/// exception: a unix socket has no reset, so a channel that fails looks like an end. HTTP
/// notices, unless the answer has neither a length nor chunks, as of an HTTP/1.0 server.
/// A caller that closes its connection before the channel is there has sent nothing. One
/// that closes it before the channel's end resets the channel within a second.
///
/// When it is dropped, the socket is removed. Connections that were made go on to their
/// end.
#[derive(Debug)]
#[must_use = "a socket that is dropped takes no more connections"]
pub struct LocalSocket {
    path: PathBuf,
    target: Uri,
    /// Removed with the socket.
    folder: Option<PathBuf>,
    accepting: AbortHandle,
}

impl LocalSocket {
    /// A socket in a new folder of the system's folder for temporary files, which no other
    /// user may enter.
    ///
    /// # Errors
    ///
    /// Where the folder or the socket can't be made.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time and I/O enabled.
    pub fn new<C>(multiplex: Multiplex<C>, target: Uri) -> io::Result<Self>
    where
        C: Service<Uri> + Clone + Send + 'static,
        C::Response: Read + Write + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        let name = format!("tcpchan-{:016x}", fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        match LocalSocket::bind(folder.join("socket"), multiplex, target) {
            Ok(mut socket) => {
                socket.folder = Some(folder);
                Ok(socket)
            }
            Err(error) => {
                let _ = fs::remove_dir(&folder);
                Err(error)
            }
        }
    }

    /// A socket at this path. Whoever may write to the file may call the target.
    ///
    /// # Errors
    ///
    /// Where the socket can't be made: `AddrInUse` if the file exists.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time and I/O enabled.
    pub fn bind<C>(
        path: impl Into<PathBuf>,
        multiplex: Multiplex<C>,
        target: Uri,
    ) -> io::Result<Self>
    where
        C: Service<Uri> + Clone + Send + 'static,
        C::Response: Read + Write + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        let path = path.into();
        let listener = UnixListener::bind(&path)?;
        let accepting = tokio::spawn(accept(listener, multiplex, target.clone()));
        Ok(LocalSocket {
            path,
            target,
            folder: None,
            accepting: accepting.abort_handle(),
        })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its connections become channels to.
    pub fn target(&self) -> &Uri {
        &self.target
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

async fn accept<C>(listener: UnixListener, mut multiplex: Multiplex<C>, target: Uri)
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // The caller sees its connection end. The multiplex counts why.
                drop(tokio::spawn(carry(stream, multiplex.call(target.clone()))));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Opens the channel and carries both directions to their ends.
async fn carry(mut stream: UnixStream, opening: Connecting) -> io::Result<()> {
    let mut early = BytesMut::new();
    let channel = tokio::select! {
        opened = opening => opened.map_err(io::Error::other)?,
        gone = wait_until_gone(&stream, &mut early) => return gone,
    };
    check_caller(&stream)?;
    // By hyper's traits the answer of a server that reads no more arrives.
    let mut channel = TokioIo::new(channel);
    channel.write_all(&early).await?;
    drop(early);
    let watched = net::UnixStream::from(stream.as_fd().try_clone_to_owned()?);
    let (mut requests, mut answers) = stream.split();
    let (mut receiver, mut sender) = split(channel);
    let upload = async {
        copy(&mut requests, &mut sender).await?;
        sender.shutdown().await
    };
    let download = async {
        tokio::select! {
            copied = copy(&mut receiver, &mut answers) => copied?,
            gone = look_until_gone(watched) => return gone,
        };
        answers.shutdown().await
    };
    tokio::try_join!(upload, download).map(drop)
}

/// Waits until the caller has closed its connection, which no read shows while what it
/// wrote before waits for the server.
async fn look_until_gone(mut stream: net::UnixStream) -> io::Result<()> {
    loop {
        tokio::time::sleep(LOOKS).await;
        let _none = stream.write(&[])?;
    }
}

/// Waits until the caller has closed its connection. The request of a caller that has given
/// up must not be sent, so what it writes is read meanwhile. Behind the bytes that are
/// read at most, and behind the end of its direction, the close is not seen.
async fn wait_until_gone(stream: &UnixStream, early: &mut BytesMut) -> io::Result<()> {
    while early.len() < EARLY {
        stream.readable().await?;
        match stream.try_read_buf(&mut early.limit(EARLY - early.len())) {
            Ok(0) => {
                check_caller(stream)?;
                break;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    std::future::pending().await
}

/// Fails if the caller has closed its connection. One that has ended its direction alone can
/// still be written to.
fn check_caller(stream: &UnixStream) -> io::Result<()> {
    match stream.try_write(&[]) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}
