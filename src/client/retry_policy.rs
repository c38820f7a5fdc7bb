use std::error::Error;
use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;

use http::{Request, Response};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

#[cfg(doc)]
use super::ConnectError;
use super::error::BoxError;
use super::retry::{is_lost, is_overload, is_retryable};

/// Retries requests that failed because of their connection, for
/// `tower::retry`.
///
/// By itself it retries those that the peer's application provably never saw
/// ([`is_retryable`]), of any method. With
/// [`idempotent`](RetryPolicy::idempotent) also those of idempotent methods
/// that were cut off ([`is_lost`]). Retries draw on a budget that all clones
/// share, so that they can't pile up: by default one for every five requests
/// that succeed, and ten a second. What was refused because too many callers
/// wait ([`ConnectError::is_full`]), or has waited for its channel as long as
/// one may ([`ConnectError::is_timeout`]), is not retried: more of the same
/// would not help.
///
/// It goes around a client, and around tower's `Balance`, `Timeout` and `Buffer`, in
/// whose boxed errors it finds the cause. Around a balancer a retry goes to whatever
/// target is best then; within it, to the one that failed.
///
/// It sees what its service returns: a hyper client returns at the response's
/// head. To retry responses that break off later, collect the body in the
/// service that the policy wraps. A response is never retried, whatever its status.
///
/// `K` is inferred from the service's error. Where its type is written, as in a field,
/// it is `RetryPolicy<Boxed>` around services with boxed errors.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::{Client, connect::HttpConnector};
/// use hyper_util::rt::TokioExecutor;
/// use tcpchan::client::{Multiplex, RetryPolicy};
/// use tower::ServiceBuilder;
///
/// let client = Client::builder(TokioExecutor::new())
///     .pool_max_idle_per_host(0)
///     .build::<_, Full<Bytes>>(Multiplex::new(HttpConnector::new()));
/// let client = ServiceBuilder::new()
///     .retry(RetryPolicy::new().idempotent(true))
///     .service(client);
/// # fn is_service<S: tower::Service<http::Request<Full<Bytes>>>>(_: S) {}
/// # is_service(client);
/// ```
#[must_use]
pub struct RetryPolicy<K = Plain> {
    budget: Arc<dyn Budget + Send + Sync>,
    idempotent: bool,
    left: usize,
    kind: PhantomData<fn() -> K>,
}

/// Of services whose error is an [`Error`].
#[derive(Clone, Copy, Debug)]
pub enum Plain {}

/// Of services whose error is tower's `BoxError`, which is none.
#[derive(Clone, Copy, Debug)]
pub enum Boxed {}

/// An error of a service, of either kind.
pub trait ServiceError<K> {
    /// The error to look into.
    fn as_error(&self) -> &(dyn Error + 'static);
}

impl<E: Error + 'static> ServiceError<Plain> for E {
    fn as_error(&self) -> &(dyn Error + 'static) {
        self
    }
}

impl ServiceError<Boxed> for BoxError {
    fn as_error(&self) -> &(dyn Error + 'static) {
        &**self
    }
}

impl<K> RetryPolicy<K> {
    /// Retries what provably was not done, up to 3 times.
    pub fn new() -> Self {
        RetryPolicy {
            budget: Arc::new(TpsBudget::default()),
            idempotent: false,
            left: 3,
            kind: PhantomData,
        }
    }

    /// Whether requests of idempotent methods (RFC 9110, 9.2.2: GET, HEAD, PUT,
    /// DELETE, OPTIONS, TRACE) are retried when they were cut off, though the
    /// peer may have done them. Default `false`.
    pub fn idempotent(mut self, retry: bool) -> Self {
        self.idempotent = retry;
        self
    }

    /// See [`idempotent`](Self::idempotent).
    #[must_use]
    pub fn get_idempotent(&self) -> bool {
        self.idempotent
    }

    /// How often one request is retried. Default 3.
    pub fn retries(mut self, most: usize) -> Self {
        self.left = most;
        self
    }

    /// See [`retries`](Self::retries).
    #[must_use]
    pub fn get_retries(&self) -> usize {
        self.left
    }

    /// What retries draw on. Default tower's `TpsBudget::default()`.
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.budget = budget;
        self
    }

    /// See [`budget`](Self::budget).
    #[must_use]
    pub fn get_budget(&self) -> &Arc<dyn Budget + Send + Sync> {
        &self.budget
    }

    fn allows<B>(&self, request: &Request<B>, error: &(dyn Error + 'static)) -> bool {
        let again = self.idempotent && request.method().is_idempotent();
        !is_overload(error) && (is_retryable(error) || (again && is_lost(error)))
    }
}

impl<K> Clone for RetryPolicy<K> {
    fn clone(&self) -> Self {
        RetryPolicy {
            budget: self.budget.clone(),
            ..*self
        }
    }
}

impl<K> Default for RetryPolicy<K> {
    fn default() -> Self {
        RetryPolicy::new()
    }
}

impl<K> fmt::Debug for RetryPolicy<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("idempotent", &self.idempotent)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<B, R, E, K> Policy<Request<B>, Response<R>, E> for RetryPolicy<K>
where
    B: Clone,
    E: ServiceError<K>,
{
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        let error = match result {
            Ok(_) => {
                self.budget.deposit();
                return None;
            }
            Err(error) => error.as_error(),
        };
        if self.left == 0 || !self.allows(request, error) || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}
