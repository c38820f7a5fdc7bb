//! What the command says of its arguments.

use crate::programs::{run, tcpchan};

#[tokio::test]
async fn wrong_arguments_are_told_in_a_line() {
    for (args, says) in [
        ("relay", "--listen <ADDRESS>"),
        (
            "relay --listen here --to a:1",
            "a host without a port: it must be here:PORT",
        ),
        (
            "relay --listen 80 --to a:1",
            "a port without a host: 0.0.0.0:80 is all addresses of this host",
        ),
        ("relay --listen :80 --to a:1", "a port without a host"),
        ("relay --listen ::1 --to a:1", "such as [::1]:9000"),
        ("relay --listen a:1 --to http://a:1", "not a URL"),
        ("relay --listen a:1 --to a:b", "must be HOST:PORT"),
        ("relay --listen a:1 --to u@a:1", "must be HOST:PORT"),
        ("relay --lisen a:1 --to a:1", "'--listen'"),
        ("relay --listen a:1 --to a:1 --grace=-1", "--grace"),
        (
            "relay --listen a:1 --to a:1 --grace=inf",
            "from 1ms to 1day",
        ),
        ("relay --listen a:1 --to a:1 --tls-ca f", "--tls"),
        (
            "relay --listen a:1 --to a:1 --tls --tls-cert f",
            "--tls-key",
        ),
        (
            "serve --listen a:1 --to a:1 --tls-client-ca f",
            "--tls-cert",
        ),
        ("serve --listen a:1 --to a:1 --max-channels 1", "256..="),
        (
            "serve --listen a:1 --to a:1 --max-per-network 0",
            "1..=2147483647",
        ),
        (
            "serve --listen a:1 --to a:1 --exempt 10.0.0.0/33",
            "such as 10.0.0.0/8",
        ),
        ("ping a", "a host without a port"),
        ("sing", "'sing'"),
    ] {
        let output = tcpchan(args).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("tcpchan: ") && said.contains(says),
            "{said}"
        );
        assert_eq!(
            (said.lines().count(), output.status.code()),
            (1, Some(2)),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn the_help_tells_the_exit_codes() {
    for command in ["", "relay", "serve", "ping"] {
        let output = tcpchan(&format!("{command} --help"))
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains("Exit codes:"), "{printed}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[tokio::test]
async fn a_congestion_control_that_is_not_there_is_told() {
    let args = "relay --listen 127.0.0.1:0 --to 127.0.0.1:1 --congestion none-such";
    let command = env!("CARGO_BIN_EXE_tcpchan");
    let output = run(command, args.split_whitespace()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(" ERROR --congestion: "), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_variable_of_an_option_without_a_value_may_say_yes_in_any_usual_way() {
    // With TLS, and not without, the file is read.
    let args = "relay --listen a:1 --to a:1 --tls-ca none";
    for value in ["1", "yes", "true", "on"] {
        let output = tcpchan(args).env("TCPCHAN_TLS", value).output();
        let said = String::from_utf8(output.await.unwrap().stderr).unwrap();
        assert!(said.contains("--tls-ca: none: "), "{value}: {said}");
    }
}
