//! `tracemark up`: tracks this repository and shows it. Safe to repeat.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::down::hook_failure;
use super::environment::{laid_over, layer_for, over_kept};
use super::{
    Context, answer, ask_client, client_failure, daemon, here, mlflow_setup, once, say, warn,
};
use crate::cli::UpArgs;
use crate::config::{ConnectionLayer, Layer, StoreLayer};
use crate::error::{Failure, FailureKind};
use crate::exclude;
use crate::fs_util::{PathError, create_private_dir, printable, shell_quoted};
use crate::hooks::{self, Installed};
use crate::identity::Naming;
use crate::ledger::Ledger;
use crate::protocol::Active;
use crate::registry::Record;
use crate::repository::Worktree;
use crate::session::{Session, choice_text, credentials_seen};

/// How long the first version may take.
const FIRST_VERSION: Duration = Duration::from_secs(20);

pub(super) fn run(context: &Context, arguments: &UpArgs) -> Result<(), Failure> {
    let worktree = here()?;
    check_writable(&worktree)?;
    let registry = context.registry();
    let known = registry.find(&worktree.common_dir)?;
    let mut record = match known {
        Some(record) => record,
        None => Record::new(&worktree)?,
    };
    record.settings = over_kept(asked_for(arguments)?, record.settings);
    limit(&mut record, &worktree, arguments.only_this);

    let ledger = Arc::new(Ledger::open(&context.paths.ledger())?);
    let session = Session::open(&worktree, &record.settings, &context.paths, ledger)?;
    refuse_tracked_store(&worktree, session.store_file())?;
    mlflow_setup::offer(&session.uri, &worktree.root, None, arguments.yes);
    check_store(&session)?;
    note_credentials(context, &session, &mut record)?;

    keep_out(&worktree, session.store_file(), &mut record)?;
    create_private_dir(&worktree.private_dir())?;
    registry.write(&record)?;
    install_hooks(&worktree)?;
    daemon::replace_outdated(context)?;
    let client = daemon::ensure(context, session.settings.store_uri.as_deref())?;
    client
        .track(&worktree.root)
        .map_err(|error| client_failure(&error))?;
    let active = ask_client(&client, &worktree.root, FIRST_VERSION)?;
    answer(&summary(&worktree, &session, &active))?;
    warn_of_shell(&active);
    verdict(&active)
}

/// Flags over this shell's environment.
fn asked_for(arguments: &UpArgs) -> Result<Layer, Failure> {
    let flags = Layer {
        naming: arguments
            .naming
            .map(|naming| Naming::from(naming).as_str().to_owned()),
        app: arguments.app.clone(),
        store: StoreLayer {
            uri: arguments.store.clone(),
            experiment: arguments.experiment.clone(),
            experiment_id: None,
            connection: ConnectionLayer {
                allow_http_credentials: arguments.allow_http_credentials,
                ..ConnectionLayer::default()
            },
        },
        ..Layer::default()
    };
    let environment = layer_for(arguments.store.as_deref())?;
    Ok(laid_over(flags, environment))
}

/// Remembers which variables of this shell hold a password or token, never what they hold, so that a daemon without
/// them can say what it lacks.
fn note_credentials(
    context: &Context,
    session: &Session,
    record: &mut Record,
) -> Result<(), Failure> {
    let seen = credentials_seen(session, &context.paths)?;
    if !seen.is_empty() {
        say(&format!(
            "{} of this shell is used by a daemon that is started from it, and kept nowhere; other daemons need it in {}",
            seen.join(", "),
            context.paths.credentials().display()
        ));
        record.settings.store.connection.credentials_seen = seen;
    }
    Ok(())
}

fn limit(record: &mut Record, worktree: &Worktree, only_this: bool) {
    if !only_this {
        record.only.clear();
    } else if !record.only.contains(&worktree.root) {
        record.only.push(worktree.root.clone());
    }
}

/// Fails before anything is written where the git directory cannot be written or belongs to somebody else.
fn check_writable(worktree: &Worktree) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = worktree
        .common_dir
        .metadata()
        .map_err(PathError::of("read", &worktree.common_dir))?
        .uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Failure::new(
            FailureKind::Configuration,
            &format!("{} belongs to another user", worktree.common_dir.display()),
        )
        .hint("run tracemark up as its owner"));
    }
    let private = worktree.private_dir();
    let place = if private.exists() {
        &private
    } else {
        &worktree.git_dir
    };
    match tempfile::tempfile_in(place) {
        Ok(_) => Ok(()),
        Err(error) => Err(PathError::of("write", place)(error.kind().into()).into()),
    }
}

/// A store that refuses is a reason to stop before anything is written; one that is away is not.
fn check_store(session: &Session) -> Result<(), Failure> {
    match once::runtime()?.block_on(session.check()) {
        Err(error) if !error.is_transient() => Err(error.into()),
        _ => Ok(()),
    }
}

/// A database that git tracks would make every trace a change of the code.
fn refuse_tracked_store(worktree: &Worktree, store: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = store.filter(|file| exclude::is_tracked(worktree, file)) else {
        return Ok(());
    };
    let name = file.strip_prefix(&worktree.root).unwrap_or(file);
    Err(Failure::new(
        FailureKind::Configuration,
        &format!(
            "{} is tracked by git: every trace would be a change of the code",
            name.display()
        ),
    )
    .hint(&format!("git rm --cached '{}'", name.display())))
}

fn keep_out(worktree: &Worktree, store: Option<&Path>, record: &mut Record) -> Result<(), Failure> {
    let patterns = exclude::missing(worktree, store);
    if patterns.is_empty() {
        return Ok(());
    }
    exclude::add(&worktree.common_dir, &patterns)?;
    record.excluded = true;
    say(&format!(
        "Running an app would change the code by {}: added to {}",
        patterns.join(", "),
        printable(&worktree.common_dir.join("info/exclude").to_string_lossy())
    ));
    Ok(())
}

fn install_hooks(worktree: &Worktree) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(
            FailureKind::Configuration,
            &format!("cannot find this program: {error}"),
        )
        .hint("run it by its full path")
    })?;
    match hooks::install(worktree, &program).map_err(hook_failure)? {
        Installed::All => {}
        Installed::Except(files) => {
            for file in files {
                say(&format!(
                    "{} is no shell script and was left alone; the daemon sees commits without it",
                    printable(&file.to_string_lossy())
                ));
            }
        }
        Installed::Elsewhere { dir, line } => say(&format!(
            "Hooks are run from {}, which is not this repository's own; the daemon sees commits without them. To hurry it, add there: {}",
            printable(&dir.to_string_lossy()),
            printable(&line)
        )),
    }
    Ok(())
}

/// What is tracked, where, under which id, and how an app reads it.
fn summary(worktree: &Worktree, session: &Session, active: &Active) -> String {
    let id = match &active.model_id {
        Some(id) => format!("{id} (active)"),
        None => format!(
            "none yet: {}",
            active.reason.as_deref().unwrap_or("not known")
        ),
    };
    let name = active.name.as_deref().unwrap_or("not read yet");
    let note = active
        .note
        .as_ref()
        .map_or_else(String::new, |note| format!(" ({note})"));
    let rows = [
        ("tracking", worktree.root.to_string_lossy().into_owned()),
        (
            "store",
            format!(
                "{}{}, experiment {}",
                session.uri.to_tracking_uri(),
                caution(session),
                active
                    .experiment_id
                    .clone()
                    .unwrap_or_else(|| choice_text(&session.settings.experiment))
            ),
        ),
        ("version", format!("{name}{note}")),
        ("model id", id),
        (
            "use it",
            format!(
                "tracemark exec -- python app.py   (or: set -a; . {}; set +a)",
                shell_quoted(&active.env_file)
            ),
        ),
    ];
    rows.iter()
        .map(|(name, value)| format!("{name:<9} {}\n", printable(value)))
        .collect()
}

/// What was given up on the way to the store is said each time.
fn caution(session: &Session) -> &'static str {
    let connection = &session.settings.connection;
    match (connection.insecure_tls, connection.allow_http_credentials) {
        (true, _) => " (its certificate is not checked)",
        (false, true) => " (credentials over plain http allowed)",
        (false, false) => "",
    }
}

/// Readers of env files do not override what a shell exported.
fn warn_of_shell(active: &Active) {
    let exported = std::env::var("MLFLOW_ACTIVE_MODEL_ID").unwrap_or_default();
    if !exported.is_empty() && Some(&exported) != active.model_id.as_ref() {
        warn(
            "this shell exports MLFLOW_ACTIVE_MODEL_ID, which apps started here would use instead",
            "unset MLFLOW_ACTIVE_MODEL_ID",
        );
    }
}

/// Tracking is on in any case; a store that failed, other than by not being there yet, is told by the exit code.
fn verdict(active: &Active) -> Result<(), Failure> {
    if active.waiting_for.as_deref() != Some("store") || active.store.starts_with("sqlite:") {
        return Ok(());
    }
    let reason = active.reason.as_deref().unwrap_or("the store failed");
    Err(Failure::new(
        FailureKind::Store,
        &format!("tracking is on, but the store gives no model id: {reason}"),
    )
    .hint(active.hint.as_deref().unwrap_or("tracemark status")))
}
