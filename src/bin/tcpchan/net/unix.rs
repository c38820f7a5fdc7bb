//! Unix sockets: in the file system, or with an abstract name of Linux.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::address::UnixName;

/// A file of a socket that this process has made. It is removed with it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number: another process may have made another file there.
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens. A file that an earlier process has left is removed.
pub fn listen(
    name: &UnixName,
    mode: Option<u32>,
) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let path = match name {
        UnixName::Abstract(name) => {
            let listener = UnixListener::bind_addr(&abstract_name(name)?)?;
            listener.set_nonblocking(true)?;
            return Ok((listener, None));
        }
        UnixName::Path(path) => path,
    };
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    listener.set_nonblocking(true)?;
    let file = SocketFile {
        path: path.clone(),
        inode: inode(path)?,
    };
    if let Some(mode) = mode {
        // Until here the umask has kept others out.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok((listener, Some(file)))
}

/// Whether a file is a socket on which nobody listens.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

pub async fn connect(name: &UnixName) -> io::Result<tokio::net::UnixStream> {
    match name {
        UnixName::Path(path) => tokio::net::UnixStream::connect(path).await,
        // To tokio, a zero byte at the start makes a path an abstract name.
        UnixName::Abstract(name) => tokio::net::UnixStream::connect(format!("\0{name}")).await,
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &str) -> io::Result<SocketAddr> {
    let text = "only Linux has abstract names";
    Err(io::Error::new(ErrorKind::Unsupported, text))
}
