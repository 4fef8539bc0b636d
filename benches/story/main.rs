//! The whole story: the real daemon and commands on repositories of any size, beside what people use today.
//!
//! `cargo bench --bench story` prints the tables for 1,000, 10,000 and 100,000 files; `-- 1000000` chooses other sizes. Times
//! are medians in milliseconds of several runs on this machine as it is now; G is `git --version` as a process, in
//! the same run. The MLflow server is a stub that answers at once, or after a delay where that is said.
//! `TRACEMARK_BENCH_PYTHON` names a Python with MLflow, whose own ways are then measured too.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a bench, not a part of the program"
)]

mod floor;
mod home;
mod process;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use floor::Floor;
use home::{Home, wait_until};
use process::{Idle, Use};
use support::{
    Bed, FILES_IN_DIR, helper_calls, median, ms, path_of, percentile, run, sizes, timed,
};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Saves that are timed for each naming.
const SAVES: usize = 80;
/// Between two saves, so that each begins with a daemon at rest.
const PAUSE: Duration = Duration::from_millis(300);
/// Processes that are timed for each figure.
const ROUNDS: usize = 15;
/// Commits that are timed for each hook: what one adds is the difference of two times, each of which varies by more.
const COMMITS: usize = 20;
/// Checkouts that are timed, and as many `git status` after one.
const CHECKOUTS: usize = 5;
/// How long the idle daemon is watched.
const IDLE: Duration = Duration::from_secs(30);
/// How many files another branch changes.
const BRANCH: usize = 20_000;
/// What the server takes where a delay is measured.
const DELAY: Duration = Duration::from_millis(50);
/// Of the fleet of worktrees.
const WORKTREES: usize = 10;

/// What became of a row of saves: milliseconds until the id before was gone, and until the right one was there.
#[derive(Default)]
struct Saves {
    gone: Vec<f64>,
    right: Vec<f64>,
}

/// All that is measured for one size.
struct Story {
    files: usize,
    floor: Floor,
    status: f64,
    helper: f64,
    helper_in_python: f64,
    hash_dirty: f64,
    hash_clean: f64,
    status_clean: f64,
    first: f64,
    start: Start,
    by_git_hash: Saves,
    by_tree: Saves,
    active: f64,
    usage: Use,
    idle: Idle,
    commit: Commit,
    created: Created,
    checkout: Option<Checkout>,
}

/// From nothing to the answer of a new daemon, in milliseconds and in `git status`.
struct Start {
    ms: f64,
    in_status: f64,
}

/// What hooks add to a commit.
struct Commit {
    none: f64,
    no_op: f64,
    ours: f64,
}

/// A version that is new: until its id is published, for a server that answers at once and for one that does not, and
/// the requests that it took.
struct Created {
    at_once: f64,
    delayed: f64,
    requests: usize,
}

/// After a checkout that changes many files.
struct Checkout {
    right: f64,
    status: f64,
    models: usize,
}

struct Teller<'a> {
    home: &'a Home,
    bed: Bed,
}

impl Teller<'_> {
    fn root(&self) -> PathBuf {
        self.bed.root()
    }

    fn ask(&self, arguments: &[&str]) -> String {
        self.home.tracemark(&self.root(), arguments)
    }

    /// Waits as long as a reading of a million files takes.
    fn active(&self) -> String {
        self.ask(&["active", "--timeout", "120"])
    }

    fn env_id(&self) -> String {
        let text = fs::read_to_string(self.root().join(".git/tracemark/env")).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MLFLOW_ACTIVE_MODEL_ID="));
        line.unwrap_or_default().to_owned()
    }

    fn process(&self, program: &Path, arguments: &[&str]) -> f64 {
        let mut command = self.home.command(program, &self.root());
        command.args(arguments);
        ms(timed(|| run(&mut command, &self.root())))
    }

    /// Two contents of one file in turn, both known, and a reader that loops on the env file.
    fn saves(&self) -> Saves {
        let file = self.root().join(path_of(FILES_IN_DIR + 7));
        let texts = ["# one\n", "# two\n"];
        let ids = texts.map(|text| {
            fs::write(&file, text).unwrap();
            self.active()
        });
        let mut saves = Saves::default();
        self.home.wait_until_quiet();
        for round in 0..SAVES {
            let (before, wanted) = (&ids[(round + 1) % 2], &ids[round % 2]);
            fs::write(&file, texts[round % 2]).unwrap();
            let began = Instant::now();
            let mut gone = None;
            wait_until(|| {
                let id = self.env_id();
                if gone.is_none() && id != *before {
                    gone = Some(ms(began.elapsed()));
                }
                (id == *wanted).then_some(())
            });
            saves.right.push(ms(began.elapsed()));
            saves.gone.push(gone.unwrap());
            std::thread::sleep(PAUSE);
        }
        saves
    }

    fn processes(&self, program: &Path, arguments: &[&str]) -> f64 {
        let times: Vec<f64> = (0..ROUNDS)
            .map(|_| self.process(program, arguments))
            .collect();
        median(&times)
    }

    /// In turn with `git status`, as for a commit.
    fn start(&self) -> Start {
        let status = ["status", "--porcelain", "-uall"];
        let (starts, statuses): (Vec<f64>, Vec<f64>) = (0..ROUNDS)
            .map(|_| {
                self.home.end_daemon();
                std::thread::sleep(PAUSE);
                let start = ms(timed(|| drop(self.active())));
                (start, self.process(Path::new("git"), &status))
            })
            .unzip();
        let ms = median(&starts);
        Start {
            ms,
            in_status: ms / median(&statuses),
        }
    }

    fn helper(&self) -> f64 {
        let times = (0..ROUNDS).map(|_| ms(timed(|| helper_calls(&self.root(), false))));
        median(&times.collect::<Vec<_>>())
    }

    /// In turn, so that a busy machine slows all alike.
    fn commit(&self) -> Commit {
        let hooks = self.root().join(".git/no-op-hooks");
        fs::create_dir_all(&hooks).unwrap();
        let hook = hooks.join("post-commit");
        fs::write(&hook, "#!/bin/sh\n").unwrap();
        let runnable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&hook, runnable).unwrap();
        let no_op = format!("core.hooksPath={}", hooks.display());
        let kinds: [&[&str]; 3] = [&["-c", "core.hooksPath=/dev/null"], &["-c", &no_op], &[]];
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..COMMITS {
            for (kind, times) in kinds.iter().zip(&mut times) {
                let commit = ["commit", "-q", "--allow-empty", "-m", "x"];
                times.push(self.process(Path::new("git"), &[*kind, &commit].concat()));
                // The look that follows one would slow the next.
                std::thread::sleep(PAUSE * 3);
            }
        }
        self.home.wait_until_quiet();
        let [none, no_op, ours] = times.map(|times| median(&times));
        Commit { none, no_op, ours }
    }

    fn created(&mut self) -> Created {
        let (at_once, requests) = self.new_version();
        self.home.delay(DELAY);
        let (delayed, _) = self.new_version();
        self.home.delay(Duration::ZERO);
        Created {
            at_once,
            delayed,
            requests,
        }
    }

    /// Nobody asks: the time to settle is part of it. The requests are those until the id is there.
    fn new_version(&mut self) -> (f64, usize) {
        self.active();
        std::thread::sleep(PAUSE * 10);
        let (before, (requests, _)) = (self.env_id(), self.home.seen());
        self.bed.edit();
        let began = Instant::now();
        wait_until(|| {
            let id = self.env_id();
            (!id.is_empty() && id != before).then_some(())
        });
        let took = ms(began.elapsed());
        (took, self.home.seen().0 - requests)
    }

    fn checkout(&self, files: usize) -> Option<Checkout> {
        if files < BRANCH {
            return None;
        }
        let git = |arguments: &[&str]| run(Command::new("git").args(arguments), &self.root());
        git(&["checkout", "-q", "-b", "other"]);
        for n in 0..BRANCH {
            fs::write(self.root().join(path_of(n)), format!("# other {n}\n")).unwrap();
        }
        git(&["commit", "-q", "-a", "-m", "other"]);
        self.active();
        git(&["checkout", "-q", "-"]);
        git(&["commit", "-q", "--allow-empty", "-m", "new"]);
        git(&["checkout", "-q", "other"]);
        self.active();
        self.home.wait_until_quiet();
        let (_, models) = self.home.seen();
        let first = self.right_after_checkout();
        self.home.wait_until_quiet();
        let models = self.home.seen().1 - models;
        let (mut rights, mut statuses) = (vec![first], Vec::new());
        for _ in 0..CHECKOUTS {
            rights.push(self.right_after_checkout());
            git(&["checkout", "-q", "-"]);
            let status = ["status", "--porcelain", "-uall"];
            statuses.push(self.process(Path::new("git"), &status));
            self.active();
        }
        Some(Checkout {
            right: median(&rights),
            status: median(&statuses),
            models,
        })
    }

    fn right_after_checkout(&self) -> f64 {
        std::thread::sleep(PAUSE * 3);
        let before = self.env_id();
        run(
            Command::new("git").args(["checkout", "-q", "-"]),
            &self.root(),
        );
        ms(timed(|| {
            wait_until(|| {
                let id = self.env_id();
                (!id.is_empty() && id != before).then_some(())
            });
        }))
    }
}

fn tell(home: &Home, files: usize) -> Story {
    let bed = Bed::new(files);
    let mut teller = Teller { home, bed };
    let (git, program) = (Path::new("git"), home.program.clone());
    let floor = floor::measure(&teller.root().join(".git"), ROUNDS);
    let status_clean = teller.processes(git, &["status", "--porcelain", "-uall"]);
    let hash_clean = teller.processes(&program, &["hash"]);
    teller.bed.edit();
    let status = teller.processes(git, &["status", "--porcelain", "-uall"]);
    let hash_dirty = teller.processes(&program, &["hash"]);
    let helper = teller.helper();
    let in_python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/git_helper.py");
    let helper_in_python = teller.processes(Path::new("python3"), &[in_python.to_str().unwrap()]);
    let store = home.store();
    let first = ms(timed(|| drop(teller.ask(&["up", "--store", &store]))));
    let by_git_hash = teller.saves();
    let active = teller.processes(&program, &["active"]);
    let idle = home.daemon().idle(IDLE);
    let usage = home.daemon().usage();
    let created = teller.created();
    let commit = teller.commit();
    teller.ask(&["up", "--naming", "tree"]);
    let by_tree = teller.saves();
    teller.ask(&["up", "--naming", "git-hash"]);
    let checkout = teller.checkout(files);
    let start = teller.start();
    teller.ask(&["down"]);
    Story {
        files,
        floor,
        status,
        helper,
        helper_in_python,
        hash_dirty,
        hash_clean,
        status_clean,
        first,
        start,
        by_git_hash,
        by_tree,
        active,
        usage,
        idle,
        commit,
        created,
        checkout,
    }
}

/// A row: what, the figure of each size, and what the figure is asked to be.
fn row(name: &str, stories: &[Story], budget: &str, figure: impl Fn(&Story) -> String) {
    let figures: Vec<String> = stories.iter().map(figure).collect();
    println!("| {name} | {} | {budget} |", figures.join(" | "));
}

fn in_g(story: &Story, time: f64) -> String {
    format!("{time:.1} ({:.1} G)", time / story.floor.git)
}

fn print(stories: &[Story]) {
    let sizes: Vec<String> = stories.iter().map(|one| one.files.to_string()).collect();
    println!("| ms, medians | {} | budget |", sizes.join(" | "));
    println!("|---|{}---|", "---|".repeat(sizes.len()));
    row("G: `git --version`", stories, "", |it| {
        format!("{:.2}", it.floor.git)
    });
    row(
        "floor: event, read, rename; with one G",
        stories,
        "",
        |it| {
            let steps = it.floor.event_read_rename;
            format!("{steps:.2}; {:.2}", steps + it.floor.git)
        },
    );
    rows_of_saves(stories);
    row(
        "`tracemark active`, nothing changed",
        stories,
        "2 G",
        |it| in_g(it, it.active),
    );
    rows_of_hash(stories);
    row(
        "a hook in `git commit`: no-op, ours",
        stories,
        "2 × no-op",
        |it| {
            let added = |time: f64| time - it.commit.none;
            format!(
                "{:.1}, {:.1}",
                added(it.commit.no_op),
                added(it.commit.ours)
            )
        },
    );
    rows_of_versions(stories);
    row("first `up`", stories, "", |it| format!("{:.0}", it.first));
    row(
        "start of the daemon to the answer, in `git status`",
        stories,
        "1.5 ×",
        |it| format!("{:.0}, {:.2}", it.start.ms, it.start.in_status),
    );
    rows_of_footprint(stories);
}

/// What is new: a version, and another branch.
fn rows_of_versions(stories: &[Story]) {
    row(
        "a new version over REST (settle 500 ms), requests",
        stories,
        "settle + 3",
        |it| format!("{:.0}, {}", it.created.at_once, it.created.requests),
    );
    row(
        "the same, 50 ms a request",
        stories,
        "settle + 3 × 50",
        |it| format!("{:.0}", it.created.delayed),
    );
    row(
        "checkout of 20,000 files: right, `git status`, ratio, models",
        stories,
        "1.5 ×, 1",
        |it| {
            let Some(it) = &it.checkout else {
                return "-".to_owned();
            };
            let ratio = it.right / it.status;
            format!(
                "{:.0}, {:.0}, {ratio:.2}, {}",
                it.right, it.status, it.models
            )
        },
    );
}

fn rows_of_saves(stories: &[Story]) {
    for (naming, budget) in [
        ("git-hash", "3 G; 1/20 of the helper's calls"),
        ("tree", "1 G"),
    ] {
        let of = |it: &Story| -> [f64; 4] {
            let saves = if naming == "tree" {
                &it.by_tree
            } else {
                &it.by_git_hash
            };
            let right = &saves.right;
            [
                median(right),
                percentile(right, 99),
                median(&saves.gone),
                percentile(&saves.gone, 99),
            ]
        };
        row(
            &format!("save → env file right, `{naming}`: p50"),
            stories,
            budget,
            |it| {
                let right = of(it)[0];
                format!("{}, 1/{:.0}", in_g(it, right), it.helper / right)
            },
        );
        row(
            &format!("`{naming}`: p99; gone p50, p99"),
            stories,
            "gone p99 20 ms",
            |it| {
                let [_, right, gone, gone_99] = of(it);
                format!("{right:.1}; {gone:.1}, {gone_99:.1}")
            },
        );
    }
}

fn rows_of_hash(stories: &[Story]) {
    row(
        "`git status --porcelain -uall`: changed, clean",
        stories,
        "",
        |it| format!("{:.1}, {:.1}", it.status, it.status_clean),
    );
    row(
        "the helper: its calls of git, all of it in Python",
        stories,
        "",
        |it| format!("{:.1}, {:.1}", it.helper, it.helper_in_python),
    );
    row(
        "`tracemark hash`, changed: to the helper's calls, to status",
        stories,
        "0.5, 1.2",
        |it| {
            let hash = it.hash_dirty;
            format!(
                "{hash:.1}: {:.2}, {:.2}",
                hash / it.helper,
                hash / it.status
            )
        },
    );
    row("`tracemark hash`, clean: to status", stories, "1.2", |it| {
        format!(
            "{:.1}: {:.2}",
            it.hash_clean,
            it.hash_clean / it.status_clean
        )
    });
}

fn rows_of_footprint(stories: &[Story]) {
    row(
        "memory of the daemon: RSS, PSS, MiB",
        stories,
        "60 MB",
        |it| format!("{:.0}, {:.0}", it.usage.rss, it.usage.pss),
    );
    row("descriptors, watches", stories, "", |it| {
        format!("{}, {}", it.usage.descriptors, it.usage.watches)
    });
    row("idle: wake-ups, CPU seconds a minute", stories, "0", |it| {
        format!(
            "{:.0}, {:.2}",
            it.idle.wakeups_a_minute, it.idle.cpu_seconds_a_minute
        )
    });
}

/// Ten worktrees of one size in one daemon.
fn fleet(home: &Home, files: usize) {
    let bed = Bed::new(files);
    home.tracemark(&bed.root(), &["up", "--store", &home.store()]);
    for n in 1..WORKTREES {
        let dir = bed.root().join(format!(".git/side{n}"));
        run(
            Command::new("git")
                .args(["worktree", "add", "-q", "--detach"])
                .arg(&dir),
            &bed.root(),
        );
        home.tracemark(&dir, &["active"]);
    }
    let usage = home.daemon().usage();
    println!(
        "\n{WORKTREES} worktrees of {files} files: RSS {:.0} MiB, PSS {:.0} MiB, {} watches (budget 100 MB)",
        usage.rss, usage.pss, usage.watches
    );
    home.tracemark(&bed.root(), &["down"]);
}

/// MLflow's own ways, where there is a Python that has it.
fn peers() {
    let Some(python) = std::env::var_os("TRACEMARK_BENCH_PYTHON") else {
        println!(
            "\nMLflow's own ways: not measured, as TRACEMARK_BENCH_PYTHON names no Python with MLflow"
        );
        return;
    };
    let bed = Bed::new(1_000);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/story/peers.py");
    let said = Command::new(python)
        .arg(script)
        .args([bed.root(), bed.root().join(".git/mlflow.db")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    println!(
        "\nMLflow's own ways in the app, on SQLite, 1,000 files, ms: {}",
        said.trim()
    );
}

fn main() {
    let sizes = sizes(&SIZES);
    let home = Home::new();
    let stories: Vec<Story> = sizes.iter().map(|files| tell(&home, *files)).collect();
    print(&stories);
    if sizes.contains(&10_000) {
        fleet(&home, 10_000);
    }
    peers();
}
