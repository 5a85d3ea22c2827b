//! One at a time for each key, and what the one who has the turn lets the others see.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, Weak, atomic::AtomicI64},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::progress::lock;

/// One value for each key, as long as somebody holds it.
pub(super) struct Common<K, V>(Mutex<Held<K, V>>);

struct Held<K, V> {
    by_key: HashMap<K, Weak<V>>,
    /// When there are so many, those that are over are forgotten.
    sweep_at: usize,
}

impl<K, V> Default for Common<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Held {
            by_key: HashMap::new(),
            sweep_at: 0,
        }))
    }
}

impl<K: Eq + Hash, V: Default> Common<K, V> {
    /// The value of a key: the one that others hold, else a new one.
    pub(super) fn of(&self, key: K) -> Arc<V> {
        let mut held = lock(&self.0);
        if held.by_key.len() >= held.sweep_at {
            held.by_key.retain(|_, value| value.strong_count() > 0);
            // Not at every call, which would look at all of them for each.
            held.sweep_at = 2 * held.by_key.len() + 64;
        }
        if let Some(value) = held.by_key.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        let value = Arc::new(V::default());
        held.by_key.insert(key, Arc::downgrade(&value));
        value
    }
}

/// One at a time for each key. Of transfers: a second job that wants the same bytes waits, then finds them published.
pub(super) type Turns<K> = Common<K, AsyncMutex<()>>;

/// The right to work on what a key stands for, until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl<K: Eq + Hash> Turns<K> {
    /// Waits for the turn on a key; it ends when the guard is dropped.
    pub(super) async fn take(&self, key: K) -> Turn {
        self.of(key).lock_owned().await
    }

    /// Takes the turn on a key, unless somebody has it.
    pub(super) fn try_take(&self, key: K) -> Option<Turn> {
        self.of(key).try_lock_owned().ok()
    }
}

/// How many bytes of a partial file are there, by the partial file: written by the job whose turn it is, seen by those who wait.
pub(super) type Partials<K> = Common<K, AtomicI64>;
