//! How long the repository hash takes, beside what git itself takes for the same, on repositories made on the spot.
//!
//! `cargo bench --bench identity` prints a table; `-- 1000 10000` chooses the numbers of files. Every figure is the median of
//! several runs, taken in turn with the others, so that a busy machine slows all alike: read the ratios.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench, not a part of the program"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tracemark::identity::reader::WorktreeReader;
use tracemark::touched::Touched;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 11;
const FILES_IN_DIR: usize = 50;

/// A repository and what is done to it before each measurement.
struct Bed {
    dir: tempfile::TempDir,
    edits: usize,
}

impl Bed {
    fn new(files: usize) -> Self {
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

    fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn private(&self) -> PathBuf {
        self.root().join(".git/tracemark")
    }

    fn git(&self, arguments: &[&str]) {
        run(Command::new("git").args(arguments), &self.root());
    }

    fn edit(&mut self) -> PathBuf {
        self.edits += 1;
        let path = self.root().join(path_of(FILES_IN_DIR + 7));
        let text = format!("# edited {}\n{}", self.edits, "value = 1\n".repeat(20));
        fs::write(&path, text).unwrap();
        path
    }

    fn stage_twenty(&self) {
        for n in 100..120 {
            fs::write(self.root().join(path_of(n)), format!("# staged {n}\n")).unwrap();
        }
        next_second();
        self.git(&["add", "-u"]);
    }

    fn leave_200_untracked(&self) {
        for n in 0..200 {
            fs::write(self.root().join(format!("new-{n}.py")), format!("# {n}\n")).unwrap();
        }
    }
}

/// Files that were written in the second of the index are read again by every git (racy-git.adoc), which hides all else.
fn next_second() {
    let second = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = second();
    while second() == now {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn path_of(n: usize) -> PathBuf {
    let dir = n / FILES_IN_DIR;
    PathBuf::from(format!("pkg{:02}/mod{dir:04}/file{n:06}.py", dir % 40))
}

fn run(command: &mut Command, dir: &Path) {
    let ended = command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env("GIT_OPTIONAL_LOCKS", "0")
        .status()
        .unwrap();
    assert!(ended.success(), "{command:?}");
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn tracemark(program: &Path, arguments: &[&str], root: &Path) {
    run(Command::new(program).args(arguments), root);
}

/// A copy, as an installation makes it: what a linker wrote piece by piece lies in the page cache in small pieces.
fn installed(dir: &Path) -> PathBuf {
    let program = dir.join("tracemark");
    fs::copy(env!("CARGO_BIN_EXE_tracemark"), &program).unwrap();
    program
}

/// The calls of git that the guide's helper makes; it stops at the third where nothing changed.
fn helper_calls(root: &Path, is_clean: bool) {
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

/// The columns of one scenario, in milliseconds.
#[derive(Default)]
struct Times {
    version: Vec<f64>,
    status: Vec<f64>,
    helper: Vec<f64>,
    hash: Vec<f64>,
    tree: Vec<f64>,
    full: Vec<f64>,
    narrow: Vec<f64>,
}

fn measure(program: &Path, bed: &mut Bed, is_clean: bool) -> Times {
    let root = bed.root();
    let mut reader = WorktreeReader::new(&root, &root.join(".git"), &bed.private());
    // What git has just written counts as moving for a moment.
    std::thread::sleep(Duration::from_millis(500));
    reader.read(&Touched::Everything).unwrap();
    let mut times = Times::default();
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    for _ in 0..ROUNDS {
        let version = || run(Command::new("git").arg("--version"), &root);
        let status = || {
            run(
                Command::new("git").args(["status", "--porcelain", "-uall"]),
                &root,
            );
        };
        times.version.push(ms(timed(version)));
        times.status.push(ms(timed(status)));
        times
            .helper
            .push(ms(timed(|| helper_calls(&root, is_clean))));
        times
            .hash
            .push(ms(timed(|| tracemark(program, &["hash"], &root))));
        let tree = ["hash", "--naming", "tree"];
        times
            .tree
            .push(ms(timed(|| tracemark(program, &tree, &root))));
        let touched = if is_clean {
            root.join(path_of(FILES_IN_DIR + 7))
        } else {
            bed.edit()
        };
        let touched = Touched::Paths(BTreeSet::from([touched]));
        let before = reader.passes();
        times
            .narrow
            .push(ms(timed(|| drop(reader.read(&touched).unwrap()))));
        assert_eq!(reader.passes().narrow, before.narrow + 1);
        times.full.push(ms(timed(|| {
            drop(reader.read(&Touched::Everything).unwrap());
        })));
    }
    times
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(files: usize, scenario: &str, times: &Times) {
    let [version, status, helper, hash, tree, full, narrow] = [
        &times.version,
        &times.status,
        &times.helper,
        &times.hash,
        &times.tree,
        &times.full,
        &times.narrow,
    ]
    .map(|times| median(times));
    println!(
        "| {files} | {scenario} | {version:.1} | {status:.1} | {helper:.1} | {hash:.1} | {:.2} | {:.2} | {tree:.1} | {full:.1} | {narrow:.1} | {:.1} | {:.2} |",
        hash / helper,
        hash / status,
        narrow / version,
        narrow / helper,
    );
}

fn main() {
    let wanted: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let sizes = if wanted.is_empty() {
        SIZES.to_vec()
    } else {
        wanted
    };
    let installation = tempfile::tempdir().unwrap();
    let program = installed(installation.path());
    println!(
        "| files | state | git --version (G) | git status | helper's git calls | hash | hash / helper | hash / status | hash --naming tree | full pass | narrow pass | narrow / G | narrow / helper |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for files in sizes {
        let mut bed = Bed::new(files);
        report(files, "clean", &measure(&program, &mut bed, true));
        bed.edit();
        report(files, "one edit", &measure(&program, &mut bed, false));
        bed.leave_200_untracked();
        report(
            files,
            "one edit, 200 untracked",
            &measure(&program, &mut bed, false),
        );
        bed.stage_twenty();
        report(
            files,
            "20 staged, one edit, 200 untracked",
            &measure(&program, &mut bed, false),
        );
    }
}
