//! The results as bars: a panel for each row, a bar for each way.

use std::path::Path;

use clap::ValueEnum;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{bytes, rate};
use crate::row::{ROWS, Row, Way};
use crate::summary::Results;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLUMNS: usize = 2;
const BAR: i32 = 17;
const PANEL: (i32, i32) = (470, 40 + 10 * BAR);
/// Where bars start and how long the longest is.
const BARS: (i32, i32) = (100, 300);

const OURS: RGBColor = RGBColor(31, 119, 180);
const TCP: RGBColor = RGBColor(90, 90, 90);
const PEER: RGBColor = RGBColor(174, 199, 232);

/// The rows that have a target, and all of bulk: those that the README speaks of.
fn rows() -> Vec<&'static Row> {
    let shown = |row: &&Row| row.target.is_some() || row.is_bulk();
    ROWS.iter().filter(shown).collect()
}

pub fn draw(results: &Results, path: &Path) -> anyhow::Result<()> {
    let rows = rows();
    let lines = rows.len().div_ceil(COLUMNS);
    let size = (
        PANEL.0 as u32 * COLUMNS as u32,
        PANEL.1 as u32 * lines as u32,
    );
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, row) in area.split_evenly((lines, COLUMNS)).iter().zip(rows) {
        draw_row(results, row, panel)?;
    }
    Ok(area.present()?)
}

/// The height of a bar: times plain TCP, or bytes.
fn value(results: &Results, row: &Row, way: Way) -> Option<f64> {
    let found = match row.is_memory() {
        true => results.of(row.name, way, bytes),
        false => results.ratio((row.name, way), (row.name, Way::Tcp), rate),
    };
    found.map(|found| found.median)
}

fn draw_row(results: &Results, row: &Row, panel: &Area<'_>) -> anyhow::Result<()> {
    let text = |size: i32, position| {
        let style = TextStyle::from(("sans-serif", size).into_font());
        style.pos(position)
    };
    let title = match row.is_memory() {
        true => row.label.to_owned(),
        false => format!("{} (times plain TCP)", row.label),
    };
    let left = text(13, Pos::new(HPos::Left, VPos::Center));
    let right = text(12, Pos::new(HPos::Right, VPos::Center));
    panel.draw(&Text::new(title, (10, 16), left.clone()))?;
    let ways = Way::value_variants()
        .iter()
        .copied()
        .filter(|way| row.runs(*way));
    let most = ways
        .clone()
        .filter_map(|way| value(results, row, way))
        .fold(0.0, f64::max);
    for (i, way) in ways.enumerate() {
        let middle = 38 + i as i32 * BAR;
        let found = value(results, row, way);
        let length = (found.unwrap_or(0.0) / most * f64::from(BARS.1)) as i32;
        let label = match found {
            Some(found) if row.is_memory() => format!("{found:.0}"),
            Some(found) => format!("{found:.2}"),
            None => results.missing(row.name, way).to_owned(),
        };
        let corners = [(BARS.0, middle - 6), (BARS.0 + length, middle + 6)];
        panel.draw(&Rectangle::new(corners, colour(way).filled()))?;
        panel.draw(&Text::new(way.label(), (BARS.0 - 6, middle), right.clone()))?;
        panel.draw(&Text::new(
            label,
            (BARS.0 + length + 5, middle),
            left.clone(),
        ))?;
    }
    Ok(())
}

fn colour(way: Way) -> RGBColor {
    match way {
        Way::Tcpchan | Way::TcpchanV0 => OURS,
        Way::Tcp => TCP,
        _ => PEER,
    }
}
