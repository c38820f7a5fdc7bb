//! The admin address.

use std::net::SocketAddr;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep};

use crate::files::Files;
use crate::fixture::{Chain, echo, exchange};
use crate::guard::within;
use crate::programs::{Daemon, tcpchan};

const GUIDE: &str = include_str!("../../src/guide/command_admin.md");

async fn get(admin: SocketAddr, path: &str) -> Response {
    let url = format!("http://{admin}{path}");
    within(Client::new().get(url).send()).await.unwrap()
}

async fn text(admin: SocketAddr, path: &str) -> (StatusCode, String) {
    let response = get(admin, path).await;
    let status = response.status();
    (status, within(response.text()).await.unwrap())
}

async fn connections(admin: SocketAddr) -> Value {
    let (status, text) = text(admin, "/connections").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A relay and a serve, and the relay's admin address.
async fn chain() -> (Chain, SocketAddr) {
    let mut chain = Chain::with("--admin 127.0.0.1:0", "").await;
    let admin = chain.relay.admin().await;
    (chain, admin)
}

/// The rows of the guide whose first cell is in backticks.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = GUIDE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

#[tokio::test]
async fn each_path_of_the_guide_answers_as_it_says() {
    let (_chain, admin) = chain().await;
    let mut paths = 0;
    for row in rows().filter(|row| row[0].starts_with("`/")) {
        let path = row[0].trim_matches('`');
        let response = get(admin, path).await;
        assert!(row[1].starts_with(response.status().as_str()), "{path}");
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with(row[2]), "{path}: {kind}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!within(response.bytes()).await.unwrap().is_empty());
        paths += 1;
    }
    assert_eq!(paths, 5);
    assert_eq!(get(admin, "/other").await.status(), StatusCode::NOT_FOUND);
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn the_guide_has_each_field_of_connections_and_no_other() {
    let (chain, admin) = chain().await;
    let _streams = chain.connect_and_talk().await;
    let document = connections(admin).await;
    let service = &document["services"][0];
    let has = [
        "# The fields",
        "Each service:",
        "Each connection:",
        "# Metrics",
    ];
    let parts: Vec<&str> = has
        .windows(2)
        .map(|ends| {
            let part = GUIDE.split_once(ends[0]).unwrap().1;
            part.split_once(ends[1]).unwrap().0
        })
        .collect();
    let shown = [&document, service, &service["connections"][0]];
    for (part, value) in parts.into_iter().zip(shown) {
        let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
        let names = rows.filter_map(|row| row.split('`').next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        assert_eq!(names, keys(value));
        for nested in ["streams", "targets"] {
            let inner = match &value[nested] {
                Value::Array(list) => &list[0],
                inner => inner,
            };
            for key in inner.as_object().into_iter().flatten().map(|(key, _)| key) {
                assert!(part.contains(&format!("`{key}`")), "{nested}: {key}");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_shows_its_peer_and_what_it_carries() {
    let (chain, admin) = chain().await;
    let (_client, _service) = chain.connect_and_talk().await;
    // A byte is counted once it was written: the client may have it before.
    let counted = async {
        loop {
            let document = connections(admin).await;
            if document["services"][0]["bytes_to_clients"] == 1 {
                return document;
            }
        }
    };
    let document = within(counted).await;
    let service = &document["services"][0];
    assert_eq!(service["mode"], "relay");
    assert_eq!(service["listen"][0], chain.relay.addr.to_string());
    assert_eq!(service["streams"]["open"], 1);
    assert_eq!(
        (&service["bytes_to_clients"], &service["bytes_to_services"]),
        (&1.into(), &1.into())
    );
    assert_eq!(service["targets"][0]["state"], "up");
    let one = &service["connections"][0];
    assert_eq!(one["peer"], chain.serve.addr.to_string());
    assert_eq!((&one["version"], &one["state"]), (&1.into(), &"up".into()));
    assert_eq!(one["streams"]["open"], 1);
    assert!(one["round_trip_ms"].as_f64().unwrap() > 0.0, "{one}");
}

#[tokio::test]
async fn serve_shows_the_names_that_its_peers_have_proven() {
    let files = Files::new("admin");
    let tls = "--tls-cert @127.0.0.1.pem --tls-key @127.0.0.1.key --tls-client-ca @ca.pem";
    let mut serve = files.serve(&format!("{tls} --admin 127.0.0.1:0")).await;
    let admin = serve.admin().await;
    let client = "--tls --tls-ca @ca.pem --tls-cert @client.pem --tls-key @client.key";
    let relay = files.relay(&serve, client).await;
    assert_eq!(exchange(relay.addr, b"!").await.unwrap(), b"!");
    let document = connections(admin).await;
    let one = &document["services"][0]["connections"][0];
    assert_eq!(one["identity"], serde_json::json!(["client"]), "{one}");
    assert_eq!(one["target"], Value::Null);
}

#[tokio::test]
async fn rates_are_between_two_looks() {
    let (chain, admin) = chain().await;
    let rate = async || {
        let document = connections(admin).await;
        let one = &document["services"][0]["connections"][0];
        one["sent_bytes_per_second"].as_f64()
    };
    let (mut client, _service) = chain.connect_and_talk().await;
    assert_eq!(rate().await, None);
    client.write_all(&[0; 100_000]).await.unwrap();
    within(async {
        while rate().await.is_none_or(|rate| rate == 0.0) {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_are_the_librarys_and_those_of_the_guide() {
    let (chain, admin) = chain().await;
    let _streams = chain.connect_and_talk().await;
    let (_, metrics) = text(admin, "/metrics").await;
    assert!(
        metrics.contains("tcpchan_connections{role=\"client\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("tcpchan_service_streams{service=\"\",mode=\"relay\"} 1"),
        "{metrics}"
    );
    let up = format!(
        "tcpchan_target_up{{service=\"\",mode=\"relay\",target=\"{}\"}} 1",
        chain.serve.addr
    );
    assert!(metrics.contains(&up), "{metrics}");
    let own =
        |name: &&str| name.starts_with("tcpchan_service_") || name.starts_with("tcpchan_target_");
    let types = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let mut shown: Vec<(&str, &str)> = types.filter_map(|line| line.split_once(' ')).collect();
    shown.retain(|(name, _)| own(name));
    let table = rows().map(|row| (row[0].trim_matches('`'), row[1]));
    let table: Vec<(&str, &str)> = table.filter(|(name, _)| own(name)).collect();
    assert_eq!(shown, table);
}

#[tokio::test]
async fn readiness_says_which_target_is_not_reached_and_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let mut serve = Daemon::start(&format!("serve --to {addr} --admin 127.0.0.1:0")).await;
    let admin = serve.admin().await;
    let (status, told) = text(admin, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        told.starts_with(&format!("serve: {addr}: Connection refused")),
        "{told}"
    );
    assert_eq!(text(admin, "/healthz").await.0, StatusCode::OK);
    let _service = TcpListener::bind(addr).await.unwrap();
    within(async {
        while text(admin, "/readyz").await.0 != StatusCode::OK {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_relay_is_ready_once_its_server_answers() {
    let (_chain, admin) = chain().await;
    assert_eq!(text(admin, "/readyz").await.0, StatusCode::OK);
    let document = connections(admin).await;
    let service = &document["services"][0];
    assert_eq!(service["connections"].as_array().unwrap().len(), 1);
    assert_eq!(service["streams"]["total"], 0);
}

#[tokio::test]
async fn a_hub_is_ready_for_services_and_a_service_that_no_hub_has_taken_is_not() {
    let files = Files::new("admin-publish");
    files.write("keys", "web 0123456789abcdef\n");
    let args = "hub --listen 127.0.0.1:0 --service web=127.0.0.1:0 --key-file @keys \
                --admin 127.0.0.1:0";
    let mut hub = Daemon::spawn(&mut tcpchan(&files.args(args)));
    let addr = hub.listens("").await;
    let of_hub = hub.admin().await;
    assert_eq!(text(of_hub, "/readyz").await.0, StatusCode::OK);
    let to = echo().await;
    let publish = |hub: SocketAddr| {
        let args = format!(
            "publish --hub {hub} --to {to} --name web --key-file @keys --admin 127.0.0.1:0"
        );
        Daemon::spawn(&mut tcpchan(&files.args(&args)))
    };
    let mut service = publish(addr);
    let admin = service.admin().await;
    within(async {
        while text(admin, "/readyz").await.0 != StatusCode::OK {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let mut service = publish(addr);
    let admin = service.admin().await;
    let (status, told) = text(admin, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told, "publish: no hub has taken the service\n");
}

#[tokio::test]
async fn a_process_that_stops_is_not_ready_and_goes_on_showing() {
    let (mut chain, admin) = chain().await;
    let streams = chain.connect_and_talk().await;
    chain.relay.signal("TERM").await;
    chain.relay.says("stopping").await;
    let (status, told) = text(admin, "/readyz").await;
    assert_eq!(
        (status, &*told),
        (StatusCode::SERVICE_UNAVAILABLE, "the process stops\n")
    );
    assert_eq!(connections(admin).await["stopping"], true);
    drop(streams);
    assert_eq!(chain.relay.ended().await.0, Some(0));
}

#[tokio::test]
async fn names_of_others_are_not_served_and_those_of_the_option_are() {
    let to = echo().await;
    let args = format!("serve --to {to} --admin 127.0.0.1:0 --admin-host metrics.internal");
    let mut serve = Daemon::start(&args).await;
    let admin = serve.admin().await;
    for (host, status) in [
        ("localhost", StatusCode::OK),
        ("metrics.internal:9100", StatusCode::OK),
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = Client::new().get(format!("http://{admin}/connections"));
        let response = within(request.header("host", host).send()).await.unwrap();
        assert_eq!(response.status(), status, "{host}");
    }
}

#[tokio::test]
async fn it_takes_no_method_that_could_change_something() {
    let (_chain, admin) = chain().await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Client::new().request(method.clone(), format!("http://{admin}/"));
        let response = within(request.send()).await.unwrap();
        assert_eq!(
            response.status(),
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
    }
    let head = Client::new().head(format!("http://{admin}/healthz"));
    assert_eq!(within(head.send()).await.unwrap().status(), StatusCode::OK);
}

/// Each may be silent for five seconds.
#[tokio::test]
async fn silent_clients_hold_up_nobody_for_long() {
    let (_chain, admin) = chain().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(admin).await.unwrap());
    }
    assert_eq!(text(admin, "/healthz").await.0, StatusCode::OK);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let digit = |at: usize| match at <= group.len() {
            true => DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char,
            false => '=',
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// Where a hash is wrong, the test tells the right one.
#[tokio::test]
async fn the_page_may_run_its_own_script_and_no_other() {
    let (_chain, admin) = chain().await;
    let response = get(admin, "/").await;
    let policy = response.headers()["content-security-policy"].clone();
    let policy = policy.to_str().unwrap().to_owned();
    let page = within(response.text()).await.unwrap();
    for tag in ["script", "style"] {
        let inside = page.split_once(&format!("<{tag}>")).unwrap().1;
        let inside = inside.split_once(&format!("</{tag}>")).unwrap().0;
        let allowed = format!("{tag}-src 'sha256-{}';", base64(&Sha256::digest(inside)));
        assert!(policy.contains(&allowed), "{allowed}");
    }
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for outside in ["src=", "@import", "http://", "https://"] {
        let without = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!without.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = echo().await;
    let admin = taken.local_addr().unwrap();
    let args = format!("serve --listen 127.0.0.1:0 --to {to} --admin {admin}");
    let output = within(crate::programs::tcpchan(&args).output())
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("--admin: can't listen on {admin}")),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}
