//! The plot.
use std::path::Path;

use anyhow::Result;

use super::Run;

pub fn draw(_: &[Run], _: &Path) -> Result<()> {
    anyhow::bail!("not yet")
}
