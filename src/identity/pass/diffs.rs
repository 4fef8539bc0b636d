//! The part of a pass that has git make the diffs.
//!
//! Does not find out which files changed: that stands in the status that it is given. Where no git-hash is wanted it
//! does nothing.

use super::Pass;
use super::stop::Stop;
use crate::git::Git;
use crate::identity::diffs::{self, NewSides, RunningDiff};
use crate::identity::digest::Digest;
use crate::identity::kept::Kept;
use crate::identity::known_diffs::{Key, are_sides_of};
use crate::identity::loose::LooseObjects;
use crate::identity::{GitHashError, git_hash};

impl Pass<'_> {
    /// Makes the unstaged part anew where files changed that it may be about, and both parts where their abbreviations may have
    /// other lengths now.
    pub(super) fn renew_diffs(&mut self, kept: &mut Kept, has_changed: bool) -> Result<(), Stop> {
        if !self.wants_git_hash {
            return Ok(());
        }
        let loose = self.loose_objects(kept);
        let is_certain = kept.status.tracked.is_empty() || loose.is_some() && loose == kept.loose;
        match (is_certain, has_changed) {
            (true, false) => Ok(()),
            (true, true) if kept.unreadable_diff.is_none() => self.add_unstaged(kept, self.git),
            _ => self.add_diffs(kept, loose),
        }
    }

    /// Returns those beside which diffs are made; `None` where there are no diffs, or more may come unseen.
    pub(super) fn loose_objects(&self, kept: &Kept) -> Option<LooseObjects> {
        let is_needed = !kept.status.tracked.is_empty();
        let loose = is_needed.then(|| LooseObjects::of(&self.places.common_dir));
        loose.filter(|loose| loose.is_settled(&self.moment))
    }

    /// Makes both parts anew, beside these loose objects.
    pub(super) fn add_diffs(
        &mut self,
        kept: &mut Kept,
        loose: Option<LooseObjects>,
    ) -> Result<(), Stop> {
        if !self.wants_git_hash {
            return Ok(());
        }
        kept.loose = loose;
        if !kept.status.has_staged() {
            kept.after_staged = Digest::new(&kept.head.commit);
            return self.add_unstaged(kept, self.git);
        }
        let scratch = self.workbench.path();
        let index = self.places.git_dir.join("index");
        let changes = &kept.status.tracked;
        let call = git_hash::staged_call(self.git, &index, changes, &kept.index, scratch);
        let staged = call?.start()?;
        let unstaged = self.start_unstaged(kept, self.git)?;
        let mut digest = Digest::new(&kept.head.commit);
        let added = diffs::add_staged(&mut digest, Some(staged)).and_then(|()| {
            let after_staged = digest.clone();
            diffs::add_unstaged(&mut digest, unstaged).map(|sides| (after_staged, sides))
        });
        kept.unreadable_diff = unreadable(&added);
        if kept.unreadable_diff.is_none() {
            let (after_staged, sides) = added?;
            kept.after_staged = after_staged;
            let key = Key::of(kept, &self.cache.files);
            self.take_unstaged(kept, key, digest, &sides);
        }
        Ok(())
    }

    /// Makes the unstaged part anew where it is not known; `git` says where the files are.
    pub(super) fn add_unstaged(&mut self, kept: &mut Kept, git: &Git) -> Result<(), Stop> {
        if !self.wants_git_hash {
            return Ok(());
        }
        let index = self.places.git_dir.join("index");
        let key = Key::of(kept, &self.cache.files);
        if let Some(digest) = self.cache.known_diffs.find(&key, kept, &index) {
            kept.after_unstaged = digest;
            kept.unreadable_diff = None;
            return Ok(());
        }
        let mut digest = kept.after_staged.clone();
        let unstaged = self.start_unstaged(kept, git)?;
        let added = diffs::add_unstaged(&mut digest, unstaged);
        kept.unreadable_diff = unreadable(&added);
        if kept.unreadable_diff.is_none() {
            self.take_unstaged(kept, key, digest, &added?);
        }
        Ok(())
    }

    fn take_unstaged(&mut self, kept: &mut Kept, key: Key, after: Digest, sides: &NewSides) {
        let are_same = are_sides_of(kept, &self.cache.files, sides);
        self.compared = are_same.then_some(key);
        kept.after_unstaged = after;
    }

    fn start_unstaged(&self, kept: &Kept, git: &Git) -> Result<Option<RunningDiff>, GitHashError> {
        if !kept.status.has_unstaged() {
            return Ok(None);
        }
        let paths = kept.status.unstaged().map(|(path, _)| path.clone());
        let paths = paths.collect();
        let small = kept.index.with_only(&paths);
        let index = self.places.git_dir.join("index");
        let call = git_hash::unstaged(git, &index, &small, self.workbench.path())?;
        call.start().map(Some)
    }
}

/// Returns why the helper cannot read a diff, where that is the trouble.
fn unreadable<T>(outcome: &Result<T, GitHashError>) -> Option<String> {
    match outcome {
        Err(error @ GitHashError::NotUtf8 { .. }) => Some(error.to_string()),
        _ => None,
    }
}
