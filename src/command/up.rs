//! `tracemark up`: tracks this repository and shows it. Safe to repeat.
//!
//! Puts nothing of ours into the repository before it is on the list of `written`; keeps no password and no token.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::environment::{layer_for, over_kept};
use super::keep_out::{keep_out, kept_out, refuse_tracked_store};
use super::owner::check_owner;
use super::steps::Steps;
use super::way::Way;
use super::{
    Context, answer, ask_client, checks, client_failure, config, daemon_end, daemon_start, fixes,
    here, looking, mlflow_setup, once, say, untrack, up_plan, warn,
};
use crate::cli::UpArgs;
use crate::config::{ConnectionLayer, Layer, StoreLayer};
use crate::error::{Failure, FailureKind};
use crate::exclude;
use crate::fs_util::{PathError, create_private_dir};
use crate::hook_settings;
use crate::hooks::{self, EVENTS, Installed, LeftAlone, Plan};
use crate::identity::Naming;
use crate::ledger::Ledger;
use crate::protocol::Active;
use crate::registry::{Record, Registry, RegistryError};
use crate::repository::Worktree;
use crate::session::{Session, choice_text};
use crate::text::{printable, shell_quoted};
use crate::trust;
use crate::written::{self, Entry, Written};

/// How long the first version may take.
const FIRST_VERSION: Duration = Duration::from_secs(20);

pub(super) fn run(context: &Context, arguments: &UpArgs) -> Result<(), Failure> {
    let worktree = here()?;
    if worktree.root.to_str().is_none() {
        return Err(RegistryError::NotUtf8(worktree.root).into());
    }
    refuse_everything(context, &worktree, arguments)?;
    check_owner(&worktree)?;
    let old = written::moved_record(&context.registry(), &worktree);
    let mut record = record_of(context, &worktree, old.as_ref())?;
    record.settings = over_kept(asked_for(arguments)?, record.settings);
    limit(&mut record, &worktree, arguments.only_this);
    if arguments.dry_run {
        return dry_run(context, &worktree, record, arguments);
    }
    check_writable(&worktree)?;
    let steps = Steps::new();
    Written::begin(&context.paths)?;
    let ledger = Arc::new(Ledger::open(&context.paths.ledger())?);
    fixes::first_commit(&worktree, arguments.yes);
    let session = open_store(context, &worktree, arguments, &mut record, &ledger)?;
    steps.done("store", &session.uri.to_tracking_uri());
    note_credentials(context, &session, &mut record);
    let hooks = write(context, &session, &mut record, old.as_ref(), &ledger)?;
    steps.done("hooks", &format!("{hooks} written"));
    begin(context, arguments, &session, steps)
}

/// What is kept of the repository: at its place, at the place where it lay before, of the one that it was restored from, or
/// nothing yet.
fn record_of(
    context: &Context,
    worktree: &Worktree,
    old: Option<&Record>,
) -> Result<Record, Failure> {
    Ok(
        match (context.registry().find(&worktree.common_dir)?, old) {
            (Some(record), _) => record,
            (None, Some(old)) => old.clone().moved_to(worktree)?,
            (None, None) => match written::restored_record(&context.registry(), worktree) {
                Some(restored) => restored.moved_to(worktree)?,
                None => Record::new(worktree)?,
            },
        },
    )
}

/// Opens the store that the settings name, and offers to mend what would make it useless.
fn open_store(
    context: &Context,
    worktree: &Worktree,
    arguments: &UpArgs,
    record: &mut Record,
    ledger: &Arc<Ledger>,
) -> Result<Session, Failure> {
    let open = |record: &Record| {
        let (named, ledger) = (arguments.store.as_deref(), Arc::clone(ledger));
        Session::open_named(worktree, &record.settings, named, &context.paths, ledger)
    };
    let mut session = open(record)?;
    if fixes::places_of_the_code(&session, record, arguments.yes) {
        session = open(record)?;
    }
    fixes::tracked_database(worktree, &session, arguments.yes);
    refuse_tracked_store(worktree, session.store_file())?;
    mlflow_setup::offer(&session.uri, &worktree.root, None, arguments.yes);
    check_store(&session)?;
    Ok(session)
}

/// Writes everything, each thing after it is on the list; returns how many hooks.
fn write(
    context: &Context,
    session: &Session,
    record: &mut Record,
    old: Option<&Record>,
    ledger: &Ledger,
) -> Result<usize, Failure> {
    let worktree = &session.worktree;
    let plan = hooks::plan(worktree, &super::this_program()?)?;
    record.trusted = Some(trusted(worktree, &plan)?);
    let (registry, list) = (context.registry(), Written::of(&context.paths));
    let mut entry = match old {
        Some(old) => list.entry(old).moved_to(record),
        None => list.entry(record),
    };
    note(&list, &mut entry, &plan)?;
    keep_out(context, worktree, session, record)?;
    create_private_dir(&worktree.private_dir())?;
    entry.carry(&context.paths)?;
    registry.write(record)?;
    if let Some(old) = old {
        carry_over(ledger, old, worktree)?;
        forget(context, &registry, &list, old)?;
    }
    let hooks = plan.writes.len() + usize::from(!plan.settings.is_empty());
    install_hooks(plan)?;
    Ok(hooks)
}

/// Has the daemon track it, and shows the first version.
fn begin(
    context: &Context,
    arguments: &UpArgs,
    session: &Session,
    steps: Steps,
) -> Result<(), Failure> {
    let worktree = &session.worktree;
    daemon_end::replace_outdated(context)?;
    let client = daemon_start::ensure(context, arguments.store.as_deref())?;
    client
        .track(&worktree.root)
        .map_err(|error| client_failure(&error))?;
    let place = format!("answers on {}", client.socket().display());
    steps.done("daemon", &place);
    steps.done("code", "is read, and its version found or made …");
    let active = ask_client(&client, &worktree.root, FIRST_VERSION)?;
    answer(&summary(worktree, session, &active))?;
    notice(context, worktree, session, active.model_id.as_deref())?;
    verdict(&active)
}

/// What is owed, and what was, comes along with a repository that was moved.
fn carry_over(ledger: &Ledger, old: &Record, worktree: &Worktree) -> Result<(), Failure> {
    let moves = [
        (&old.root, &worktree.root),
        (&old.common_dir, &worktree.common_dir),
    ];
    for (from, to) in moves {
        ledger.moved(&from.to_string_lossy(), &to.to_string_lossy())?;
    }
    Ok(())
}

/// The place where a repository lay before it was moved.
fn forget(
    context: &Context,
    registry: &Registry,
    list: &Written,
    old: &Record,
) -> Result<(), Failure> {
    registry.remove(&old.common_dir)?;
    list.remove(&Entry::new(old))?;
    untrack(context, &old.root);
    say(&format!(
        "This repository was tracked in {}: its settings came along",
        printable(&old.root.to_string_lossy())
    ));
    Ok(())
}

/// What would make tracking useless, with its cure.
fn notice(
    context: &Context,
    worktree: &Worktree,
    session: &Session,
    active: Option<&str>,
) -> Result<(), Failure> {
    config::tell(context, &config::read(context, Some(worktree))?);
    let of_app = checks::app::env_files(session).into_iter();
    let findings = checks::here::exported_id(active)
        .into_iter()
        .chain(checks::here::no_commit(worktree))
        .chain(checks::app::old_mlflow(&worktree.root))
        .chain(checks::app::other_experiment(session))
        .chain(checks::app::other_store(session))
        .chain(of_app);
    for finding in findings {
        warn(&finding.problem, &finding.cure);
    }
    Ok(())
}

fn dry_run(
    context: &Context,
    worktree: &Worktree,
    mut record: Record,
    arguments: &UpArgs,
) -> Result<(), Failure> {
    let session = looking::session(context, worktree, &record, arguments.store.as_deref())?;
    refuse_tracked_store(worktree, session.store_file())?;
    note_credentials(context, &session, &mut record);
    let plan = hooks::plan(worktree, &super::this_program()?)?;
    record.trusted = Some(trusted(worktree, &plan)?);
    record.excluded |= !kept_out(context, worktree, &session).is_empty();
    up_plan::show(context, worktree, &session, &record, arguments)?;
    notice(context, worktree, &session, None)
}

/// What the repository's configuration names as programs once our own hook is in it.
fn trusted(worktree: &Worktree, plan: &Plan) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut programs = trust::programs(worktree)?;
    let ours = plan.settings.iter();
    for (key, command) in ours.filter(|(key, _)| key == hook_settings::COMMAND) {
        programs.insert(key.clone(), vec![command.clone()]);
    }
    Ok(programs)
}

/// Flags over this shell's environment.
fn asked_for(arguments: &UpArgs) -> Result<Layer, Failure> {
    if arguments.experiment.as_deref() == Some("") {
        let failure = Failure::new(FailureKind::Usage, "an experiment has a name");
        return Err(failure.hint("tracemark up --experiment Default"));
    }
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
    Ok(flags.over(environment))
}

/// Remembers which variables of this shell hold a password or token, never what they hold, so that a daemon without
/// them can say what it lacks.
fn note_credentials(context: &Context, session: &Session, record: &mut Record) {
    let seen = session.credentials_seen().to_vec();
    if !seen.is_empty() {
        say(&format!(
            "{} of this shell is used by a daemon that is started from it, and kept nowhere; other daemons need it in {}",
            seen.join(", "),
            context.paths.credentials().display()
        ));
        record.settings.store.connection.credentials_seen = seen;
    }
}

fn limit(record: &mut Record, worktree: &Worktree, only_this: bool) {
    if !only_this {
        record.only.clear();
    } else if !record.only.contains(&worktree.root) {
        record.only.push(worktree.root.clone());
    }
}

/// A repository of everything that one has would make every file on the machine code.
fn refuse_everything(
    context: &Context,
    worktree: &Worktree,
    arguments: &UpArgs,
) -> Result<(), Failure> {
    let home = context.paths.home.canonicalize();
    let is_home = home.is_ok_and(|home| home == worktree.root);
    if arguments.allow_home || !(is_home || worktree.root == Path::new("/")) {
        return Ok(());
    }
    let message = format!(
        "{} is a repository of everything: each file that any program writes there would be a change of the code",
        worktree.root.display()
    );
    Err(Failure::new(FailureKind::Configuration, &message)
        .hint("git init in the directory of your app, or tracemark up --allow-home"))
}

fn check_writable(worktree: &Worktree) -> Result<(), Failure> {
    let private = worktree.private_dir();
    if private.is_symlink() {
        let message = format!(
            "{} is a link, and nothing is written through it",
            private.display()
        );
        let cure = format!("rm {}", shell_quoted(&private.to_string_lossy()));
        return Err(Failure::new(FailureKind::Configuration, &message).hint(&cure));
    }
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

/// Lists what is about to be written in the repository, before it is.
fn note(list: &Written, entry: &mut Entry, plan: &Plan) -> Result<(), Failure> {
    entry.note(&exclude::file(&entry.common_dir.clone()))?;
    for (file, _) in &plan.writes {
        entry.note_hook(file)?;
    }
    if !plan.settings.is_empty() {
        entry.note(&hook_settings::file(&entry.common_dir.clone()))?;
    }
    Ok(list.write(entry)?)
}

fn install_hooks(plan: Plan) -> Result<(), Failure> {
    match hooks::install(plan)? {
        Installed::All => {}
        Installed::Except(hooks) => {
            for LeftAlone { file, why, .. } in hooks {
                say(&format!(
                    "{} is {why} and was left alone; the daemon sees commits without it",
                    printable(&file.to_string_lossy())
                ));
            }
        }
        Installed::Elsewhere { dir } => {
            say(&format!(
                "Hooks are run from '{}', which is not this repository's own; the daemon sees commits without them. To hurry it, add to the hooks in '{}':",
                printable(&dir.to_string_lossy()),
                printable(&hooks::place_of_lines(&dir).to_string_lossy())
            ));
            for event in EVENTS {
                say(&format!("  {event}: {}", hooks::line(event)));
            }
        }
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
                way(session),
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
fn way(session: &Session) -> String {
    let (connection, uses_tls) = (&session.settings.connection, session.uses_tls());
    let certificates = connection.server_cert.as_ref().filter(|_| uses_tls);
    let way = Way {
        is_unchecked: connection.insecure_tls && uses_tls,
        takes_plain_http: connection.allow_http_credentials,
        certificates: certificates.map(|file| file.to_string_lossy().into_owned()),
    };
    let text = way.text();
    if text.is_empty() {
        text
    } else {
        format!(" ({text})")
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
