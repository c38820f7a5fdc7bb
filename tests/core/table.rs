//! The tables of the core's docs name each public method, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/proto");

/// What stands between `start` and `end`, each time.
fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = String> + 'a {
    let rest = text.split(start).skip(1);
    rest.map(move |rest| rest.split(end).next().unwrap_or_default().to_owned())
}

fn in_tables() -> BTreeSet<String> {
    let docs = fs::read_to_string(Path::new(PROTO).join("PROTO.md")).unwrap();
    let rows = docs.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| between(row, "(Connection::", ')').collect::<Vec<_>>())
        .collect()
}

fn methods() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in fs::read_dir(PROTO).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("\nimpl Connection {\n").skip(1) {
            let block = block.split("\n}\n").next().unwrap();
            let public = between(block, "\n    pub ", '(').filter(|rest| !rest.contains('\n'));
            let names = public.filter_map(|rest| Some(rest.split_once("fn ")?.1.to_owned()));
            found.extend(names.map(|name| name.split('<').next().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn the_tables_name_each_public_method_and_no_other() {
    let (methods, tables) = (methods(), in_tables());
    assert!(methods.len() > 40, "{methods:?}");
    let missing: Vec<_> = methods.difference(&tables).collect();
    let unknown: Vec<_> = tables.difference(&methods).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing {missing:?}, unknown {unknown:?}"
    );
}
