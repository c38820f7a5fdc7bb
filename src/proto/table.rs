//! The channels of a connection, by key and by number.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use slab::Slab;

use super::channel::State;

/// A channel, for the calls that take one.
///
/// It stays valid until the channel is released; the calls say
/// [`ChannelError::Unknown`](super::ChannelError::Unknown) after that, also
/// when another channel has taken the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    slot: u32,
    serial: u32,
}

impl Key {
    /// A small number that no other living channel of the connection has, so
    /// that a driver may keep what it knows of channels in a vector.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

/// Spreads numbers by an odd factor that no peer knows: those that it chooses,
/// or keeps open, would else all meet in one place.
#[derive(Clone, Debug)]
struct Spread {
    factor: u64,
}

impl Default for Spread {
    fn default() -> Self {
        let factor = RandomState::new().hash_one(0) | 1;
        Spread { factor }
    }
}

impl BuildHasher for Spread {
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
pub(super) struct Table {
    states: Slab<State>,
    slots: HashMap<u32, u32, Spread>,
    serial: u32,
}

/// Places above which the memory of an empty table is given back.
const KEEP: usize = 1024;

impl Table {
    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn insert(&mut self, mut state: State) -> Key {
        self.serial = self.serial.wrapping_add(1);
        let entry = self.states.vacant_entry();
        let (slot, serial) = (entry.key() as u32, self.serial);
        let key = Key { slot, serial };
        state.key = key;
        self.slots.insert(state.id, slot);
        entry.insert(state);
        key
    }

    pub fn remove(&mut self, key: Key) -> Option<State> {
        self.get(key)?;
        let state = self.states.try_remove(key.index())?;
        self.free_number(state.id, key);
        self.fit();
        Some(state)
    }

    /// Gives back the memory of many channels once there are none.
    fn fit(&mut self) {
        if self.states.is_empty() && self.states.capacity() > KEEP {
            self.states = Slab::new();
            self.slots = HashMap::default();
        }
    }

    /// Removes the channels that the application has let go of; the bytes that they
    /// have carried.
    pub fn forget_released(&mut self) -> u64 {
        let (slots, mut carried) = (&mut self.slots, 0);
        self.states.retain(|_, state| {
            if state.released {
                slots.remove(&state.id);
                carried += state.carried();
            }
            !state.released
        });
        self.fit();
        carried
    }

    pub fn get(&self, key: Key) -> Option<&State> {
        self.states
            .get(key.index())
            .filter(|state| state.key == key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut State> {
        self.states
            .get_mut(key.index())
            .filter(|state| state.key == key)
    }

    /// A channel that the application has not let go of.
    pub fn held(&mut self, key: Key) -> Option<&mut State> {
        self.get_mut(key).filter(|state| !state.released)
    }

    pub fn has(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    pub fn contains(&self, id: u32) -> bool {
        self.slots.contains_key(&id)
    }

    pub fn by_id(&mut self, id: u32) -> Option<&mut State> {
        let slot = *self.slots.get(&id)?;
        self.states.get_mut(slot as usize)
    }

    /// Another channel may have the number from now on, which version 0 allows
    /// after a CLOSE.
    pub fn free_number(&mut self, id: u32, key: Key) {
        if self.slots.get(&id) == Some(&key.slot) {
            self.slots.remove(&id);
        }
    }

    /// Gives a channel another number.
    pub fn renumber(&mut self, key: Key, id: u32) {
        if let Some(state) = self.states.get_mut(key.index()) {
            self.slots.remove(&state.id);
            self.slots.insert(id, key.slot);
            state.id = id;
        }
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut State> {
        self.states.iter_mut().map(|(_, state)| state)
    }

    pub fn keys(&self) -> Vec<Key> {
        self.states.iter().map(|(_, state)| state.key).collect()
    }
}

impl Key {
    /// The key of a state that is in no table yet.
    pub(super) const NONE: Key = Key {
        slot: u32::MAX,
        serial: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::Spread;

    /// A factor that is known lets a peer choose numbers that are slow to find.
    #[test]
    fn each_table_has_a_factor_of_its_own() {
        assert_ne!(Spread::default().factor, Spread::default().factor);
    }
}
