//! Where a socket is.

use std::fmt;
use std::path::PathBuf;

/// What an address of the options means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// HOST:PORT.
    Tcp(String),
    /// `unix:/path`, or `unix:@name` for an abstract name of Linux.
    Unix(UnixName),
    /// `published:NAME`: a service that comes to a hub of this process.
    Published(String),
    /// `systemd:NAME`: sockets that were passed to this process.
    Passed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixName {
    Path(PathBuf),
    Abstract(String),
}

impl Address {
    /// The meaning of an address, which an option's parser has let through.
    pub fn of(text: &str) -> Self {
        if let Some(name) = text.strip_prefix("systemd:") {
            return Address::Passed(name.to_owned());
        }
        if let Some(name) = text.strip_prefix("published:") {
            return Address::Published(name.to_owned());
        }
        match text.strip_prefix("unix:") {
            None => Address::Tcp(text.to_owned()),
            Some(name) => Address::Unix(match name.strip_prefix('@') {
                Some(name) => UnixName::Abstract(name.to_owned()),
                None => UnixName::Path(name.into()),
            }),
        }
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self, Address::Tcp(_))
    }
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixName::Path(path) => write!(f, "unix:{}", path.display()),
            UnixName::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}
