//! Requests without a pool of channels: each opens one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tower::load::Load;
use tower_service::Service;

use super::connecting::Connecting;
use super::error::{BoxError, ConnectError};
use super::health::Health;
use super::multiplex::Multiplex;
use super::retry::{Lost, lost};
use super::user_info::without_user_info;

/// The longest time that is waited for a dial in the background before another begins: a
/// dial that takes longer hangs, or has lost packets.
const HANGS: Duration = Duration::from_secs(2);

/// A tower service of HTTP/1.1 requests to one target, each on a channel of its own. It is
/// for programs that don't need hyper-util's client and its pool.
///
/// To open a channel costs no round trip. And no request meets a channel that its server is
/// about to close, as can happen with keep-alive.
///
/// If the future of a request or its response body is dropped, the request is reset, so the
/// server learns of it. Clones share their load.
///
/// # Load and health
///
/// `tower::balance` reads its [`Load`]: the requests in flight, up to the end of their
/// responses' bodies, times the round trip. Requests that were dropped without a response,
/// as by a timeout, count until a response comes, or until 4 s after the last of them.
///
/// After a failure, the target costs so much that it is avoided while there are others. A
/// failure is one of these, with no response since:
///
/// - the target could not be reached, or a connection was lost;
/// - three channels in a row ended without a response;
/// - a request waited for 100 ms or longer and was dropped.
///
/// After 4 s one request tries the target again. Others follow once it has its response. A
/// target without a connection, as at the start, is tried by a dial in the background. Until
/// that succeeds, it costs more than any target that answers.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::{Multiplex, Requests};
/// use tower::balance::p2c::Balance;
/// use tower::discover::ServiceList;
///
/// let connector = Multiplex::new(HttpConnector::new());
/// let targets = ["http://10.0.0.1:3000", "http://10.0.0.2:3000"];
/// let services = targets.map(|uri| {
///     Requests::new(connector.clone(), http::Uri::from_static(uri))
/// });
/// let balanced = Balance::new(ServiceList::new::<http::Request<Full<Bytes>>>(services));
/// # let _: Balance<_, http::Request<Full<Bytes>>> = balanced;
/// ```
#[derive(Clone)]
pub struct Requests<C> {
    multiplex: Multiplex<C>,
    target: Uri,
    /// The `host` header of the target's authority.
    host: Option<HeaderValue>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: AtomicUsize,
    /// A task dials.
    dials: AtomicBool,
    health: Mutex<Health>,
}

impl<C> Requests<C> {
    /// Requests to the scheme and authority of `target`, whatever theirs are.
    /// One that has no `host` header gets one, of its own authority or else of
    /// the target's.
    pub fn new(multiplex: Multiplex<C>, target: Uri) -> Self {
        let state = Arc::default();
        let target = without_user_info(&target).into_owned();
        let host = target.authority().and_then(host_of);
        Requests {
            multiplex,
            target,
            host,
            state,
        }
    }

    /// The connector that opens its channels.
    pub fn multiplex(&self) -> &Multiplex<C> {
        &self.multiplex
    }

    /// Where its requests go.
    #[must_use]
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Requests in flight: started, and the response is not over.
    pub fn under_way(&self) -> usize {
        self.state.under_way.load(Relaxed)
    }

    /// The shortest round trip of the connections that answer.
    fn rtt(&self) -> Option<Duration> {
        self.multiplex.rtt_of(&self.target)
    }

    fn authority(&self) -> Option<&str> {
        self.target.authority().map(Authority::as_str)
    }

    /// Gives a request the form that HTTP/1 has for an origin server.
    fn prepare<B>(&self, request: &mut Request<B>) {
        if !request.headers().contains_key(HOST) {
            let authority = request.uri().authority();
            let other = authority.filter(|one| Some(one.as_str()) != self.authority());
            let host = match other {
                Some(other) => host_of(other),
                None => self.host.clone(),
            };
            if let Some(host) = host {
                request.headers_mut().insert(HOST, host);
            }
        }
        if request.method() != Method::CONNECT {
            let path = request.uri().path_and_query().cloned();
            let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
            *request.uri_mut() = Uri::from(path);
        }
        if request.version() > Version::HTTP_11 {
            *request.version_mut() = Version::HTTP_11;
        }
    }
}

fn host_of(authority: &Authority) -> Option<HeaderValue> {
    let host = match authority.port_u16() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    HeaderValue::try_from(host).ok()
}

impl<C> fmt::Debug for Requests<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("target", &self.target)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<C> Load for Requests<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    type Metric = Duration;

    fn load(&self) -> Duration {
        let (rtt, under_way) = (self.rtt(), self.under_way());
        self.dial_if_unknown(rtt);
        self.state.health().load(rtt, under_way, Instant::now())
    }
}

impl<C> Requests<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    /// Has a target dialled none of whose connections answers, so that no request needs
    /// to try it. The pool spaces dials that fail.
    fn dial_if_unknown(&self, rtt: Option<Duration>) {
        if rtt.is_some() || self.state.dials.load(Relaxed) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        self.state.dials.store(true, Relaxed);
        let dials = Dials(self.state.clone());
        let dialled = self.multiplex.prewarm(&self.target, 1);
        runtime.spawn(async move {
            // One that hangs is not waited for: the next may succeed.
            let _ = timeout(HANGS, dialled).await;
            drop(dials);
        });
    }
}

/// A task dials, until this is dropped.
struct Dials(Arc<State>);

impl Drop for Dials {
    fn drop(&mut self) {
        self.0.dials.store(false, Relaxed);
    }
}

impl State {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure, unless it is the request's own. hyper may say no more than that
    /// the response is missing, so a channel counts where a connection is left.
    fn failed(&self, error: &(dyn Error + 'static), connected: bool) {
        let now = Instant::now();
        match lost(error) {
            Some(Lost::Channel) if connected => self.health().on_channel_lost(now),
            Some(_) => self.health().on_connection_lost(now),
            None => {}
        }
    }
}

/// A request that has no response yet. Dropping it says that its caller gave it up.
struct Unanswered {
    state: Arc<State>,
    started: Instant,
    over: bool,
}

impl Unanswered {
    fn new(state: Arc<State>) -> Self {
        let started = Instant::now();
        state.health().on_request(started);
        let over = false;
        Unanswered {
            state,
            started,
            over,
        }
    }

    fn answered(mut self, rtt: Option<Duration>) {
        self.over = true;
        self.state.health().on_response(rtt, Instant::now());
    }

    fn failed(mut self, error: &(dyn Error + 'static), connected: bool) {
        self.over = true;
        self.state.failed(error, connected);
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.over {
            let mut health = self.state.health();
            health.on_drop(self.started, Instant::now());
        }
    }
}

/// A request from its begin to its response's end.
struct UnderWay(Arc<State>);

impl UnderWay {
    fn new(state: &Arc<State>) -> Self {
        state.under_way.fetch_add(1, Relaxed);
        UnderWay(state.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// The response to come. Dropping it resets the request's channel.
#[must_use = "futures do nothing unless polled"]
pub struct Responding(
    // The future of hyper's `send_request` has no name, so it needs the box.
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, RequestError>> + Send>>,
);

impl fmt::Debug for Responding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responding").finish_non_exhaustive()
    }
}

impl Future for Responding {
    type Output = Result<Response<Incoming>, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<C, B> Service<Request<B>> for Requests<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Incoming>;
    type Error = RequestError;
    type Future = Responding;

    /// Always ready: a request waits for its channel. A target that has no connection is
    /// dialled.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        self.dial_if_unknown(self.rtt());
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Responding {
        self.prepare(&mut request);
        let under_way = UnderWay::new(&self.state);
        let unanswered = Unanswered::new(self.state.clone());
        let target = self.multiplex.target(&self.target);
        let labels = self.multiplex.labels_of(&self.target);
        let opening = Connecting::new(target.clone(), labels);
        Responding(Box::pin(async move {
            match respond(opening, request, under_way).await {
                Ok(response) => {
                    unanswered.answered(target.rtt());
                    Ok(response)
                }
                Err(cause) => {
                    let error = RequestError(cause);
                    unanswered.failed(&error, target.rtt().is_some());
                    Err(error)
                }
            }
        }))
    }
}

async fn respond<B>(
    opening: Connecting,
    request: Request<B>,
    under_way: UnderWay,
) -> Result<Response<Incoming>, Cause>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let channel = opening.await.map_err(Cause::Connect)?;
    let shaken = http1::handshake(channel).await;
    let (mut sender, connection) = shaken.map_err(Cause::Http)?;
    tokio::spawn(async move {
        // Whoever waits for the response or its body gets the error.
        let _ = connection.with_upgrades().await;
        drop(under_way);
    });
    let responding = sender.send_request(request);
    // Or hyper may hold a request that meets the end of its connection
    // for as long as the sender is there: hyper issue 4122.
    drop(sender);
    responding.await.map_err(Cause::Http)
}

/// Why a request of [`Requests`] has no response; its source is the cause.
/// [`is_retryable`](super::is_retryable) and [`is_lost`](super::is_lost) tell
/// what that means for the request.
///
/// ```
/// # use std::error::Error;
/// use http::Request;
/// use http_body_util::Empty;
/// use hyper_util::client::legacy::connect::HttpConnector;
/// use tcpchan::client::{Multiplex, Requests, is_retryable};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn Error>> {
/// let target = "http://127.0.0.1:1".parse()?; // where nothing listens
/// let requests = Requests::new(Multiplex::new(HttpConnector::new()), target);
/// let request = Request::new(Empty::<bytes::Bytes>::new());
/// let error = requests.oneshot(request).await.unwrap_err();
/// assert!(error.is_connect());
/// assert!(is_retryable(&error)); // no server saw it
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RequestError(Cause);

#[derive(Debug)]
enum Cause {
    Connect(ConnectError),
    Http(hyper::Error),
}

impl RequestError {
    /// Whether no channel could be had.
    pub fn is_connect(&self) -> bool {
        matches!(self.0, Cause::Connect(_))
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Cause::Connect(_) => "the request found no channel",
            Cause::Http(_) => "the request got no response",
        })
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match &self.0 {
            Cause::Connect(error) => error,
            Cause::Http(error) => error,
        })
    }
}
