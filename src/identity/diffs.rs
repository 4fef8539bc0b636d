//! The texts of `git diff --cached` and `git diff`, made at the same time and hashed one after the other.
//!
//! The second waits in its pipe, and its git with it, until the first is hashed: memory does not grow with the texts.
//! Keeps no text, and understands of it nothing but which blobs its `index` lines name.

use std::ffi::{OsStr, OsString};

use super::GitHashError;
use super::digest::{Digest, Part, TextDecoder};
use super::line_starts::LineStarts;
use crate::git::{Git, Running};

/// The beginnings of the blobs that git named as the new sides of a diff, in its order.
pub(super) type NewSides = Vec<String>;

/// What changes the meaning of pathspecs (git(1)).
pub(super) const PATHSPEC_VARS: [&str; 4] = [
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// Returns the pathspec of this one path, seen from the top (gitglossary(7), "pathspec").
pub(super) fn top_literal(path: &OsStr) -> OsString {
    let mut pathspec = OsString::from(":(top,literal)");
    pathspec.push(path);
    pathspec
}

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
            arguments.push(top_literal(path));
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

    /// Starts git; its text waits in a pipe until it is added to a hash.
    ///
    /// # Errors
    /// [`GitHashError`] when git cannot be started.
    pub(super) fn start(&self) -> Result<RunningDiff, GitHashError> {
        Ok(RunningDiff {
            git: self.git.start(&self.arguments)?,
            command: self.command(),
        })
    }
}

/// A diff that git makes, ended when dropped.
#[derive(Debug)]
pub(super) struct RunningDiff {
    git: Running,
    command: &'static str,
}

impl RunningDiff {
    fn add_to(self, part: &mut Part<'_>) -> Result<NewSides, GitHashError> {
        let command = self.command;
        let mut decoder = TextDecoder::default();
        let mut headers = Headers::default();
        let mut is_text = true;
        let said = self.git.finish(|bytes| {
            let text = decoder.decode(bytes);
            is_text = text.is_some();
            let taken = text.map(|text| {
                headers.read(&text);
                part.add(&text);
            });
            taken.is_some()
        });
        if !is_text {
            return Err(GitHashError::NotUtf8 { command });
        }
        let stderr = said?;
        if decoder.is_whole() && std::str::from_utf8(&stderr).is_ok() {
            Ok(headers.sides)
        } else {
            Err(GitHashError::NotUtf8 { command })
        }
    }
}

/// Lines of files may be long; those that name blobs are not.
const HEADER_MAX: usize = 200;

/// Finds the lines `index OLD..NEW` in a diff, in any pieces. No other line begins so: those of files have a space, a plus or a
/// minus before them (git-diff(1), `diff-format.txt`).
#[derive(Default)]
struct Headers {
    sides: NewSides,
    lines: LineStarts<HEADER_MAX>,
}

impl Headers {
    fn read(&mut self, text: &[u8]) {
        let sides = &mut self.sides;
        self.lines.add(text, |line| sides.extend(new_side(line)));
    }
}

fn new_side(line: &[u8]) -> Option<String> {
    let ids = line.strip_prefix(b"index ")?.trim_ascii_end();
    let ids = ids.split(|byte| *byte == b' ').next()?;
    let (_, new) = std::str::from_utf8(ids).ok()?.split_once("..")?;
    Some(new.to_owned())
}

/// Adds the staged part.
///
/// # Errors
/// [`GitHashError`] when git fails or prints what is not UTF-8.
pub(super) fn add_staged(
    digest: &mut Digest,
    diff: Option<RunningDiff>,
) -> Result<(), GitHashError> {
    let mut part = digest.part("STAGED:\n");
    diff.map_or(Ok(()), |diff| diff.add_to(&mut part).map(drop))
}

/// Adds the unstaged part. Returns which blobs git named as the new sides.
///
/// # Errors
/// As [`add_staged`].
pub(super) fn add_unstaged(
    digest: &mut Digest,
    diff: Option<RunningDiff>,
) -> Result<NewSides, GitHashError> {
    let mut part = digest.part("UNSTAGED:\n");
    diff.map_or(Ok(NewSides::new()), |diff| diff.add_to(&mut part))
}
