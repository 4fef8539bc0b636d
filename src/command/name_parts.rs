//! What names of versions are made of where the caller stands: HEAD, the tree, the app.
//!
//! Puts no name together, and keeps nothing.

use super::unreadable::{head_failure, tree_failure};
use super::{Context, environment};
use crate::cli::HashArgs;
use crate::config::Settings;
use crate::error::{Failure, FailureKind};
use crate::git::Git;
use crate::identity::sanitize_app;
use crate::identity::tree::CapturedTree;
use crate::ids::ObjectId;
use crate::repository::Worktree;
use crate::session::app_name;

pub(super) fn captured(git: &Git) -> Result<CapturedTree, Failure> {
    CapturedTree::read(git, None).map_err(|error| tree_failure(git, &error))
}

pub(super) fn head(git: &Git) -> Result<ObjectId, Failure> {
    let bytes = git
        .line(&["rev-parse", "--verify", "HEAD"])
        .map_err(|error| head_failure(git, &error))?;
    String::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| {
            Failure::new(FailureKind::Negative, "git names no object id for HEAD")
                .hint("git rev-parse HEAD")
        })
}

pub(super) fn app(context: &Context, arguments: &HashArgs) -> Result<String, Failure> {
    if let Some(app) = arguments.app.as_deref().map(sanitize_app) {
        return if app.is_empty() {
            Err(Failure::new(FailureKind::Usage, "an app has a name")
                .hint("tracemark hash --name --app NAME"))
        } else {
            Ok(app)
        };
    }
    let cwd = std::env::current_dir().unwrap_or_default();
    let Ok(worktree) = Worktree::discover(&cwd) else {
        let name = cwd.file_name().map(|name| name.to_string_lossy());
        return Ok(sanitize_app(&name.unwrap_or_else(|| "app".into())));
    };
    let record = context.registry().find(&worktree.common_dir)?;
    let private = record.map(|record| record.settings).unwrap_or_default();
    let layer = environment::layer().over(private);
    let settings = Settings::load(&layer, &worktree.root, &context.paths.user_config())?;
    Ok(app_name(&settings, &worktree))
}
