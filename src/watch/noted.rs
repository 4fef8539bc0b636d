//! What events told, until it is taken: a bounded set that collapses to "everything".
//!
//! Watches nothing, waits for nothing, and believes no event what became of a file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};

use notify::EventKindMask;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};

use super::filter::Filter;
use crate::locks::lock;
use crate::touched::Touched;

/// What is told of: nothing that only opens or reads, such as a search, or a look. A file that was mapped and written tells only when it is
/// closed.
pub(super) const KINDS: EventKindMask = EventKindMask::CORE.union(EventKindMask::ACCESS_CLOSE);

/// So many written files are remembered where there are too many to be counted.
const WRITTEN_MAX: usize = 50_000;

/// What the event thread and the looker share.
#[derive(Default)]
pub(super) struct Shared {
    /// A mutex because notify calls from its own thread; held for one insertion or one take.
    noted: Mutex<Noted>,
    pub(super) cookie_seen: Condvar,
}

/// What events told.
#[derive(Default)]
pub(super) struct Noted {
    pub(super) touched: Touched,
    /// What of it may change which directories are to be watched.
    pub(super) around: Touched,
    /// Files that were written since everything was touched, [`WRITTEN_MAX`] at most.
    pub(super) written: BTreeSet<PathBuf>,
    /// The last cookie whose event came.
    pub(super) cookie: u64,
}

impl Noted {
    fn add(&mut self, path: PathBuf, is_written: bool) {
        if self.touched != Touched::Everything {
            self.touched.add(path);
        } else if is_written && self.written.len() < WRITTEN_MAX {
            self.written.insert(path);
        }
    }

    fn know_nothing(&mut self) {
        self.touched = Touched::Everything;
        self.around = Touched::Everything;
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Noted> {
        lock(&self.noted)
    }
}

/// Of a file that was made, written or removed: never of a directory, nor of anything that took another name.
fn tells_of_contents(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(CreateKind::File)
            | EventKind::Modify(ModifyKind::Data(_))
            | EventKind::Access(_)
            | EventKind::Remove(RemoveKind::File)
    )
}

fn is_closing(kind: EventKind) -> bool {
    kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Returns whether anything was noted. The rescan flag comes without paths, so it is looked at first.
pub(super) fn note(shared: &Shared, filter: &Filter, event: notify::Result<notify::Event>) -> bool {
    let mut noted = shared.lock();
    match event {
        Ok(event) if event.need_rescan() => noted.know_nothing(),
        Ok(event) => {
            let mut matters = false;
            let is_written = is_closing(event.kind);
            let is_of_contents = tells_of_contents(event.kind);
            let is_metadata = matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_)));
            for path in event.paths {
                if let Some(cookie) = filter.cookie(&path) {
                    noted.cookie = noted.cookie.max(cookie);
                    shared.cookie_seen.notify_all();
                    continue;
                }
                // Git freshens the time of objects that it finds; a mode in there means nothing.
                if filter.matters(&path) && !(is_metadata && filter.is_gits(&path)) {
                    if !is_of_contents || filter.decides_what_is_watched(&path) {
                        noted.around.add(path.clone());
                    }
                    noted.add(path, is_written);
                    matters = true;
                }
            }
            return matters;
        }
        Err(error) => {
            tracing::warn!(%error, "the watcher reports an error; everything is read again");
            noted.know_nothing();
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_overflow_without_paths_means_everything() {
        let shared = Shared::default();
        let filter = Filter::at(Path::new("/r"), Vec::new());
        let event = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(note(&shared, &filter, Ok(event)));
        assert_eq!(shared.lock().touched, Touched::Everything);
    }
}
