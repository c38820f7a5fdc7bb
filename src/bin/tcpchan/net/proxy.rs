//! A proxy that connections are made through: HTTP CONNECT, or SOCKS5.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::narrow::{Given, Narrow};

/// How long a proxy may take to make a connection. It waits for the server, which may not answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Proxy {
    kind: Kind,
    url: Intercept,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Socks5,
}

impl Proxy {
    /// From a URL. The error does not repeat it, since it may have a password.
    pub fn new(url: &str) -> Result<Self, &'static str> {
        const FORM: &str = "it must be http://HOST:PORT or socks5://HOST:PORT, with \
             USER:PASSWORD@ before the host if the proxy wants that; write special characters \
             of those as %XX";
        let any = Uri::from_static("http://any");
        let url = Matcher::builder().all(url).build().intercept(&any);
        let url = url.ok_or(FORM)?;
        let kind = match url.uri().scheme_str() {
            Some("http") => Kind::Http,
            Some("socks5" | "socks5h") => Kind::Socks5,
            _ => return Err(FORM),
        };
        if url.uri().port().is_none() {
            return Err("it must have a port");
        }
        Ok(Proxy { kind, url })
    }

    /// Has the proxy connect to the host and port of a URI.
    pub async fn connect(
        &self,
        mut tcp: HttpConnector,
        to: Uri,
    ) -> Result<TokioIo<TcpStream>, ProxyError> {
        let connecting = async {
            let reached = tcp.call(self.url.uri().clone()).await;
            let io = reached.map_err(|error| self.error("can't be reached", Some(error.into())))?;
            let heard = Arc::default();
            let io = Narrow::new(io, Arc::clone(&heard));
            match self.kind {
                Kind::Http => self.tunnel(io, to, &heard).await,
                Kind::Socks5 => self.socks(io, to).await,
            }
        };
        let late = |_| self.error(format!("made no connection within {PATIENCE:?}"), None);
        timeout(PATIENCE, connecting).await.map_err(late)?
    }

    async fn tunnel(
        &self,
        io: Narrow,
        to: Uri,
        heard: &Mutex<Vec<u8>>,
    ) -> Result<TokioIo<TcpStream>, ProxyError> {
        let mut tunnel = Tunnel::new(self.url.uri().clone(), Given(Some(io)));
        if let Some(auth) = self.url.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        match tunnel.call(to.clone()).await {
            Ok(io) => Ok(io.into_inner()),
            Err(error) => {
                let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                Err(self.error(self.of_tunnel(&error.to_string(), &heard, &to), None))
            }
        }
    }

    /// hyper-util does not name the type of its errors.
    fn of_tunnel(&self, error: &str, heard: &[u8], to: &Uri) -> String {
        let status = heard.split(|byte| *byte == b'\r').next().unwrap_or(heard);
        let status = String::from_utf8_lossy(status);
        // Some answer a wrong password as a server would.
        if error.contains("authorization required") || status.contains(" 401 ") {
            self.of_password()
        } else if error.contains("unsuccessful") && status.starts_with("HTTP/") {
            let to = to.authority().map_or("", |to| to.as_str());
            format!("does not connect to {to}: {}", status.escape_debug())
        } else if error.contains("unsuccessful") {
            "does not speak HTTP: is it a SOCKS5 proxy, or no proxy?".to_owned()
        } else if error.contains("too long") {
            "answered with a header of more than 8 KiB".to_owned()
        } else {
            "ended the connection before its answer: is it an HTTP proxy?".to_owned()
        }
    }

    async fn socks(&self, io: Narrow, to: Uri) -> Result<TokioIo<TcpStream>, ProxyError> {
        let mut socks = SocksV5::new(self.url.uri().clone(), Given(Some(io)));
        if let Some((user, password)) = self.url.raw_auth() {
            socks = socks.with_auth(user.to_owned(), password.to_owned());
        }
        match socks.call(to.clone()).await {
            Ok(io) => Ok(io.into_inner()),
            Err(error) => Err(self.error(self.of_socks(&error.to_string(), &to), None)),
        }
    }

    fn of_socks(&self, error: &str, to: &Uri) -> String {
        let said = error.strip_prefix("SOCKS error: ").unwrap_or(error);
        if said.contains("user/pass authentication") || said.contains("credentials") {
            self.of_password()
        } else if said.contains("io error") || said.contains("parsing") {
            "gave no answer of SOCKS5: is it an HTTP proxy, or no proxy?".to_owned()
        } else {
            let to = to.authority().map_or("", |to| to.as_str());
            format!("does not connect to {to}: {said}")
        }
    }

    fn of_password(&self) -> String {
        let given = self.url.basic_auth().is_some() || self.url.raw_auth().is_some();
        match given {
            true => "does not accept the user and password of --proxy".to_owned(),
            false => "wants USER:PASSWORD@ before the host of --proxy".to_owned(),
        }
    }

    fn error(
        &self,
        text: impl Into<String>,
        cause: Option<Box<dyn Error + Send + Sync>>,
    ) -> ProxyError {
        let place = self.url.uri().authority().map_or("", |at| at.as_str());
        ProxyError {
            text: format!("the proxy {place} {}", text.into()),
            cause,
        }
    }
}

/// What went wrong at a proxy, or on the way to it.
#[derive(Debug)]
pub struct ProxyError {
    text: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause: &(dyn Error + 'static) = self.cause.as_deref()?;
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_the_server_sends_right_behind_the_proxys_answer_is_not_lost() {
        for (scheme, answers) in [
            ("http", vec!["HTTP/1.1 200 OK\r\n\r\nhello"]),
            ("socks5", vec!["\x05\0", "\x05\0\0\x01\0\0\0\0\0\0hello"]),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("{scheme}://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                let (mut tcp, _) = listener.accept().await.unwrap();
                for answer in answers {
                    assert_ne!(tcp.read(&mut [0; 1000]).await.unwrap(), 0);
                    tcp.write_all(answer.as_bytes()).await.unwrap();
                }
            });
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            let to = Uri::from_static("tcp://server.example:9000/");
            let connected = Proxy::new(&url).unwrap().connect(tcp, to).await.unwrap();
            let mut got = String::new();
            let mut tcp = connected.into_inner();
            tcp.read_to_string(&mut got).await.unwrap();
            assert_eq!(got, "hello", "{scheme}");
        }
    }
}
