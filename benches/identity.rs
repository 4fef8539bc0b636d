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

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{
    Bed, FILES_IN_DIR, helper_calls, installed, median, ms, next_second, path_of, run, sizes, timed,
};
use tracemark::identity::reader::WorktreeReader;
use tracemark::touched::Touched;

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const ROUNDS: usize = 11;

fn tracemark(program: &Path, arguments: &[&str], root: &Path) {
    run(Command::new(program).args(arguments), root);
}

fn stage_twenty(bed: &Bed) {
    for n in 100..120 {
        fs::write(bed.root().join(path_of(n)), format!("# staged {n}\n")).unwrap();
    }
    next_second();
    bed.git(&["add", "-u"]);
}

fn leave_200_untracked(bed: &Bed) {
    for n in 0..200 {
        fs::write(bed.root().join(format!("new-{n}.py")), format!("# {n}\n")).unwrap();
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
    let sizes = sizes(&SIZES);
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
        leave_200_untracked(&bed);
        report(
            files,
            "one edit, 200 untracked",
            &measure(&program, &mut bed, false),
        );
        stage_twenty(&bed);
        report(
            files,
            "20 staged, one edit, 200 untracked",
            &measure(&program, &mut bed, false),
        );
    }
}
