//! The channels of a connection, by key and by number.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};

use slab::Slab;

use super::channel::Channel;
use super::counts::Counts;
use super::error::{ConnectionError, ErrorCode, violation};
use super::key::Key;

/// Multiplies numbers by an odd factor that no peer knows. Else a peer could choose
/// numbers, or keep channels open, that all meet in one place of the map.
#[derive(Clone, Debug)]
struct SecretFactor {
    factor: u64,
}

impl Default for SecretFactor {
    fn default() -> Self {
        let factor = RandomState::new().hash_one(0) | 1;
        SecretFactor { factor }
    }
}

impl BuildHasher for SecretFactor {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        let factor = self.factor;
        IdHasher { factor, hash: 0 }
    }
}

#[derive(Debug)]
struct IdHasher {
    factor: u64,
    hash: u64,
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        let product = (self.hash ^ u64::from(id)).wrapping_mul(self.factor);
        self.hash = product.rotate_left(32); // the upper half is the better one
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    channels: Slab<Channel>,
    slots: HashMap<u32, u32, SecretFactor>,
    serial: u32,
    /// Those that wait to be accepted, the first of them first.
    pub incoming: VecDeque<Key>,
}

/// Channels for which an empty store keeps its memory: as many as `max_channels` allows by
/// default. What a larger burst took is given back.
const KEEP_CAPACITY: usize = 1024;

impl Store {
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Channels for which there is memory.
    pub fn capacity(&self) -> usize {
        self.channels.capacity()
    }

    /// Places of channels, as [`Key::index`] counts them, up to the last that is in use.
    pub fn places(&self) -> usize {
        self.channels.iter().next_back().map_or(0, |(at, _)| at + 1)
    }

    /// Whether the next channel makes it grow.
    pub fn is_full(&self) -> bool {
        self.channels.len() == self.channels.capacity()
    }

    pub fn insert(&mut self, mut channel: Channel) -> Key {
        self.serial = self.serial.wrapping_add(1);
        let entry = self.channels.vacant_entry();
        let key = Key::new(entry.key(), self.serial);
        channel.key = key;
        self.slots.insert(channel.id, entry.key() as u32);
        entry.insert(channel);
        key
    }

    pub fn remove(&mut self, key: Key) -> Option<Channel> {
        self.get(key)?;
        let channel = self.channels.try_remove(key.index())?;
        self.free_number(channel.id, key);
        self.fit_empty();
        Some(channel)
    }

    /// Gives back the memory of many channels once there are none.
    fn fit_empty(&mut self) {
        if self.channels.is_empty() && self.channels.capacity() > KEEP_CAPACITY {
            self.fit();
        }
    }

    /// Gives back memory, as far as the places of channels allow.
    pub fn fit(&mut self) {
        self.channels.shrink_to_fit();
        self.slots.shrink_to_fit();
    }

    /// Removes the channels that were released, because the connection has ended.
    pub fn remove_released(&mut self) {
        let slots = &mut self.slots;
        self.channels.retain(|_, channel| {
            if !channel.is_held() {
                slots.remove(&channel.id);
            }
            channel.is_held()
        });
        self.fit();
    }

    pub fn get(&self, key: Key) -> Option<&Channel> {
        self.channels
            .get(key.index())
            .filter(|channel| channel.key == key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Channel> {
        self.channels
            .get_mut(key.index())
            .filter(|channel| channel.key == key)
    }

    /// A channel that was not released.
    pub fn held(&mut self, key: Key) -> Option<&mut Channel> {
        self.get_mut(key).filter(|channel| channel.is_held())
    }

    pub fn contains(&self, id: u32) -> bool {
        self.slots.contains_key(&id)
    }

    pub fn by_id(&mut self, id: u32) -> Option<&mut Channel> {
        let slot = *self.slots.get(&id)?;
        self.channels.get_mut(slot as usize)
    }

    /// A channel that is there, `None` for one that is closed, an error for one that never
    /// was.
    #[inline]
    pub fn known(
        &mut self,
        id: u32,
        counts: &Counts,
    ) -> Result<Option<&mut Channel>, ConnectionError> {
        match self.by_id(id) {
            Some(channel) if channel.is_open_sent() => Ok(Some(channel)),
            None if counts.was_opened(id) => Ok(None),
            _ => violation(
                ErrorCode::PROTOCOL,
                format!("channel {id} was never opened"),
            ),
        }
    }

    /// Another channel may have the number from now on, which version 0 allows
    /// after a CLOSE.
    pub fn free_number(&mut self, id: u32, key: Key) {
        if self.slots.get(&id) == Some(&(key.index() as u32)) {
            self.slots.remove(&id);
        }
    }

    /// Gives a channel another number.
    pub fn renumber(&mut self, key: Key, id: u32) {
        if let Some(channel) = self.channels.get_mut(key.index()) {
            self.slots.remove(&channel.id);
            self.slots.insert(id, key.index() as u32);
            channel.id = id;
        }
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.channels.iter_mut().map(|(_, channel)| channel)
    }

    pub fn keys(&self) -> Vec<Key> {
        let keys = self.channels.iter().map(|(_, channel)| channel.key);
        keys.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::SecretFactor;

    /// A factor that is known lets a peer choose numbers that are slow to find.
    #[test]
    fn each_table_has_a_factor_of_its_own() {
        assert_ne!(
            SecretFactor::default().factor,
            SecretFactor::default().factor
        );
    }
}
