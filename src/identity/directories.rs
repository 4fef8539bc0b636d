//! The directories that the entries of an index lie in.
//!
//! Pure.

use super::index_file::IndexEntry;

/// A directory that holds tracked files, at any depth.
pub(super) struct Directory<'a, 'b> {
    /// Empty for the root, else with a slash at the end.
    pub(super) path: &'a [u8],
    /// Of all files below it.
    pub(super) entries: &'b [IndexEntry<'a>],
    /// Which of all entries the first of these is, counted from nought.
    pub(super) at: usize,
}

/// What is tracked in a directory.
pub(super) struct Child<'a, 'b> {
    /// Without slashes.
    pub(super) name: &'a [u8],
    /// Of the file, or of all files below the directory.
    pub(super) entries: &'b [IndexEntry<'a>],
    /// Which of all entries the first of these is.
    pub(super) at: usize,
    /// Whether it is a directory.
    pub(super) is_directory: bool,
    /// Whether it was met elsewhere.
    pub(super) is_found: bool,
}

impl<'a> Child<'a, '_> {
    /// Returns the file's entry.
    pub(super) fn file(&self) -> Option<&IndexEntry<'a>> {
        self.entries.first().filter(|_| !self.is_directory)
    }
}

impl<'a, 'b> Directory<'a, 'b> {
    /// Returns the root and every directory below it, given all entries of an index in their order.
    pub(super) fn all(entries: &'b [IndexEntry<'a>]) -> Option<Vec<Self>> {
        let mut found = vec![Self {
            path: b"",
            entries,
            at: 0,
        }];
        let mut at = 0;
        while let Some(directory) = found.get(at) {
            let children = directory.children()?;
            let below = children.iter().filter(|child| child.is_directory);
            let below: Vec<_> = below
                .map(|child| directory.below(child))
                .collect::<Option<_>>()?;
            found.extend(below);
            at += 1;
        }
        Some(found)
    }

    /// Returns a directory of its children.
    pub(super) fn below(&self, child: &Child<'a, 'b>) -> Option<Self> {
        let length = self.path.len() + child.name.len() + 1;
        Some(Self {
            path: child.entries.first()?.path().get(..length)?,
            entries: child.entries,
            at: child.at,
        })
    }

    /// Returns what is tracked in it, in the order of the index, where files below one directory follow each other.
    pub(super) fn children(&self) -> Option<Vec<Child<'a, 'b>>> {
        let mut children = Vec::new();
        let (mut rest, mut at) = (self.entries, self.at);
        while let Some(first) = rest.first() {
            let below = first.path().get(self.path.len()..)?;
            let slash = below.iter().position(|byte| *byte == b'/');
            let name = below.get(..slash.unwrap_or(below.len()))?;
            let count = match slash {
                None => 1,
                Some(slash) => {
                    let prefix = first.path().get(..=self.path.len() + slash)?;
                    count_of(rest, |entry| entry.path().starts_with(prefix))
                }
            };
            let (entries, after) = rest.split_at_checked(count)?;
            children.push(Child {
                name,
                entries,
                at,
                is_directory: slash.is_some(),
                is_found: false,
            });
            rest = after;
            at += count;
        }
        Some(children)
    }
}

/// Returns how many of the first entries hold, which are few beside all of them.
fn count_of<'a>(entries: &[IndexEntry<'a>], holds: impl Fn(&IndexEntry<'a>) -> bool) -> usize {
    let mut reach = 1;
    while entries.get(reach).is_some_and(&holds) {
        reach *= 2;
    }
    let near = entries.get(..reach).unwrap_or(entries);
    near.partition_point(holds)
}
