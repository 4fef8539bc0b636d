//! An answer without a daemon: one reading and one resolution in this process, for CI and for when no daemon can be had.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use crate::config::Layer;
use crate::error::{Failure, FailureKind, chain};
use crate::identity::ReadError;
use crate::ledger::Ledger;
use crate::mlflow::{Retries, StoreError};
use crate::protocol::{API, Active};
use crate::repository::Worktree;
use crate::session::{Review, Session, choice_text, reader_of};
use crate::touched::Touched;
use crate::version::{ActiveModel, Observation};

/// How often a reading is tried while files keep changing.
const READINGS_MAX: u32 = 20;

/// Reads the worktree and finds or creates its LoggedModel.
pub(super) fn resolve(
    context: &Context,
    worktree: &Worktree,
    settings: &Layer,
    wait: Duration,
) -> Result<Active, Failure> {
    let ledger = Arc::new(Ledger::open(&context.paths.ledger())?);
    let session = Arc::new(Session::open(worktree, settings, &context.paths, ledger)?);
    let observation = observe(
        &session,
        context.registry().find(&worktree.common_dir)?.is_some(),
    )?;
    let model = runtime()?.block_on(persist(&session, &observation, Instant::now() + wait))?;
    Ok(describe(&session, &observation, &model))
}

/// Asks again at the pauses of MLflow's own client where the store may answer later, until the time is over.
async fn persist(
    session: &Arc<Session>,
    observation: &Observation,
    deadline: Instant,
) -> Result<ActiveModel, Failure> {
    let retries = Retries::new(|name| std::env::var(name).ok())?;
    let mut failed = 0;
    loop {
        let error = match find(session, observation).await {
            Ok(model) => return Ok(model),
            Err(error) => error,
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
pub(super) fn observe(session: &Session, tracked: bool) -> Result<Observation, Failure> {
    let mut reader = reader_of(&session.worktree);
    let mut readings = 1;
    loop {
        match reader.read(&Touched::Everything) {
            Ok(reading) => {
                if tracked {
                    session.saw(&reading.content, reader.files());
                }
                return Ok(session.observed(reading));
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
