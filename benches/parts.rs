//! The parts of a save and of a start, each alone, with what they allocate.
//!
//! `cargo bench --bench parts` prints a table; `-- narrow` chooses those whose name holds that. No process of git is started but where that
//! is said. Repositories are made on the spot.
#![allow(clippy::unwrap_used, reason = "a bench, not a part of the program")]

#[path = "support/mod.rs"]
#[allow(dead_code, reason = "other benches need more of it")]
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use divan::{AllocProfiler, Bencher};
use support::{Bed, FILES_IN_DIR, path_of};
use tracemark::env_file::{self, EnvValues};
use tracemark::identity::reader::WorktreeReader;
use tracemark::ids::VersionKey;
use tracemark::ledger::Ledger;
use tracemark::repository::Worktree;
use tracemark::touched::Touched;
use tracemark::watch::Watch;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

/// A reader that has read everything once.
fn reader(bed: &Bed, wants_git_hash: bool) -> WorktreeReader {
    let mut reader = WorktreeReader::new(&bed.root(), &bed.root().join(".git"), &bed.private());
    reader.want_git_hash(wants_git_hash);
    // What git has just written counts as moving for a moment.
    std::thread::sleep(std::time::Duration::from_millis(500));
    reader.read(&Touched::Everything).unwrap();
    reader
}

fn narrow(bencher: Bencher, files: usize, wants_git_hash: bool) {
    let mut bed = Bed::new(files);
    let mut reader = reader(&bed, wants_git_hash);
    let (full, narrow) = (reader.passes().full, reader.passes().narrow);
    bencher
        .with_inputs(|| Touched::Paths(BTreeSet::from([bed.edit()])))
        .bench_local_refs(|touched| reader.read(touched).unwrap());
    assert!(reader.passes().narrow > narrow && reader.passes().full == full);
}

/// After one file was saved, for the naming `tree`.
#[divan::bench(args = SIZES)]
fn narrow_pass(bencher: Bencher, files: usize) {
    narrow(bencher, files, false);
}

/// The same for the naming `git-hash`, with the process of git that makes the diff of code that was not seen before.
#[divan::bench(args = SIZES, sample_count = 30)]
fn narrow_pass_with_git_diff(bencher: Bencher, files: usize) {
    narrow(bencher, files, true);
}

/// Over every file, as after a commit.
#[divan::bench(args = SIZES, sample_count = 10)]
fn full_pass(bencher: Bencher, files: usize) {
    let bed = Bed::new(files);
    let mut reader = reader(&bed, false);
    bencher.bench_local(|| reader.read(&Touched::Everything).unwrap());
}

/// Each directory of a repository.
#[divan::bench(args = SIZES, sample_count = 10)]
fn watches(bencher: Bencher, files: usize) {
    let bed = Bed::new(files);
    let worktree = Worktree::discover(&bed.root()).unwrap();
    bencher.bench_local(|| {
        let mut watch = Watch::new(&worktree, None, || ()).unwrap();
        watch.watch_everything().unwrap();
        watch
    });
}

/// What the kernel and notify's thread take to tell of a rename.
#[divan::bench]
fn event(bencher: Bencher) {
    let bed = Bed::new(FILES_IN_DIR);
    let worktree = Worktree::discover(&bed.root()).unwrap();
    let mut watch = Watch::new(&worktree, None, || ()).unwrap();
    watch.watch_everything().unwrap();
    bencher.bench_local(|| assert!(watch.sync(std::time::Duration::from_secs(10))));
}

fn values(name: usize) -> String {
    let values = EnvValues {
        model_id: format!("m-{name:032x}"),
        state: "active".to_owned(),
        ..EnvValues::default()
    };
    values.render()
}

/// One that says something new.
#[divan::bench]
fn env_file(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    let mut round = 0;
    bencher
        .with_inputs(|| {
            round += 1;
            values(round)
        })
        .bench_local_refs(|text| env_file::publish(&file, text).unwrap());
}

/// Which LoggedModel stands for a version, of 1,000.
#[divan::bench]
fn ledger(bencher: Bencher) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ledger.db")).unwrap();
    let key = |n: usize| VersionKey {
        name: format!("app-{n}"),
        key: format!("{n:064x}"),
    };
    let experiment = "1".parse().unwrap();
    for n in 0..1_000 {
        let model = format!("m-{n:032x}").parse().unwrap();
        ledger
            .remember("store", &experiment, &key(n), &model)
            .unwrap();
    }
    let wanted = key(500);
    bencher.bench_local(|| {
        ledger
            .model_of("store", &experiment, &wanted)
            .unwrap()
            .unwrap()
    });
}

/// The file that the passes are about.
#[divan::bench]
fn read_of_the_changed_file(bencher: Bencher) {
    let bed = Bed::new(2 * FILES_IN_DIR);
    let file = bed.root().join(path_of(FILES_IN_DIR + 7));
    bencher.bench_local(|| std::fs::read(divan::black_box::<&Path>(&file)).unwrap());
}
