//! What a service and a hub say before they speak tcpchan: three lines.
//!
//! The hub sends `tcpchan-hub/1 NONCE`, the service `NAME CODE`, and the hub `ok` or
//! `no REASON`. The code is an HMAC of name and nonce by the name's key, or `-`.

use std::io::{self, ErrorKind};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::keys::Keys;

const VERSION: &str = "tcpchan-hub/1";

/// Bytes of a line, with its end.
const LONGEST: usize = 256;

/// A service's side: tells its name, and waits until the hub takes it.
pub async fn send(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    name: &str,
    keys: Option<&Keys>,
) -> io::Result<()> {
    let line = read_line(io).await?;
    let nonce = match line.split_once(' ') {
        Some((VERSION, nonce)) => nonce,
        _ => return Err(io::Error::other("it is no hub of this version of tcpchan")),
    };
    let code = keys.and_then(|keys| keys.sign(name, nonce));
    let code = code.map_or("-".to_owned(), |code| hex(&code));
    write_line(io, &format!("{name} {code}")).await?;
    let answer = read_line(io).await?;
    match answer.strip_prefix("no ") {
        _ if answer == "ok" => Ok(()),
        Some(reason) => Err(io::Error::other(format!("the hub refuses: {reason}"))),
        None => Err(io::Error::other("the hub's answer makes no sense")),
    }
}

/// A hub's side: the name of a service, once `check` has let it in by its name, the nonce and
/// its code. What `check` says otherwise is for the log; the service learns nothing of it.
pub async fn receive(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    check: impl FnOnce(&str, &str, &[u8]) -> Result<(), String>,
) -> io::Result<String> {
    let mut nonce = [0; 32];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map_err(|_| io::Error::other("the system has no random numbers"))?;
    let nonce = hex(&nonce);
    write_line(io, &format!("{VERSION} {nonce}")).await?;
    let line = read_line(io).await?;
    let (name, code) = line.split_once(' ').unwrap_or((&line, ""));
    let code = unhex(code).unwrap_or_default();
    if let Err(reason) = check(name, &nonce, &code) {
        write_line(io, "no its name and key or certificate are not known here").await?;
        let text = format!("{reason} (its name: {name:?})");
        return Err(io::Error::new(ErrorKind::PermissionDenied, text));
    }
    write_line(io, "ok").await?;
    Ok(name.to_owned())
}

async fn write_line(io: &mut (impl AsyncWrite + Unpin), line: &str) -> io::Result<()> {
    io.write_all(format!("{line}\n").as_bytes()).await?;
    io.flush().await
}

/// Reads nothing behind the line: what follows is tcpchan's.
async fn read_line(io: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        match io.read_u8().await? {
            b'\n' => break,
            _ if line.len() == LONGEST => return Err(invalid("a line is too long")),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| invalid("a line is no text"))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect()
}
