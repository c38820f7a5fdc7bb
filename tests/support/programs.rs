//! Programs that a test runs.
#![allow(dead_code)] // each test file uses a part

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::guard::within;

/// The command `tcpchan` with some arguments, apart by spaces; killed when it
/// is dropped.
pub fn tcpchan(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpchan"));
    command.args(args.split_whitespace()).kill_on_drop(true);
    command
}

/// `tcpchan relay` or `tcpchan serve`, once it listens.
pub struct Daemon {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
    pub addr: SocketAddr,
}

impl Daemon {
    /// Starts it on a free port.
    pub async fn start(args: &str) -> Daemon {
        Daemon::at("127.0.0.1:0", args).await
    }

    pub async fn at(listen: &str, args: &str) -> Daemon {
        let mut daemon = Daemon::spawn(tcpchan(args).args(["--listen", listen]));
        daemon.addr = daemon.listens("").await;
        daemon
    }

    /// `tcpchan run` with a configuration.
    pub fn run(config: &Path) -> Daemon {
        Daemon::spawn(tcpchan("run --config").arg(config))
    }

    /// A command that has just started.
    pub fn spawn(command: &mut Command) -> Daemon {
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        Daemon {
            stdout: BufReader::new(child.stdout.take().unwrap()).lines(),
            stderr: BufReader::new(child.stderr.take().unwrap()).lines(),
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            child,
            said: Vec::new(),
        }
    }

    /// Where a service says next that it listens. `""` is the one of the arguments.
    pub async fn listens(&mut self, service: &str) -> SocketAddr {
        let of_service = match service {
            "" => String::new(),
            name => format!("service={name} "),
        };
        let starts = [
            format!(" listening {of_service}address="),
            "\"listening\",\"address\":\"".to_owned(),
        ];
        loop {
            let line = within(self.stderr.next_line()).await.unwrap();
            self.said.push(line.expect("a line"));
            let line = self.said.last().expect("it was just said");
            let addr = starts.iter().find_map(|start| line.split_once(start));
            if let Some((_, addr)) = addr {
                return addr.trim_end_matches("\"}").parse().unwrap();
            }
        }
    }

    /// Where it says that its admin address is.
    pub async fn admin(&mut self) -> SocketAddr {
        loop {
            let line = within(self.stderr.next_line()).await.unwrap();
            self.said.push(line.expect("a line"));
            let line = self.said.last().expect("it was just said");
            if let Some((_, addr)) = line.split_once("the admin address is open admin=") {
                return addr.parse().unwrap();
            }
        }
    }

    pub async fn relay(to: SocketAddr) -> Daemon {
        Daemon::start(&format!("relay --to {to}")).await
    }

    pub async fn serve(to: SocketAddr) -> Daemon {
        Daemon::start(&format!("serve --to {to}")).await
    }

    /// Waits for a line on stderr that has this in it.
    pub async fn says(&mut self, what: &str) {
        within(find(&mut self.stderr, what)).await;
    }

    /// The next line on stderr that has this in it.
    pub async fn line(&mut self, what: &str) -> String {
        within(find(&mut self.stderr, what)).await
    }

    /// The same on stdout.
    pub async fn prints(&mut self, what: &str) {
        within(find(&mut self.stdout, what)).await;
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(run("sh", ["-c", &kill]).await.status.success());
    }

    /// Its exit code, and what it still printed on stdout.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let mut printed = String::new();
        while let Some(line) = within(self.stdout.next_line()).await.unwrap() {
            printed += &line;
            printed += "\n";
        }
        (within(self.child.wait()).await.unwrap().code(), printed)
    }

    /// What it still says on stderr until its end, with the line that it listens.
    pub async fn said(mut self) -> Vec<String> {
        let mut lines = self.said;
        while let Some(line) = within(self.stderr.next_line()).await.unwrap() {
            lines.push(line);
        }
        lines
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn find(lines: &mut Lines<impl AsyncBufRead + Unpin>, what: &str) -> String {
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains(what) {
            return line;
        }
        eprintln!("instead of \"{what}\": {line}"); // for who reads of a failure
    }
    panic!("it ended and did not say: {what}")
}

/// Runs a program to its end.
pub async fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Output {
    let mut command = Command::new(program);
    let output = command.args(args).kill_on_drop(true).output();
    within(output).await.expect("the program is installed")
}

/// Runs a program that must succeed, and gives its stdout.
pub async fn out<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> String {
    let output = run(program, args).await;
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout
}
