//! Which worktrees there are: those that are tracked, made anew beside one, moved, given up.
//!
//! The records decide, which others write: none is written here.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sd_notify::NotifyState;

use super::{Event, EventLoop, Wakes, WorktreeId};
use crate::daemon::churn::Churn;
use crate::daemon::entry::{Afterwards, Entry, policy};
use crate::daemon::env_writer::EnvWriter;
use crate::daemon::eyes::Eyes;
use crate::daemon::followers::Followers;
use crate::daemon::lifecycle::notify_systemd;
use crate::daemon::load::Loaded;
use crate::daemon::presence::Asker;
use crate::daemon::request::{Reply, Request};
use crate::daemon::surprises::{Spot, displaced, spot};
use crate::daemon::uses::Uses;
use crate::daemon::watching::{Sight, explain};
use crate::daemon::{beside, scratch_dirs};
use crate::identity::reader::{Doubt, Passes};
use crate::registry::Registry;
use crate::repository::Worktree;
use crate::session::{Session, reader_of};
use crate::trust;
use crate::watch::{Watch, WatchError};
use crate::worktree_state::{Input, PassFailure, WorktreeState};

impl EventLoop {
    pub(super) fn take_in(&mut self, loaded: Vec<Loaded>) {
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
            presence: Asker::default(),
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

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Reads records on a thread for blocking work; what waits for it is served afterwards.
    pub(super) fn load(&mut self, path: Option<&Path>, request: Option<Request>) {
        let catalog = Arc::clone(&self.catalog);
        let path = path.map(Path::to_owned);
        self.work.spawn_blocking(move || {
            let loaded = path.map_or_else(Vec::new, |path| catalog.around(&path));
            Event::Loaded(loaded, request.map(Box::new))
        });
    }

    /// The settings were read again: right ones let the pass begin anew, wrong ones end it.
    pub(super) fn resume_waiting_passes(&mut self) {
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

    pub(super) fn reload_all(&mut self) {
        notify_systemd(&[NotifyState::Reloading]);
        self.doubts.notify_one();
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.reload(id);
        }
        notify_systemd(&[NotifyState::Ready]);
    }

    pub(super) fn reload(&mut self, id: WorktreeId) {
        let root = self
            .entries
            .get(&id)
            .map(|entry| entry.worktree.root.clone());
        self.load(root.as_deref(), None);
    }

    /// Worktrees that git made beside one are tracked too, those that it removed are forgotten.
    pub(super) fn look_beside(&mut self, id: WorktreeId) {
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

    pub(super) fn look_for_displaced(&mut self) {
        let entries = self.entries.iter();
        let roots = entries
            .map(|(id, entry)| (*id, entry.worktree.root.clone(), entry.spot.clone()))
            .collect();
        self.work
            .spawn_blocking(move || Event::Displaced(displaced(roots)));
    }

    pub(super) fn displaced(&mut self, worktrees: Vec<(WorktreeId, Spot)>) {
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
    pub(super) fn moved(&mut self, socket: String) {
        self.info.socket = socket;
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.queue_env(id);
        }
    }

    pub(super) fn sight_changed(&mut self, id: WorktreeId, sight: Sight) {
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

    pub(super) fn untrack(&mut self, reply: Reply<()>) {
        for entry in self.entries.values_mut() {
            entry.leaving |= !self.catalog.covers(&entry.worktree);
        }
        self.departures.push(reply);
        self.finish_departures();
    }

    /// Whoever gives a worktree up hears of it once nothing writes there any more.
    pub(super) fn finish_departures(&mut self) {
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.leaving && entry.eyes.is_some() && !entry.writer.busy)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(mut entry) = self.entries.remove(&id) {
                scratch_dirs::remove(&entry.worktree);
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
    scratch_dirs::make(worktree);
    let doubted = worktree.clone();
    let asked = registry.clone();
    let doubt = Doubt::new(move |names| trust::doubt_beside(&asked, &doubted, names));
    let reader = reader_of(worktree).doubting(doubt);
    let (eyes, error) = Eyes::new(&worktree.root, Box::new(opener), reader, registry);
    if let Some(error) = &error {
        tracing::warn!(%error, worktree = %worktree.root.display(), "read at intervals instead");
    }
    (eyes, error)
}
