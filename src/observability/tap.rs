//! Frames as they pass, decoded beside the connection so that nothing is told
//! under its lock.

#[cfg(feature = "tracing")]
pub(crate) use self::shown::Tap;

#[cfg(not(feature = "tracing"))]
#[derive(Debug)]
pub(crate) struct Tap;

#[cfg(not(feature = "tracing"))]
impl Tap {
    pub fn received(&mut self, _: &[u8]) {}

    pub fn sent(&mut self, _: &[u8]) {}
}

#[cfg(feature = "tracing")]
mod shown {
    use tracing::{Level, Span, enabled, trace};

    use crate::proto::Role;
    use crate::wire::{Decoded, Decoder, Protocol};

    /// Shows nothing if nobody wanted frames when the connection began.
    #[derive(Debug)]
    pub(crate) struct Tap(Option<Box<Both>>);

    #[derive(Debug)]
    struct Both {
        span: Span,
        received: Option<Decoder>,
        sent: Option<Decoder>,
    }

    impl Tap {
        pub fn new(role: Role, protocol: Protocol, span: &Span) -> Self {
            let wanted = enabled!(target: "tcpchan::frames", Level::TRACE);
            let received = match (role, protocol) {
                (Role::Server, Protocol::V0) => Decoder::version0_server(),
                _ => Decoder::new(protocol),
            };
            let both = || Both {
                span: span.clone(),
                received: Some(received),
                sent: Some(Decoder::new(protocol)),
            };
            Tap(wanted.then(|| Box::new(both())))
        }

        pub fn received(&mut self, bytes: &[u8]) {
            if let Some(both) = &mut self.0 {
                show(&both.span, "received", &mut both.received, bytes);
            }
        }

        pub fn sent(&mut self, bytes: &[u8]) {
            if let Some(both) = &mut self.0 {
                show(&both.span, "sent", &mut both.sent, bytes);
            }
        }
    }

    fn show(span: &Span, direction: &str, place: &mut Option<Decoder>, mut bytes: &[u8]) {
        while let Some(decoder) = place {
            match decoder.decode(&mut bytes) {
                Ok(Some(Decoded::Control(frame))) => {
                    trace!(target: "tcpchan::frames", parent: span, direction, ?frame, "frame");
                }
                Ok(Some(Decoded::Data { channel, len })) => {
                    trace!(target: "tcpchan::frames", parent: span, direction, channel, len, "frame");
                }
                Ok(Some(Decoded::Unknown { op })) => {
                    trace!(target: "tcpchan::frames", parent: span, direction, op, "frame skipped");
                }
                Ok(Some(Decoded::Payload(_))) => {}
                Ok(None) => return,
                Err(error) => {
                    trace!(target: "tcpchan::frames", parent: span, direction, %error, "no more frames are shown");
                    *place = None;
                }
            }
        }
    }
}
