//! Retries of requests whose bodies can't be cloned.

use std::fmt;
use std::future::Ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::retry::{Policy, Retry};
use tower_layer::Layer;
use tower_service::Service;

use super::error::BoxError;
use super::retry_policy::{Plain, RetryPolicy, ServiceError};

/// Retries as [`RetryPolicy`] does, also requests whose bodies can't be cloned: as long
/// as nothing of the body was asked for. That is so of those that found no channel, and
/// of those without a body.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::combinators::BoxBody;
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tcpchan::client::{Multiplex, RetryLayer, RetryPolicy};
/// use tower::ServiceBuilder;
///
/// let client = Client::builder(TokioExecutor::new())
///     .pool_max_idle_per_host(0)
///     .build(Multiplex::new(HttpConnector::new()));
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryPolicy::new()))
///     .service(client);
/// # type Streamed = BoxBody<Bytes, std::io::Error>;
/// # fn is_service<S: tower::Service<http::Request<Streamed>>>(_: S) {}
/// # is_service(client);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryLayer<K = Plain> {
    policy: RetryPolicy<K>,
}

impl<K> RetryLayer<K> {
    /// Retries by this policy.
    pub fn new(policy: RetryPolicy<K>) -> Self {
        RetryLayer { policy }
    }

    /// The policy that it retries by.
    pub fn policy(&self) -> &RetryPolicy<K> {
        &self.policy
    }
}

impl<K> Default for RetryLayer<K> {
    fn default() -> Self {
        RetryLayer::new(RetryPolicy::new())
    }
}

impl<S, K> Layer<S> for RetryLayer<K> {
    type Service = RetryService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = UnlessBegun(self.policy.clone());
        RetryService(Retry::new(policy, inner))
    }
}

/// The service of [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct RetryService<S, K = Plain>(Retry<UnlessBegun<K>, S>);

impl<S, B, K> Service<Request<B>> for RetryService<S, K>
where
    Retry<UnlessBegun<K>, S>: Service<Request<ReplayBody<B>>>,
{
    type Response = <Retry<UnlessBegun<K>, S> as Service<Request<ReplayBody<B>>>>::Response;
    type Error = <Retry<UnlessBegun<K>, S> as Service<Request<ReplayBody<B>>>>::Error;
    type Future = <Retry<UnlessBegun<K>, S> as Service<Request<ReplayBody<B>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request.map(ReplayBody::new))
    }
}

/// The policy, for requests whose body was not started.
#[derive(Clone, Debug)]
pub struct UnlessBegun<K>(RetryPolicy<K>);

impl<B, R, E, K> Policy<Request<ReplayBody<B>>, Response<R>, E> for UnlessBegun<K>
where
    E: ServiceError<K>,
{
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<ReplayBody<B>>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        match result.is_err() && request.body().is_begun() {
            true => None,
            false => self.0.retry(request, result),
        }
    }

    fn clone_request(
        &mut self,
        request: &Request<ReplayBody<B>>,
    ) -> Option<Request<ReplayBody<B>>> {
        Some(request.clone())
    }
}

pin_project! {
    /// A body whose clones are one: the first that is polled has it.
    pub struct ReplayBody<B> {
        // Nothing once it was started.
        unbegun: Arc<Mutex<Option<B>>>,
        #[pin]
        started: Option<B>,
    }
}

impl<B> ReplayBody<B> {
    fn new(body: B) -> Self {
        ReplayBody {
            unbegun: Arc::new(Mutex::new(Some(body))),
            started: None,
        }
    }

    fn unbegun(&self) -> MutexGuard<'_, Option<B>> {
        lock(&self.unbegun)
    }

    fn is_begun(&self) -> bool {
        self.unbegun().is_none()
    }
}

fn lock<B>(unbegun: &Mutex<Option<B>>) -> MutexGuard<'_, Option<B>> {
    unbegun.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Clone for ReplayBody<B> {
    fn clone(&self) -> Self {
        ReplayBody {
            unbegun: self.unbegun.clone(),
            started: None,
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        if this.started.is_none() {
            let body = lock(this.unbegun).take();
            this.started.set(body);
        }
        let body = this.started.as_pin_mut();
        let body = body.ok_or("another request has started this body")?;
        let frame = ready!(body.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.started {
            Some(body) => body.is_end_stream(),
            None => self.unbegun().as_ref().is_some_and(B::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.started {
            Some(body) => body.size_hint(),
            None => self
                .unbegun()
                .as_ref()
                .map(B::size_hint)
                .unwrap_or_default(),
        }
    }
}
