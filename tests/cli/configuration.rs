//! `tcpchan run --config`: many services by a file, and what is said of a wrong one.

use std::collections::BTreeSet;
use std::process::Output;

use crate::files::Files;
use crate::fixture::{exchange, named_echo};
use crate::guard::within;
use crate::programs::{Daemon, tcpchan};

/// What `--check` says of a configuration, and its exit code.
async fn check(files: &Files, config: &str) -> (Vec<String>, Option<i32>) {
    let config = files.write("tcpchan.toml", config);
    let mut command = tcpchan("run --check --config");
    let output: Output = within(command.arg(&config).output()).await.unwrap();
    let said = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    let place = format!("tcpchan: {}:", config.display());
    let lines = said.lines().map(|line| line.replace(&place, ""));
    (lines.collect(), output.status.code())
}

#[tokio::test]
async fn one_process_runs_the_services_of_a_file() {
    let files = Files::new("many");
    let [a, b] = [named_echo("a").await, named_echo("b").await];
    let config = files.write(
        "tcpchan.toml",
        &format!(
            r#"
            [service.a-serve]
            mode = "serve"
            listen = "127.0.0.1:0"
            to = "{a}"
            tls-cert = "127.0.0.1.pem"
            tls-key = "127.0.0.1.key"

            [service.b-serve]
            mode = "serve"
            listen = ["127.0.0.1:0", "127.0.0.1:0"]
            to = ["{b}"]
            "#
        ),
    );
    let mut serve = Daemon::run(&config);
    let of_a = serve.listens("a-serve").await;
    let of_b = serve.listens("b-serve").await;
    let also_of_b = serve.listens("b-serve").await;
    let tls = files.args("--tls --tls-ca @ca.pem");
    let relay = Daemon::start(&format!("relay --to {of_a} {tls}")).await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"a!");
    for serve in [of_b, also_of_b] {
        let relay = Daemon::relay(serve).await;
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"b!");
    }
    serve.signal("TERM").await;
    assert_eq!(serve.ended().await.0, Some(0));
}

#[tokio::test]
async fn all_that_is_wrong_with_a_file_is_told_with_line_and_key() {
    let files = Files::new("wrong");
    let config = r#"grace = "soon"
stat = "10s"

[service.web]
mode = "serve"
lisen = "127.0.0.1:0"
to = ["127.0.0.1:80", "nowhere"]
max-channels = 3
tls-cert = "127.0.0.1.pem"

[service.db]
mode = "proxy"

[service.ssh]
mode = "relay"
listen = "127.0.0.1:0"
to = "127.0.0.1:9"
send-proxy-v2 = "yes"
connections = [1, 2]
congestion = 1979-05-27
"#;
    let (said, code) = check(&files, config).await;
    let expected = [
        r#"1: grace: "soon": it must be a time from 1ms to 1day, such as 30s, 2m or 1h 30m"#,
        "2: stat: there is no such key; did you mean stats?",
        "4: service.web.listen: it is missing",
        "4: service.web.tls-key: it is missing",
        "6: service.web.lisen: there is no such key; did you mean listen?",
        r#"7: service.web.to: "nowhere": "#,
        r#"8: service.web.max-channels: "3": 3 is not in 256..=1000000"#,
        r#"12: service.db.mode: it must be "relay", "serve", "hub" or "publish""#,
        "18: service.ssh.send-proxy-v2: it must be true or false",
        "19: service.ssh.connections: it must be one value, not a list",
        "20: service.ssh.congestion: it is of the wrong kind: datetime",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn what_is_wrong_with_the_files_and_names_is_told_with_line_and_key() {
    let files = Files::new("wrong-files");
    files.write("empty.pem", "");
    let service = |keys: &str| {
        format!("[service.a]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\nto = \"a:1\"\n{keys}")
    };
    let more = "[service.b]\nmode = \"serve\"\nlisten = \"127.0.0.1:7\"\nto = \"a:1\"\n";
    let twice = format!("{more}{}", more.replace("service.b", "service.c"));
    for (config, says) in [
        (
            service("tls = true\ntls-ca = \"no.pem\""),
            "6: service.a.tls-ca: ",
        ),
        (
            service("tls = true\ntls-ca = \"empty.pem\""),
            "no certificate in it",
        ),
        (
            service("tls = true\ntls-cert = \"client.pem\"\ntls-key = \"127.0.0.1.key\""),
            "7: service.a.tls-key: ",
        ),
        (
            service("tls = true\ntls-name = \"not a name\""),
            "6: service.a.tls-name: no name of a server: not a name",
        ),
        (
            service("congestion = \"none-such\""),
            "5: service.a.congestion: ",
        ),
        (twice, "7: service.c.listen: 127.0.0.1:7 is there twice"),
        (
            "[service.\"a b\"]\nmode = 1".to_owned(),
            "service's name has letters",
        ),
        ("[service.a]\n[service.a]".to_owned(), "2: duplicate key"),
        ("grace = \n".to_owned(), "1: "),
        ("grace = 5\n".to_owned(), "1: service: there is none"),
    ] {
        let (said, code) = check(&files, &config).await;
        assert!(said[0].contains(says), "{said:#?} should say {says}");
        assert_eq!(code, Some(2));
    }
    let (said, code) = check(&files, &service("")).await;
    assert_eq!(
        (said[0].as_str(), code),
        ("1 service, and nothing is wrong", Some(0))
    );
}

#[tokio::test]
async fn arguments_come_before_the_environment_and_that_before_the_file() {
    let files = Files::new("order");
    let config = files.write(
        "tcpchan.toml",
        "grace = \"7s\"\nstats = \"10ms\"\n\
         [service.a]\nmode = \"relay\"\nlisten = \"127.0.0.1:0\"\nto = \"127.0.0.1:1\"\n",
    );
    let mut by_file = Daemon::run(&config);
    by_file.prints("relay service=a live=0").await;
    by_file.prints("relay service=a live=0").await;
    let run = format!("run --config {}", config.display());
    for (args, of_environment) in [("", "1h"), ("--stats=1h", "1s")] {
        let mut command = tcpchan(&format!("{run} {args}"));
        let mut daemon = Daemon::spawn(command.env("TCPCHAN_STATS", of_environment));
        daemon.listens("a").await;
        daemon.signal("TERM").await;
        let (code, printed) = daemon.ended().await;
        assert_eq!(
            (code, printed.matches("service=a live").count()),
            (Some(0), 1)
        );
    }
}

#[tokio::test]
async fn each_option_of_a_service_may_be_in_the_environment() {
    let to = named_echo("e").await;
    let mut command = tcpchan("serve");
    command.env("TCPCHAN_LISTEN", "127.0.0.1:0,127.0.0.1:0");
    let mut serve = Daemon::spawn(command.env("TCPCHAN_TO", to.to_string()));
    for _ in 0..2 {
        let relay = Daemon::relay(serve.listens("").await).await;
        assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"e!");
    }
}

#[tokio::test]
async fn the_example_loads() {
    let files = Files::new("example");
    let certs = files.folder.join("certs");
    std::fs::create_dir_all(&certs).unwrap();
    for name in ["server", "client"] {
        files.certify(name);
    }
    for name in [
        "server.pem",
        "server.key",
        "client.pem",
        "client.key",
        "ca.pem",
    ] {
        std::fs::copy(files.folder.join(name), certs.join(name)).unwrap();
    }
    let (said, code) = check(&files, include_str!("../../examples/tcpchan.toml")).await;
    assert_eq!(code, Some(0), "{said:#?}");
}

/// The options that `--help` lists.
async fn options(command: &str) -> BTreeSet<String> {
    let output = tcpchan(&format!("{command} --help"))
        .output()
        .await
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"));
    let names = lines.filter_map(|line| line.split([' ', '[', '=']).next());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_table_of_keys_is_complete() {
    let page = include_str!("../../src/guide/command_file.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let keys = |column: usize| -> BTreeSet<String> {
        let rows = rows
            .clone()
            .map(|row| row.split('|').map(str::trim).collect());
        let rows = rows.filter(|row: &Vec<&str>| row[column] == "yes");
        rows.map(|row| row[0].trim_matches('`').to_owned())
            .collect()
    };
    let of_process: BTreeSet<_> =
        &options("run").await - &["config", "check"].map(str::to_owned).into();
    assert_eq!(keys(5), of_process);
    for (column, mode) in (1..).zip(["relay", "serve", "hub", "publish"]) {
        assert_eq!(keys(column), &options(mode).await - &of_process, "{mode}");
    }
}

#[tokio::test]
async fn a_key_of_the_wrong_kind_is_not_called_missing() {
    let files = Files::new("check-kind");
    let config = "[service.web]\nmode = \"serve\"\nlisten = [true]\nto = \"127.0.0.1:9\"\n";
    let (said, code) = check(&files, config).await;
    assert_eq!(code, Some(2));
    assert_eq!(
        said,
        ["3: service.web.listen: it is of the wrong kind: boolean"]
    );
}
