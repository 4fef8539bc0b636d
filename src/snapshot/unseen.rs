//! The files of a commit that nobody saw on the disk: what a clean worktree of it holds, as git's objects tell.
//!
//! Where git converts a file on its way in, several contents of the disk make the same blob: such a file is there as
//! git stores it, and said to be not as it lay. Reads no file of a worktree, and fetches nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::index::{LeftOut, Why};
use super::objects::giving;
use super::read::{TreeFile, list};
use super::{SnapshotError, path_text};
use crate::git::{Git, records};
use crate::identity::file_map::{Entry, FileMap, Mode};
use crate::identity::files::{Files, Nested};
use crate::identity::nested::DEPTH_LIMIT;
use crate::identity::nested::is_own_root;
use crate::identity::object::{Format, RawId};
use crate::identity::tree::SETTINGS;

/// What decides how a file is converted (gitattributes(5)); `crlf` is the name that `text` had before git 1.7.2.
const ATTRIBUTES: [&str; 6] = [
    "text",
    "crlf",
    "eol",
    "ident",
    "filter",
    "working-tree-encoding",
];

/// The files of a commit, and those that are not known as they lay.
pub(super) struct Unseen {
    pub(super) files: Files,
    pub(super) left_out: Vec<LeftOut>,
}

/// Reads a commit of the repository at `root` whose tree must be `content`. Temporary files go to `scratch`, which is there.
///
/// # Errors
/// [`SnapshotError::Damaged`] where the files do not make that tree, [`SnapshotError::Git`] where git lacks the commit.
pub(super) fn read(
    root: &Path,
    commit: &str,
    content: &str,
    scratch: &Path,
) -> Result<Unseen, SnapshotError> {
    let format = Format::of(content)
        .ok_or_else(|| SnapshotError::Damaged(format!("a tree called {content:?}")))?;
    let mut left_out = Vec::new();
    let index = scratch.join("unseen-index");
    let reader = Reader {
        format,
        index: &index,
    };
    let files = reader.read(root, commit, &[], &mut left_out, DEPTH_LIMIT)?;
    let tree = files.map.tree_id(format).map(RawId::to_hex);
    if tree.as_deref() != Some(content) {
        return Err(SnapshotError::Damaged(format!(
            "commit {commit} does not hold the tree {content}"
        )));
    }
    Ok(Unseen { files, left_out })
}

struct Reader<'a> {
    format: Format,
    index: &'a Path,
}

impl Reader<'_> {
    /// `around` is where the repository lies, with a slash at its end.
    fn read(
        &self,
        root: &Path,
        commit: &str,
        around: &[u8],
        left_out: &mut Vec<LeftOut>,
        depth: usize,
    ) -> Result<Files, SnapshotError> {
        let git = giving(Git::at(root));
        let listed = list(&git, commit)?;
        let mut map = FileMap::default();
        for file in &listed {
            map.insert(&file.path, entry(file));
        }
        let leave_out = |path: &[u8], why| LeftOut {
            path: path_text(&[around, path].concat()),
            why,
        };
        let converted = self.converted(&git, commit, &listed)?;
        left_out.extend(converted.iter().map(|path| leave_out(path, Why::Converted)));
        let mut nested = Vec::new();
        for file in listed.iter().filter(|file| file.mode == Mode::Gitlink) {
            let inside = self.submodule(root, file, around, depth)?;
            let Some((submodule, mut below)) = inside else {
                left_out.push(leave_out(&file.path, Why::Submodule));
                continue;
            };
            left_out.append(&mut below);
            nested.push(submodule);
        }
        Ok(Files::of_objects(map, self.format, nested))
    }

    /// Returns what a submodule holds at the commit that is asked for, `None` where that commit is not in its place.
    fn submodule(
        &self,
        root: &Path,
        file: &TreeFile,
        around: &[u8],
        depth: usize,
    ) -> Result<Option<(Nested, Vec<LeftOut>)>, SnapshotError> {
        let dir = root.join(OsStr::from_bytes(&file.path));
        let (Ok(top), Some(depth)) = (dir.canonicalize(), depth.checked_sub(1)) else {
            return Ok(None);
        };
        let git = giving(Git::at(&dir));
        let head = file.id.to_hex();
        let is_here = || {
            git.run(&["cat-file", "-e", &format!("{head}^{{tree}}")])
                .is_ok()
        };
        if file.id.as_bytes().len() != self.format.id_length()
            || !is_own_root(&git, &dir)
            || !is_here()
        {
            return Ok(None);
        }
        let mut left_out = Vec::new();
        let below = [around, &file.path, b"/"].concat();
        let files = self.read(&top, &head, &below, &mut left_out, depth)?;
        let nested = Nested {
            path: file.path.clone(),
            root: top,
            head: Some(head),
            files,
        };
        Ok(Some((nested, left_out)))
    }

    /// Returns the files that git may convert by the attributes of that commit and the settings of the repository.
    fn converted(
        &self,
        git: &Git,
        commit: &str,
        listed: &[TreeFile],
    ) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let is_file = |file: &&TreeFile| matches!(file.mode, Mode::Plain | Mode::Executable);
        let paths = listed.iter().filter(is_file);
        let input: Vec<u8> = paths
            .flat_map(|file| [&file.path, &b"\0"[..]].concat())
            .collect();
        crate::fs_util::remove_if_exists(self.index)?;
        let git = git
            .clone()
            .with_config(&SETTINGS)
            .with_var("GIT_INDEX_FILE", self.index);
        git.run(&["read-tree", commit])?;
        let arguments = [
            &["check-attr", "--cached", "-z", "--stdin"],
            &ATTRIBUTES[..],
        ]
        .concat();
        let said = git.run_with_input(&arguments, Some(input))?.stdout;
        let by_settings = converts_by_settings(&git);
        let fields: Vec<_> = records(&said).collect();
        let of_files = fields.chunks_exact(3 * ATTRIBUTES.len());
        Ok(of_files
            .filter_map(|of_file| {
                let values: Vec<_> = of_file.iter().skip(2).step_by(3).copied().collect();
                let path = of_file.first()?.to_vec();
                converts(&values, by_settings).then_some(path)
            })
            .collect())
    }
}

fn entry(file: &TreeFile) -> Entry {
    Entry {
        mode: file.mode,
        id: file.id,
        raw: file.id,
        stamp: None,
        settled: false,
    }
}

/// `core.autocrlf` converts what no attribute speaks of.
fn converts_by_settings(git: &Git) -> bool {
    let value = git.line(&["config", "--get", "core.autocrlf"]);
    let is_off = |value: &[u8]| {
        let off: [&[u8]; 5] = [b"", b"false", b"no", b"off", b"0"];
        off.iter().any(|off| value.eq_ignore_ascii_case(off))
    };
    value.is_ok_and(|value| !is_off(&value))
}

/// `values` are those of [`ATTRIBUTES`], as git-check-attr(1) prints them.
fn converts(values: &[&[u8]], by_settings: bool) -> bool {
    let [text, crlf, eol, ident, filter, encoding] = values else {
        return true;
    };
    let is_unspecified = |value: &[u8]| value == b"unspecified";
    let is_off = |value: &[u8]| is_unspecified(value) || value == b"unset";
    let line_ends = if is_unspecified(text) && is_unspecified(crlf) {
        by_settings || !is_off(eol)
    } else {
        *text != b"unset" && (!is_off(text) || !is_off(crlf) || !is_off(eol))
    };
    line_ends || [ident, filter, encoding].iter().any(|value| !is_off(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_nothing_converts_lies_as_git_stores_it() {
        let values = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let is_converted = |text: &str, by_settings| {
            let values = values(text);
            let values: Vec<_> = values
                .iter()
                .map(|value| match value.as_str() {
                    "-" => &b"unspecified"[..],
                    other => other.as_bytes(),
                })
                .collect();
            converts(&values, by_settings)
        };
        for (text, plainly, by_settings) in [
            ("- - - - - -", false, true),
            ("unset - - - - -", false, false),
            ("unset - crlf - - -", false, false),
            ("- unset - - - -", false, false),
            ("auto - - - - -", true, true),
            ("set - lf - - -", true, true),
            ("- set - - - -", true, true),
            ("- - crlf - - -", true, true),
            ("unset - - set - -", true, true),
            ("unset - - - lfs -", true, true),
            ("unset - - - - UTF-16", true, true),
        ] {
            assert_eq!(is_converted(text, false), plainly, "{text}");
            assert_eq!(is_converted(text, true), by_settings, "{text}");
        }
    }
}
