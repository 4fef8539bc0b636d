//! What would make tracking useless and `up` can mend, if a person agrees: before the store is used, and nothing unasked.

use super::{checks, consent, say};
use crate::error::Failure;
use crate::git::{Git, GitError};
use crate::mlflow::ExperimentChoice;
use crate::registry::Record;
use crate::repository::{self, Worktree};
use crate::session::Session;

/// A repository without a commit has no git-hash. What is staged is nobody's first commit but its author's.
pub(super) fn first_commit(worktree: &Worktree, yes: bool) {
    if checks::here::no_commit(worktree).is_none() || is_staged(worktree) {
        return;
    }
    let question = "This repository has no commit yet, so that its versions have no git-hash. Make an empty first commit?";
    if yes || consent::given(question) {
        let commit = ["commit", "-q", "--allow-empty", "-m", "first commit"];
        tell(
            Git::at(&worktree.root).run(&commit).map(drop),
            "An empty first commit was made",
        );
    }
}

fn is_staged(worktree: &Worktree) -> bool {
    let git = Git::at(&worktree.root).with_config(&["core.fsmonitor=false"]);
    let listed = git.run(&["ls-files", "-z"]);
    listed.map_or(true, |output| !output.stdout.is_empty())
}

/// A database that git tracks makes every trace a change of the code.
pub(super) fn tracked_database(worktree: &Worktree, session: &Session, yes: bool) {
    let Some(file) = session
        .store_file()
        .filter(|file| repository::is_tracked(worktree, file))
    else {
        return;
    };
    let name = file.strip_prefix(&worktree.root).unwrap_or(file);
    let question = format!(
        "{} is tracked by git, so that every trace would be a change of the code. Take it out of the index (the file stays)?",
        name.display()
    );
    if yes || consent::given(&question) {
        let git = Git::at(&worktree.root).with_var("GIT_LITERAL_PATHSPECS", "1");
        let arguments = ["rm", "-q", "--cached", "--"].map(std::ffi::OsStr::new);
        let done = git.run(&[&arguments[..], &[name.as_os_str()]].concat());
        tell(
            done.map(drop),
            "It is out of the index; commit that with your next commit",
        );
    }
}

/// The app's code names an experiment or a store, and nobody told `up` of another. Returns whether the record names it now.
pub(super) fn places_of_the_code(session: &Session, record: &mut Record, yes: bool) -> bool {
    let store = &mut record.settings.store;
    let mut changed = false;
    let is_default = session.settings.experiment == ExperimentChoice::Default;
    if let Some(call) = checks::app::experiment_of_code(session).filter(|_| is_default) {
        let question = format!(
            "{} sets the experiment {:?}. Have versions made there?",
            call.place, call.value
        );
        if yes || consent::given(&question) {
            store.experiment = Some(call.value);
            changed = true;
        }
    }
    let is_default = session.settings.store_uri.is_none() && store.uri.is_none();
    if let Some(call) =
        checks::app::store_of_code(session).filter(|call| is_default && !call.value.contains('@'))
    {
        let question = format!(
            "{} sets the tracking URI {:?}. Have versions made there?",
            call.place, call.value
        );
        // Where things are sent is a person's to say, not the code's.
        if consent::given(&question) {
            store.uri = Some(call.value);
            changed = true;
        }
    }
    changed
}

fn tell(done: Result<(), GitError>, what: &str) {
    match done {
        Ok(()) => say(what),
        Err(error) => say(&format!(
            "That failed: {}",
            crate::text::printable(&Failure::from(error).message)
        )),
    }
}
