//! The texts of `git diff --cached` and `git diff`, made at the same time and hashed one after the other.
//!
//! The second waits in a bounded channel, and its git with it, until the first is hashed: memory does not grow with
//! the texts.

use std::ffi::OsString;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::digest::{Digest, Part, TextDecoder};
use super::git_hash::GitHashError;
use crate::git::Git;

/// Pieces of text (at most 64 KiB each) of the second diff that wait for the first.
const PIECES_MAX: usize = 64;

/// What changes the meaning of pathspecs (git(1)).
pub(super) const PATHSPEC_VARS: [&str; 4] = [
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// A call of git whose output is one part of the hash.
#[derive(Debug, Clone)]
pub(super) struct DiffCall {
    pub(super) git: Git,
    pub(super) arguments: Vec<OsString>,
}

impl DiffCall {
    /// `git diff --cached`, of these paths only where any are given.
    pub(super) fn staged(git: &Git, paths: &[OsString]) -> Self {
        let mut arguments: Vec<OsString> = vec!["diff".into(), "--cached".into()];
        let git = PATHSPEC_VARS
            .into_iter()
            .fold(git.clone(), Git::without_var);
        if !paths.is_empty() {
            arguments.push("--".into());
        }
        for path in paths {
            let mut pathspec = OsString::from(":(top,literal)");
            pathspec.push(path);
            arguments.push(pathspec);
        }
        Self { git, arguments }
    }

    /// `git diff`
    pub(super) fn unstaged(git: &Git) -> Self {
        Self {
            git: git.clone(),
            arguments: vec!["diff".into()],
        }
    }

    fn command(&self) -> &'static str {
        if self.arguments.len() > 1 {
            "diff --cached"
        } else {
            "diff"
        }
    }

    /// Runs git and gives its text to `sink`, until that returns false.
    fn run(&self, mut sink: impl FnMut(Vec<u8>) -> bool) -> Result<(), GitHashError> {
        let command = self.command();
        let mut decoder = TextDecoder::default();
        let mut is_text = true;
        let said = self.git.stream(&self.arguments, |bytes| {
            let text = decoder.decode(bytes);
            is_text = text.is_some();
            text.is_some_and(&mut sink)
        });
        if !is_text {
            return Err(GitHashError::NotUtf8 { command });
        }
        let stderr = said?;
        if decoder.is_whole() && std::str::from_utf8(&stderr).is_ok() {
            Ok(())
        } else {
            Err(GitHashError::NotUtf8 { command })
        }
    }
}

/// Adds the staged part.
///
/// # Errors
/// [`GitHashError`] when git fails or prints what is not UTF-8.
pub(super) fn add_staged(digest: &mut Digest, call: Option<&DiffCall>) -> Result<(), GitHashError> {
    let mut part = digest.part("STAGED:\n");
    run_into(&mut part, call)
}

/// Adds the unstaged part.
///
/// # Errors
/// As [`add_staged`].
pub(super) fn add_unstaged(
    digest: &mut Digest,
    call: Option<&DiffCall>,
) -> Result<(), GitHashError> {
    let mut part = digest.part("UNSTAGED:\n");
    run_into(&mut part, call)
}

fn run_into(part: &mut Part<'_>, call: Option<&DiffCall>) -> Result<(), GitHashError> {
    match call {
        Some(call) => call.run(|text| {
            part.add(&text);
            true
        }),
        None => Ok(()),
    }
}

/// Adds both parts, made at the same time: what `staged` adds, and what the call that `prepare` makes ready prints. Returns the
/// hash as it was between the two.
///
/// # Errors
/// As [`add_staged`].
pub(super) fn add_both(
    digest: &mut Digest,
    staged: impl FnOnce(&mut Digest) -> Result<(), GitHashError>,
    prepare: impl FnOnce() -> Result<Option<DiffCall>, GitHashError> + Send,
) -> Result<Digest, GitHashError> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(PIECES_MAX);
        let unstaged = scope.spawn(move || send_unstaged(prepare, &sender));
        staged(digest)?;
        let between = digest.clone();
        drain(digest, &receiver);
        unstaged.join().unwrap_or_else(|_| {
            let error = std::io::Error::other("the thread that read it ended early");
            Err(GitHashError::Scratch(error))
        })?;
        Ok(between)
    })
}

fn send_unstaged(
    prepare: impl FnOnce() -> Result<Option<DiffCall>, GitHashError>,
    sender: &SyncSender<Vec<u8>>,
) -> Result<(), GitHashError> {
    match prepare()? {
        Some(call) => call.run(|text| sender.send(text).is_ok()),
        None => Ok(()),
    }
}

fn drain(digest: &mut Digest, receiver: &Receiver<Vec<u8>>) {
    let mut part = digest.part("UNSTAGED:\n");
    for text in receiver {
        part.add(&text);
    }
}
