//! One pass over a worktree that is plain enough: in full, or only where something was touched.
//!
//! Owns nothing: what it found is handed back in a [`Kept`], or not at all. Knows no event and no daemon.

mod basis;
mod codes;
mod diffs;
mod files;
mod look;
mod read_ahead;
mod stop;
mod touched;
mod verify;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Reading;
use super::cache::Cache;
use super::candidates::Candidates;
use super::digest::Digest;
use super::file_map::FileMap;
use super::git_hash::GitHash;
use super::ground::{Ground, Places};
use super::index_file::IndexFile;
use super::kept::Kept;
use super::known_diffs::Key;
use super::object::{Format, RawId};
use super::own_index;
use super::real_dirs::RealDirs;
use super::shares::in_shares;
use super::stamp::Moment;
use super::status_text::PathBytes;
use super::workbench::Workbench;
use crate::git::Git;
use crate::ids::ObjectId;
use basis::Basis;
pub(super) use basis::Prepared;
use look::Later;
pub(super) use stop::{NOT_WANTED, Stop};

/// Looks at every file once more, beside what was read.
type LookAgain<'a> = &'a (dyn Fn(&FileMap) -> Result<Later, Stop> + Sync);
/// Returns which files moved beside those that are held.
type MovedBeside<'a> =
    &'a dyn Fn(&Pass<'_>, &Kept, &BTreeSet<PathBytes>) -> Result<BTreeSet<PathBytes>, Stop>;

/// What every step of one pass needs.
pub(super) struct Pass<'a> {
    pub(super) places: &'a Places,
    pub(super) private: &'a Path,
    pub(super) git: &'a Git,
    pub(super) cache: &'a mut Cache,
    pub(super) moment: Moment,
    pub(super) workbench: Workbench,
    /// Where the files are that were held still, below the scratch directory.
    pub(super) held_in: Option<PathBuf>,
    /// Which files those are.
    pub(super) held: BTreeSet<PathBytes>,
    /// What git compared in this pass, where it read the same files: known from now on, if they held still.
    pub(super) compared: Option<Key>,
    /// Whether git makes the diffs that the git-hash of changed code needs.
    pub(super) wants_git_hash: bool,
}

impl Pass<'_> {
    /// Looks at every file.
    pub(super) fn full(
        &mut self,
        prepared: Option<Prepared>,
        ground_before: Option<&Ground>,
        is_undisturbed: &dyn Fn() -> bool,
    ) -> Result<(Kept, Reading), Stop> {
        let basis = self.basis(prepared, ground_before)?;
        let looked = self.look_at_all(&basis)?;
        let (mut moved, again) = (looked.moved, looked.again);
        let Basis {
            config,
            ground,
            index,
            head,
            ..
        } = basis;
        let mut kept = Kept {
            after_staged: Digest::new(&head.commit),
            after_unstaged: Digest::new(&head.commit),
            unreadable_diff: None,
            loose: None,
            is_settled: ground.is_settled(&self.moment)
                && looked.conversion.is_settled(&self.moment),
            ground,
            config,
            head,
            index,
            conversion: looked.conversion,
            status: looked.status,
            quoting: looked.quoting,
        };
        let (root, index) = (&self.places.root, Arc::clone(&kept.index));
        let look_again = |files: &FileMap| again.look(root, &index, files);
        if let Some(later) = self.add_all_diffs(&mut kept, &look_again, is_undisturbed)? {
            moved.extend(later.moved_beside(&kept.status, &BTreeSet::new())?);
        }
        self.hash_trees(kept.head.format);
        let reading = self.reading(&mut kept)?;
        moved.extend(self.moved_uncommitted(&kept, &BTreeSet::new())?);
        self.settle(kept, reading, moved, &|pass, kept, held| {
            let mut moved = pass.moved_uncommitted(kept, &BTreeSet::new())?;
            let later = look_again(&pass.cache.files)?;
            moved.extend(later.moved_beside(&kept.status, held)?);
            Ok(moved)
        })
    }

    /// Has git make the diffs. Returns what a second look found, `None` where nothing was touched since the first.
    fn add_all_diffs(
        &mut self,
        kept: &mut Kept,
        look_again: LookAgain<'_>,
        is_undisturbed: &dyn Fn() -> bool,
    ) -> Result<Option<Later>, Stop> {
        if !is_undisturbed() {
            return self.look_beside_diffs(kept, look_again).map(Some);
        }
        let loose = self.loose_objects(kept);
        self.add_diffs(kept, loose)?;
        if is_undisturbed() {
            return Ok(None);
        }
        look_again(&self.cache.files).map(Some)
    }

    /// Looks again while git makes the diffs.
    fn look_beside_diffs(
        &mut self,
        kept: &mut Kept,
        look_again: LookAgain<'_>,
    ) -> Result<Later, Stop> {
        let files = self.cache.files.clone();
        std::thread::scope(|scope| {
            let again = scope.spawn(move || look_again(&files));
            let loose = self.loose_objects(kept);
            self.add_diffs(kept, loose)?;
            again.join().map_err(|_| Stop::NotPlain)?
        })
    }

    /// Looks at what was touched and at what is not committed.
    pub(super) fn narrow(
        &mut self,
        mut kept: Kept,
        touched: &BTreeSet<PathBuf>,
    ) -> Result<(Kept, Reading), Stop> {
        if !kept.is_settled || !self.stands_on(&kept) {
            return Err(Stop::NotPlain);
        }
        let mut dirs = RealDirs::new(&self.places.root);
        let touched = self.with_moved_links(touched)?;
        let candidates = Candidates::of(
            &self.places.root,
            &touched,
            &kept.index,
            &kept.status,
            &mut dirs,
        )
        .ok_or(Stop::NotPlain)?;
        let untracked = self.untracked_among(&kept, &candidates)?;
        self.refuse_new_links(candidates.present.union(&untracked), &mut dirs)?;
        let tracked_too = self.renew_touched(&mut kept, &candidates, &untracked)?;
        self.renew_diffs(&mut kept, tracked_too)?;
        let reading = self.reading(&mut kept)?;
        let all = candidates.all().cloned().collect();
        let moved_beside = |pass: &Pass<'_>, kept: &Kept, _: &BTreeSet<PathBytes>| {
            let come = candidates.come_since(&pass.places.root, &kept.status);
            let asked: Vec<_> = come.into_iter().chain(&candidates.dirs).collect();
            let listed = pass.untracked_by_git(kept, &asked)?;
            if listed == candidates.below_listed_dirs(&kept.status) {
                pass.moved_uncommitted(kept, &all)
            } else {
                Err(Stop::Torn)
            }
        };
        let moved = moved_beside(self, &kept, &BTreeSet::new())?;
        self.settle(kept, reading, moved, &moved_beside)
    }

    /// Ends a pass in which those files moved: they are held, and those that move while the others are put together, too. All else must
    /// lie as it did, which is looked at after the last of them was held: so there was a moment at which all lay as it was read.
    fn settle(
        &mut self,
        mut kept: Kept,
        mut reading: Reading,
        mut moved: BTreeSet<PathBytes>,
        moved_beside: MovedBeside<'_>,
    ) -> Result<(Kept, Reading), Stop> {
        let mut held = BTreeSet::new();
        while !moved.is_empty() {
            held.append(&mut moved);
            held = self.hold_still(&mut kept, &held)?;
            reading = self.reading(&mut kept)?;
            moved = moved_beside(self, &kept, &held)?;
            moved.retain(|path| !held.contains(path));
        }
        if !self.stands_on(&kept) {
            return Err(Stop::Torn);
        }
        if !kept.accounts_for(&self.cache.files) {
            tracing::warn!(root = %self.places.root.display(), "files that neither index nor status knows: a bug; all is read anew");
            return Err(Stop::NotPlain);
        }
        if let (Some(key), true) = (self.compared, held.is_empty()) {
            let index = self.places.git_dir.join("index");
            self.cache.known_diffs.learn(key, &kept, &index);
        }
        self.held = held;
        Ok((kept, reading))
    }

    /// Returns whether the ground is the one on which this was read.
    fn stands_on(&self, kept: &Kept) -> bool {
        if kept.is_settled {
            kept.ground.lies_still(self.places)
        } else {
            Ground::of(self.places, &kept.config) == kept.ground
        }
    }

    /// Returns where the files lie that were held still.
    pub(super) fn held_files(&self) -> BTreeSet<PathBuf> {
        self.held.iter().map(|path| self.at(path)).collect()
    }

    pub(super) fn at(&self, path: &[u8]) -> PathBuf {
        self.places.root.join(OsStr::from_bytes(path))
    }

    /// A git that works on a private copy of the index and may refresh it, so that files which were only touched are
    /// compared once and not in every pass.
    pub(super) fn git_with_own_index(
        &mut self,
        index: &IndexFile,
        ground: &Ground,
    ) -> Result<Git, Stop> {
        let copy = self.private.join("status-index");
        let path = self.places.git_dir.join("index");
        let stamp = ground.stamp(&path);
        if stamp.is_none() || self.cache.copied_index != stamp || !copy.is_file() {
            self.cache.copied_index = None;
            for left_over in [copy.with_extension("lock"), copy.clone()] {
                match std::fs::remove_file(left_over) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                }
            }
            own_index::write_with_time_of(&path, &copy, index.bytes())?;
            self.cache.copied_index = stamp;
        }
        Ok(own_index::on_own_index(self.git, &copy)
            .with_config(&["core.fsmonitor=false"])
            .with_var("GIT_OPTIONAL_LOCKS", "1"))
    }

    /// Puts together what is known; nothing but the files of the FILES part is looked at.
    fn reading(&mut self, kept: &mut Kept) -> Result<Reading, Stop> {
        let text = kept.quoting.render(&kept.status).ok_or(Stop::NotPlain)?;
        let format = kept.head.format;
        let tree = self.cache.files.tree_id(format).map(RawId::to_hex);
        let tree = tree.ok_or(Stop::NotPlain)?;
        let clean = kept.status.is_empty();
        let git_hash = if clean {
            Ok(kept.head.commit.clone())
        } else if !self.wants_git_hash {
            Err(NOT_WANTED.to_owned())
        } else if let Some(reason) = &kept.unreadable_diff {
            Err(reason.clone())
        } else {
            let root = self.places.root.to_str().ok_or(Stop::NotPlain)?;
            let lines = self.cache.hashes.lines(root, &text, &self.moment)?;
            let mut digest = kept.after_unstaged.clone();
            digest.part("FILES:\n").add(lines.join("\n").as_bytes());
            Ok(GitHash::dirty_text(&kept.head.commit, digest))
        };
        let head: ObjectId = kept.head.commit.parse().map_err(|_| Stop::NotPlain)?;
        Ok(Reading {
            head: Some(head),
            git_hash,
            dirty: !(clean && tree == kept.head.tree),
            content: tree.parse().map_err(|_| Stop::NotPlain)?,
        })
    }

    /// Hashes the trees right below the top side by side.
    fn hash_trees(&self, format: Format) {
        let trees: Vec<_> = self.cache.files.root().unhashed().collect();
        in_shares(trees.len(), HASHED_TOGETHER_MIN, |share| {
            let mut trees = trees.get(share).unwrap_or_default().iter();
            trees.all(|tree| tree.tree_id(format).is_some())
        });
    }
}

/// So many trees to hash are worth a thread.
const HASHED_TOGETHER_MIN: usize = 16;

/// Returns whether a part of the path may be one that git never takes in, as it looks like its own directory on some systems
/// (`core.protectNTFS` in git-config(1)), or like the list of submodules, which may be no link (read-cache.c, git 2.47).
pub(super) fn may_be_refused(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| {
        let part: Vec<_> = part.iter().filter(|byte| byte.is_ascii()).collect();
        let part: Vec<_> = part.iter().map(|byte| byte.to_ascii_lowercase()).collect();
        let rest = part.strip_prefix(b".git");
        let is_list = [&b".gitmod"[..], b"gitmod~", b"gi7eb"]
            .iter()
            .any(|start| part.starts_with(start));
        is_list
            || part == b"git~1"
            || rest.is_some_and(|rest| rest.iter().all(|byte| b" .:".contains(byte)))
    })
}
