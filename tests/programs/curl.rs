//! curl.

use std::path::PathBuf;

use tokio::process::Command;

use crate::guard::within;
use crate::programs::{out, run};
use crate::web::{Web, hash, large};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs curl"]
async fn gets_a_page_by_http_1_and_2() {
    let web = Web::start().await;
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let page = out("curl", ["-sS", "--fail", version, &web.url("/")]).await;
        assert_eq!(page, "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs curl"]
async fn a_large_body_is_whole_both_ways() {
    let web = Web::start().await;
    let path = file("large");
    let path = path.to_str().unwrap();
    out("curl", ["-sS", "--fail", "-o", path, &web.url("/large")]).await;
    assert!(std::fs::read(path).unwrap() == large());
    let data = format!("@{path}");
    let got = out("curl", ["-sS", "--data-binary", &data, &web.url("/hash")]).await;
    assert_eq!(got, hash(&large()));
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs curl"]
async fn an_answer_to_half_a_request_is_heard() {
    let web = Web::start().await;
    let path = file("refused");
    std::fs::write(&path, large()).unwrap();
    let data = format!("@{}", path.display());
    let args = [
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "Expect:",
    ];
    let args = args.into_iter().chain(["--data-binary", &data]);
    let url = web.url("/no");
    let output = run("curl", args.chain([url.as_str()])).await;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "413");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs curl"]
async fn a_body_that_is_cut_off_is_an_error() {
    for kills_relay in [true, false] {
        let web = Web::start().await;
        let curl = Command::new("curl")
            // By HTTP/1.0 nothing but the end tells that a body is whole.
            .args(["-sS", "--http1.0", "--max-time", "60", &web.url("/endless")])
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut curl = curl.unwrap();
        let mut body = curl.stdout.take().unwrap();
        let mut piece = vec![0; 1 << 20];
        within(tokio::io::AsyncReadExt::read_exact(&mut body, &mut piece))
            .await
            .unwrap();
        match kills_relay {
            true => web.relay.kill().await,
            false => web.serve.kill().await,
        };
        let rest =
            tokio::spawn(async move { tokio::io::copy(&mut body, &mut tokio::io::sink()).await });
        let status = within(curl.wait()).await.unwrap();
        assert_eq!(status.code(), Some(56), "curl's: failure in receiving");
        rest.await.unwrap().unwrap();
    }
}
