//! The part of a pass that has git make the diffs.

use super::diffs::{self, DiffCall};
use super::digest::Digest;
use super::git_hash::{self, GitHashError};
use super::kept::Kept;
use super::pass::Pass;
use super::reader::Stop;
use crate::git::Git;

impl Pass<'_> {
    /// Makes both parts anew.
    pub(super) fn add_diffs(&self, kept: &mut Kept) -> Result<(), Stop> {
        let staged = kept
            .status
            .has_staged()
            .then(|| {
                let scratch = self.scratch.path();
                let index = self.places.git_dir.join("index");
                let changes = &kept.status.tracked;
                git_hash::staged_call(self.git, &index, changes, &kept.index, scratch)
            })
            .transpose()?;
        let mut digest = Digest::new(&kept.head.commit);
        let staged = |digest: &mut Digest| diffs::add_staged(digest, staged.as_ref());
        let after_staged = diffs::add_both(&mut digest, staged, || {
            if kept.status.has_unstaged() {
                self.unstaged_call(kept, self.git).map(Some)
            } else {
                Ok(None)
            }
        });
        kept.unreadable_diff = unreadable(&after_staged);
        if kept.unreadable_diff.is_none() {
            kept.after_staged = after_staged?;
            kept.after_unstaged = digest;
        }
        Ok(())
    }

    /// Makes the unstaged part anew; `git` says where the files are.
    pub(super) fn add_unstaged(&self, kept: &mut Kept, git: &Git) -> Result<(), Stop> {
        let mut digest = kept.after_staged.clone();
        if kept.status.has_unstaged() {
            let call = self.unstaged_call(kept, git)?;
            let added = diffs::add_unstaged(&mut digest, Some(&call));
            kept.unreadable_diff = unreadable(&added);
            if kept.unreadable_diff.is_some() {
                return Ok(());
            }
            added?;
        }
        kept.after_unstaged = digest;
        Ok(())
    }

    fn unstaged_call(&self, kept: &Kept, git: &Git) -> Result<DiffCall, GitHashError> {
        let changed = kept.status.tracked.iter();
        let paths = changed
            .filter(|(_, change)| change.unstaged != b' ')
            .map(|(path, _)| path.clone())
            .collect();
        let small = kept.index.with_only(&paths);
        let index = self.places.git_dir.join("index");
        git_hash::unstaged(git, &index, &small, self.scratch.path())
    }
}

/// Returns why the helper cannot read a diff, where that is the trouble.
fn unreadable<T>(outcome: &Result<T, GitHashError>) -> Option<String> {
    match outcome {
        Err(error @ GitHashError::NotUtf8 { .. }) => Some(error.to_string()),
        _ => None,
    }
}
