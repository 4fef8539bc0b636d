//! What the repository's own index says, taken over into one of our own, and what is to be read from the disk into that.
//!
//! Writes only the index that the `git` it is given names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::TreeError;
use super::add_refusals::{IGNORING, no_commit, refuse_wrong_encoding, stage_and_path};
use super::file_content::is_absence;
use super::nested::{has_commit, is_own_root};
use super::real_dirs::RealDirs;
use crate::git::{self, Git, records};

/// What the repository's own index says, taken over into the scratch index, and what is to be read from the disk.
pub(super) struct StartingIndex {
    /// As `git ls-files -s -z` lists them.
    pub(super) entries: Vec<u8>,
    hidden: Vec<Vec<u8>>,
    /// Repositories inside that have no commit, so that git passes them over.
    pub(super) unborn: Vec<Vec<u8>>,
    /// Tracked files where a directory is now, or a link in the place of a directory above.
    replaced: Vec<Vec<u8>>,
    /// What is tracked as a repository of its own.
    pub(super) gitlinks: Vec<Vec<u8>>,
    tracked: BTreeSet<Vec<u8>>,
    /// What is to be read, tracked or not.
    pub(super) files: Vec<Vec<u8>>,
}

impl StartingIndex {
    pub(super) fn read(git: &Git, top: &Path) -> Result<Self, TreeError> {
        let entries = git.run(&["ls-files", "-s", "-z"])?.stdout;
        let flags = git.run(&["ls-files", "-t", "-z"])?.stdout;
        let is_absent = |path: &[u8]| {
            let on_disk = top.join(OsStr::from_bytes(path));
            on_disk.symlink_metadata().is_err()
        };
        let (hidden, files): (Vec<_>, Vec<_>) = records(&flags)
            .filter_map(|record| Some((record.first()? == &b'S', record.get(2..)?)))
            .filter(|(_, path)| !is_out_of_sight(&top.join(OsStr::from_bytes(path))))
            .map(|(skip, path)| (skip && is_absent(path), path.to_vec()))
            .partition(|(is_hidden, _)| *is_hidden);
        let is_dir = |path: &[u8]| {
            let on_disk = top.join(OsStr::from_bytes(path));
            on_disk.symlink_metadata().is_ok_and(|found| found.is_dir())
        };
        let gitlinks: BTreeSet<_> = git::gitlinks(&entries).map(<[u8]>::to_vec).collect();
        let mut real_dirs = RealDirs::new(top);
        let (replaced, mut files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, path)| {
            let is_replaced = !gitlinks.contains(path) && is_dir(path);
            is_replaced || !real_dirs.hold(path)
        });
        files.sort();
        files.dedup();
        let tracked = files.iter().map(|(_, path)| path.clone()).collect();
        Ok(Self {
            entries,
            hidden: hidden.into_iter().map(|(_, path)| path).collect(),
            gitlinks: gitlinks.into_iter().collect(),
            tracked,
            unborn: Vec::new(),
            replaced: replaced.into_iter().map(|(_, path)| path).collect(),
            files: files.into_iter().map(|(_, path)| path).collect(),
        })
    }

    /// Adds what is not tracked, given the index that [`Self::write`] made: a repository may have taken the place of a file.
    pub(super) fn find_untracked(&mut self, git: &Git, top: &Path) -> Result<(), TreeError> {
        let untracked = git
            .run(&["ls-files", "-o", "--exclude-standard", "-z"])?
            .stdout;
        let (nested, plain): (Vec<_>, Vec<_>) =
            records(&untracked).partition(|path| path.ends_with(b"/"));
        let (born, unborn): (Vec<_>, Vec<_>) = nested
            .into_iter()
            .filter_map(|path| path.strip_suffix(b"/"))
            .partition(|path| has_commit(git, &top.join(OsStr::from_bytes(path))));
        self.unborn = unborn.into_iter().map(<[u8]>::to_vec).collect();
        // After the tracked ones: attribute files that are gone count until git comes to them (builtin/add.c, git 2.47).
        let mut added: Vec<_> = plain.into_iter().chain(born).map(<[u8]>::to_vec).collect();
        for path in self.repositories_in_place_of_files(git, top) {
            if !has_commit(git, &top.join(OsStr::from_bytes(&path))) {
                return Err(no_commit(&path));
            }
            added.push(path);
        }
        added.sort();
        added.dedup();
        self.files.extend(added);
        Ok(())
    }

    /// What is tracked is not ignored, whatever it has become.
    fn repositories_in_place_of_files(&self, git: &Git, top: &Path) -> Vec<Vec<u8>> {
        let mut real_dirs = RealDirs::new(top);
        let replaced = self.replaced.iter().filter(|path| real_dirs.hold(path));
        let is_repository = |path: &&Vec<u8>| {
            let dir = top.join(OsStr::from_bytes(path));
            dir.join(".git").exists() && is_own_root(&git.in_other_repository(&dir), &dir)
        };
        replaced.filter(is_repository).cloned().collect()
    }

    /// Has git read the files into the index that [`Self::write`] made. Returns the links that it left out.
    pub(super) fn update(&self, git: &Git, top: &Path) -> Result<Vec<Vec<u8>>, TreeError> {
        let update = [
            "update-index",
            "--add",
            "--remove",
            "--replace",
            "--info-only",
        ];
        let update = [&update[..], &["-z", "--stdin"]].concat();
        let said = git
            .clone()
            .with_var("LANGUAGE", "C")
            .run_with_input(&update, Some(nul_terminated(&self.files)))?;
        let ignored = |line: &[u8]| {
            let path = line.strip_prefix(IGNORING.as_bytes())?.to_vec();
            let is_link = top.join(OsStr::from_bytes(&path)).is_symlink();
            (is_link && self.tracked.contains(&path)).then_some(path)
        };
        let (mut links, mut rest) = (Vec::new(), Vec::new());
        for line in said.stderr.split_inclusive(|byte| *byte == b'\n') {
            match ignored(line.trim_ascii_end()) {
                Some(path) => links.push(path),
                None => rest.extend_from_slice(line),
            }
        }
        refuse_wrong_encoding(&rest)?;
        Ok(links)
    }

    /// Returns whether a sparse checkout hides every file.
    pub(super) fn hides_all(&self) -> bool {
        !self.hidden.is_empty() && self.files.is_empty() && self.replaced.is_empty()
    }

    /// Makes the index that `git` was given: with the entries, and none of their stat data.
    pub(super) fn write(&self, git: &Git) -> Result<(), TreeError> {
        git.run(&["read-tree", "--empty"])?;
        git.run_with_input(
            &["update-index", "-z", "--index-info"],
            Some(with_ours(&self.entries)),
        )?;
        if !self.replaced.is_empty() {
            git.run_with_input(
                &["update-index", "--force-remove", "-z", "--stdin"],
                Some(nul_terminated(&self.replaced)),
            )?;
        }
        if !self.hidden.is_empty() {
            git.run_with_input(
                &["update-index", "--skip-worktree", "-z", "--stdin"],
                Some(nul_terminated(&self.hidden)),
            )?;
        }
        Ok(())
    }
}

/// Git keeps what it has of a file of which the system does not say whether it is there (`check_removed` in diff-lib.c, git 2.47).
fn is_out_of_sight(path: &Path) -> bool {
    path.symlink_metadata()
        .is_err_and(|error| !is_absence(&error))
}

/// Where a conflict is not resolved `git add` takes our side for what was tracked (`index_name_pos_also_unmerged` and
/// `read_blob_data_from_index` in read-cache.c, git 2.47), where `git update-index` takes none: by it goes the mode where modes do not count.
fn with_ours(entries: &[u8]) -> Vec<u8> {
    let ours: BTreeSet<_> = records(entries)
        .filter_map(stage_and_path)
        .filter_map(|(stage, path)| (stage == b'2').then_some(path))
        .collect();
    let mut text = Vec::with_capacity(entries.len());
    for entry in records(entries) {
        match stage_and_path(entry) {
            Some((b'2', path)) => {
                let head = entry.len() - path.len() - 1;
                text.extend_from_slice(entry.get(..head).unwrap_or_default());
                text.push(b'0');
                text.extend(path);
            }
            Some((b'1' | b'3', path)) if ours.contains(&path) => continue,
            _ => text.extend_from_slice(entry),
        }
        text.push(0);
    }
    text
}

fn nul_terminated(paths: &[Vec<u8>]) -> Vec<u8> {
    paths
        .iter()
        .flat_map(|path| path.iter().copied().chain([0]))
        .collect()
}
