//! A real Prometheus scrapes a program of this crate, evaluates the alerts, and has data
//! for each panel of the dashboard. `tests/programs.sh` installs it on Debian.
#![cfg(all(
    feature = "axum",
    feature = "cli",
    feature = "client",
    feature = "metrics",
    feature = "server",
    unix
))]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::stream;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tcpchan::client::Multiplex;
use tcpchan::observability::{BUCKETS, describe_metrics};
use tcpchan::server::{Acceptor, ConnectionLimits, SharedPort};
use tcpchan::{Config, Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tower::Service;

use crate::guard::within;
use crate::names::DASHBOARD;
use crate::programs::{Daemon, out, run};
use crate::rude::violation;
use crate::scrape::sum;
use crate::started::started;

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/observability/alerts.yml");
const ALERTS_TEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/observability/alerts_test.yml");

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn free_port() -> SocketAddr {
    listen().await.1
}

/// Serves what Prometheus scrapes.
async fn exporter(metrics: PrometheusHandle) -> SocketAddr {
    let (listener, addr) = listen().await;
    let app = Router::new().route("/metrics", get(|| async move { metrics.render() }));
    tokio::spawn(async { axum::serve(listener, app).await });
    addr
}

/// An echo server and requests to it, ten a second, that end as the task does.
async fn traffic() {
    let (listener, addr) = listen().await;
    let mut acceptor = Acceptor::new(listener);
    tokio::spawn(async move {
        loop {
            let (mut channel, _) = acceptor.accept().await;
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                if channel.read_to_end(&mut bytes).await.is_ok() {
                    channel.write_all(&bytes).await.unwrap();
                    channel.shutdown().await.unwrap();
                }
            });
        }
    });
    loop {
        let mut connector = Multiplex::new(HttpConnector::new());
        for nth in 0..10 {
            let uri: Uri = format!("http://{addr}").parse().unwrap();
            let mut channel = connector.call(uri).await.unwrap();
            channel.write_all(b"ask").await.unwrap();
            if nth % 2 == 0 {
                channel.shutdown().await.unwrap();
                channel.read_to_end(&mut Vec::new()).await.unwrap();
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What goes wrong, again and again.
async fn trouble() {
    let (listener, addr) = listen().await;
    let _acceptor = started(Acceptor::new(listener));
    let (listener, shared) = listen().await;
    let mut port = SharedPort::new(listener);
    let (listener, full) = listen().await;
    let limits = ConnectionLimits::default().max_connections(1).unwrap();
    let _full = started(Acceptor::new(listener).with_connection_limits(limits));
    let _first = TcpStream::connect(full).await.unwrap();
    for _ in 0..6 {
        let mut rude = TcpStream::connect(addr).await.unwrap();
        rude.write_all(&violation()).await.unwrap();
        let _ = rude.read_to_end(&mut Vec::new()).await; // the sixth is held back
    }
    loop {
        if let Ok(mut refused) = TcpStream::connect(full).await {
            let _ = refused.read_to_end(&mut Vec::new()).await; // a reset, or an end
        }

        let down: Uri = format!("http://{}", free_port().await).parse().unwrap();
        let mut connector = Multiplex::new(HttpConnector::new());
        connector.call(down).await.unwrap_err();

        let mut stranger = TcpStream::connect(addr).await.unwrap();
        stranger
            .write_all(b"SSH-2.0-OpenSSH_9.6\r\n")
            .await
            .unwrap();
        let _ = stranger.read_to_end(&mut Vec::new()).await; // however it ends

        let mut http = TcpStream::connect(shared).await.unwrap();
        http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _io = port.accept().await;

        let failures = stream::iter([Err::<(TcpStream, SocketAddr), _>(io::Error::other("full"))]);
        let acceptor = started(Acceptor::from_incoming(failures));
        falls_silent().await;
        drop(acceptor);
    }
}

/// A connection that becomes suspect and then drains.
async fn falls_silent() {
    let ((near, mut one), (mut other, far)) = (duplex(64 << 10), duplex(64 << 10));
    let times = (Duration::from_millis(100), Duration::from_secs(10));
    let config = Config::default().answer_within(times.0, times.1).unwrap();
    let client = Connection::client(near, config.clone());
    let server = Connection::server(far, config);
    let carry = async { copy_bidirectional(&mut one, &mut other).await };
    let draining = async {
        let mut channel = client.open().await.unwrap();
        channel.write_all(b"ask").await.unwrap();
        let accepted = server.accept().await.unwrap();
        server.drain();
        while client.is_open() {
            sleep(Duration::from_millis(1)).await;
        }
        (channel, accepted)
    };
    let (mut channel, _accepted) = tokio::select! {
        _ = carry => unreachable!("both ends are held"),
        channels = draining => channels,
    };
    channel.write_all(b"more").await.unwrap();
    while !client.is_suspect() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// The command with an admin address, and a stream of a client over it.
async fn command() -> (Daemon, Daemon, SocketAddr) {
    let (service, to) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = service.accept().await.unwrap();
            tcp.write_all(b"hello").await.unwrap();
        }
    });
    let serve = Daemon::serve(to).await;
    let args = format!("relay --to {} --admin 127.0.0.1:0", serve.addr);
    let mut relay = Daemon::start(&args).await;
    let admin = relay.admin().await;
    let mut client = TcpStream::connect(relay.addr).await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    (relay, serve, admin)
}

struct Prometheus {
    addr: SocketAddr,
    _child: Child,
}

impl Prometheus {
    async fn start(targets: &[SocketAddr]) -> Prometheus {
        let targets: Vec<String> = targets.iter().map(|addr| format!("'{addr}'")).collect();
        let targets = targets.join(", ");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [{ALERTS}]\n\
             scrape_configs: [{{job_name: tcpchan, static_configs: [{{targets: [{targets}]}}]}}]\n"
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let addr = free_port().await;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={addr}"))
            .arg("--log.level=error")
            .kill_on_drop(true)
            .spawn()
            .expect("Prometheus is installed");
        let prometheus = Prometheus {
            addr,
            _child: child,
        };
        let ready = format!("http://{addr}/-/ready");
        within(async {
            while !run("curl", ["-sf", &ready]).await.status.success() {
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        prometheus
    }

    async fn get(&self, path: &str, query: &str) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.addr);
        let query = format!("query={query}");
        let answer = out("curl", ["-sG", &url, "--data-urlencode", &query]).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"].clone()
    }

    /// The series that a query finds.
    async fn query(&self, query: &str) -> Vec<Value> {
        let data = self.get("query", query).await;
        data["result"].as_array().unwrap().clone()
    }

    /// The sum of a query's series.
    async fn sum(&self, query: &str) -> f64 {
        let series = self.query(query).await;
        let values = series.iter().map(|one| one["value"][1].as_str().unwrap());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }
}

fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let expressions = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap());
    let expressions = expressions.map(|expression| {
        let expression = expression.replace("$instance", ".*");
        expression.replace("$__rate_interval", "1m")
    });
    expressions.collect()
}

#[tokio::test]
#[ignore = "runs Prometheus"]
async fn the_dashboard_and_the_alerts_work_in_a_real_prometheus() {
    out("promtool", ["check", "rules", ALERTS]).await;
    out("promtool", ["test", "rules", ALERTS_TEST]).await;
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Prefix("tcpchan_".into()), &BUCKETS);
    let recorder = builder.unwrap().build_recorder();
    let metrics = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    describe_metrics();
    let target = exporter(metrics.clone()).await;
    let (_relay, _serve, admin) = command().await;
    let prometheus = Prometheus::start(&[target, admin]).await;
    let tasks = [tokio::spawn(traffic()), tokio::spawn(trouble())];

    let expressions = expressions();
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in &expressions {
        // A quantile of nothing is not a number.
        let shows = format!("({expression}) >= 0");
        let has_data = async {
            while prometheus.query(&shows).await.is_empty() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        let has_data = timeout(Duration::from_secs(60), has_data).await;
        has_data.unwrap_or_else(|_| panic!("no data: {expression}"));
    }

    for target in [target, admin] {
        let lint = format!("curl -s http://{target}/metrics | promtool check metrics");
        out("sh", ["-c", &lint]).await;
    }

    for task in tasks {
        task.abort();
    }
    for name in [
        "tcpchan_open_duration_seconds_count",
        "tcpchan_dial_duration_seconds_count",
        "tcpchan_channels_opened_total",
    ] {
        within(async {
            let own = format!("{name}{{instance='{target}'}}");
            while prometheus.sum(&own).await != sum(&metrics, name) {
                sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
    }

    let rules = prometheus.get("rules", "").await;
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 8, "{rules:?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
