//! The names of the tags that LoggedModels carry: our own, and those of MLflow's that its pages show.
//!
//! Pure: which row has which, and what that means, is said where they are used.

/// The content id of the version.
pub const CONTENT: &str = "tracemark.content";
/// The commit that HEAD was.
pub const HEAD: &str = "tracemark.head";
/// Whether anything was not committed: `true` or `false`.
pub const DIRTY: &str = "tracemark.dirty";
/// What tells rows apart whose creation was not answered: one for each try.
pub const NONCE: &str = "tracemark.nonce";
/// On a version that goes by its name alone, whatever the code: `true`.
pub const PINNED: &str = "tracemark.pinned";
/// On a later row of a version: the id of the one that stands for it.
pub const DUPLICATE_OF: &str = "tracemark.duplicate_of";
/// Which of several versions of the same code.
pub const VARIANT: &str = "tracemark.variant";
/// On a row that another machine than its maker's hands out: `true`.
pub const SHARED: &str = "tracemark.shared";
/// Whether the code can be brought back on the machine that made the row: `true`, `partial` or `false`; `false` until it is kept.
pub const RESTORABLE: &str = "tracemark.restorable";
/// The version of these tags.
pub const SCHEMA: &str = "tracemark.schema";
/// How the LoggedModel was named.
pub const NAMING: &str = "tracemark.naming";
/// The app's name.
pub const APP: &str = "tracemark.app";

/// As HEAD, for MLflow's pages (3.17.2, `mlflow/utils/mlflow_tags.py`, as all that follow).
pub const GIT_COMMIT: &str = "mlflow.source.git.commit";
/// The branch that was checked out.
pub const GIT_BRANCH: &str = "mlflow.source.git.branch";
/// `false` on a version in which all is committed, else absent.
pub const GIT_DIRTY: &str = "mlflow.source.git.dirty";
/// The address of the remote `origin`.
pub const GIT_REPO_URL: &str = "mlflow.source.git.repoURL";
/// Set by `create_external_model`.
pub const EXTERNAL: &str = "mlflow.model.isExternal";
/// Who made the row.
pub const USER: &str = "mlflow.user";
/// What made it.
pub const SOURCE_NAME: &str = "mlflow.source.name";
/// What kind of thing that is.
pub const SOURCE_TYPE: &str = "mlflow.source.type";
