//! What a person or a program does to a repository: tables to draw from at random, and how each is carried out.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::ground::{Ground, home};
use crate::world::wait_until;

/// Files that come and go. Some are decoys: what the helper opens for a changed `a.py`, `x.git/config`, `x../outside`.
const FILES: [&str; 20] = [
    "a.py",
    ".py",
    "0",
    "b.txt",
    "c.txt",
    "data/e.bin",
    "data/log.log",
    "n\u{e9}.py",
    "pkg/c.py",
    "pkg/deep/d.txt",
    "pkg/deep/f.py",
    "pkg-2/c.py",
    "q\"uote.txt",
    "sp ace.txt",
    "sm/inner.txt",
    "nest/n.txt",
    "x.git/config",
    "x../outside",
    "pkg/.gitignore",
    "data/.gitattributes",
];
/// Git itself waits for ever where these are pipes.
const RULES: [&str; 2] = ["pkg/.gitignore", "data/.gitattributes"];
const DIRS: [&str; 6] = ["pkg", "pkg/deep", "data", "new", "new/er", "nest"];
const TARGETS: [&str; 7] = [
    "a.py",
    "pkg",
    "missing",
    "../outside",
    "ign/cache",
    "pkg/c.py",
    "b.txt",
];
const IGNORED: [&str; 8] = [
    "",
    "*.log\nign/\n",
    "*.txt\n",
    "pkg/\n",
    "new\n!a.py\n",
    "data/*\n!data/e.bin\n",
    "nest\n",
    "*\n",
];
const ATTRIBUTES: [&str; 9] = [
    "",
    "*.txt text=auto\n",
    "*.py text eol=crlf\n",
    "* -text\n",
    "*.py -diff\n*.bin diff\n",
    "*.txt filter=rot\n",
    "*.txt ident\n",
    "*.txt working-tree-encoding=UTF-16\n",
    "*.txt diff=words\n[attr]mine text\n*.py mine\n",
];
/// Keys and values of git's configuration.
const SETTINGS: [&str; 41] = [
    "core.quotePath false",
    "core.autocrlf true",
    "core.autocrlf input",
    "core.autocrlf false",
    "core.eol crlf",
    "core.fileMode false",
    "core.fileMode true",
    "core.abbrev 12",
    "core.abbrev 5",
    "core.untrackedCache true",
    "core.splitIndex true",
    "core.splitIndex false",
    "core.trustctime false",
    "core.checkStat minimal",
    "core.ignoreCase true",
    "core.symlinks false",
    "core.preloadIndex false",
    "core.excludesFile ../ignored-elsewhere",
    "core.attributesFile ../attributes-elsewhere",
    "core.bigFileThreshold 20",
    "color.ui always",
    "diff.algorithm histogram",
    "diff.context 1",
    "diff.external true",
    "diff.ignoreSubmodules all",
    "diff.interHunkContext 5",
    "diff.mnemonicPrefix true",
    "diff.noprefix true",
    "diff.orderFile .gitignore",
    "diff.renames copies",
    "diff.renames false",
    "diff.submodule log",
    "diff.suppressBlankEmpty true",
    "diff.words.textconv tr a-z A-Z <",
    "filter.rot.clean tr a-z n-za-m",
    "filter.rot.required true",
    "index.version 4",
    "status.renames copies",
    "status.showUntrackedFiles all",
    "status.showUntrackedFiles no",
    "submodule.sm.ignore all",
];
/// Calls of git. `FILE` and `OTHER` are replaced by files.
const CALLS: [&str; 51] = [
    "add -A",
    "add -A",
    "add -u",
    "add -- FILE",
    "add -f -- FILE",
    "add -N -- FILE",
    "add --renormalize .",
    "branch -f side",
    "checkout -q -- FILE",
    "checkout -q -f side",
    "checkout -q -f main",
    "checkout -q --detach",
    "checkout -q HEAD~1",
    "checkout -q --ours -- FILE",
    "cherry-pick side",
    "cherry-pick --abort",
    "clean -qfd",
    "commit -q -m staged",
    "commit -qam all",
    "commit -q --amend --no-edit",
    "commit -q --allow-empty -m empty",
    "config diff.context bogus",
    "config --unset-all core.excludesFile",
    "config --unset-all core.autocrlf",
    "config --remove-section diff",
    "diff --stat",
    "merge -q side",
    "merge --abort",
    "mv -f FILE OTHER",
    "pack-refs --all",
    "rebase -q side",
    "rebase --abort",
    "repack -adq",
    "replace -f HEAD:FILE HEAD:OTHER",
    "reset -q",
    "reset -q --hard",
    "reset -q --soft HEAD~1",
    "reset -q HEAD~1",
    "reset -q -- FILE",
    "rm -q --cached -- FILE",
    "rm -q -f -- FILE",
    "stash push -q",
    "stash push -qu",
    "stash pop -q",
    "status",
    "update-index --assume-unchanged FILE",
    "update-index --no-assume-unchanged FILE",
    "update-index --skip-worktree FILE",
    "update-index --no-skip-worktree FILE",
    "update-index --split-index",
    "update-ref -d HEAD",
];
/// Calls of git in a repository inside the worktree.
const INNER_CALLS: [&str; 6] = [
    "init -q .",
    "add -A",
    "commit -qam inner",
    "commit -q --allow-empty -m inner",
    "reset -q --hard HEAD~1",
    "checkout -q --detach",
];

type Word = &'static str;

/// What a person or a program does.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A kind of content, and what makes it another one.
    Write(Word, u8, u8),
    Append(Word),
    Truncate(Word),
    /// Other bytes of the same length; `true` gives the file its old time back.
    SameSize(Word, bool),
    /// The temporary file and rename of an editor.
    Replace(Word, u8, u8),
    Delete(Word),
    Rename(Word, Word),
    Link(Word, Word),
    Chmod(Word),
    Fifo(Word),
    TouchAll,
    /// A directory with files in it, there at once.
    NewDir(Word),
    RenameDir(Word, Word),
    DeleteDir(Word),
    FileToDir(Word),
    DirToFile(Word),
    DirToLink(Word),
    Ignore(Word, Word),
    Attributes(Word, Word),
    Set(Word, Word),
    /// Part of a file's change is staged, as `git add -p` does.
    StagePart(Word, u8),
    Git(Word, Word, Word),
    GitInside(Word, Word),
    /// A file outside of the worktree, or an ignored one, which nobody watches, grows.
    Unseen(bool),
    /// Time passes until another write leaves another time for sure.
    Wait,
}

/// Draws what changes nothing but files of the code.
pub(super) fn edit() -> BoxedStrategy<Op> {
    let file = || select(&FILES[..]);
    let dir = || select(&DIRS[..]);
    let kinds = || 0..CONTENTS;
    prop_oneof![
        16 => (file(), kinds(), any::<u8>()).prop_map(|(file, kind, salt)| Op::Write(file, kind, salt)),
        6 => file().prop_map(Op::Append),
        2 => file().prop_map(Op::Truncate),
        6 => (file(), proptest::bool::weighted(0.2)).prop_map(|(file, keep)| Op::SameSize(file, keep)),
        4 => (file(), kinds(), any::<u8>()).prop_map(|(file, kind, salt)| Op::Replace(file, kind, salt)),
        6 => file().prop_map(Op::Delete),
        4 => (file(), file()).prop_map(|(from, to)| Op::Rename(from, to)),
        4 => (file(), select(&TARGETS[..])).prop_map(|(file, target)| Op::Link(file, target)),
        2 => file().prop_map(Op::Chmod),
        1 => file().prop_map(Op::Fifo),
        2 => Just(Op::TouchAll),
        4 => dir().prop_map(Op::NewDir),
        4 => (dir(), dir()).prop_map(|(from, to)| Op::RenameDir(from, to)),
        2 => dir().prop_map(Op::DeleteDir),
        2 => file().prop_map(Op::FileToDir),
        2 => dir().prop_map(Op::DirToFile),
        2 => dir().prop_map(Op::DirToLink),
        4 => any::<bool>().prop_map(Op::Unseen),
        6 => Just(Op::Wait),
    ]
    .boxed()
}

/// Draws any operation.
pub(super) fn op() -> BoxedStrategy<Op> {
    let file = || select(&FILES[..]);
    prop_oneof![
        40 => edit(),
        2 => (select(&[".gitignore", "pkg/.gitignore", "info/exclude", "user"][..]), select(&IGNORED[..]))
            .prop_map(|(place, rules)| Op::Ignore(place, rules)),
        2 => (select(&[".gitattributes", "pkg/.gitattributes", "info/attributes", "user"][..]), select(&ATTRIBUTES[..]))
            .prop_map(|(place, rules)| Op::Attributes(place, rules)),
        4 => (select(&["--local", "--local", "--global"][..]), select(&SETTINGS[..]))
            .prop_map(|(layer, setting)| Op::Set(layer, setting)),
        4 => (file(), any::<u8>()).prop_map(|(file, salt)| Op::StagePart(file, salt)),
        16 => (select(&CALLS[..]), file(), file()).prop_map(|(call, file, other)| Op::Git(call, file, other)),
        2 => (select(&["sm", "sm", "nest", "new"][..]), select(&INNER_CALLS[..]))
            .prop_map(|(dir, call)| Op::GitInside(dir, call)),
    ]
    .boxed()
}

/// How many kinds of content there are.
const CONTENTS: u8 = 10;

/// Text of different shapes, most of it alike enough for renames and merges.
pub(super) fn content(kind: u8, salt: u8) -> Vec<u8> {
    let line = |n: u8| format!("line {n} of {}\n", if n == salt % 20 { salt } else { 0 });
    let lines = || (0..20).map(line).collect::<String>();
    match kind {
        0 => Vec::new(),
        1 => lines().replace('\n', "\r\n").into_bytes(),
        2 => lines().trim_end().as_bytes().to_vec(),
        3 if salt.is_multiple_of(4) => [b"caf\xe9 ", lines().as_bytes()].concat(),
        4 => [&[0, salt, 255], lines().as_bytes()].concat(),
        5 => format!("caf\u{e9}\u{2028}\u{3000}{salt}\rlone\n").into_bytes(),
        6 => format!("one {}\n", salt % 3).into_bytes(),
        _ => lines().into_bytes(),
    }
}

impl Ground {
    /// Gives every file of the worktree another time, now if `how` is empty (touch(1)).
    pub(super) fn touch_all(&self, how: &[&str]) -> io::Result<()> {
        let files = [".", "-name", ".git", "-prune", "-o", "-type", "f"];
        let touch = [&["-exec", "touch"], how, &["{}", "+"]].concat();
        self.command("find")
            .args(files)
            .args(touch)
            .output()
            .map(drop)
    }

    /// Waits until whatever is written gets another time than all before.
    pub(super) fn wait(&self) -> io::Result<()> {
        let probe = self.at("../probe");
        let time = || {
            fs::write(&probe, "")?;
            probe.metadata()?.modified()
        };
        let enough = time()? + Duration::from_millis(100);
        wait_until("the file system's clock moves on", || {
            time().is_ok_and(|now| now > enough).then_some(())
        });
        Ok(())
    }

    /// Carries out a step; one that does not fit the state does nothing.
    pub(super) fn apply(&self, op: &Op) {
        drop(self.try_to(op));
        for rules in RULES.map(|rules| self.at(rules)) {
            if rules
                .symlink_metadata()
                .is_ok_and(|found| found.file_type().is_fifo())
            {
                fs::remove_file(rules).unwrap();
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table of what each operation does")]
    fn try_to(&self, op: &Op) -> io::Result<()> {
        match op {
            Op::Write(file, kind, salt) => self.overwrite(file, &content(*kind, *salt)),
            Op::Append(file) => grow(&self.plain(file)?),
            Op::Truncate(file) => fs::File::options()
                .write(true)
                .open(self.plain(file)?)?
                .set_len(3),
            Op::SameSize(file, keep_time) => same_size(&self.plain(file)?, *keep_time),
            Op::Replace(file, kind, salt) => {
                fs::write(self.at("tmp~"), content(*kind, *salt))?;
                fs::rename(self.at("tmp~"), self.at(file))
                    .or_else(|_| fs::remove_file(self.at("tmp~")))
            }
            Op::Delete(file) => fs::remove_file(self.at(file)),
            Op::Link(file, target) => {
                drop(fs::remove_file(self.at(file)));
                symlink(target, self.at(file))
            }
            Op::Chmod(file) => {
                let file = self.plain(file)?;
                let mode = file.metadata()?.permissions().mode() ^ 0o100;
                fs::set_permissions(file, fs::Permissions::from_mode(mode))
            }
            Op::Fifo(file) => {
                drop(fs::remove_file(self.at(file)));
                self.command("mkfifo").arg(file).output().map(drop)
            }
            Op::TouchAll => self.touch_all(&[]),
            Op::NewDir(dir) => {
                fs::create_dir_all(self.at(dir).join("sub"))?;
                fs::write(self.at(dir).join("c.py"), "new\n")?;
                fs::write(self.at(dir).join("sub/b.txt"), "new\n")
            }
            Op::Rename(from, to) | Op::RenameDir(from, to) => {
                fs::rename(self.at(from), self.at(to))
            }
            Op::DeleteDir(dir) => fs::remove_dir_all(self.at(dir)),
            Op::FileToDir(file) => {
                fs::remove_file(self.at(file))?;
                self.overwrite(
                    Path::new(file).join("inside.txt").to_str().unwrap(),
                    b"inside\n",
                )
            }
            Op::DirToFile(dir) => {
                fs::remove_dir_all(self.at(dir))?;
                self.overwrite(dir, b"a file\n")
            }
            Op::DirToLink(dir) => {
                fs::rename(self.at(dir), self.at("moved"))?;
                symlink("moved", self.at(dir))
            }
            Op::Ignore(place, rules) => {
                self.overwrite(&self.rules("exclude", "ignore", place), rules.as_bytes())
            }
            Op::Attributes(place, rules) => self.overwrite(
                &self.rules("attributes", "attributes", place),
                rules.as_bytes(),
            ),
            Op::Set(layer, setting) => {
                let (key, value) = setting.split_once(' ').unwrap();
                self.try_git(&["config", layer, key, value]);
                Ok(())
            }
            Op::StagePart(file, salt) => {
                self.overwrite(file, &content(7, *salt))?;
                self.try_git(&["add", "--", file]);
                self.overwrite(file, &content(7, salt.wrapping_add(5)))
            }
            Op::Git(call, file, other) => self.run_git(call, &[("FILE", file), ("OTHER", other)]),
            Op::GitInside(dir, call) => {
                let made = call.starts_with("init") && self.at(dir).is_dir();
                if !made && !self.at(dir).join(".git").exists() {
                    return Ok(());
                }
                self.run_git(&format!("-C DIR {call}"), &[("DIR", dir)])
            }
            Op::Unseen(outside) => self.grow_unseen(*outside),
            Op::Wait => self.wait(),
        }
    }

    fn overwrite(&self, file: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.at(file);
        if path.is_symlink() {
            fs::remove_file(&path)?;
        }
        if self.plain(file).is_err() && path.exists() {
            return Ok(());
        }
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, bytes)
    }

    /// The path of a regular file, no link to one, and no pipe, which nobody would read from.
    fn plain(&self, file: &str) -> io::Result<PathBuf> {
        let path = self.at(file);
        if path.symlink_metadata()?.is_file() {
            Ok(path)
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }

    /// Runs git with the words of a call, whatever comes of it.
    fn run_git(&self, call: &str, names: &[(&str, &str)]) -> io::Result<()> {
        let place = |word: &str| {
            let named = |word: String, (name, path): &(&str, &str)| word.replace(name, path);
            names.iter().fold(word.to_owned(), named)
        };
        let words = call.split_whitespace().map(place);
        self.command("git").args(words).output().map(drop)
    }

    fn rules(&self, in_git: &str, of_user: &str, place: &str) -> String {
        let path = match place {
            "user" => home().join(".config/git").join(of_user),
            place if place.starts_with("info") => PathBuf::from(self.git(&[
                "rev-parse",
                "--path-format=absolute",
                "--git-path",
                "info",
            ]))
            .join(in_git),
            place => self.at(place),
        };
        path.to_str().unwrap().to_owned()
    }

    fn grow_unseen(&self, outside: bool) -> io::Result<()> {
        if outside {
            return grow(&self.at("../outside"));
        }
        let unwatched = self.try_git(&["check-ignore", "-q", "ign/"]).code == Some(0)
            && self.git(&["ls-files", "--", "ign"]).is_empty();
        if unwatched {
            grow(&self.at("ign/cache"))
        } else {
            Ok(())
        }
    }
}

fn grow(path: &Path) -> io::Result<()> {
    fs::File::options()
        .append(true)
        .open(path)?
        .write_all(b"more\n")
}

fn same_size(path: &Path, keep_time: bool) -> io::Result<()> {
    let (mut bytes, time) = (fs::read(path)?, path.metadata()?.modified()?);
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte = byte.wrapping_add(1) & 0x7f | 0x20;
    }
    fs::write(path, bytes)?;
    if keep_time {
        fs::File::options()
            .write(true)
            .open(path)?
            .set_modified(time)?;
    }
    Ok(())
}
