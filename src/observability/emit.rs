//! What goes to the recorder of the crate `metrics`, or nowhere without that feature.

#[cfg(feature = "metrics")]
pub(crate) use self::recorded::{Label, Level, count, record};

#[cfg(not(feature = "metrics"))]
pub(crate) use self::nothing::{Label, Level, count, record};

#[cfg(feature = "metrics")]
mod recorded {
    use std::time::Duration;

    pub(crate) use metrics::Label;
    use metrics::{Gauge, Recorder, counter, gauge, histogram, with_recorder};

    pub(crate) fn count(name: &'static str, labels: Vec<Label>, count: u64) {
        counter!(name, labels).increment(count);
    }

    pub(crate) fn record(name: &'static str, labels: Vec<Label>, time: Duration) {
        histogram!(name, labels).record(time);
    }

    /// What one thing adds to a gauge; taken back when it is dropped.
    ///
    /// The gauge is that of the recorder that got the value, so one that is installed
    /// later is never told of a fall without its rise.
    pub(crate) struct Level {
        name: &'static str,
        labels: Vec<Label>,
        recorder: usize,
        gauge: Gauge,
        value: f64,
    }

    impl Level {
        pub fn new(name: &'static str, labels: Vec<Label>, value: u64) -> Self {
            let gauge = gauge!(name, labels.clone());
            gauge.increment(value as f64);
            Level {
                name,
                labels,
                recorder: recorder(),
                gauge,
                value: value as f64,
            }
        }

        /// Moves what it adds, to the recorder that there is now.
        pub fn set(&mut self, value: u64) {
            let value = value as f64;
            let recorder = recorder();
            if recorder == self.recorder {
                self.gauge.increment(value - self.value);
            } else {
                self.gauge.decrement(self.value);
                self.gauge = gauge!(self.name, self.labels.clone());
                self.gauge.increment(value);
            }
            (self.recorder, self.value) = (recorder, value);
        }
    }

    impl Drop for Level {
        fn drop(&mut self) {
            self.gauge.decrement(self.value);
        }
    }

    impl std::fmt::Debug for Level {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple(self.name).field(&self.value).finish()
        }
    }

    /// Tells one recorder from another.
    fn recorder() -> usize {
        with_recorder(|recorder| std::ptr::from_ref::<dyn Recorder>(recorder).addr())
    }
}

#[cfg(not(feature = "metrics"))]
mod nothing {
    use std::time::Duration;

    #[derive(Clone, Debug)]
    pub(crate) struct Label;

    impl Label {
        pub fn new<V>(_: &'static str, _: V) -> Self {
            Label
        }
    }

    pub(crate) fn count(_: &'static str, _: Vec<Label>, _: u64) {}

    pub(crate) fn record(_: &'static str, _: Vec<Label>, _: Duration) {}

    #[derive(Debug)]
    pub(crate) struct Level;

    impl Level {
        pub fn new(_: &'static str, _: Vec<Label>, _: u64) -> Self {
            Level
        }

        pub fn set(&mut self, _: u64) {}
    }
}
