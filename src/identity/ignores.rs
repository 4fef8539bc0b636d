//! Git's rules for what is not listed as untracked, where they are plain: names, `*`, `?`, sets of letters, `!`,
//! slashes at the ends or between (gitignore(5)). `None` is anything else, which is left to git.
//!
//! Knows no index and lists no directory: that what is tracked is never ignored is for whoever asks.

use std::collections::BTreeMap;
use std::path::Path;

/// Larger files of rules, in bytes, are left to git.
const RULES_MAX: u64 = 1 << 20;

/// All rules in force below the root of a worktree.
#[derive(Debug, Default)]
pub(super) struct Ignores {
    /// Of the user, then of the repository: what counts less first.
    outer: Vec<Rule>,
    /// By the directory that their `.gitignore` lies in: empty, or with a slash at its end.
    by_directory: BTreeMap<Vec<u8>, Vec<Rule>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// Takes back what an earlier rule said.
    is_negative: bool,
    for_directories: bool,
    /// For names anywhere below, or for paths from the directory of the rule.
    is_anchored: bool,
    segments: Vec<Vec<Part>>,
}

/// What one or more bytes of a name are compared with.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    OneOf(Vec<u8>),
    AnyByte,
    AnyBytes,
}

impl Ignores {
    /// Reads the rules of a file outside the worktree, which count more than those read before; a missing one has none.
    pub(super) fn read_outer(&mut self, file: &Path) -> Option<()> {
        match file.metadata() {
            Ok(found) if found.is_file() => self.outer.extend(read(file, found.len())?),
            Ok(_) => return None,
            Err(error) => (error.kind() == std::io::ErrorKind::NotFound).then_some(())?,
        }
        Some(())
    }

    /// Reads the `.gitignore` in `directory` of the worktree, which is empty or ends with a slash; git follows no link there.
    pub(super) fn read_inner(&mut self, file: &Path, directory: &[u8]) -> Option<()> {
        let found = file.symlink_metadata().ok()?;
        let rules = found.is_file().then(|| read(file, found.len()))??;
        self.by_directory.insert(directory.to_vec(), rules);
        Some(())
    }

    /// Takes the text of outer rules.
    #[cfg(any(test, fuzzing))]
    pub(super) fn take(&mut self, text: &[u8]) -> Option<()> {
        self.outer.extend(rules(text)?);
        Some(())
    }

    /// Returns whether a path is ignored whose directories are not.
    pub(super) fn covers(&self, path: &[u8], is_directory: bool) -> bool {
        let name_at = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        let slashes = (0..name_at).rev().filter(|at| path.get(*at) == Some(&b'/'));
        let directories = slashes.map(|at| at + 1).chain([0]);
        let inner = directories.filter_map(|end| {
            let (directory, below) = path.split_at_checked(end)?;
            Some((self.by_directory.get(directory)?, below))
        });
        inner
            .chain([(&self.outer, path)])
            .find_map(|(rules, below)| {
                let last = rules
                    .iter()
                    .rev()
                    .find(|rule| rule.matches(below, is_directory))?;
                Some(!last.is_negative)
            })
            .unwrap_or(false)
    }
}

fn read(file: &Path, size: u64) -> Option<Vec<Rule>> {
    if size > RULES_MAX {
        return None;
    }
    rules(&std::fs::read(file).ok()?)
}

fn rules(text: &[u8]) -> Option<Vec<Rule>> {
    let lines = text.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(Rule::parse)
        .collect()
}

impl Rule {
    fn parse(line: &[u8]) -> Option<Self> {
        let (is_negative, rest) = match line.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (for_directories, rest) = match rest.strip_suffix(b"/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let is_anchored = rest.contains(&b'/');
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let segments = rest.split(|byte| *byte == b'/').map(parts);
        Some(Self {
            is_negative,
            for_directories,
            is_anchored,
            segments: segments.collect::<Option<_>>()?,
        })
    }

    /// `below` is the path from the directory of the rule.
    fn matches(&self, below: &[u8], is_directory: bool) -> bool {
        if self.for_directories && !is_directory {
            return false;
        }
        let mut names = below.split(|byte| *byte == b'/');
        if !self.is_anchored {
            let (Some(name), Some(parts)) = (names.next_back(), self.segments.first()) else {
                return false;
            };
            return is_like(parts, name);
        }
        let mut segments = self.segments.iter();
        loop {
            match (segments.next(), names.next()) {
                (None, None) => return true,
                (Some(parts), Some(name)) if is_like(parts, name) => {}
                _ => return false,
            }
        }
    }
}

/// Reads what stands between two slashes; `None` for what is empty or not plain.
fn parts(text: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        parts.push(match first {
            b'*' if parts.last() == Some(&Part::AnyBytes) => return None,
            b'*' => Part::AnyBytes,
            b'?' => Part::AnyByte,
            b'[' => {
                let end = rest.iter().position(|byte| *byte == b']')?;
                let (set, after) = rest.split_at_checked(end)?;
                let is_plain = !set.is_empty() && set.iter().all(u8::is_ascii_alphanumeric);
                is_plain.then_some(())?;
                rest = after.get(1..)?;
                Part::OneOf(set.to_vec())
            }
            b'\\' | b'!' | b']' => return None,
            byte if byte.is_ascii_graphic() => Part::Byte(*byte),
            _ => return None,
        });
    }
    (!parts.is_empty()).then_some(parts)
}

/// Returns whether the whole name is as the parts say.
fn is_like(parts: &[Part], name: &[u8]) -> bool {
    let (mut at, mut part) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(at) {
        let fits = match parts.get(part) {
            Some(Part::AnyBytes) => {
                star = Some((part, at));
                part += 1;
                continue;
            }
            Some(Part::Byte(expected)) => expected == byte,
            Some(Part::OneOf(set)) => set.contains(byte),
            Some(Part::AnyByte) => true,
            None => false,
        };
        if fits {
            (at, part) = (at + 1, part + 1);
        } else if let Some((of_star, from)) = star {
            star = Some((of_star, from + 1));
            (at, part) = (from + 1, of_star + 1);
        } else {
            return false;
        }
    }
    parts.iter().skip(part).all(|part| *part == Part::AnyBytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;

    /// Files, and a directory `d/e`; those of the first list hold rules.
    const HOLDERS: [&str; 3] = [".gitignore", "d/.gitignore", ".git/info/exclude"];
    const NAMES: [&str; 12] = [
        "a", "b", "ab", "ba", ".a", "aab", "a.b", "b1", "[a]", "a*", "!a", "#a",
    ];

    fn rule() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "a", "b", "*", "?", "[ab]", ".", "d", "e", "/", "1", "*.b", "d/", "!",
        ]);
        let ends = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
        let text =
            (ends, prop::collection::vec(part, 1..5)).prop_map(|((negative, anchored), parts)| {
                let sign = if negative { "!" } else { "" };
                let slash = if anchored { "/" } else { "" };
                format!("{sign}{slash}{}\n", parts.concat())
            });
        text.prop_filter("not plain", |text| rules(text.as_bytes()).is_some())
    }

    fn ignored_for_git(root: &Path, paths: &BTreeSet<String>) -> BTreeSet<String> {
        let mut git = Command::new("git")
            .args(["check-ignore", "--no-index", "-z", "--stdin"])
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text: String = paths.iter().map(|path| format!("./{path}\0")).collect();
        git.stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = git.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.split_terminator('\0');
        names
            .map(|name| name.trim_start_matches("./").to_owned())
            .collect()
    }

    /// As a walk does it: nothing below what is ignored is looked at.
    fn ignored_here(ignores: &Ignores, paths: &BTreeSet<String>, root: &Path) -> BTreeSet<String> {
        let covered = |path: &str| ignores.covers(path.as_bytes(), root.join(path).is_dir());
        let is_ignored = |path: &String| {
            let above = path.match_indices('/').map(|(at, _)| path.split_at(at).0);
            above.chain([path.as_str()]).any(covered)
        };
        paths
            .iter()
            .filter(|path| is_ignored(path))
            .cloned()
            .collect()
    }

    /// Returns every path below, the directories too.
    fn fill(root: &Path) -> BTreeSet<String> {
        let made = Command::new("git")
            .args(["init", "-q"])
            .current_dir(root)
            .status()
            .unwrap();
        assert!(made.success());
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        let mut paths = BTreeSet::from(["d".to_owned(), "d/e".to_owned()]);
        for (at, name) in ["", "d/", "d/e/"]
            .into_iter()
            .flat_map(|at| NAMES.map(|name| (at, name)))
        {
            let path = format!("{at}{name}");
            if name == "ba" {
                std::fs::create_dir(root.join(&path)).unwrap();
            } else {
                std::fs::write(root.join(&path), "").unwrap();
            }
            paths.insert(path);
        }
        paths
    }

    fn read_all(root: &Path) -> Option<Ignores> {
        let mut ignores = Ignores::default();
        ignores.read_outer(&root.join(HOLDERS[2]))?;
        ignores.read_inner(&root.join(HOLDERS[0]), b"")?;
        ignores.read_inner(&root.join(HOLDERS[1]), b"d/")?;
        Some(ignores)
    }

    #[test]
    fn plain_rules_ignore_what_git_ignores() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let paths = fill(root);
        let rules = prop::collection::vec(prop::collection::vec(rule(), 0..4), HOLDERS.len());
        let mut runner = TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let result = runner.run(&rules, |rules| {
            for (file, rules) in HOLDERS.iter().zip(&rules) {
                std::fs::write(root.join(file), rules.concat()).unwrap();
            }
            let ignores = read_all(root);
            let here = ignored_here(&ignores.unwrap(), &paths, root);
            prop_assert_eq!(here, ignored_for_git(root, &paths));
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_git() {
        for text in [
            "a b", "a\\*", "**/a", "[a-z]", "[!a]", "[a", "a//b", "é", "a ", "a\r", "/", "!",
        ] {
            assert_eq!(rules(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn what_templates_for_python_write_is_plain() {
        let text = "# Byte-compiled\n__pycache__/\n*.py[cod]\n*$py.class\n\n*.so\nshare/python-wheels/\n*.egg-info/\n/site\n\
                    .env\n!.env.example\ndocs/_build/\n";
        assert!(rules(text.as_bytes()).is_some_and(|rules| rules.len() == 10));
    }
}
