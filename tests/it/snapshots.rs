//! Does the code of every version come back byte for byte, whatever happens to the repository, and does the repository never
//! notice?

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use tracemark::git::Git;
use tracemark::identity::files::Files;
use tracemark::identity::reader::WorktreeReader;
use tracemark::ids::ContentId;
use tracemark::snapshot::{Held, Limits, Occasion, Record, Snapshots, Why};
use tracemark::touched::Touched;

use crate::cases::{self, times};
use crate::doctor::{brings_back, findings, kept_version, packs};
use crate::history::{Past, past_in_a_file};
use crate::python::sqlite_store;
use crate::world::{World, wait_until};
use serde_json::Value;

const LIMITS: Limits = Limits {
    file: 1 << 20,
    quota: 1 << 30,
};

/// What lies at a path: a file with its executable bit and bytes, or a link with its text.
type Lying = BTreeMap<Vec<u8>, (char, Vec<u8>)>;

/// Every file below a directory, without the git directories.
fn lying(top: &Path) -> Lying {
    let mut found = Lying::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            if entry.file_name() == ".git" {
                continue;
            }
            let metadata = path.symlink_metadata().unwrap();
            let name = path
                .strip_prefix(top)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec();
            if metadata.is_dir() {
                waiting.push(path);
            } else if metadata.is_symlink() {
                let target = path.read_link().unwrap();
                found.insert(name, ('l', target.as_os_str().as_bytes().to_vec()));
            } else {
                let is_executable = metadata.permissions().mode() & 0o100 != 0;
                let kind = if is_executable { 'x' } else { '-' };
                found.insert(name, (kind, std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// A repository whose states are kept, and a reader as the daemon has one.
struct Keeper {
    world: World,
    reader: WorktreeReader,
    snapshots: Snapshots,
    last: Option<Arc<Held>>,
}

/// A state that was read, and whose bytes are held.
struct Taken {
    held: Arc<Held>,
    content: ContentId,
    dirty: bool,
    head: Option<String>,
    objects: BTreeMap<PathBuf, SystemTime>,
}

impl Keeper {
    fn new(world: World) -> Self {
        let (root, common) = (root(&world), root(&world).join(".git"));
        std::fs::create_dir_all(common.join("tracemark")).unwrap();
        Self {
            reader: WorktreeReader::new(&root, &common, &common.join("tracemark")),
            snapshots: Snapshots::of(&common),
            world,
            last: None,
        }
    }

    fn files(&mut self, touched: &Touched) -> (ContentId, bool, Files) {
        let reading = self.reader.read(touched).unwrap();
        let files = self.reader.files().unwrap_or_else(|| {
            let root = root(&self.world);
            let (content, files) = Files::read(&Git::at(&root), &root, None).unwrap();
            assert_eq!(content, reading.content);
            files
        });
        (reading.content, reading.dirty, files)
    }

    /// The user's objects, loose and packed, each with its time, and their directories.
    fn objects(&self) -> BTreeMap<PathBuf, SystemTime> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.world.repo().join(".git/objects")];
        while let Some(path) = waiting.pop() {
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                let entries = std::fs::read_dir(&path).unwrap().flatten();
                waiting.extend(entries.map(|entry| entry.path()));
            }
            found.insert(path, metadata.modified().unwrap());
        }
        found
    }

    fn take(&mut self, touched: &Touched) -> Taken {
        let objects = self.objects();
        let (content, dirty, files) = self.files(touched);
        let mut git = self.world.command("git");
        let head = git.args(["rev-parse", "-q", "--verify", "HEAD"]).output();
        let head = String::from_utf8(head.unwrap().stdout).unwrap();
        let head = Some(head.trim().to_owned()).filter(|head| !head.is_empty());
        let root = root(&self.world);
        let private = root.join(".git/tracemark");
        let place = (root.as_path(), head.as_deref());
        let last = self.last.as_deref();
        let held = self
            .snapshots
            .hold(place, &files, &LIMITS, last, &private)
            .unwrap();
        Taken {
            held: Arc::new(held),
            content,
            dirty,
            head,
            objects,
        }
    }

    /// Packs what is held, whatever the files are by now.
    fn pack(&mut self, name: &str, taken: &Taken) -> Record {
        let occasion = Occasion {
            root: &root(&self.world),
            name,
            key: taken.content.as_str(),
            content: taken.content.as_str(),
            head: taken.head.as_deref(),
            branch: None,
            dirty: taken.dirty,
            at_ms: self.snapshots.records().unwrap().len() as u64,
        };
        let record = self
            .snapshots
            .keep_held(&occasion, &taken.held, &LIMITS)
            .unwrap();
        self.last = Some(Arc::new(taken.held.stored()));
        let told = "nothing is written beside the user's objects";
        assert_eq!(self.objects(), taken.objects, "{told}");
        record
    }

    fn keep(&mut self, name: &str) -> Record {
        let taken = self.take(&Touched::Everything);
        self.pack(name, &taken)
    }

    /// What is not committed, as git tells it where nothing is staged.
    fn changes(&self) -> String {
        let index = self.world.base().join("unstaged-index");
        let _new = std::fs::remove_file(&index);
        let git = || {
            let mut git = self.world.command("git");
            git.env("GIT_INDEX_FILE", &index);
            git
        };
        let read = git().args(["read-tree", "HEAD"]).status().unwrap();
        assert!(read.success());
        git_status(&mut git(), ".")
    }

    /// Brings a version back as a linked worktree; returns what lies there then and what git says of it.
    fn linked(&self, record: &Record) -> (Lying, String) {
        let dir = self.world.base().join("linked");
        let root = root(&self.world);
        let restored = self
            .snapshots
            .restore(record, &root, &dir, false, &AtomicBool::new(false))
            .unwrap();
        assert!(restored.linked, "{record:?}");
        let (lies, at) = (lying(&dir), dir.to_str().unwrap());
        let told = git_status(&mut self.world.command("git"), at);
        self.world.git(&["worktree", "remove", "--force", at]);
        (lies, told)
    }

    /// Brings a version back and returns what lies there then.
    fn restored(&self, record: &Record, plain: bool) -> Lying {
        let dir = self.world.base().join("restored");
        let restored = self
            .snapshots
            .restore(
                record,
                &root(&self.world),
                &dir,
                plain,
                &AtomicBool::new(false),
            )
            .unwrap();
        let lies = lying(&dir);
        if restored.linked {
            let dir = dir.to_str().unwrap();
            self.world.git(&["worktree", "remove", "--force", dir]);
        } else {
            std::fs::remove_dir_all(&dir).unwrap();
        }
        lies
    }
}

/// What git says of a worktree, without the repositories in it.
fn git_status(git: &mut Command, dir: &str) -> String {
    let status = ["-C", dir, "status", "--porcelain", "-uall", "--no-renames"];
    let inside = ["--", ".", ":(exclude)sub", ":(exclude)nested"];
    let said = git.args(status).args(inside).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

fn root(world: &World) -> PathBuf {
    world.repo().canonicalize().unwrap()
}

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn name(&mut self) -> &'static [u8] {
        NAMES[self.below(NAMES.len())]
    }
}

const NAMES: [&[u8]; 16] = [
    b"app.py",
    b"deep/er/model.py",
    b"deep/prompt.txt",
    b"notes.txt",
    b"a b/c d.txt",
    b"lat\xe9in.txt",
    b"new\nline",
    b"back\\slash",
    "sch\u{f6}n.py".as_bytes(),
    b"run.sh",
    b"dos.crlf",
    b"stamp.id",
    b"loud.up",
    b"deep/wide.w16",
    b"data.bin",
    b"empty",
];

const ATTRIBUTES: &str = "*.txt text=auto\n*.crlf text eol=crlf\n*.id ident\n*.up filter=up\n*.w16 text working-tree-encoding=UTF-16LE\n";

fn bytes_for(name: &[u8], dice: &mut Dice) -> Vec<u8> {
    let lines: Vec<_> = (0..dice.below(12))
        .map(|_| format!("line {}", dice.below(40)))
        .collect();
    let text = match dice.below(3) {
        0 => lines.join("\r\n") + "\r\n",
        1 => lines.join("\n") + "\r\nmixed\n",
        _ => lines.join("\n"),
    };
    if name.ends_with(b".w16") {
        let text = text.replace('\r', "");
        return text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    }
    if name.ends_with(b".id") {
        return format!("$Id$\n{text}").into_bytes();
    }
    if name.ends_with(b".bin") {
        return (0..dice.below(3000))
            .map(|_| u8::try_from(dice.below(256)).unwrap())
            .collect();
    }
    if name.ends_with(b"empty") {
        return Vec::new();
    }
    text.into_bytes()
}

/// Takes away whatever lies at a path.
fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn edit(world: &World, dice: &mut Dice, inside: bool) {
    let name = dice.name();
    let top = match dice.below(6) {
        0 if inside => world.repo().join("sub"),
        1 if inside => world.repo().join("nested"),
        _ => world.repo(),
    };
    let path = top.join(OsStr::from_bytes(name));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    match dice.below(10) {
        0 => clear(&path),
        1 => {
            clear(&path);
            let target = dice.name();
            symlink(OsStr::from_bytes(target), &path).unwrap();
        }
        2 if path.is_file() && !path.is_symlink() => {
            let mode = if dice.below(2) == 0 { 0o755 } else { 0o644 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        3 => {
            let other = dice.name();
            let other = top.join(OsStr::from_bytes(other));
            let has_place = other.parent().unwrap().is_dir();
            // A name that decides on conversion would have to hold what it converts.
            let fits = other.extension() == path.extension();
            if path.symlink_metadata().is_ok() && has_place && fits {
                std::fs::rename(&path, &other).unwrap();
            }
        }
        _ => {
            if path.is_symlink() {
                clear(&path);
            }
            std::fs::write(&path, bytes_for(name, dice)).unwrap();
        }
    }
}

/// What people do to a repository.
fn disturb(world: &World, dice: &mut Dice, inside: bool) {
    let many = world.git(&["rev-list", "--count", "HEAD"]) != "1";
    match dice.below(16) {
        0 => add_ours(world),
        1 | 2 => {
            add_ours(world);
            world.git(&["commit", "-q", "--allow-empty", "-m", "next"]);
        }
        3 => {
            add_ours(world);
            world.git(&["commit", "-q", "--amend", "--allow-empty", "-m", "amended"]);
        }
        4 if many => drop(world.git(&["reset", "-q", "--soft", "HEAD~1"])),
        5 => drop(world.git(&["checkout", "-q", "-B", "side"])),
        6 => {
            world.git(&["checkout", "-q", "-B", "main"]);
            let branches = world.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
            if branches.lines().any(|branch| branch == "side") {
                world.git(&["branch", "-q", "-D", "side"]);
            }
        }
        7 => drop(world.git(&["repack", "-adfq"])),
        8 => forget_everything(world),
        9 | 10 if many => rebase(world),
        11 if inside => {
            for dir in ["sub", "nested"] {
                world.git(&["-C", dir, "add", "-A"]);
                world.git(&["-C", dir, "commit", "-q", "--allow-empty", "-m", "inside"]);
            }
        }
        _ => {}
    }
}

/// The last commit becomes another one by `git rebase`; what lies in the worktree stays.
fn rebase(world: &World) {
    let side = world.base().join("rebase");
    let at = side.to_str().unwrap();
    world.git(&["worktree", "add", "-q", "--detach", at]);
    let reword = "git commit -q --amend --allow-empty -m rebased";
    let upstream = ["rebase", "-q", "--keep-empty", "--exec", reword, "HEAD~1"];
    world.git(&[&["-C", at][..], &upstream].concat());
    let rebased = world.git(&["-C", at, "rev-parse", "HEAD"]);
    world.git(&["worktree", "remove", "--force", at]);
    world.git(&["reset", "-q", "--soft", &rebased]);
}

/// A nested repository stays untracked: git takes one in only with a commit.
fn add_ours(world: &World) {
    world.git(&["add", "-A", "--", ".", ":(exclude)nested"]);
}

/// Everything that no branch reaches is gone afterwards, and every pack is another one.
fn forget_everything(world: &World) {
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.git(&["gc", "-q", "--prune=now"]);
    world.git(&["repack", "-adfq"]);
}

fn walk(seed: u64, steps: u64, inside: bool) {
    let world = World::with_commit();
    world.git(&["config", "core.safecrlf", "false"]);
    if inside {
        world.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
        world.git(&["config", "filter.up.smudge", "tr A-Z a-z"]);
        world.add_submodule();
        world.git(&["init", "-q", "nested"]);
    }
    world.write(".gitattributes", ATTRIBUTES);
    world.commit_ours();
    let mut keeper = Keeper::new(world);
    let mut dice = Dice(cases::seed(seed));
    let mut expected = Vec::new();
    for step in 0..steps * times() as u64 {
        for _ in 0..=dice.below(3) {
            edit(&keeper.world, &mut dice, inside);
        }
        let taken = keeper.take(&Touched::Everything);
        let (lay, changes) = (lying(&keeper.world.repo()), keeper.changes());
        edit(&keeper.world, &mut dice, inside);
        let record = keeper.pack(&format!("{step}"), &taken);
        if record.head.is_some() {
            let (back, told) = keeper.linked(&record);
            assert_eq!(back, lay, "{step}: {record:?}");
            assert_eq!(told, changes, "{step}: {record:?}");
        }
        expected.push((record, lay));
        disturb(&keeper.world, &mut dice, inside);
    }
    keeper.world.git(&["checkout", "-q", "--orphan", "empty"]);
    keeper.world.git(&["rm", "-rqf", "--cached", "."]);
    keeper
        .world
        .git(&["commit", "-q", "--allow-empty", "-m", "nothing is left"]);
    keeper
        .world
        .git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"])
        .lines()
        .filter(|branch| *branch != "empty")
        .for_each(|branch| drop(keeper.world.git(&["branch", "-q", "-D", branch])));
    forget_everything(&keeper.world);
    for (step, (record, lay)) in expected.iter().enumerate() {
        assert!(record.is_whole(), "{step}: {record:?}");
        let found = keeper.restored(record, false);
        assert_eq!(names(&found), names(lay), "{step}: {record:?}");
        assert_eq!(found, *lay, "{step}: {record:?}");
    }
}

fn names(lying: &Lying) -> Vec<String> {
    lying
        .keys()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[test]
fn every_state_of_a_plain_repository_comes_back_after_all_of_it_is_gone() {
    walk(1, 140, false);
}

#[test]
fn every_state_with_filters_submodules_and_nested_repositories_comes_back_after_all_of_it_is_gone()
{
    walk(2, 60, true);
}

/// What anybody can see of a repository without looking into `.git/tracemark`.
fn outside(world: &World) -> String {
    let mirror = world.base().join("mirror.git");
    let _new = std::fs::remove_dir_all(&mirror);
    let at = mirror.to_str().unwrap();
    world.git(&["init", "-q", "--bare", at]);
    world.git(&["push", "-q", "--mirror", at]);
    let told = [
        &["fsck", "--full", "--strict", "--unreachable"][..],
        &["log", "--all", "--format=raw"],
        &["for-each-ref"],
        &["count-objects", "-v"],
        &["status", "--porcelain", "--ignored"],
        &["worktree", "list"],
        &["-C", at, "for-each-ref"],
        &["-C", at, "rev-list", "--all", "--objects"],
        &["rev-parse", "--short=4", "HEAD"],
    ];
    told.map(|command| world.git(command)).join("\n")
}

fn with_filters_and_submodules() -> World {
    let world = World::with_commit();
    world.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
    world.git(&["config", "filter.up.smudge", "tr A-Z a-z"]);
    world.write(".gitattributes", ATTRIBUTES);
    world.add_submodule();
    world.commit_ours();
    world.git(&["init", "-q", "nested"]);
    world
}

fn nothing_outside_tells_of_a_snapshot(world: World, file: &str) {
    let mut keeper = Keeper::new(world);
    let own = keeper.world.repo().join(".git/tracemark");
    let files = |keeper: &Keeper| {
        let mut files = keeper.world.files_with_times(".git");
        files.retain(|path, _| !path.starts_with(&own));
        files
    };
    keeper.world.write("untracked.txt", "new\r\n");
    keeper.world.write(file, "changed");
    let told = outside(&keeper.world);
    let before = files(&keeper);
    for step in 0..30 {
        keeper.world.write(file, format!("changed {step}\r\n"));
        keeper.keep(&step.to_string());
    }
    keeper.world.write(file, "changed");
    let after = files(&keeper);
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> = paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert_eq!(changed, Vec::<&PathBuf>::new());
    assert_eq!(outside(&keeper.world), told);
}

#[test]
fn nothing_outside_of_its_own_directory_tells_of_a_snapshot() {
    let world = World::with_commit();
    world.write(".gitattributes", ATTRIBUTES);
    world.write("loud.txt", "windows\r\n");
    world.commit("second");
    nothing_outside_tells_of_a_snapshot(world, "app.py");
}

#[test]
fn nothing_outside_of_its_own_directory_tells_of_a_snapshot_with_filters_and_submodules() {
    for file in ["loud.up", "sub/in.py"] {
        nothing_outside_tells_of_a_snapshot(with_filters_and_submodules(), file);
    }
}

#[test]
fn secrets_and_large_files_are_named_and_not_kept_until_they_are_committed() {
    let world = World::with_commit();
    let mut keeper = Keeper::new(world);
    keeper.world.write(".env", "TOKEN=1");
    keeper.world.write(".env.example", "TOKEN=");
    keeper.world.write("weights.bin", vec![7; (1 << 20) + 1]);
    let record = keeper.keep("partly");
    let left_out: Vec<_> = record
        .left_out
        .iter()
        .map(|file| (file.path.as_str(), file.why))
        .collect();
    assert_eq!(
        left_out,
        [(".env", Why::Secret), ("weights.bin", Why::TooLarge)]
    );
    let restored = keeper.restored(&record, false);
    assert_eq!(names(&restored), [".env.example", "app.py"]);
    let objects = keeper
        .snapshots
        .git()
        .run(&["cat-file", "--batch-all-objects", "--batch"])
        .unwrap()
        .stdout;
    assert!(!String::from_utf8_lossy(&objects).contains("TOKEN=1"));

    keeper.world.write("app.py", "another");
    let again = keeper.keep("again");
    assert_eq!(again.left_out, record.left_out);
    std::fs::remove_file(keeper.world.repo().join("weights.bin")).unwrap();
    keeper.world.commit("the secret is everybody's now");
    assert!(keeper.keep("whole").is_whole());
}

#[test]
fn a_file_that_changed_after_it_was_read_makes_no_snapshot() {
    let world = World::with_commit();
    let mut keeper = Keeper::new(world);
    keeper.world.write("app.py", "read");
    let (content, _, files) = keeper.files(&Touched::Everything);
    keeper.world.write("app.py", "then changed");
    let occasion = Occasion {
        root: &root(&keeper.world),
        name: "torn",
        key: content.as_str(),
        content: content.as_str(),
        head: None,
        branch: None,
        dirty: true,
        at_ms: 1,
    };
    let refused = keeper
        .snapshots
        .keep_held(
            &occasion,
            &Held::unheld(&root(&keeper.world), None, &files),
            &LIMITS,
        )
        .unwrap_err();
    assert!(refused.to_string().contains("app.py"), "{refused}");
    assert_eq!(keeper.snapshots.records().unwrap(), []);
}

#[test]
fn what_a_partial_clone_lacks_is_named() {
    let origin = World::with_commit();
    origin.write("big/model.txt", "far away");
    origin.commit("second");
    origin.git(&["config", "uploadpack.allowFilter", "true"]);
    let mut world = World::without_repository();
    world.set("GIT_CONFIG_COUNT", "0");
    let url = format!("file://{}", origin.repo().display());
    let repo = world.repo();
    world.git(&[
        "clone",
        "-q",
        "--filter=blob:none",
        "--sparse",
        &url,
        repo.to_str().unwrap(),
    ]);
    let mut keeper = Keeper::new(world);
    let record = keeper.keep("sparse");
    let left_out: Vec<_> = record
        .left_out
        .iter()
        .map(|file| (file.path.as_str(), file.why))
        .collect();
    assert_eq!(left_out, [("big/model.txt", Why::NotHere)]);
    assert_eq!(names(&keeper.restored(&record, true)), ["app.py"]);
}

#[test]
fn repositories_of_sha256_and_reftable_are_kept_too() {
    let world = World::without_repository();
    let repo = world.repo();
    world.git(&[
        "init",
        "-q",
        "-b",
        "main",
        "--object-format=sha256",
        "--ref-format=reftable",
        repo.to_str().unwrap(),
    ]);
    world.write("app.py", "one");
    world.commit("first");
    let mut keeper = Keeper::new(world);
    keeper.world.write("app.py", "two");
    keeper.world.write("new.py", "three");
    let (record, lay) = (keeper.keep("two"), lying(&keeper.world.repo()));
    keeper.world.git(&["checkout", "-q", "-f", "main"]);
    assert_eq!(keeper.restored(&record, false), lay);
}

/// The words of a command's answer, from a repository that is tracked and has one version for each text of `app.py`.
pub(crate) fn told(world: &World, arguments: &[&str]) -> String {
    world.tracemark(arguments).ok()
}

/// A commit, a version of an edit, and a third text on the disk that nobody asked about.
pub(crate) struct Edited {
    pub(crate) world: World,
    pub(crate) store: String,
    pub(crate) clean: String,
    pub(crate) second: String,
    pub(crate) name: String,
    pub(crate) content: String,
}

pub(crate) fn edited() -> Edited {
    let world = World::with_commit();
    let store = crate::python::sqlite_store(world.base());
    told(&world, &["up", "--store", &store]);
    let clean = told(&world, &["active"]).trim().to_owned();
    world.write("app.py", "print('second')\n");
    world.write("prompts/x.md", "Be brief.\n");
    let active: serde_json::Value =
        serde_json::from_str(&told(&world, &["active", "--json"])).unwrap();
    let [second, name, content] =
        ["model_id", "name", "content"].map(|key| active[key].as_str().unwrap().to_owned());
    world.write("app.py", "print('third')\n");
    Edited {
        world,
        store,
        clean,
        second,
        name,
        content,
    }
}

#[test]
fn from_any_id_the_exact_code_comes_back_and_is_compared() {
    let Edited {
        world,
        second,
        name,
        content,
        ..
    } = edited();
    let lay = |dir: &str| lying(&world.base().join(dir));
    let head = world.git(&["rev-parse", "HEAD"]);
    for (dir, id) in [("r1", &second[..8]), ("r2", &name), ("r3", &content[..10])] {
        let at = format!("../{dir}");
        let said = told(&world, &["restore", id, &at]);
        assert!(said.contains("a linked worktree"), "{said}");
        assert_eq!(lay(dir)[&b"app.py"[..]].1, b"print('second')\n");
        assert_eq!(world.git(&["-C", &at, "rev-parse", "HEAD"]), head);
        assert_eq!(
            world.git(&["-C", &at, "status", "--porcelain"]),
            "M app.py\n?? prompts/"
        );
    }
    told(&world, &["restore", &head[..9], "../r4", "--plain"]);
    assert_eq!(names(&lay("r4")), ["app.py"]);
    world
        .tracemark(&["restore", &second, "../r4"])
        .failed(1, "exists");
    world
        .tracemark(&["restore", &second, "inside"])
        .failed(1, "inside a worktree");
    world
        .tracemark(&["restore", "tr-none", "../r5"])
        .failed(1, "no version, commit or trace");
}

#[test]
fn old_snapshots_go_with_what_only_they_need_and_the_others_stay() {
    let world = World::with_commit();
    let mut keeper = Keeper::new(world);
    let kept: Vec<_> = ["one", "two", "three"]
        .into_iter()
        .map(|text| {
            keeper
                .world
                .write("only.txt", format!("in {text}\n").repeat(2000));
            (keeper.keep(text), lying(&keeper.world.repo()))
        })
        .collect();
    let everything = |_: &Record| false;
    let old = std::time::Duration::from_millis(1);
    let prunable = |keep, quota| {
        keeper
            .snapshots
            .prunable(2, keep, quota, everything)
            .unwrap()
    };
    assert_eq!(prunable(None, u64::MAX), []);
    assert_eq!(
        prunable(None, 1).len(),
        2,
        "the newest stays whatever room it takes"
    );
    let pruned = prunable(Some(old), u64::MAX);
    let gone: Vec<_> = pruned.iter().map(|one| one.record.name.as_str()).collect();
    assert_eq!(gone, ["one"]);
    keeper.snapshots.prune(&pruned).unwrap();
    assert_eq!(
        keeper.snapshots.records().unwrap(),
        [kept[1].0.clone(), kept[2].0.clone()]
    );
    for (record, lay) in &kept[1..] {
        assert_eq!(keeper.restored(record, true), *lay);
    }
    let lost = keeper.snapshots.file(&kept[0].0.tree, b"only.txt");
    assert!(lost.is_err(), "{lost:?}");
    keeper.world.write("only.txt", "in one\n".repeat(2000));
    assert!(keeper.keep("again").is_whole());
}

/// Commits without a daemon, has a daemon find that, and makes git forget the commit.
fn commit_unseen(world: &World, store: &str) -> String {
    told(world, &["up", "--store", store]);
    world.kill_daemon();
    world.commit("nobody sees this");
    let commit = world.git(&["rev-parse", "HEAD"]);
    world.write("app.py", "print('afterwards')\n");
    told(world, &["active"]);
    crate::world::wait_until("the commit has its model", || {
        let shown = world.tracemark(&["show", &commit]);
        let is_done = shown.stdout.contains("m-") && world.status()["owed"] == 0;
        is_done.then_some(())
    });
    world.git(&["reset", "-q", "--hard", "HEAD~1"]);
    forget_everything(world);
    let mut look = world.command("git");
    let found = look.args(["cat-file", "-e", &commit]).output().unwrap();
    assert!(!found.status.success(), "{found:?}");
    commit
}

#[test]
fn a_commit_that_no_daemon_saw_comes_back_after_git_has_lost_it() {
    let world = World::with_commit();
    let store = crate::python::sqlite_store(world.base());
    told(&world, &["up", "--store", &store]);
    world.write("app.py", "print('unseen')\n");
    world.write("deep/er/b.bin", [0u8, 13, 10, 255]);
    world.write("run.sh", "#!/bin/sh\n");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.repo().join("run.sh"), mode).unwrap();
    symlink("deep/er", world.repo().join("link")).unwrap();
    let lay = lying(&world.repo());
    let commit = commit_unseen(&world, &store);
    told(&world, &["restore", &commit, "../back"]);
    assert_eq!(lying(&world.base().join("back")), lay);
    let shown: serde_json::Value =
        serde_json::from_str(&told(&world, &["show", &commit, "--json"])).unwrap();
    let id = shown["model_id"].as_str().unwrap();
    let model = crate::python::look(&store, &["model", id]);
    assert_eq!(model["tags"]["tracemark.restorable"], "true", "{model}");
}

#[test]
fn of_an_unseen_commit_what_git_converts_is_named_and_comes_back_as_git_stores_it() {
    let world = World::with_commit();
    let store = crate::python::sqlite_store(world.base());
    world.write(".gitattributes", "*.txt text\n*.md text\n");
    world.commit("other attributes before");
    told(&world, &["up", "--store", &store]);
    world.write(".gitattributes", "*.txt text eol=crlf\n");
    world.write("a.txt", "one\r\ntwo\r\n");
    world.write("b.md", "three\n");
    let commit = commit_unseen(&world, &store);
    let said = world.tracemark(&["restore", &commit, "../back", "--plain"]);
    assert!(
        said.stderr.contains("1 files are as git stores them"),
        "{said:?}"
    );
    said.ok();
    let back = lying(&world.base().join("back"));
    assert_eq!(back[&b"a.txt"[..]].1, b"one\ntwo\n");
    assert_eq!(back[&b"b.md"[..]].1, b"three\n");
    let shown: serde_json::Value =
        serde_json::from_str(&told(&world, &["show", &commit, "--json"])).unwrap();
    let left_out = &shown["left_out"];
    assert_eq!(left_out[0]["path"], "a.txt", "{shown}");
    assert_eq!(left_out[0]["why"], "converted", "{shown}");
    let model = crate::python::look(&store, &["model", shown["model_id"].as_str().unwrap()]);
    assert_eq!(model["tags"]["tracemark.restorable"], "partial", "{model}");
}

/// Changes or touches a file right after each answer; every version that was handed out must come back as it lay.
fn whatever_happens_right_after_an_answer_the_version_comes_back(world: &World, files: &[&str]) {
    let store = crate::python::sqlite_store(world.base());
    told(world, &["up", "--store", &store]);
    let mut handed_out = Vec::new();
    for step in 0..20 {
        let file = files[step % files.len()];
        world.write(file, format!("print({step})\n"));
        let lay = lying(&world.repo());
        let id = told(world, &["active"]).trim().to_owned();
        if step % 2 == 0 {
            let touched = std::fs::File::options()
                .append(true)
                .open(world.repo().join(file));
            touched
                .unwrap()
                .set_modified(std::time::SystemTime::now())
                .unwrap();
        } else {
            world.write(file, format!("print('after {step}')\n"));
        }
        handed_out.push((id, lay));
    }
    for (step, (id, lay)) in handed_out.iter().enumerate() {
        comes_back(world, id, lay, step);
    }
}

#[test]
fn an_edit_right_after_an_answer_loses_no_version_of_a_plain_repository() {
    let world = World::with_commit();
    whatever_happens_right_after_an_answer_the_version_comes_back(&world, &["app.py", "new.py"]);
}

#[test]
fn an_edit_right_after_an_answer_loses_no_version_with_filters_and_submodules() {
    let world = with_filters_and_submodules();
    let files = ["app.py", "loud.up", "sub/in.py", "nested/in.py", "dos.crlf"];
    whatever_happens_right_after_an_answer_the_version_comes_back(&world, &files);
}

#[test]
fn an_edit_right_after_an_answer_loses_no_version_with_thousands_of_new_files() {
    let world = World::with_commit();
    for n in 0..4000 {
        world.write(&format!("data/{n}.txt"), format!("number {n}\n"));
    }
    whatever_happens_right_after_an_answer_the_version_comes_back(
        &world,
        &["app.py", "data/7.txt"],
    );
}

#[test]
fn versions_that_are_handed_out_while_the_store_is_busy_are_kept_afterwards() {
    let world = World::with_commit();
    let store = crate::python::sqlite_store(world.base());
    told(&world, &["up", "--store", &store]);
    told(&world, &["active"]);
    let lock = world.repo().join(".git/tracemark/snapshots/lock");
    let lock = crate::world::wait_until("a version is kept", || std::fs::File::open(&lock).ok());
    lock.lock().unwrap();
    let handed_out: Vec<_> = (0..5)
        .map(|step| {
            world.write("app.py", format!("print({step})\n"));
            let id = told(&world, &["active"]).trim().to_owned();
            (id, lying(&world.repo()))
        })
        .collect();
    world.write("app.py", "print('afterwards')\n");
    drop(lock);
    for (step, (id, lay)) in handed_out.iter().enumerate() {
        comes_back(&world, id, lay, step);
    }
}

/// Waits until a version is kept, and restores it.
#[track_caller]
fn comes_back(world: &World, id: &str, lay: &Lying, step: usize) {
    crate::world::wait_until(&format!("version {step} is kept"), || {
        let shown = told(world, &["show", id, "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        (shown["restorable"] == "true").then_some(())
    });
    let dir = format!("back-{step}");
    told(world, &["restore", id, &format!("../{dir}"), "--plain"]);
    assert_eq!(lying(&world.base().join(dir)), *lay, "{step}");
}

/// The bytes of every file below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            found if found.is_dir() => bytes_below(&entry.path()),
            found => found.len(),
        })
        .sum()
}

#[test]
fn an_edited_line_among_ten_thousand_files_takes_less_than_five_kilobytes() {
    let world = World::with_commit();
    let path = |n: usize| format!("part{}/module{n}.py", n % 100);
    for n in 0..10_000 {
        let lines: String = (0..32)
            .map(|line| format!("value_{n}_{line} = {}\n", n * line))
            .collect();
        world.write(&path(n), lines);
    }
    world.git(&["config", "gc.auto", "0"]);
    world.git(&["config", "maintenance.auto", "false"]);
    world.commit("many files");
    world.git(&["gc", "-q"]);
    let mut keeper = Keeper::new(world);
    keeper.keep("base");
    let base = bytes_below(&keeper.world.repo().join(".git/tracemark/snapshots"));
    for step in 0..100 {
        let path = path(step * 37 % 77);
        let file = keeper.world.repo().join(&path);
        let text = std::fs::read_to_string(&file).unwrap();
        keeper
            .world
            .write(&path, text.replacen("value", &format!("value{step}"), 1));
        let taken = keeper.take(&Touched::Paths(BTreeSet::from([
            root(&keeper.world).join(&path)
        ])));
        assert!(keeper.pack(&step.to_string(), &taken).is_whole());
    }
    let all = bytes_below(&keeper.world.repo().join(".git/tracemark/snapshots"));
    let each = (all - base) / 100;
    assert!(each <= 5 << 10, "{each} bytes a version, {base} before");
}

#[test]
fn a_commit_of_ones_own_comes_back_from_the_repository_where_no_snapshot_is_kept() {
    let world = World::with_commit();
    let settings = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::write(
        settings.join("config.toml"),
        "[snapshots]\nenabled = false\n",
    )
    .unwrap();
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "not_kept");
    let id = past.told(&["active"]).trim().to_owned();
    for (n, what) in ["HEAD", &id].into_iter().enumerate() {
        past.told(&["restore", what, &format!("../back{n}")]);
        let file = past.world.base().join(format!("back{n}/app.py"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "print('hello')\n");
    }
    assert_eq!(past.told(&["show", "HEAD:app.py"]), "print('hello')\n");
}

#[test]
fn under_commit_naming_every_state_that_was_seen_is_kept() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world
        .tracemark(&["up", "--store", &store, "--naming", "commit"])
        .ok();
    let mut states = Vec::new();
    for text in ["one", "two", "three"] {
        world.write("app.py", format!("print({text:?})\n"));
        world.tracemark(&["active"]).ok();
        let content = world.tracemark(&["hash", "--naming", "tree"]).ok();
        states.push((content.trim().to_owned(), text));
        wait_until("it is kept", || {
            (world.status()["restorable"] == "true").then_some(())
        });
    }
    for (content, text) in states {
        let shown = world.tracemark(&["show", &format!("{content}:app.py")]);
        assert_eq!(shown.ok(), format!("print({text:?})\n"));
    }
}

/// A git on the PATH that fails as if the disk were full when it is to do that.
fn break_git(world: &mut World, subcommand: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let found = world.command("sh").args(["-c", "command -v git"]).output();
    let real = String::from_utf8(found.unwrap().stdout).unwrap();
    let bin = world.base().join(format!("without-{subcommand}"));
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$word\" = {subcommand} ] && echo 'fatal: no space left' >&2 && exit 128; done\nexec {} \"$@\"\n",
        real.trim()
    );
    std::fs::write(bin.join("git"), script).unwrap();
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), world.vars()["PATH"]);
    world.set("PATH", &path);
}

#[test]
fn a_restore_that_fails_half_way_leaves_neither_directory_nor_worktree() {
    let mut past = past_in_a_file();
    let model = past.version("edited");
    let before = past.world.git(&["worktree", "list"]);
    for subcommand in ["read-tree", "cat-file"] {
        let path = past.world.vars()["PATH"].clone();
        break_git(&mut past.world, subcommand);
        let said = past.world.tracemark(&["restore", &model, "../half"]);
        assert_eq!(said.stdout, "", "{said:?}");
        assert_ne!(said.code, Some(0), "{said:?}");
        past.world.set("PATH", &path);
        assert!(!past.world.base().join("half").exists(), "{subcommand}");
        assert_eq!(
            past.world.git(&["worktree", "list"]),
            before,
            "{subcommand}"
        );
    }
    past.told(&["restore", &model, "../half"]);
}

#[test]
fn a_restore_leaves_alone_what_git_knows_as_another_worktree() {
    let past = past_in_a_file();
    let model = past.version("edited");
    let git = |arguments: &[&str]| past.world.git(arguments);
    git(&["worktree", "add", "-q", "--detach", "../unplugged"]);
    let there = past.world.base().join("unplugged");
    std::fs::rename(&there, past.world.base().join("elsewhere")).unwrap();
    let before = git(&["worktree", "list", "--porcelain"]);
    past.world
        .tracemark(&["restore", &model, "../unplugged"])
        .failed(1, "is a linked worktree whose directory is missing");
    assert_eq!(git(&["worktree", "list", "--porcelain"]), before);
    std::fs::rename(past.world.base().join("elsewhere"), &there).unwrap();
    assert_eq!(git(&["-C", "../unplugged", "status", "--porcelain"]), "");
}

#[test]
fn plain_files_say_whether_that_was_asked_or_their_commit_is_gone() {
    let past = past_in_a_file();
    past.world.write("app.py", "print('amended away')\n");
    past.world.commit("to be amended");
    let head = past.world.git(&["rev-parse", "HEAD"]);
    let model = past.told(&["active"]).trim().to_owned();
    wait_until("the version is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    let said = past.told(&["restore", &model, "../asked", "--plain"]);
    let on_top = format!("plain files, as they lay on top of commit {}", &head[..12]);
    assert!(said.contains(&on_top) && !said.contains("gone"), "{said}");
    past.world
        .git(&["commit", "-q", "--amend", "-m", "amended"]);
    past.world
        .git(&["reflog", "expire", "--expire=now", "--all"]);
    past.world.git(&["gc", "-q", "--prune=now"]);
    let said = past.told(&["restore", &model, "../lost"]);
    let gone = format!("as its commit {} is gone", &head[..12]);
    assert!(said.contains(&gone), "{said}");
}

#[test]
fn a_restored_worktree_says_what_git_status_does_not_show() {
    let world = World::with_commit();
    world.add_submodule();
    world.commit("with a submodule");
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "Default");
    past.world.write("sub/changed.py", "print('inside')\n");
    let model = past.told(&["active"]).trim().to_owned();
    wait_until("the version is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    let said = past.told(&["restore", &model, "../with-sub"]);
    assert!(
        said.contains("git status says nothing of what was changed in a submodule"),
        "{said}"
    );
    let inside = past.world.base().join("with-sub/sub/changed.py");
    assert_eq!(
        std::fs::read_to_string(inside).unwrap(),
        "print('inside')\n"
    );
    let status = past
        .world
        .git(&["-C", "../with-sub", "status", "--porcelain"]);
    assert_eq!(status, "");
}

/// A restore that writes beside its place, and the place; one that ends before it is met is begun again elsewhere.
fn begun_restore(world: &World, version: &[&str], flag: &str) -> (Child, PathBuf) {
    let mut places = (0..).map(|n| world.base().join(format!("new{n}{flag}")));
    wait_until("a restore is met at work", || {
        let dir = places.next().unwrap();
        let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
        command.arg("restore").args(version).arg(&dir);
        command.args((!flag.is_empty()).then_some(flag));
        let mut child = command.spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            if partial_restore(world).is_some() {
                return Some((child, dir));
            }
        }
        None
    })
}

/// The directory in which a restore that is under way writes.
fn partial_restore(world: &World) -> Option<String> {
    let entries = std::fs::read_dir(world.base()).unwrap().flatten();
    let mut names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.find(|name| name.starts_with(".tracemark-restore-"))
}

#[test]
fn a_restore_leaves_alone_what_appears_in_its_place_meanwhile() {
    let past = past_in_a_file();
    for n in 0..400 {
        past.world.write(&format!("many/{n}.txt"), format!("{n}\n"));
    }
    let model = past.version("kept");
    wait_until("the version is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    for kind in ["", "--plain"] {
        let (mut child, dir) = begun_restore(&past.world, &[&model], kind);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("thesis.txt"), "precious").unwrap();
        assert!(!child.wait().unwrap().success());
        let text = std::fs::read_to_string(dir.join("thesis.txt")).unwrap();
        assert_eq!(text, "precious");
    }
    let model = model.as_str();
    let detour = past
        .world
        .tracemark(&["restore", model, "../nowhere/../repo/sub"]);
    assert_eq!(detour.code, Some(2), "{detour:?}");
    assert!(!past.world.base().join("nowhere").exists());
}

#[test]
fn what_git_converts_is_kept_as_it_lies_when_its_id_is_handed_out() {
    let past = past_in_a_file();
    past.world
        .git(&["config", "filter.strip.clean", "grep -v output || true"]);
    past.world.git(&["config", "filter.strip.smudge", "cat"]);
    past.world.write(".gitattributes", "*.ipynb filter=strip\n");
    past.world.write("n.ipynb", "cell\noutput 1\n");
    past.world.commit("a notebook");
    past.told(&["up", "--store", &past.store]);
    past.told(&["active"]);
    for text in ["cell\noutput 22\n", "cell\noutput 333\n", "cell\n"] {
        past.world.write("n.ipynb", text);
        let model = past.told(&["active"]).trim().to_owned();
        wait_until("it comes back", || {
            let said = past.world.tracemark(&["show", &format!("{model}:n.ipynb")]);
            (said.stdout == text).then_some(())
        });
    }
}

#[test]
fn what_lies_on_the_disk_in_other_bytes_since_is_kept_anew() {
    let world = World::with_commit();
    world.add_submodule();
    world.write("../inner/a.py", "a = 1\n");
    world.git(&["-C", "../inner", "add", "a.py"]);
    world.git(&["-C", "../inner", "commit", "-qm", "a"]);
    let allow = "protocol.file.allow=always";
    world.git(&["-C", "sub", "-c", allow, "pull", "-q", "origin", "main"]);
    world.commit("with a submodule");
    world.git(&["submodule", "-q", "deinit", "-f", "sub"]);
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "Default");
    let model = past.told(&["active"]).trim().to_owned();
    wait_until("it is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    past.world
        .git(&["-c", allow, "submodule", "-q", "update", "--init"]);
    assert_eq!(past.told(&["active"]).trim(), model);
    wait_until("its files are kept too", || {
        let shown = past.told(&["show", &model]);
        shown.contains("inside     sub").then_some(())
    });
    past.told(&["restore", &model, "../with-files"]);
    assert!(past.world.base().join("with-files/sub/a.py").is_file());
}

#[test]
fn what_is_being_restored_is_no_code_until_it_is_complete_and_goes_where_a_signal_ends_it() {
    let world = World::with_commit();
    for n in 0..3000 {
        world.write(&format!("many/{}/{n}.txt", n % 50), n.to_string());
    }
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let id = world.tracemark(&["active", "--timeout", "60"]).ok();
    let names = || {
        let log: Value = serde_json::from_str(&world.tracemark(&["log", "--json"]).ok()).unwrap();
        log["versions"].as_array().unwrap().len()
    };
    let before = names();
    let (mut restore, dir) = begun_restore(&world, &[id.trim()], "");
    let pid = rustix::process::Pid::from_child(&restore);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = restore.wait().unwrap();
    assert_eq!(partial_restore(&world), None);
    assert_eq!(dir.exists(), ended.success());
    world.tracemark(&["restore", id.trim(), "../whole"]).ok();
    let mut asks = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let asked = asks.arg("active").current_dir(world.base().join("whole"));
    assert_eq!(String::from_utf8_lossy(&asked.output().unwrap().stdout), id);
    assert_eq!(names(), before, "the same code is no other version");
}

#[test]
fn a_pack_that_was_cut_off_is_set_aside_and_the_same_version_is_kept_anew() {
    let world = World::with_commit();
    world.write("prompt.txt", "be kind\n");
    world.commit("a prompt");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let first = kept_version(&world, "first");
    for pack in packs(&world) {
        std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&pack, "PACK").unwrap();
    }
    kept_version(&world, "second");
    assert_eq!(kept_version(&world, "first"), first);
    crate::world::wait_until("it is kept once more", || {
        let dir = world.base().join("back-first");
        let said = world.tracemark(&["restore", &first, dir.to_str().unwrap(), "--plain"]);
        (said.code == Some(0)).then_some(())
    });
    assert!(findings(&world).is_empty());
}

#[test]
fn what_is_kept_after_a_pack_is_gone_is_kept_whole_also_where_nothing_changed() {
    let world = World::with_commit();
    world.write("prompt.txt", "be kind\n");
    world.write("deep/a.txt", "a\n");
    world.write("deep/b.txt", "b\n");
    world.commit("a prompt");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let before = packs(&world);
    world.write("deep/b.txt", "other\n");
    let first = kept_version(&world, "first");
    let lost: Vec<_> = packs(&world)
        .into_iter()
        .filter(|pack| !before.contains(pack))
        .collect();
    world.write("deep/a.txt", "other too\n");
    kept_version(&world, "second");
    for pack in &lost {
        std::fs::remove_file(pack).unwrap();
        std::fs::remove_file(pack.with_extension("idx")).unwrap();
    }
    let first = world.tracemark(&["show", &first]).ok();
    assert!(first.contains("no: a pack of the snap"), "{first}");
    let third = kept_version(&world, "third");
    let shown = world.tracemark(&["show", &third]).ok();
    assert!(shown.contains("yes, every file"), "{shown}");
    brings_back(&world, &third, "third");
    let deep = world.base().join("back-third/deep/b.txt");
    assert_eq!(std::fs::read_to_string(deep).unwrap(), "other\n");
}

#[test]
fn in_a_repository_that_is_not_tracked_no_code_is_kept() {
    for change in [None, Some("print('uncommitted')\n")] {
        let mut world = World::with_commit();
        if let Some(text) = change {
            world.write("app.py", text);
        }
        world.set("MLFLOW_TRACKING_URI", &sqlite_store(world.base()));
        world.tracemark(&["active", "--once"]).ok();
        let kept = Snapshots::of(&world.repo().join(".git")).records().unwrap();
        assert_eq!(kept, [], "{change:?}");
    }
}
