//! A table of TOML as options: its keys are those of the command line.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use clap::builder::{ArgAction, ValueHint};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{Table, Wrong};
use crate::args::options_of;
use crate::failure::in_a_line;

/// An option that a key has set, as words of a command line.
#[derive(Clone, Debug)]
pub struct Set {
    pub key: String,
    /// Its name in clap's matches.
    pub id: String,
    pub words: Vec<OsString>,
}

/// The options that the keys set. What is wrong with a key goes to `wrong`.
pub fn set_by(
    keys: &DeTable<'_>,
    command: &Command,
    table: &mut Table,
    line_of: impl Fn(Range<usize>) -> usize,
    wrong: &mut Wrong,
) -> Vec<Set> {
    let mut set = Vec::new();
    for (key, value) in keys {
        let name: &str = key.get_ref();
        table.lines.insert(name.to_owned(), line_of(key.span()));
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name));
        let Some(arg) = arg else {
            wrong.add(table, name, unknown(name, command));
            continue;
        };
        match words(arg, name, value, &table.file) {
            Ok(words) => set.push(Set {
                key: name.to_owned(),
                id: arg.get_id().to_string(),
                words,
            }),
            Err(what) => wrong.add(table, name, what),
        }
    }
    set
}

/// What clap makes of the options. What is wrong with one goes to `wrong`.
pub fn matches(
    mut set: Vec<Set>,
    command: &Command,
    table: &Table,
    wrong: &mut Wrong,
) -> Option<ArgMatches> {
    let mut is_whole = true;
    loop {
        let words = set.iter().flat_map(|set| set.words.clone());
        let command = command.clone().no_binary_name(true);
        let error = match command.try_get_matches_from(words) {
            Ok(matches) => return is_whole.then_some(matches),
            Err(error) => error,
        };
        let names = options_of(&error);
        if error.kind() == ErrorKind::MissingRequiredArgument {
            // What is there and wrong, and so left out, is not missing.
            let missing = names
                .into_iter()
                .filter(|name| !table.lines.contains_key(*name));
            missing.for_each(|name| wrong.add(table, name, "it is missing"));
            return None;
        }
        let Some(name) = names.first().map(|name| (*name).to_owned()) else {
            wrong.add(table, "", in_a_line(&error));
            return None;
        };
        wrong.add(table, &name, why(&error));
        set.retain(|set| set.key != name);
        is_whole = false;
    }
}

fn unknown(name: &str, command: &Command) -> String {
    let word = format!("--{name}");
    let error = command
        .clone()
        .no_binary_name(true)
        .try_get_matches_from([word]);
    let near = error
        .err()
        .and_then(|error| match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(near)) => near.strip_prefix("--").map(str::to_owned),
            _ => None,
        });
    match near {
        Some(near) => format!("there is no such key; did you mean {near}?"),
        None => "there is no such key".to_owned(),
    }
}

fn words(
    arg: &Arg,
    name: &str,
    value: &Spanned<DeValue<'_>>,
    file: &Path,
) -> Result<Vec<OsString>, String> {
    let is_path = arg.get_value_hint() == ValueHint::AnyPath;
    let word = |value: &Spanned<DeValue<'_>>| {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            other => return Err(format!("it is of the wrong kind: {}", other.type_str())),
        };
        let mut word = OsString::from(format!("--{name}="));
        match file.parent() {
            Some(folder) if is_path => word.push(folder.join(text)),
            _ => word.push(text),
        }
        Ok(word)
    };
    match (arg.get_action(), value.get_ref()) {
        (ArgAction::SetTrue, DeValue::Boolean(true)) => Ok(vec![format!("--{name}").into()]),
        (ArgAction::SetTrue, DeValue::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => Err("it must be true or false".to_owned()),
        (ArgAction::Append, DeValue::Array(values)) => values.iter().map(word).collect(),
        (_, DeValue::Array(_)) => Err("it must be one value, not a list".to_owned()),
        _ => Ok(vec![word(value)?]),
    }
}

fn why(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    match error.kind() {
        ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let source = std::error::Error::source(error).map(in_a_line);
            format!("{value:?}: {}", source.unwrap_or_default())
        }
        ErrorKind::InvalidValue => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let valid = text(ContextKind::ValidValue).unwrap_or_default();
            format!("{value:?}: it must be one of {valid}")
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            format!(
                "it can't be there together with {}",
                other.trim_start_matches("--")
            )
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    }
}
