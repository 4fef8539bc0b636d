//! What a file watcher would report of a change: found by looking at everything before and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tracemark::repository::Worktree;

/// A watcher of one repository.
pub(super) struct Watch {
    root: PathBuf,
    git_dirs: BTreeSet<PathBuf>,
    /// Beside the worktree: the user's own configuration.
    more: Vec<PathBuf>,
    scene: Scene,
}

/// What there is to see.
type Scene = BTreeMap<PathBuf, Sight>;

/// What makes two looks at a path differ.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    is_dir: bool,
    place: (u64, u32),
    times: [(i64, i64); 2],
    content: u64,
}

impl Watch {
    /// Begins to watch the worktree, its git directories, and what lies at or below the paths in `more`.
    pub(super) fn begin(worktree: &Worktree, more: &[PathBuf]) -> Self {
        let git_dirs = [&worktree.git_dir, &worktree.common_dir];
        let mut watch = Self {
            root: worktree.root.clone(),
            git_dirs: git_dirs.into_iter().cloned().collect(),
            more: more.to_vec(),
            scene: Scene::new(),
        };
        watch.scene = watch.look();
        watch
    }

    /// Takes the paths that were touched since the last call. What lies in a directory that appeared or went away may have
    /// escaped: `escaped` says which of it did.
    pub(super) fn take(&mut self, escaped: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
        let now = self.look();
        let touched = touched(&self.scene, &now, escaped);
        self.scene = now;
        touched
    }

    /// True when there was nothing to see since the last call of [`Watch::take`].
    pub(super) fn sees_nothing_new(&self) -> bool {
        touched(&self.scene, &self.look(), |_| false).is_empty()
    }

    fn look(&self) -> Scene {
        let mut scene = Scene::new();
        let mut waiting: Vec<PathBuf> = self.git_dirs.iter().cloned().collect();
        waiting.push(self.root.clone());
        waiting.extend(self.more.iter().cloned());
        while let Some(path) = waiting.pop() {
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            if metadata.is_dir() {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                waiting.extend(entries.map(|entry| entry.path()));
            }
            if let Some(times_count) = self.reported(&path) {
                scene.insert(path.clone(), Sight::of(&path, &metadata, times_count));
            }
        }
        scene
    }

    /// `None` where nobody watches; otherwise whether a change of times and mode alone is reported.
    fn reported(&self, path: &Path) -> Option<bool> {
        let own = self
            .git_dirs
            .iter()
            .rev()
            .find_map(|dir| path.strip_prefix(dir).ok());
        if let Some(inside) = own {
            return matters_to_git(inside).then_some(false);
        }
        let Ok(inside) = path.strip_prefix(&self.root) else {
            return Some(true);
        };
        let mut nested = inside.iter().skip_while(|part| *part != ".git").skip(1);
        let (first, second) = (nested.next(), nested.next());
        let watched = first.is_none_or(|first| first == "refs") || second.is_none();
        watched.then_some(true)
    }
}

fn matters_to_git(inside: &Path) -> bool {
    let mut names = inside.iter().filter_map(|name| name.to_str());
    let is_part = |name: &str| {
        [
            "HEAD",
            "index",
            "packed-refs",
            "config",
            "config.worktree",
            "refs",
            "reftable",
            "info",
            "shallow",
        ]
        .contains(&name)
    };
    let is_lock = inside
        .extension()
        .is_some_and(|extension| extension == "lock");
    !is_lock
        && match names.next() {
            Some("objects") => names.next() == Some("pack"),
            Some("modules" | "worktrees") => {
                !names
                    .clone()
                    .any(|name| matches!(name, "tracemark" | "logs"))
                    && names.any(is_part)
            }
            first => first.is_some_and(is_part),
        }
}

impl Sight {
    fn of(path: &Path, metadata: &std::fs::Metadata, times_count: bool) -> Self {
        let mut content = DefaultHasher::new();
        let kind = metadata.file_type();
        if kind.is_symlink() {
            content.write(
                std::fs::read_link(path)
                    .unwrap_or_default()
                    .as_os_str()
                    .as_encoded_bytes(),
            );
        } else if kind.is_file() {
            content.write(&std::fs::read(path).unwrap_or_default());
        } else if kind.is_fifo() {
            content.write(b"fifo");
        }
        let is_dir = metadata.is_dir();
        let times = [
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        ];
        Self {
            is_dir,
            place: (
                metadata.ino(),
                if times_count { metadata.mode() } else { 0 },
            ),
            times: if times_count && !is_dir {
                times
            } else {
                Default::default()
            },
            content: content.finish(),
        }
    }
}

fn touched(before: &Scene, after: &Scene, escaped: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let all: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let differs = |path: &Path| before.get(path) != after.get(path);
    let is_moved_dir = |path: &Path| {
        let sights = [before.get(path), after.get(path)];
        let [old, new] = sights.map(|sight| sight.map(|sight| sight.place.0));
        old != new && sights.into_iter().flatten().any(|sight| sight.is_dir)
    };
    all.into_iter()
        .filter(|path| differs(path))
        .filter(|path| !path.ancestors().skip(1).any(is_moved_dir) || !escaped(path))
        .cloned()
        .collect()
}
