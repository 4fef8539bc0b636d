//! A look at a worktree without a process of git, which takes longer to start than a small one to look at.
//!
//! It sees what is clean, edited, staged or untracked, the commonest states; whatever is not plain is left to git.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::as_read::AsRead;
use super::git_config::SYSTEM_ATTRIBUTES;
use super::index_file::IndexFile;
use super::nearby::Nearby;
use super::plain_config;
use super::staged;
use super::status_text::{Change, Changes, PathBytes, Status};
use super::untracked;
use super::worktree_walk::{self, Looker, Unsure};
use crate::git::xdg_dir;

/// The longest name that file systems take, in bytes (`NAME_MAX` in limits.h(0p)); longer paths are left to git.
const NAME_MAX: usize = 255;

/// A repository with nothing unusual in its settings.
pub(super) struct Usual<'a> {
    pub(super) nearby: &'a Nearby,
    /// The file of the user's own rules about what is ignored.
    rules_of_user: PathBuf,
}

impl<'a> Usual<'a> {
    /// `None` where the settings are git's to read.
    pub(super) fn of(nearby: &'a Nearby) -> Option<Self> {
        Some(Self {
            nearby,
            rules_of_user: plain_config::rules_of_user(nearby.repository.commondir())?,
        })
    }
}

/// What the repository says, before any file is looked at.
pub(super) struct Glance {
    root: PathBuf,
    git_dir: PathBuf,
    /// The index.
    pub(super) index: Arc<IndexFile>,
    /// The second in which it was written.
    written: i64,
    /// What is staged, which is no rename.
    pub(super) staged: Changes,
    rules_of_user: PathBuf,
}

/// What was seen.
pub(super) struct Seen {
    /// What `git status --porcelain -uall` certainly lists.
    pub(super) status: Status,
    /// The text that it prints.
    pub(super) text: String,
}

impl Glance {
    /// Compares the index with the commit; `None` where git must be asked: something is renamed, or odd.
    pub(super) fn at(usual: &Usual<'_>) -> Option<Self> {
        let path = usual.nearby.index();
        let written = path.metadata().ok()?.mtime();
        let index = IndexFile::read(std::fs::read(&path).ok()?, 20)?;
        Self::with(usual, Arc::new(index), written)
    }

    /// Does the same with an index that was read already, and was written in that second.
    pub(super) fn with(usual: &Usual<'_>, index: Arc<IndexFile>, written: i64) -> Option<Self> {
        let nearby = usual.nearby;
        // With no time nothing is compared again, and one before 1970 is a late one (`is_racy_timestamp` in read-cache.c, git 2.47).
        if written <= 0 {
            return None;
        }
        let repository = &nearby.repository;
        if !index.is_plain() || is_replaced(repository) {
            return None;
        }
        let committed = repository.find_commit(nearby.head).ok()?.tree().ok()?;
        let codes = staged::list(repository, &committed, &index)?;
        let change = |code| Change {
            staged: code,
            ..Change::NONE
        };
        let staged = codes.into_iter().map(|(path, code)| (path, change(code)));
        Some(Self {
            root: PathBuf::from(&nearby.root),
            git_dir: repository.path().to_owned(),
            staged: staged.collect(),
            rules_of_user: usual.rules_of_user.clone(),
            written,
            index,
        })
    }

    /// Looks at every file; `None` where git must be asked: something is converted when it is read.
    pub(super) fn look(&self) -> Option<Seen> {
        let converts = self.has_rules(b".gitattributes") || self.has_outer_attributes();
        let seen = self.walk(Unsure::Read { converts })?;
        self.told(seen)
    }

    /// Looks at every file but reads none: names those of which content decides, and those that lie otherwise.
    pub(super) fn look_without_reading(&self, as_read: AsRead<'_>) -> Option<worktree_walk::Seen> {
        self.walk(Unsure::Named(as_read))
    }

    /// Returns the untracked files among what was seen.
    pub(super) fn untracked(&self, seen: &mut worktree_walk::Seen) -> Option<BTreeSet<PathBytes>> {
        let strays = std::mem::take(&mut seen.strays);
        let places = (self.root.as_path(), self.git_dir.as_path());
        untracked::list(places, strays, &seen.with_rules, &self.rules_of_user)
    }

    /// Returns what git's status says of what was seen, once it is known what became of every file.
    pub(super) fn told(&self, mut seen: worktree_walk::Seen) -> Option<Seen> {
        let mut status = Status {
            untracked: self.untracked(&mut seen)?,
            tracked: seen.changes,
        };
        for (path, change) in &self.staged {
            let listed = status.tracked.entry(path.clone()).or_insert(Change::NONE);
            listed.staged = change.staged;
        }
        Some(Seen {
            text: status.render(true)?,
            status,
        })
    }

    /// Looks for everything that the index knows, and for what lies beside it.
    fn walk(&self, unsure: Unsure<'_>) -> Option<worktree_walk::Seen> {
        // Submodules may be left out of the status by what this file says. Of a name that no disk takes nothing is known.
        if self.has_rules(b".gitmodules") || self.index.longest_path() > NAME_MAX {
            return None;
        }
        let entries: Vec<_> = self.index.entries().collect();
        let looker = Looker {
            root: &self.root,
            written: self.written,
            unsure,
        };
        looker.see(&entries)
    }

    fn has_outer_attributes(&self) -> bool {
        let of_repository = self.git_dir.join("info/attributes");
        let of_user = xdg_dir().map(|dir| dir.join("attributes"));
        let of_system = SYSTEM_ATTRIBUTES.map(PathBuf::from);
        [Some(of_repository), of_user]
            .into_iter()
            .flatten()
            .chain(of_system)
            .any(|file| file.symlink_metadata().is_ok())
    }

    /// Returns whether the index has a file of that name that rules others.
    fn has_rules(&self, name: &[u8]) -> bool {
        self.index.rule_files().any(|path| path.ends_with(name))
    }
}

/// Objects may stand for others (git-replace(1)), which git2 does not know.
fn is_replaced(repository: &git2::Repository) -> bool {
    let replaced = repository.references_glob("refs/replace/*");
    !replaced.is_ok_and(|mut names| names.next().is_none())
}
