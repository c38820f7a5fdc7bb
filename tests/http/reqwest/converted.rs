//! Its requests and responses, sent by other clients.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest::Body;
use serde_json::Value;
use tcpchan::client::{Multiplex, Requests};
use tower::ServiceExt;

use super::fixture::{double, order, uri};
use crate::app::serve;
use crate::guard::within;

#[tokio::test]
async fn requests_takes_its_request_and_gives_its_response() {
    let addr = serve(Router::new().route("/double", post(double))).await;
    let requests = Requests::new(Multiplex::new(HttpConnector::new()), uri(addr));
    let url = format!("http://{addr}/double");

    let request = reqwest::Client::new().post(url).json(&order(2));
    let request = Request::<Body>::try_from(request.build().unwrap()).unwrap();
    let response = within(requests.oneshot(request)).await.unwrap();
    let response = reqwest::Response::from(response.map(Body::wrap));

    assert_eq!(response.json::<Value>().await.unwrap(), order(4));
}

#[tokio::test]
async fn hyper_utils_client_takes_its_request_and_gives_its_response() {
    let addr = serve(Router::new().route("/double", post(double))).await;
    let multiplex = Multiplex::new(HttpConnector::new());
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(multiplex);
    let url = format!("http://{addr}/double");

    let request = reqwest::Client::new().post(url).json(&order(2));
    let request = Request::<Body>::try_from(request.build().unwrap()).unwrap();
    let response = within(client.request(request)).await.unwrap();
    let response = reqwest::Response::from(response.map(Body::wrap));

    assert_eq!(response.json::<Value>().await.unwrap(), order(4));
}

#[tokio::test]
async fn a_status_of_failure_is_its_error() {
    let teapot = get(|| async { StatusCode::IM_A_TEAPOT });
    let addr = serve(Router::new().route("/", teapot)).await;
    let requests = Requests::new(Multiplex::new(HttpConnector::new()), uri(addr));
    let request = reqwest::Client::new().get(format!("http://{addr}/"));
    let request = Request::<Body>::try_from(request.build().unwrap()).unwrap();
    let response = within(requests.oneshot(request)).await.unwrap();
    let response = reqwest::Response::from(response.map(Body::wrap));
    let error = response.error_for_status().unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::IM_A_TEAPOT));
}

/// The guide says so.
#[tokio::test]
async fn what_its_client_does_around_a_request_is_lost() {
    let headers = |headers: axum::http::HeaderMap| async move {
        let location = [("location", "/elsewhere")];
        let with = headers.contains_key("user-agent");
        (StatusCode::SEE_OTHER, location, format!("{with}"))
    };
    let addr = serve(Router::new().route("/", get(headers))).await;
    let requests = Requests::new(Multiplex::new(HttpConnector::new()), uri(addr));
    let client = reqwest::Client::builder().user_agent("test").build();
    let request = client.unwrap().get(format!("http://{addr}/"));
    let request = Request::<Body>::try_from(request.build().unwrap()).unwrap();
    let response = within(requests.oneshot(request)).await.unwrap();
    let response = reqwest::Response::from(response.map(Body::wrap));
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.url().host_str(), Some("no.url.provided.local"));
    assert_eq!(response.text().await.unwrap(), "false");
}
