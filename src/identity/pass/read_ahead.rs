//! The part of a pass that reads files before anybody asks for them, while git still writes others.
//!
//! Gives no reading and asks git nothing. What is read is right for as long as the file lies as it did, like everything
//! in the [`crate::identity::cache::Cache`]: the pass that is asked for looks at every stamp.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::Pass;
use crate::identity::file_content;
use crate::identity::object::Format;

impl Pass<'_> {
    /// Reads those of the files that were read before, in a worktree where nothing is converted, as long as `goes_on` says so.
    pub(in crate::identity) fn read_ahead(
        &mut self,
        paths: &BTreeSet<PathBuf>,
        format: Format,
        goes_on: &dyn Fn() -> bool,
    ) {
        for path in paths.iter().take_while(|_| goes_on()) {
            let inside = path.strip_prefix(&self.places.root).ok();
            let inside = inside.map(|inside| inside.as_os_str().as_bytes());
            let Some(known) = inside.filter(|inside| self.cache.files.get(inside).is_some()) else {
                continue;
            };
            if let Ok(Some(content)) = file_content::read(path, format) {
                let entry = self.entry(&content);
                self.cache.files.insert(known, entry);
                self.cache.read += 1;
            }
        }
    }
}
