//! Repositories of any size made on the spot, and what git and the guide's helper take for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const FILES_IN_DIR: usize = 50;

/// A repository and what is done to it before each measurement.
pub(crate) struct Bed {
    dir: tempfile::TempDir,
    edits: usize,
}

impl Bed {
    pub(crate) fn new(files: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bed = Self { dir, edits: 0 };
        bed.git(&["init", "-q"]);
        for (name, value) in [("user.name", "a"), ("user.email", "a@b"), ("gc.auto", "0")] {
            bed.git(&["config", name, value]);
        }
        for n in 0..files {
            let path = bed.root().join(path_of(n));
            if n % FILES_IN_DIR == 0 {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
            }
            fs::write(path, format!("# file {n}\n{}", "value = 1\n".repeat(20))).unwrap();
        }
        next_second();
        bed.git(&["add", "-A"]);
        bed.git(&["commit", "-q", "-m", "all"]);
        bed.git(&["repack", "-q", "-a", "-d"]);
        fs::create_dir(bed.private()).unwrap();
        bed
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn private(&self) -> PathBuf {
        self.root().join(".git/tracemark")
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        run(Command::new("git").args(arguments), &self.root());
    }

    pub(crate) fn edit(&mut self) -> PathBuf {
        self.edits += 1;
        let path = self.root().join(path_of(FILES_IN_DIR + 7));
        let text = format!("# edited {}\n{}", self.edits, "value = 1\n".repeat(20));
        fs::write(&path, text).unwrap();
        path
    }
}

/// Files that were written in the second of the index are read again by every git (racy-git.adoc), which hides all else.
pub(crate) fn next_second() {
    let second = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = second();
    while second() == now {
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn path_of(n: usize) -> PathBuf {
    let dir = n / FILES_IN_DIR;
    PathBuf::from(format!("pkg{:02}/mod{dir:04}/file{n:06}.py", dir % 40))
}

pub(crate) fn run(command: &mut Command, dir: &Path) {
    let ended = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env("GIT_OPTIONAL_LOCKS", "0")
        .status()
        .unwrap();
    assert!(ended.success(), "{command:?}");
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// A copy, as an installation makes it: what a linker wrote piece by piece lies in the page cache in small pieces.
pub(crate) fn installed(dir: &Path) -> PathBuf {
    let program = dir.join("tracemark");
    fs::copy(env!("CARGO_BIN_EXE_tracemark"), &program).unwrap();
    program
}

/// The calls of git that the guide's helper makes; it stops at the third where nothing changed.
pub(crate) fn helper_calls(root: &Path, is_clean: bool) {
    let calls: [&[&str]; 6] = [
        &["rev-parse", "--show-toplevel"],
        &["rev-parse", "HEAD"],
        &["status", "--porcelain"],
        &["diff", "--cached"],
        &["diff"],
        &["status", "--porcelain", "-uall"],
    ];
    for call in calls.iter().take(if is_clean { 3 } else { 6 }) {
        run(Command::new("git").args(*call), root);
    }
}

pub(crate) fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the time below which so many of a hundred lie.
#[allow(dead_code, reason = "one bench asks only for medians")]
pub(crate) fn percentile(times: &[f64], of_hundred: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() * of_hundred / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Returns the numbers of files that the command line names, the usual ones where it names none.
pub(crate) fn sizes(usual: &[usize]) -> Vec<usize> {
    let wanted: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    if wanted.is_empty() {
        usual.to_vec()
    } else {
        wanted
    }
}
