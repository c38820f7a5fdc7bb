//! The page for people, with all that it needs in it.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::response::response;

const PAGE: &str = include_str!("page.html");

/// What the page may do: run its own script and style, which these hashes name, and ask this
/// address. A script that a name of a peer's smuggled in would not run.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; \
    script-src 'sha256-IHmVL6Xm+yssP62uSBM7nOb90Cx2+ad7GKt2pyqtKzE='; style-src 'sha256-6r6MK3zNQBsvGReOtIW4ttvGlhrAu1sRI79asl9mAJk='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn page() -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let policy = HeaderName::from_static("content-security-policy");
    let value = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(policy, value);
    response
}
