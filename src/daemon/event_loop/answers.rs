//! What others hear of worktrees, and what they ask: env files, followers, whoever asked, systemd.
//!
//! Decides nothing: what is said was decided before, and what is asked goes to the pure state as an input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::task::JoinSet;

use super::{Event, EventLoop, WorktreeId};
use crate::config::EnvContents;
use crate::daemon::env_writer::EnvPlace;
use crate::daemon::lifecycle::notify_systemd;
use crate::daemon::presence::Presence;
use crate::daemon::request::{Answer, Refusal, Reply, Request};
use crate::protocol::{API, Active, DaemonInfo, STATUS_SCHEMA, Status, WorktreeStatus};
use crate::worktree_state::{Input, Pending, Publication, State, WaiterId};

/// How long the file systems of worktrees may take to say that they are there, before `status` says that they do not.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// What file systems say of worktrees.
pub(super) type Found = BTreeMap<WorktreeId, Presence>;

impl EventLoop {
    pub(super) fn publish(&mut self, id: WorktreeId, publication: &Publication) {
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
    pub(super) fn queue_env(&mut self, id: WorktreeId) {
        let write = self.next_env_write(id);
        self.begin_env_write(id, write);
    }

    /// Has the env file say what was published while it was written.
    pub(super) fn write_env(&mut self, id: WorktreeId) {
        let write = self.queued_env_write(id);
        self.begin_env_write(id, write);
    }

    /// As [`Self::queue_env`], but leaves it to the caller to begin: answers wait for it from now on.
    fn next_env_write(&mut self, id: WorktreeId) -> Option<(EnvPlace, String)> {
        let entry = self.entries.get_mut(&id)?;
        let session = entry.session.as_ref();
        let full = session.is_ok_and(|session| session.settings.env == EnvContents::Full);
        let active = entry.describe(&entry.state.publication());
        entry.writer.next = Some(active.env_values(&self.info.socket, full).render());
        self.queued_env_write(id)
    }

    /// Returns what is to be written now; `None` while another text is.
    fn queued_env_write(&mut self, id: WorktreeId) -> Option<(EnvPlace, String)> {
        let entry = self.entries.get_mut(&id)?;
        if entry.writer.busy || entry.leaving {
            return None;
        }
        let text = entry.writer.next.take()?;
        entry.writer.busy = true;
        let place = EnvPlace {
            worktree: entry.worktree.clone(),
            copy: entry.has_copy(),
            dir: entry.writer.dir.take(),
            dates: entry.writer.dates,
            registry: self.catalog.registry.clone(),
        };
        Some((place, text))
    }

    fn begin_env_write(&mut self, id: WorktreeId, write: Option<(EnvPlace, String)>) {
        if let Some((place, text)) = write {
            self.work
                .spawn_blocking(move || Event::EnvWritten(id, place.write(&text)));
        }
    }

    pub(super) fn answer(&mut self, waiter: WaiterId, publication: &Publication, fresh: bool) {
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

    pub(super) fn give_written_answers(&mut self, id: WorktreeId) {
        let entry = self.entries.get_mut(&id);
        if let Some(entry) = entry.filter(|entry| !entry.writer.busy) {
            for answer in entry.writer.answers.drain(..) {
                answer.give();
            }
        }
    }

    pub(super) fn request(&mut self, request: Request, may_load: bool) {
        let path = match &request {
            Request::Status { .. } | Request::Untrack { .. } => None,
            Request::Active { path, .. }
            | Request::Follow { path, .. }
            | Request::Track { path, .. }
            | Request::Touch { path, .. } => Some(path.clone()),
        };
        match request {
            Request::Status { reply } => self.ask_file_systems(reply),
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
                // A file that was removed or overwritten comes back: looked after beside the code, which takes longer.
                let write = self.next_env_write(id);
                self.input(id, asked);
                self.begin_env_write(id, write);
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

    /// Each worktree is asked for at the same time, so that one that hangs holds up no other.
    fn ask_file_systems(&mut self, reply: Reply<Status>) {
        let deadline = tokio::time::Instant::now() + DISK_PATIENCE;
        let mut looks = JoinSet::new();
        for (id, entry) in &self.entries {
            let (id, asker, worktree) = (*id, entry.presence.clone(), entry.worktree.clone());
            looks.spawn(async move { (id, asker.ask(worktree, deadline).await) });
        }
        self.work.spawn(async move {
            let mut found = BTreeMap::new();
            while let Some(look) = looks.join_next().await {
                found.extend(look);
            }
            Event::Asked(found, reply)
        });
    }

    /// What came since the file systems were asked is there.
    pub(super) fn tell_status(&self, mut found: Found, reply: Reply<Status>) {
        let worktrees = self.entries.iter().map(|(id, entry)| {
            let presence = found.remove(id).unwrap_or(Presence::There);
            entry.status(presence)
        });
        let worktrees = worktrees.collect();
        drop(reply.send(Ok(self.status(worktrees))));
    }

    fn status(&self, worktrees: Vec<WorktreeStatus>) -> Status {
        Status {
            schema: STATUS_SCHEMA,
            api: API,
            version: self.info.version.clone(),
            daemon: Some(DaemonInfo {
                replaced: self.program.is_replaced(),
                ..self.info.clone()
            }),
            worktrees,
        }
    }

    /// One human sentence for `systemctl --user status`.
    pub(super) fn report(&self) {
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
