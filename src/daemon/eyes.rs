//! How the daemon comes to know that a worktree changed: by events, or, where none can be had, by looking at intervals.
//!
//! Owns the watches, the reader and what was touched and not read yet, moved into a look and back. Decides nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::git_at_work::{Patience, is_locked};
use super::remembered_files;
use super::watching::{Opener, Sight, Watching};
use crate::identity::reader::WorktreeReader;
use crate::identity::stamp::Stamp;
use crate::identity::{ReadError, Reading};
use crate::reflog;
use crate::registry::Registry;
use crate::repository::Worktree;
use crate::touched::Touched;
use crate::watch::WatchError;

/// What moves into the job and comes back with its outcome.
pub(super) struct Eyes {
    watching: Watching,
    /// Where it is written down which repository is tracked here.
    registry: Registry,
    /// False before the first look, which learns what the last daemon read.
    has_recalled: bool,
    pub(super) reader: WorktreeReader,
    /// What was last read.
    pub(super) last: Option<Reading>,
    /// What was touched before looks that saw nothing, the last ones.
    pub(super) unread: Touched,
    /// Files that git wrote, too many to be touched one by one, until they are read ahead.
    written: BTreeSet<PathBuf>,
    /// The store's file as it was at the last look.
    pub(super) store: Option<Stamp>,
    /// What made the last look necessary.
    pub(super) last_cause: String,
    /// How long git's lock of the index has been waited for.
    pub(super) patience: Patience,
    /// HEAD's reflog as it was at the last look that saw something.
    pub(super) head_log: Option<Stamp>,
}

impl Eyes {
    /// Opens them for a worktree. Returns also why no events can be had, where that is known already.
    pub(super) fn new(
        root: &Path,
        opener: Opener,
        reader: WorktreeReader,
        registry: Registry,
    ) -> (Self, Option<WatchError>) {
        let (watching, error) = Watching::of(root, opener);
        let eyes = Self {
            watching,
            registry,
            has_recalled: false,
            reader,
            last: None,
            unread: Touched::default(),
            written: BTreeSet::new(),
            store: None,
            last_cause: String::new(),
            patience: Patience::default(),
            head_log: None,
        };
        (eyes, error)
    }

    /// False once the worktree is gone or about to go, and where another one, or another repository, lies in its place.
    pub(super) fn are_on(&self, worktree: &Worktree) -> bool {
        worktree.is_there() && self.registry.may_know(&worktree.common_dir)
    }

    /// Returns how many directories are watched.
    pub(super) fn watches(&self) -> usize {
        self.watching.count()
    }

    /// Lets go of every watch, as others take their place.
    pub(super) fn shut(&mut self) {
        self.watching.shut();
    }

    /// Watches everything anew at the next look.
    pub(super) fn look_around(&mut self) {
        self.watching.look_around();
    }

    /// Waits until every event of what was done before has come; false where that cannot be known.
    pub(super) fn is_synced(&self) -> bool {
        self.watching.is_synced()
    }

    /// Takes what was touched; everything where no events told. The first time the reader learns beside it what the last daemon read, and
    /// what it begins with.
    pub(super) fn take_touched(&mut self, worktree: &Worktree) -> (Touched, Option<Sight>) {
        self.written = BTreeSet::new();
        if std::mem::replace(&mut self.has_recalled, true) {
            return self.watching.take_touched();
        }
        let (watching, reader) = (&mut self.watching, &mut self.reader);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                remembered_files::recall(reader, &worktree.private_dir());
                reader.prepare();
            });
            watching.take_touched()
        })
    }

    /// Returns what was touched since that was taken last, `None` where no events come.
    pub(super) fn touched_since(&self, is_asked: bool) -> Option<Touched> {
        self.watching.touched_since(is_asked)
    }

    /// Returns whether a directory may lie there, or may have lain there: one that is renamed all the time is met under neither name.
    pub(super) fn may_be_dir(&self, path: &Path) -> bool {
        self.watching.may_have_been_dir(path) || self.reader.has_dir(path) || path.is_dir()
    }

    /// Reads files that git wrote before it was waited for last, as long as it still writes others.
    pub(super) fn read_ahead(&mut self, worktree: &Worktree) {
        // What was written just now may be written again with nothing to tell.
        let due = std::mem::replace(&mut self.written, self.watching.take_written());
        if !due.is_empty() {
            let goes_on = || is_locked(&worktree.git_dir);
            self.reader.read_ahead(&due, &goes_on);
        }
    }

    /// Returns what [`WorktreeReader::read_while`] returns, as long as events tell.
    pub(super) fn read(&mut self, touched: &Touched) -> Result<Reading, ReadError> {
        let watching = &self.watching;
        self.reader
            .read_while(touched, &|| watching.is_undisturbed())
    }
}

/// Returns what made a look necessary, for people: files saved, git at work, `asked`, or `rescan`.
pub(super) fn cause_of(touched: &Touched, root: &Path, git_dirs: [&Path; 2]) -> String {
    let Touched::Paths(paths) = touched else {
        return "rescan".to_owned();
    };
    let is_of_git = |path: &Path| git_dirs.iter().any(|dir| path.starts_with(dir));
    let (of_git, others): (Vec<_>, Vec<_>) = paths.iter().partition(|path| is_of_git(path));
    let (saved, outside): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|path| path.starts_with(root));
    let name = |path: &Path| {
        let inside = [root].into_iter().chain(git_dirs);
        let shortened = inside
            .filter_map(|dir| path.strip_prefix(dir).ok())
            .next_back();
        crate::text::printable(&shortened.unwrap_or(path).to_string_lossy())
    };
    let kinds = [("saved", saved), ("git", of_git), ("saved", outside)];
    let Some((word, paths)) = kinds.into_iter().find(|(_, paths)| !paths.is_empty()) else {
        return "asked".to_owned();
    };
    let first = paths.first().map(|path| name(path)).unwrap_or_default();
    match paths.len() {
        1 => format!("{word} {first}"),
        more => format!("{word} {first} (+{})", more - 1),
    }
}

/// Returns what git did to HEAD last, in its own word.
pub(super) fn how_head_moved(git_dir: &Path) -> String {
    let last = reflog::read(git_dir).pop();
    last.map_or_else(
        || "HEAD moved".to_owned(),
        |last| crate::text::printable(&last.what),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_names_what_was_saved_before_what_git_did() {
        let root = Path::new("/r");
        let git_dir = Path::new("/r/.git");
        let of = |paths: &[&str]| {
            let paths = paths.iter().map(Into::into).collect();
            cause_of(&Touched::Paths(paths), root, [git_dir, git_dir])
        };
        assert_eq!(
            of(&["/r/app.py", "/r/b.py", "/r/.git/index"]),
            "saved app.py (+1)"
        );
        assert_eq!(of(&["/db/mlflow.db", "/r/app.py"]), "saved app.py");
        assert_eq!(of(&["/r/.git/index"]), "git index");
        assert_eq!(of(&[]), "asked");
        let everything = cause_of(&Touched::Everything, root, [git_dir, git_dir]);
        assert_eq!(everything, "rescan");
    }
}
