//! psql and pgbench, with a PostgreSQL server of the test's own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tokio::net::TcpListener;

use crate::programs::{Daemon, out, run};

/// A server, stopped and removed at the end.
struct Postgresql {
    folder: PathBuf,
    addr: SocketAddr,
}

impl Postgresql {
    async fn start(name: &str) -> Postgresql {
        let folder = format!("tcpchan-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        if let Some((user, group)) = other_user() {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let server = Postgresql { folder, addr };
        server.run("initdb -D data -A trust -U test --no-sync", &[]);
        let options = format!("-h 127.0.0.1 -p {} -k . -F", addr.port());
        server.run("pg_ctl -D data -l log -w start", &["-o", &options]);
        server
    }

    /// Runs a program of the server's in its folder.
    fn run(&self, command: &str, more: &[&str]) {
        let (program, args) = command.split_once(' ').unwrap();
        let mut command = Command::new(programs().join(program));
        command.args(args.split(' ')).args(more);
        command.current_dir(&self.folder).stdout(Stdio::null());
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        assert!(command.status().unwrap().success(), "{program}");
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        self.run("pg_ctl -D data -m immediate stop", &[]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where Debian has the newest server's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let paths = versions.map(|version| version.unwrap().path().join("bin"));
    let paths = paths.filter(|path| path.join("initdb").exists());
    paths.max().expect("PostgreSQL's server is installed")
}

/// A server does not run as root: then the user and group that its package has.
fn other_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> u32 {
        let output = Command::new("id").args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    };
    let postgres = || (id(&["-u", "postgres"]), id(&["-g", "postgres"]));
    (id(&["-u"]) == 0).then(postgres)
}

/// A relay to the server.
async fn relay_to(server: &Postgresql) -> (Daemon, Daemon) {
    let serve = Daemon::serve(server.addr).await;
    let relay = Daemon::start(&format!("relay --to {} --stats=3600", serve.addr)).await;
    (relay, serve)
}

fn psql(relay: &Daemon) -> Vec<String> {
    let port = relay.addr.port();
    let to = format!("-X -A -t -h 127.0.0.1 -p {port} -U test -v ON_ERROR_STOP=1 -d postgres");
    to.split(' ').map(str::to_owned).collect()
}

async fn ask(relay: &Daemon, what: &str) -> String {
    let question = ["-c".to_owned(), what.to_owned()];
    out("psql", psql(relay).into_iter().chain(question)).await
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn psql_gets_its_answers() {
    let server = Postgresql::start("psql").await;
    let (relay, _serve) = relay_to(&server).await;
    assert_eq!(ask(&relay, "select 6 * 7").await, "42\n");
    let large = ask(
        &relay,
        "select repeat(md5(i::text), 32) from generate_series(1, 20000) i",
    );
    assert_eq!(large.await.len(), 20_000 * (32 * 32 + 1));
    let wrong = psql(&relay)
        .into_iter()
        .chain(["-c".into(), "select nothing".into()]);
    let error = String::from_utf8(run("psql", wrong).await.stderr).unwrap();
    assert!(
        error.contains("column \"nothing\" does not exist"),
        "{error}"
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn pgbench_has_no_failed_transaction() {
    let server = Postgresql::start("pgbench").await;
    let (relay, _serve) = relay_to(&server).await;
    let port = relay.addr.port();
    let pgbench = |args: &str| {
        let args = format!("-h 127.0.0.1 -p {port} -U test {args} postgres");
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        async { out("pgbench", args).await }
    };
    pgbench("-i -q -s 1").await;
    // The second connects for each transaction anew.
    for args in ["-c 16 -j 2 -T 3", "-c 8 -j 2 -T 2 -C -S"] {
        let report = pgbench(args).await;
        println!("{report}");
        assert!(
            report.contains("number of failed transactions: 0 "),
            "{report}"
        );
    }
    relay.signal("TERM").await;
    let (code, printed) = relay.ended().await;
    assert_eq!(code, Some(0));
    let last = printed.lines().last().unwrap();
    assert!(
        last.contains(" dials=1 "),
        "one connection carries all: {last}"
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_server_that_is_killed_is_an_error_for_psql() {
    let server = Postgresql::start("killed").await;
    let (relay, _serve) = relay_to(&server).await;
    let sleep = psql(&relay)
        .into_iter()
        .chain(["-c".into(), "select pg_sleep(600)".into()]);
    let sleeping = tokio::spawn(run("psql", sleep.collect::<Vec<_>>()));
    let busy = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
    while ask(&relay, busy).await != "1\n" {
        tokio::task::yield_now().await;
    }
    server.run("pg_ctl -D data -m immediate restart", &["-l", "log", "-w"]);
    let output = sleeping.await.unwrap();
    assert_eq!(output.status.code(), Some(2), "psql's: connection lost");
    assert_eq!(ask(&relay, "select 1").await, "1\n");
}
