//! Every rule of SPEC.md has a case, or is judged in all of them, or the README says that no
//! case shows it.

use std::collections::BTreeSet;

use tcpchan_conformance::cases;

fn spec() -> BTreeSet<String> {
    let spec = include_str!("../../../src/wire/SPEC.md");
    let rules = spec.lines().filter_map(|line| line.strip_prefix("- **"));
    rules
        .filter_map(|line| Some(line.split_once("**")?.0.to_owned()))
        .collect()
}

#[test]
fn every_rule_has_a_case_or_is_named_as_one_without() {
    let judge = [
        include_str!("../../src/judge.rs"),
        include_str!("../../src/cases/version0.rs"),
    ];
    let judge = judge.concat();
    let readme = include_str!("../../README.md");
    let without = readme.split("No case shows").nth(1).expect("the list");
    let tried: BTreeSet<String> = cases::all()
        .iter()
        .map(|case| case.rule.to_owned())
        .collect();
    for rule in spec() {
        let judged = judge.contains(&format!("\"{rule}\""));
        let named = without
            .split(|c: char| !c.is_alphanumeric() && c != '.')
            .any(|word| word.trim_end_matches('.') == rule);
        let covered = tried.contains(&rule) || judged;
        assert!(covered != named, "{rule}: covered {covered}, named {named}");
    }
}

#[test]
fn every_case_names_a_rule_of_the_spec() {
    let spec = spec();
    for case in cases::all() {
        assert!(spec.contains(case.rule), "{case:?}");
    }
}

#[test]
fn no_two_cases_have_the_same_rule_and_name() {
    let mut seen = BTreeSet::new();
    for case in cases::all() {
        assert!(seen.insert((case.rule, case.name.clone())), "{case:?}");
    }
}
