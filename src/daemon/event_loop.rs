//! The owner of every worktree's state: takes events one at a time, lets the pure state decide, carries out effects.
//!
//! Nothing else changes state. Work runs in tasks of one set and comes back as events, so that no turn waits for a
//! store or reads code. This file holds the turns of the loop and the looks; which worktrees there are, what stores are
//! asked, and what others hear have files of their own.

mod answers;
mod resolving;
mod tracking;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::beside;
use super::churn::Advice;
use super::entry::{Afterwards, Entry};
use super::env_writer::EnvOutcome;
use super::eyes::Eyes;
use super::left_over::empty_env;
use super::lifecycle::{News, Program, notify_systemd, watchdog_interval};
use super::load::{Catalog, Loaded};
use super::remembered_files;
use super::request::{Reply, Request};
use super::surprises::{Sleep, Spot};
use super::worktree_job::{Look, look};
use crate::ids::ModelId;
use crate::locks::lock;
use crate::mlflow::stop_waiting;
use crate::protocol::{Active, DaemonInfo, Status};
use crate::repository::Worktree;
use crate::session::{Resolved, Session};
use crate::version::Observation;
use crate::worktree_state::{Depth, Effect, Input, Seen, StoreFailure, Verdict, WaiterId};
use answers::Found;
use resolving::owe_commits;

/// A turn of the loop that takes longer is told in the log.
const SLOW_TURN: Duration = Duration::from_millis(50);
/// How long work that still runs is waited for at the end; the whole end takes five seconds at most.
const WORK_PATIENCE: Duration = Duration::from_millis(1700);
/// How long env files may take to be emptied at the end, where a file system hangs, and then what was written meanwhile.
const EMPTY_PATIENCE: Duration = Duration::from_secs(1);
const LAST_PATIENCE: Duration = Duration::from_millis(400);

type WorktreeId = u64;

/// What comes back from work.
enum Event {
    Looked(WorktreeId, Box<Eyes>, Box<Look>),
    /// With the session that asked: an answer of another store than today's counts for nothing.
    Resolved(
        WorktreeId,
        Arc<Session>,
        Box<Observation>,
        Result<Box<Resolved>, StoreFailure>,
    ),
    Finished,
    Verified(WorktreeId, Arc<Session>, ModelId, Verdict),
    Recalled(WorktreeId, Arc<Session>, Vec<Observation>),
    /// Commits were written down that are owed their LoggedModel.
    Owed(WorktreeId, Arc<Session>),
    /// What is said of the paths that churn in a worktree.
    Advised(WorktreeId, Option<Advice>),
    EnvWritten(WorktreeId, EnvOutcome),
    /// Other file systems lie where these worktrees are.
    Displaced(Vec<(WorktreeId, Spot)>),
    Loaded(Vec<Loaded>, Option<Box<Request>>),
    /// What the file systems said, for whoever asked for the status.
    Asked(Found, Reply<Status>),
}

/// Which worktrees were touched since the loop looked.
#[derive(Default)]
struct Wakes {
    /// A mutex because event threads write and the loop takes; held for one insertion.
    touched: Mutex<BTreeSet<WorktreeId>>,
    notify: Notify,
}

impl Wakes {
    fn touch(&self, id: WorktreeId) {
        lock(&self.touched).insert(id);
        self.notify.notify_one();
    }

    fn take(&self) -> BTreeSet<WorktreeId> {
        std::mem::take(&mut *lock(&self.touched))
    }
}

/// What the loop was woken by.
enum Turn {
    News(News),
    Touched,
    Done(Result<Event, tokio::task::JoinError>),
    Request(Request),
    Tick,
}

impl Turn {
    fn kind(&self) -> &'static str {
        match self {
            Self::News(_) => "news",
            Self::Touched => "touched",
            Self::Done(_) => "done",
            Self::Request(_) => "request",
            Self::Tick => "tick",
        }
    }
}

/// The loop and what it owns.
pub(super) struct EventLoop {
    catalog: Arc<Catalog>,
    info: DaemonInfo,
    program: Program,
    /// Notified when it is time to see whether clients still find the daemon.
    doubts: Arc<Notify>,
    /// Where questions to stores run, so that none of them delays a turn.
    others: Handle,
    entries: BTreeMap<WorktreeId, Entry>,
    next_id: u64,
    waiters: BTreeMap<WaiterId, (WorktreeId, Reply<Active>)>,
    wakes: Arc<Wakes>,
    work: JoinSet<Event>,
    departures: Vec<Reply<()>>,
    sleep: Sleep,
    /// True once the last repository was given up: nothing is left to do.
    idle: bool,
}

impl EventLoop {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        info: DaemonInfo,
        doubts: Arc<Notify>,
        others: Handle,
    ) -> Self {
        Self {
            catalog,
            info,
            program: Program::this(),
            doubts,
            others,
            entries: BTreeMap::new(),
            next_id: 0,
            waiters: BTreeMap::new(),
            wakes: Arc::default(),
            work: JoinSet::new(),
            departures: Vec::new(),
            sleep: Sleep::default(),
            idle: false,
        }
    }

    /// Runs until a signal says stop or the last repository is given up, then empties every env file.
    pub(super) async fn run(
        mut self,
        loaded: Vec<Loaded>,
        mut requests: mpsc::Receiver<Request>,
        mut signals: mpsc::Receiver<News>,
    ) {
        self.take_in(loaded);
        let watchdog = watchdog_interval();
        let mut beat = Instant::now();
        while !self.idle {
            let wakes = Arc::clone(&self.wakes);
            let now = Instant::now();
            if watchdog.is_some() && beat <= now {
                notify_systemd(&[NotifyState::Watchdog]);
                self.doubts.notify_one();
                beat = now + watchdog.unwrap_or_default();
            }
            let wake_at = self
                .wake_at()
                .into_iter()
                .chain(watchdog.map(|_| beat))
                .min();
            let turn = tokio::select! {
                // Every branch is cancel safe: channels, a notification, a join set and a timer lose nothing.
                biased;
                signal = signals.recv() => Turn::News(signal.unwrap_or(News::Stop)),
                () = wakes.notify.notified() => Turn::Touched,
                Some(done) = self.work.join_next() => Turn::Done(done),
                Some(request) = requests.recv() => Turn::Request(request),
                () = sleep_until(wake_at) => Turn::Tick,
            };
            if self.take_turn(turn).is_break() {
                break;
            }
        }
        drop(requests);
        self.stop().await;
    }

    /// Breaks when it is time to stop. A turn that takes long delays every worktree, so the log says so.
    fn take_turn(&mut self, turn: Turn) -> ControlFlow<()> {
        let began = Instant::now();
        let kind = turn.kind();
        if self.sleep.is_over() {
            tracing::info!("the machine slept; everything is read again");
            for id in self.entries.keys().copied().collect::<Vec<_>>() {
                self.input(id, Input::Unsure);
            }
        }
        match turn {
            Turn::News(News::Stop) => return ControlFlow::Break(()),
            Turn::News(News::Reload) => self.reload_all(),
            Turn::News(News::Moved(socket)) => self.moved(socket),
            Turn::News(News::Mounts) => self.look_for_displaced(),
            Turn::Touched => self.touched(),
            Turn::Done(done) => self.done(done),
            Turn::Request(request) => self.request(request, true),
            Turn::Tick => self.tick(),
        }
        let took = began.elapsed();
        if took > SLOW_TURN {
            tracing::warn!(turn = kind, ?took, "a slow turn");
        }
        ControlFlow::Continue(())
    }

    fn wake_at(&self) -> Option<Instant> {
        self.entries
            .values()
            .filter(|entry| !entry.leaving)
            .flat_map(|entry| [entry.state.wake_at(), entry.writer.retry_at])
            .flatten()
            .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.state.wake_at().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.input(id, Input::Tick);
        }
        for id in self.unwritten(now) {
            self.queue_env(id);
        }
    }

    /// Those whose env file was not written and is due again.
    fn unwritten(&mut self, now: Instant) -> Vec<WorktreeId> {
        let mut due = Vec::new();
        for (id, entry) in &mut self.entries {
            if entry.writer.is_due(now) {
                due.push(*id);
            }
        }
        due
    }

    fn touched(&mut self) {
        for id in self.wakes.take() {
            self.input(id, Input::Touched);
        }
    }

    fn done(&mut self, done: Result<Event, tokio::task::JoinError>) {
        match done {
            Ok(Event::Looked(id, eyes, look)) => self.looked(id, *eyes, *look),
            Ok(Event::Resolved(id, session, observation, outcome)) => {
                self.resolved(id, session, observation, outcome);
            }
            Ok(Event::Finished) => {}
            Ok(Event::Displaced(worktrees)) => self.displaced(worktrees),
            Ok(Event::Asked(found, reply)) => self.tell_status(found, reply),
            Ok(Event::Verified(id, session, model, verdict)) => {
                if self.is_current(id, &session) {
                    self.input(id, Input::Verified(model, verdict));
                }
            }
            Ok(Event::Recalled(id, session, owed)) => {
                if self.is_current(id, &session) {
                    self.input(id, Input::Recalled(owed));
                }
            }
            Ok(Event::Owed(id, session)) => {
                if self.is_current(id, &session) {
                    self.input(id, Input::Owed);
                }
            }
            Ok(Event::Advised(id, advice)) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.advice = advice;
                }
            }
            Ok(Event::EnvWritten(id, outcome)) => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.writer.written(outcome);
                }
                self.write_env(id);
                self.give_written_answers(id);
                self.begin_afterwards(id);
            }
            Ok(Event::Loaded(loaded, request)) => {
                self.take_in(loaded);
                self.resume_waiting_passes();
                if let Some(request) = request {
                    self.request(*request, false);
                }
            }
            Err(error) => tracing::error!(%error, "a task of the daemon ended early"),
        }
        self.finish_departures();
    }

    fn looked(&mut self, id: WorktreeId, eyes: Eyes, look: Look) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.wrong_settings = look.wrong_settings;
        entry.passes += 1;
        entry.watches = eyes.watches();
        entry.counts = eyes.reader.passes();
        let mut eyes = entry.next_eyes.take().unwrap_or(eyes);
        if std::mem::take(&mut entry.is_displaced) {
            eyes.look_around();
        }
        entry.eyes = Some(eyes);
        entry.missed_changes += u64::from(look.missed);
        let lies_otherwise = |session: &Arc<Session>| session.take_lies_otherwise();
        let lies_otherwise = entry.session.as_ref().is_ok_and(lies_otherwise);
        let before = entry.state.publication().observation;
        if let Ok(Seen::Observed(observation, memory, _)) = &look.outcome
            && (lies_otherwise || before.as_ref() != Some(observation.as_ref()))
        {
            entry.note_read(before.as_ref(), observation, &look.touched, look.cause);
            let read = (observation.clone(), memory.clone());
            entry.afterwards.to_keep.push(read);
        }
        if let Ok(Seen::Observed(observation, ..)) = &look.outcome
            && let Ok(session) = &entry.session
            && look.head_moved
        {
            owe_commits(&mut self.work, id, session, observation.reading.clone());
        }
        if beside::may_differ(&entry.worktree, &look.touched) {
            self.look_beside(id);
        }
        let reload = look.settings_changed;
        if let Some(sight) = look.sight {
            self.sight_changed(id, sight);
        }
        if look.store_changed {
            self.input(id, Input::StoreMayBeBack);
        }
        self.input(id, Input::Read(look.outcome));
        self.begin_afterwards(id);
        if reload {
            self.reload(id);
        }
    }

    /// Begins what nobody waits for, once the env file says what was read.
    fn begin_afterwards(&mut self, id: WorktreeId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|it| !it.writer.busy) else {
            return;
        };
        let Afterwards { to_keep, used } = std::mem::take(&mut entry.afterwards);
        let eyes = entry.eyes.as_mut();
        if let Some(record) = eyes.and_then(|eyes| eyes.reader.record(false)) {
            let private_dir = entry.worktree.private_dir();
            self.work.spawn_blocking(move || {
                remembered_files::write(&private_dir, &record);
                Event::Finished
            });
        }
        self.doubts.notify_one();
        if let (Some(session), false) = (self.session(id), used.is_empty()) {
            self.work.spawn_blocking(move || {
                session.note_uses(&used);
                Event::Finished
            });
        }
        for (observation, memory) in to_keep {
            self.keep_read(id, observation, memory);
        }
    }

    fn input(&mut self, id: WorktreeId, input: Input) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.leaving) else {
            return;
        };
        let effects = entry.state.on(input, Instant::now());
        for effect in effects {
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: WorktreeId, effect: Effect) {
        match effect {
            Effect::Read(depth) => self.begin_look(id, depth),
            Effect::Owe(observation) => self.owe(id, observation),
            Effect::Recall => self.recall(id),
            Effect::Resolve { observation, owed } => self.begin_resolve(id, observation, owed),
            Effect::Verify { model, version } => self.begin_verify(id, model, version),
            Effect::Publish(publication) => self.publish(id, &publication),
            Effect::Answer {
                waiter,
                publication,
                fresh,
            } => self.answer(waiter, &publication, fresh),
        }
    }

    fn begin_look(&mut self, id: WorktreeId, depth: Depth) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let session = match (&entry.session, entry.eyes.is_some()) {
            (Ok(session), true) => Arc::clone(session),
            (Err(_), _) => {
                entry.awaits_settings = true;
                self.reload(id);
                return;
            }
            (Ok(_), false) => return,
        };
        let Some(mut eyes) = entry.eyes.take() else {
            return;
        };
        self.work.spawn_blocking(move || {
            let look = look(&mut eyes, &session, depth);
            Event::Looked(id, Box::new(eyes), Box::new(look))
        });
    }

    /// Leaves no env file with an id that nobody watches over, and gives running work a moment.
    async fn stop(mut self) {
        notify_systemd(&[NotifyState::Stopping]);
        stop_waiting();
        let worktrees: Vec<_> = self
            .entries
            .values()
            .map(|entry| entry.worktree.clone())
            .collect();
        for entry in self.entries.values_mut() {
            entry.followers.say_goodbye();
            let mut due = std::mem::take(&mut entry.afterwards.used);
            due.extend(entry.uses.note(None, Instant::now()));
            if let Ok(session) = &entry.session {
                session.note_uses(&due);
            }
        }
        empty_each(&worktrees, EMPTY_PATIENCE).await;
        let finish = async { while self.work.join_next().await.is_some() {} };
        if tokio::time::timeout(WORK_PATIENCE, finish).await.is_err() {
            tracing::warn!("work still runs and is left");
        }
        // What was being written meanwhile.
        empty_each(&worktrees, LAST_PATIENCE).await;
        let entries = self.entries.values_mut().filter(|it| !it.leaving);
        let records = entries.filter_map(|entry| {
            let record = entry.eyes.as_mut()?.reader.record(true)?;
            let private_dir = entry.worktree.private_dir();
            Some(move || remembered_files::write(&private_dir, &record))
        });
        each_in_time(records, LAST_PATIENCE).await;
    }
}

async fn empty_each(worktrees: &[Worktree], patience: Duration) {
    let each = worktrees.iter().cloned();
    each_in_time(each.map(|worktree| move || empty_env(&worktree)), patience).await;
}

/// Each piece of work is for one worktree, whose file system may hang: then it is left, and holds up no other.
async fn each_in_time<W>(pieces: impl Iterator<Item = W>, patience: Duration)
where
    W: FnOnce() + Send + 'static,
{
    let pieces: Vec<_> = pieces.map(tokio::task::spawn_blocking).collect();
    let all = async {
        for piece in pieces {
            drop(piece.await);
        }
    };
    if tokio::time::timeout(patience, all).await.is_err() {
        tracing::warn!("a file system does not answer and is left");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
