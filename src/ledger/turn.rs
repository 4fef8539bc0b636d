//! Whose turn it is to open a ledger: two who find it unusable would put it away twice.
//!
//! Opens none itself.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fs_util::{PathError, claim_private_dir};

/// How long others are waited for who open a ledger, and how long it is left before they are asked again.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(5));

/// Makes `dir`, and waits until nobody else opens a ledger in it, nor does as long as the answer is held.
///
/// # Errors
/// [`PathError`] when the directory cannot be made or opened, or others take longer than five seconds.
pub(super) fn take(dir: &Path) -> Result<File, PathError> {
    claim_private_dir(dir)?;
    let file = File::open(dir).map_err(PathError::of("open", dir))?;
    let until = Instant::now() + PATIENCE.0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(PATIENCE.1);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(PathError::of("lock", dir)(ErrorKind::TimedOut.into()));
            }
            Err(TryLockError::Error(error)) => return Err(PathError::of("lock", dir)(error)),
        }
    }
}
