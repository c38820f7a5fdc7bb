//! The axum application that every way calls.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::TryStreamExt;

use crate::payload::{self, Check};
use crate::stamps;

pub fn app() -> Router {
    Router::new()
        .route("/bytes/{length}", get(bytes))
        .route("/events/{milliseconds}", get(events))
        .route("/upload", post(upload))
}

async fn bytes(Path(length): Path<u64>) -> impl IntoResponse {
    let body = Body::from_stream(payload::stream(length));
    ([(header::CONTENT_LENGTH, length)], body)
}

async fn events(Path(milliseconds): Path<u64>) -> Body {
    Body::from_stream(stamps::stream(Duration::from_millis(milliseconds)))
}

/// Answers with the count of the bytes, if they are the right ones.
async fn upload(request: Request) -> Result<String, (StatusCode, String)> {
    let refuse = |error: String| (StatusCode::BAD_REQUEST, error);
    let mut body = request.into_body().into_data_stream();
    let mut check = Check::default();
    while let Some(bytes) = body.try_next().await.map_err(|e| refuse(e.to_string()))? {
        check.feed(&bytes).map_err(|e| refuse(e.to_string()))?;
    }
    Ok(check.seen().to_string())
}
