//! Versions that are owed their LoggedModel: what was asked for and what was committed, written down until it has one.
//!
//! Knows no store.

use std::sync::{Arc, Mutex};

use super::{Session, choice_text, now_ms};
use crate::config::Create;
use crate::debt::Debt;
use crate::git::Git;
use crate::identity::Reading;
use crate::ids::{ContentId, ObjectId};
use crate::ledger::{Account, LedgerError};
use crate::locks::lock;
use crate::reflog::{self, Made};
use crate::version::{Observation, Surroundings, wanted};

/// What is in hand of debts.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// What the last try without a written debt wanted. A mutex as tries run on several threads; held for a copy.
    passing: Mutex<Option<Debt>>,
    /// Held while HEAD's moves are followed, one reading after the other.
    following: Mutex<()>,
}

impl Session {
    /// Writes down that a version is owed its LoggedModel, on the disk before it returns. May be repeated.
    ///
    /// # Errors
    /// [`LedgerError`] when the ledger cannot be written.
    pub fn owe(&self, observation: &Observation) -> Result<(), LedgerError> {
        self.debt(observation, true).map(drop)
    }

    /// Writes down that commits are owed their LoggedModel that were made in this worktree since the last call, also by
    /// another process, and not seen on the disk. Returns whether there are any. What `reading` saw is on the disk.
    pub fn owe_commits(&self, reading: &Reading) -> bool {
        let _alone = lock(&self.debts.following);
        let owed = self.follow_head(reading).unwrap_or_else(|error| {
            tracing::error!(%error, "which commits were made is not written down");
            Vec::new()
        });
        self.keep_owed(&owed);
        !owed.is_empty()
    }

    /// HEAD's own commit is left to the next call while it is what lies on the disk: until then it gets its LoggedModel
    /// the ordinary way, and if not, it is owed it then.
    fn follow_head(&self, reading: &Reading) -> Result<Vec<Observation>, LedgerError> {
        let worktree = self.account().worktree;
        let moves = reflog::read(&self.worktree.git_dir);
        let Some(last) = moves.last() else {
            return Ok(Vec::new());
        };
        let known = self.ledger.followed(&worktree)?;
        let Some(before) = known.and_then(|mark| reflog::position(&moves, &mark)) else {
            self.ledger.follow(&worktree, &last.mark())?;
            return Ok(Vec::new());
        };
        let has_passed = reading.dirty && reading.head.as_ref() == Some(&last.new);
        let end = moves.len() - usize::from(!has_passed);
        let Some(followed) = moves.get(before + 1..end).and_then(<[_]>::last) else {
            return Ok(Vec::new());
        };
        let is_wanted = self.settings.create != Create::Asked && self.settings.pin.is_none();
        let made = if is_wanted {
            reflog::made(&moves, &(before + 1..end), self.worktree.branch())
        } else {
            Vec::new()
        };
        let owed = self.owe_each(&made)?;
        self.ledger.follow(&worktree, &followed.mark())?;
        Ok(owed)
    }

    /// Returns what is owed from now on.
    fn owe_each(&self, made: &[Made]) -> Result<Vec<Observation>, LedgerError> {
        let mut owed = Vec::new();
        let around = self.surroundings();
        for (made, tree) in made.iter().zip(self.trees_of(made)) {
            let Some(content) = tree else { continue };
            let reading = Reading {
                head: Some(made.commit.clone()),
                git_hash: Ok(made.commit.to_string()),
                content,
                dirty: false,
            };
            let observation = Observation::of(reading, &self.settings, &self.app);
            let (account, version) = (self.account(), &observation.version);
            let is_known = self.remembered(&observation).is_some();
            if is_known || self.ledger.debt_for(&account, version)?.is_some() {
                continue;
            }
            let around = Surroundings {
                branch: made.branch.clone(),
                ..around.clone()
            };
            let debt = self.new_debt_around(&observation, &around);
            self.ledger.owe(&account, version, &debt.to_text())?;
            owed.push(observation);
        }
        Ok(owed)
    }

    /// The tree of each commit, which is what its worktree holds where nothing is changed; `None` for one that is gone.
    fn trees_of(&self, made: &[Made]) -> Vec<Option<ContentId>> {
        if made.is_empty() {
            return Vec::new();
        }
        let names: String = made
            .iter()
            .map(|made| format!("{}^{{tree}}\n", made.commit))
            .collect();
        let git = Git::at(&self.worktree.root).with_var("GIT_NO_LAZY_FETCH", "1");
        let arguments = ["cat-file", "--batch-check=%(objectname)"];
        let answer = git.run_with_input(&arguments, Some(names.into_bytes()));
        let answer = answer.map_or_else(
            |error| {
                tracing::warn!(%error, "the trees of commits cannot be read");
                Vec::new()
            },
            |answer| answer.stdout,
        );
        let lines = String::from_utf8_lossy(&answer);
        let tree = |line: &str| line.parse::<ObjectId>().ok()?.as_str().parse().ok();
        lines.lines().map(tree).collect()
    }

    /// Returns versions that are owed their LoggedModel, the oldest first, at most `limit`.
    pub fn owed(&self, limit: usize) -> Vec<Observation> {
        let owed = self.ledger.owed(&self.account(), limit);
        let owed = owed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger cannot be read");
            Vec::new()
        });
        owed.iter()
            .filter_map(|owed| Debt::from_text(&owed.version, &owed.debt))
            .map(|debt| debt.observation)
            .collect()
    }

    /// Returns how many versions of this worktree are owed their LoggedModel, by store and experiment.
    pub fn count_owed(&self) -> Vec<(Account, u64)> {
        self.ledger
            .count_owed(&self.account().worktree)
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the ledger cannot be read");
                Vec::new()
            })
    }

    /// Returns to whom versions are owed that are asked for or committed from now on.
    pub fn account(&self) -> Account {
        Account {
            worktree: self.worktree.root.to_string_lossy().into_owned(),
            store: self.store_key.clone(),
            choice: choice_text(&self.settings.experiment),
        }
    }

    /// Returns what is needed to create a version: as it was written down, else as things are now, and then written
    /// down where `keep` says so.
    fn debt(&self, observation: &Observation, keep: bool) -> Result<Debt, LedgerError> {
        let version = &observation.version;
        let read = |text: String| Debt::from_text(version, &text);
        if let Some(debt) = self
            .ledger
            .debt_for(&self.account(), version)?
            .and_then(read)
        {
            return Ok(debt);
        }
        if !keep {
            return Ok(self.passing_debt(observation));
        }
        let debt = self.new_debt(observation);
        let kept = self.ledger.owe(&self.account(), version, &debt.to_text())?;
        Ok(read(kept).unwrap_or(debt))
    }

    /// The ledger may make its caller wait for the disk.
    pub(super) async fn debt_aside(
        self: &Arc<Self>,
        observation: &Observation,
        keep: bool,
    ) -> Debt {
        let (session, seen) = (Arc::clone(self), observation.clone());
        let debt = tokio::task::spawn_blocking(move || session.debt(&seen, keep)).await;
        match debt {
            Ok(Ok(debt)) => return debt,
            Ok(Err(error)) => tracing::error!(%error, "what is owed cannot be written down"),
            Err(error) => tracing::error!(%error, "what is owed cannot be written down"),
        }
        self.new_debt(observation)
    }

    /// One that is not written down, and the same until another version is asked about: tries that follow each other know
    /// the rows that they made.
    fn passing_debt(&self, observation: &Observation) -> Debt {
        let mut passing = lock(&self.debts.passing);
        let same = passing
            .take()
            .filter(|debt| debt.observation == *observation);
        let debt = same.unwrap_or_else(|| self.new_debt(observation));
        *passing = Some(debt.clone());
        debt
    }

    pub(super) fn forget_passing(&self) {
        let mut passing = lock(&self.debts.passing);
        *passing = None;
    }

    fn new_debt(&self, observation: &Observation) -> Debt {
        self.new_debt_around(observation, &self.surroundings())
    }

    fn new_debt_around(&self, observation: &Observation, around: &Surroundings) -> Debt {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let first_seen = self
            .first_seen(&observation.reading.content)
            .unwrap_or_else(|_| now_ms());
        Debt {
            wanted: wanted(observation, &self.settings, around, &nonce, first_seen),
            observation: observation.clone(),
        }
    }

    fn first_seen(&self, content: &ContentId) -> Result<i64, LedgerError> {
        let at = self.sightings().first(content).unwrap_or_else(now_ms);
        self.ledger.first_seen(content.as_str(), at)
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            app: self.app.clone(),
            user: user_name(),
            branch: self.worktree.branch(),
            origin: self.worktree.origin(),
        }
    }
}

fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string())
}
