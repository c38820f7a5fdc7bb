//! An event stream: each event is the time at which it was sent. Both ends have the
//! same clock, since they run on one machine.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::time::interval;

/// Bytes of an event.
const EVENT: usize = 8;

/// An event now and after each such time.
pub fn stream(every: Duration) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold(interval(every), |mut tick| async move {
        tick.tick().await;
        let stamp = now().as_micros() as u64;
        Some((Ok(Bytes::copy_from_slice(&stamp.to_be_bytes())), tick))
    })
}

/// Reads events as their bytes come in.
#[derive(Default)]
pub struct Ages {
    rest: BytesMut,
}

impl Ages {
    /// How long the events that are complete now were on their way, in seconds.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<f64> {
        self.rest.extend_from_slice(bytes);
        let mut ages = Vec::new();
        while let Some((event, _)) = self.rest.split_first_chunk::<EVENT>() {
            let sent = Duration::from_micros(u64::from_be_bytes(*event));
            ages.push(now().saturating_sub(sent).as_secs_f64());
            let _ = self.rest.split_to(EVENT);
        }
        ages
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_once_it_is_complete() {
        let mut ages = Ages::default();
        let sent = (now() - Duration::from_secs(2)).as_micros() as u64;
        let events = [sent.to_be_bytes(), sent.to_be_bytes()].concat();
        assert!(ages.feed(&events[..7]).is_empty());
        let ages = ages.feed(&events[7..]);
        assert_eq!(ages.len(), 2);
        assert!(ages.iter().all(|age| (2.0..3.0).contains(age)), "{ages:?}");
    }
}
