//! Random walks: whatever a person does to a repository, every way to the identity gives one answer after every step.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use tracemark::touched::Touched;

use super::eyes::Watch;
use super::ground::{Ground, alone, home};
use super::judge::{Answers, Truth, readers};
use super::operations::{Op, content, edit, op};
use crate::cases::random;

/// How the change of a step is told to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// With the next step's.
    Later,
    Exactly,
    /// With paths that nothing happened to.
    More,
    Everything,
}

#[derive(Debug, Clone)]
struct Step {
    op: Op,
    told: Told,
    /// How many in four of the paths in new and gone directories escape the watcher.
    escaping: usize,
    /// Whether the oracle's git is given the index itself, which it brings up to date.
    in_place: bool,
}

fn steps(op: BoxedStrategy<Op>, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let told = prop_oneof![
        4 => Just(Told::Later),
        8 => Just(Told::Exactly),
        3 => Just(Told::More),
        1 => Just(Told::Everything),
    ];
    let step = (op, told, 0..=4usize, proptest::bool::weighted(0.2)).prop_map(
        |(op, told, escaping, in_place)| Step {
            op,
            told,
            escaping,
            in_place,
        },
    );
    proptest::collection::vec(step, 4..most)
}

/// How the repository of a walk is kept.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Linked,
    SplitIndex,
    Sha256,
    Reftable,
    WithSubmodule,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Plain),
        1 => Just(Kind::Linked),
        1 => Just(Kind::SplitIndex),
        1 => Just(Kind::Sha256),
        1 => Just(Kind::Reftable),
        1 => Just(Kind::WithSubmodule),
    ]
}

impl Ground {
    /// A repository of that kind with three commits on two branches that conflict.
    fn with_branches(kind: Kind) -> Self {
        let mut ground = Self::new(match kind {
            Kind::Sha256 => &["--object-format=sha256"],
            Kind::Reftable => &["--ref-format=reftable"],
            _ => &[],
        });
        for (file, kind) in [
            ("a.py", 7),
            ("b.txt", 7),
            ("c.txt", 6),
            ("data/e.bin", 4),
            ("pkg/c.py", 7),
            ("pkg/deep/d.txt", 1),
        ] {
            ground.write(file, content(kind, 0));
        }
        for (file, text) in [
            (".gitignore", "*.log\nign/\n"),
            ("ign/cache", "1\n"),
            ("../outside", "1\n"),
        ] {
            ground.write(file, text);
        }
        if matches!(kind, Kind::WithSubmodule) {
            ground.add_submodule();
        }
        ground.commit_all("first");
        ground.git(&["checkout", "-q", "-b", "side"]);
        ground.write("a.py", content(7, 3));
        ground.write("side.txt", "side\n");
        ground.commit_all("side");
        ground.git(&["checkout", "-q", "main"]);
        ground.write("a.py", content(7, 23));
        ground.commit_all("second");
        match kind {
            Kind::Linked => {
                ground.git(&["checkout", "-q", "--detach"]);
                ground.git(&["worktree", "add", "-q", "../linked", "main"]);
                ground = ground.in_place("linked");
                ground.write("ign/cache", "1\n");
            }
            Kind::SplitIndex => drop(ground.git(&["update-index", "--split-index"])),
            _ => {}
        }
        ground.touch_all(&["-d", "2020-01-01"]).unwrap();
        ground.git(&["update-index", "-q", "--refresh"]);
        ground.wait().unwrap();
        ground
    }
}

/// A walk from its first step on.
struct Walk {
    ground: Ground,
    watch: Watch,
    untold: BTreeSet<PathBuf>,
}

impl Walk {
    fn begin(kind: Kind) -> Self {
        for file in [".gitconfig", ".config"] {
            let path = home().join(file);
            drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
        }
        let ground = Ground::with_branches(kind);
        let users = [".gitconfig", ".config/git"].map(|file| home().join(file));
        Self {
            watch: Watch::begin(&ground.worktree(), &users),
            ground,
            untold: BTreeSet::new(),
        }
    }

    fn take(&mut self, step: &Step) -> Option<Touched> {
        self.ground.apply(&step.op);
        let escapes = |path: &Path| path.as_os_str().len() % 4 < step.escaping;
        self.untold.extend(self.watch.take(escapes));
        match step.told {
            Told::Later => return None,
            Told::Everything => {
                self.untold.clear();
                return Some(Touched::Everything);
            }
            Told::Exactly => {}
            Told::More => {
                let more = [
                    "b.txt",
                    "ign/cache",
                    "missing/path",
                    "pkg",
                    ".git/FETCH_HEAD",
                    ".gitignore",
                    "",
                ];
                self.untold.extend(more.map(|path| self.ground.at(path)));
            }
        }
        Some(Touched::Paths(std::mem::take(&mut self.untold)))
    }
}

fn walk(kind: Kind, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut walk = Walk::begin(kind);
    let worktree = walk.ground.worktree();
    let mut readers = readers(&worktree);
    for (n, step) in steps.iter().enumerate() {
        let Some(touched) = walk.take(step) else {
            continue;
        };
        let answers = Answers::ask(&worktree, &mut readers, &touched);
        let untouched = walk.watch.sees_nothing_new();
        let truth = if step.in_place {
            Truth::of(&|program| walk.ground.command(program))
        } else {
            Truth::leaving_the_index(&walk.ground, &worktree)
        };
        let verdict = if untouched {
            answers.agree_with(&truth)
        } else {
            Err("the reading changed something".to_owned())
        };
        let told = |why| TestCaseError::fail(format!("step {n}, {step:?}, {touched:?}\n{why}"));
        verdict.map_err(told)?;
    }
    Ok(())
}

#[test]
fn every_way_to_the_identity_gives_one_answer_after_every_step_of_a_walk() {
    alone(|| {
        let walks = (kind(), prop_oneof![steps(op(), 20), steps(edit(), 30)]);
        match TestRunner::new(random(16)).run(&walks, |(kind, steps)| walk(kind, &steps)) {
            Ok(()) => {}
            Err(TestError::Fail(why, (kind, steps))) => {
                let steps: Vec<_> = steps.iter().map(|step| format!("{step:?}")).collect();
                panic!("{why}\nin a walk of {kind:?}:\n{}", steps.join("\n"));
            }
            Err(abort) => panic!("{abort}"),
        }
    });
}
