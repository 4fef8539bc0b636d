//! The life of one worktree in the daemon: what was seen, what is known, what is published, what is owed.
//!
//! Pure: `(state, input, now) → effects`. Knows no clock, no disk and no network; reading it alone explains when
//! the daemon reads (`passes`, `reading`), creates (`creation`, `unrest`, `store_rest`, `owed`), publishes and answers
//! (`questions`, `proofs`). What one of these alone decides by, it keeps to itself; the last observation, how far its LoggedModel
//! is and why it has none are for all.

mod creation;
mod owed;
mod passes;
mod proofs;
mod questions;
mod reading;
mod store_rest;
mod unrest;
mod words;

use std::time::{Duration, Instant};

use crate::ids::{ModelId, ObjectId};
use crate::version::{ActiveModel, Observation};
pub use owed::OWED_MAX;
use owed::Owed;
use passes::Passes;
use proofs::Proofs;
use questions::Waiters;
use store_rest::StoreRest;
use unrest::Unrest;
pub use words::{
    Depth, Effect, Input, Memory, PassFailure, Pending, Policy, Publication, Scope, Seen, Series,
    State, StoreFailure, Verdict,
};

/// The first and the longest pause between tries of a store that is down, and of a worktree that cannot be read.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A store that takes longer than this for an answer is said to be silent.
const SILENT_AFTER: Duration = Duration::from_millis(1500);

/// Identifies one question.
pub type WaiterId = u64;

/// How far the LoggedModel of the last observation is.
#[derive(Debug)]
enum Progress {
    /// Nobody wants it yet.
    Unwanted,
    /// To be created at that time.
    Due(Instant),
    /// It exists.
    Known(ActiveModel),
}

impl Progress {
    fn is_due(&self, now: Instant) -> bool {
        matches!(self, Self::Due(at) if *at <= now)
    }
}

/// HEAD as it was last read.
#[derive(Debug)]
enum LastHead {
    /// Not under these settings.
    Unread,
    /// `None` before the first commit.
    Read(Option<ObjectId>),
}

/// What the store was asked to find or create.
#[derive(Debug)]
struct Resolving {
    observation: Observation,
    since: Instant,
}

/// The state of one worktree.
#[derive(Debug)]
pub struct WorktreeState {
    policy: Policy,
    passes: Passes,
    last: Option<Observation>,
    /// HEAD when it was last read, also when what was read then is forgotten.
    last_head: LastHead,
    /// An observation was made under these settings.
    has_begun: bool,
    /// Why the worktree cannot be read.
    broken: Option<String>,
    unrest: Unrest,
    progress: Progress,
    /// Why the last observation has no LoggedModel.
    failure: Option<StoreFailure>,
    resolving: Option<Resolving>,
    store: StoreRest,
    owed: Owed,
    proofs: Proofs,
    waiters: Waiters,
    published: Option<Publication>,
    generation: u64,
}

impl WorktreeState {
    /// Returns a state that wants a first pass at once.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            passes: Passes::new(now),
            last: None,
            last_head: LastHead::Unread,
            has_begun: false,
            broken: None,
            unrest: Unrest::new(),
            progress: Progress::Unwanted,
            failure: None,
            resolving: None,
            store: StoreRest::default(),
            owed: Owed::new(),
            proofs: Proofs::default(),
            waiters: Waiters::default(),
            published: None,
            generation: 0,
        }
    }

    /// Begins anew under other settings: nothing that was known counts, who asked is still answered, and the outcome
    /// of a pass that runs is not looked at.
    pub fn restart(&mut self, policy: Policy, now: Instant) {
        *self = Self {
            passes: self.passes.restarted(now),
            waiters: self.waiters.restarted(),
            published: self.published.take(),
            generation: self.generation,
            ..Self::new(policy, now)
        };
    }

    /// Says whether the worktree is read at intervals, as events cannot be had for it.
    pub fn set_polling(&mut self, polling: bool) {
        self.passes.set_polling(polling);
    }

    /// Takes an input and returns what is to be done, in that order.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Touched => self.touched(now),
            Input::Asked {
                waiter,
                deadline,
                full,
            } => self.asked(waiter, deadline, full, now),
            Input::Left(waiter) => self.left(waiter),
            Input::Read(outcome) => self.read(outcome, now, &mut effects),
            Input::Resolved(observation, outcome) => self.resolved(*observation, outcome, now),
            Input::Verified(model, verdict) => self.model_verified(&model, verdict, now),
            Input::Recalled(owed) => self.recalled(owed),
            Input::Owed => self.owed.want_recall(),
            Input::Unsure => self.passes.want_everything(now),
            Input::StoreMayBeBack => self.store.may_be_over(),
            Input::Polling => self.set_polling(true),
            Input::Watching => self.set_polling(false),
            Input::Tick => {}
        }
        self.step(now, &mut effects);
        effects
    }

    /// Returns when [`Input::Tick`] is next needed.
    pub fn wake_at(&self) -> Option<Instant> {
        [
            self.passes.wake_at(),
            self.overdue_at(),
            self.creation_at(),
            self.waiters.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Returns what is published now.
    pub fn publication(&self) -> Publication {
        self.published.clone().unwrap_or_else(|| Publication {
            generation: self.generation,
            state: self.state(),
            observation: None,
        })
    }

    /// Returns what is published, and where the store has not answered for a while, that it has not.
    pub fn publication_at(&self, now: Instant) -> Publication {
        let mut publication = self.publication();
        let since = self.resolving.as_ref().map(|resolving| resolving.since);
        let silent = since
            .map(|since| now.saturating_duration_since(since))
            .filter(|silent| *silent >= SILENT_AFTER);
        if let (State::Pending(Pending::Creation), Some(silent)) = (&publication.state, silent) {
            let seconds = silent + Duration::from_millis(500);
            publication.state = State::Pending(Pending::Silent(seconds.as_secs()));
        }
        publication
    }

    fn step(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.passes.look_for_safety(now);
        self.begin_pass(now, effects);
        if self.overdue_at().is_some_and(|due| due <= now) {
            self.passes.set_overdue();
        }
        self.hurry_for_waiters(now);
        self.publish(effects);
        self.recall(effects);
        self.begin_resolve(now, effects);
        self.write_down(now, effects);
        self.verify_for_waiters(now, effects);
        self.answer(now, effects);
    }

    fn publish(&mut self, effects: &mut Vec<Effect>) {
        let state = self.state();
        let unchanged = self.published.as_ref().is_some_and(|published| {
            published.state == state && published.observation.as_ref() == self.told()
        });
        let nothing_yet =
            self.published.is_none() && self.told().is_none() && self.broken.is_none();
        if unchanged || nothing_yet {
            return;
        }
        let publication = Publication {
            generation: self.generation + 1,
            state,
            observation: self.told().cloned(),
        };
        self.generation = publication.generation;
        self.published = Some(publication.clone());
        effects.push(Effect::Publish(publication));
    }

    /// Returns the model that was last found to be a later duplicate, and the one that counts instead.
    pub fn duplicate(&self) -> Option<&(ModelId, ModelId)> {
        self.proofs.duplicate()
    }

    /// Returns how many versions the store refuses while it takes others, and why it refuses one of them.
    pub fn refused(&self) -> Option<(usize, &str)> {
        self.store.refused()
    }

    fn is_resolving(&self, observation: &Observation) -> bool {
        let resolving = self.resolving.as_ref();
        resolving.is_some_and(|resolving| resolving.observation == *observation)
    }

    fn state(&self) -> State {
        if let Some(reason) = &self.broken {
            return State::Broken(reason.clone());
        }
        if self.passes.is_overdue() {
            return State::Pending(Pending::Reading);
        }
        match (&self.progress, &self.failure) {
            (Progress::Known(model), _) => State::Active(model.clone()),
            (_, Some(failure)) => State::Pending(Pending::Store(failure.clone())),
            (_, None) if self.last.is_none() => State::Pending(Pending::Reading),
            (Progress::Due(_), None) => State::Pending(Pending::Creation),
            (Progress::Unwanted, None) if self.unrest.is_flooded() => {
                State::Pending(Pending::Flood)
            }
            (Progress::Unwanted, None) => State::Pending(Pending::Question),
        }
    }
}
