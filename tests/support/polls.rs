//! Futures that are polled so many times and dropped.
#![allow(dead_code)]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Polls a future up to `most` times, a millisecond apart, and drops it; its
/// output if it came.
pub async fn poll_up_to<F: Future>(most: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..most {
        let poll = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
        if let Poll::Ready(output) = poll.await {
            return Some(output);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    None
}

/// Polls a future up to `most` times, each time when it asks for it, and drops
/// it; its output if it came.
pub async fn wake_up_to<F: Future>(most: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == most {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Pending if polls == most => Poll::Ready(None),
            poll => poll.map(Some),
        }
    })
    .await
}
