//! Why a tree id is what it is: where it departs from HEAD's.
//!
//! Makes no tree: that of the state comes in as it was read, and git compares it. Knows nothing of the git-hash.

use super::state::shown;
use crate::git::records;
use crate::identity::TreeError;
use crate::identity::nested::EMPTY_TREES;
use crate::identity::safe;
use crate::identity::tree::CapturedTree;

/// What a tree id is made of, beside HEAD's.
#[derive(Debug)]
pub struct TreeExplanation {
    /// The id of HEAD's tree, `None` before the first commit.
    pub head: Option<String>,
    /// The entries that are not those of HEAD's tree, by path.
    pub changes: Vec<Change>,
    /// Submodules and nested repositories whose files are not those of their HEAD: that counts in the content id alone.
    pub dirty: Vec<String>,
    /// Ignored files and directories.
    pub ignored: Vec<String>,
    /// Filter drivers that were not asked, as nothing of the repository is to run.
    pub filters: Vec<String>,
}

/// An entry that is not that of HEAD's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path from the top.
    pub path: String,
    /// Mode and object id now, `None` where there is nothing any more.
    pub now: Option<(String, String)>,
}

/// Explains the tree id of a state that was read.
///
/// # Errors
/// [`TreeError`] when git refuses.
pub fn tree(captured: &CapturedTree) -> Result<TreeExplanation, TreeError> {
    let git = captured.git();
    let head = git
        .line(&["rev-parse", "-q", "--verify", "HEAD^{tree}"])
        .ok()
        .map(|id| shown(&id));
    let [sha1, sha256] = EMPTY_TREES;
    let is_sha1 = captured.id().as_str().len() == sha1.len();
    let against = head
        .as_deref()
        .unwrap_or(if is_sha1 { sha1 } else { sha256 });
    let arguments = [
        "diff-index",
        "--cached",
        "--raw",
        "--no-abbrev",
        "--ignore-submodules=none",
        "-z",
        against,
    ];
    let changes = changes(&git.run(&arguments)?.stdout);
    let arguments = [
        "ls-files",
        "--others",
        "--ignored",
        "--exclude-standard",
        "--directory",
        "-z",
    ];
    let ignored = git.run(&arguments)?.stdout;
    let filters = if git.distrusts() {
        safe::clean_filters(git)?
    } else {
        Vec::new()
    };
    Ok(TreeExplanation {
        head,
        changes,
        dirty: captured.dirty()?.keys().map(|path| shown(path)).collect(),
        ignored: records(&ignored).map(shown).collect(),
        filters,
    })
}

/// Reads `:MODE MODE ID ID STATUS NUL PATH NUL` (git-diff-index(1), "Raw output format").
fn changes(listed: &[u8]) -> Vec<Change> {
    let mut records = records(listed);
    let mut changes = Vec::new();
    while let (Some(record), Some(path)) = (records.next(), records.next()) {
        let text = String::from_utf8_lossy(record);
        let mut fields = text.split(' ');
        let (Some(mode), Some(id)) = (fields.nth(1), fields.nth(1)) else {
            continue;
        };
        let is_gone = mode == "000000";
        changes.push(Change {
            path: shown(path),
            now: (!is_gone).then(|| (mode.to_owned(), id.to_owned())),
        });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_with_what_they_are_now() {
        let listed = b":100644 100755 aaaa bbbb M\0a b\0:100644 000000 aaaa 0000 D\0gone\0";
        let changes = changes(listed);
        assert_eq!(changes[0].path, "a b");
        assert_eq!(changes[0].now, Some(("100755".into(), "bbbb".into())));
        assert_eq!((changes[1].path.as_str(), &changes[1].now), ("gone", &None));
    }
}
