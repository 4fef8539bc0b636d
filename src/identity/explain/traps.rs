//! The traps of the git-hash that a state sits in now: where it moves though no code does, and where code moves and it
//! does not.
//!
//! Has no words for people and no remedy, those are the command's; flags are taken from a copy of the index alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::parts::{Content, Parts, damaged_first};
use super::settings::{Setting, Settings, drivers};
use super::state::{Entry, Kind, State, is_executable, is_link, os, shown};
use crate::git::{Git, GitError, LOCAL_ENV_VARS, SHELL_VARS, records};
use crate::identity::GitHashError;
use crate::identity::diffs::top_literal;
use crate::identity::git_hash::{self, GitHash};
use crate::identity::helper_text;
use crate::identity::nested::has_commit;

/// Digits of an abbreviated object id where there are few objects (`FALLBACK_DEFAULT_ABBREV`, git 2.47).
const SHORTEST_ABBREVIATION: u32 = 7;

/// One trap, with what it is about here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trap {
    /// `git add`, `git add -N`, `git commit` would change the hash, though no code changes.
    Staging {
        /// How many paths are staged.
        staged: usize,
        /// How many changed paths are not.
        unstaged: usize,
        /// How many files are untracked.
        untracked: usize,
    },
    /// The first name lost its first letter.
    FirstName {
        /// What changed.
        path: String,
        /// What the helper opens instead.
        name: String,
        /// The file that it so finds and reads.
        decoy: Option<PathBuf>,
        /// That lies outside the worktree.
        outside: bool,
        /// `git add` would put the name right.
        can_be_staged: bool,
    },
    /// Files of which something does not count.
    Paths {
        /// What does not.
        what: Uncounted,
        /// Their paths.
        paths: Vec<String>,
    },
    /// Untracked files that do not count as no tracked one changed.
    UntrackedNotShown {
        /// How many.
        files: usize,
        /// `status.showUntrackedFiles`.
        setting: Option<Setting>,
    },
    /// The daemon, without this shell's variables and at the top, gets another hash.
    Elsewhere {
        /// The daemon's hash; `None` where it gets none.
        hash: Option<String>,
        /// Variables of this shell that the daemon's git does not see.
        variables: Vec<&'static str>,
        /// True where `diff.relative` cuts the diff down to this directory.
        relative: bool,
    },
    /// A program prints what is hashed.
    Program {
        /// The setting or variable that names it.
        named_by: String,
        /// The paths that it is run on, if not on all that changed.
        paths: Vec<String>,
    },
    /// A setting without which the hash would be another.
    Setting(Setting),
    /// A setting of a diff driver that is in use: without it the hash may be another.
    DriverSetting(Setting),
    /// Paths that only files of this machine make git ignore.
    PersonalIgnores {
        /// The ignore files.
        sources: Vec<String>,
        /// The paths.
        paths: Vec<String>,
    },
    /// Object ids are abbreviated to more than seven digits.
    Abbreviation {
        /// How many digits.
        digits: u32,
        /// Objects in packs.
        packed: u64,
        /// With fewer than these there are fewer digits.
        from: u64,
        /// From these on there are more.
        to: u64,
    },
    /// The first changed file is binary: only a few digits of its object id count.
    BinaryFirst {
        /// Its path.
        path: String,
        /// How many hexadecimal digits.
        digits: usize,
    },
}

/// What of a file does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncounted {
    /// The content of an untracked file whose name git quotes.
    QuotedName,
    /// The same, and the helper reads another file, whose real name has the quotes.
    QuotedDecoy,
    /// That an untracked file is executable.
    ExecutableBit,
    /// Where an untracked symbolic link leads; the content there does.
    LinkTarget,
    /// All that is in an untracked nested repository.
    NestedContent,
    /// Further edits in a dirty submodule.
    SubmoduleContent,
    /// To which side a conflict is resolved.
    Conflict,
    /// A file that differs and is flagged assume-unchanged or skip-worktree.
    Hidden,
    /// Nothing that counts changed: status calls the file changed, its diff is empty.
    Phantom,
}

/// What the traps are looked for in.
pub(super) struct Search<'a> {
    /// As the caller has it, on the repository's own index.
    pub(super) caller: &'a Git,
    pub(super) state: &'a State,
    pub(super) hash: Option<&'a GitHash>,
    pub(super) parts: Option<&'a Parts>,
    pub(super) settings: Settings,
}

impl Search<'_> {
    /// Finds every trap.
    pub(super) fn traps(&self) -> Result<Vec<Trap>, GitHashError> {
        let mut traps = Vec::new();
        if let Some(parts) = self.parts {
            traps.extend(self.hash.and_then(|_| self.staging()));
            traps.extend(self.names(parts)?);
            traps.extend(self.untracked());
            traps.extend(self.tracked()?);
            traps.extend(self.programs()?);
            traps.extend(self.abbreviation(parts)?);
        } else {
            traps.extend(self.not_shown());
        }
        traps.extend(listed(self.hidden_files()?, Uncounted::Hidden));
        traps.extend(self.personal_ignores()?);
        traps.extend(self.elsewhere());
        if let Some(hash) = self.hash {
            let shaping = self.settings.that_shape(&hash.text, self.caller);
            traps.extend(shaping.into_iter().cloned().map(Trap::Setting));
        }
        Ok(traps)
    }

    /// Where `diff.relative` cuts the diffs down to this directory, what is staged elsewhere changes nothing.
    fn is_cut_off(&self, entry: &Entry) -> bool {
        let Ok(here) = std::env::current_dir() else {
            return false;
        };
        self.settings.get("diff.relative").is_some()
            && !self.state.on_disk(&entry.path).starts_with(here)
    }

    fn staging(&self) -> Option<Trap> {
        let can_be_added = |entry: &&Entry| {
            !entry.is_nested_repository()
                || has_commit(self.caller, &self.state.on_disk(&entry.path))
        };
        let is_staged = |entry: &&Entry| entry.kind == Kind::Tracked && entry.staged != b'.';
        let shown = || {
            let changed = self.state.changed();
            changed.filter(|entry| !self.is_cut_off(entry))
        };
        let count = (
            shown().filter(is_staged).count(),
            shown().filter(|entry| entry.can_be_staged()).count(),
            self.state
                .of_kind(Kind::Untracked)
                .filter(|entry| !self.is_cut_off(entry))
                .filter(can_be_added)
                .count(),
        );
        (count != (0, 0, 0)).then_some(Trap::Staging {
            staged: count.0,
            unstaged: count.1,
            untracked: count.2,
        })
    }

    /// Traps in how names are read out of the status.
    fn names(&self, parts: &Parts) -> Result<Vec<Trap>, GitHashError> {
        let (Ok(status), Some(files)) = (&self.state.status, &parts.files) else {
            return Ok(Vec::new());
        };
        let mut traps = Vec::new();
        if let Some(first) = damaged_first(self.state, status) {
            traps.extend(files.iter().find(|line| line.meant.is_some()).map(|line| {
                let found = !matches!(line.content, Content::Unreadable(_));
                let path = helper_text::python_join(&self.state.root, &line.name);
                Trap::FirstName {
                    path: shown(&first.path),
                    name: line.name.clone(),
                    can_be_staged: first.can_be_staged(),
                    outside: found && self.is_outside(&path),
                    decoy: found.then_some(path),
                }
            }));
            traps.extend(self.binary_first(first)?);
        }
        let is_decoy = |name: &str| {
            let mut lines = files.iter().filter(|line| line.name == name);
            lines.any(|line| matches!(line.content, Content::Sha256(_)))
        };
        let quoted = self.quoted(status);
        let (decoys, unread): (Vec<_>, Vec<_>) =
            quoted.into_iter().partition(|(name, _)| is_decoy(name));
        let paths =
            |names: Vec<(String, String)>| names.into_iter().map(|(_, path)| path).collect();
        traps.extend(listed(paths(unread), Uncounted::QuotedName));
        traps.extend(listed(paths(decoys), Uncounted::QuotedDecoy));
        Ok(traps)
    }

    /// Untracked names that git quotes, and the paths behind them.
    fn quoted(&self, status: &str) -> Vec<(String, String)> {
        let names = status
            .split('\n')
            .filter_map(|line| line.strip_prefix("?? "));
        names
            .zip(self.state.of_kind(Kind::Untracked))
            .filter(|(name, entry)| name.starts_with('"') && !entry.is_nested_repository())
            .map(|(name, entry)| (name.to_owned(), shown(&entry.path)))
            .collect()
    }

    fn is_outside(&self, path: &Path) -> bool {
        let path = path.canonicalize().unwrap_or_else(|_| lexical(path));
        let top = self.state.top.canonicalize();
        !path.starts_with(top.as_ref().unwrap_or(&self.state.top))
    }

    fn binary_first(&self, first: &Entry) -> Result<Option<Trap>, GitError> {
        let pathspec = top_literal(&os(&first.path));
        let diff = |option: &str| {
            let arguments = [
                "diff",
                "--no-ext-diff",
                "--no-color",
                "--no-renames",
                option,
            ];
            let arguments: Vec<_> = arguments
                .into_iter()
                .chain(["--"])
                .map(std::ffi::OsString::from)
                .chain([pathspec.clone()])
                .collect();
            Ok::<_, GitError>(self.state.git.run(&arguments)?.stdout)
        };
        // Where a program makes text of it, there is more than the ids.
        if !diff("--numstat")?.starts_with(b"-\t-\t") || self.has_textconv(&first.path)? {
            return Ok(None);
        }
        let text = diff("--patch")?;
        let digits = text
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(b"index "))
            .and_then(|ids| ids.rsplit(|byte| *byte == b'.').next())
            .map(|id| {
                id.iter()
                    .take_while(|byte| byte.is_ascii_hexdigit())
                    .count()
            });
        Ok(digits.map(|digits| Trap::BinaryFirst {
            path: shown(&first.path),
            digits,
        }))
    }

    fn has_textconv(&self, path: &[u8]) -> Result<bool, GitError> {
        let has =
            |(driver, _): (String, _)| !self.settings.of_driver(&driver, &["textconv"]).is_empty();
        Ok(drivers(self.state, &[path])?.into_iter().any(has))
    }

    fn untracked(&self) -> Vec<Trap> {
        let state = self.state;
        let of = |is: &dyn Fn(&Entry) -> bool| {
            let entries = state.of_kind(Kind::Untracked).filter(|entry| is(entry));
            entries.map(|entry| shown(&entry.path)).collect()
        };
        let on_disk = |entry: &Entry| state.on_disk(&entry.path);
        [
            listed(
                of(&|entry| is_executable(&on_disk(entry))),
                Uncounted::ExecutableBit,
            ),
            listed(
                of(&|entry| !entry.is_nested_repository() && is_link(&on_disk(entry))),
                Uncounted::LinkTarget,
            ),
            listed(of(&Entry::is_nested_repository), Uncounted::NestedContent),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn tracked(&self) -> Result<Vec<Trap>, GitError> {
        let of = |is: &dyn Fn(&Entry) -> bool| {
            let entries = self.state.changed().filter(|entry| is(entry));
            entries.map(|entry| shown(&entry.path)).collect()
        };
        let is_conflict = |entry: &Entry| {
            entry.kind == Kind::Unmerged && (entry.staged, entry.unstaged) == (b'U', b'U')
        };
        Ok([
            listed(of(&Entry::is_dirty_submodule), Uncounted::SubmoduleContent),
            listed(of(&is_conflict), Uncounted::Conflict),
            listed(self.phantoms()?, Uncounted::Phantom),
        ]
        .into_iter()
        .flatten()
        .collect())
    }

    fn phantoms(&self) -> Result<Vec<String>, GitError> {
        let differ = differing(&self.state.git)?;
        let edited = self.state.changed().filter(|entry| entry.is_edited());
        Ok(edited
            .filter(|entry| !differ.contains(&entry.path))
            .map(|entry| shown(&entry.path))
            .collect())
    }

    /// Looks once more with another copy of the index, from which the flags are taken.
    fn hidden_files(&self) -> Result<Vec<String>, GitHashError> {
        let state = self.state;
        let listed = state.git.run(&["ls-files", "-v", "-z"])?.stdout;
        let flagged: BTreeSet<Vec<u8>> = records(&listed)
            .filter_map(|record| Some((record.first()?, record.get(2..)?)))
            .filter(|(tag, path)| match tag {
                b'S' | b's' => state.on_disk(path).symlink_metadata().is_ok(),
                tag => tag.is_ascii_lowercase(),
            })
            .map(|(_, path)| path.to_vec())
            .collect();
        if flagged.is_empty() {
            return Ok(Vec::new());
        }
        let copy = state.scratch.path().join("shown");
        std::fs::copy(state.scratch.path().join("index"), &copy).map_err(GitHashError::Scratch)?;
        let git = state
            .git
            .clone()
            .with_var("GIT_INDEX_FILE", copy)
            .with_config(&["core.fsmonitor=false", "index.sparse=false"]);
        let paths: Vec<u8> = flagged
            .iter()
            .flat_map(|path| path.iter().copied().chain([0]))
            .collect();
        for flag in ["--no-assume-unchanged", "--no-skip-worktree"] {
            git.run_with_input(
                &["update-index", flag, "-z", "--stdin"],
                Some(paths.clone()),
            )?;
        }
        let differ = differing(&git)?;
        Ok(flagged
            .intersection(&differ)
            .map(|path| shown(path))
            .collect())
    }

    fn not_shown(&self) -> Option<Trap> {
        let files = self.state.of_kind(Kind::Untracked).count();
        (files > 0).then(|| Trap::UntrackedNotShown {
            files,
            setting: self.settings.get("status.showuntrackedfiles").cloned(),
        })
    }

    fn programs(&self) -> Result<Vec<Trap>, GitError> {
        if self.state.changed().next().is_none() {
            return Ok(Vec::new());
        }
        let mut traps = Vec::new();
        if let Some(program) = self.caller.variable("GIT_EXTERNAL_DIFF") {
            traps.push(Trap::Program {
                named_by: format!("GIT_EXTERNAL_DIFF={}", program.to_string_lossy()),
                paths: Vec::new(),
            });
        } else if let Some(setting) = self.settings.get("diff.external") {
            traps.push(Trap::Program {
                named_by: setting.to_string(),
                paths: Vec::new(),
            });
        }
        traps.extend(self.driver_traps()?);
        Ok(traps)
    }

    fn driver_traps(&self) -> Result<Vec<Trap>, GitError> {
        let changed: Vec<&[u8]> = self
            .state
            .changed()
            .map(|entry| entry.path.as_slice())
            .collect();
        let mut paths_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (driver, path) in drivers(self.state, &changed)? {
            paths_of.entry(driver).or_default().push(shown(&path));
        }
        let mut traps = Vec::new();
        for (driver, paths) in paths_of {
            let programs = self.settings.of_driver(&driver, &["command", "textconv"]);
            traps.extend(programs.into_iter().map(|setting| Trap::Program {
                named_by: setting.to_string(),
                paths: paths.clone(),
            }));
            let shapes = ["xfuncname", "funcname", "binary", "algorithm"];
            let shaping = self.settings.of_driver(&driver, &shapes);
            traps.extend(shaping.into_iter().cloned().map(Trap::DriverSetting));
        }
        Ok(traps)
    }

    fn personal_ignores(&self) -> Result<Option<Trap>, GitError> {
        let ignored: Vec<u8> = self
            .state
            .of_kind(Kind::Ignored)
            .flat_map(|entry| entry.path.iter().copied().chain([0]))
            .collect();
        if ignored.is_empty() {
            return Ok(None);
        }
        let arguments = ["check-ignore", "-v", "-z", "--stdin"];
        let listed = match self.state.git.run_with_input(&arguments, Some(ignored)) {
            Ok(output) => output.stdout,
            // It also fails when nothing is ignored any more.
            Err(GitError::Failed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut sources, mut paths) = (BTreeSet::new(), Vec::new());
        let mut fields = listed.split(|byte| *byte == 0);
        while let (Some(source), Some(_), Some(_), Some(path)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        {
            let in_worktree = source == b".gitignore" || source.ends_with(b"/.gitignore");
            if !(in_worktree && Path::new(&os(source)).is_relative()) {
                sources.insert(shown(source));
                paths.push(shown(path));
            }
        }
        Ok((!paths.is_empty()).then(|| Trap::PersonalIgnores {
            sources: sources.into_iter().collect(),
            paths,
        }))
    }

    fn abbreviation(&self, parts: &Parts) -> Result<Option<Trap>, GitError> {
        if !parts.has_diff() || self.settings.get("core.abbrev").is_some() {
            return Ok(None);
        }
        let packed = packed_objects(&self.state.git)?;
        let digits = abbreviation(packed);
        Ok(
            (digits > SHORTEST_ABBREVIATION).then(|| Trap::Abbreviation {
                digits,
                packed,
                from: 1 << (2 * digits - 2),
                to: 1 << (2 * digits),
            }),
        )
    }

    fn elsewhere(&self) -> Option<Trap> {
        let variables: Vec<&'static str> = LOCAL_ENV_VARS
            .into_iter()
            .chain(SHELL_VARS)
            .filter(|name| self.caller.variable(name).is_some())
            .collect();
        let here = std::env::current_dir().ok()?;
        let is_relative = self.settings.get("diff.relative").is_some() && here != self.state.top;
        if variables.is_empty() && !is_relative {
            return None;
        }
        let top = Git::at(&here).path(&["rev-parse", "--show-toplevel"]);
        let daemon = top
            .ok()
            .and_then(|top| git_hash::compute(&Git::at(&top), None).ok())
            .map(|hash| hash.text);
        (daemon.as_deref() != self.hash.map(|hash| hash.text.as_str())).then_some(Trap::Elsewhere {
            hash: daemon,
            relative: is_relative && variables.is_empty(),
            variables,
        })
    }
}

fn listed(paths: Vec<String>, what: Uncounted) -> Option<Trap> {
    (!paths.is_empty()).then_some(Trap::Paths { what, paths })
}

/// Resolves `..` without looking at the disk.
fn lexical(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            resolved.pop();
        } else {
            resolved.push(component);
        }
    }
    resolved
}

/// The paths whose content is another than the index's.
fn differing(git: &Git) -> Result<BTreeSet<Vec<u8>>, GitError> {
    let arguments = ["diff", "--name-only", "--no-renames", "--no-relative", "-z"];
    let listed = git.run(&arguments)?.stdout;
    Ok(records(&listed).map(<[u8]>::to_vec).collect())
}

/// Objects in packs here and in alternates.
fn packed_objects(git: &Git) -> Result<u64, GitError> {
    let listed = git.run(&["count-objects", "-v"])?.stdout;
    let text = String::from_utf8_lossy(&listed);
    let mut packed = field(&text, "in-pack: ")
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    for alternate in text
        .lines()
        .filter_map(|line| line.strip_prefix("alternate: "))
    {
        let there = git.clone().with_var("GIT_OBJECT_DIRECTORY", alternate);
        let listed = there.run(&["count-objects", "-v"])?.stdout;
        let text = String::from_utf8_lossy(&listed);
        packed += field(&text, "in-pack: ")
            .and_then(|count| count.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(packed)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

/// How many digits git abbreviates to where so many objects are packed (`repo_find_unique_abbrev_r`, git 2.47).
fn abbreviation(packed: u64) -> u32 {
    let bits = packed.checked_ilog2().map_or(0, |bit| bit + 1);
    bits.div_ceil(2).max(SHORTEST_ABBREVIATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_grow_with_the_packed_objects() {
        let digits: Vec<_> = [0, 1, 16_383, 16_384, 65_535, 65_536, 1 << 18]
            .into_iter()
            .map(abbreviation)
            .collect();
        assert_eq!(digits, [7, 7, 7, 8, 8, 9, 10]);
    }
}
