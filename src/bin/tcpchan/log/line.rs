//! A line: time, level, what happened, and the fields of the event and of the spans around it.
//!
//! tracing-subscriber's own JSON has no fields of a span that an event names as its parent, and
//! its text has some values quoted and others not.

use std::error::Error;
use std::fmt::{self, Debug, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::failure::in_a_line;

/// Formats events, as text for people or as a JSON object.
pub struct Lines {
    pub json: bool,
}

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let level = event.metadata().level().as_str();
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flatten() {
            if let Some(formatted) = span.extensions().get::<FormattedFields<JsonFields>>() {
                let of_span: Map<String, Value> =
                    serde_json::from_str(formatted).unwrap_or_default();
                fields.others.extend(of_span);
            }
        }
        match self.json {
            true => writeln!(writer, "{}", fields.json(&time, level)),
            false => writeln!(writer, "{time} {level:<5} {}", fields.text()),
        }
    }
}

/// What an event says, in its order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn json(self, time: &str, level: &str) -> String {
        let first = [
            ("time", time),
            ("level", &level.to_lowercase()),
            ("message", &self.message),
        ];
        let first = first.map(|(key, value)| (key.to_owned(), value.into()));
        let members = first.into_iter().chain(self.others);
        let members: Vec<String> = members
            .map(|(key, value)| format!("{}:{value}", Value::from(key)))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn text(self) -> String {
        let mut line = self.message;
        for (key, value) in self.others {
            let _ = match value {
                Value::String(text) if is_plain(&text) => write!(line, " {key}={text}"),
                Value::String(text) => write!(line, " {key}={text:?}"),
                value => write!(line, " {key}={value}"),
            };
        }
        line
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push((field.name().to_owned(), value.into()));
    }
}

/// Whether a reader sees where the text ends.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=');
    !text.is_empty() && text.chars().all(plain)
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, in_a_line(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}
