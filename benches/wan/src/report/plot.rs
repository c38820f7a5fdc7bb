//! The plot: a panel for each table; on a way's line, a dot at the median of
//! each phase and a stroke to its 99th percentile.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::row::{Phase, Run};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLUMNS: usize = 2;
const PANEL: (u32, u32) = (560, 280);
const COLOURS: [RGBColor; 4] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
];

pub fn draw(runs: &[Run], path: &Path) -> Result<()> {
    let panels = runs.chunk_by(|a, b| a.title() == b.title());
    // Those with stages have too many figures for a panel.
    let panels: Vec<_> = panels
        .filter(|runs| !runs.iter().any(Run::has_stages))
        .collect();
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32);
    let whole = SVGBackend::new(path, size).into_drawing_area();
    let drawn = whole.fill(&WHITE).map_err(|error| error.to_string());
    let drawn = drawn.and_then(|()| {
        let areas = whole.split_evenly((rows, COLUMNS));
        let mut pairs = panels.iter().zip(&areas);
        pairs.try_for_each(|(runs, area)| panel(runs, area).map_err(|error| error.to_string()))
    });
    drawn.map_err(|error| anyhow!("the plot: {error}"))?;
    Ok(whole.present()?)
}

fn panel(runs: &[Run], area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    let phases = || runs.iter().flat_map(|run| &run.phases);
    let most = phases().map(|phase| phase.p99).fold(2.0, f64::max);
    let title = runs.first().map(Run::title).unwrap_or_default();
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 13))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(110)
        .build_cartesian_2d(
            (0.9..most * 2.0).log_scale(),
            (0..runs.len() - 1).into_segmented(),
        )?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(runs.len())
        .y_label_formatter(&|line| {
            match line {
                SegmentValue::CenterOf(at) => runs.get(*at).map(|run| run.way.to_string()),
                _ => None,
            }
            .unwrap_or_default()
        })
        .x_label_formatter(&|trips| ((trips * 100.0).round() / 100.0).to_string())
        .light_line_style(TRANSPARENT)
        .x_desc("round trips, p50 to p99")
        .draw()?;
    for (name, colour) in names(runs).into_iter().zip(COLOURS.iter().cycle()) {
        let marks = runs.iter().enumerate().flat_map(|(at, run)| {
            let phase = run.phases.iter().find(|phase| phase.name == name);
            phase.map(|phase| mark(at, phase, *colour))
        });
        let (dots, strokes): (Vec<_>, Vec<_>) = marks.unzip();
        chart.draw_series(strokes)?;
        chart
            .draw_series(dots)?
            .label(name)
            .legend(|(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()?;
    Ok(())
}

/// The phases, in the order in which they first appear.
fn names(runs: &[Run]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for phase in runs.iter().flat_map(|run| &run.phases) {
        if !names.contains(&phase.name.as_str()) {
            names.push(&phase.name);
        }
    }
    names
}

type Point = (f64, SegmentValue<usize>);

fn mark(at: usize, phase: &Phase, colour: RGBColor) -> (Circle<Point, i32>, PathElement<Point>) {
    let point = |trips: f64| (trips, SegmentValue::CenterOf(at));
    let dot = Circle::new(point(phase.p50), 4, colour.filled());
    let stroke = PathElement::new([point(phase.p50), point(phase.p99)], colour.stroke_width(2));
    (dot, stroke)
}
