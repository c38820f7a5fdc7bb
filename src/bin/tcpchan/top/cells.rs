//! Values as people read them, and rows of them that fit a terminal.

use std::time::Duration;

/// A column, if the terminal is wide enough for it.
pub struct Column {
    pub title: &'static str,
    pub width: usize,
    pub is_text: bool,
    /// The highest go first.
    pub rank: u8,
}

/// Which columns fit, by their places.
pub fn fitting(columns: &[Column], width: usize) -> Vec<usize> {
    let mut fitting: Vec<usize> = (0..columns.len()).collect();
    let needs = |kept: &[usize]| -> usize { kept.iter().map(|at| columns[*at].width + 1).sum() };
    while needs(&fitting) > width + 1 && fitting.len() > 1 {
        let first = fitting.iter().copied().max_by_key(|at| columns[*at].rank);
        fitting.retain(|at| Some(*at) != first);
    }
    fitting
}

/// A cell with the width of its column.
pub fn padded(text: &str, column: &Column) -> String {
    let text = cut(text, column.width);
    match column.is_text {
        true => format!("{text:<0$}", column.width),
        false => format!("{text:>0$}", column.width),
    }
}

/// At most so many characters, none of which moves the cursor.
pub fn cut(text: &str, width: usize) -> String {
    let safe = text.chars().map(|c| if c.is_control() { '?' } else { c });
    match text.chars().count() > width {
        false => safe.collect(),
        true => safe.take(width.saturating_sub(1)).chain(['~']).collect(),
    }
}

pub fn bytes(value: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (value, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match unit {
        0 => 0,
        _ if value < 9.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

pub fn rate(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{}/s", bytes(value)))
}

pub fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2} ms"),
        Some(value) => format!("{value:.0} ms"),
    }
}

/// The two largest units.
pub fn age(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs());
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_unit_that_fits() {
        let shown = [0.0, 999.0, 999.6, 1234.0, 56_789.0, 999_600.0].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "1.2 kB", "57 kB", "1.0 MB"]
        );
        let shown = [5.0, 61.0, 7384.0, 90_000.0].map(age);
        assert_eq!(shown, ["5s", "1m1s", "2h3m", "1d1h"]);
        assert_eq!(milliseconds(Some(0.214)), "0.21 ms");
        assert_eq!(rate(None), "-");
    }

    #[test]
    fn a_cell_moves_no_cursor_and_keeps_its_width() {
        let column = Column {
            title: "",
            width: 5,
            is_text: true,
            rank: 0,
        };
        assert_eq!(padded("a\x1b[2J", &column), "a?[2J");
        assert_eq!(padded("abcdef", &column), "abcd~");
        assert_eq!(padded("ab", &column), "ab   ");
    }

    #[test]
    fn the_columns_of_the_highest_rank_go_first() {
        let column = |width, rank| Column {
            title: "",
            width,
            is_text: true,
            rank,
        };
        let columns = [column(10, 0), column(10, 2), column(10, 1)];
        assert_eq!(fitting(&columns, 32), [0, 1, 2]);
        assert_eq!(fitting(&columns, 31), [0, 2]);
        assert_eq!(fitting(&columns, 3), [0]);
    }
}
