//! The code of a version as objects that git can show and compare; that of the disk is captured for it.
//!
//! Makes no version of it, and asks no store but for what `versions` asks.

use super::Context;
use super::versions::Versions;
use crate::error::{Failure, FailureKind};
use crate::git::Git;
use crate::identity::files::Files;
use crate::snapshot::{LeftOut, Limits};
use crate::text::shell_quoted;
use crate::trust;

/// How often the disk is read where files change meanwhile.
const TRIES: usize = 5;

/// The code of a version as objects.
pub(super) struct Code {
    /// The tree as git takes files in.
    pub(super) tree: String,
    /// The tree with the bytes of the disk.
    pub(super) disk: String,
    /// Not in the snapshots but in the repository itself.
    pub(super) in_repository: bool,
    /// What is not kept of it.
    pub(super) left_out: Vec<LeftOut>,
}

impl Versions {
    /// Returns the code of what `id` means, `@` for the disk now.
    pub(super) fn code(&self, context: &Context, id: &str) -> Result<Code, Failure> {
        if id == "@" {
            return self.code_now(context);
        }
        let version = self.find(context, id)?;
        if let Some(record) = version.record {
            return Ok(Code {
                disk: record.disk().to_owned(),
                tree: record.tree,
                in_repository: false,
                left_out: record.left_out,
            });
        }
        if let Some(committed) = version.committed {
            let record = committed.record(&self.worktree.root)?;
            return Ok(Code {
                disk: record.tree.clone(),
                tree: record.tree,
                in_repository: true,
                left_out: record.left_out,
            });
        }
        Err(not_kept(id))
    }

    fn code_now(&self, context: &Context) -> Result<Code, Failure> {
        let (worktree, record) = context.tracked()?;
        let settings = super::load_settings(context, &worktree, &record)?;
        let limits = Limits {
            file: settings.retention.file_limit,
            quota: u64::MAX,
        };
        let private = worktree.private_dir();
        let scratch = crate::identity::scratch::in_place(&private);
        let doubt = trust::doubt(&context.registry(), &worktree);
        let git = match doubt {
            None => Git::at(&worktree.root).wary(),
            Some(_) => Git::at(&worktree.root).distrusting(),
        };
        let head = git.line(&["rev-parse", "-q", "--verify", "HEAD"]);
        let head = head.ok().and_then(|head| String::from_utf8(head).ok());
        let mut tries = 0;
        loop {
            tries += 1;
            let kept = Files::read(&git, &worktree.root, scratch)
                .map_err(|error| error.to_string())
                .and_then(|(_, files)| {
                    let captured =
                        self.snapshots
                            .capture(&worktree.root, head.as_deref(), &files, &limits);
                    captured.map_err(|error| error.to_string())
                });
            match kept {
                Ok(captured) => {
                    return Ok(Code {
                        disk: captured.disk.unwrap_or_else(|| captured.tree.clone()),
                        tree: captured.tree,
                        in_repository: false,
                        left_out: captured.left_out,
                    });
                }
                Err(_) if tries < TRIES => {}
                Err(reason) => {
                    return Err(Failure::new(FailureKind::Negative, &reason).hint("git status"));
                }
            }
        }
    }
}

/// Returns why the code of a version cannot be had.
pub(super) fn not_kept(id: &str) -> Failure {
    Failure::new(
        FailureKind::Negative,
        &format!("the code of {id:?} is not kept on this machine"),
    )
    .hint(&format!("tracemark show {}", shell_quoted(id)))
}
