//! Where an option was set, for those who must change it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::failure::Problem;

/// Where the options of a service come from.
#[derive(Clone, Debug)]
pub enum Origin {
    Arguments,
    Table(Table),
}

/// A table of a file.
#[derive(Clone, Debug)]
pub struct Table {
    pub file: Arc<Path>,
    /// Such as `service.web`; empty for the keys outside of tables.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// Where each key is.
    pub lines: HashMap<String, usize>,
}

impl Origin {
    /// A line about a problem.
    pub fn tell(&self, problem: &Problem) -> String {
        match self {
            Origin::Arguments => format!("--{}: {problem}", problem.option),
            Origin::Table(table) => table.tell(problem.option, problem),
        }
    }
}

/// What is wrong with a file: the number of a line, and what to say of it.
#[derive(Default)]
pub struct Wrong(Vec<(usize, String)>);

impl Wrong {
    pub fn add(&mut self, table: &Table, key: &str, what: impl fmt::Display) {
        self.0.push((table.line_of(key), table.tell(key, what)));
    }

    /// In the order of the file.
    pub fn lines(mut self) -> Vec<String> {
        self.0.sort();
        self.0.into_iter().map(|(_, line)| line).collect()
    }
}

impl Table {
    fn line_of(&self, key: &str) -> usize {
        *self.lines.get(key).unwrap_or(&self.line)
    }

    /// A line about a key of the table.
    fn tell(&self, key: &str, what: impl fmt::Display) -> String {
        let line = self.line_of(key);
        let key = match self.name.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.name),
        };
        format!("{}:{line}: {key}: {what}", self.file.display())
    }
}
