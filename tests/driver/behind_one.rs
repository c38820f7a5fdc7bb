//! Where a message is for one reader, the task runs again right behind it, so that its answer
//! leaves at once. Where nobody answers, it does not.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tcpchan::{Config, Connection};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

use crate::guard::within;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The task looks whether there is something to read.
    Looks,
    /// The application has read a message.
    Reads,
}

use Step::{Looks, Reads};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Step>>>);

impl Log {
    fn add(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }

    fn take(&self) -> Vec<Step> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Logged(DuplexStream, Log);

impl AsyncRead for Logged {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1.add(Looks);
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Logged {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The server's steps for each of four messages that come one after another.
async fn steps(answers: bool) -> Vec<Vec<Step>> {
    let (near, far) = duplex(1 << 20);
    let log = Log::default();
    let client = Connection::client(near, Config::default());
    let server = Connection::server(Logged(far, log.clone()), Config::default());
    let mut near = client.open().await.unwrap();
    near.write_u8(0).await.unwrap();
    let mut far = server.accept().await.unwrap();
    far.read_u8().await.unwrap();
    let reader = log.clone();
    tokio::spawn(async move {
        while let Ok(byte) = far.read_u8().await {
            reader.add(Reads);
            if answers {
                far.write_u8(byte).await.unwrap();
            }
        }
    });
    settle().await;
    let mut all = Vec::new();
    for _ in 0..4 {
        log.take();
        near.write_u8(1).await.unwrap();
        if answers {
            within(near.read_u8()).await.unwrap();
        }
        settle().await;
        all.push(log.take());
    }
    all
}

/// All tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_task_runs_behind_a_reader_that_answers() {
    for steps in steps(true).await {
        assert!(steps.starts_with(&[Looks, Reads, Looks]), "{steps:?}");
    }
}

#[tokio::test]
async fn the_task_does_not_run_behind_a_reader_that_did_not_answer_the_last_message() {
    for steps in steps(false).await.split_off(1) {
        assert!(steps.starts_with(&[Looks, Looks, Reads]), "{steps:?}");
    }
}
