//! Runs cases and says how they went.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::cases::Case;
use crate::peer::{Peer, Role, Target};

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the rule says.
    Passed,
    /// Not so; why.
    Failed(String),
    /// Not so, and the rule is a SHOULD.
    Warned(String),
    /// It could not be tried; why.
    Skipped(String),
}

/// A case that was run.
#[derive(Clone, Debug)]
pub struct Row {
    /// As the case has it.
    pub group: &'static str,
    /// As the case has it.
    pub rule: &'static str,
    /// As the case has it.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rules, or beginnings of names; all cases if there are none.
    pub only: Vec<String>,
    /// How long an answer may take.
    pub patience: Duration,
    /// A SHOULD that is not kept is a failure.
    pub strict: bool,
    /// The endpoint under test speaks versions 0 and 1.
    pub both_versions: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            only: Vec::new(),
            patience: Duration::from_secs(2),
            strict: false,
            both_versions: false,
        }
    }
}

/// Runs the chosen cases, each on a connection of its own, and tells each as it ends.
pub fn run(target: &Target, options: &Options, mut tell: impl FnMut(&Row)) -> Vec<Row> {
    let mut rows = Vec::new();
    for case in crate::cases::all() {
        if case.fits(target.role(), options.both_versions) && case.is_chosen(&options.only) {
            let row = run_case(&case, target, options);
            tell(&row);
            rows.push(row);
        }
    }
    rows
}

fn run_case(case: &Case, target: &Target, options: &Options) -> Row {
    let since = Instant::now();
    let result = Peer::connect(target, case.rule, options.patience)
        .and_then(|mut peer| (case.run)(&mut peer));
    let verdict = match result {
        Ok(()) => Verdict::Passed,
        Err(why) if why.rule == "skip" => Verdict::Skipped(why.text),
        Err(why) if case.should && !options.strict => Verdict::Warned(why.to_string()),
        Err(why) => Verdict::Failed(why.to_string()),
    };
    Row {
        group: case.group,
        rule: case.rule,
        name: case.name.clone(),
        verdict,
        took: since.elapsed(),
    }
}

/// How many of the rows have this verdict.
pub fn count(rows: &[Row], of: impl Fn(&Verdict) -> bool) -> usize {
    rows.iter().filter(|row| of(&row.verdict)).count()
}

/// Whether one has failed.
pub fn has_failed(rows: &[Row]) -> bool {
    count(rows, |verdict| matches!(verdict, Verdict::Failed(_))) > 0
}

/// One line of the report, with the group above the first of its cases.
pub fn line(row: &Row, group: &mut &'static str) -> String {
    let mut text = String::new();
    if *group != row.group {
        let _ = writeln!(text, "\n{}", row.group);
        *group = row.group;
    }
    let (sign, why) = match &row.verdict {
        Verdict::Passed => ("ok", ""),
        Verdict::Failed(why) => ("FAILED", why.as_str()),
        Verdict::Warned(why) => ("warning", why.as_str()),
        Verdict::Skipped(why) => ("skipped", why.as_str()),
    };
    let _ = write!(text, "  {sign:7} {:5} {}", row.rule, row.name);
    if !why.is_empty() {
        let _ = write!(text, "\n          {why}");
    }
    text
}

/// The last line.
pub fn summary(rows: &[Row]) -> String {
    let failed = count(rows, |verdict| matches!(verdict, Verdict::Failed(_)));
    let warned = count(rows, |verdict| matches!(verdict, Verdict::Warned(_)));
    let skipped = count(rows, |verdict| matches!(verdict, Verdict::Skipped(_)));
    let passed = rows.len() - failed - warned - skipped;
    let took: Duration = rows.iter().map(|row| row.took).sum();
    let took = took.as_secs_f64();
    format!(
        "{} cases: {passed} passed, {failed} failed, {warned} warnings, {skipped} skipped, {took:.1} s",
        rows.len()
    )
}

fn side(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

fn escaped(text: &str, how: impl Fn(char) -> Option<String>) -> String {
    let each = |char: char| how(char).unwrap_or_else(|| char.to_string());
    text.chars().map(each).collect()
}

fn xml(text: &str) -> String {
    escaped(text, |char| match char {
        '<' => Some("&lt;".to_owned()),
        '>' => Some("&gt;".to_owned()),
        '&' => Some("&amp;".to_owned()),
        '"' => Some("&quot;".to_owned()),
        char if char.is_control() => Some("?".to_owned()),
        _ => None,
    })
}

fn json(text: &str) -> String {
    let text = escaped(text, |char| match char {
        '"' | '\\' => Some(format!("\\{char}")),
        char if char.is_control() => Some(format!("\\u{:04x}", u32::from(char))),
        _ => None,
    });
    format!("\"{text}\"")
}

/// The rows as a JUnit file.
pub fn junit(rows: &[Row], role: Role) -> String {
    let failed = count(rows, |verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(rows, |verdict| matches!(verdict, Verdict::Skipped(_)));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"tcpchan {}\" \
         tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">\n",
        side(role),
        rows.len()
    );
    for row in rows {
        let inside = match &row.verdict {
            Verdict::Passed => String::new(),
            Verdict::Failed(why) => format!("<failure message=\"{}\"/>", xml(why)),
            Verdict::Warned(why) => format!("<system-out>{}</system-out>", xml(why)),
            Verdict::Skipped(why) => format!("<skipped message=\"{}\"/>", xml(why)),
        };
        let _ = writeln!(
            out,
            "  <testcase classname=\"{}\" name=\"{} {}\" time=\"{:.3}\">{inside}</testcase>",
            xml(row.group),
            row.rule,
            xml(&row.name),
            row.took.as_secs_f64()
        );
    }
    out + "</testsuite>\n"
}

/// The rows as JSON.
pub fn as_json(rows: &[Row], role: Role) -> String {
    let row = |row: &Row| {
        let (verdict, why) = match &row.verdict {
            Verdict::Passed => ("passed", ""),
            Verdict::Failed(why) => ("failed", why.as_str()),
            Verdict::Warned(why) => ("warning", why.as_str()),
            Verdict::Skipped(why) => ("skipped", why.as_str()),
        };
        format!(
            "    {{\"rule\": {}, \"name\": {}, \"group\": {}, \"verdict\": \"{verdict}\", \
             \"why\": {}, \"seconds\": {:.3}}}",
            json(row.rule),
            json(&row.name),
            json(row.group),
            json(why),
            row.took.as_secs_f64()
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    let rows = rows.join(",\n");
    format!(
        "{{\n  \"side\": \"{}\",\n  \"cases\": [\n{rows}\n  ]\n}}\n",
        side(role)
    )
}
