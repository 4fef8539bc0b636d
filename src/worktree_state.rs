//! The life of one worktree in the daemon: what was seen, what is known, what is published, what is owed.
//!
//! Pure: `(state, input, now) → effects`. Knows no clock, no disk and no network; reading it alone explains when
//! the daemon reads (`passes`), creates (`creation`, `owed`), publishes and answers (`questions`).

mod creation;
mod owed;
mod passes;
mod questions;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::ids::VersionKey;
use crate::ids::{ModelId, ObjectId};
use crate::version::{ActiveModel, Observation};
use creation::Refusal;
pub use owed::OWED_MAX;
use owed::Recall;
use questions::Waiter;
pub use words::{
    Depth, Effect, Input, Memory, PassFailure, Pending, Policy, Publication, Scope, Seen, Series,
    State, StoreFailure, Verdict,
};

/// The first and the longest pause between tries of a store that is down.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// After the first change, everything is read again this much later, in case an event was lost.
const SAFETY_PASS: Duration = Duration::from_mins(5);
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

/// HEAD as it was last read.
#[derive(Debug)]
enum LastHead {
    /// Not under these settings.
    Unread,
    /// `None` before the first commit.
    Read(Option<ObjectId>),
}

/// The state of one worktree.
#[derive(Debug)]
pub struct WorktreeState {
    policy: Policy,
    last: Option<Observation>,
    /// HEAD when it was last read, also when what was read then is forgotten.
    last_head: LastHead,
    broken: Option<String>,
    progress: Progress,
    failure: Option<StoreFailure>,
    tries: u32,
    store_rests_until: Option<Instant>,
    store_failed_at: Option<Instant>,
    /// The store itself asked for the rest, with this: no question cuts it short, whatever the version.
    ordered_rest: Option<StoreFailure>,
    /// What the store refuses of what is owed or on disk: it rests alone.
    refused: BTreeMap<VersionKey, Refusal>,
    resolving: Option<Observation>,
    resolving_since: Option<Instant>,
    /// Versions that the code has moved on from.
    owed: VecDeque<Observation>,
    owed_rest_until: Option<Instant>,
    /// The ledger may hold more that is owed.
    recall: Recall,
    /// The version of the last observation is in the ledger as owed.
    last_is_owed: bool,
    /// The last model that was found to be a later duplicate, and the one that counts.
    duplicate: Option<(ModelId, ModelId)>,
    flooded: bool,
    /// Versions that were asked for, and those that are in the ledger as owed: they stay owed, also where the same version is seen
    /// once more without being committed.
    asked_for: BTreeSet<VersionKey>,
    verified: BTreeMap<ModelId, Instant>,
    verifying: BTreeSet<ModelId>,
    unasked: VecDeque<Instant>,
    broken_tries: u32,
    pass_is_void: bool,
    was_torn: bool,
    /// An observation was made under these settings.
    has_begun: bool,
    waiters: Vec<Waiter>,
    pass_began: Option<Instant>,
    /// How much the pass under way reads.
    pass_depth: Depth,
    /// The first change that the pass under way is to tell, and the first after it began.
    reading_touch: Option<Instant>,
    unread_touch: Option<Instant>,
    /// A change takes too long to read: until it has been, what was read last is not published.
    is_overdue: bool,
    pass_due: Option<Instant>,
    pass_everything: bool,
    pass_synced: bool,
    pass_rest_until: Option<Instant>,
    safety_due: Option<Instant>,
    polling: bool,
    first_touch: Option<Instant>,
    last_touch: Option<Instant>,
    first_head_move: Option<Instant>,
    last_head_move: Option<Instant>,
    series: Series,
    published: Option<Publication>,
    generation: u64,
}

impl WorktreeState {
    /// Returns a state that wants a first pass at once.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            last: None,
            last_head: LastHead::Unread,
            broken: None,
            progress: Progress::Unwanted,
            failure: None,
            tries: 0,
            store_rests_until: None,
            store_failed_at: None,
            ordered_rest: None,
            refused: BTreeMap::new(),
            resolving: None,
            resolving_since: None,
            owed: VecDeque::new(),
            owed_rest_until: None,
            recall: Recall::Due,
            last_is_owed: false,
            duplicate: None,
            flooded: false,
            asked_for: BTreeSet::new(),
            verified: BTreeMap::new(),
            verifying: BTreeSet::new(),
            unasked: VecDeque::new(),
            broken_tries: 0,
            pass_is_void: false,
            was_torn: false,
            has_begun: false,
            waiters: Vec::new(),
            pass_began: None,
            pass_depth: Depth::Everything,
            reading_touch: None,
            unread_touch: None,
            is_overdue: false,
            pass_due: Some(now),
            pass_everything: true,
            pass_synced: false,
            pass_rest_until: None,
            safety_due: None,
            polling: false,
            first_touch: None,
            last_touch: None,
            first_head_move: None,
            last_head_move: None,
            series: Series::No,
            published: None,
            generation: 0,
        }
    }

    /// Begins anew under other settings: nothing that was known counts, who asked is still answered, and the outcome
    /// of a pass that runs is not looked at.
    pub fn restart(&mut self, policy: Policy, now: Instant) {
        let waiters = std::mem::take(&mut self.waiters);
        *self = Self {
            generation: self.generation,
            polling: self.polling,
            published: self.published.take(),
            pass_began: self.pass_began,
            pass_is_void: self.pass_began.is_some(),
            waiters: waiters
                .into_iter()
                .map(|waiter| Waiter::new(waiter.id, waiter.deadline))
                .collect(),
            ..Self::new(policy, now)
        };
    }

    /// Says whether the worktree is read at intervals, as events cannot be had for it.
    pub fn set_polling(&mut self, polling: bool) {
        self.polling = polling;
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
            } => self.asked(Waiter::new(waiter, deadline), full, now),
            Input::Left(waiter) => self.waiters.retain(|known| known.id != waiter),
            Input::Read(outcome) => self.read(outcome, now, &mut effects),
            Input::Resolved(observation, outcome) => self.resolved(*observation, outcome, now),
            Input::Verified(model, verdict) => self.model_verified(&model, verdict, now),
            Input::Recalled(owed) => self.recalled(owed),
            Input::Owed => self.recall = Recall::Due,
            Input::Unsure => {
                self.pass_everything = true;
                self.want_pass(now);
            }
            Input::StoreMayBeBack => self.store_may_be_back(),
            Input::Polling => self.polling = true,
            Input::Watching => self.polling = false,
            Input::Tick => {}
        }
        self.step(now, &mut effects);
        effects
    }

    /// Returns when [`Input::Tick`] is next needed.
    pub fn wake_at(&self) -> Option<Instant> {
        let pass = self.pass_due.filter(|_| self.pass_began.is_none());
        let create = match (&self.resolving, &self.progress) {
            (None, Progress::Due(at)) if !self.is_overdue => Some(
                (*at)
                    .max(self.store_rests_until.unwrap_or(*at))
                    .max(self.last_rests_until().unwrap_or(*at)),
            ),
            _ => None,
        };
        let owed = self
            .next_owed_at()
            .filter(|_| self.resolving.is_none() && self.may_pay());
        let waiters = self.waiters.iter().map(|waiter| waiter.deadline).min();
        [
            pass,
            create,
            owed,
            waiters,
            self.safety_due,
            self.overdue_at(),
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
        let silent = self
            .resolving_since
            .map(|since| now.saturating_duration_since(since))
            .filter(|silent| *silent >= SILENT_AFTER);
        if let (State::Pending(Pending::Creation), Some(silent)) = (&publication.state, silent) {
            let seconds = silent + Duration::from_millis(500);
            publication.state = State::Pending(Pending::Silent(seconds.as_secs()));
        }
        publication
    }

    fn step(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.safety_due.is_some_and(|due| due <= now) {
            self.safety_due = None;
            self.pass_everything = true;
            self.want_pass(now);
        }
        self.begin_pass(now, effects);
        if self.overdue_at().is_some_and(|due| due <= now) {
            self.is_overdue = true;
        }
        self.hurry_for_waiters(now);
        self.publish(effects);
        if self.recall == Recall::Due && self.holds_only_refused() {
            self.recall = Recall::Asked;
            effects.push(Effect::Recall);
        }
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

    fn state(&self) -> State {
        if let Some(reason) = &self.broken {
            return State::Broken(reason.clone());
        }
        if self.is_overdue {
            return State::Pending(Pending::Reading);
        }
        match (&self.progress, &self.failure) {
            (Progress::Known(model), _) => State::Active(model.clone()),
            (_, Some(failure)) => State::Pending(Pending::Store(failure.clone())),
            (_, None) if self.last.is_none() => State::Pending(Pending::Reading),
            (Progress::Due(_), None) => State::Pending(Pending::Creation),
            (Progress::Unwanted, None) if self.flooded => State::Pending(Pending::Flood),
            (Progress::Unwanted, None) => State::Pending(Pending::Question),
        }
    }
}
