//! Is everything of the user's as it was, byte for byte and to the nanosecond, however often the identity is read?

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tracemark::identity;
use tracemark::touched::Touched;

use super::ground::{Ground, alone};
use super::judge::reader;

/// How a repository is kept, how it becomes so, and how many times it is read.
type Kept = (&'static str, fn(&Ground), usize);

const KEPT: [Kept; 7] = [
    ("plainly", |_| {}, 575),
    (
        "with a split index",
        |ground| {
            ground.git(&["config", "core.splitIndex", "true"]);
            ground.git(&["update-index", "--split-index"]);
            let shared = ground.git(&["rev-parse", "--shared-index-path"]);
            assert!(shared.contains("sharedindex."), "{shared:?}");
        },
        75,
    ),
    (
        "with a sparse index",
        |ground| {
            ground.write("far/away.py", "first\n");
            ground.commit_all("far");
            ground.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "pkg"]);
            let listed = ground.git(&["ls-files", "--sparse"]);
            assert!(listed.contains("far/\n"), "{listed:?}");
        },
        75,
    ),
    (
        "with a program that makes files readable, and a cache of what it made",
        |ground| {
            ground.git(&["config", "diff.upper.textconv", "tr a-z A-Z <"]);
            ground.git(&["config", "diff.upper.cachetextconv", "true"]);
            ground.write(".gitattributes", "*.py diff=upper\n");
            ground.commit_all("upper");
        },
        50,
    ),
    (
        "with a hook that watches files",
        |ground| ground.add_fsmonitor("printf 'token\\0/\\0'"),
        75,
    ),
    (
        "with an untracked cache",
        |ground| {
            ground.git(&["config", "core.untrackedCache", "true"]);
            ground.git(&["update-index", "--untracked-cache", "--force-write-index"]);
        },
        75,
    ),
    (
        "with a submodule",
        |ground| {
            ground.add_submodule();
            ground.commit_all("submodule");
            ground.write("sm/inner.txt", "changed\n");
        },
        75,
    ),
];
/// How many times each is asked for by command.
const COMMANDS: usize = 10;

#[test]
fn a_thousand_readings_leave_repository_and_worktree_as_they_were() {
    alone(|| {
        assert_eq!(
            KEPT.iter().map(|(_, _, readings)| readings).sum::<usize>(),
            1000
        );
        let wrong: Vec<_> = KEPT.iter().filter_map(what_was_touched).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

fn what_was_touched((name, keep, readings): &Kept) -> Option<String> {
    let ground = Ground::in_the_middle_of_work(*keep);
    let private = ground.worktree().private_dir();
    let before = snapshot(&ground, &private);
    read_often(&ground, *readings);
    let after = snapshot(&ground, &private);
    let left: Vec<_> = std::fs::read_dir(&private).unwrap().flatten().collect();
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let touched: Vec<_> = paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    let fine = touched.is_empty() && left.len() <= KEPT_FILES;
    (!fine).then(|| format!("kept {name}: {touched:?} were touched, {left:?} are left"))
}

/// A reader may keep so many files of its own.
const KEPT_FILES: usize = 3;

fn read_often(ground: &Ground, readings: usize) {
    let worktree = ground.worktree();
    let mut reader = reader(&worktree);
    let paths = [
        "changed.py",
        "staged.py",
        "new.py",
        ".git/index",
        ".git/HEAD",
        "touched.py",
        "no/such/file",
        "pkg",
        ".gitignore",
    ];
    let index = worktree.git_dir.join("index");
    let expected = identity::read(ground.root(), &index, None).unwrap();
    for n in 0..readings {
        let some = paths
            .iter()
            .enumerate()
            .filter(|(at, _)| n >> (at % 5) & 1 == 1);
        let touched = match n % 10 {
            0 => Touched::Everything,
            _ => Touched::Paths(some.map(|(_, path)| ground.at(path)).collect()),
        };
        assert_eq!(reader.read(&touched).unwrap(), expected);
    }
    for n in 0..COMMANDS {
        let naming = ["git-hash", "tree"][n % 2];
        ground.tracemark(&["hash", "--naming", naming]).ok();
    }
}

impl Ground {
    /// Files changed, staged, touched, new and ignored, just now, so that git cannot go by their times.
    fn in_the_middle_of_work(keep: fn(&Self)) -> Self {
        let ground = Self::new(&[]);
        ground.write(".gitignore", "*.log\n");
        for file in [
            "changed.py",
            "staged.py",
            "touched.py",
            "gone.py",
            "pkg/same-size.py",
        ] {
            ground.write(file, "first\n");
        }
        ground.commit_all("first");
        ground.git(&["repack", "-adq"]);
        keep(&ground);
        ground.write("staged.py", "staged\n");
        ground.git(&["add", "staged.py"]);
        for (file, text) in [
            ("changed.py", "changed\n"),
            ("new.py", "new\n"),
            ("x.log", "log\n"),
            ("touched.py", "first\n"),
            ("pkg/same-size.py", "FIRST\n"),
        ] {
            ground.write(file, text);
        }
        std::fs::remove_file(ground.at("gone.py")).unwrap();
        ground
    }
}

/// What there is to know of a path but when it was read.
#[derive(Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    mode: u32,
    written: (i64, i64),
    changed: (i64, i64),
    content: Vec<u8>,
}

fn snapshot(ground: &Ground, private: &Path) -> BTreeMap<PathBuf, State> {
    let mut states = BTreeMap::new();
    let mut waiting = vec![ground.root().to_owned()];
    while let Some(path) = waiting.pop() {
        if path == private {
            continue;
        }
        let metadata = path.symlink_metadata().unwrap();
        let mut content = Vec::new();
        if metadata.is_dir() {
            waiting.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            content = std::fs::read(&path).unwrap();
        }
        let state = State {
            inode: metadata.ino(),
            mode: metadata.mode(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            content,
        };
        states.insert(path, state);
    }
    states
}
