//! Containers with a capacity from birth. What happens at the capacity is the owner's to say: each refuses, none drops.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hash};

/// Hashes the same in every process, so that order repeats. For keys that nobody outside chooses; where they do, the map is
/// bounded, and a flood of collisions costs its own shard only.
pub type FixedHasher = BuildHasherDefault<xxhash_rust::xxh3::Xxh3Default>;

/// A container was at its capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place in a slab, and which of its tenants is meant: an id that outlives its thing finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    pub index: u32,
    pub generation: u32,
}

/// Things by slot; all operations cost O(1).
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    capacity: usize,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    thing: Option<T>,
}

impl<T> Slab<T> {
    /// Holds at most `capacity` things; memory is taken as they come.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            capacity: capacity.min(u32::MAX as usize),
        }
    }

    /// Keeps `thing`; `Err` gives it back when the slab is full.
    pub fn insert(&mut self, thing: T) -> Result<Slot, T> {
        self.insert_with(|_| thing)
    }

    /// Keeps what `make` makes of its own slot. `Err` as for `insert`.
    pub fn insert_with(&mut self, make: impl FnOnce(Slot) -> T) -> Result<Slot, T> {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            let slot = Slot {
                index,
                generation: place.generation,
            };
            place.thing = Some(make(slot));
            return Ok(slot);
        }
        let slot = Slot {
            index: self.places.len() as u32,
            generation: 0,
        };
        let thing = make(slot);
        if self.places.len() >= self.capacity {
            return Err(thing);
        }
        self.places.push(Place {
            generation: 0,
            thing: Some(thing),
        });
        Ok(slot)
    }

    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        let place = self.places.get(slot.index as usize)?;
        place
            .thing
            .as_ref()
            .filter(|_| place.generation == slot.generation)
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let place = self.places.get_mut(slot.index as usize)?;
        place
            .thing
            .as_mut()
            .filter(|_| place.generation == slot.generation)
    }

    /// Takes the thing out; its slot finds nothing from now on.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let place = self.places.get_mut(slot.index as usize)?;
        if place.generation != slot.generation {
            return None;
        }
        let thing = place.thing.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot.index);
        Some(thing)
    }

    /// Takes a thing out and keeps its place for it: `put_back` or `release` follows.
    pub fn lend(&mut self, slot: Slot) -> Option<T> {
        let place = self.places.get_mut(slot.index as usize)?;
        match place.generation == slot.generation {
            true => place.thing.take(),
            false => None,
        }
    }

    /// What was lent is here again.
    pub fn put_back(&mut self, slot: Slot, thing: T) {
        if let Some(place) = self.places.get_mut(slot.index as usize)
            && place.generation == slot.generation
        {
            place.thing = Some(thing);
        }
    }

    /// What was lent does not come back.
    pub fn release(&mut self, slot: Slot) {
        if let Some(place) = self.places.get_mut(slot.index as usize)
            && place.generation == slot.generation
            && place.thing.is_none()
        {
            place.generation = place.generation.wrapping_add(1);
            self.free.push(slot.index);
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// All things in order of place.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let slot = Slot {
                index: index as u32,
                generation: place.generation,
            };
            place.thing.as_ref().map(|thing| (slot, thing))
        })
    }
}

/// First in, first out.
#[derive(Debug)]
pub struct BoundedQueue<T> {
    items: VecDeque<T>,
    capacity: usize,
}

impl<T> BoundedQueue<T> {
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
        }
    }

    /// `Err` gives the item back when the queue is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.items.len() >= self.capacity {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    #[must_use]
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Keeps the items that `keep` wants, in their order.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

/// A map that refuses new keys at its capacity.
#[derive(Debug)]
pub struct BoundedMap<K, V> {
    map: HashMap<K, V, FixedHasher>,
    capacity: usize,
}

impl<K: Hash + Eq, V> BoundedMap<K, V> {
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            map: HashMap::default(),
            capacity,
        }
    }

    /// The value that was there before, if any; `Err(Full)` for a new key at the capacity.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, Full> {
        if self.map.len() >= self.capacity && !self.map.contains_key(&key) {
            return Err(Full);
        }
        Ok(self.map.insert(key, value))
    }

    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.get(key)
    }

    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.get_mut(key)
    }

    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.map.remove(key)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn a_slot_that_was_left_finds_nothing() {
        let mut slab = Slab::new(2);
        let a = slab.insert('a').expect("room");
        assert_eq!(slab.remove(a), Some('a'));
        let b = slab.insert('b').expect("room");
        assert_eq!(
            (a.index, slab.get(a), slab.get(b)),
            (b.index, None, Some(&'b'))
        );
        slab.insert('c').expect("room");
        assert_eq!(slab.insert('d'), Err('d'));
        assert_eq!(slab.remove(a), None);
    }

    #[test]
    fn a_slab_agrees_with_a_map() {
        let (mut rng, mut slab, mut model) = (Rng::seeded(1), Slab::new(64), HashMap::new());
        let mut slots: Vec<Slot> = Vec::new();
        for n in 0..10_000_u64 {
            if rng.once_in(2) || slots.is_empty() {
                match slab.insert(n) {
                    Ok(slot) => {
                        assert!(model.insert(slot, n).is_none());
                        slots.push(slot);
                    }
                    Err(_) => assert_eq!(model.len(), 64),
                }
            } else {
                let slot = slots[rng.below(slots.len() as u64) as usize];
                assert_eq!(slab.remove(slot), model.remove(&slot));
            }
            assert_eq!(slab.len(), model.len());
        }
        assert!(slab.iter().all(|(slot, n)| model.get(&slot) == Some(n)));
    }

    #[test]
    fn queues_and_maps_refuse_at_their_bound() {
        let mut queue = BoundedQueue::new(1);
        assert_eq!(
            (queue.push(1), queue.push(2), queue.pop(), queue.pop()),
            (Ok(()), Err(2), Some(1), None)
        );
        let mut map = BoundedMap::new(1);
        assert_eq!(map.insert("a", 1), Ok(None));
        assert_eq!(map.insert("a", 2), Ok(Some(1)));
        assert_eq!(map.insert("b", 1), Err(Full));
    }
}
