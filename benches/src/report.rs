//! The results as tables.

use std::fmt::Write;

use clap::ValueEnum;

use crate::measure::Measured;
use crate::row::{ROWS, Row, Way};
use crate::summary::Results;

pub fn rate(measured: &Measured) -> f64 {
    measured.rate
}

fn cpu(measured: &Measured) -> f64 {
    measured.cpu
}

pub fn bytes(measured: &Measured) -> f64 {
    measured.bytes.unwrap_or(f64::NAN)
}

/// Writes tables of the rows and ways that were run.
struct Tables<'a> {
    results: &'a Results,
    ways: Vec<Way>,
    text: String,
}

pub fn tables(results: &Results) -> String {
    let ran = |way: &Way| results.entries.iter().any(|entry| entry.way == *way);
    let ways = Way::value_variants().iter().copied().filter(ran).collect();
    let mut tables = Tables {
        results,
        ways,
        text: String::new(),
    };
    tables.head();
    tables.times_tcp();
    tables.cpu();
    tables.counts();
    tables.scale();
    tables.memory();
    tables.text
}

/// Three digits, as many as the rounds agree on.
pub fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.2} G", value / 1e9),
        value if value >= 1e6 => format!("{:.1} M", value / 1e6),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

impl Tables<'_> {
    fn rows(&self) -> Vec<&'static Row> {
        let ran = |row: &&Row| {
            self.results
                .entries
                .iter()
                .any(|entry| entry.row == row.name)
        };
        ROWS.iter().filter(ran).collect()
    }

    fn line(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// A table with a column for each way, of rows that have any cell.
    fn table(
        &mut self,
        title: &str,
        more: &[&str],
        rows: Vec<&'static Row>,
        cell: impl Fn(&Results, &Row, Way) -> String,
        last: impl Fn(&Results, &Row) -> Vec<String>,
    ) {
        if rows.is_empty() {
            return;
        }
        let _ = writeln!(self.text, "\n## {title}\n");
        let ways = self.ways.clone();
        let names = ways.iter().map(|way| way.label().to_owned());
        let more = more.iter().map(|head| (*head).to_owned());
        let head: Vec<_> = ["work".to_owned()]
            .into_iter()
            .chain(names)
            .chain(more)
            .collect();
        let width = head.len() - 1;
        self.line(head);
        let rule = std::iter::repeat_n("---:".to_owned(), width);
        self.line(["---".to_owned()].into_iter().chain(rule));
        for row in rows {
            let cells: Vec<_> = ways
                .iter()
                .map(|way| cell(self.results, row, *way))
                .collect();
            let label = [format!("{} (`{}`)", row.label, row.name)];
            let last = last(self.results, row);
            self.line(label.into_iter().chain(cells).chain(last));
        }
    }

    fn head(&mut self) {
        let rounds = self
            .results
            .entries
            .iter()
            .map(|entry| entry.round + 1)
            .max();
        let others = self.results.others();
        let _ = writeln!(
            self.text,
            "{}\n\nMedians of {} rounds of {} s for each row and way. Other programs used \
             {:.2} cores meanwhile, at most {:.2}.",
            self.results.machine,
            rounds.unwrap_or(0),
            self.results.seconds,
            others.map_or(0.0, |others| others.median),
            others.map_or(0.0, |others| others.most),
        );
    }

    fn times_tcp(&mut self) {
        let compared = |row: &&Row| row.runs(Way::Tcp) && !row.is_memory();
        let rows = self.rows().into_iter().filter(compared).collect();
        let cell = |results: &Results, row: &Row, way| {
            let ratio = results.ratio((row.name, way), (row.name, Way::Tcp), rate);
            match ratio {
                Some(ratio) => format!("{:.2}", ratio.median),
                None => results.missing(row.name, way).to_owned(),
            }
        };
        let last = |results: &Results, row: &Row| {
            let ours = results.ratio((row.name, Way::Tcpchan), (row.name, Way::Tcp), rate);
            let spread = ours.map(|s| format!("{:.2} to {:.2}", s.least, s.most));
            let target = row.target.map(|target| format!("{target:.2}"));
            let tcp = results.of(row.name, Way::Tcp, rate);
            let tcp = tcp.map(|s| short(s.median));
            [spread, target, tcp]
                .map(Option::unwrap_or_default)
                .to_vec()
        };
        let more = [
            "tcpchan's rounds",
            "tcpchan's target",
            "plain TCP, each second",
        ];
        self.table("Throughput, times plain TCP", &more, rows, cell, last);
    }

    fn cpu(&mut self) {
        let rows = self
            .rows()
            .into_iter()
            .filter(|row| !row.is_memory())
            .collect();
        let cell = |results: &Results, row: &Row, way| match results.of(row.name, way, cpu) {
            Some(cpu) => short(cpu.median * row.unit()),
            None => results.missing(row.name, way).to_owned(),
        };
        let title = "CPU time of both ends, microseconds for each operation (bulk: each MiB)";
        self.table(title, &[], rows, cell, |_, _| Vec::new());
    }

    fn counts(&mut self) {
        if self.results.counts.is_empty() {
            return;
        }
        let counted = || {
            self.rows()
                .into_iter()
                .filter(|row| row.is_counted())
                .collect::<Vec<_>>()
        };
        let (rows, again) = (counted(), counted());
        let text = |count: Option<f64>, row: &Row| {
            count
                .map(|count| short(count * row.unit()))
                .unwrap_or_default()
        };
        let calls = |results: &Results, row: &Row, way| {
            let counts = results.counts(row.name, way);
            text(counts.and_then(|counts| counts.system_calls), row)
        };
        let title = "System calls of both ends for each operation (bulk: each MiB)";
        self.table(title, &[], rows, calls, |_, _| Vec::new());
        let allocations = |results: &Results, row: &Row, way| {
            let counts = results.counts(row.name, way);
            text(counts.and_then(|counts| counts.allocations), row)
        };
        let title = "Allocations of both ends for each operation (bulk: each MiB)";
        self.table(title, &[], again, allocations, |_, _| Vec::new());
    }

    fn scale(&mut self) {
        let many = |row: &&Row| row.is_scale() && row.name != "echo64";
        let rows: Vec<_> = self.rows().into_iter().filter(many).collect();
        let cell = |figure: fn(&Measured) -> f64| {
            move |results: &Results, row: &Row, way| match results.ratio(
                (row.name, way),
                ("echo64", way),
                figure,
            ) {
                Some(ratio) => format!("{:.2}", ratio.median),
                None => results.missing(row.name, way).to_owned(),
            }
        };
        let title = "Throughput, times the same way's with 64 streams";
        self.table(title, &[], rows.clone(), cell(rate), |_, _| Vec::new());
        let title = "CPU time for each echo, times the same way's with 64 streams";
        self.table(title, &[], rows, cell(cpu), |_, _| Vec::new());
    }

    fn memory(&mut self) {
        let rows = self
            .rows()
            .into_iter()
            .filter(|row| row.is_memory())
            .collect();
        let cell = |results: &Results, row: &Row, way| match results.of(row.name, way, bytes) {
            Some(bytes) => format!("{:.0}", bytes.median),
            None => results.missing(row.name, way).to_owned(),
        };
        let last = |_: &Results, row: &Row| {
            vec![
                row.target
                    .map(|target| format!("{target:.0}"))
                    .unwrap_or_default(),
            ]
        };
        let title = "Memory (plain TCP: without the kernel's)";
        self.table(title, &["tcpchan's target"], rows, cell, last);
    }
}
