//! Plain TCP and UDP, to measure the link itself by.

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::payload::{self, Check};

/// The bit of a request that makes its length that of an upload.
pub const UPLOAD: u64 = 1 << 63;

/// Sends back each datagram.
pub async fn echo(socket: UdpSocket) -> Result<()> {
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
    }
}

pub async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

/// Answers lengths with so many bytes, and uploads with their length.
async fn answer(stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    loop {
        let request = stream.read_u64().await?;
        match request & UPLOAD {
            0 => send(stream.get_mut(), request).await?,
            _ => {
                receive(&mut stream, request ^ UPLOAD).await?;
                stream.get_mut().write_u64(request ^ UPLOAD).await?;
            }
        }
    }
}

pub async fn send(stream: &mut TcpStream, length: u64) -> Result<()> {
    let mut sent = 0;
    while sent < length {
        let piece = payload::piece(sent, length - sent);
        stream.write_all(&piece).await?;
        sent += piece.len() as u64;
    }
    Ok(())
}

pub async fn receive(stream: &mut BufReader<TcpStream>, length: u64) -> Result<()> {
    let mut check = Check::default();
    let mut buffer = vec![0; 64 << 10];
    while check.seen() < length {
        let most = buffer.len().min((length - check.seen()) as usize);
        let read = stream.read(&mut buffer[..most]).await?;
        if read == 0 {
            break;
        }
        check.feed(&buffer[..read])?;
    }
    check.finish(length)
}
