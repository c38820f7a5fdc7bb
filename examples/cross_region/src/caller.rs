//! Clients: one that makes the same call many times, and one that asks the
//! server what it counted.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioExecutor;
use tcpchan::client::Multiplex;
use tokio::task::JoinSet;

use crate::calls::{Load, Way};
use crate::probe::{CONNECT_TIMEOUT, within};
use crate::server::Target;
use crate::{Failure, body, connector};

pub fn builder() -> Builder {
    Client::builder(TokioExecutor::new())
}

/// The cause of an error, without the layers that it came through.
pub fn root<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// A client and the call that it makes.
#[derive(Clone)]
pub struct Caller<C> {
    client: Client<C, Full<Bytes>>,
    uri: Uri,
    body: Bytes,
    expected: Bytes,
    timeout: Duration,
}

impl<C> Caller<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    pub fn new(
        client: Client<C, Full<Bytes>>,
        addr: SocketAddr,
        load: Load,
    ) -> Result<Caller<C>, Failure> {
        let (sent, wanted) = (load.request_body, load.response_body);
        Ok(Caller {
            client,
            uri: format!("http://{addr}/exchange/{sent}/{wanted}").parse()?,
            body: body::of_length(sent as usize)?,
            expected: body::of_length(wanted as usize)?,
            timeout: Duration::from_secs(load.timeout),
        })
    }

    /// The latencies of calls one after another.
    pub async fn sequence(&self, count: u16, show: impl Fn(u16)) -> Result<Vec<Duration>, Failure> {
        let mut latencies = Vec::new();
        for done in 0..count {
            show(done);
            latencies.push(self.call().await?);
        }
        show(count);
        Ok(latencies)
    }

    /// The latencies of calls at once.
    pub async fn burst(&self, count: u16, show: impl Fn(u16)) -> Result<Vec<Duration>, Failure> {
        show(0);
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let caller = self.clone();
            tasks.spawn(async move { caller.call().await });
        }
        let mut latencies = Vec::new();
        for done in 1..=count {
            latencies.extend(tasks.join_next().await.transpose()?.transpose()?);
            show(done);
        }
        Ok(latencies)
    }

    /// Makes one call, checks its answer to the last byte, and times it.
    async fn call(&self) -> Result<Duration, Failure> {
        let method = match self.body.is_empty() {
            true => Method::GET,
            false => Method::POST,
        };
        let request = Request::builder()
            .method(method)
            .uri(self.uri.clone())
            .body(Full::new(self.body.clone()))?;
        let start = Instant::now();
        within(self.timeout, async {
            let response = succeeded(self.client.request(request).await?)?;
            body::check(response.into_body(), self.expected.clone()).await
        })
        .await?;
        Ok(start.elapsed())
    }
}

fn succeeded(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(format!("the server answered {status}").into()),
    }
}

/// Asks the server for its count of TCP connections. It keeps one of its own,
/// from before the first count to after the last.
pub struct Counter {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

impl Counter {
    /// Asks once on each port, so that a wrong one is found before the work.
    pub async fn new(target: Target) -> Result<Counter, Failure> {
        let tcpchan = builder().build(Multiplex::new(connector()));
        first_count(&tcpchan, target.tcpchan, "tcpchan").await?;
        let client = builder().pool_idle_timeout(None).build(connector());
        let uri = first_count(&client, target.plain, "plain HTTP").await?;
        Ok(Counter { client, uri })
    }

    /// The TCP connections that the server has accepted for this way so far.
    pub async fn accepted(&self, way: Way) -> Result<u64, Failure> {
        let counts = counts(&self.client, &self.uri).await?;
        let count = match way {
            Way::Tcpchan => &counts["tcpchan"],
            Way::NewConnections | Way::KeepAlivePool => &counts["plain"],
        };
        count
            .as_u64()
            .ok_or_else(|| "the server's count is no number".into())
    }
}

async fn first_count<C>(
    client: &Client<C, Full<Bytes>>,
    addr: SocketAddr,
    speaks: &str,
) -> Result<Uri, Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let uri = format!("http://{addr}/connections").parse()?;
    match counts(client, &uri).await {
        Ok(_) => Ok(uri),
        Err(error) => Err(format!(
            "no cross_region serves {speaks} on {addr}: {}",
            root(&*error)
        )
        .into()),
    }
}

async fn counts<C>(client: &Client<C, Full<Bytes>>, uri: &Uri) -> Result<serde_json::Value, Failure>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    within(CONNECT_TIMEOUT, async {
        let response = succeeded(client.get(uri.clone()).await?)?;
        let text = response.into_body().collect().await?.to_bytes();
        Ok::<_, Failure>(serde_json::from_slice(&text)?)
    })
    .await
}
