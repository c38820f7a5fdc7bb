//! wrk.

use crate::programs::out;
use crate::web::Web;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs wrk"]
async fn has_no_error_in_a_few_seconds() {
    let web = Web::start().await;
    let url = web.url("/");
    // A cold burst dials more connections if the first takes 5 ms, as on a busy machine.
    out("curl", ["-s", &url]).await;
    let report = out("wrk", ["-t2", "-c64", "-d3", &url]).await;
    println!("{report}");
    assert!(report.contains("Requests/sec:"), "{report}");
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    web.relay.signal("TERM").await;
    let (code, printed) = web.relay.ended().await;
    assert_eq!(code, Some(0));
    let last = printed.lines().last().unwrap();
    assert!(
        last.contains(" dials=1 "),
        "one connection carries all: {last}"
    );
}
