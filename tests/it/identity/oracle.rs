//! The git-hash and the tree id by the plainest way: git's own commands one after another, every file read, nothing kept.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

/// Makes a command that runs where, and with the environment in which, the identity is asked for.
pub(crate) type Caller<'a> = &'a dyn Fn(&str) -> Command;

/// The identity, or why there is none.
pub(crate) type Answer = Result<String, String>;

/// More than this is never read from something that is no regular file.
const DEVICE_LIMIT: u64 = 64 << 20;

/// What the guide's function of that name returns; an error where it raises and where it never ends.
pub(crate) fn git_hash(caller: Caller<'_>) -> Answer {
    let said = |arguments: &[&str]| python_text(caller("git").args(arguments));
    let root = said(&["rev-parse", "--show-toplevel"])?;
    let head = said(&["rev-parse", "HEAD"])?;
    let (root, head) = (Path::new(strip(&root)), strip(&head));
    if strip(&said(&["status", "--porcelain"])?).is_empty() {
        return Ok(head.to_owned());
    }
    let staged = said(&["diff", "--cached"])?;
    let unstaged = said(&["diff"])?;
    let status = said(&["status", "--porcelain", "-uall"])?;
    let files = file_lines(root, strip(&status))?;
    let sections = [
        ("STAGED:\n", staged),
        ("UNSTAGED:\n", unstaged),
        ("FILES:\n", files.join("\n")),
    ];
    let sections: Vec<_> = sections
        .into_iter()
        .filter(|(_, body)| !body.is_empty())
        .map(|(title, body)| format!("{title}{body}"))
        .collect();
    let hashed = format!("{head}\n{}", sections.join("\n"));
    let (start, digest) = (&head[..32], hex(&Sha256::digest(hashed)));
    Ok(format!("{start}-dirty-{}", &digest[..8]))
}

fn file_lines(root: &Path, status: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for line in status.split('\n') {
        let letters: Vec<char> = line.chars().collect();
        if letters.len() < 3 || !letters[..2].iter().any(|letter| "?MA".contains(*letter)) {
            continue;
        }
        let name: String = letters[3..].iter().collect();
        lines.push(format!("{name}:{}", file_digest(&root.join(&name))?));
    }
    lines.sort();
    Ok(lines)
}

fn file_digest(path: &Path) -> Answer {
    let limit = match std::fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_fifo() => {
            return Err(format!("waits for ever at {}", path.display()));
        }
        Ok(metadata) if metadata.is_file() => u64::MAX,
        _ => DEVICE_LIMIT,
    };
    let mut digest = Sha256::new();
    let read = File::open(path).and_then(|file| {
        let mut file = file.take(limit);
        let mut block = vec![0; 1 << 20];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(file.limit()),
                length => digest.update(&block[..length]),
            }
        }
    });
    match read {
        Ok(0) => Err(format!("reads for ever from {}", path.display())),
        Ok(_) => Ok(hex(&digest.finalize())),
        Err(_) => Ok("unreadable".to_owned()),
    }
}

/// Both streams as Python's `subprocess` decodes them with `text=True`, of a command that ends with 0.
fn python_text(command: &mut Command) -> Answer {
    let output = command.output().map_err(|error| error.to_string())?;
    let decode = |bytes| String::from_utf8(bytes).map_err(|_| "UnicodeDecodeError".to_owned());
    let (text, errors) = (decode(output.stdout)?, decode(output.stderr)?);
    if !output.status.success() {
        return Err(errors);
    }
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// `str.strip()`, which knows four more white spaces than Unicode's property.
fn strip(text: &str) -> &str {
    text.trim_matches(|letter: char| {
        letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
    })
}

/// Settings under which the tree is a function of the files, the index and git's rules for their content.
const SETTINGS: [&str; 8] = [
    "core.safecrlf=false",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.sparseCheckout=false",
    "index.sparse=false",
    "gc.auto=0",
    "maintenance.auto=false",
];

/// What `git add -A` and `git write-tree` give, starting with the index's entries without their stat data.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The tree id.
    pub(crate) id: String,
    /// Whether a submodule or nested repository holds anything but its HEAD.
    pub(crate) dirty_inside: bool,
}

/// Returns the tree of the worktree that the caller stands in. Its repository stays as it is: index and new objects are
/// thrown away.
pub(crate) fn tree(caller: Caller<'_>) -> Result<Tree, String> {
    let Plan { git, top, unborn } = Plan::make(caller)?;
    let everything = [&b":/"[..]].into_iter().map(<[u8]>::to_vec);
    let without = unborn
        .iter()
        .map(|path| [b":(top,exclude,literal)", &path[..]].concat());
    let pathspecs: Vec<_> = everything.chain(without).collect();
    let add = ["add", "-A", "--pathspec-from-file=-", "--pathspec-file-nul"];
    git.run_with(&add, &nul_separated(&pathspecs))?;
    let id = git.run(&["write-tree", "--missing-ok"])?;
    let entries = git.run(&["ls-files", "-s", "-z"])?;
    let gitlinks = records(&entries)
        .filter(|entry| entry.starts_with(b"160000 "))
        .map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1).unwrap());
    let mut dirty_inside = false;
    for path in gitlinks.chain(unborn.iter().map(Vec::as_slice)) {
        dirty_inside |= is_dirty(caller, &top.join(OsStr::from_bytes(path)))?;
    }
    Ok(Tree {
        id: String::from_utf8(id).unwrap().trim().to_owned(),
        dirty_inside,
    })
}

/// A throw-away index that holds the repository's entries, ready for `git add`.
struct Plan<'a> {
    git: Throwaway<'a>,
    top: PathBuf,
    unborn: BTreeSet<Vec<u8>>,
}

impl<'a> Plan<'a> {
    fn make(caller: Caller<'a>) -> Result<Self, String> {
        let mut git = Throwaway::outside(caller);
        let top = git.path(&["rev-parse", "--show-toplevel"])?;
        if top.as_os_str().is_empty() {
            return Err("no work tree".to_owned());
        }
        git.pin(&top)?;
        let entries = git.run(&["ls-files", "-s", "-z"])?;
        let flags = git.run(&["ls-files", "-t", "-z"])?;
        let untracked = git.run(&["ls-files", "-o", "--exclude-standard", "-z"])?;
        let on_disk = |path: &[u8]| top.join(OsStr::from_bytes(path));
        let absent: Vec<_> = records(&flags)
            .filter_map(|record| record.strip_prefix(b"S "))
            .filter(|path| on_disk(path).symlink_metadata().is_err())
            .map(<[u8]>::to_vec)
            .collect();
        let unborn = records(&untracked)
            .filter_map(|path| path.strip_suffix(b"/"))
            .filter(|path| !has_commit(caller, &on_disk(path)))
            .map(<[u8]>::to_vec)
            .collect();
        git.throw_away()?;
        git.run(&["read-tree", "--empty"])?;
        git.run_with(&["update-index", "-z", "--index-info"], &entries)?;
        let skip = ["update-index", "--skip-worktree", "-z", "--stdin"];
        git.run_with(&skip, &nul_separated(&absent))?;
        Ok(Self { git, top, unborn })
    }
}

/// Git with an index and an object directory of its own, both gone when dropped.
struct Throwaway<'a> {
    caller: Caller<'a>,
    cwd: Option<PathBuf>,
    vars: Vec<(&'static str, OsString)>,
    scratch: tempfile::TempDir,
}

impl<'a> Throwaway<'a> {
    fn outside(caller: Caller<'a>) -> Self {
        Self {
            caller,
            cwd: None,
            vars: Vec::new(),
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    /// Names the repository outright, so that the directory of a call no longer matters.
    fn pin(&mut self, top: &Path) -> Result<(), String> {
        let git_dir = self.path(&["rev-parse", "--absolute-git-dir"])?;
        let index = self.git_path("index")?;
        self.vars = vec![
            ("GIT_DIR", git_dir.into()),
            ("GIT_WORK_TREE", top.into()),
            ("GIT_INDEX_FILE", index.into()),
        ];
        self.cwd = Some(top.to_owned());
        Ok(())
    }

    fn throw_away(&mut self) -> Result<(), String> {
        let mut alternates = OsString::from(self.git_path("objects")?);
        if let Some(more) = variable(&(self.caller)("git"), "GIT_ALTERNATE_OBJECT_DIRECTORIES") {
            alternates.push(":");
            alternates.push(more);
        }
        let objects = self.scratch.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        self.vars.extend([
            ("GIT_INDEX_FILE", self.scratch.path().join("index").into()),
            ("GIT_OBJECT_DIRECTORY", objects.into()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", alternates),
        ]);
        Ok(())
    }

    fn git_path(&self, name: &str) -> Result<PathBuf, String> {
        self.path(&["rev-parse", "--path-format=absolute", "--git-path", name])
    }

    fn path(&self, arguments: &[&str]) -> Result<PathBuf, String> {
        let mut line = self.run(arguments)?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(PathBuf::from(OsString::from_vec(line)))
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
        let mut command = (self.caller)("git");
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        for name in ["LITERAL", "GLOB", "NOGLOB", "ICASE"] {
            command.env_remove(format!("GIT_{name}_PATHSPECS"));
        }
        command.args(arguments).envs(self.vars.iter().cloned());
        command.env("GIT_OPTIONAL_LOCKS", "0");
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        fed(&mut command, input)
    }
}

fn fed(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The value that a command was given, else the one that it inherits.
fn variable(command: &Command, name: &str) -> Option<OsString> {
    let given = command.get_envs().find(|(given, _)| *given == name);
    given.map_or_else(
        || std::env::var_os(name),
        |(_, value)| value.map(OsStr::to_owned),
    )
}

/// A command in a repository inside another, which the variables of the outer one do not name.
fn inside(caller: Caller<'_>, dir: &Path, program: &str) -> Command {
    let mut command = caller(program);
    command.current_dir(dir);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command
}

fn has_commit(caller: Caller<'_>, dir: &Path) -> bool {
    let mut command = inside(caller, dir, "git");
    fed(command.args(["rev-parse", "-q", "--verify", "HEAD"]), b"").is_ok()
}

/// True where the repository in `dir` holds anything but its HEAD; false where there is none.
fn is_dirty(caller: Caller<'_>, dir: &Path) -> Result<bool, String> {
    if dir.join(".git").symlink_metadata().is_err() {
        return Ok(false);
    }
    let inner: Caller<'_> = &|program| inside(caller, dir, program);
    let top = fed(inner("git").args(["rev-parse", "--show-toplevel"]), b"");
    let top = top.map(|top| PathBuf::from(OsString::from_vec(top.trim_ascii_end().to_vec())));
    if !top.is_ok_and(|top| top.canonicalize().ok() == dir.canonicalize().ok()) {
        return Ok(false);
    }
    let Tree { id, dirty_inside } = tree(inner)?;
    let head = match fed(
        inner("git").args(["rev-parse", "-q", "--verify", "HEAD^{tree}"]),
        b"",
    ) {
        Ok(head) => head,
        Err(_) => fed(
            inner("git").args(["hash-object", "-t", "tree", "--stdin"]),
            b"",
        )?,
    };
    Ok(dirty_inside || id.as_bytes() != head.trim_ascii_end())
}

fn records(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output
        .split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
}

fn nul_separated(items: &[Vec<u8>]) -> Vec<u8> {
    items
        .iter()
        .flat_map(|item| [item, &b"\0"[..]].concat())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
