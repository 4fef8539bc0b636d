//! What every reading rests on beside the files of the code: HEAD, index, configuration, ignore and attribute files,
//! packs.
//!
//! While none of it moved, what was read before still counts for every file that was not touched. Asks git nothing, and
//! says that something moved, never what that means.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::git_config::{GitConfig, SYSTEM_ATTRIBUTES};
use super::stamp::{Moment, Stamp};
use super::status_text::unquote;
use crate::git::{home, named_by, seen_from, xdg_dir};

/// In the common git directory (gitrepository-layout(5)); `watch` sees to it that each of them makes events. Directories count for the names in them: packed objects decide
/// how long git's abbreviations are.
pub(super) const COMMON: [&str; 11] = [
    "HEAD",
    "packed-refs",
    "reftable/tables.list",
    "refs/replace",
    "config",
    "shallow",
    "info/exclude",
    "info/attributes",
    "info/grafts",
    "objects/pack",
    "objects/info/alternates",
];
/// In the git directory of the worktree.
pub(super) const OWN: [&str; 5] = [
    "HEAD",
    "index",
    "config.worktree",
    "reftable/tables.list",
    "info/sparse-checkout",
];
/// Of the whole system, where git is built with the usual prefix; git names another one that it reads.
const SYSTEM: &str = "/etc/gitconfig";
/// How many names of names git follows from HEAD (refs.h, git 2.47).
const SYMREFS_MAX: usize = 5;
/// How many object directories that borrow from each other are followed.
const ALTERNATES_MAX: usize = 32;
/// In an object directory, the list of those that it borrows from.
const ALTERNATES: &str = "info/alternates";

/// The state of all that, as stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ground {
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Which directories the worktree and its git directory are; what is in them does not count here.
    places: Vec<Option<(u64, u64)>>,
}

/// Where a worktree's parts lie.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) root: PathBuf,
    pub(super) git_dir: PathBuf,
    pub(super) common_dir: PathBuf,
}

impl Places {
    /// Finds the common git directory of a linked worktree (gitrepository-layout(5), `commondir`).
    pub(super) fn new(root: &Path, git_dir: &Path) -> Self {
        let common_dir = named_by(&git_dir.join("commondir"), b"", git_dir);
        let common_dir = common_dir.unwrap_or_else(|| git_dir.to_owned());
        Self {
            root: root.to_owned(),
            git_dir: git_dir.to_owned(),
            common_dir: common_dir.canonicalize().unwrap_or(common_dir),
        }
    }
}

impl Ground {
    /// Looks at it as it is now.
    pub(super) fn of(places: &Places, config: &GitConfig) -> Self {
        let Places {
            root,
            git_dir,
            common_dir,
        } = places;
        let mut paths: Vec<PathBuf> = COMMON.map(|name| common_dir.join(name)).into();
        paths.extend(OWN.map(|name| git_dir.join(name)));
        paths.push(PathBuf::from(SYSTEM));
        paths.extend(SYSTEM_ATTRIBUTES.map(PathBuf::from));
        paths.extend(head_ref(places));
        paths.extend(alternates(&common_dir.join("objects")));
        paths.extend(config.files().map(Path::to_owned));
        paths.extend(home().map(|home| home.join(".gitconfig")));
        let of_user = ["config", "ignore", "attributes"];
        paths.extend(
            xdg_dir()
                .into_iter()
                .flat_map(|dir| of_user.map(|name| root.join(&dir).join(name))),
        );
        paths.extend(attributes_file(config, root));
        paths.extend(configured(config, "diff.orderfile", root));
        let named = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"].map(std::env::var_os);
        paths.extend(named.into_iter().flatten().map(|file| root.join(file)));
        paths.extend(configured(config, "core.excludesfile", root));
        Self {
            stamps: paths
                .into_iter()
                .map(|path| {
                    // As git does for its own files.
                    let stamp = Stamp::of_followed(&path);
                    (path, stamp)
                })
                .collect(),
            places: which_directories(places),
        }
    }

    /// Returns whether [`Self::of`] would say the same now of one that is settled: which files count stands in files that count.
    pub(super) fn lies_still(&self, places: &Places) -> bool {
        let mut stamps = self.stamps.iter();
        self.places == which_directories(places)
            && stamps.all(|(path, stamp)| Stamp::of_followed(path) == *stamp)
    }

    /// Returns whether none of it changed so shortly before that another change could leave the same stamps.
    pub(super) fn is_settled(&self, moment: &Moment) -> bool {
        self.stamps
            .values()
            .flatten()
            .all(|stamp| moment.settles(stamp))
    }

    /// Returns whether the other is the same, whatever became of this one file.
    pub(super) fn is_as_but_for(&self, other: &Self, file: &Path) -> bool {
        let rest = |ground: &Self| -> Vec<_> {
            let stamps = ground.stamps.iter();
            stamps
                .filter(|(path, _)| path.as_path() != file)
                .map(|(path, stamp)| (path.clone(), *stamp))
                .collect()
        };
        self.places == other.places && rest(self) == rest(other)
    }

    /// Returns the stamp of a file that counts.
    pub(super) fn stamp(&self, path: &Path) -> Option<Stamp> {
        self.stamps.get(path).copied().flatten()
    }
}

fn which_directories(places: &Places) -> Vec<Option<(u64, u64)>> {
    let Places {
        root,
        git_dir,
        common_dir,
    } = places;
    let place = |dir: &PathBuf| Stamp::of_any(dir).map(|stamp| stamp.place());
    [root, &root.join(".git"), git_dir, common_dir]
        .map(place)
        .into()
}

/// The files of the branch that HEAD names, and of those that it names in turn, in both git directories.
fn head_ref(places: &Places) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut text = std::fs::read(places.git_dir.join("HEAD")).unwrap_or_default();
    for _ in 0..SYMREFS_MAX {
        let Some(name) = text.trim_ascii().strip_prefix(b"ref: ") else {
            break;
        };
        let name = OsStr::from_bytes(name);
        let files = [places.common_dir.join(name), places.git_dir.join(name)];
        let next = files.iter().find_map(|file| std::fs::read(file).ok());
        found.extend(files);
        text = next.unwrap_or_default();
    }
    found
}

/// The pack directories, and lists of further ones, of every object directory that this one borrows from.
fn alternates(objects: &Path) -> Vec<PathBuf> {
    let dirs = object_dirs(objects).into_iter();
    dirs.flat_map(|dir| [dir.join(ALTERNATES), dir.join("pack")])
        .collect()
}

/// Returns the object directory `objects` and every one that it borrows from, at most some thirty. A line in quotes is unquoted
/// as far as they are whole (`parse_alt_odb_entry` in object-file.c, git 2.47).
pub(super) fn object_dirs(objects: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![objects.to_owned()];
    while let Some(dir) = waiting.pop() {
        let text = std::fs::read(dir.join(ALTERNATES)).unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n');
        let named = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        waiting.extend(named.map(|line| {
            let quoted = line.strip_prefix(b"\"").and_then(unquote);
            let path = quoted.map_or_else(|| line.to_vec(), |(path, _)| path);
            dir.join(OsStr::from_bytes(&path))
        }));
        found.push(dir);
        if found.len() > ALTERNATES_MAX {
            break;
        }
    }
    found
}

/// Returns the user's own attribute file (`core.attributesFile` in git-config(1)).
fn attributes_file(config: &GitConfig, root: &Path) -> Option<PathBuf> {
    configured(config, "core.attributesfile", root)
        .or_else(|| xdg_dir().map(|dir| root.join(dir).join("attributes")))
}

fn configured(config: &GitConfig, key: &str, root: &Path) -> Option<PathBuf> {
    seen_from(Some(root), config.get(key)?)
}

/// Returns where attribute files outside the worktree may be.
pub(super) fn outer_attributes(places: &Places, config: &GitConfig) -> Vec<PathBuf> {
    let mut files = vec![places.common_dir.join("info/attributes")];
    files.extend(SYSTEM_ATTRIBUTES.map(PathBuf::from));
    files.extend(attributes_file(config, &places.root));
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;
    use crate::scratch_repository::ScratchRepository;

    #[test]
    fn objects_are_borrowed_from_where_git_says_whether_it_quotes_that_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().join("objects");
        std::fs::create_dir_all(objects.join("info")).unwrap();
        let lines = "# none\n../plain\n\"/in \\303\\251\\tquotes\"\n\"/half\n";
        std::fs::write(objects.join(ALTERNATES), lines).unwrap();
        let mut found = object_dirs(&objects);
        found.sort();
        let mut expected = vec![
            objects.clone(),
            objects.join("../plain"),
            PathBuf::from("/in \u{e9}\tquotes"),
            objects.join("\"/half"),
        ];
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_part_of_the_ground_moves_it_and_the_private_directory_does_not() {
        let repository = ScratchRepository::new();
        let root = repository.root();
        let git = Git::at(root);
        let places = Places::new(root, &root.join(".git"));
        let now = || Ground::of(&places, &GitConfig::read(&git, root).unwrap());
        let commit = ["commit", "-q", "--allow-empty", "-m", "x"];
        git.run(&commit).unwrap();
        let mut before = now();
        let steps: [&[&str]; 5] = [
            &commit,
            &["config", "core.abbrev", "9"],
            &["checkout", "-q", "-b", "other"],
            &["config", "include.path", "more"],
            &["gc", "-q"],
        ];
        for step in steps {
            git.run(step).unwrap();
            let after = now();
            assert_ne!(before, after, "{step:?}");
            assert!(!before.lies_still(&places), "{step:?}");
            before = after;
        }
        std::fs::write(root.join(".git/more"), "").unwrap();
        assert_ne!(before, now(), "an included file appears");
        assert!(!before.lies_still(&places));
        before = now();
        std::fs::create_dir(root.join(".git/tracemark")).unwrap();
        std::fs::write(root.join("app.py"), "x").unwrap();
        assert_eq!(before, now());
        assert!(before.lies_still(&places));
        std::fs::rename(root.join(".git"), root.join(".other")).unwrap();
        assert!(!before.lies_still(&places));
    }
}
