//! The lines of a test's thread, by tracing's own subscriber.
#![cfg(feature = "tracing")]

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};

/// While there is one subscriber alone, what another thread meets first is disabled in all
/// of them by tracing, as of no interest to that thread.
static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// What the subscriber of this thread wrote.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn start(level: Level) -> (Log, DefaultGuard) {
        LazyLock::force(&OTHER);
        let log = Log::default();
        let to = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .with_writer(move || to.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The one line with all of these.
    pub fn line(&self, parts: &[&str]) -> String {
        let text = self.text();
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        let lines: Vec<&str> = text.lines().filter(has_all).collect();
        assert_eq!(lines.len(), 1, "{parts:?} in:\n{text}");
        lines[0].to_owned()
    }
}
