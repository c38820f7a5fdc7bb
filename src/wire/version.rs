/// A version of the protocol: the first byte of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Version {
    /// That of the Python package `tcpchan` 0.1.1: no flow control, half-close,
    /// reset or ping.
    V0 = 0,
    /// That of this crate.
    V1 = 1,
}

/// Which versions of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Version 1 only. The default.
    #[default]
    V1,
    /// Version 1 with a peer that speaks it, version 0 otherwise. Costs no
    /// round trip: a server tells by the first frame, a client by the reply,
    /// and until then it sends only what both versions know.
    Auto,
    /// Version 0 only.
    V0,
}

impl Protocol {
    /// The version that a frame may have, if it is this byte.
    pub(crate) fn accepts(self, byte: u8) -> Option<Version> {
        match (byte, self) {
            (0, Protocol::V0 | Protocol::Auto) => Some(Version::V0),
            (1, Protocol::V1 | Protocol::Auto) => Some(Version::V1),
            _ => None,
        }
    }

    /// The version to use from the start.
    pub(crate) fn fixed(self) -> Option<Version> {
        match self {
            Protocol::V0 => Some(Version::V0),
            Protocol::V1 => Some(Version::V1),
            Protocol::Auto => None,
        }
    }
}
