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

    /// How long each of so many requests a second took from its sending. One that fails counts
    /// as 10 s.
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
                    return Ok(PATIENCE); // it was refused
                };
                let body = answer.into_body().collect().await?;
                assert_eq!(body.to_bytes(), "hello");
                Ok::<_, Failure>(start.elapsed())
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
            // One that fails, or takes longer, counts as so long.
            match tokio::time::timeout(PATIENCE, get).await {
                Ok(Ok(_)) => start.elapsed(),
                _ => PATIENCE,
            }
        });
    }
    Ok(Latencies::new(clients.join_all().await))
}

/// See [`newcomers`].
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Latencies(Vec<Duration>);

impl Latencies {
    fn new(mut took: Vec<Duration>) -> Latencies {
        took.sort();
        Latencies(took)
    }

    /// Microseconds.
    pub fn at(&self, part: f64) -> f64 {
        let nth = (self.0.len() as f64 * part) as usize;
        self.0
            .get(nth)
            .map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }
}
