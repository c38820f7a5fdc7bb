//! A real browser, Chromium, driven by the WebDriver protocol.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::guard::within;

/// It runs as root in containers, and asks nobody on the internet.
const ARGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A window with a page. The browser ends when it is dropped.
pub struct Page {
    client: Client,
    session: String,
    _driver: Child,
}

impl Page {
    pub async fn open(url: &str) -> Page {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr: SocketAddr = port.local_addr().unwrap();
        drop(port);
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", addr.port()))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is installed");
        let client = Client::new();
        let status = format!("http://{addr}/status");
        within(async {
            while client.get(&status).send().await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": ARGS},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut page = Page {
            client,
            session: format!("http://{addr}/session"),
            _driver: driver,
        };
        let made = page.post("", wanted).await;
        let id = made["sessionId"].as_str().expect("a session").to_owned();
        page.session = format!("{}/{id}", page.session);
        page.post("/url", json!({ "url": url })).await;
        page
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session));
        let response = within(request.json(&body).send()).await.unwrap();
        let mut answer: Value = within(response.json()).await.unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{path}: {value}");
        value
    }

    /// What a function of the page returns.
    pub async fn run(&self, script: &str) -> Value {
        let call = json!({"script": script, "args": []});
        self.post("/execute/sync", call).await
    }

    /// Waits until an expression is true on the page.
    pub async fn shows(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        within(async {
            while self.run(&script).await != true {
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }

    /// What the browser complains about so far.
    pub async fn complaints(&self) -> Vec<Value> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        log.as_array().expect("a log").clone()
    }

    pub async fn close(self) {
        let request = self.client.delete(&self.session);
        within(request.send()).await.unwrap();
    }
}
