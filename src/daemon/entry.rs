//! One tracked worktree: what the loop knows of it, and how that is said.
//!
//! Writes nothing and asks no store; ledger and disk are only looked at: what is owed, whether the worktree is there.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::churn::{Advice, Churn};
use super::env_writer::EnvWriter;
use super::eyes::Eyes;
use super::followers::Followers;
use super::presence::{Asker, Presence};
use super::said::Said;
use super::surprises::Spot;
use super::uses::Uses;
use crate::identity::reader::Passes;
use crate::ids::ModelId;
use crate::mlflow::Connection;
use crate::protocol::{API, Active, OwedTo, WorktreeStatus};
use crate::repository::Worktree;
use crate::session::{Session, choice_text};
use crate::touched::Touched;
use crate::unix_time;
use crate::version::Observation;
use crate::worktree_state::{Memory, Pending, Policy, Publication, State, WorktreeState};

/// What is said of a worktree whose file system hangs, and what to do.
const SILENT: &str = "its file system does not answer";
const LISTED: &str = "see whether its directory can be listed; it is looked at again";

/// One tracked worktree.
pub(super) struct Entry {
    pub(super) worktree: Worktree,
    pub(super) session: Result<Arc<Session>, String>,
    pub(super) state: WorktreeState,
    pub(super) eyes: Option<Eyes>,
    /// Take the place of those that are out on a look.
    pub(super) next_eyes: Option<Eyes>,
    /// What the root is, and whether that changed while the eyes were out on a look.
    pub(super) spot: Spot,
    pub(super) is_displaced: bool,
    pub(super) presence: Asker,
    pub(super) writer: EnvWriter,
    pub(super) followers: Followers,
    pub(super) mode_note: Option<String>,
    /// Why settings that were read again are not the ones in use.
    pub(super) wrong_settings: Option<String>,
    /// What made the last reading necessary, and when that was.
    pub(super) cause: Option<(String, SystemTime)>,
    pub(super) churn: Churn,
    /// What is said while a program writes the code.
    pub(super) advice: Option<Advice>,
    /// The last failure of the store, and when it was.
    pub(super) last_error: Option<(String, SystemTime)>,
    pub(super) watches: usize,
    pub(super) passes: u64,
    pub(super) missed_changes: u64,
    pub(super) counts: Passes,
    /// A pass waits until the settings, which were wrong, have been read again.
    pub(super) awaits_settings: bool,
    /// Given up; stays until nothing writes there any more.
    pub(super) leaving: bool,
    pub(super) uses: Uses,
    pub(super) afterwards: Afterwards,
}

/// What waits until the env file says what was read, as that is what everybody waits for.
#[derive(Default)]
pub(super) struct Afterwards {
    /// Code that was read, to be kept, and what is known of it.
    pub(super) to_keep: Vec<(Box<Observation>, Memory)>,
    /// LoggedModels whose use is to be written down.
    pub(super) used: Vec<ModelId>,
}

impl Entry {
    /// Starts over with new settings; who follows keeps following, who asked is still answered. Settings that stay
    /// are no reason. Returns whether they changed.
    pub(super) fn renew(&mut self, session: Result<Arc<Session>, String>) -> bool {
        let same = match (&self.session, &session) {
            (Ok(old), Ok(new)) => old.is_like(new),
            (Err(old), Err(new)) => old == new,
            _ => false,
        };
        if same {
            return false;
        }
        self.state.restart(policy(&session), Instant::now());
        self.session = session;
        true
    }

    /// The code was read and found to be another.
    pub(super) fn note_read(
        &mut self,
        before: Option<&Observation>,
        now: &Observation,
        touched: &Touched,
        cause: String,
    ) {
        tracing::info!(worktree = %self.worktree.root.display(), cause, "read");
        if before.is_some_and(|before| before.reading.head != now.reading.head) {
            self.churn = Churn::default();
        } else {
            self.churn.count(&self.worktree, touched);
        }
        self.cause = Some((cause, SystemTime::now()));
    }

    pub(super) fn has_copy(&self) -> bool {
        self.session
            .as_ref()
            .is_ok_and(|session| session.settings.env_copy)
    }

    fn experiment_text(&self) -> String {
        self.session.as_ref().map_or_else(
            |_| String::new(),
            |session| choice_text(&session.settings.experiment),
        )
    }

    fn store_text(&self) -> String {
        self.session
            .as_ref()
            .map_or_else(|_| String::new(), |session| session.uri.to_tracking_uri())
    }

    pub(super) fn why_not_fresh(&self) -> &'static str {
        match &self.state.publication().state {
            State::Broken(_) => "the worktree cannot be read",
            _ => "the code was not read in the time given, see wait",
        }
    }

    /// What is known, whoever asked for it and when.
    pub(super) fn describe(&self, publication: &Publication) -> Active {
        let observation = publication.observation.as_ref();
        let mut said = Said::of(&publication.state);
        if let (State::Pending(Pending::Flood), Some(advice)) = (&publication.state, &self.advice) {
            said.reason = Some((&advice.reason).into());
            said.hint = Some((&advice.hint).into());
        }
        if let State::Pending(Pending::Silent(seconds)) = publication.state {
            (said.reason, said.hint) = self.silence(seconds);
        }
        if let State::Broken(_) = publication.state
            && let Some((gone, cure)) = self.worktree.what_is_gone()
        {
            (said.reason, said.hint) = (Some(gone.into()), Some(cure.into()));
        }
        Active {
            api: API,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worktree: self.worktree.root.to_string_lossy().into_owned(),
            state: said.state.to_owned(),
            waiting_for: said.waiting_for.map(str::to_owned),
            // Settings mend themselves no more than a store that refuses.
            lasting: said.lasting || self.session.is_err(),
            model_id: said.model.map(|model| model.model_id.to_string()),
            name: observation.map(|seen| seen.version.name.clone()),
            content: observation.map(|seen| seen.reading.content.to_string()),
            head: observation
                .and_then(|seen| seen.reading.head.as_ref())
                .map(ToString::to_string),
            dirty: observation.map(|seen| seen.reading.dirty),
            experiment_id: said.model.map(|model| model.experiment_id.to_string()),
            store: self.store_text(),
            experiment: self.experiment_text(),
            env_file: self.worktree.env_file().to_string_lossy().into_owned(),
            fresh: false,
            why_not_fresh: None,
            generation: publication.generation,
            reason: said.reason.map(Cow::into_owned),
            hint: said.hint.map(Cow::into_owned),
            note: observation.and_then(|seen| seen.note.clone()),
            pinned: self
                .session
                .as_ref()
                .is_ok_and(|session| session.settings.pin.is_some()),
        }
    }

    /// The experiment's id and its page in the MLflow UI, as far as they are known.
    fn experiment_page(&self) -> (Option<String>, Option<String>) {
        let session = self.session.as_ref().ok();
        let id = session.and_then(|session| session.experiment_id());
        let page = session
            .zip(id.as_ref())
            .and_then(|(session, id)| session.experiment_page(id));
        (id.map(|id| id.to_string()), page)
    }

    fn owed_to(&self) -> Vec<OwedTo> {
        let Ok(session) = &self.session else {
            return Vec::new();
        };
        let now = session.account();
        let owed = session.count_owed().into_iter();
        owed.map(|(account, owed)| OwedTo {
            current: account == now,
            store: account.store,
            experiment: account.choice,
            owed,
        })
        .collect()
    }

    /// How the store is reached, where it is no file.
    fn connection(&self) -> Option<&Connection> {
        let session = self.session.as_ref().ok();
        let server = session.filter(|session| session.store_file().is_none());
        server.map(|session| &session.settings.connection)
    }

    /// What is said, and to be done, of a store that does not answer.
    fn silence(&self, seconds: u64) -> (Option<Cow<'static, str>>, Option<Cow<'static, str>>) {
        let session = self.session.as_ref().ok();
        let (reason, hint) = match session.and_then(|session| session.store_file()) {
            Some(file) => (
                format!(
                    "{} has been locked by another program for {seconds} s",
                    file.display()
                ),
                "wait, or end the program that keeps it locked",
            ),
            None => (
                format!("{} has not answered for {seconds} s", self.store_text()),
                "look at the MLflow server; it is asked again",
            ),
        };
        (Some(reason.into()), Some(hint.into()))
    }

    fn settings_note(&self) -> Option<String> {
        let wrong = self
            .wrong_settings
            .as_ref()
            .filter(|_| self.session.is_ok());
        wrong.map(|why| format!("{why}; the settings before are in use"))
    }

    pub(super) fn status(&self, presence: Presence) -> WorktreeStatus {
        let publication = self.state.publication_at(Instant::now());
        let passing = publication.state.is_passing() && matches!(presence, Presence::There);
        let mut active = self.describe(&publication);
        match presence {
            Presence::There => {}
            Presence::Gone(gone, cure) => {
                (active.state, active.model_id) = ("broken".to_owned(), None);
                (active.reason, active.hint) = (Some(gone), Some(cure));
            }
            Presence::Silent => {
                (active.reason, active.hint) = (Some(SILENT.to_owned()), Some(LISTED.to_owned()));
            }
        }
        let wrong = self.settings_note();
        let correct = wrong
            .as_ref()
            .map(|_| "correct that, then tracemark up".to_owned());
        let session = self.session.as_ref().ok();
        let kept = session.and_then(|session| session.kept());
        let kept = kept.filter(|kept| active.name.as_ref() == Some(&kept.version.name));
        WorktreeStatus {
            path: active.worktree,
            state: active.state,
            model_id: active.model_id,
            name: active.name,
            store: active.store,
            experiment: active.experiment,
            env_file: active.env_file,
            reason: active.reason.or(wrong),
            passing,
            hint: active.hint.or(correct),
            note: active.note,
            pinned: active.pinned,
            restorable: kept
                .as_ref()
                .map(|kept| kept.restorable.as_str().to_owned()),
            not_kept: kept.and_then(|kept| kept.why),
            env_problem: self.writer.problem.clone(),
            ..self.about_the_store(self.about_looks())
        }
    }

    /// How the worktree was looked at.
    fn about_looks(&self) -> WorktreeStatus {
        let cause = self.cause.as_ref();
        let watching = self.mode_note.is_none();
        WorktreeStatus {
            mode: if watching { "watch" } else { "poll" }.to_owned(),
            mode_reason: self.mode_note.clone(),
            cause: cause.map(|(cause, _)| cause.clone()),
            cause_ms: cause.map(|(_, at)| unix_time::unsigned_ms(*at)),
            watches: self.watches,
            passes: self.passes,
            full_passes: self.counts.full,
            narrow_passes: self.counts.narrow,
            torn_passes: self.counts.torn,
            missed_changes: self.missed_changes,
            ..WorktreeStatus::default()
        }
    }

    /// How the store is reached, and what it was asked and refused.
    fn about_the_store(&self, rest: WorktreeStatus) -> WorktreeStatus {
        let session = self.session.as_ref().ok();
        let uses_tls = session.is_some_and(|session| session.uses_tls());
        let connection = self.connection();
        let (experiment_id, experiment_url) = self.experiment_page();
        let (refused, last_error) = (self.state.refused(), self.last_error.as_ref());
        let owed_to = self.owed_to();
        WorktreeStatus {
            insecure_tls: uses_tls && connection.is_some_and(|way| way.insecure_tls),
            allow_http_credentials: connection.is_some_and(|way| way.allow_http_credentials),
            server_cert: connection
                .filter(|_| uses_tls)
                .and_then(|way| way.server_cert.as_ref())
                .map(|file| file.to_string_lossy().into_owned()),
            experiment_id,
            experiment_url,
            owed: owed_to.iter().map(|to| to.owed).sum(),
            owed_to,
            refused: refused.map_or(0, |(count, _)| u64::try_from(count).unwrap_or(u64::MAX)),
            refusal: refused.map(|(_, reason)| reason.to_owned()),
            duplicate: self
                .state
                .duplicate()
                .map(|(later, earlier)| format!("{later} is a later duplicate of {earlier}")),
            last_error: last_error.map(|(reason, _)| reason.clone()),
            last_error_ms: last_error.map(|(_, at)| unix_time::unsigned_ms(*at)),
            store_requests: session.map_or(0, |session| session.store_requests()),
            ..rest
        }
    }
}

pub(super) fn policy(session: &Result<Arc<Session>, String>) -> Policy {
    session.as_ref().map_or_else(
        |_| Policy::default(),
        |session| Policy {
            create: session.settings.create,
            settle: session.settings.settle,
            seed: any_number(),
        },
    )
}

/// Another one in each process, each time.
fn any_number() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0u8)
}
