//! What a look shows, as lines for a terminal of some width.

use super::cells::{Column, age, bytes, cut, fitting, milliseconds, padded, rate};
use crate::admin::document::{Connection, Document, Service};

const COLUMNS: [Column; 9] = [
    column("PEER", 24, true, 0),
    column("STATE", 10, true, 2),
    column("AGE", 7, false, 6),
    column("ROUND TRIP", 10, false, 1),
    column("STREAMS", 7, false, 1),
    column("RECEIVED", 10, false, 3),
    column("SENT", 10, false, 3),
    column("IN ALL", 8, false, 7),
    column("WHO", 40, true, 8),
];

const fn column(title: &'static str, width: usize, is_text: bool, rank: u8) -> Column {
    Column {
        title,
        width,
        is_text,
        rank,
    }
}

pub struct View<'a> {
    now: &'a Document,
    before: Option<&'a Document>,
    width: usize,
    colours: bool,
}

impl<'a> View<'a> {
    pub fn new(
        now: &'a Document,
        before: Option<&'a Document>,
        width: usize,
        colours: bool,
    ) -> Self {
        View {
            now,
            before,
            width,
            colours,
        }
    }

    pub fn lines(&self, address: &str) -> Vec<String> {
        let now = self.now;
        let streams: u64 = now
            .services
            .iter()
            .map(|service| service.streams.open)
            .sum();
        let connections: usize = now.services.iter().map(of_service).sum();
        let stopping = if now.stopping { ", stopping" } else { "" };
        let mut lines = vec![self.fit(&format!(
            "tcpchan {} at {address}, up {}{stopping}: {connections} connections, {streams} streams",
            now.version,
            age(now.uptime_seconds)
        ))];
        for service in &now.services {
            lines.push(String::new());
            lines.extend(self.service(service));
        }
        lines
    }

    fn service(&self, service: &Service) -> Vec<String> {
        let name = match service.name.is_empty() {
            true => service.mode.clone(),
            false => format!("{} ({})", service.name, service.mode),
        };
        let streams = service.streams;
        let mut lines = vec![
            self.bold(&self.fit(&format!("{name} on {}", service.listen.join(", ")))),
            self.fit(&format!(
                "streams: {} open, {} finished, {} refused, {} cut off",
                streams.open, streams.finished, streams.refused, streams.cut_off
            )),
            self.fit(&format!(
                "to clients {}, to services {}",
                rate(self.speed(service, |service| service.bytes_to_clients)),
                rate(self.speed(service, |service| service.bytes_to_services)),
            )),
        ];
        for target in &service.targets {
            let line = format!(
                "target {} is {}, {} streams",
                target.name, target.state, target.streams
            );
            lines.push(self.coloured(&self.fit(&line), &target.state));
        }
        let places = fitting(&COLUMNS, self.width);
        if !service.connections.is_empty() {
            let titles = places
                .iter()
                .map(|at| padded(COLUMNS[*at].title, &COLUMNS[*at]));
            lines.push(titles.collect::<Vec<_>>().join(" ").trim_end().to_owned());
        }
        let rows = service.connections.iter();
        lines.extend(rows.map(|connection| self.connection(connection, &places)));
        if service.connections_left_out > 0 {
            lines.push(format!("and {} more", service.connections_left_out));
        }
        lines
    }

    fn connection(&self, one: &Connection, places: &[usize]) -> String {
        let who = one.target.iter().chain(one.identity.iter().flatten());
        let cells = [
            one.peer.clone().unwrap_or("unknown".to_owned()),
            one.state.clone(),
            age(one.age_seconds),
            milliseconds(one.round_trip_ms),
            one.streams.open.to_string(),
            rate(one.received_bytes_per_second),
            rate(one.sent_bytes_per_second),
            bytes((one.received_bytes + one.sent_bytes) as f64),
            who.cloned().collect::<Vec<_>>().join(" "),
        ];
        let cells = places.iter().map(|at| {
            let cell = padded(&cells[*at], &COLUMNS[*at]);
            match COLUMNS[*at].title {
                "STATE" => self.coloured(&cell, &one.state),
                _ => cell,
            }
        });
        cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    /// Bytes a second since the look before.
    fn speed(&self, service: &Service, bytes: fn(&Service) -> u64) -> Option<f64> {
        let before = self.before?;
        let is_same = |old: &&Service| (&old.name, &old.mode) == (&service.name, &service.mode);
        let old = before.services.iter().find(is_same)?;
        let passed = self.now.uptime_seconds - before.uptime_seconds;
        let more = bytes(service).checked_sub(bytes(old))?;
        (passed > 0.0).then(|| more as f64 / passed)
    }

    fn fit(&self, line: &str) -> String {
        cut(line, self.width)
    }

    fn bold(&self, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[1m{text}\x1b[m"),
            false => text.to_owned(),
        }
    }

    fn coloured(&self, text: &str, state: &str) -> String {
        let colour = match state {
            "up" => 32,
            "down" => 31,
            _ => 33,
        };
        match self.colours {
            true => format!("\x1b[{colour}m{text}\x1b[m"),
            false => text.to_owned(),
        }
    }
}

fn of_service(service: &Service) -> usize {
    service.connections.len() + service.connections_left_out
}
