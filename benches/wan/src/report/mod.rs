//! The figures, as rows, a table and a plot.

mod markdown;
mod plot;
mod row;
mod stages;

use std::fs;
use std::path::Path;

use anyhow::Result;

pub use self::row::Run;
use crate::run::Measured;
use crate::scenario;

#[derive(Default)]
pub struct Report {
    runs: Vec<Run>,
}

impl Report {
    /// Takes a measurement, and says on standard error that it is done.
    pub fn add(&mut self, measured: Measured) {
        let run = Run::new(measured);
        eprintln!("{run}");
        self.runs.push(run);
    }

    /// Takes the rows that an earlier run wrote, and puts those of one table
    /// together.
    pub fn read(&mut self, path: &Path) -> Result<()> {
        let runs: Vec<Run> = serde_json::from_str(&fs::read_to_string(path)?)?;
        self.runs.extend(runs);
        let place = |run: &Run| (scenario::place(&run.scenario), run.title());
        self.runs.sort_by_cached_key(place);
        Ok(())
    }

    pub fn rows(&self) -> &[Run] {
        &self.runs
    }

    pub fn markdown(&self) -> String {
        markdown::render(&self.runs)
    }

    pub fn plot(&self, path: &Path) -> Result<()> {
        plot::draw(&self.runs, path)
    }
}
