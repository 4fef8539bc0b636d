//! A repository for library calls, which read the environment of the process: a test gives itself a process of its own.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracemark::repository::Worktree;

use crate::cases::{CASES, SEED};
use crate::world::{Said, World};

/// Set in the process that [`alone`] starts.
const INSIDE: &str = "TRACEMARK_TEST_ALONE";
/// A file in the home directory that [`alone`] makes, by which it differs from anybody's own.
const MARK: &str = "home-of-a-test";
/// Runs the body of a test, a closure written there, in a process with a world's environment and nothing else.
pub(super) fn alone<F: FnOnce()>(body: F) {
    alone_under(&[], body);
}

/// The same in a process that `wrapper` starts, a program with its arguments.
pub(super) fn alone_under<F: FnOnce()>(wrapper: &[&str], body: F) {
    if std::env::var_os(INSIDE).is_some() {
        home();
        return body();
    }
    let world = World::without_repository();
    std::fs::write(world.base().join("home").join(MARK), "").unwrap();
    let own = std::env::current_exe().unwrap().into_os_string();
    let mut words = wrapper.iter().map(OsString::from).chain([own]);
    let mut command = world.command(words.next().unwrap());
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    let (_, test) = name.split_once("::").unwrap();
    command.args(words).args(["--exact", test, "--nocapture"]);
    for name in [CASES, SEED, "TMPDIR"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let output = command.env(INSIDE, "1").output();
    let said = Said::of(&output.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let ran = said.code == Some(0) && said.stdout.contains("1 passed");
    assert!(ran, "{test}\n{}\n{}", said.stdout, said.stderr);
}

/// The home directory of this process.
///
/// # Panics
/// Outside of [`alone`], where it is somebody's own.
pub(super) fn home() -> PathBuf {
    let home = std::env::home_dir().unwrap();
    assert!(
        home.join(MARK).is_file(),
        "{} is not a test's",
        home.display()
    );
    home
}

/// A repository that git and tracemark see with the environment of this process.
#[derive(Debug)]
pub(super) struct Ground {
    _base: tempfile::TempDir,
    root: PathBuf,
}

impl Ground {
    /// A repository `repo` without a commit, made by `git init` with these arguments.
    pub(super) fn new(arguments: &[&str]) -> Self {
        let base = tempfile::Builder::new().prefix("tm").tempdir().unwrap();
        let root = base.path().canonicalize().unwrap().join("repo");
        std::fs::create_dir(&root).unwrap();
        let ground = Self { _base: base, root };
        ground.git(&[&["init", "-q", "-b", "main"], arguments].concat());
        for key in ["gc.auto", "maintenance.auto"] {
            ground.git(&["config", key, "0"]);
        }
        ground
    }

    /// The same, but the directory of that name beside `repo` is what is read.
    pub(super) fn in_place(mut self, name: impl AsRef<Path>) -> Self {
        self.root = self.root.with_file_name(name.as_ref());
        self
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Runs git, whatever comes of it.
    pub(super) fn try_git(&self, arguments: &[&str]) -> Said {
        Said::of(&self.command("git").args(arguments).output().unwrap())
    }

    #[track_caller]
    pub(super) fn git(&self, arguments: &[&str]) -> String {
        let said = self.try_git(arguments);
        assert_eq!(said.code, Some(0), "git {arguments:?}: {said:?}");
        said.stdout.trim().to_owned()
    }

    #[track_caller]
    pub(super) fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(super) fn commit_all(&self, message: &str) {
        self.git(&["add", "-A", "--sparse"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// A submodule `sm` with a commit of its own, added and not committed.
    pub(super) fn add_submodule(&self) {
        let inner = self.root.with_file_name("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("inner.txt"), "inner\n").unwrap();
        let inner = inner.to_str().unwrap();
        self.git(&["-C", inner, "init", "-q", "-b", "main"]);
        self.git(&["-C", inner, "add", "-A"]);
        self.git(&["-C", inner, "commit", "-q", "-m", "inner"]);
        let allow = "protocol.file.allow=always";
        self.git(&["-c", allow, "submodule", "--quiet", "add", inner, "sm"]);
    }

    /// Lets git ask a shell script which files changed.
    pub(super) fn add_fsmonitor(&self, script: &str) {
        let hook = self.root.with_file_name("fsmonitor");
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.git(&["config", "core.fsmonitor", hook.to_str().unwrap()]);
        self.git(&["update-index", "--fsmonitor"]);
    }

    pub(super) fn tracemark(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(env!("CARGO_BIN_EXE_tracemark"));
        Said::of(&command.args(arguments).output().unwrap())
    }

    /// Where the parts of the repository lie, with a private directory for tracemark.
    pub(super) fn worktree(&self) -> Worktree {
        let worktree = Worktree::discover(&self.root).unwrap();
        std::fs::create_dir_all(worktree.private_dir()).unwrap();
        worktree
    }
}
