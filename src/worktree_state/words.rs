//! What goes in and what comes out.
//!
//! Types alone: nothing is decided here.

use std::time::{Duration, Instant};

use super::WaiterId;
use crate::config::Create;
use crate::ids::ModelId;
use crate::ids::VersionKey;
use crate::version::{ActiveModel, Observation};

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
    /// The ledger said which versions are owed their LoggedModel: at most [`super::OWED_MAX`], the oldest first.
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
    /// The worktree has not been read yet, or what was read last may not be what is there.
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

impl State {
    /// Returns whether nothing is to be mended where there is no id: there is one in a moment, or once somebody asks.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Pending(Pending::Reading | Pending::Creation | Pending::Question)
        )
    }
}

/// What is published for a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Grows with each change of the rest.
    pub generation: u64,
    /// Active, pending or broken.
    pub state: State,
    /// What was last seen on disk, `None` before the first pass, while the worktree is broken, does not hold still,
    /// or takes too long to read.
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
