//! Sockets that systemd, or another parent, has opened for this process.

use std::io;

#[cfg(unix)]
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

/// A listener as the system has it.
#[derive(Debug)]
pub enum Held {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Held {
    pub fn try_clone(&self) -> io::Result<Held> {
        Ok(match self {
            Held::Tcp(listener) => Held::Tcp(listener.try_clone()?),
            #[cfg(unix)]
            Held::Unix(listener) => Held::Unix(listener.try_clone()?),
        })
    }
}

/// The passed sockets, each with its name: `FileDescriptorName=` of its unit, or else the
/// unit's name.
#[derive(Debug, Default)]
pub struct Passed(Vec<(String, Held)>);

impl Passed {
    /// Takes those of the environment, which has none of them afterwards.
    pub fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut fds = ListenFd::from_env();
        let mut passed = Vec::new();
        for index in 0..fds.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| "unknown".to_owned());
            passed.push((name, held(&mut fds, index)?));
        }
        Ok(Passed(passed))
    }

    /// Those with a name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Held> {
        let named = self.0.iter().filter(move |(one, _)| one == name);
        named.map(|(_, held)| held)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

fn held(fds: &mut ListenFd, index: usize) -> io::Result<Held> {
    let none = || io::Error::other("a socket that was passed is missing");
    #[cfg(unix)]
    if let Ok(listener) = fds.take_unix_listener(index) {
        let listener = listener.ok_or_else(none)?;
        listener.set_nonblocking(true)?;
        return Ok(Held::Unix(listener));
    }
    let listener = fds.take_tcp_listener(index)?.ok_or_else(none)?;
    listener.set_nonblocking(true)?;
    Ok(Held::Tcp(listener))
}
