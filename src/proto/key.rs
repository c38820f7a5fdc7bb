/// A channel, for the calls that take one.
///
/// It stays valid until the channel is released. After that the calls say
/// [`ChannelError::Unknown`](super::ChannelError::Unknown), also when another channel
/// has taken the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    slot: u32,
    serial: u32,
}

impl Key {
    /// The key of a channel that is in no store yet.
    pub(super) const NONE: Key = Key {
        slot: u32::MAX,
        serial: 0,
    };

    pub(super) fn new(slot: usize, serial: u32) -> Self {
        let slot = slot as u32;
        Key { slot, serial }
    }

    /// A small number that no other living channel of the connection has, so
    /// that a driver may keep what it knows of channels in a vector.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}
