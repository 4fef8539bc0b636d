//! An answer without a daemon: one reading and one resolution in this process, for CI and for when no daemon can be
//! had.
//!
//! Publishes nothing: no env file, no socket. Runs nothing in a tracked repository that `up` did not see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::hash::warn_of_strangers;
use crate::config::Layer;
use crate::error::{Failure, FailureKind, chain};
use crate::identity::reader::Doubt;
use crate::identity::{Naming, ReadError};
use crate::ledger::Ledger;
use crate::mlflow::{Retries, StoreError, stop_waiting};
use crate::protocol::{API, Active};
use crate::registry::Record;
use crate::repository::Worktree;
use crate::session::{Review, Session, choice_text, reader_of};
use crate::touched::Touched;
use crate::trust;
use crate::version::{ActiveModel, Observation};
use crate::written::{Entry, Written};

/// How often a reading is tried while files keep changing.
const READINGS_MAX: u32 = 20;
/// How long a store is asked where nobody wants to wait.
const ONE_TRY: Duration = Duration::from_secs(5);
/// How long it may take to let go of a lock.
const GIVING_UP: Duration = Duration::from_millis(300);

/// Reads the worktree and finds or creates its LoggedModel.
pub(super) fn resolve(
    context: &Context,
    worktree: &Worktree,
    settings: &Layer,
    wait: Duration,
) -> Result<Active, Failure> {
    let is_tracked = context.registry().find(&worktree.common_dir)?.is_some();
    let mut settings = settings.clone();
    // In a tracked one nothing runs that `up` did not see; in another one no code is kept.
    if !is_tracked {
        warn_of_strangers(context, "tracemark up, if all of that is yours");
        settings.snapshots.enabled = Some(false);
    }
    note(context, worktree)?;
    let ledger = Arc::new(Ledger::open(&context.paths.ledger())?);
    let session = Arc::new(Session::open(worktree, &settings, &context.paths, ledger)?);
    let observation = observe(context, &session, is_tracked)?;
    let limit = if wait.is_zero() { ONE_TRY } else { wait };
    let runtime = runtime()?;
    let model = runtime.block_on(persist(&session, &observation, Instant::now(), limit));
    // What hangs in another thread is not waited for.
    runtime.shutdown_background();
    Ok(describe(&session, &observation, &model?))
}

/// What is about to be written lies on the list of `down --purge`, also where no `up` was run.
fn note(context: &Context, worktree: &Worktree) -> Result<(), Failure> {
    Written::begin(&context.paths)?;
    // What no record can hold, `up` refuses and nothing is kept of.
    if let Ok(record) = Record::new(worktree) {
        Written::of(&context.paths).keep(&Entry::new(&record))?;
    }
    Ok(())
}

/// Asks again at the pauses of MLflow's own client where the store may answer later, until the time is over.
async fn persist(
    session: &Arc<Session>,
    observation: &Observation,
    began: Instant,
    limit: Duration,
) -> Result<ActiveModel, Failure> {
    let retries = Retries::new(|name| std::env::var(name).ok())?;
    let deadline = began + limit;
    let mut failed = 0;
    loop {
        let error = match find_until(session, observation, deadline).await {
            Some(Ok(model)) => return Ok(model),
            Some(Err(error)) => error,
            None => return Err(no_answer(session, limit)),
        };
        failed += 1;
        let pause = retries
            .pause(&error, failed, chance())
            .filter(|pause| Instant::now() + *pause < deadline);
        let Some(pause) = pause else {
            return Err(error.into());
        };
        tracing::info!(%error, ?pause, "the store is asked again");
        tokio::time::sleep(pause).await;
    }
}

/// A lock is given up at the deadline, so that its error says what was waited for; `None` where nothing is known of what
/// takes so long.
async fn find_until(
    session: &Arc<Session>,
    observation: &Observation,
    deadline: Instant,
) -> Option<Result<ActiveModel, StoreError>> {
    let asking = find(session, observation);
    tokio::pin!(asking);
    if let Ok(found) = tokio::time::timeout_at(deadline.into(), &mut asking).await {
        return Some(found);
    }
    stop_waiting();
    tokio::time::timeout(GIVING_UP, asking).await.ok()
}

fn no_answer(session: &Session, limit: Duration) -> Failure {
    let message = format!(
        "no answer from {} within {} s",
        session.uri.to_tracking_uri(),
        limit.as_secs()
    );
    Failure::new(FailureKind::Store, &message)
        .hint("give it longer with --timeout, or look at the MLflow server")
}

async fn find(
    session: &Arc<Session>,
    observation: &Observation,
) -> Result<ActiveModel, StoreError> {
    if let Some(model) = session.remembered(observation) {
        match session.review(&model, &observation.version).await? {
            Review::Stands { .. } => return Ok(model),
            Review::Later(winner) => return Ok(winner),
            Review::Gone => {}
        }
    }
    let resolved = session.resolve(observation, false).await?;
    match session.finish(&resolved).await {
        Review::Later(winner) => Ok(winner),
        Review::Stands { .. } | Review::Gone => Ok(resolved.model),
    }
}

/// From 0 to 1, so that many who wait do not come back at the same moment.
fn chance() -> f64 {
    let random = uuid::Uuid::new_v4().into_bytes();
    random.first().map_or(0.0, |byte| f64::from(*byte) / 255.0)
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                FailureKind::Bug,
                &format!("cannot start the runtime: {error}"),
            )
        })
}

/// Reads the code; where it is `tracked` it can be kept afterwards.
pub(super) fn observe(
    context: &Context,
    session: &Session,
    tracked: bool,
) -> Result<Observation, Failure> {
    let (registry, worktree) = (context.registry(), session.worktree.clone());
    let doubt = Doubt::new(move |names| trust::doubt_beside(&registry, &worktree, names));
    let mut reader = reader_of(&session.worktree).doubting(doubt);
    reader.want_git_hash(session.settings.naming == Naming::GitHash);
    let mut readings = 1;
    loop {
        match reader.read(&Touched::Everything) {
            Ok(reading) => {
                let files = reader.files();
                let is_safe = files.is_some() || !reader.is_doubted();
                let is_seen = !tracked || !is_safe || session.saw(&reading, files);
                if is_seen || readings >= READINGS_MAX {
                    return Ok(session.observed(reading));
                }
                readings += 1;
            }
            Err(ReadError::Torn) if readings < READINGS_MAX => readings += 1,
            Err(error) => {
                return Err(Failure::new(FailureKind::Negative, &chain(&error)).hint("git status"));
            }
        }
    }
}

fn describe(session: &Session, observation: &Observation, model: &ActiveModel) -> Active {
    let reading = &observation.reading;
    Active {
        api: API,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        worktree: session.worktree.root.to_string_lossy().into_owned(),
        state: "active".to_owned(),
        waiting_for: None,
        lasting: false,
        model_id: Some(model.model_id.to_string()),
        name: Some(observation.version.name.clone()),
        content: Some(reading.content.to_string()),
        head: reading.head.as_ref().map(ToString::to_string),
        dirty: Some(reading.dirty),
        experiment_id: Some(model.experiment_id.to_string()),
        store: session.uri.to_tracking_uri(),
        experiment: choice_text(&session.settings.experiment),
        env_file: session.worktree.env_file().to_string_lossy().into_owned(),
        fresh: true,
        why_not_fresh: None,
        generation: 0,
        reason: None,
        hint: None,
        note: observation.note.clone(),
        pinned: session.settings.pin.is_some(),
    }
}
