//! Callers that want a channel of a connector.

use super::emit::Label;

/// A caller from its first poll to its channel. Dropping it says that it went away.
#[derive(Debug)]
pub(crate) struct Opening {
    #[cfg(feature = "metrics")]
    caller: recorded::Caller,
}

impl Opening {
    pub fn begin(labels: Vec<Label>) -> Self {
        Opening {
            #[cfg(feature = "metrics")]
            caller: recorded::Caller::new(labels),
        }
    }

    /// It found no channel at once.
    pub fn waits(&mut self) {
        #[cfg(feature = "metrics")]
        self.caller.waits();
    }

    /// It has its channel, or else an error of this kind.
    pub fn ends(mut self, error: Option<&'static str>) {
        #[cfg(feature = "metrics")]
        self.caller.ends(error);
    }
}

#[cfg(feature = "metrics")]
mod recorded {
    use crate::observability::emit::{Label, Level, record};

    #[derive(Debug)]
    pub struct Caller {
        since: tokio::time::Instant,
        labels: Vec<Label>,
        waits: Option<Level>,
        /// The kind of error, if it is one.
        result: Option<&'static str>,
    }

    impl Caller {
        pub fn new(labels: Vec<Label>) -> Self {
            Caller {
                since: tokio::time::Instant::now(),
                labels,
                waits: None,
                result: Some("cancelled"),
            }
        }

        pub fn waits(&mut self) {
            let waits = || Level::new("tcpchan_waiting_callers", self.labels.clone(), 1);
            self.waits.get_or_insert_with(waits);
        }

        pub fn ends(&mut self, error: Option<&'static str>) {
            self.result = error;
        }
    }

    impl Drop for Caller {
        fn drop(&mut self) {
            let mut labels = std::mem::take(&mut self.labels);
            labels.extend(self.result.map(|kind| Label::new("error_type", kind)));
            let took = self.since.elapsed();
            record("tcpchan_open_duration_seconds", labels, took);
        }
    }
}
