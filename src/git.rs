//! Runs git as a child process: bounded in time and memory, never taking optional locks.
//!
//! Knows how to run git, how it fails and where it would stand, nothing of what the output means.

mod boolean;
mod link;
mod output;
mod settings;
mod top;
mod user_files;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub use boolean::is_boolean;
pub use link::{git_dir_in_file, named_by};
use output::Stopped;
pub use settings::{KeyAndValue, own_settings, submodule_paths};
pub use top::plain_root_above;
pub use user_files::{home, seen_from, xdg_dir};

/// How many bytes of output are kept where it is wanted whole; more is an error, not a truncation.
const OUTPUT_LIMIT: usize = 512 * 1024 * 1024;

/// The variables that tie git to one repository (`git rev-parse --local-env-vars`, git 2.47), set inside hooks.
pub const LOCAL_ENV_VARS: [&str; 15] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// Variables of a user's shell that change what git prints, or where it traces what it does (git(1), api-trace2), unset for answers
/// that must not depend on a shell.
pub const SHELL_VARS: [&str; 21] = [
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_CURL_NO_DATA",
    "GIT_TRACE_FSMONITOR",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PACKFILE",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_REFS",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_SHALLOW",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_CEILING_DIRECTORIES",
];

/// What has the C library of a daemon give memory back that only the first look at a large repository needs (mallopt(3)): not for a
/// git, which ends soon.
pub const FRUGAL: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
];

/// Why git gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No git on the PATH.
    #[error("git is not installed or not in PATH")]
    Missing,
    /// Git ran and said no.
    #[error("git {command}: {message}")]
    Failed {
        /// The subcommand and its first arguments.
        command: String,
        /// The first error on standard error, else its last line, else the exit status.
        message: String,
    },
    /// Git printed nothing for so long that it was ended.
    #[error("git {command} printed nothing for {} s", .limit.as_secs())]
    TimedOut {
        /// The subcommand.
        command: String,
        /// The limit that it met.
        limit: Duration,
    },
    /// Git printed more than is kept in memory.
    #[error("git {command} printed more than {OUTPUT_LIMIT} bytes")]
    TooMuch {
        /// The subcommand.
        command: String,
    },
    /// The operating system refused to run or read git.
    #[error("cannot run git {command}")]
    Io {
        /// The subcommand.
        command: String,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },
}

/// Both output streams of a git that ended with success.
#[derive(Debug, Default)]
pub struct Output {
    /// Standard output, as printed.
    pub stdout: Vec<u8>,
    /// Standard error, as printed.
    pub stderr: Vec<u8>,
}

/// A way to call git: directory, environment and settings that every call shares.
#[derive(Debug, Clone)]
pub struct Git {
    dir: Option<PathBuf>,
    unset: Vec<&'static str>,
    set: Vec<(OsString, OsString)>,
    config: Vec<&'static str>,
    emptied: Vec<OsString>,
    distrusts: bool,
    is_wary: bool,
    is_inside: bool,
}

/// What git-lfs writes into each repository (git-lfs-install(1)); with `--skip-smudge` it says so.
pub const GIT_LFS: [&str; 5] = [
    "git-lfs clean -- %f",
    "git-lfs smudge -- %f",
    "git-lfs smudge --skip -- %f",
    "git-lfs filter-process",
    "git-lfs filter-process --skip",
];

/// Whether git may write what nobody asked for (git(1)). A value that is none of git's is left to git, which refuses it.
const LOCKS: &str = "GIT_OPTIONAL_LOCKS";
/// An empty variable, by which settings are emptied.
const EMPTY_VAR: &str = "TRACEMARK_EMPTY";

impl Git {
    /// Returns a git that runs in the caller's directory with the caller's environment, as a person's own call would.
    pub fn inherited() -> Self {
        let locks = std::env::var_os(LOCKS).filter(|value| !is_boolean(value));
        Self {
            dir: None,
            unset: Vec::new(),
            set: vec![(LOCKS.into(), locks.unwrap_or_else(|| "0".into()))],
            config: Vec::new(),
            emptied: Vec::new(),
            distrusts: false,
            is_wary: false,
            is_inside: false,
        }
    }

    /// Returns a git that runs in `dir`, whatever repository or diff program the caller's environment names.
    pub fn at(dir: &Path) -> Self {
        let mut git = Self::inherited().with_var(LOCKS, "0");
        git.dir = Some(dir.to_owned());
        git.unset.extend(LOCAL_ENV_VARS);
        git.unset.extend(SHELL_VARS);
        git.unset.extend(FRUGAL.map(|(name, _)| name));
        git
    }

    /// Returns whether there is a git on the `PATH`: without it nothing is answered, whatever could be seen.
    pub fn is_installed(&self) -> bool {
        let path = self.variable("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| is_program(&dir.join("git")))
    }

    /// Returns the git that every call runs, `None` where there is none on the `PATH`, or one may lie in a directory of it that
    /// is not absolute.
    pub fn program(&self) -> Option<PathBuf> {
        let path = self.variable("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|dir| dir.join("git"));
        let found = places.find(|git| !git.is_absolute() || is_program(git))?;
        found.is_absolute().then_some(found)
    }

    /// Returns a git for the repository in `dir`: as this one, settings from the environment included, without the
    /// variables that name a repository.
    #[must_use]
    pub fn in_other_repository(&self, dir: &Path) -> Self {
        let names = |name: &str| LOCAL_ENV_VARS.contains(&name) && !name.starts_with("GIT_CONFIG");
        let mut git = self.clone().in_dir(dir);
        git.set
            .retain(|(name, _)| !name.to_str().is_some_and(names));
        git.unset
            .extend(LOCAL_ENV_VARS.into_iter().filter(|name| names(name)));
        git.config.clear();
        git.emptied.clear();
        git.is_inside = true;
        git
    }

    /// Returns a git of somebody who looks unasked: what repositories inside name as programs is not run unless they are
    /// submodules, which `tracemark up` looked into.
    #[must_use]
    pub fn wary(mut self) -> Self {
        self.is_wary = true;
        self
    }

    /// Returns whether repositories inside are not trusted.
    pub fn is_wary(&self) -> bool {
        self.is_wary
    }

    /// Returns whether it works in a repository inside another one.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Returns a git that is told nothing by the repository about what to run, as far as it can be told beforehand: it
    /// fetches no missing objects, in any way. Settings of the repository are switched off where they are read, by
    /// whoever asks [`Git::distrusts`].
    #[must_use]
    pub fn distrusting(self) -> Self {
        let mut git = self
            .with_var("GIT_NO_LAZY_FETCH", "1")
            .with_var("GIT_ALLOW_PROTOCOL", "");
        git.distrusts = true;
        git
    }

    /// Returns whether every call sees what a call typed here would see: no settings and no variables of our own.
    pub fn is_plain(&self) -> bool {
        let only_locks = self
            .set
            .iter()
            .all(|(name, value)| name == LOCKS && value == "0");
        only_locks && self.config.is_empty() && self.emptied.is_empty() && !self.distrusts
    }

    /// Returns whether no program that a repository names may run.
    pub fn distrusts(&self) -> bool {
        self.distrusts
    }

    /// Gives the settings `keys` an empty value in every call, whatever characters they hold.
    #[must_use]
    pub fn with_emptied(mut self, keys: impl IntoIterator<Item = OsString>) -> Self {
        self.emptied.extend(keys);
        self.with_var(EMPTY_VAR, "")
    }

    /// Adds `NAME=VALUE` to the environment of every call.
    #[must_use]
    pub fn with_var(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.unset.retain(|unset| *unset != name);
        self.set.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Removes `NAME` from the environment of every call.
    #[must_use]
    pub fn without_var(mut self, name: &'static str) -> Self {
        self.unset.push(name);
        self
    }

    /// Adds `-c SETTING` to every call.
    #[must_use]
    pub fn with_config(mut self, settings: &[&'static str]) -> Self {
        self.config.extend(settings);
        self
    }

    /// Returns the value that `NAME` has in every call.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let set = self.set.iter().rev().find(|(set, _)| set == name);
        match set {
            Some((_, value)) => Some(value.clone()),
            None if self.unset.contains(&name) => None,
            None => std::env::var_os(name),
        }
    }

    /// Returns the directory of every call.
    pub fn directory(&self) -> PathBuf {
        let dir = self.dir.clone().or_else(|| std::env::current_dir().ok());
        dir.unwrap_or_default()
    }

    /// Makes every call run in `dir`.
    #[must_use]
    pub fn in_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Runs git and returns both streams.
    ///
    /// # Errors
    /// [`GitError`] when git is missing, exits with anything but 0, is silent for two minutes or prints over 512 MiB.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output, GitError> {
        self.run_with_input(arguments, None)
    }

    /// Runs git with `input` on its standard input.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: Option<Vec<u8>>,
    ) -> Result<Output, GitError> {
        let name = name_of(arguments);
        let mut child = self.spawn(arguments, input.is_some(), &name)?;
        let mut stdout = Vec::new();
        let stderr = collect(&mut child, input, &name, &mut |bytes| {
            stdout.extend_from_slice(bytes);
            stdout.len() <= OUTPUT_LIMIT
        })?;
        Ok(Output { stdout, stderr })
    }

    /// Runs git and hands its standard output to `sink` as it comes, however much there is; returns standard error.
    /// Git waits while `sink` does.
    ///
    /// # Errors
    /// As [`Git::run`]; [`GitError::TooMuch`] when `sink` wants no more and returns false.
    pub fn stream<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<Vec<u8>, GitError> {
        self.stream_with_input(arguments, None, sink)
    }

    /// As [`Git::stream`], with `input` on git's standard input.
    ///
    /// # Errors
    /// As [`Git::stream`].
    pub fn stream_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: Option<Vec<u8>>,
        mut sink: impl FnMut(&[u8]) -> bool,
    ) -> Result<Vec<u8>, GitError> {
        let name = name_of(arguments);
        let mut child = self.spawn(arguments, input.is_some(), &name)?;
        collect(&mut child, input, &name, &mut sink)
    }

    /// Starts git, which goes on until its pipes are full and is ended when what is returned is dropped.
    ///
    /// # Errors
    /// [`GitError::Missing`], or [`GitError::Io`] where the system refuses.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Running, GitError> {
        let name = name_of(arguments);
        let child = self.spawn(arguments, false, &name)?;
        Ok(Running { child, name })
    }

    /// Runs git and returns standard output without its final newline.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub fn line<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Vec<u8>, GitError> {
        let mut stdout = self.run(arguments)?.stdout;
        if stdout.last() == Some(&b'\n') {
            stdout.pop();
        }
        Ok(stdout)
    }

    /// Returns the major and the minor number of git's version, `None` where there is no git that says so.
    pub fn version(&self) -> Option<(u32, u32)> {
        let said = String::from_utf8(self.line(&["version"]).ok()?).ok()?;
        let version = said.split_whitespace().nth(2)?;
        let mut parts = version.split('.').map_while(|part| part.parse().ok());
        Some((parts.next()?, parts.next()?))
    }

    /// Runs git and returns the path that it prints.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub fn path<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<PathBuf, GitError> {
        Ok(PathBuf::from(OsString::from_vec(self.line(arguments)?)))
    }

    fn spawn<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        with_input: bool,
        name: &str,
    ) -> Result<Child, GitError> {
        let mut command = Command::new("git");
        for setting in &self.config {
            command.arg("-c").arg(setting);
        }
        for key in &self.emptied {
            // `-c` would take a key that holds `=` apart at the first one.
            let mut option = OsString::from("--config-env=");
            option.push(key);
            option.push("=");
            option.push(EMPTY_VAR);
            command.arg(option);
        }
        command.args(arguments);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        for variable in &self.unset {
            command.env_remove(variable);
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
        command
            .stdin(if with_input {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().map_err(|source| {
            let dir_exists = self.dir.as_ref().is_none_or(|dir| dir.is_dir());
            if source.kind() == std::io::ErrorKind::NotFound && dir_exists {
                GitError::Missing
            } else {
                GitError::Io {
                    command: name.to_owned(),
                    source,
                }
            }
        })
    }
}

fn is_program(path: &Path) -> bool {
    let found = path.metadata();
    found.is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

/// A git that was started, see [`Git::start`].
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Hands its standard output to `sink`, all of it, and returns standard error.
    ///
    /// # Errors
    /// As [`Git::stream`].
    pub fn finish(mut self, mut sink: impl FnMut(&[u8]) -> bool) -> Result<Vec<u8>, GitError> {
        collect(&mut self.child, None, &self.name, &mut sink)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn name_of<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let words = arguments.iter().take(2);
    words
        .map(|argument| argument.as_ref().to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Hands standard output to `sink` and returns standard error. A sink that waits makes git wait.
fn collect(
    child: &mut Child,
    input: Option<Vec<u8>>,
    name: &str,
    sink: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Vec<u8>, GitError> {
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        std::thread::spawn(move || drop(pipe.write_all(&input)));
    }
    let command = || name.to_owned();
    let stderr = match output::gather(child, sink) {
        Ok(stderr) => stderr,
        Err(stopped) => {
            end(child);
            return Err(match stopped {
                Stopped::TooMuch => GitError::TooMuch { command: command() },
                Stopped::TimedOut => GitError::TimedOut {
                    command: command(),
                    limit: output::TIME_LIMIT,
                },
                Stopped::Failed(source) => GitError::Io {
                    command: command(),
                    source,
                },
            });
        }
    };
    let status = child.wait().map_err(|source| GitError::Io {
        command: command(),
        source,
    })?;
    if status.success() {
        Ok(stderr)
    } else {
        Err(GitError::Failed {
            command: command(),
            message: cause(&stderr).unwrap_or_else(|| status.to_string()),
        })
    }
}

fn end(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
        tracing::warn!(%error, "cannot end a git process");
    }
}

fn cause(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| line.starts_with("error: ") || line.starts_with("fatal: "))
        .or_else(|| lines().next_back())
        .map(str::to_owned)
}

/// Returns the paths of the submodules in what `git ls-files -s -z` prints.
pub fn gitlinks(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    let entries = records(listed).filter(|entry| entry.starts_with(b"160000 "));
    entries.filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1))
}

/// Splits NUL-terminated records, as `-z` prints them.
pub fn records(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
}
