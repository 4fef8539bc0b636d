//! The FILES part: the SHA-256 of every file that the helper opens, remembered for as long as the file lies untouched.
//!
//! Each file is looked at every time, wherever it is: a damaged or absolute name leads anywhere. Asks git nothing:
//! which files are opened stands in the text of the status.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::GitHashError;
use super::digest::hex;
use super::file_content::Content;
use super::helper_text::{file_hash, opened_names, python_join};
use super::stamp::{Moment, Stamp};

/// What is remembered of a file, links followed.
#[derive(Debug, Clone)]
struct Known {
    stamp: Stamp,
    settled: bool,
    /// In which pass it was read.
    pass: u64,
    /// What was read counts for that pass, however the file lies by now.
    held: bool,
    sha256: String,
}

/// The hashes of the files that the last passes opened.
#[derive(Debug, Default)]
pub(super) struct FileHashes {
    known: BTreeMap<PathBuf, Known>,
    /// How what the last lines name lay on the disk, links followed.
    opened: BTreeMap<PathBuf, Option<Stamp>>,
    pass: u64,
}

impl FileHashes {
    /// Begins a pass: what is not settled and was read before counts no longer.
    pub(super) fn begin(&mut self) {
        self.pass += 1;
    }

    /// Returns whether everything that the last lines name lies as it did, wherever it is.
    pub(super) fn lie_as_opened(&self) -> bool {
        self.opened
            .iter()
            .all(|(path, stamp)| Stamp::of_followed(path) == *stamp)
    }

    /// Takes over what was read just now.
    pub(super) fn learn(&mut self, path: PathBuf, content: &Content, moment: &Moment) {
        self.remember(path, content, moment, false);
    }

    /// Takes over what was read of a file that is taken to hold still for the rest of the pass.
    pub(super) fn hold(&mut self, path: PathBuf, content: &Content, moment: &Moment) {
        self.remember(path, content, moment, true);
    }

    fn remember(&mut self, path: PathBuf, content: &Content, moment: &Moment, held: bool) {
        if let Some(sha256) = content.sha256 {
            let known = Known {
                stamp: content.stamp,
                settled: moment.settles(&content.stamp),
                pass: self.pass,
                held,
                sha256: hex(&sha256),
            };
            self.known.insert(path, known);
        }
    }

    /// Returns the lines in the helper's order, and forgets files that are no longer opened.
    ///
    /// # Errors
    /// [`GitHashError`] where the helper would read for ever.
    pub(super) fn lines(
        &mut self,
        root: &str,
        status: &str,
        moment: &Moment,
    ) -> Result<Vec<String>, GitHashError> {
        let mut used = BTreeMap::new();
        let mut lines = Vec::new();
        self.opened.clear();
        for name in opened_names(status) {
            let path = python_join(root, name);
            let known = self.hash(&path, name, moment)?;
            let sha256 = known.as_ref().map_or("unreadable", |known| &known.sha256);
            lines.push(format!("{name}:{sha256}"));
            let stamp = match &known {
                Some(known) => Some(known.stamp),
                None => Stamp::of_followed(&path),
            };
            self.opened.insert(path.clone(), stamp);
            used.extend(known.map(|known| (path, known)));
        }
        self.known = used;
        lines.sort_unstable();
        Ok(lines)
    }

    /// Returns the hash of a file, `None` where the helper cannot read it.
    fn hash(
        &self,
        path: &Path,
        name: &str,
        moment: &Moment,
    ) -> Result<Option<Known>, GitHashError> {
        if let Some(known) = self.known.get(path)
            && known.held
            && known.pass == self.pass
        {
            return Ok(Some(known.clone()));
        }
        let Some(stamp) = Stamp::of_followed(path) else {
            return Ok(None);
        };
        if let Some(known) = self.known.get(path)
            && known.stamp == stamp
            && (known.settled || known.pass == self.pass)
        {
            return Ok(Some(known.clone()));
        }
        let sha256 = file_hash(path, name)?;
        Ok(sha256.map(|sha256| Known {
            stamp,
            settled: moment.settles(&stamp),
            pass: self.pass,
            held: false,
            sha256,
        }))
    }
}
