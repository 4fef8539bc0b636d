//! A door for the fuzzer of settings files (`fuzz/`). Nothing else uses it.

use std::path::Path;

use super::duration;
use super::keys::Reader;
use super::layer::Layer;

/// Reads settings that nobody thought of (`fuzz/`), as those of a user and of a repository.
pub fn fuzz(bytes: &[u8]) {
    for reader in [Reader::User, Reader::Repository] {
        drop(Layer::parse(bytes, Path::new("fuzz"), reader));
    }
    let text = String::from_utf8_lossy(bytes);
    drop(duration(&text));
    drop(crate::retention::age(&text));
}
