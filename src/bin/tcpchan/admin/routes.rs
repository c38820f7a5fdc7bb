//! What is answered to which request.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::host;
use super::look::Looker;
use super::metrics::Metrics;
use super::page;
use super::readiness::Readiness;
use super::response::{response, text};
use crate::service::Directory;

pub struct Admin {
    services: Directory,
    metrics: Metrics,
    /// Beside localhost and addresses.
    names: Vec<String>,
    since: Instant,
    stopping: AtomicBool,
    looker: Looker,
    readiness: Readiness,
}

impl Admin {
    pub fn new(services: Directory, metrics: Metrics, names: Vec<String>) -> Self {
        Admin {
            services,
            metrics,
            names,
            since: Instant::now(),
            stopping: AtomicBool::new(false),
            looker: Looker::default(),
            readiness: Readiness::default(),
        }
    }

    pub fn process_stops(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut response = match request.method() {
            _ if !host::is_ours(request.headers(), &self.names) => {
                let why = "this name is not served here: see --admin-host\n";
                text(StatusCode::MISDIRECTED_REQUEST, why)
            }
            &Method::GET | &Method::HEAD => self.route(request.uri().path()).await,
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
                let allowed = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(ALLOW, allowed);
                response
            }
        };
        for (name, value) in [
            (CACHE_CONTROL, "no-store"),
            (HeaderName::from_static("x-content-type-options"), "nosniff"),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
        ] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }

    async fn route(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/" => page::page(),
            "/connections" => self.connections(),
            "/metrics" => {
                let metrics = self.metrics.render(&self.services.list());
                response(StatusCode::OK, "text/plain; version=0.0.4", metrics)
            }
            "/healthz" => text(StatusCode::OK, "the process runs\n"),
            "/readyz" => self.readyz().await,
            _ => text(StatusCode::NOT_FOUND, "see / for the page\n"),
        }
    }

    fn connections(&self) -> Response<Full<Bytes>> {
        let mut document = self.looker.look(&self.services.list());
        document.uptime_seconds = self.since.elapsed().as_secs_f64();
        document.stopping = self.stopping.load(Relaxed);
        match serde_json::to_string(&document) {
            Ok(json) => response(StatusCode::OK, "application/json", json),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    async fn readyz(&self) -> Response<Full<Bytes>> {
        if self.stopping.load(Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the process stops\n");
        }
        match self.readiness.check(&self.services.list()).await {
            Ok(told) => text(StatusCode::OK, &told),
            Err(told) => text(StatusCode::SERVICE_UNAVAILABLE, &told),
        }
    }
}
