//! The configuration file: many services, each a table.

mod options;
mod origin;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Command, FromArgMatches};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use self::options::Set;
pub use self::origin::Origin;
use self::origin::{Table, Wrong};
use crate::args::process_options;
use crate::failure::Failure;
use crate::label::Label;
use crate::service::{Mode, Spec};

/// What a file says.
pub struct Config {
    /// The options outside of tables.
    pub process: Vec<Set>,
    pub services: Vec<Spec>,
}

impl Config {
    /// Reads a file. What is wrong with it is told with its line and key, all at once.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::wrong(vec![format!("{}: {error}", path.display())]))?;
        Reader {
            file: path.into(),
            text: &text,
            wrong: Wrong::default(),
        }
        .config()
    }
}

struct Reader<'a> {
    file: Arc<Path>,
    text: &'a str,
    wrong: Wrong,
}

impl Reader<'_> {
    fn config(mut self) -> Result<Config, Failure> {
        let mut root = match DeTable::parse(self.text) {
            Ok(root) => root.into_inner(),
            Err(error) => {
                let line = self.line_of(error.span().unwrap_or_default());
                let message = error.message();
                let line = format!("{}:{line}: {message}", self.file.display());
                return Err(Failure::wrong(vec![line]));
            }
        };
        let services = root.remove("service");
        let (command, mut table) = (process_options(), self.table("", 0..0));
        let mut wrong = std::mem::take(&mut self.wrong);
        let line_of = |span| self.line_of(span);
        let process = options::set_by(&root, &command, &mut table, line_of, &mut wrong);
        options::matches(process.clone(), &command, &table, &mut wrong);
        self.wrong = wrong;
        let services = self.services(services);
        let wrong = self.wrong.lines();
        match wrong.is_empty() {
            true => Ok(Config { process, services }),
            false => Err(Failure::wrong(wrong)),
        }
    }

    fn services(&mut self, services: Option<Spanned<DeValue<'_>>>) -> Vec<Spec> {
        let root = self.table("", 0..0);
        let Some(services) = services else {
            self.wrong.add(
                &root,
                "service",
                "there is none: add a table [service.NAME]",
            );
            return Vec::new();
        };
        let DeValue::Table(services) = services.into_inner() else {
            self.wrong
                .add(&root, "service", "it must be tables, each [service.NAME]");
            return Vec::new();
        };
        let mut specs = Vec::new();
        for (name, value) in services {
            let span = name.span();
            let table = self.table(&format!("service.{}", name.get_ref()), span);
            match value.into_inner() {
                DeValue::Table(keys) => specs.extend(self.service(name.get_ref(), keys, table)),
                _ => self.wrong.add(&table, "mode", "it must be in a table"),
            }
        }
        specs
    }

    fn service(&mut self, name: &str, mut keys: DeTable<'_>, mut table: Table) -> Option<Spec> {
        if !name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        {
            let what = "a service's name has letters, digits, and - _ . only";
            self.wrong.add(&table, "mode", what);
        }
        let mode = keys.remove_entry("mode").map(|(key, mode)| {
            let line = self.line_of(key.span());
            table.lines.insert("mode".to_owned(), line);
            mode
        });
        let mode = mode.as_ref().and_then(|mode| mode.get_ref().as_str());
        let read = match mode {
            Some("relay") => Reader::relay,
            Some("serve") => Reader::serve,
            Some("hub") => Reader::hub,
            Some("publish") => Reader::publish,
            Some(_) | None => {
                self.wrong.add(
                    &table,
                    "mode",
                    "it must be \"relay\", \"serve\", \"hub\" or \"publish\"",
                );
                return None;
            }
        };
        let mode = read(self, &keys, &mut table)?;
        Some(Spec {
            label: Label::new(name),
            mode,
            origin: Origin::Table(table),
        })
    }

    fn relay(&mut self, keys: &DeTable<'_>, table: &mut Table) -> Option<Mode> {
        self.options(keys, table).map(Mode::Relay)
    }

    fn serve(&mut self, keys: &DeTable<'_>, table: &mut Table) -> Option<Mode> {
        self.options(keys, table).map(Mode::Serve)
    }

    fn hub(&mut self, keys: &DeTable<'_>, table: &mut Table) -> Option<Mode> {
        self.options(keys, table).map(Mode::Hub)
    }

    fn publish(&mut self, keys: &DeTable<'_>, table: &mut Table) -> Option<Mode> {
        self.options(keys, table).map(Mode::Publish)
    }

    fn options<T: Args + FromArgMatches>(
        &mut self,
        keys: &DeTable<'_>,
        table: &mut Table,
    ) -> Option<T> {
        let command = T::augment_args(Command::new("service"));
        let mut wrong = std::mem::take(&mut self.wrong);
        let line_of = |span| self.line_of(span);
        let set = options::set_by(keys, &command, table, line_of, &mut wrong);
        let matches = options::matches(set, &command, table, &mut wrong);
        self.wrong = wrong;
        T::from_arg_matches(&matches?).ok()
    }

    fn table(&self, name: &str, span: Range<usize>) -> Table {
        Table {
            file: self.file.clone(),
            name: name.to_owned(),
            line: self.line_of(span),
            lines: HashMap::new(),
        }
    }

    fn line_of(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or_default();
        1 + before.matches('\n').count()
    }
}
