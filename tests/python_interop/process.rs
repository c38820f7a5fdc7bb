//! Python programs, with the package in a virtual environment.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");

/// The Python of the virtual environment, which the first test makes.
fn interpreter() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let setup = Command::new("python3")
            .arg(format!("{FOLDER}/setup.py"))
            .arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/python"))
            .stderr(Stdio::inherit())
            .output()
            .expect("python3 starts");
        assert!(setup.status.success(), "the virtual environment");
        String::from_utf8(setup.stdout).unwrap().trim().to_owned()
    })
}

/// A Python program, killed when it is dropped.
pub struct Python {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Python {
    pub fn start(script: &str, args: &str) -> Python {
        let mut child = tokio::process::Command::new(interpreter())
            .arg(format!("{FOLDER}/{script}"))
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Python {
            _child: child,
            lines,
        }
    }

    /// A server and its address.
    pub async fn serve(script: &str, args: &str) -> (Python, SocketAddr) {
        let mut python = Python::start(script, &format!("server {args}"));
        let port = python.wait_for("listening").await["port"].as_u64().unwrap();
        (python, ([127, 0, 0, 1], port as u16).into())
    }

    /// A client of this address.
    pub fn dial(script: &str, addr: SocketAddr, args: &str) -> Python {
        Python::start(script, &format!("client --port {} {args}", addr.port()))
    }

    /// The next report of this event; others before it are passed over,
    /// unless they say that something is wrong.
    pub async fn wait_for(&mut self, event: &str) -> Value {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line: Value = serde_json::from_str(&line.expect("Python goes on")).unwrap();
                assert_ne!(line["event"], "wrong", "{line}");
                if line["event"] == event {
                    return line;
                }
            }
        };
        soon(found).await
    }
}

/// Whatever should not hang.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("no hang")
}
