//! Who may call: clients by the CA and the names of their certificates.

use crate::files::Files;
use crate::fixture::exchange;
use crate::programs::tcpchan;
use crate::tls::{CLIENT, FOR_CLIENTS};

#[tokio::test]
async fn clients_come_by_a_dns_name_or_a_uri() {
    let files = Files::new("callers");
    files.certify_uri("spiffe", "spiffe://example.org/ns/prod/web");
    let names = "--tls-client-name client --tls-client-name spiffe://example.org/ns/prod/*";
    let serve = files.serve(&format!("{FOR_CLIENTS} {names}")).await;
    for name in ["client", "spiffe"] {
        let relay = files.relay(&serve, &CLIENT.replace("client", name)).await;
        assert_eq!(exchange(relay.addr, b"hello").await.unwrap(), b"hello");
    }
}

#[tokio::test]
async fn a_refused_caller_is_one_warning_with_reason_and_names() {
    let files = Files::new("refused-callers");
    files.certify_uri("spiffe", "spiffe://example.org/ns/test/web");
    let others = Files::new("other-callers");
    let names = "--tls-client-name web.example --tls-client-name spiffe://example.org/ns/prod/*";
    let mut serve = files.serve(&format!("{FOR_CLIENTS} {names}")).await;
    let of_others = format!(
        "--tls --tls-ca {} --tls-cert @client.pem --tls-key @client.key",
        files.folder.join("ca.pem").display()
    );
    for (files, args, says) in [
        (
            &files,
            CLIENT,
            ["none of its certificate's names is allowed", "client"],
        ),
        (
            &files,
            &CLIENT.replace("client", "spiffe"),
            [
                "none of its certificate's names is allowed",
                "spiffe://example.org/ns/test/web",
            ],
        ),
        (
            &files,
            "--tls --tls-ca @ca.pem",
            ["it has shown no certificate", "127.0.0.1"],
        ),
        (
            &others,
            &of_others,
            ["no trusted CA has signed its certificate", "client"],
        ),
    ] {
        let relay = files.relay(&serve, args).await;
        exchange(relay.addr, b"hello").await.unwrap_err();
        let line = serve.line("the client was refused").await;
        assert!(line.contains("WARN"), "{line}");
        for what in says {
            assert!(line.contains(what), "{line}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_told() {
    let args = "serve --listen a:1 --to a:1 --tls-cert c --tls-key k --tls-client-ca a";
    for name in ["web*", "spiffe://example.org/*/web", "a b", "://x"] {
        let mut command = tcpchan(args);
        let output = command
            .args(["--tls-client-name", name])
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("it must be a DNS name, or a URI"), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}
