//! Locking a mutex whose holders never leave it half changed.
//!
//! Knows nothing of what it guards, and never says that it is poisoned: whoever panicked under it left what was there before.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the mutex, and holds it for as long as the answer lives.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
