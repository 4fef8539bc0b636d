//! What a pass that looks at every file begins with, and the part of it that may be read before.
//!
//! Reads no file of the code, and keeps nothing: what was prepared lies with whoever asked for it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Pass;
use super::stop::Stop;
use crate::identity::git_config::{GitConfig, lists_untracked};
use crate::identity::ground::{Ground, Places};
use crate::identity::head::Head;
use crate::identity::helper_text::python_strip;
use crate::identity::index_file::IndexFile;
use crate::identity::index_names::IndexNames;
use crate::identity::nearby::Nearby;
use crate::identity::object::Format;
use crate::identity::split_index;
use crate::identity::stamp::{Moment, Stamp};

/// What every reading of a full pass begins with.
pub(super) struct Basis {
    pub(super) config: GitConfig,
    pub(super) ground: Ground,
    pub(super) index: Arc<IndexFile>,
    pub(super) head: Head,
    /// The repository, where git2 opens it as git does.
    pub(super) nearby: Option<Nearby>,
}

/// What was read before anybody asked for a pass. Counts as long as the ground is the same.
#[derive(Debug)]
pub(in crate::identity) struct Prepared {
    config: GitConfig,
    ground: Ground,
    index: Arc<IndexFile>,
    format: Format,
    /// The time before it was read.
    moment: Moment,
}

impl Prepared {
    /// Returns what the index names, where it is the same as it was.
    pub(in crate::identity) fn names(&self, places: &Places) -> Option<IndexNames> {
        let file = places.git_dir.join("index");
        let is_same = Stamp::of_followed(&file) == self.ground.stamp(&file);
        is_same.then(|| IndexNames::of(Arc::clone(&self.index)))
    }
}

impl Pass<'_> {
    /// Reads what needs nothing of the repository to run.
    pub(in crate::identity) fn prepare(&self) -> Result<Prepared, Stop> {
        let (config, ground) = self.config_and_ground(None)?;
        // Another change could leave the same stamps, and nothing tells of it yet.
        if !ground.is_settled(&self.moment) {
            return Err(Stop::Torn);
        }
        let format = match config.get("extensions.objectformat") {
            Some("sha256") => Format::Sha256,
            _ => Format::Sha1,
        };
        Ok(Prepared {
            index: self.index(format)?,
            config,
            ground,
            format,
            moment: self.moment,
        })
    }

    /// Reads everything, but for what was prepared and still counts.
    pub(super) fn basis(
        &mut self,
        prepared: Option<Prepared>,
        ground_before: Option<&Ground>,
    ) -> Result<Basis, Stop> {
        let prepared = prepared.filter(|it| Ground::of(self.places, &it.config) == it.ground);
        let (config, ground, read) = if let Some(prepared) = prepared {
            self.moment = prepared.moment;
            let read = (prepared.index, prepared.format);
            (prepared.config, prepared.ground, Some(read))
        } else {
            let (config, ground) = self.config_and_ground(ground_before)?;
            (config, ground, None)
        };
        let (head, nearby) = self.head_and_repository()?;
        let index = match read {
            Some((index, format)) if format == head.format => index,
            _ => self.index(head.format)?,
        };
        if misses_rules(&self.places.root, &index) {
            return Err(Stop::NotPlain);
        }
        Ok(Basis {
            config,
            ground,
            index,
            head,
            nearby,
        })
    }

    fn config_and_ground(
        &self,
        ground_before: Option<&Ground>,
    ) -> Result<(GitConfig, Ground), Stop> {
        let config = GitConfig::read(self.git, &self.places.root)?;
        is_plain_config(&config)?;
        let ground = Ground::of(self.places, &config);
        if ground_before != Some(&ground) && GitConfig::read(self.git, &self.places.root)? != config
        {
            return Err(Stop::Torn);
        }
        Ok((config, ground))
    }

    fn index(&self, format: Format) -> Result<Arc<IndexFile>, Stop> {
        let git_dir = &self.places.git_dir;
        let bytes = split_index::whole(std::fs::read(git_dir.join("index"))?, git_dir);
        let index = IndexFile::read(bytes, format.id_length());
        let index = index.filter(IndexFile::is_plain).ok_or(Stop::NotPlain)?;
        Ok(Arc::new(index))
    }

    /// Opens the repository while git is asked for HEAD.
    fn head_and_repository(&self) -> Result<(Head, Option<Nearby>), Stop> {
        std::thread::scope(|scope| {
            let head = scope.spawn(|| self.head());
            let nearby = Nearby::find(self.git);
            let head = head.join().map_err(|_| Stop::NotPlain)?;
            Ok((head?, nearby))
        })
    }

    fn head(&self) -> Result<Head, Stop> {
        let arguments = [
            "rev-parse",
            "--show-toplevel",
            "HEAD^{commit}",
            "HEAD^{tree}",
        ];
        let output = self.git.run(&arguments)?.stdout;
        let text = String::from_utf8(output).map_err(|_| Stop::NotPlain)?;
        let mut lines = text.split_terminator('\n');
        let (Some(root), Some(commit), Some(tree), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Stop::NotPlain);
        };
        let is_plain = Path::new(root) == self.places.root && python_strip(root) == root;
        let head = Head::of(commit, tree).filter(|_| is_plain && !root.contains('\r'));
        head.ok_or(Stop::NotPlain)
    }
}

/// Returns whether a file is gone that says how others are read: git reads it out of the index until it comes to it itself, so
/// that the order of the paths counts.
fn misses_rules(root: &Path, index: &IndexFile) -> bool {
    let is_file = |path: &[u8]| {
        let metadata = root.join(OsStr::from_bytes(path)).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_file())
    };
    !index.rule_files().all(is_file)
}

/// Refuses settings under which a narrow pass could differ from one from scratch.
fn is_plain_config(config: &GitConfig) -> Result<(), Stop> {
    let off = |key| config.get(key).is_none() || config.is_true(key) == Some(false);
    let on = |key| config.get(key).is_none() || config.is_true(key) == Some(true);
    let shows_untracked = config
        .get("status.showuntrackedfiles")
        .is_none_or(lists_untracked);
    // What `git add` dies of where it is no truth value, or none of the other words for colours.
    let is_truth = |key| config.get(key).is_none() || config.is_true(key).is_some();
    let of_colours = config.get("color.ui");
    let is_plain = is_truth("add.ignoreerrors")
        && is_truth("add.ignore-errors")
        && (is_truth("color.ui")
            || of_colours.is_some_and(|value| ["auto", "always", "never"].contains(&value)))
        && on("core.filemode")
        && on("core.symlinks")
        && off("core.ignorecase")
        && off("core.precomposeunicode")
        && off("core.sparsecheckout")
        && config
            .get("core.fsmonitor")
            .is_none_or(|_| config.is_true("core.fsmonitor").is_some())
        && config.get("core.abbrev").is_none()
        && config.get("core.worktree").is_none()
        && !config.get("core.excludesfile").is_some_and(is_of_a_user)
        && !config.get("core.attributesfile").is_some_and(is_of_a_user)
        && shows_untracked
        && !config.has_own_filters()
        && !config.runs_programs_in_diffs();
    is_plain.then_some(()).ok_or(Stop::NotPlain)
}

/// `~name/…`, and `%(prefix)/…`, which git alone knows how to read.
fn is_of_a_user(path: &str) -> bool {
    path.starts_with('~') && !path.starts_with("~/") || path.starts_with('%')
}
