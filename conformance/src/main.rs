//! `tcpchan-conformance HOST:PORT` tests a server, `--listen ADDRESS` a client.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use tcpchan_conformance::cases;
use tcpchan_conformance::peer::Target;
use tcpchan_conformance::report::{self, Options};

const USAGE: &str = "\
tcpchan-conformance HOST:PORT [options]           tests an echo server
tcpchan-conformance --listen HOST:PORT [options]  tests a client that connects here

  --only RULE     runs the cases of this rule (W3, W3.2), or whose name begins so;
                  may be given several times
  --timeout MS    how long an answer may take (2000)
  --both-versions what is under test speaks versions 0 and 1
  --strict        a SHOULD that is not kept is a failure
  --junit FILE    writes a JUnit report
  --json FILE     writes a JSON report
  --list          says which cases there are
Exit code: 0 if none has failed, 1 if one has, 2 if it could not run.
README.md says what the server and the client have to do.";

struct Arguments {
    target: Option<Target>,
    options: Options,
    junit: Option<String>,
    json: Option<String>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut found = Arguments {
        target: None,
        options: Options::default(),
        junit: None,
        json: None,
    };
    while let Some(argument) = given.next() {
        let mut value = || {
            given
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--only" => found.options.only.push(value()?),
            "--timeout" => {
                let number = value()?.parse().map_err(|_| "--timeout needs a number")?;
                found.options.patience = Duration::from_millis(number);
            }
            "--both-versions" => found.options.both_versions = true,
            "--strict" => found.options.strict = true,
            "--junit" => found.junit = Some(value()?),
            "--json" => found.json = Some(value()?),
            "--listen" => {
                let listener = TcpListener::bind(value()?).map_err(|error| error.to_string())?;
                let address = listener.local_addr().map_err(|error| error.to_string())?;
                println!("waiting for a client on {address}");
                found.target = Some(Target::Client(listener));
            }
            "--list" => {
                for case in cases::all() {
                    println!("{:5} {}", case.rule, case.name);
                }
                std::process::exit(0);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            other if other.starts_with('-') => return Err(format!("unknown option {other}")),
            _ => found.target = Some(Target::Server(argument)),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)).and_then(test) {
        Ok(failed) => ExitCode::from(u8::from(failed)),
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn test(given: Arguments) -> Result<bool, String> {
    let target = given.target.ok_or("no address")?;
    let mut group = "";
    let rows = report::run(&target, &given.options, |row| {
        println!("{}", report::line(row, &mut group));
    });
    if rows.is_empty() {
        return Err("no case was chosen".to_owned());
    }
    println!("\n{}", report::summary(&rows));
    let reports = [
        (given.junit, report::junit(&rows, target.role())),
        (given.json, report::as_json(&rows, target.role())),
    ];
    for (file, text) in reports {
        if let Some(file) = file {
            std::fs::write(&file, text).map_err(|error| format!("{file}: {error}"))?;
        }
    }
    Ok(report::has_failed(&rows))
}
