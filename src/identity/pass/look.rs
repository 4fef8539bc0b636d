//! The part of a full pass that looks at everything: without a process of git where what its status says is certain,
//! else with it.
//!
//! Knows nothing of what was touched, and makes no diff.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::basis::Basis;
use super::files::{Tracked, dirs_of_present};
use super::stop::Stop;
use super::verify::ODD_FILES_MAX;
use super::{Pass, may_be_refused};
use crate::git::Git;
use crate::identity::as_read::{AsRead, Otherwise};
use crate::identity::conversion::Conversion;
use crate::identity::file_map::{FileMap, Mode};
use crate::identity::git_hash;
use crate::identity::glance::{Glance, Usual};
use crate::identity::index_file::IndexFile;
use crate::identity::quoting::Quoting;
use crate::identity::real_dirs::RealDirs;
use crate::identity::stamp::Stamp;
use crate::identity::status_text::{PathBytes, Status};
use crate::identity::worktree_walk::{Seen, unstaged};

/// What a look at everything found.
pub(super) struct Looked {
    pub(super) status: Status,
    pub(super) quoting: Quoting,
    pub(super) conversion: Conversion,
    /// What changed while it was looked at.
    pub(super) moved: BTreeSet<PathBytes>,
    pub(super) again: Again,
}

/// How to look once more.
pub(super) enum Again {
    /// Directory by directory, side by side.
    Glance(Glance),
    /// File by file, beside a git that works on a private index.
    EachFile(Git),
}

/// What a second look found.
pub(super) struct Later {
    /// The files of the index that do not lie any more as they did when they were read.
    pub(super) moved: BTreeSet<PathBytes>,
    /// All untracked files.
    untracked: BTreeSet<PathBytes>,
}

impl Again {
    /// Looks again. Torn where that needs another git than the first look.
    pub(super) fn look(
        &self,
        root: &Path,
        index: &IndexFile,
        files: &FileMap,
    ) -> Result<Later, Stop> {
        let as_read = AsRead::just(files);
        match self {
            Self::Glance(glance) => {
                let mut seen = glance.look_without_reading(as_read).ok_or(Stop::Torn)?;
                let untracked = glance.untracked(&mut seen);
                Ok(Later {
                    moved: otherwise(&mut seen).paths(index, files),
                    untracked: untracked.ok_or(Stop::Torn)?,
                })
            }
            Self::EachFile(git) => {
                let otherwise = as_read.beside(index, &look_at(root, index)?);
                let status = Status::parse(&git_hash::status_text(git)?).ok_or(Stop::NotPlain)?;
                Ok(Later {
                    moved: otherwise.paths(index, files),
                    untracked: status.untracked,
                })
            }
        }
    }
}

impl Later {
    /// Returns the files that moved, but for those that were held; torn where other files are untracked than before: they
    /// may have come or gone before the rest was read.
    pub(super) fn moved_beside(
        self,
        status: &Status,
        held: &BTreeSet<PathBytes>,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        let mut differ = self.untracked.symmetric_difference(&status.untracked);
        if !differ.all(|path| held.contains(path)) {
            return Err(Stop::Torn);
        }
        Ok(self.moved.difference(held).cloned().collect())
    }
}

/// Takes what lies otherwise out of what was seen before anything was read.
fn otherwise(seen: &mut Seen) -> Otherwise {
    let mut there = std::mem::take(&mut seen.otherwise);
    there.sort_unstable_by_key(|(at, _)| *at);
    let gone = seen.changes.iter();
    let gone = gone.filter(|(_, change)| change.unstaged == b'D');
    Otherwise {
        there,
        gone: gone.map(|(path, _)| path.clone()).collect(),
    }
}

impl Pass<'_> {
    /// Looks at everything and reads what does not lie as it did when it was read.
    pub(super) fn look_at_all(&mut self, basis: &Basis) -> Result<Looked, Stop> {
        match self.look_without_git(basis)? {
            Some(looked) => Ok(looked),
            None => self.look_with_git(basis),
        }
    }

    /// `None` where git must be asked.
    fn look_without_git(&mut self, basis: &Basis) -> Result<Option<Looked>, Stop> {
        let Some(glance) = self.glance(basis) else {
            return Ok(None);
        };
        let as_read = AsRead::certainly(&self.cache.files, basis.head.format);
        let Some(mut seen) = glance.look_without_reading(as_read) else {
            return Ok(None);
        };
        let otherwise = otherwise(&mut seen);
        let dirs = seen.with_attributes.iter();
        let dirs = dirs.map(|dir| dir.strip_suffix(b"/").unwrap_or(dir).to_vec());
        let mut tracked = self.take_tracked(basis, &otherwise, dirs.collect())?;
        if !self.decide_unsure(basis, &tracked, &mut seen)? {
            return Ok(None);
        }
        let Some(told) = glance.told(seen) else {
            return Ok(None);
        };
        refuse_odd(&told.status)?;
        let quoting = Quoting::of(&told.status, &told.text).ok_or(Stop::NotPlain)?;
        let conversion = self.look_at_untracked(basis, &mut tracked, &told.status)?;
        Ok(Some(Looked {
            status: told.status,
            quoting,
            conversion,
            moved: tracked.moved,
            again: Again::Glance(glance),
        }))
    }

    fn glance(&self, basis: &Basis) -> Option<Glance> {
        let nearby = basis.nearby.as_ref()?;
        let root = &self.places.root;
        let is_this = Path::new(&nearby.root) == root
            && self.places.git_dir == root.join(".git")
            && nearby.head.to_string() == basis.head.commit;
        if !is_this {
            return None;
        }
        let stamp = basis.ground.stamp(&self.places.git_dir.join("index"))?;
        let usual = Usual::of(nearby)?;
        Glance::with(&usual, Arc::clone(&basis.index), stamp.written())
    }

    /// Compares the files of which content decides; false where that is better left to git.
    fn decide_unsure(
        &self,
        basis: &Basis,
        tracked: &Tracked,
        seen: &mut Seen,
    ) -> Result<bool, Stop> {
        let entries: Vec<_> = basis.index.entries().collect();
        let mut by_git = BTreeSet::new();
        for entry in seen.unsure.iter().filter_map(|at| entries.get(*at)) {
            let file = self.cache.files.get(entry.path()).ok_or(Stop::Torn)?;
            if tracked.conversion.is_possible() && file.mode != Mode::Link {
                by_git.insert(entry.path().to_vec());
            } else if Some(file.id) != entry.id() {
                seen.changes.extend([unstaged(entry, b'M')]);
            }
        }
        if by_git.len() > ODD_FILES_MAX {
            return Ok(false);
        }
        if !by_git.is_empty() {
            let codes = self.codes_by_git(&basis.index, &by_git, self.git)?;
            let changed = codes.iter().filter(|(_, code)| *code != b' ');
            let entries = changed.filter_map(|(path, code)| Some((basis.index.find(path)?, *code)));
            seen.changes
                .extend(entries.map(|(entry, code)| unstaged(&entry, code)));
        }
        Ok(true)
    }

    fn look_with_git(&mut self, basis: &Basis) -> Result<Looked, Stop> {
        let status_git = self.git_with_own_index(&basis.index, &basis.ground)?;
        let (text, tracked) = std::thread::scope(|scope| {
            let status = scope.spawn(|| git_hash::status_text(&status_git));
            let tracked = self.look_at_each(basis);
            (status.join(), tracked)
        });
        let text = text.map_err(|_| Stop::NotPlain)??;
        let status = Status::parse(&text).ok_or(Stop::NotPlain)?;
        let quoting = Quoting::of(&status, &text).ok_or(Stop::NotPlain)?;
        refuse_odd(&status)?;
        let mut tracked = tracked?;
        let codes = self.codes_by_content(&basis.index);
        let conversion = self.look_at_untracked(basis, &mut tracked, &status)?;
        let mut moved = self.contradicting(&basis.index, &status, &codes)?;
        moved.extend(tracked.moved);
        Ok(Looked {
            status,
            quoting,
            conversion,
            moved,
            again: Again::EachFile(status_git),
        })
    }
}

impl Pass<'_> {
    fn look_at_each(&mut self, basis: &Basis) -> Result<Tracked, Stop> {
        let stamps = look_at(&self.places.root, &basis.index)?;
        let as_read = AsRead::certainly(&self.cache.files, basis.head.format);
        let otherwise = as_read.beside(&basis.index, &stamps);
        let dirs = dirs_of_present(&basis.index, &stamps);
        self.take_tracked(basis, &otherwise, dirs)
    }
}

/// Directories among untracked files are repositories, and some names git takes in nowhere.
fn refuse_odd(status: &Status) -> Result<(), Stop> {
    let is_odd = |path: &PathBytes| path.ends_with(b"/") || may_be_refused(path);
    if status.untracked.iter().any(is_odd) {
        return Err(Stop::NotPlain);
    }
    Ok(())
}

/// Returns how every tracked file lies that is there, links not followed, in the order of the index.
///
/// # Errors
/// [`Stop::NotPlain`] where the system does not say.
fn look_at(root: &Path, index: &IndexFile) -> Result<Vec<Option<Stamp>>, Stop> {
    let mut dirs = RealDirs::new(root);
    let found = index.entries().map(|entry| dirs.stamp(entry.path()));
    let found = found.collect();
    if dirs.are_unsure() {
        return Err(Stop::NotPlain);
    }
    Ok(found)
}
