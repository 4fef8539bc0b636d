//! The owner of every worktree's state: takes events one at a time, lets the pure state decide, carries out effects.
//!
//! Nothing else changes state. Work runs in tasks of one set and comes back as events.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::beside;
use super::churn::{Advice, Churn};
use super::entry::{Afterwards, Entry, policy};
use super::env_writer::{EnvOutcome, EnvPlace, EnvWriter};
use super::eyes::{Eyes, Sight, explain};
use super::followers::Followers;
use super::lifecycle::{Program, Signal, notify_systemd, watchdog_interval};
use super::load::{Catalog, Loaded, empty_env};
use super::remembered_files;
use super::request::{Refusal, Reply, Request};
use super::surprises::{Sleep, Spot, displaced, spot};
use super::uses::Uses;
use super::worktree_job::{Look, look};
use crate::config::EnvContents;
use crate::identity::Reading;
use crate::identity::reader::{Doubt, Passes};
use crate::ids::ModelId;
use crate::ledger::VersionKey;
use crate::mlflow::stop_waiting;
use crate::protocol::{API, Active, DaemonInfo, Status};
use crate::registry::Registry;
use crate::repository::Worktree;
use crate::session::{ResolveError, Resolved, Review, Session, reader_of};
use crate::trust;
use crate::version::{ActiveModel, Observation};
use crate::watch::{Watch, WatchError};
use crate::worktree_state::{
    Depth, Effect, Input, Memory, OWED_MAX, PassFailure, Pending, Publication, Scope, Seen, State,
    StoreFailure, Verdict, WaiterId, WorktreeState,
};

/// How long a question waits at most for the word that a known LoggedModel still exists.
const REVIEW_PATIENCE: Duration = Duration::from_secs(3);
/// A turn of the loop that takes longer is told in the log.
const SLOW_TURN: Duration = Duration::from_millis(50);

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
        self.touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
        self.notify.notify_one();
    }

    fn take(&self) -> BTreeSet<WorktreeId> {
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An answer, with the way back.
pub(super) enum Answer {
    Active(Reply<Active>, Box<Active>),
    Tracked(Reply<()>),
}

impl Answer {
    /// A client that went away misses nothing.
    fn give(self) {
        match self {
            Self::Active(reply, active) => drop(reply.send(Ok(*active))),
            Self::Tracked(reply) => drop(reply.send(Ok(()))),
        }
    }
}

/// What the loop was woken by.
enum Turn {
    Signal(Signal),
    Touched,
    Done(Result<Event, tokio::task::JoinError>),
    Request(Request),
    Tick,
}

impl Turn {
    fn kind(&self) -> &'static str {
        match self {
            Self::Signal(_) => "signal",
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
        mut signals: mpsc::Receiver<Signal>,
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
                signal = signals.recv() => Turn::Signal(signal.unwrap_or(Signal::Stop)),
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
            Turn::Signal(Signal::Stop) => return ControlFlow::Break(()),
            Turn::Signal(Signal::Reload) => self.reload_all(),
            Turn::Signal(Signal::Moved(socket)) => self.moved(socket),
            Turn::Signal(Signal::Mounts) => self.look_for_displaced(),
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

    fn look_for_displaced(&mut self) {
        let entries = self.entries.iter();
        let roots = entries
            .map(|(id, entry)| (*id, entry.worktree.root.clone(), entry.spot.clone()))
            .collect();
        self.work
            .spawn_blocking(move || Event::Displaced(displaced(roots)));
    }

    fn displaced(&mut self, worktrees: Vec<(WorktreeId, Spot)>) {
        for (id, spot) in worktrees {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.spot = spot;
                match &mut entry.eyes {
                    Some(eyes) => eyes.look_around(),
                    None => entry.is_displaced = true,
                }
            }
            self.input(id, Input::Unsure);
        }
    }

    /// The env files name the socket.
    fn moved(&mut self, socket: String) {
        self.info.socket = socket;
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.queue_env(id);
        }
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

    /// The code of a version that has its LoggedModel already, or that was committed, is kept.
    fn keep_read(&mut self, id: WorktreeId, observation: Box<Observation>, memory: Memory) {
        let Some(session) = self.session(id) else {
            return;
        };
        if let Memory::Model(model) = memory {
            let keep = async move {
                session.keep_code_of(observation, model).await;
                Event::Finished
            };
            self.work.spawn_on(keep, &self.others);
        } else if observation.is_committed() {
            keep_code(&mut self.work, &session, observation);
        }
    }

    /// Worktrees that git made beside one are tracked too, those that it removed are forgotten.
    fn look_beside(&mut self, id: WorktreeId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let common_dir = entry.worktree.common_dir.clone();
        let mut known = Vec::new();
        for entry in self.entries.values_mut() {
            if entry.worktree.common_dir == common_dir {
                entry.leaving |= beside::is_gone(&entry.worktree);
                known.push(entry.worktree.root.clone());
            }
        }
        let catalog = Arc::clone(&self.catalog);
        self.work.spawn_blocking(
            move || match beside::new_ones(&catalog, &common_dir, &known) {
                none if none.is_empty() => Event::Finished,
                loaded => Event::Loaded(loaded, None),
            },
        );
    }

    fn sight_changed(&mut self, id: WorktreeId, sight: Sight) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let root = entry.worktree.root.display();
        let input = match sight {
            Sight::Lost(why) => {
                tracing::warn!(worktree = %root, "{why}");
                entry.mode_note = Some(why);
                Input::Polling
            }
            Sight::Back => {
                tracing::info!(worktree = %root, "watched again");
                entry.mode_note = None;
                Input::Watching
            }
        };
        self.input(id, input);
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

    fn owe(&mut self, id: WorktreeId, observation: Box<Observation>) {
        let Some(session) = self.session(id) else {
            return;
        };
        keep_code(&mut self.work, &session, observation.clone());
        self.work.spawn_blocking(move || {
            if let Err(error) = session.owe(&observation) {
                tracing::error!(%error, "what is owed cannot be written down");
            }
            Event::Finished
        });
    }

    fn recall(&mut self, id: WorktreeId) {
        let Some(session) = self.session(id) else {
            return;
        };
        self.work.spawn_blocking(move || {
            let owed = session.owed(OWED_MAX);
            Event::Recalled(id, session, owed)
        });
    }

    fn begin_resolve(&mut self, id: WorktreeId, observation: Box<Observation>, owed: bool) {
        let Some(session) = self.session(id) else {
            return;
        };
        self.work.spawn_on(
            async move {
                let outcome = session
                    .resolve(&observation, owed)
                    .await
                    .map_err(|error| store_failure(&error));
                Event::Resolved(id, session, observation, outcome.map(Box::new))
            },
            &self.others,
        );
    }

    /// The row exists: it is published first and completed afterwards.
    fn resolved(
        &mut self,
        id: WorktreeId,
        session: Arc<Session>,
        observation: Box<Observation>,
        outcome: Result<Box<Resolved>, StoreFailure>,
    ) {
        let model = outcome.as_ref().map(|resolved| resolved.model.clone());
        let model = model.map_err(Clone::clone);
        let is_current = self.is_current(id, &session);
        if let Err(failure) = &outcome
            && let Some(entry) = self.entries.get_mut(&id)
        {
            tracing::warn!(worktree = %entry.worktree.root.display(), reason = failure.reason, "the store failed");
            entry.last_error = Some((failure.reason.clone(), SystemTime::now()));
        }
        if is_current {
            self.input(id, Input::Resolved(observation, model));
        }
        if let Ok(resolved) = outcome {
            self.work.spawn_on(
                async move {
                    let model = resolved.model.model_id.clone();
                    let verdict = verdict(session.finish(&resolved).await);
                    Event::Verified(id, session, model, verdict)
                },
                &self.others,
            );
        }
    }

    fn is_current(&self, id: WorktreeId, session: &Arc<Session>) -> bool {
        let current = self.session(id);
        current.is_some_and(|current| Arc::ptr_eq(&current, session))
    }

    /// A store that does not answer is no reason to make whoever asks wait: what is known counts.
    fn begin_verify(&mut self, id: WorktreeId, model: ActiveModel, version: VersionKey) {
        let Some(session) = self.session(id) else {
            return;
        };
        self.work.spawn_on(async move {
            let review = tokio::time::timeout(REVIEW_PATIENCE, session.review(&model, &version));
            let model = model.model_id.clone();
            let verdict = match review.await {
                Ok(Ok(review)) => verdict(review),
                Ok(Err(error)) => {
                    tracing::debug!(%error, %model, "the store cannot be asked whether it still has a LoggedModel");
                    Verdict::Stands
                }
                Err(_) => Verdict::Stands,
            };
            Event::Verified(id, session, model, verdict)
        }, &self.others);
    }

    fn session(&self, id: WorktreeId) -> Option<Arc<Session>> {
        let entry = self.entries.get(&id)?;
        entry.session.as_ref().ok().map(Arc::clone)
    }

    fn publish(&mut self, id: WorktreeId, publication: &Publication) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if publication.state == State::Pending(Pending::Flood) {
            let (worktree, churn) = (entry.worktree.clone(), entry.churn.clone());
            self.work
                .spawn_blocking(move || Event::Advised(id, churn.advice(&worktree)));
        } else {
            entry.advice = None;
        }
        let active = entry.describe(publication);
        self.queue_env(id);
        tracing::info!(
            worktree = active.worktree,
            state = active.state,
            model_id = active.model_id,
            name = active.name,
            reason = active.reason,
            "published"
        );
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.followers.tell(&active);
        }
        self.note_use(id);
        self.report();
    }

    /// Whoever tidies up leaves what was in use lately.
    fn note_use(&mut self, id: WorktreeId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let active = match entry.state.publication().state {
            State::Active(model) => Some(model.model_id),
            State::Pending(_) | State::Broken(_) => None,
        };
        let due = entry.uses.note(active.as_ref(), Instant::now());
        entry.afterwards.used.extend(due);
        self.begin_afterwards(id);
    }

    /// Has the env file say what is published; one that was removed comes back.
    fn queue_env(&mut self, id: WorktreeId) {
        let socket = self.info.socket.clone();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let full = entry
            .session
            .as_ref()
            .is_ok_and(|session| session.settings.env == EnvContents::Full);
        let active = entry.describe(&entry.state.publication());
        entry.writer.next = Some(active.env_values(&socket, full).render());
        self.write_env(id);
    }

    fn write_env(&mut self, id: WorktreeId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.writer.busy || entry.leaving {
            return;
        }
        let Some(text) = entry.writer.next.take() else {
            return;
        };
        entry.writer.busy = true;
        let place = EnvPlace {
            worktree: entry.worktree.clone(),
            copy: entry.has_copy(),
            dir: entry.writer.dir.take(),
            dates: entry.writer.dates,
            registry: self.catalog.registry.clone(),
        };
        self.work
            .spawn_blocking(move || Event::EnvWritten(id, place.write(&text)));
    }

    fn answer(&mut self, waiter: WaiterId, publication: &Publication, fresh: bool) {
        let Some((id, reply)) = self.waiters.remove(&waiter) else {
            return;
        };
        if let Some(entry) = self.entries.get(&id) {
            let active = Box::new(Active {
                fresh,
                why_not_fresh: (!fresh).then(|| entry.why_not_fresh().to_owned()),
                ..entry.describe(publication)
            });
            self.answer_when_written(id, Answer::Active(reply, active));
            self.note_use(id);
        }
    }

    /// Whoever has an answer finds the env file saying the same.
    fn answer_when_written(&mut self, id: WorktreeId, answer: Answer) {
        match self.entries.get_mut(&id) {
            Some(entry) if entry.writer.busy => entry.writer.answers.push(answer),
            _ => answer.give(),
        }
    }

    fn give_written_answers(&mut self, id: WorktreeId) {
        let entry = self.entries.get_mut(&id);
        if let Some(entry) = entry.filter(|entry| !entry.writer.busy) {
            for answer in entry.writer.answers.drain(..) {
                answer.give();
            }
        }
    }

    fn request(&mut self, request: Request, may_load: bool) {
        let path = match &request {
            Request::Status { .. } | Request::Untrack { .. } => None,
            Request::Active { path, .. }
            | Request::Follow { path, .. }
            | Request::Track { path, .. }
            | Request::Touch { path, .. } => Some(path.clone()),
        };
        match request {
            Request::Status { reply } => drop(reply.send(Ok(self.status()))),
            Request::Untrack { reply } => self.untrack(reply),
            Request::Track { .. } if may_load => self.load(path.as_deref(), Some(request)),
            _ => match path.as_deref().and_then(|path| self.find(path, may_load)) {
                Some(id) => self.serve(id, request),
                None if may_load => self.load(path.as_deref(), Some(request)),
                None => refuse(request, path),
            },
        }
    }

    fn serve(&mut self, id: WorktreeId, request: Request) {
        match request {
            Request::Active {
                deadline,
                full,
                reply,
                ..
            } => {
                let waiter = self.new_id();
                self.waiters.insert(waiter, (id, reply));
                let asked = Input::Asked {
                    waiter,
                    deadline,
                    full,
                };
                // A file that was removed or overwritten comes back.
                self.queue_env(id);
                self.input(id, asked);
                self.forget_departed();
            }
            Request::Follow { reply, .. } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    let now = entry.describe(&entry.state.publication());
                    drop(reply.send(Ok(entry.followers.add(now))));
                }
            }
            Request::Touch { reply, .. } => {
                drop(reply.send(Ok(())));
                self.input(id, Input::Touched);
                self.look_after_events(id);
            }
            Request::Track { reply, .. } => {
                self.queue_env(id);
                self.answer_when_written(id, Answer::Tracked(reply));
            }
            Request::Status { .. } | Request::Untrack { .. } => {}
        }
    }

    /// A hook may run before its events arrive: they are waited for.
    fn look_after_events(&mut self, id: WorktreeId) {
        let waiter = self.new_id();
        let asked = Input::Asked {
            waiter,
            deadline: Instant::now() + std::time::Duration::from_millis(1),
            full: false,
        };
        self.input(id, asked);
        self.input(id, Input::Left(waiter));
    }

    /// Questions whose asker went away are not worth a LoggedModel.
    fn forget_departed(&mut self) {
        let departed: Vec<_> = self
            .waiters
            .iter()
            .filter(|(_, (_, reply))| reply.is_closed())
            .map(|(waiter, (id, _))| (*waiter, *id))
            .collect();
        for (waiter, id) in departed {
            self.waiters.remove(&waiter);
            self.input(id, Input::Left(waiter));
        }
    }

    /// Returns the innermost tracked worktree around `path`. With `exactly`, only when no other repository lies between
    /// the two: it may be one that is tracked and not loaded yet.
    fn find(&self, path: &Path, exactly: bool) -> Option<WorktreeId> {
        let (id, entry) = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.leaving && path.starts_with(&entry.worktree.root))
            .max_by_key(|(_, entry)| entry.worktree.root.as_os_str().len())?;
        let root = &entry.worktree.root;
        let mut between = path.ancestors().take_while(|inside| inside != root);
        let is_sure = !exactly || !between.any(|inside| inside.join(".git").exists());
        is_sure.then_some(*id)
    }

    /// Reads records on a thread for blocking work; what waits for it is served afterwards.
    fn load(&mut self, path: Option<&Path>, request: Option<Request>) {
        let catalog = Arc::clone(&self.catalog);
        let path = path.map(Path::to_owned);
        self.work.spawn_blocking(move || {
            let loaded = path.map_or_else(Vec::new, |path| catalog.around(&path));
            Event::Loaded(loaded, request.map(Box::new))
        });
    }

    /// The settings were read again: right ones let the pass begin anew, wrong ones end it.
    fn resume_waiting_passes(&mut self) {
        let mut waiting = Vec::new();
        for (id, entry) in &mut self.entries {
            if std::mem::take(&mut entry.awaits_settings) {
                waiting.push((*id, entry.session.as_ref().err().cloned()));
            }
        }
        for (id, wrong) in waiting {
            let failure = wrong.map_or(PassFailure::Torn, PassFailure::Broken);
            self.input(id, Input::Read(Err(failure)));
        }
    }

    fn take_in(&mut self, loaded: Vec<Loaded>) {
        for Loaded {
            worktree,
            session,
            has_wrong_settings,
        } in loaded
        {
            let known = self
                .entries
                .iter()
                .find(|(_, entry)| entry.worktree == worktree && !entry.leaving)
                .map(|(id, _)| *id);
            let id = known.unwrap_or_else(|| self.new_id());
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.wrong_settings = session.as_ref().err().cloned();
                let keeps_old = has_wrong_settings && entry.session.is_ok();
                if !keeps_old && entry.renew(session) {
                    self.renew_eyes(id);
                }
            } else if self.catalog.covers(&worktree) {
                let entry = self.new_entry(id, worktree, session);
                self.entries.insert(id, entry);
            }
            self.input(id, Input::Tick);
        }
        self.report();
    }

    /// Other settings may name another store, whose file is watched too.
    fn renew_eyes(&mut self, id: WorktreeId) {
        let wakes = Arc::clone(&self.wakes);
        let registry = self.catalog.registry.clone();
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(old) = &mut entry.eyes {
            old.shut();
        }
        let (eyes, error) = open_eyes(wakes, id, &entry.worktree, &entry.session, registry);
        entry.mode_note = error.as_ref().map(explain);
        entry.state.set_polling(error.is_some());
        match &mut entry.eyes {
            Some(old) => *old = eyes,
            None => entry.next_eyes = Some(eyes),
        }
    }

    fn new_entry(
        &self,
        id: WorktreeId,
        worktree: Worktree,
        session: Result<Arc<Session>, String>,
    ) -> Entry {
        let (eyes, error) = {
            let registry = self.catalog.registry.clone();
            open_eyes(Arc::clone(&self.wakes), id, &worktree, &session, registry)
        };
        let mut state = WorktreeState::new(policy(&session), Instant::now());
        state.set_polling(error.is_some());
        Entry {
            spot: spot(&worktree.root),
            worktree,
            session,
            state,
            mode_note: error.as_ref().map(explain),
            wrong_settings: None,
            eyes: Some(eyes),
            next_eyes: None,
            is_displaced: false,
            writer: EnvWriter::default(),
            followers: Followers::default(),
            cause: None,
            churn: Churn::default(),
            advice: None,
            last_error: None,
            watches: 0,
            passes: 0,
            missed_changes: 0,
            counts: Passes::default(),
            awaits_settings: false,
            leaving: false,
            uses: Uses::default(),
            afterwards: Afterwards::default(),
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn reload_all(&mut self) {
        notify_systemd(&[NotifyState::Reloading]);
        self.doubts.notify_one();
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.reload(id);
        }
        notify_systemd(&[NotifyState::Ready]);
    }

    fn reload(&mut self, id: WorktreeId) {
        let root = self
            .entries
            .get(&id)
            .map(|entry| entry.worktree.root.clone());
        self.load(root.as_deref(), None);
    }

    fn untrack(&mut self, reply: Reply<()>) {
        for entry in self.entries.values_mut() {
            entry.leaving |= !self.catalog.covers(&entry.worktree);
        }
        self.departures.push(reply);
        self.finish_departures();
    }

    /// Whoever gives a worktree up hears of it once nothing writes there any more.
    fn finish_departures(&mut self) {
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.leaving && entry.eyes.is_some() && !entry.writer.busy)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(mut entry) = self.entries.remove(&id) {
                beside::leave(&entry.worktree);
                tracing::info!(worktree = %entry.worktree.root.display(), "no longer tracked");
                entry.followers.say_goodbye();
            }
            self.waiters.retain(|_, (worktree, _)| *worktree != id);
        }
        if self.departures.is_empty() || self.entries.values().any(|entry| entry.leaving) {
            return;
        }
        for reply in self.departures.drain(..) {
            drop(reply.send(Ok(())));
        }
        self.idle = self.entries.is_empty();
        self.report();
    }

    fn status(&self) -> Status {
        Status {
            schema: 1,
            api: API,
            version: self.info.version.clone(),
            daemon: Some(DaemonInfo {
                replaced: self.program.is_replaced(),
                ..self.info.clone()
            }),
            worktrees: self.entries.values().map(Entry::status).collect(),
        }
    }

    /// One human sentence for `systemctl --user status`.
    fn report(&self) {
        let active = self
            .entries
            .values()
            .filter(|entry| matches!(entry.state.publication().state, State::Active(_)))
            .count();
        let text = match self.entries.len() {
            0 => "Nothing is tracked".to_owned(),
            1 if active == 1 => "Tracking one worktree, its model id is published".to_owned(),
            1 => "Tracking one worktree, which has no model id now".to_owned(),
            all => format!("Tracking {all} worktrees, {active} of them with a model id"),
        };
        notify_systemd(&[NotifyState::Status(&text)]);
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
        for worktree in &worktrees {
            empty_env(worktree);
        }
        let finish = async { while self.work.join_next().await.is_some() {} };
        if tokio::time::timeout(std::time::Duration::from_secs(3), finish)
            .await
            .is_err()
        {
            tracing::warn!("work still runs and is left");
        }
        // What was being written meanwhile.
        for worktree in &worktrees {
            empty_env(worktree);
        }
        for entry in self.entries.values_mut().filter(|it| !it.leaving) {
            let eyes = entry.eyes.as_mut();
            if let Some(record) = eyes.and_then(|eyes| eyes.reader.record(true)) {
                remembered_files::write(&entry.worktree.private_dir(), &record);
            }
        }
    }
}

/// The code of a commit, and of a version that is owed its LoggedModel, is kept before it can go.
fn keep_code(work: &mut JoinSet<Event>, session: &Arc<Session>, observation: Box<Observation>) {
    let session = Arc::clone(session);
    work.spawn_blocking(move || {
        session.keep_code(&observation);
        Event::Finished
    });
}

/// Commits that HEAD has moved on from are written down.
fn owe_commits(
    work: &mut JoinSet<Event>,
    id: WorktreeId,
    session: &Arc<Session>,
    reading: Reading,
) {
    let session = Arc::clone(session);
    work.spawn_blocking(move || {
        if session.owe_commits(&reading) {
            Event::Owed(id, session)
        } else {
            Event::Finished
        }
    });
}

fn store_failure(failed: &ResolveError) -> StoreFailure {
    let error = &failed.error;
    StoreFailure {
        reason: error.to_string(),
        hint: error.hint(),
        retry_after: error.retry_after(),
        scope: if failed.of_version {
            Scope::Version
        } else {
            Scope::Store
        },
        lasting: error.is_lasting(),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn open_eyes(
    wakes: Arc<Wakes>,
    id: WorktreeId,
    worktree: &Worktree,
    session: &Result<Arc<Session>, String>,
    registry: Registry,
) -> (Eyes, Option<WatchError>) {
    let store = session
        .as_ref()
        .ok()
        .and_then(|session| session.store_file())
        .map(Path::to_owned);
    let watched = worktree.clone();
    let opener = move || {
        let wakes = Arc::clone(&wakes);
        Watch::new(&watched, store.as_deref(), move || wakes.touch(id))
    };
    beside::make_room(worktree);
    let doubted = worktree.clone();
    let asked = registry.clone();
    let doubt = Doubt::new(move || trust::doubt(&asked, &doubted));
    let reader = reader_of(worktree).doubting(doubt);
    let (eyes, error) = Eyes::new(&worktree.root, Box::new(opener), reader, registry);
    if let Some(error) = &error {
        tracing::warn!(%error, worktree = %worktree.root.display(), "read at intervals instead");
    }
    (eyes, error)
}

fn verdict(review: Review) -> Verdict {
    match review {
        Review::Stands { .. } => Verdict::Stands,
        Review::Later(winner) => Verdict::Later(winner),
        Review::Gone => Verdict::Gone,
    }
}

fn refuse(request: Request, path: Option<PathBuf>) {
    let refusal = Refusal::NotTracked(path.unwrap_or_default());
    match request {
        Request::Active { reply, .. } => drop(reply.send(Err(refusal))),
        Request::Follow { reply, .. } => drop(reply.send(Err(refusal))),
        Request::Track { reply, .. }
        | Request::Untrack { reply }
        | Request::Touch { reply, .. } => drop(reply.send(Err(refusal))),
        Request::Status { .. } => {}
    }
}
