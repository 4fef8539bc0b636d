//! The eyes of the daemon: which directories are watched, and what was touched in them.
//!
//! The only module that knows `notify`. Events are hints: they say that something should be looked at, never what it is.
//! There is no queue that could overflow: touched paths go to a bounded set that collapses to "everything".

mod cookies;
mod few;
mod filter;
mod leaf;
mod links;
mod noted;
mod rules;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use notify::{Config, PathOp, RecommendedWatcher, RecursiveMode, WatchPathConfig, Watcher as _};

use crate::env_file;
use crate::locks::lock;
use crate::remote_fs::remote_kind;
use crate::repository::{Worktree, ignored_by_git};
use crate::touched::Touched;
use cookies::{is_real_dir, make_cookie_dir, own_dirs, put_cookie, remove_cookies};
use few::{dirs_of_few, user_files};
use filter::{CopyIsCode, Filter, Outside, is_linked, moves_at_every_commit};
use leaf::Leaves;
use noted::{KINDS, Shared, note};
use rules::Rules;

/// Why directories cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user's limit of watches or of inotify instances is reached.
    #[error("the limit of file watches is reached")]
    LimitReached,
    /// The file system takes watches and tells nothing, as over a network.
    #[error("this file system sends no events")]
    Silent,
    /// Others write to the file system too, and nothing tells of it.
    #[error("{0} tells of no change that others make")]
    Remote(&'static str),
    /// The system refused.
    #[error("cannot watch {}: {message}", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

/// Of watches, or of descriptors for one more inotify instance (`inotify_init(2)`, `inotify_add_watch(2)`).
fn is_limit(error: &std::io::Error) -> bool {
    let limits = [rustix::io::Errno::NOSPC, rustix::io::Errno::MFILE];
    let limits = limits.map(|limit| Some(limit.raw_os_error()));
    limits.contains(&error.raw_os_error())
}

impl WatchError {
    fn of(path: &Path, error: &notify::Error) -> Self {
        let limit = match &error.kind {
            notify::ErrorKind::MaxFilesWatch => true,
            notify::ErrorKind::Io(io) => is_limit(io),
            _ => false,
        };
        if limit {
            Self::LimitReached
        } else {
            Self::Refused {
                path: path.to_owned(),
                message: error.to_string(),
            }
        }
    }
}

/// The watches of one worktree.
pub struct Watch {
    worktree: Worktree,
    shared: Arc<Shared>,
    watcher: RecommendedWatcher,
    dirs: BTreeSet<PathBuf>,
    /// Directories that were watched once, and went or took another name.
    former_dirs: Touched,
    store: Option<PathBuf>,
    outside: Outside,
    copy_is_code: CopyIsCode,
    cookies: AtomicU64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        remove_cookies(&self.worktree);
    }
}

impl Watch {
    /// Begins to watch nothing yet. `store` is a file that matters too; `wake` is called on the event thread whenever something was touched.
    ///
    /// # Errors
    /// [`WatchError`] when the system gives no watcher, or one that would not tell of everything.
    pub fn new(
        worktree: &Worktree,
        store: Option<&Path>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, WatchError> {
        let places = [&worktree.root, &worktree.git_dir, &worktree.common_dir];
        if let Some(kind) = places.into_iter().find_map(|place| remote_kind(place)) {
            return Err(WatchError::Remote(kind));
        }
        let shared = Arc::new(Shared::default());
        let outside = Outside::default();
        let copy_is_code = CopyIsCode::default();
        let filter = Filter::new(worktree, Arc::clone(&outside), Arc::clone(&copy_is_code));
        let seen = Arc::clone(&shared);
        let told = move |event: notify::Result<notify::Event>| {
            if note(&seen, &filter, event) {
                wake();
            }
        };
        let watcher = RecommendedWatcher::new(told, Config::default().with_event_kinds(KINDS))
            .map_err(|error| WatchError::of(&worktree.root, &error))?;
        Ok(Self {
            worktree: worktree.clone(),
            shared,
            watcher,
            dirs: BTreeSet::new(),
            former_dirs: Touched::default(),
            store: store.map(Path::to_owned),
            outside,
            copy_is_code,
            cookies: AtomicU64::new(0),
        })
    }

    /// Returns whether there is anything to watch.
    pub fn has_ground(&self) -> bool {
        self.worktree.git_dir.is_dir() && self.worktree.root.is_dir()
    }

    /// Returns how many directories are watched.
    pub fn count(&self) -> usize {
        self.dirs.len()
    }

    /// Returns whether `path` was a directory when it was looked at, now or ever; true also where too many were to tell.
    pub fn may_have_been_dir(&self, path: &Path) -> bool {
        self.dirs.contains(path) || self.former_dirs.may_hold(path)
    }

    /// Gives a file in a private directory another name and waits for its event: events come in the order of what was done, so by
    /// then all earlier ones have come. Returns false when it does not come in `time`, as on file systems that send none.
    pub fn sync(&self, time: Duration) -> bool {
        let cookie = self.cookies.fetch_add(1, Ordering::Relaxed) + 1;
        // Nothing is written through a link, nor over what is not ours.
        let is_ours = own_dirs(&self.worktree).iter().all(|dir| is_real_dir(dir));
        if !is_ours || !put_cookie(&self.worktree, cookie) {
            tracing::debug!(cookie, "no cookie can be made");
            return false;
        }
        let waited =
            self.shared
                .cookie_seen
                .wait_timeout_while(self.shared.lock(), time, |noted| noted.cookie < cookie);
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    }

    /// Takes the files that were written, of more than are counted: what may be worth to be read while others are still being
    /// written. Says nothing of what was touched.
    pub fn take_written(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.shared.lock().written)
    }

    /// Returns whether nothing was touched since [`Self::take`], where that is known within `time`.
    pub fn is_undisturbed(&self, time: Duration) -> bool {
        let is_still = || self.shared.lock().touched.is_empty();
        is_still() && self.sync(time) && is_still()
    }

    /// Returns what was touched since [`Self::take`], as far as events have told by now.
    pub fn touched_since(&self) -> Touched {
        self.shared.lock().touched.clone()
    }

    /// Takes what was touched and watches what is new. Called before a reading, so that whatever changes after the
    /// reading began is seen.
    ///
    /// # Errors
    /// [`WatchError`] when a directory cannot be watched; what was touched is everything then.
    pub fn take(&mut self) -> Result<Touched, WatchError> {
        let (touched, around) = {
            let mut noted = self.shared.lock();
            noted.written = BTreeSet::new();
            (
                std::mem::take(&mut noted.touched),
                std::mem::take(&mut noted.around),
            )
        };
        let has_let_go = match &around {
            Touched::Paths(paths) if !self.decide_what_is_watched(paths) => {
                self.watch_new_among(paths)?;
                false
            }
            _ => self.watch_everything()?,
        };
        if has_let_go {
            return Ok(Touched::Everything);
        }
        Ok(touched)
    }

    fn decide_what_is_watched(&self, paths: &BTreeSet<PathBuf>) -> bool {
        let mut paths = paths.iter();
        paths.any(|path| self.decides_what_is_ignored(path) || self.is_own_ground(path))
    }

    /// The worktree or its git directory was itself moved, removed or made anew: old watches watch what is gone.
    fn is_own_ground(&self, path: &Path) -> bool {
        let Worktree {
            root,
            git_dir,
            common_dir,
        } = &self.worktree;
        [root, git_dir, common_dir].iter().any(|own| *own == path)
    }

    /// The store's file and what its database keeps beside it say nothing about the code.
    fn is_of_store(&self, path: &Path) -> bool {
        let store = self.store.as_ref();
        store.is_some_and(|store| is_of_database(path, store))
    }

    fn decides_what_is_ignored(&self, path: &Path) -> bool {
        if self.is_of_store(path) {
            return false;
        }
        let outside = !path.starts_with(&self.worktree.root) || self.is_inside_git(path);
        let inside_git = [&self.worktree.git_dir, &self.worktree.common_dir]
            .into_iter()
            .find_map(|dir| path.strip_prefix(dir).ok());
        path.file_name().is_some_and(|name| name == ".gitignore")
            || outside
                && !inside_git
                    .is_some_and(|inside| moves_at_every_commit(inside) || is_linked(inside))
    }

    /// What came, went or took another name is not watched any more, nor what was below it: the watch goes with the directory.
    fn forget(&mut self, paths: &BTreeSet<PathBuf>) {
        for path in paths {
            if self.is_inside_git(path) {
                continue;
            }
            let from_here = self.dirs.range::<PathBuf, _>(path..);
            let gone = from_here.take_while(|dir| dir.starts_with(path));
            for dir in gone.cloned().collect::<Vec<_>>() {
                self.dirs.remove(&dir);
                self.former_dirs.add(dir);
            }
        }
    }

    fn watch_new_among(&mut self, paths: &BTreeSet<PathBuf>) -> Result<(), WatchError> {
        self.forget(paths);
        let dirs: Vec<_> = paths.iter().filter(|path| is_real_dir(path)).collect();
        let index = self.worktree.git_dir.join("index");
        if dirs.is_empty() && !paths.contains(&index) {
            return Ok(());
        }
        let mut rules = self.read_rules();
        for dir in dirs {
            self.watch_below(dir, &mut rules)?;
        }
        // A file that was added in spite of being ignored makes its directories count.
        for dir in rules.own().iter().flat_map(|own| own.tracked_dirs()) {
            let dir = self.worktree.root.join(dir);
            if !self.dirs.contains(&dir) {
                self.watch(&dir, RecursiveMode::NonRecursive)?;
            }
        }
        Ok(())
    }

    fn read_rules(&self) -> Rules {
        let rules = Rules::read(&self.worktree);
        let is_code = rules.own().is_none_or(|rules| {
            let mut files = env_file::copy_files().into_iter();
            files.any(|file| rules.tracks(&file))
        });
        self.copy_is_code.store(is_code, Ordering::Relaxed);
        rules
    }

    /// Watches every wanted directory, as at the start and after events were lost. Returns whether some of them may have been
    /// without a watch meanwhile, so that anything may have changed.
    ///
    /// # Errors
    /// [`WatchError`] when a directory cannot be watched.
    pub fn watch_everything(&mut self) -> Result<bool, WatchError> {
        let before = std::mem::take(&mut self.dirs);
        self.watch_wanted()?;
        let mut has_let_go = false;
        for dir in before.difference(&self.dirs) {
            match self.watcher.unwatch(dir) {
                Ok(()) => has_let_go = true,
                Err(error) => {
                    tracing::trace!(%error, dir = %dir.display(), "not watched any more");
                }
            }
        }
        if has_let_go {
            // A directory that is mounted at two places has one watch for both (inotify(7)), which went with one of them.
            self.watch_wanted()?;
        }
        Ok(has_let_go)
    }

    fn watch_wanted(&mut self) -> Result<(), WatchError> {
        let (mut rules, mut outside) = self.read_what_decides();
        outside.extend(self.store.clone());
        let cookies = make_cookie_dir(&self.worktree);
        let mut dirs = dirs_of_few(&self.worktree, &outside);
        dirs.extend(cookies.map(|dir| (dir, RecursiveMode::NonRecursive)));
        *lock(&self.outside) = outside;
        for (dir, mode) in dirs {
            self.watch(&dir, mode)?;
        }
        let root = self.worktree.root.clone();
        self.watch_below(&root, &mut rules)
    }

    /// Returns the rules of the worktree, and the user's files, for which git is asked meanwhile.
    fn read_what_decides(&self) -> (Rules, Vec<PathBuf>) {
        std::thread::scope(|scope| {
            let files = scope.spawn(|| user_files(&self.worktree));
            let rules = self.read_rules();
            let files = files.join();
            (rules, files.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// Watches `top` and what lies below it, without the directories that git ignores.
    fn watch_below(&mut self, top: &Path, rules: &mut Rules) -> Result<(), WatchError> {
        if !top.starts_with(&self.worktree.root) || self.is_inside_git(top) {
            return Ok(());
        }
        if leads_elsewhere(top) {
            return Ok(());
        }
        let mut waiting = vec![top.to_owned()];
        if let Ok(relative) = top.strip_prefix(&self.worktree.root)
            && !relative.as_os_str().is_empty()
            && rules.skips_dir(relative)
            && !ignored_by_git(&self.worktree, &BTreeSet::from([relative.to_owned()])).is_empty()
        {
            return Ok(());
        }
        while !waiting.is_empty() {
            let skipped = self.walk(waiting, rules)?;
            let ignored = ignored_by_git(&self.worktree, &skipped);
            waiting = skipped
                .difference(&ignored)
                .map(|dir| self.worktree.root.join(dir))
                .collect();
        }
        Ok(())
    }

    /// Returns the directories, relative to the root, that seem to be ignored and were not entered; those in `waiting`
    /// are. Each directory is watched before it is listed: what appears later makes an event.
    fn walk(
        &mut self,
        mut waiting: Vec<PathBuf>,
        rules: &mut Rules,
    ) -> Result<BTreeSet<PathBuf>, WatchError> {
        let leaves = Leaves::below(&self.worktree.root);
        let mut skipped = BTreeSet::new();
        while !waiting.is_empty() {
            let dirs = std::mem::take(&mut waiting);
            self.watch_real(&dirs, RecursiveMode::NonRecursive)?;
            for dir in &dirs {
                if *dir != self.worktree.root {
                    self.watch_nested_repository(dir)?;
                }
                if leaves.has(dir) {
                    continue;
                }
                for inner in dirs_in(dir) {
                    match inner.strip_prefix(&self.worktree.root) {
                        Ok(relative) if rules.skips_dir(relative) => {
                            skipped.insert(relative.to_owned());
                        }
                        _ => waiting.push(inner),
                    }
                }
            }
        }
        Ok(skipped)
    }

    fn is_inside_git(&self, path: &Path) -> bool {
        path.starts_with(self.worktree.root.join(".git"))
            || path.starts_with(&self.worktree.git_dir)
            || path.starts_with(&self.worktree.common_dir)
    }

    /// A submodule's HEAD lies in another git directory, which decides what its gitlink is.
    fn watch_nested_repository(&mut self, dir: &Path) -> Result<(), WatchError> {
        if !dir.join(".git").exists() {
            return Ok(());
        }
        let Ok(repository) = git2::Repository::open(dir) else {
            return Ok(());
        };
        let git_dir = repository.path().to_owned();
        self.watch(&git_dir, RecursiveMode::NonRecursive)?;
        for (inner, mode) in [
            ("refs", RecursiveMode::Recursive),
            ("info", RecursiveMode::NonRecursive),
        ] {
            let inner = git_dir.join(inner);
            if inner.is_dir() {
                self.watch(&inner, mode)?;
            }
        }
        Ok(())
    }

    /// A link is not followed: the kernel would tell of its target under two names, and stop telling when one is gone.
    fn watch(&mut self, dir: &Path, mode: RecursiveMode) -> Result<(), WatchError> {
        if dir.starts_with(&self.worktree.root) && leads_elsewhere(dir) {
            return Ok(());
        }
        self.watch_real(&[dir.to_owned()], mode)
    }

    /// Watches directories that were no links a moment ago, with one request to notify's thread: two threads that wait for each other at
    /// every directory take five times as long.
    fn watch_real(&mut self, dirs: &[PathBuf], mode: RecursiveMode) -> Result<(), WatchError> {
        let gone = self.watch_there(dirs, mode)?;
        for dir in dirs.iter().filter(|dir| !gone.contains(*dir)) {
            if dir.starts_with(&self.worktree.root) && leads_elsewhere(dir) {
                return Err(WatchError::Refused {
                    path: dir.clone(),
                    message: "a link took its place meanwhile".to_owned(),
                });
            }
            self.dirs.insert(dir.clone());
        }
        Ok(())
    }

    /// Returns those that went away meanwhile; where one comes back, that is an event.
    fn watch_there(
        &mut self,
        dirs: &[PathBuf],
        mode: RecursiveMode,
    ) -> Result<BTreeSet<PathBuf>, WatchError> {
        let mut gone = BTreeSet::new();
        let watch = |dir: &PathBuf| PathOp::Watch(dir.clone(), WatchPathConfig::new(mode));
        let mut rest: Vec<_> = dirs.iter().map(watch).collect();
        while let Err(failed) = self.watcher.update_paths(rest) {
            let dir = failed.origin.map(PathOp::into_path).unwrap_or_default();
            if !was_gone(&failed.source) && dir.is_dir() || dir.as_os_str().is_empty() {
                return Err(WatchError::of(&dir, &failed.source));
            }
            gone.insert(dir);
            rest = failed.remaining;
        }
        Ok(gone)
    }
}

/// Returns the directories in `dir`, but for git's own.
fn dirs_in(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| entry.file_name() != ".git")
        .map(|entry| entry.path())
        .collect()
}

fn was_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(io) => io.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Returns whether a path with no link in it when it was made has one now.
fn leads_elsewhere(dir: &Path) -> bool {
    links::are_on_the_way_to(dir)
        .unwrap_or_else(|| dir.canonicalize().is_ok_and(|real| real != dir))
}

/// Returns whether a file is a database, its journal, its log or the index of that (`https://sqlite.org/tempfiles.html`).
pub fn is_of_database(path: &Path, database: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(OsStr::to_owned).unwrap_or_default();
    let (name, base) = (name(path), name(database));
    let rest = name.as_bytes().strip_prefix(base.as_bytes());
    path.parent() == database.parent()
        && rest.is_some_and(|rest| matches!(rest, b"" | b"-journal" | b"-wal" | b"-shm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;
    use crate::scratch_repository::ScratchRepository;
    use crate::touched::TOUCHED_MAX;

    struct Watched {
        _repository: ScratchRepository,
        root: PathBuf,
        watch: Watch,
    }

    impl Watched {
        /// Watches a new repository after `prepare` was done in it.
        fn after(prepare: impl FnOnce(&Path)) -> Self {
            let repository = ScratchRepository::new();
            let root = repository.root().to_owned();
            prepare(&root);
            let worktree = Worktree::discover(&root).unwrap();
            std::fs::create_dir(worktree.private_dir()).unwrap();
            let mut watch = Watch::new(&worktree, None, || ()).unwrap();
            watch.watch_everything().unwrap();
            Self {
                _repository: repository,
                root,
                watch,
            }
        }

        fn touched_by(&mut self, change: impl FnOnce(&Path)) -> Touched {
            change(&self.root);
            assert!(self.watch.sync(Duration::from_mins(1)));
            self.watch.take().unwrap()
        }
    }

    fn git(root: &Path, arguments: &[&str]) {
        Git::at(root).run(arguments).unwrap();
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn write_many(root: &Path) {
        for n in 0..=TOUCHED_MAX {
            write(&root.join(format!("{n}.py")), "x");
        }
    }

    #[test]
    fn a_directory_is_told_of_under_its_own_name_also_where_a_link_leads_there() {
        let mut watched = Watched::after(|root| {
            for name in ["one", "two"] {
                write(&root.join(name).join("a.py"), name);
            }
            git(root, &["add", "."]);
            std::fs::remove_dir_all(root.join("one")).unwrap();
            std::os::unix::fs::symlink("two", root.join("one")).unwrap();
        });
        // A new directory makes the watch look for directories of tracked files, of which `one` is one.
        watched.touched_by(|root| std::fs::create_dir(root.join("three")).unwrap());
        let file = watched.root.join("two/new.py");
        let touched = watched.touched_by(|_| write(&file, "new"));
        assert!(
            matches!(&touched, Touched::Paths(paths) if paths.contains(&file)),
            "{touched:?}"
        );
    }

    #[test]
    fn directories_that_are_made_among_more_changes_than_are_counted_are_watched() {
        let mut watched = Watched::after(|root| std::fs::create_dir(root.join("old")).unwrap());
        let touched = watched.touched_by(|root| {
            write_many(root);
            std::fs::create_dir_all(root.join("new/inner")).unwrap();
            std::fs::rename(root.join("old"), root.join("moved")).unwrap();
            std::fs::create_dir(root.join("old")).unwrap();
        });
        assert_eq!(touched, Touched::Everything);
        for path in ["new/inner/a.py", "moved/b.py", "old/c.py"] {
            let path = watched.root.join(path);
            let touched = watched.touched_by(|_| write(&path, "x"));
            assert_eq!(touched, Touched::Paths(BTreeSet::from([path])));
        }
    }

    #[test]
    fn nothing_is_undisturbed_that_was_touched_and_not_taken() {
        let mut watched = Watched::after(|_| ());
        let is_undisturbed =
            |watched: &Watched| watched.watch.is_undisturbed(Duration::from_mins(1));
        assert!(is_undisturbed(&watched));
        write(&watched.root.join("a.py"), "x");
        assert!(!is_undisturbed(&watched));
        watched.touched_by(|_| ());
        assert!(is_undisturbed(&watched));
    }

    /// While events are noted, the kernel queues what comes.
    #[test]
    fn a_search_that_reads_more_files_than_the_kernel_can_tell_of_is_not_told() {
        let mut watched = Watched::after(|root| std::fs::create_dir(root.join("inner")).unwrap());
        for name in ["inner/a.py", "inner/b.py"] {
            watched.touched_by(|root| write(&root.join(name), "x"));
        }
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
        let limit: usize = limit.map_or(0, |text| text.trim().parse().unwrap());
        let noted = watched.watch.shared.lock();
        for _ in 0..=limit {
            for name in ["inner/a.py", "inner/b.py"] {
                std::fs::File::open(watched.root.join(name)).unwrap();
            }
        }
        drop(noted);
        assert_eq!(watched.touched_by(|_| ()), Touched::default());
    }

    #[test]
    fn a_directory_that_is_tracked_in_spite_of_being_ignored_is_watched_again_after_it_was_gone() {
        let mut watched = Watched::after(|root| {
            write(&root.join(".gitignore"), "build/\n");
            write(&root.join("build/deep/a.py"), "x");
            git(root, &["add", "-f", "."]);
        });
        let file = watched.root.join("build/deep/a.py");
        for meanwhile in [|_: &Path| (), write_many] {
            watched.touched_by(|root| {
                git(root, &["rm", "-rfq", "--cached", "build"]);
                std::fs::remove_dir_all(root.join("build")).unwrap();
            });
            watched.touched_by(|_| write(&file, "x"));
            watched.touched_by(|root| {
                git(root, &["add", "-f", "build"]);
                meanwhile(root);
            });
            let touched = watched.touched_by(|_| write(&file, "edited"));
            assert_eq!(touched, Touched::Paths(BTreeSet::from([file.clone()])));
        }
    }
}
