//! User info of a URI is nobody's business here: it makes no pool of its own, and no
//! statistic, `Debug` or error shows it.
#![cfg(all(feature = "requests", feature = "server"))]

use std::error::Error;
use std::sync::{Arc, Mutex};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tcpchan::client::{Multiplex, Requests};
use tcpchan::server::Acceptor;
use tokio::net::TcpListener;
use tower::{Service, service_fn};

use crate::guard::within;

/// As it is shown where something fails, with all its causes.
fn shown(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let causes: Vec<String> = causes.map(|error| format!("{error} {error:?}")).collect();
    causes.join("; ")
}

#[tokio::test]
async fn callers_with_and_without_it_share_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut acceptor = Acceptor::new(listener);
    let mut connector = Multiplex::new(HttpConnector::new());
    let mut channels = Vec::new();
    for user in ["", "user:secret@", "other:secret@"] {
        let uri: Uri = format!("http://{user}{addr}/").parse().unwrap();
        assert!(user.is_empty() || connector.stats_of(&uri).is_some());
        channels.push(within(connector.call(uri)).await.unwrap());
        channels.push(within(acceptor.accept()).await.0);
    }
    let stats = connector.stats();
    assert_eq!(stats.len(), 1, "{stats:?}");
    assert_eq!(stats[0].connections.len(), 1);
    assert_eq!(
        stats[0].authority.as_ref().unwrap(),
        addr.to_string().as_str()
    );
    assert!(!format!("{stats:?} {connector:?}").contains("secret"));
}

#[tokio::test]
async fn neither_the_connector_nor_an_error_sees_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let refuses = service_fn(move |uri: Uri| {
        sees.lock().unwrap().push(uri.clone());
        let error = std::io::Error::other(format!("{uri} is down"));
        async { Err::<hyper_util::rt::TokioIo<tokio::net::TcpStream>, _>(error) }
    });
    let mut connector = Multiplex::new(refuses);
    let uri = Uri::from_static("http://user:secret@host.example:80/path");
    let error = within(connector.call(uri)).await.unwrap_err();
    assert!(shown(&error).contains("host.example:80"), "{error:?}");
    assert!(!shown(&error).contains("secret"), "{error:?}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen[..], [Uri::from_static("http://host.example:80/path")]);
}

#[test]
fn debug_of_requests_does_not_show_it() {
    let uri = Uri::from_static("http://user:secret@host.example:80");
    let requests = Requests::new(Multiplex::new(HttpConnector::new()), uri);
    let shown = format!("{requests:?}");
    assert!(shown.contains("host.example:80"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
