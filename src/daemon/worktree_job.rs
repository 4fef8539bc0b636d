//! One look at a worktree, on a thread for blocking work: watch what is new, then read what was touched.
//!
//! Asks no store and publishes nothing: what a look brought goes back to the event loop, which decides.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::eyes::{Eyes, cause_of, how_head_moved};
use super::git_at_work;
use super::watching::Sight;
use crate::identity::reader::WorktreeReader;
use crate::identity::stamp::Stamp;
use crate::identity::{Naming, ReadError, Reading, rules_others};
use crate::repository::{Worktree, ignored_by_git, may_be_ignored};
use crate::session::Session;
use crate::touched::Touched;
use crate::watch::is_of_database;
use crate::worktree_state::{Depth, Memory, PassFailure, Seen, Series};

/// A removal goes on where something else vanishes within this time.
const REMOVAL: Duration = Duration::from_millis(10);
/// So long a removal is waited for: whoever removes for longer sees an env file that is right meanwhile.
const REMOVAL_MAX: Duration = Duration::from_millis(300);

/// So often what is touched while files are read is read too, before the look is given up.
const ROUNDS_MAX: usize = 4;

/// What a look brought.
pub(super) struct Look {
    pub(super) outcome: Result<Seen, PassFailure>,
    /// What was touched before it, since the last look that saw something.
    pub(super) touched: Touched,
    /// What made the look necessary, for people.
    pub(super) cause: String,
    /// A settings file says something else: the session is to be opened anew, nothing was read.
    pub(super) settings_changed: bool,
    /// Why a settings file cannot be used; those in use stay.
    pub(super) wrong_settings: Option<String>,
    /// The store's file is another than at the last look.
    pub(super) store_changed: bool,
    /// Commits may have been made since the last look that are not on the disk any more.
    pub(super) head_moved: bool,
    /// A change was found that no event told of.
    pub(super) missed: bool,
    /// Whether events come, where that changed.
    pub(super) sight: Option<Sight>,
}

/// Looks at a worktree. A bug on the way makes it broken for now, not the daemon.
pub(super) fn look(eyes: &mut Eyes, session: &Arc<Session>, depth: Depth) -> Look {
    let looked = catch_unwind(AssertUnwindSafe(|| look_unguarded(eyes, session, depth)));
    looked.unwrap_or_else(|_| {
        eyes.look_around();
        let bug = "a bug of tracemark, see its log".to_owned();
        Look::without_reading(PassFailure::Broken(bug))
    })
}

impl Look {
    fn without_reading(failure: PassFailure) -> Self {
        Self {
            outcome: Err(failure),
            touched: Touched::default(),
            cause: String::new(),
            settings_changed: false,
            wrong_settings: None,
            store_changed: false,
            head_moved: false,
            missed: false,
            sight: None,
        }
    }
}

fn look_unguarded(eyes: &mut Eyes, session: &Arc<Session>, depth: Depth) -> Look {
    if eyes.patience.has_to_wait(&session.worktree.git_dir) {
        eyes.read_ahead(&session.worktree);
        return Look::without_reading(PassFailure::Busy);
    }
    if !eyes.are_on(&session.worktree) {
        return gone(eyes);
    }
    let is_told = depth == Depth::Touched || depth == Depth::Synced && eyes.is_synced();
    let (mut touched, mut sight) = eyes.take_touched(&session.worktree);
    if depth == Depth::Touched && tells_of_removal(&eyes.reader, &session.worktree, &touched) {
        (touched, sight) = after_removal(eyes, &session.worktree, touched, sight);
        if !eyes.are_on(&session.worktree) {
            eyes.unread = std::mem::take(&mut eyes.unread).with(touched);
            return Look {
                sight,
                ..gone(eyes)
            };
        }
    }
    look_at_what_is_there(eyes, session, depth, is_told, (touched, sight))
}

fn look_at_what_is_there(
    eyes: &mut Eyes,
    session: &Arc<Session>,
    depth: Depth,
    is_told: bool,
    mut told: (Touched, Option<Sight>),
) -> Look {
    let is_there = session.worktree.root.join(".git").exists();
    let settings = session.has_current_settings();
    let settings_changed = is_there && matches!(settings, Ok(false));
    let outcome = if settings_changed {
        Err(PassFailure::Torn)
    } else {
        read(eyes, session, depth, is_told, &mut told)
    };
    let (touched, sight) = told;
    let touched = std::mem::take(&mut eyes.unread).with(touched);
    let is_blind = depth == Depth::Everything && touched.is_empty() && sight.is_none();
    let found = found(eyes, session, &outcome, &touched, is_blind);
    let Worktree {
        root,
        git_dir,
        common_dir,
    } = &session.worktree;
    let cause = found
        .head_moved_by
        .unwrap_or_else(|| cause_of(&touched, root, [common_dir, git_dir]));
    eyes.last_cause.clone_from(&cause);
    Look {
        cause,
        missed: found.missed,
        touched,
        settings_changed,
        wrong_settings: settings.err().map(|error| error.to_string()),
        store_changed: store_changed(eyes, session),
        head_moved: found.head_moved,
        outcome,
        sight,
    }
}

fn gone(eyes: &mut Eyes) -> Look {
    eyes.look_around();
    let reason =
        "the repository is gone, or another one lies in its place, which tracemark up would track";
    Look::without_reading(PassFailure::Broken(reason.to_owned()))
}

/// Something was removed: the rest may go too, and rm(1) fails where something new appears. It is waited for, as long as more
/// vanishes. Returns all that was touched until then.
fn after_removal(
    eyes: &mut Eyes,
    worktree: &Worktree,
    touched: Touched,
    sight: Option<Sight>,
) -> (Touched, Option<Sight>) {
    let began = Instant::now();
    let (mut all, mut sight) = (touched, sight);
    loop {
        std::thread::sleep(REMOVAL);
        let (more, change) = eyes.take_touched(worktree);
        all = all.with(more.clone());
        sight = change.or(sight);
        let goes_on = tells_of_removal(&eyes.reader, worktree, &more)
            && began.elapsed() < REMOVAL_MAX
            && eyes.are_on(worktree);
        if !goes_on {
            return (all, sight);
        }
    }
}

/// True where a tracked file or one of git's own is gone, locks aside, which come and go with every command.
fn tells_of_removal(reader: &WorktreeReader, worktree: &Worktree, touched: &Touched) -> bool {
    let Touched::Paths(paths) = touched else {
        return false;
    };
    let is_of_git = |path: &Path| {
        path.starts_with(&worktree.git_dir) && path.extension() != Some(OsStr::new("lock"))
    };
    let is_gone = |path: &Path| path.symlink_metadata().is_err();
    paths
        .iter()
        .any(|path| (is_of_git(path) || reader.tracks(path)) && is_gone(path))
}

/// Reads what was touched, or everything unless all `is_told`, and what is touched meanwhile, which is added to what was `told`.
fn read(
    eyes: &mut Eyes,
    session: &Arc<Session>,
    depth: Depth,
    is_told: bool,
    told: &mut (Touched, Option<Sight>),
) -> Result<Seen, PassFailure> {
    let mut what = if is_told {
        told.0.clone()
    } else {
        Touched::Everything
    };
    let nothing_new = || {
        session.trusts_store()
            && only_ignored(&eyes.reader, session, &what)
            && eyes.reader.opened_files_lie_still()
    };
    if depth == Depth::Touched && nothing_new() {
        return Ok(Seen::Same);
    }
    let series = git_at_work::series(&session.worktree.git_dir);

    let wanted = session.settings.naming == Naming::GitHash;
    eyes.reader.want_git_hash(wanted);
    for _ in 0..ROUNDS_MAX {
        match observe(eyes, session, &what, depth, series) {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) => what = take_more(eyes, session, told)?,
            Err(failure) => {
                if matches!(failure, PassFailure::Broken(_)) {
                    eyes.look_around();
                }
                return Err(failure);
            }
        }
    }
    Err(PassFailure::Torn)
}

/// Takes what was touched while the rest was read.
fn take_more(
    eyes: &mut Eyes,
    session: &Session,
    told: &mut (Touched, Option<Sight>),
) -> Result<Touched, PassFailure> {
    let (more, change) = eyes.take_touched(&session.worktree);
    told.0 = std::mem::take(&mut told.0).with(more.clone());
    told.1 = change.or(told.1.take());
    // Under other settings all of it would be read otherwise.
    match session.has_current_settings() {
        Ok(false) => Err(PassFailure::Torn),
        _ => Ok(more),
    }
}

/// How a reading differs from the last one.
#[derive(Default)]
struct Found {
    head_moved: bool,
    /// What moved HEAD, in git's own word.
    head_moved_by: Option<String>,
    missed: bool,
}

/// Compares an outcome with the last one; what was touched before one that does not hold is read again.
fn found(
    eyes: &mut Eyes,
    session: &Session,
    outcome: &Result<Seen, PassFailure>,
    touched: &Touched,
    is_blind: bool,
) -> Found {
    match outcome {
        Ok(Seen::Observed(observation, ..)) => {
            compare(eyes, session, &observation.reading, is_blind)
        }
        Ok(Seen::Same) => Found::default(),
        Err(_) => {
            tracing::debug!(worktree = %session.worktree.root.display(), ?touched, "what was read does not hold");
            eyes.unread = touched.clone();
            Found::default()
        }
    }
}

/// `is_blind` says that no event told of any change.
fn compare(eyes: &mut Eyes, session: &Session, now: &Reading, is_blind: bool) -> Found {
    let head_moved = head_has_moved(eyes, session, now);
    let before = eyes.last.replace(now.clone());
    let missed = is_blind && was_missed(before.as_ref(), now, session, &eyes.last_cause);
    let is_elsewhere = before.is_some_and(|before| before.head != now.head);
    Found {
        head_moved,
        head_moved_by: is_elsewhere.then(|| how_head_moved(&session.worktree.git_dir)),
        missed,
    }
}

/// An event alone says nothing: whoever opens the file, as every try to use it does, causes one.
fn store_changed(eyes: &mut Eyes, session: &Session) -> bool {
    let now = session.store_file().and_then(Stamp::of_followed);
    let before = std::mem::replace(&mut eyes.store, now);
    eyes.store != before
}

/// True at the first look, when HEAD's reflog is another than at the last, and when what HEAD holds was left or taken up.
fn head_has_moved(eyes: &mut Eyes, session: &Session, now: &Reading) -> bool {
    let log = Stamp::of_followed(&session.worktree.git_dir.join("logs/HEAD"));
    let same_log = eyes.head_log == log;
    eyes.head_log = log;
    let before = eyes.last.as_ref();
    !same_log || before.is_none_or(|before| before.dirty != now.dirty)
}

/// Every change should make an event. Those of mapped files, of hard links and of links' targets elsewhere do not; any other is
/// a bug, so the log says what it takes to find it.
fn was_missed(
    before: Option<&Reading>,
    now: &Reading,
    session: &Session,
    last_cause: &str,
) -> bool {
    let Some(before) = before.filter(|before| *before != now) else {
        return false;
    };
    tracing::warn!(
        worktree = %session.worktree.root.display(),
        last_cause,
        content_before = %before.content,
        content_now = %now.content,
        head_moved = before.head != now.head,
        "a change was found that no event told of: a bug, unless a file was written through a mapping, a hard link or a mount elsewhere"
    );
    true
}

/// Returns `None` where more was touched meanwhile.
fn observe(
    eyes: &mut Eyes,
    session: &Arc<Session>,
    touched: &Touched,
    depth: Depth,
    series: Series,
) -> Result<Option<Seen>, PassFailure> {
    match eyes.read(touched) {
        Ok(_) if has_moved_on(eyes, session, touched, depth) => Ok(None),
        Ok(reading) => {
            let reader = &mut eyes.reader;
            let files = reader.files();
            // Files that the reading does not tell would be read by running what it did not.
            let is_safe = files.is_some() || !reader.is_doubted();
            if is_safe && !session.saw(&reading, files) {
                return Err(PassFailure::Torn);
            }
            let observation = session.observed(reading);
            let memory = if session.trusts_store() {
                session
                    .remembered(&observation)
                    .map_or(Memory::Nothing, Memory::Model)
            } else {
                Memory::Distrusted
            };
            Ok(Some(Seen::Observed(Box::new(observation), memory, series)))
        }
        Err(ReadError::Torn) => Err(PassFailure::Torn),
        Err(error @ (ReadError::Gone(_) | ReadError::Tree(_))) => {
            Err(PassFailure::Broken(error.to_string()))
        }
    }
}

/// Returns whether something else was touched while what was touched was read: it may have come before what was read last. Where
/// nobody asks, the events are not waited for: they take back what does not hold.
fn has_moved_on(eyes: &Eyes, session: &Arc<Session>, touched: &Touched, depth: Depth) -> bool {
    if touched.is_empty() && eyes.reader.held().is_empty() {
        return false;
    }
    match eyes.touched_since(depth != Depth::Touched) {
        None => false,
        Some(Touched::Everything) => *touched != Touched::Everything,
        Some(Touched::Paths(later)) => {
            let git_dir = &session.worktree.git_dir;
            let may_be_dir = |path: &Path| eyes.may_be_dir(path);
            let beside = came_beside(touched, &eyes.reader, git_dir, &may_be_dir, later);
            let beside = Touched::Paths(beside);
            !beside.is_empty() && !only_ignored(&eyes.reader, session, &beside)
        }
    }
}

/// Returns which of the paths that were touched `later` a look at `touched` need not have seen as they lay when it read the last file. It
/// looks twice at files that are there, and at git's own; but what came and went between the two left no trace: a file while one that
/// was held was read, and a directory, which brings and takes many at once.
fn came_beside(
    touched: &Touched,
    reader: &WorktreeReader,
    git_dir: &Path,
    may_be_dir: &dyn Fn(&Path) -> bool,
    later: BTreeSet<PathBuf>,
) -> BTreeSet<PathBuf> {
    let held = reader.held();
    let may_have_been =
        |path: &Path| !held.contains(path) && !path.starts_with(git_dir) && reader.misses(path);
    let is_beside = |path: &PathBuf| match touched {
        Touched::Everything => may_have_been(path),
        Touched::Paths(read) => {
            let leaves_no_trace = !held.is_empty() || may_be_dir(path);
            !read.contains(path) || leaves_no_trace && may_have_been(path)
        }
    };
    later.into_iter().filter(is_beside).collect()
}

/// True when nothing was touched that git would look at, such as a database beside the code. Rules count also where they are
/// ignored, as those that ignore all around them.
fn only_ignored(reader: &WorktreeReader, session: &Arc<Session>, touched: &Touched) -> bool {
    let Touched::Paths(paths) = touched else {
        return false;
    };
    let has_other_names = |path: &PathBuf| {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| found.is_file() && found.nlink() > 1)
    };
    if paths
        .iter()
        .any(|path| reader.tracks(path) || has_other_names(path) || rules_others(path))
    {
        return false;
    }
    let worktree = &session.worktree;
    let store = session.store_file();
    let of_store = |path: &Path| {
        !path.starts_with(&worktree.root) && store.is_some_and(|store| is_of_database(path, store))
    };
    let paths: Vec<_> = paths.iter().filter(|path| !of_store(path)).collect();
    if paths.is_empty() {
        return true;
    }
    if !paths
        .iter()
        .all(|path| path.starts_with(&worktree.root) && !path.starts_with(&worktree.git_dir))
    {
        return false;
    }
    let relative: BTreeSet<_> = paths
        .iter()
        .filter_map(|path| path.strip_prefix(&worktree.root).ok())
        .map(Path::to_owned)
        .collect();
    may_be_ignored(worktree, &relative) && ignored_by_git(worktree, &relative) == relative
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch_repository::ScratchRepository;

    #[test]
    fn what_may_have_come_and_gone_while_a_file_was_held_was_beside_it() {
        let repository = ScratchRepository::new();
        let at = |name: &str| repository.at(name);
        let set = |names: &[&str]| names.iter().map(|name| at(name)).collect::<BTreeSet<_>>();
        repository.write("app.py", "committed");
        repository.commit_all();
        for name in ["app.py", "there.py", "dir/inner.py"] {
            repository.write(name, "first");
        }
        let mut reader = WorktreeReader::new(repository.root(), &at(".git"), &at(".git"));
        while reader.passes().narrow == 0 {
            reader.read(&Touched::default()).unwrap();
        }
        let later = ["app.py", "there.py", "new.py", "dir", ".git/index.lock"];
        let beside = |reader: &WorktreeReader, touched: &Touched| {
            let may_be_dir = |path: &Path| path == at("dir");
            came_beside(touched, reader, &at(".git"), &may_be_dir, set(&later))
        };
        let (all, everything) = (Touched::Paths(set(&later)), Touched::Everything);
        let some = Touched::Paths(set(&["app.py", "new.py", ".git/index.lock"]));
        assert_eq!(beside(&reader, &all), set(&["dir"]));
        assert_eq!(beside(&reader, &some), set(&["there.py", "dir"]));
        assert_eq!(beside(&reader, &everything), set(&["new.py", "dir"]));
        repository.write("app.py", "second");
        reader.read(&Touched::default()).unwrap();
        assert_eq!(reader.held(), &set(&["app.py"]));
        assert_eq!(beside(&reader, &all), set(&["new.py", "dir"]));
        assert_eq!(beside(&reader, &everything), set(&["new.py", "dir"]));
    }
}
