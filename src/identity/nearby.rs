//! The repository that a directory lies in, found without a process of git where it is of the commonest kind.
//!
//! `None` means that git must be asked, never that there is no repository.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::helper_text::python_strip;
use crate::git::{Git, is_boolean, plain_root_above};

/// Variables of git that say nothing about where a repository is or what its state is.
const HARMLESS: [&str; 18] = [
    "GIT_ASKPASS",
    "GIT_AUTHOR_DATE",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_COMMITTER_DATE",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    NO_SYSTEM,
    "GIT_EDITOR",
    "GIT_OPTIONAL_LOCKS",
    "GIT_PAGER",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_NO_VERIFY",
    "GIT_TERMINAL_PROMPT",
];

/// Whether git reads the system's settings (git(1)): here they count only where they make no difference.
const NO_SYSTEM: &str = "GIT_CONFIG_NOSYSTEM";

/// A repository with its own `.git` directory at the top of its work tree.
pub(super) struct Nearby {
    /// The top of the work tree, without symbolic links in it; nothing that the helper would trim.
    pub(super) root: String,
    /// What `HEAD` comes to.
    pub(super) head: git2::Oid,
    /// To read more of it.
    pub(super) repository: git2::Repository,
}

impl Nearby {
    /// Looks for it from the directory of `git` upwards, as git does (git(1), `GIT_DISCOVERY_ACROSS_FILESYSTEM` and
    /// `safe.directory` in git-config(1)).
    pub(super) fn find(git: &Git) -> Option<Self> {
        if !git.is_plain() || names_git_elsewhere(git) || !is_usual(&git.program()?) {
            return None;
        }
        let start = git.directory().canonicalize().ok()?;
        let root = plain_root_above(&start)?;
        let repository = git2::Repository::open(root.join(".git")).ok()?;
        if !is_usual_list(&repository.commondir().join("packed-refs")) {
            return None;
        }
        // Another one by core.worktree, none where it is bare.
        if repository.workdir()? != root {
            return None;
        }
        let head = head(&repository)?;
        Some(Self {
            root: plain_text(&root)?.to_owned(),
            head,
            repository,
        })
    }

    /// Returns the path of the index.
    pub(super) fn index(&self) -> PathBuf {
        self.repository.path().join("index")
    }
}

/// Where a git lies that looks for the system's settings and attributes where they are looked for here.
const USUAL: [&str; 5] = if cfg!(target_os = "macos") {
    // What lies in `/usr/bin` there belongs to Xcode, whose place is not known.
    [
        "/opt/homebrew/Cellar",
        "/opt/homebrew/bin",
        "/opt/local/bin",
        "/usr/local/Cellar",
        "/usr/local/bin",
    ]
} else {
    [
        "/usr/bin",
        "/usr/lib/git-core",
        "/usr/libexec/git-core",
        "/usr/local/bin",
        "/usr/local/libexec/git-core",
    ]
};

/// How programs begin that are no scripts: elf(5), and Mach-O's `loader.h`.
const MACHINE_CODE: [&[u8; 4]; 3] = [b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"];

fn is_usual(git: &Path) -> bool {
    let Ok(real) = git.canonicalize() else {
        return false;
    };
    let mut start = [0; 4];
    let read = File::open(&real).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && MACHINE_CODE.contains(&&start) && USUAL.iter().any(|dir| real.starts_with(dir))
}

/// Git refuses lines that git2 passes over.
fn is_usual_list(packed_refs: &Path) -> bool {
    let mut start = [0; HEADER.len()];
    match File::open(packed_refs).and_then(|mut file| file.read_exact(&mut start)) {
        Ok(()) => start == *HEADER,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// How git begins its list of refs (refs/packed-backend.c, git 2.47).
const HEADER: &[u8; 17] = b"# pack-refs with:";

/// HEAD, or the branch that it names: git follows more names than that, and git2 more than git.
fn head(repository: &git2::Repository) -> Option<git2::Oid> {
    let head = repository.find_reference("HEAD").ok()?;
    match head.symbolic_target().ok()? {
        Some(branch) if !branch.starts_with("refs/") => None,
        Some(branch) => repository.find_reference(branch).ok()?.target(),
        None => head.target(),
    }
}

fn plain_text(root: &Path) -> Option<&str> {
    let text = root.to_str()?;
    let is_plain = python_strip(text) == text && !text.contains(['\r', '\n']);
    is_plain.then_some(text)
}

/// Variables that name other files of settings count too: git2 reads the usual ones whatever the environment says.
fn names_git_elsewhere(git: &Git) -> bool {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut of_git =
        names.filter(|name| name.starts_with("GIT_") && !HARMLESS.contains(&name.as_str()));
    let no_system = git.variable(NO_SYSTEM);
    of_git.any(|name| git.variable(&name).is_some())
        || no_system.is_some_and(|value| !is_boolean(&value))
}
