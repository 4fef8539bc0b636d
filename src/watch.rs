//! The eyes of the daemon: which directories are watched, and what was touched in them.
//!
//! The only module that knows `notify`. Events are hints: they say that something should be looked at, never what it is.
//! There is no queue that could overflow: touched paths go to a bounded set that collapses to "everything".

mod leaf;
mod links;
mod one_cpu;
mod rules;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::env_file::{self, COPY_DIR};
use crate::fs_util::create_one_private_dir;
use crate::git::{Git, records};
use crate::remote_fs::remote_kind;
use crate::repository::{Worktree, ignored_by_git};
use crate::touched::Touched;
use leaf::Leaves;
use one_cpu::{Host, Meeting};
use rules::Rules;

/// So many written files are remembered where there are too many to be counted.
const WRITTEN_MAX: usize = 50_000;
/// To watch more directories than this is worth to bring threads together.
const DIRS_MANY: usize = 64;
/// So long that is waited for.
const MEETING_TIME: Duration = Duration::from_millis(20);

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

impl WatchError {
    fn of(path: &Path, error: &notify::Error) -> Self {
        let limit = match &error.kind {
            notify::ErrorKind::MaxFilesWatch => true,
            notify::ErrorKind::Io(io) => matches!(io.raw_os_error(), Some(24 | 28)),
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

/// What the event thread and the looker share.
#[derive(Default)]
struct Shared {
    /// A mutex because notify calls from its own thread; held for one insertion or one take.
    noted: Mutex<Noted>,
    cookie_seen: Condvar,
}

/// What events told.
#[derive(Default)]
struct Noted {
    touched: Touched,
    /// What of it may change which directories are to be watched.
    around: Touched,
    /// Files that were written since everything was touched, [`WRITTEN_MAX`] at most.
    written: BTreeSet<PathBuf>,
    /// The last cookie whose event came.
    cookie: u64,
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
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watches of one worktree.
pub struct Watch {
    worktree: Worktree,
    shared: Arc<Shared>,
    watcher: RecommendedWatcher,
    dirs: BTreeSet<PathBuf>,
    store: Option<PathBuf>,
    outside: Outside,
    copy_is_code: CopyIsCode,
    cookies: AtomicU64,
    /// Where this thread and notify's meet while many directories are watched.
    meeting: Meeting,
}

/// Whether git tracks the visible copy's files, so that they are code like others. Atomic because the event thread reads what a
/// look at the index renews.
type CopyIsCode = Arc<AtomicBool>;

/// Files outside the worktree that matter. A mutex because the event thread reads what a rewatch renews; held for one
/// look.
type Outside = Arc<Mutex<Vec<PathBuf>>>;

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
        let filter = GitDirFilter::new(worktree, Arc::clone(&outside), Arc::clone(&copy_is_code));
        let seen = Arc::clone(&shared);
        let meeting = Meeting::default();
        let mut guest = meeting.guest();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            guest.come();
            if note(&seen, &filter, event) {
                wake();
            }
        })
        .map_err(|error| WatchError::of(&worktree.root, &error))?;
        Ok(Self {
            worktree: worktree.clone(),
            shared,
            watcher,
            dirs: BTreeSet::new(),
            store: store.map(Path::to_owned),
            outside,
            copy_is_code,
            cookies: AtomicU64::new(0),
            meeting,
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

    /// Makes a file in a private directory and waits for its event: events come in the order of what was done, so by then
    /// all earlier ones have come. Returns false when it does not come in `time`, as on file systems that send none.
    pub fn sync(&self, time: Duration) -> bool {
        let cookie = self.cookies.fetch_add(1, Ordering::Relaxed) + 1;
        let dir = cookie_dir(&self.worktree);
        let file = dir.join(cookie.to_string());
        // Nothing is written through a link, nor over what is not ours.
        let is_ours = own_dirs(&self.worktree).iter().all(|dir| is_real_dir(dir));
        if !is_ours || File::create_new(&file).is_err() {
            tracing::debug!(file = %file.display(), "no cookie can be made");
            return false;
        }
        let waited =
            self.shared
                .cookie_seen
                .wait_timeout_while(self.shared.lock(), time, |noted| noted.cookie < cookie);
        let came = waited.is_ok_and(|(_, waited)| !waited.timed_out());
        if let Err(error) = std::fs::remove_file(&file) {
            tracing::debug!(%error, "a cookie cannot be removed");
        }
        came
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
        self.store.as_ref().is_some_and(|store| {
            let name = |path: &Path| path.file_name().map(|name| name.as_bytes().to_vec());
            let (name, of_store) = (name(path), name(store));
            path.parent() == store.parent()
                && of_store.is_some_and(|of_store| name.is_some_and(|it| it.starts_with(&of_store)))
        })
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
        *self.outside.lock().unwrap_or_else(PoisonError::into_inner) = outside;
        for (dir, mode) in dirs {
            self.watch(&dir, mode)?;
        }
        let host = self.meet_for(&rules);
        let root = self.worktree.root.clone();
        let watched = self.watch_below(&root, &mut rules);
        if host.is_some() {
            drop(host);
            // Home again, too.
            self.sync(MEETING_TIME);
        }
        watched
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

    /// Brings notify's thread here, where there are many directories to watch.
    fn meet_for(&self, rules: &Rules) -> Option<Host> {
        let own = rules.own()?;
        let host = (own.tracked_dirs().count() > DIRS_MANY).then(|| self.meeting.hold())?;
        // Its event has that thread look where to be.
        self.sync(MEETING_TIME);
        Some(host)
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
        while let Some(dir) = waiting.pop() {
            self.watch_real(&dir, RecursiveMode::NonRecursive)?;
            if dir != self.worktree.root {
                self.watch_nested_repository(&dir)?;
            }
            if leaves.has(&dir) {
                continue;
            }
            for dir in dirs_in(&dir) {
                match dir.strip_prefix(&self.worktree.root) {
                    Ok(relative) if rules.skips_dir(relative) => {
                        skipped.insert(relative.to_owned());
                    }
                    _ => waiting.push(dir),
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
        self.watch_real(dir, mode)
    }

    /// Watches what was no link a moment ago.
    fn watch_real(&mut self, dir: &Path, mode: RecursiveMode) -> Result<(), WatchError> {
        let inside = dir.starts_with(&self.worktree.root);
        match self.watcher.watch(dir, mode) {
            Ok(()) if inside && leads_elsewhere(dir) => Err(WatchError::Refused {
                path: dir.to_owned(),
                message: "a link took its place meanwhile".to_owned(),
            }),
            Ok(()) => {
                self.dirs.insert(dir.to_owned());
                Ok(())
            }
            // It went away meanwhile; where it comes back, that is an event.
            Err(error) if was_gone(&error) || !dir.is_dir() => Ok(()),
            Err(error) => Err(WatchError::of(dir, &error)),
        }
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

/// Not in the git directory of a linked worktree, which git empties when it removes the worktree.
fn cookie_dir(worktree: &Worktree) -> PathBuf {
    worktree.scratch_dir().join("cookies")
}

/// Returns the directory for cookies and our own ones above it, the outermost first.
fn own_dirs(worktree: &Worktree) -> Vec<PathBuf> {
    let dir = cookie_dir(worktree);
    let is_gits = |dir: &&Path| *dir == worktree.git_dir || *dir == worktree.common_dir;
    let own = dir.ancestors().take_while(|dir| !is_gits(dir));
    let mut own: Vec<_> = own.map(Path::to_owned).collect();
    own.reverse();
    own
}

/// Returns the directory, empty; `None` where there is no private directory.
fn make_cookie_dir(worktree: &Worktree) -> Option<PathBuf> {
    let dir = cookie_dir(worktree);
    if !worktree.is_there() {
        return None;
    }
    // A worktree that git added since has no private directory yet; one that is gone gets none. A link is never followed.
    let own = own_dirs(worktree);
    let made = own.iter().try_for_each(|dir| create_one_private_dir(dir));
    if let Err(error) = made {
        tracing::warn!(%error, "questions are answered by full readings");
        return None;
    }
    let left = std::fs::read_dir(&dir).into_iter().flatten().flatten();
    for cookie in left.filter(|left| is_cookie(&left.file_name())) {
        drop(std::fs::remove_file(cookie.path()));
    }
    Some(dir)
}

fn is_cookie(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.parse::<u64>().is_ok())
}

/// The git directory of a linked worktree.
fn is_linked(inside: &Path) -> bool {
    inside.starts_with("worktrees") && inside.components().count() == 2
}

/// What changes at every commit and says nothing about ignored files.
fn moves_at_every_commit(inside: &Path) -> bool {
    let ordinary = [
        "index",
        "HEAD",
        "packed-refs",
        "shallow",
        "refs",
        "reftable",
        "objects",
    ];
    inside
        .iter()
        .any(|part| ordinary.iter().any(|name| part == *name))
}

fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

/// The directories that are watched for a few files in them: what the identity depends on in git's own, and those of the
/// files outside.
fn dirs_of_few(worktree: &Worktree, outside: &[PathBuf]) -> Vec<(PathBuf, RecursiveMode)> {
    let common = &worktree.common_dir;
    let mut dirs = vec![
        (worktree.git_dir.clone(), RecursiveMode::NonRecursive),
        (common.clone(), RecursiveMode::NonRecursive),
        (common.join("info"), RecursiveMode::NonRecursive),
        (common.join("refs"), RecursiveMode::Recursive),
        (common.join("objects/pack"), RecursiveMode::NonRecursive),
        (common.join("reftable"), RecursiveMode::NonRecursive),
        (
            worktree.git_dir.join("reftable"),
            RecursiveMode::NonRecursive,
        ),
        (worktree.git_dir.join("info"), RecursiveMode::NonRecursive),
    ];
    // Which worktrees there are is seen from the main one, where there is one.
    if worktree.is_main() || !common.ends_with(".git") {
        dirs.push((common.join("worktrees"), RecursiveMode::NonRecursive));
    }
    dirs.extend(
        outside
            .iter()
            .filter_map(|file| file.ancestors().skip(1).find(|dir| dir.is_dir()))
            .map(|dir| (dir.to_owned(), RecursiveMode::NonRecursive)),
    );
    dirs.retain(|(dir, _)| dir.is_dir());
    dirs.sort_by(|a, b| a.0.cmp(&b.0));
    dirs.dedup_by(|a, b| a.0 == b.0);
    dirs
}

/// The user's own git configuration, ignore and attribute files (git-config(1), gitignore(5)).
fn user_files(worktree: &Worktree) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [git2::Config::find_global(), git2::Config::find_xdg()]
        .into_iter()
        .flatten()
        .collect();
    if let Some(base) = directories::BaseDirs::new() {
        let git = base.config_dir().join("git");
        files.extend(["config", "ignore", "attributes"].map(|name| git.join(name)));
        files.push(base.home_dir().join(".gitconfig"));
    }
    files.extend(configuration(worktree));
    // Written through a link, a file makes its events where it lies.
    let of_git = ["config", "info/exclude", "info/attributes"];
    let own = of_git.map(|name| worktree.common_dir.join(name));
    let lead = files.iter().chain(&own).filter(|file| file.is_symlink());
    let targets: Vec<_> = lead.filter_map(|file| file.canonicalize().ok()).collect();
    files.extend(targets);
    files.sort();
    files.dedup();
    files
}

/// Returns the files of git's configuration that say anything, those that others include among them, and the ignore and attribute
/// files that it names.
fn configuration(worktree: &Worktree) -> Vec<PathBuf> {
    let listed = [
        "config",
        "--list",
        "--includes",
        "--show-origin",
        "--name-only",
        "-z",
    ];
    let listed = Git::at(&worktree.root).run(&listed).unwrap_or_default();
    let origins = records(&listed.stdout).filter_map(|field| field.strip_prefix(b"file:"));
    let mut files: Vec<_> = origins
        .map(|file| worktree.root.join(OsStr::from_bytes(file)))
        .filter(|file| !file.starts_with(&worktree.common_dir))
        .collect();
    if records(&listed.stdout).any(|key| NAMED.contains(&key)) {
        files.extend(named_files(worktree));
    }
    files
}

/// Settings whose values are files (git-config(1)).
const NAMED: [&[u8]; 2] = [b"core.excludesfile", b"core.attributesfile"];

fn named_files(worktree: &Worktree) -> Vec<PathBuf> {
    let keys = "^core\\.(excludesfile|attributesfile)$";
    let named = Git::at(&worktree.root).run(&["config", "-z", "--path", "--get-regexp", keys]);
    let named = named.unwrap_or_default().stdout;
    records(&named)
        .filter_map(|setting| {
            let at = setting.iter().position(|byte| *byte == b'\n')?;
            Some(PathBuf::from(OsStr::from_bytes(setting.get(at + 1..)?)))
        })
        .collect()
}

/// Tells apart what matters in directories that are watched for a few files.
struct GitDirFilter {
    root: PathBuf,
    git_dirs: Vec<PathBuf>,
    cookies: PathBuf,
    outside: Outside,
    copy_is_code: CopyIsCode,
}

impl GitDirFilter {
    fn new(worktree: &Worktree, outside: Outside, copy_is_code: CopyIsCode) -> Self {
        Self {
            root: worktree.root.clone(),
            git_dirs: vec![worktree.git_dir.clone(), worktree.common_dir.clone()],
            cookies: cookie_dir(worktree),
            outside,
            copy_is_code,
        }
    }

    /// Returns the number of a cookie.
    fn cookie(&self, path: &Path) -> Option<u64> {
        let name = path.strip_prefix(&self.cookies).ok()?;
        name.to_str()?.parse().ok()
    }

    fn is_gits(&self, path: &Path) -> bool {
        self.git_dirs.iter().any(|dir| path.starts_with(dir))
    }

    /// The visible copy of the env file, where it is ours, and what is written on the way to it.
    fn is_own(&self, path: &Path) -> bool {
        let inside = path.strip_prefix(self.root.join(COPY_DIR));
        let is_its_name = inside.is_ok_and(|inside| {
            let name = inside.to_string_lossy();
            matches!(&*name, "env" | ".gitignore") || name.starts_with(".tracemark-")
        });
        is_its_name && !self.copy_is_code.load(Ordering::Relaxed) && env_file::has_copy(&self.root)
    }

    /// Returns whether a file at `path` may decide which directories are to be watched.
    fn decides_what_is_watched(&self, path: &Path) -> bool {
        let is_rule = path.file_name().is_some_and(|name| name == ".gitignore");
        is_rule || !path.starts_with(&self.root) || self.is_gits(path)
    }

    fn matters(&self, path: &Path) -> bool {
        let inside_git = self
            .git_dirs
            .iter()
            .find_map(|dir| path.strip_prefix(dir).ok());
        match inside_git {
            Some(inside) => matters_to_git(inside),
            None if path.starts_with(&self.root) => !self.is_own(path),
            None => self
                .outside
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|file| file.starts_with(path)),
        }
    }
}

fn matters_to_git(inside: &Path) -> bool {
    if inside
        .extension()
        .is_some_and(|extension| extension == "lock")
    {
        return false;
    }
    let names = || inside.iter().filter_map(std::ffi::OsStr::to_str);
    if inside == Path::new("worktrees") || is_linked(inside) {
        return true;
    }
    if inside.starts_with("modules") || inside.starts_with("worktrees") {
        let decides = [
            "HEAD",
            "index",
            "packed-refs",
            "config",
            "refs",
            "reftable",
            "info",
        ];
        return !names().any(|name| matches!(name, "tracemark" | "logs"))
            && names().any(|name| decides.contains(&name));
    }
    let first = inside.iter().next().and_then(std::ffi::OsStr::to_str);
    match first {
        None
        | Some(
            "HEAD" | "index" | "packed-refs" | "config" | "config.worktree" | "refs" | "reftable"
            | "info" | "shallow",
        ) => true,
        Some("objects") => inside.starts_with("objects/pack"),
        _ => false,
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

fn is_mere_access(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(_)) && !is_closing(kind)
}

/// Returns whether anything was noted. The rescan flag comes without paths, so it is looked at first.
fn note(shared: &Shared, filter: &GitDirFilter, event: notify::Result<notify::Event>) -> bool {
    let mut noted = shared.lock();
    match event {
        Ok(event) if event.need_rescan() => noted.know_nothing(),
        // A file that was mapped and written tells only when it is closed.
        Ok(event) if is_mere_access(event.kind) => return false,
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
    use super::*;
    use crate::touched::TOUCHED_MAX;

    #[test]
    fn an_overflow_without_paths_means_everything() {
        let (shared, filter) = (
            Shared::default(),
            GitDirFilter {
                root: "/r".into(),
                git_dirs: vec!["/r/.git".into()],
                cookies: "/r/.git/tracemark/cookies".into(),
                outside: Outside::default(),
                copy_is_code: CopyIsCode::default(),
            },
        );
        let event = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(note(&shared, &filter, Ok(event)));
        assert_eq!(shared.lock().touched, Touched::Everything);
    }

    #[test]
    fn our_own_files_and_locks_never_look_like_a_change() {
        let filter = GitDirFilter {
            root: "/r".into(),
            git_dirs: vec!["/r/.git".into()],
            cookies: "/r/.git/tracemark/cookies".into(),
            outside: Arc::new(Mutex::new(vec!["/home/u/.gitconfig".into()])),
            copy_is_code: CopyIsCode::default(),
        };
        for quiet in [
            "/r/.git/tracemark/env",
            "/r/.git/index.lock",
            "/r/.git/FETCH_HEAD",
            "/r/.git/worktrees/side/tracemark/env",
            "/home/u/.bash_history",
        ] {
            assert!(!filter.matters(Path::new(quiet)), "{quiet}");
        }
        for loud in [
            "/r/app.py",
            "/r/.git/HEAD",
            "/r/.git/index",
            "/r/.git/refs/heads/main",
            "/r/.git/modules/sm/HEAD",
            "/r/.git/modules/sm/refs/heads/main",
            "/r/.git/worktrees/side/HEAD",
            "/r/.tracemark/notes.txt",
            "/r/deep/.tracemark/env",
            "/home/u",
            "/home/u/.gitconfig",
        ] {
            assert!(filter.matters(Path::new(loud)), "{loud}");
        }
    }

    struct Watched {
        _dir: tempfile::TempDir,
        root: PathBuf,
        watch: Watch,
    }

    impl Watched {
        /// Watches a new repository after `prepare` was done in it.
        fn after(prepare: impl FnOnce(&Path)) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap();
            git(&root, &["init", "-q"]);
            prepare(&root);
            let worktree = Worktree::discover(&root).unwrap();
            std::fs::create_dir(worktree.private_dir()).unwrap();
            let mut watch = Watch::new(&worktree, None, || ()).unwrap();
            watch.watch_everything().unwrap();
            Self {
                _dir: dir,
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

    #[test]
    fn many_directories_are_watched_as_few_are_and_threads_go_home() {
        let file = |root: &Path, n: usize| root.join(format!("d{n}/inner/a.py"));
        let before = one_cpu::allowed();
        let mut watched = Watched::after(|root| {
            for n in 0..=DIRS_MANY {
                write(&file(root, n), "x");
            }
            git(root, &["add", "."]);
        });
        assert_eq!(one_cpu::allowed(), before);
        let all: BTreeSet<_> = (0..=DIRS_MANY).map(|n| file(&watched.root, n)).collect();
        let touched = watched.touched_by(|_| all.iter().for_each(|file| write(file, "y")));
        assert_eq!(touched, Touched::Paths(all));
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

    #[test]
    fn the_visible_copy_is_quiet_where_it_is_ours_and_git_does_not_track_it() {
        let root = tempfile::tempdir().unwrap();
        let filter = GitDirFilter {
            root: root.path().to_owned(),
            git_dirs: Vec::new(),
            cookies: PathBuf::new(),
            outside: Outside::default(),
            copy_is_code: CopyIsCode::default(),
        };
        let copy = root.path().join(".tracemark/env");
        assert!(filter.matters(&copy), "it is gone");
        let ours = env_file::EnvValues::default().render();
        env_file::publish_copy(root.path(), &ours, &mut env_file::Dates::default()).unwrap();
        assert!(!filter.matters(&copy));
        filter.copy_is_code.store(true, Ordering::Relaxed);
        assert!(filter.matters(&copy), "git tracks it");
        filter.copy_is_code.store(false, Ordering::Relaxed);
        std::fs::write(&copy, "MINE=1\n").unwrap();
        assert!(filter.matters(&copy), "it is somebody else's");
    }
}
