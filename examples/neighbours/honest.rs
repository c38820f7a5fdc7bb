//! The neighbour: requests at a steady pace, each on time whether or not those
//! before it were answered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tokio::task::JoinSet;

use crate::Failure;

/// A hyper client over one connection.
pub struct Client {
    http: legacy::Client<Multiplex<HttpConnector>, Empty<Bytes>>,
    uri: Uri,
}

impl Client {
    pub fn new(to: &str) -> Result<Client, Failure> {
        Ok(Client {
            http: legacy::Client::builder(TokioExecutor::new())
                .build(Multiplex::new(HttpConnector::new())),
            uri: format!("http://{to}/").parse()?,
        })
    }

    /// Bytes that the connections of the server's process hold together.
    pub async fn leased(&self) -> Result<f64, Failure> {
        let uri = format!("{}leased", self.uri).parse()?;
        let body = self.http.get(uri).await?.into_body().collect().await?;
        Ok(std::str::from_utf8(&body.to_bytes())?.parse()?)
    }

    /// How long each of so many requests a second took from its sending.
    pub async fn requests(&self, rate: u32, time: Duration) -> Result<Latencies, Failure> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut requests = JoinSet::new();
        let end = Instant::now() + time;
        while Instant::now() < end {
            ticks.tick().await;
            let (http, uri) = (self.http.clone(), self.uri.clone());
            requests.spawn(async move {
                let start = Instant::now();
                let Ok(answer) = http.get(uri).await else {
                    return Ok(None);
                };
                let body = answer.into_body().collect().await?;
                assert_eq!(body.to_bytes(), "hello");
                Ok::<_, Failure>(Some(start.elapsed()))
            });
        }
        let took: Result<Vec<_>, Failure> = requests.join_all().await.into_iter().collect();
        Ok(Latencies::new(took?))
    }
}

/// How long new clients take for their first request, twenty a second.
pub async fn newcomers(to: &str, time: Duration) -> Result<Latencies, Failure> {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut clients = JoinSet::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        ticks.tick().await;
        let client = Client::new(to)?;
        clients.spawn(async move {
            let start = Instant::now();
            let get = client.http.get(client.uri.clone());
            match tokio::time::timeout(PATIENCE, get).await {
                Ok(Ok(_)) => Some(start.elapsed()),
                _ => None,
            }
        });
    }
    Ok(Latencies::new(clients.join_all().await))
}

/// A new client that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of the requests that were answered.
pub struct Latencies {
    answered: Vec<Duration>,
    failed: usize,
}

impl Latencies {
    fn new(took: Vec<Option<Duration>>) -> Latencies {
        let all = took.len();
        let mut answered: Vec<_> = took.into_iter().flatten().collect();
        answered.sort();
        let failed = all - answered.len();
        Latencies { answered, failed }
    }

    /// Microseconds.
    pub fn at(&self, part: f64) -> f64 {
        let nth = (self.answered.len() as f64 * part) as usize;
        self.answered
            .get(nth)
            .map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }

    /// The part of the requests that failed, in percent.
    pub fn failed(&self) -> f64 {
        let all = self.answered.len() + self.failed;
        self.failed as f64 / all as f64 * 100.0
    }
}
