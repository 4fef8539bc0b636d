//! What is staged: the entries of an index beside the tree of a commit, without reading what git noted to be the same.
//!
//! Looks at no file of the worktree, starts no git, and finds no renames: where there may be one, there is no answer.

use std::collections::BTreeMap;

use git2::ObjectType;

use super::directories::{Child, Directory};
use super::index_file::IndexFile;
use super::object::RawId;

/// The bits of a mode that say what kind of file it is.
const KIND: u32 = 0o170_000;

/// Returns the paths whose entries differ from a commit's tree, and git's code for it (git-status(1), `X`). `None` where git
/// may see a rename in it.
pub(super) fn list(
    repository: &git2::Repository,
    committed: &git2::Tree<'_>,
    index: &IndexFile,
) -> Option<BTreeMap<Vec<u8>, u8>> {
    let entries: Vec<_> = index.entries().collect();
    let mut comparison = Comparison {
        repository,
        cached: index.cached_trees(),
        codes: BTreeMap::new(),
    };
    let root = Directory {
        path: b"",
        entries: &entries,
        at: 0,
    };
    let tree = RawId::new(committed.id().as_bytes())?;
    comparison.directory(&root, tree)?;
    let codes = comparison.codes;
    let has = |wanted: u8| codes.values().any(|code| *code == wanted);
    (!(has(b'A') && has(b'D'))).then_some(codes)
}

struct Comparison<'a> {
    repository: &'a git2::Repository,
    /// By directory, as git noted them in the index.
    cached: BTreeMap<Vec<u8>, RawId>,
    codes: BTreeMap<Vec<u8>, u8>,
}

impl Comparison<'_> {
    fn directory(&mut self, directory: &Directory<'_, '_>, tree: RawId) -> Option<()> {
        if self.cached.get(directory.path) == Some(&tree) {
            return Some(());
        }
        let children = directory.children()?;
        let mut by_name: BTreeMap<_, _> =
            children.iter().map(|child| (child.name, child)).collect();
        let repository = self.repository;
        let tree = find(repository, tree)?;
        for committed in &tree {
            let path = [directory.path, committed.name_bytes()].concat();
            match (committed.kind()?, by_name.remove(committed.name_bytes())) {
                (ObjectType::Tree, Some(child)) if child.is_directory => {
                    let id = RawId::new(committed.id().as_bytes())?;
                    self.directory(&directory.below(child)?, id)?;
                }
                (ObjectType::Blob, Some(child)) if !child.is_directory => {
                    self.file(child, &committed)?;
                }
                (ObjectType::Blob, None) => drop(self.codes.insert(path, b'D')),
                (ObjectType::Tree, None) => {
                    let gone = Directory {
                        path: &[&path, &b"/"[..]].concat(),
                        entries: &[],
                        at: 0,
                    };
                    self.directory(&gone, RawId::new(committed.id().as_bytes())?)?;
                }
                _ => return None,
            }
        }
        let added = by_name.values().flat_map(|child| child.entries);
        self.codes
            .extend(added.map(|entry| (entry.path().to_vec(), b'A')));
        Some(())
    }

    fn file(&mut self, child: &Child<'_, '_>, committed: &git2::TreeEntry<'_>) -> Option<()> {
        let entry = child.file()?;
        let (staged, was) = (entry.mode()?, u32::try_from(committed.filemode()).ok()?);
        let is_same = entry.id()?.as_bytes() == committed.id().as_bytes() && staged == was;
        if !is_same {
            let code = if staged & KIND == was & KIND {
                b'M'
            } else {
                b'T'
            };
            self.codes.insert(entry.path().to_vec(), code);
        }
        Some(())
    }
}

fn find(repository: &git2::Repository, id: RawId) -> Option<git2::Tree<'_>> {
    let id = git2::Oid::from_bytes(id.as_bytes()).ok()?;
    repository.find_tree(id).ok()
}
