//! Dials that may meet a server of HTTP: those of the pool, and those that a caller makes for
//! itself since the target speaks HTTP.

use std::any::Any;

use http::Uri;
use hyper::rt::{Read, Write};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::dial::{Dialler, told};
use crate::client::error::{BoxError, ConnectError};
use crate::client::fallback::met::{Evidence, Met};
use crate::client::fallback::negotiated::Negotiated;
use crate::driver::Connection;
use crate::observability::Dial;
use crate::proto::ConnectionError;

/// What a caller that dialled for itself has got.
pub(in crate::client) enum Direct<T> {
    /// TLS chose tcpchan.
    Connection(Connection),
    /// TLS chose HTTP, or there is no TLS.
    Http(T, Negotiated),
}

impl<C> Dialler<C> {
    /// What the handshake of an I/O object of the connector's has chosen.
    fn negotiated(&self, io: &dyn Any) -> Negotiated {
        let fallback = self.fallback.as_ref();
        fallback.map_or(Negotiated::Nothing, |(questions, _)| {
            (questions.negotiated)(io)
        })
    }
}

impl<C> Dialler<C>
where
    C: Service<Uri>,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
{
    /// A connection, if the server speaks tcpchan.
    pub(super) async fn ask(
        self,
        io: C::Response,
        dial: Dial,
        until: Instant,
    ) -> Result<Connection, ConnectError> {
        match (self.negotiated(&io), &self.fallback) {
            (Negotiated::Http, _) => Err(ConnectError::http(Met::by_alpn(io, dial))),
            (Negotiated::Nothing, Some((_, config))) if config.get_first_answer() => {
                let until = until.min(Instant::now() + config.get_hello_within());
                self.ask_by_hello(io, dial, until).await
            }
            _ => self.start(io, dial),
        }
    }

    /// Nothing but the hello and the settings leaves before the answer.
    async fn ask_by_hello(
        self,
        io: C::Response,
        dial: Dial,
        until: Instant,
    ) -> Result<Connection, ConnectError> {
        let connection = self.start(io, dial.shadow())?;
        if timeout_at(until, connection.greeted()).await.is_err() {
            connection.give_up_hello();
        }
        let (greeted, first) = connection.hello();
        if greeted {
            dial.up();
            return Ok(connection);
        }
        let error = connection.error().unwrap_or(ConnectionError::Abandoned);
        Err(match Evidence::of(&error, &first) {
            Some(evidence) => ConnectError::http(Met::by_answer(evidence, error, dial)),
            None => {
                let error = ConnectError::dial(error);
                dial.fails(&error);
                error
            }
        })
    }
}

impl<C> Dialler<C>
where
    C: Service<Uri> + 'static,
    C::Response: Read + Write + Send + 'static,
    C::Error: Into<BoxError>,
{
    /// Dials once, up to `until`. Over TLS the handshake says what the server speaks; without,
    /// it is HTTP.
    pub(in crate::client) async fn direct(
        mut self,
        until: Instant,
    ) -> Result<Direct<C::Response>, ConnectError> {
        let (dial, within) = (Dial::begin(self.target.clone()), self.within);
        let io = timeout_at(until, self.connect(|connector, uri| connector.call(uri))).await;
        let (io, dial) = told(dial, within, io)?;
        match self.negotiated(&io) {
            Negotiated::Tcpchan => self.start(io, dial).map(Direct::Connection),
            negotiated => {
                dial.falls_back();
                Ok(Direct::Http(io, negotiated))
            }
        }
    }
}
