//! The life of one worktree in the daemon: what was seen, what is known, what is published, what is owed.
//!
//! Pure: `(state, input, now) → effects`. Knows no clock, no disk and no network; reading this file alone explains when
//! the daemon reads, creates, publishes and answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::config::Create;
use crate::ids::{ModelId, ObjectId};
use crate::ledger::VersionKey;
use crate::version::{ActiveModel, Observation};

/// The longest that a busy worktree puts off a version that nobody asked for.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// While HEAD moves this often (a rebase), versions that nobody asked for wait for the last.
const HEAD_QUIET: Duration = Duration::from_secs(1);
/// The longest such wait, where git does not say that it is in the middle of a series.
const HEAD_QUIET_MAX: Duration = Duration::from_secs(5);
/// The first and the longest pause between tries of a store that is down.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A torn pass is repeated after this.
const TORN_PAUSE: Duration = Duration::from_millis(20);
/// A pass that git's lock of the index kept from reading is tried again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// After the first change, everything is read again this much later, in case an event was lost.
const SAFETY_PASS: Duration = Duration::from_mins(5);
/// A change that is still being read after this (a filter that hangs, a file system that does not answer) takes the id away: nobody
/// knows whether it is still the one of the code.
const UNREAD_MAX: Duration = Duration::from_secs(2);
/// How often a worktree that sends no events is read.
const POLL: Duration = Duration::from_secs(2);
/// How many times longer the pause is than the reading before it, which has two programs work side by side: 2 % of a core at most.
const POLL_SHARE: u32 = 100;
/// The longest pause that follows a pass, which takes at most half of a core while files keep changing.
const PASS_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A model seen in the store is taken to be there for so long.
const VERIFIED_FOR: Duration = Duration::from_mins(1);
/// More versions that nobody asked for than this in [`FLOOD_TIME`] are a sign that the code is written by a program.
const FLOOD_MAX: usize = 60;
/// The time in which unasked versions are counted.
const FLOOD_TIME: Duration = Duration::from_hours(1);
/// How many owed versions are held here at a time; all of them are in the ledger.
pub const OWED_MAX: usize = 1000;
/// The first and the longest pause between tries of a version that the store refuses while it answers.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_hours(1));
/// A store that takes longer than this for an answer is said to be silent.
const SILENT_AFTER: Duration = Duration::from_millis(1500);
/// The pause between owed versions that the code has moved on from: two a second at most.
const OWED_PAUSE: Duration = Duration::from_millis(500);

/// Identifies one question.
pub type WaiterId = u64;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Something in the worktree or its git directory changed.
    Touched,
    /// Somebody asks for the model of the code on disk now, and waits until the deadline.
    Asked {
        /// Identifies the question.
        waiter: WaiterId,
        /// When an answer is due, whatever it is.
        deadline: Instant,
        /// Whether every file is to be looked at, whatever events told.
        full: bool,
    },
    /// Whoever asked went away.
    Left(WaiterId),
    /// A pass ended.
    Read(Result<Seen, PassFailure>),
    /// The store answered for an observation.
    Resolved(Box<Observation>, Result<ActiveModel, StoreFailure>),
    /// The store said how a LoggedModel that was handed out stands.
    Verified(ModelId, Verdict),
    /// The ledger said which versions are owed their LoggedModel: at most [`OWED_MAX`], the oldest first.
    Recalled(Vec<Observation>),
    /// The ledger holds more versions that are owed their LoggedModel than it did.
    Owed,
    /// Anything may have changed without an event: the machine slept, or another file system lies there.
    Unsure,
    /// Something that the store waits for may be there now (its file appeared).
    StoreMayBeBack,
    /// Events cannot be had for this worktree: it is read at intervals.
    Polling,
    /// Events come again.
    Watching,
    /// Time passed.
    Tick,
}

/// What a pass saw.
#[derive(Debug)]
pub enum Seen {
    /// Nothing that could have changed the last observation: only ignored files were touched.
    Same,
    /// A full reading, what is remembered of its LoggedModel, and whether git moves HEAD.
    Observed(Box<Observation>, Memory, Series),
}

/// Whether HEAD is about to move again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Git is not known to be in the middle of anything.
    No,
    /// Git is in the middle of a rebase, a series of patches, cherry-picks or reverts; it may also have paused.
    UnderWay,
}

/// How a LoggedModel that was handed out stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It still stands for its version, or the store could not be asked.
    Stands,
    /// An earlier one stands for the version.
    Later(ActiveModel),
    /// The store no longer has it.
    Gone,
}

/// What is remembered of a version's LoggedModel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// This one stood for it.
    Model(ActiveModel),
    /// Nothing.
    Nothing,
    /// The store is another one than what is remembered was about: its file was replaced or is gone.
    Distrusted,
}

/// Why a pass saw nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassFailure {
    /// Files changed while they were read.
    Torn,
    /// Git holds its lock of the index: it is changing the worktree. Nothing was read, what was touched is still to be told.
    Busy,
    /// The worktree cannot be read; in one line, why.
    Broken(String),
}

/// Why the store gave no LoggedModel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFailure {
    /// One line: what and why.
    pub reason: String,
    /// One line: what to type.
    pub hint: String,
    /// How long the store asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What it is about.
    pub scope: Scope,
    /// Whether it stays so until somebody changes something: waiting does not help.
    pub lasting: bool,
}

/// What a failure of the store is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The store, or the way there: other versions fail too.
    Store,
    /// This version: the store answers, and takes others.
    Version,
}

/// A version that the store refuses.
#[derive(Debug)]
struct Refusal {
    reason: String,
    tries: u32,
    rests_until: Instant,
}

/// How much of a worktree is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What events have told by now.
    Touched,
    /// What events will have told of everything that was written before.
    Synced,
    /// Every file.
    Everything,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the worktree.
    Read(Depth),
    /// Write down that a version is owed its LoggedModel.
    Owe(Box<Observation>),
    /// Say which versions are owed their LoggedModel.
    Recall,
    /// Find or create the LoggedModel of an observation; what was owed is settled with it.
    Resolve {
        /// The observation.
        observation: Box<Observation>,
        /// Whether it is owed, and to be written down first.
        owed: bool,
    },
    /// Ask the store how a LoggedModel stands that was handed out for a version.
    Verify {
        /// The LoggedModel.
        model: ActiveModel,
        /// The version.
        version: VersionKey,
    },
    /// Write the env file and tell those who follow.
    Publish(Publication),
    /// Answer a question; `fresh` when the answer covers everything written before it was asked.
    Answer {
        /// The question.
        waiter: WaiterId,
        /// What is said.
        publication: Publication,
        /// Whether it covers everything written before the question.
        fresh: bool,
    },
}

/// The state of a worktree as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The LoggedModel of the code on disk exists.
    Active(ActiveModel),
    /// It does not exist yet, or it is not known which one it is.
    Pending(Pending),
    /// The worktree cannot be read; why.
    Broken(String),
}

/// What a model id is waiting for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// The worktree has not been read yet.
    Reading,
    /// Nobody has asked for this version, and it is not created unasked.
    Question,
    /// The same, because a program writes the code: there were too many versions that nobody asked for.
    Flood,
    /// The LoggedModel is about to be created.
    Creation,
    /// The store, which failed.
    Store(StoreFailure),
    /// The store, which has not answered for so many seconds.
    Silent(u64),
}

/// What is published for a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Grows with each change of the rest.
    pub generation: u64,
    /// Active, pending or broken.
    pub state: State,
    /// What was last seen on disk, `None` before the first pass and while the worktree is broken.
    pub observation: Option<Observation>,
}

/// How versions are created.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// When, without anybody asking.
    pub create: Create,
    /// Quiet time before an unasked version.
    pub settle: Duration,
    /// Any number: machines with different ones do not try a store again all at once.
    pub seed: u64,
}

#[derive(Debug)]
struct Waiter {
    id: WaiterId,
    deadline: Instant,
    /// A pass that began after the question has ended.
    covered: bool,
    /// The pass that is running began after the question.
    in_pass: bool,
    /// The store failed since the question was asked.
    store_failed: bool,
}

impl Waiter {
    fn new(id: WaiterId, deadline: Instant) -> Self {
        Self {
            id,
            deadline,
            covered: false,
            in_pass: false,
            store_failed: false,
        }
    }
}

/// What is known of the debts in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recall {
    /// It is to be asked.
    Due,
    /// It was asked.
    Asked,
    /// All of them are held here, or settled.
    Done,
}

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

    /// Returns how many versions the store refuses while it takes others, and why it refuses one of them.
    pub fn refused(&self) -> Option<(usize, &str)> {
        let reason = &self.refused.values().next()?.reason;
        Some((self.refused.len(), reason))
    }

    fn refusal_ends(&self, version: &VersionKey) -> Option<Instant> {
        self.refused.get(version).map(|refusal| refusal.rests_until)
    }

    fn last_rests_until(&self) -> Option<Instant> {
        let last = self.last.as_ref()?;
        self.refusal_ends(&last.version)
    }

    /// When a version that the code has moved on from is next tried; `None` where there is none.
    fn next_owed_at(&self) -> Option<Instant> {
        let rest = self.store_rests_until.max(self.owed_rest_until);
        let ends = self
            .owed
            .iter()
            .map(|owed| self.refusal_ends(&owed.version));
        ends.map(|end| end.max(rest)).min().flatten()
    }

    fn touched(&mut self, now: Instant) {
        let was_quiet = self
            .last_touch
            .is_none_or(|last| now > last + self.policy.settle);
        if was_quiet || self.first_touch.is_none() {
            self.first_touch = Some(now);
        }
        self.last_touch = Some(now);
        self.unread_touch.get_or_insert(now);
        self.safety_due.get_or_insert(now + SAFETY_PASS);
        self.want_pass(self.pass_rest_until.map_or(now, |rest| rest.max(now)));
        self.put_off_creation(now);
    }

    /// An app may write to the store's file all the time: it is tried once a second for that, no more.
    fn store_may_be_back(&mut self) {
        let soon = self.store_failed_at.map(|at| at + BACKOFF.0);
        self.store_rests_until = self.store_rests_until.min(soon);
    }

    fn want_pass(&mut self, at: Instant) {
        self.pass_due = Some(self.pass_due.map_or(at, |due| due.min(at)));
    }

    fn asked(&mut self, waiter: Waiter, full: bool, now: Instant) {
        if waiter.deadline > now {
            self.pass_synced = true;
            self.pass_everything |= full;
            self.want_pass(now);
        }
        self.waiters.push(waiter);
    }

    fn read(
        &mut self,
        outcome: Result<Seen, PassFailure>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let cost = self
            .pass_began
            .take()
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let touch = self.reading_touch.take();
        self.pass_rest_until = Some(now + cost.min(PASS_PAUSE_MAX));
        if self.polling {
            self.pass_everything = true;
            self.want_pass(now + POLL.max(cost * POLL_SHARE));
        }
        match outcome {
            _ if std::mem::take(&mut self.pass_is_void) => {
                self.pass_everything = true;
                self.want_pass(now);
            }
            Ok(Seen::Same) => self.is_overdue = false,
            Ok(Seen::Observed(observation, memory, series)) => {
                for waiter in &mut self.waiters {
                    waiter.covered |= waiter.in_pass;
                }
                self.broken = None;
                self.broken_tries = 0;
                self.was_torn = false;
                self.is_overdue = false;
                self.observed(*observation, memory, series, now, effects);
            }
            Err(PassFailure::Torn) => self.torn(now, effects),
            Err(PassFailure::Busy) => self.put_off(touch, now),
            // Git fails on files that come and go as it does on what it cannot read: only the second time counts.
            Err(PassFailure::Broken(_)) if self.broken.is_none() && self.broken_tries == 0 => {
                self.broken_tries = 1;
                self.torn(now, effects);
            }
            Err(PassFailure::Broken(reason)) => {
                self.broken = Some(reason);
                self.forget_last(now, effects);
                self.pass_everything = true;
                let pause = BACKOFF.0.saturating_mul(1 << self.broken_tries.min(5));
                self.broken_tries = self.broken_tries.saturating_add(1);
                self.want_pass(now + pause.min(BACKOFF.1));
                for waiter in &mut self.waiters {
                    waiter.covered |= waiter.in_pass;
                }
            }
        }
        for waiter in &mut self.waiters {
            waiter.in_pass = false;
        }
    }

    /// While git changes the worktree, what was read last is not what is there. The pass is to come.
    fn put_off(&mut self, touch: Option<Instant>, now: Instant) {
        self.is_overdue = true;
        self.unread_touch = touch.or(self.unread_touch);
        self.pass_everything |= self.pass_depth == Depth::Everything;
        self.pass_synced |= self.pass_depth == Depth::Synced;
        self.want_pass(now + BUSY_PAUSE);
    }

    /// Files that do not hold still may be others than those whose model is published: it is withdrawn.
    fn torn(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.pass_everything = true;
        self.want_pass(now + TORN_PAUSE);
        if std::mem::replace(&mut self.was_torn, true) {
            self.forget_last(now, effects);
        }
    }

    fn forget_last(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let before = self.last.take();
        self.leave_behind(before, now, effects);
        self.progress = Progress::Unwanted;
        self.failure = None;
    }

    fn observed(
        &mut self,
        observation: Observation,
        memory: Memory,
        series: Series,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.last.take();
        let same_version = before
            .as_ref()
            .is_some_and(|before| before.version == observation.version);
        let head = &observation.reading.head;
        let head_moved = matches!(&self.last_head, LastHead::Read(last) if last != head);
        self.last_head = LastHead::Read(head.clone());
        self.last = Some(observation);
        self.series = series;
        if head_moved {
            self.head_moved(now);
        }
        let was_known = matches!(self.progress, Progress::Known(_));
        if !same_version {
            self.leave_behind(before, now, effects);
        }
        match memory {
            Memory::Model(model) => {
                self.verify(&model, now, effects);
                self.progress = Progress::Known(model);
            }
            Memory::Distrusted if same_version && was_known => self.progress = Progress::Due(now),
            Memory::Nothing | Memory::Distrusted if same_version => {}
            Memory::Nothing | Memory::Distrusted => {
                self.failure = None;
                let moment = moment(!self.has_begun, head_moved);
                let unasked = moment == Moment::Edit && self.policy.create == Create::Settled;
                self.flooded |= unasked && self.is_flooded(now);
                let at = self.unasked_creation(moment, now);
                self.progress = at.map_or(Progress::Unwanted, Progress::Due);
            }
        }
        self.has_begun = true;
    }

    /// Asks the store about a model that was not seen there lately; the answer comes aside.
    fn verify(&mut self, model: &ActiveModel, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_verified(&model.model_id, now) || !self.verifying.insert(model.model_id.clone())
        {
            return;
        }
        let Some(last) = &self.last else { return };
        effects.push(Effect::Verify {
            model: model.clone(),
            version: last.version.clone(),
        });
    }

    fn is_verified(&self, model: &ModelId, now: Instant) -> bool {
        let seen = self.verified.get(model);
        seen.is_some_and(|seen| now <= *seen + VERIFIED_FOR)
    }

    /// A version that was asked for or committed is owed its LoggedModel, also when the code has moved on.
    fn leave_behind(
        &mut self,
        before: Option<Observation>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let is_owed = std::mem::take(&mut self.last_is_owed);
        let Some(before) = before else { return };
        let due = matches!(self.progress, Progress::Due(at) if at <= now);
        let in_flight = self.resolving.as_ref() == Some(&before);
        if !self.may_owe(&before) {
            self.refused.remove(&before.version);
            return;
        }
        if !due || in_flight {
            return;
        }
        if !is_owed {
            effects.push(Effect::Owe(Box::new(before.clone())));
        }
        self.asked_for.insert(before.version.clone());
        self.hold_owed(before);
    }

    /// Versions that were asked for or committed are owed; those in between are not.
    fn may_owe(&self, observation: &Observation) -> bool {
        observation.is_committed() || self.asked_for.contains(&observation.version)
    }

    fn hold_owed(&mut self, observation: Observation) {
        let version = &observation.version;
        if self.owed.iter().any(|owed| owed.version == *version) {
            return;
        }
        if self.owed.len() < OWED_MAX {
            self.owed.push_back(observation);
        } else if self.recall == Recall::Done {
            self.recall = Recall::Due;
        }
    }

    /// What is on disk is no exception: it was asked for or committed before the daemon was started anew.
    fn recalled(&mut self, owed: Vec<Observation>) {
        // More was written down meanwhile where it is due again.
        if self.recall == Recall::Asked && owed.len() < OWED_MAX {
            self.recall = Recall::Done;
        } else {
            self.recall = Recall::Due;
        }
        for observation in owed {
            let version = &observation.version;
            self.asked_for.insert(version.clone());
            let in_flight = self
                .resolving
                .as_ref()
                .is_some_and(|resolving| resolving.version == *version);
            if !in_flight {
                self.hold_owed(observation);
            }
        }
    }

    /// What is due and owed and cannot be created at once is written down at once.
    fn write_down(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let due = matches!(self.progress, Progress::Due(at) if at <= now);
        let Some(last) = self.last.as_ref().filter(|_| due && !self.last_is_owed) else {
            return;
        };
        if self.may_owe(last) {
            let last = last.clone();
            self.last_is_owed = true;
            self.asked_for.insert(last.version.clone());
            effects.push(Effect::Owe(Box::new(last)));
        }
    }

    fn head_moved(&mut self, now: Instant) {
        let in_series = self
            .last_head_move
            .is_some_and(|last| now < last + HEAD_QUIET);
        self.unasked.clear();
        self.flooded = false;
        if !in_series {
            self.first_head_move = Some(now);
        }
        self.last_head_move = Some(now);
    }

    /// When the version just seen is created without anybody asking; `None` for never.
    fn unasked_creation(&self, moment: Moment, now: Instant) -> Option<Instant> {
        let create = self.policy.create;
        match (moment, create) {
            (_, Create::Asked) | (Moment::Edit, Create::Commit) => None,
            (Moment::Edit, _) if self.flooded => None,
            (Moment::Start, _) => Some(now),
            (Moment::Commit, _) => Some(self.after_head_moves(now)),
            (Moment::Edit, Create::Settled) => {
                Some(self.after_quiet(now).max(self.after_series(now)))
            }
        }
    }

    fn is_flooded(&self, now: Instant) -> bool {
        let recent = self.unasked.iter().filter(|at| now <= **at + FLOOD_TIME);
        recent.count() >= FLOOD_MAX
    }

    fn after_head_moves(&self, now: Instant) -> Instant {
        match (self.first_head_move, self.last_head_move) {
            _ if self.series == Series::UnderWay => self.after_series(now).max(now),
            (Some(first), Some(last)) if last > first => {
                (last + HEAD_QUIET).min(first + HEAD_QUIET_MAX).max(now)
            }
            _ => now,
        }
    }

    /// What lies between two commits of a series is nobody's version.
    fn after_series(&self, now: Instant) -> Instant {
        let under_way = self.series == Series::UnderWay;
        let last = self.last_head_move.filter(|_| under_way);
        last.map_or(now, |last| last + HEAD_QUIET)
    }

    fn after_quiet(&self, now: Instant) -> Instant {
        let last = self.last_touch.unwrap_or(now);
        let first = self.first_touch.unwrap_or(now);
        (last + self.policy.settle)
            .min(first + SETTLE_MAX.max(self.policy.settle))
            .max(now)
    }

    /// More changes: an uncommitted version that is due waits for quiet again, up to its limit.
    fn put_off_creation(&mut self, now: Instant) {
        let uncommitted = self.last.as_ref().is_some_and(|last| last.reading.dirty);
        let at = self.after_quiet(now);
        if let Progress::Due(due) = &mut self.progress
            && uncommitted
            && *due > now
        {
            *due = at.max(*due);
        }
    }

    fn resolved(
        &mut self,
        observation: Observation,
        outcome: Result<ActiveModel, StoreFailure>,
        now: Instant,
    ) {
        self.resolving = None;
        self.resolving_since = None;
        let is_last = self
            .last
            .as_ref()
            .is_some_and(|last| last.version == observation.version);
        match outcome {
            Ok(model) => {
                self.tries = 0;
                self.store_rests_until = None;
                self.ordered_rest = None;
                self.refused.remove(&observation.version);
                self.asked_for.remove(&observation.version);
                self.owed.retain(|owed| owed.version != observation.version);
                self.verified.retain(|_, seen| now <= *seen + VERIFIED_FOR);
                self.verified.insert(model.model_id.clone(), now);
                if is_last {
                    self.failure = None;
                    self.last_is_owed = false;
                    self.progress = Progress::Known(model);
                } else {
                    self.owed_rest_until = Some(now + OWED_PAUSE);
                }
            }
            Err(failure) => {
                if failure.scope == Scope::Version {
                    self.refuse(&observation.version, &failure.reason, now);
                } else {
                    self.rest(&failure, now);
                }
                if is_last {
                    for waiter in &mut self.waiters {
                        waiter.store_failed |= waiter.covered;
                    }
                    self.failure = Some(failure);
                    self.progress = Progress::Due(now);
                } else if self.may_owe(&observation) {
                    self.hold_owed(observation);
                }
            }
        }
    }

    fn rest(&mut self, failure: &StoreFailure, now: Instant) {
        let pause = self.store_pause(failure.retry_after);
        self.ordered_rest = failure.retry_after.map(|_| failure.clone());
        self.tries = self.tries.saturating_add(1);
        self.store_rests_until = Some(now + pause);
        self.store_failed_at = Some(now);
    }

    /// The store answers: only this version rests, longer each time.
    fn refuse(&mut self, version: &VersionKey, reason: &str, now: Instant) {
        self.tries = 0;
        self.store_rests_until = None;
        self.ordered_rest = None;
        self.owed_rest_until = Some(now + OWED_PAUSE);
        let tries = self.refused.get(version).map_or(0, |known| known.tries);
        let pause = REFUSED_PAUSE.0.saturating_mul(1 << tries.min(7));
        let refusal = Refusal {
            reason: reason.to_owned(),
            tries: tries.saturating_add(1),
            rests_until: now + pause.min(REFUSED_PAUSE.1),
        };
        self.refused.insert(version.clone(), refusal);
    }

    /// Between half and the whole of a time that doubles with each failure, longer where the store asks for it, never
    /// longer than the longest pause.
    fn store_pause(&self, retry_after: Option<Duration>) -> Duration {
        let whole = BACKOFF
            .0
            .saturating_mul(1 << self.tries.min(5))
            .min(BACKOFF.1);
        let part = spread(self.policy.seed.wrapping_add(u64::from(self.tries)));
        let pause = whole / 2 + whole.mul_f64(part / 2.0);
        pause.max(retry_after.unwrap_or_default()).min(BACKOFF.1)
    }

    fn model_verified(&mut self, model: &ModelId, verdict: Verdict, now: Instant) {
        self.verifying.remove(model);
        let is_published =
            matches!(&self.progress, Progress::Known(known) if known.model_id == *model);
        match verdict {
            Verdict::Stands => {
                self.verified.insert(model.clone(), now);
            }
            Verdict::Later(winner) => {
                self.verified.insert(winner.model_id.clone(), now);
                self.duplicate = Some((model.clone(), winner.model_id.clone()));
                if is_published {
                    self.progress = Progress::Known(winner);
                }
            }
            Verdict::Gone => {
                self.verified.remove(model);
                if is_published {
                    self.progress = Progress::Due(now);
                }
            }
        }
    }

    /// Returns the model that was last found to be a later duplicate, and the one that counts instead.
    pub fn duplicate(&self) -> Option<&(ModelId, ModelId)> {
        self.duplicate.as_ref()
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

    /// When the change that is being read takes the id away.
    fn overdue_at(&self) -> Option<Instant> {
        self.pass_began.and(self.told())?;
        let touch = self.reading_touch.or(self.unread_touch)?;
        Some(touch + UNREAD_MAX)
    }

    /// What was read last, while it can be told to be what is there.
    fn told(&self) -> Option<&Observation> {
        self.last.as_ref().filter(|_| !self.is_overdue)
    }

    fn begin_pass(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.pass_began.is_some() || self.pass_due.is_none_or(|due| due > now) {
            return;
        }
        self.pass_due = None;
        self.pass_began = Some(now);
        self.reading_touch = self.unread_touch.take();
        for waiter in &mut self.waiters {
            waiter.in_pass = true;
        }
        let synced = std::mem::take(&mut self.pass_synced);
        self.pass_depth = match (std::mem::take(&mut self.pass_everything), synced) {
            (true, _) => Depth::Everything,
            (false, true) => Depth::Synced,
            (false, false) => Depth::Touched,
        };
        effects.push(Effect::Read(self.pass_depth));
    }

    /// Whoever asked for code that has been read wants its version now.
    fn hurry_for_waiters(&mut self, now: Instant) {
        let wanted = self
            .waiters
            .iter()
            .any(|waiter| waiter.covered && !waiter.store_failed);
        let Some(last) = self.last.as_ref().filter(|_| wanted) else {
            return;
        };
        match &mut self.progress {
            Progress::Unwanted => self.progress = Progress::Due(now),
            Progress::Due(at) => *at = (*at).min(now),
            Progress::Known(_) => return,
        }
        self.asked_for.insert(last.version.clone());
        if let Some(refusal) = self.refused.get_mut(&last.version) {
            refusal.rests_until = now;
        }
        let resting = self.store_rests_until.is_some_and(|until| until > now);
        if let Some(order) = self.ordered_rest.as_ref().filter(|_| resting) {
            self.failure = Some(order.clone());
            for waiter in &mut self.waiters {
                waiter.store_failed |= waiter.covered;
            }
        } else if self.resolving.is_none() {
            self.store_rests_until = None;
            self.ordered_rest = None;
        }
    }

    fn begin_resolve(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let resting = self.store_rests_until.is_some_and(|until| until > now);
        if self.resolving.is_some() || resting {
            return;
        }
        let due = matches!(self.progress, Progress::Due(at) if at <= now)
            && !self.is_overdue
            && self.last_rests_until().is_none_or(|until| until <= now);
        let next = match &self.last {
            Some(last) if due => {
                self.first_touch = None;
                let asked = self.asked_for.contains(&last.version);
                if last.reading.dirty && !asked && self.failure.is_none() {
                    self.unasked.push_back(now);
                    if self.unasked.len() > FLOOD_MAX {
                        self.unasked.pop_front();
                    }
                } else if !last.reading.dirty {
                    self.unasked.clear();
                }
                Some(last.clone())
            }
            _ if !self.may_pay() || self.owed_rest_until.is_some_and(|until| until > now) => None,
            _ => self.take_owed(now),
        };
        if let Some(observation) = next {
            let owed = self.may_owe(&observation);
            self.last_is_owed |= due && owed;
            if owed {
                self.asked_for.insert(observation.version.clone());
            }
            self.resolving = Some(observation.clone());
            self.resolving_since = Some(now);
            effects.push(Effect::Resolve {
                observation: Box::new(observation),
                owed,
            });
        }
    }

    fn holds_only_refused(&self) -> bool {
        let mut owed = self.owed.iter();
        self.owed.len() < OWED_MAX && owed.all(|owed| self.refused.contains_key(&owed.version))
    }

    fn take_owed(&mut self, now: Instant) -> Option<Observation> {
        let mut owed = self.owed.iter();
        let next = owed.position(|owed| {
            let ends = self.refusal_ends(&owed.version);
            ends.is_none_or(|until| until <= now)
        })?;
        self.owed.remove(next)
    }

    /// What is on disk comes first, also when it has not been read yet.
    fn may_pay(&self) -> bool {
        self.last.is_some() || self.broken.is_some()
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

    /// Whoever asks hears of no model that was not seen in the store lately.
    fn verify_for_waiters(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let asked = self.waiters.iter().any(|waiter| waiter.covered);
        if let (true, Progress::Known(model)) = (asked, &self.progress) {
            let model = model.clone();
            self.verify(&model, now, effects);
        }
    }

    fn answer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let settled = match &self.progress {
            _ if self.broken.is_some() => true,
            _ if self.is_overdue => false,
            Progress::Known(model) => self.is_verified(&model.model_id, now),
            Progress::Unwanted | Progress::Due(_) => false,
        };
        let publication = self.publication_at(now);
        let broken = self.broken.is_some();
        self.waiters.retain(|waiter| {
            let answered = waiter.covered && (settled || waiter.store_failed);
            if !answered && waiter.deadline > now {
                return true;
            }
            effects.push(Effect::Answer {
                waiter: waiter.id,
                publication: publication.clone(),
                fresh: waiter.covered && !broken,
            });
            false
        });
    }
}

/// Returns a number from 0 to 1 that looks random (the finalizer of splitmix64).
fn spread(seed: u64) -> f64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let top = u16::try_from(mixed >> 48).unwrap_or_default();
    f64::from(top) / f64::from(u16::MAX)
}

/// What led to a version that is new here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Start,
    Commit,
    Edit,
}

fn moment(first: bool, head_moved: bool) -> Moment {
    match (first, head_moved) {
        (true, _) => Moment::Start,
        (false, true) => Moment::Commit,
        (false, false) => Moment::Edit,
    }
}
