//! What does the daemon decide, and when? The pure state machine, with a clock of its own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cases::random;
use proptest::prelude::*;
use tracemark::config::Create;
use tracemark::identity::Reading;
use tracemark::ids::{ModelId, VersionKey};
use tracemark::version::{ActiveModel, Observation};
use tracemark::worktree_state::{
    Depth, Effect, Input, Memory, OWED_MAX, PassFailure, Pending, Policy, Publication, Scope, Seen,
    Series, State, StoreFailure, Verdict, WorktreeState,
};

const SETTLE: Duration = Duration::from_millis(500);

/// Plays the world around one state: answers passes and the store, keeps the clock.
struct Play {
    state: WorktreeState,
    now: Instant,
    disk: u8,
    head: u8,
    dirty: bool,
    known: BTreeSet<VersionKey>,
    /// What is owed, on disk.
    ledger: Vec<Observation>,
    /// Questions to the ledger that are not answered.
    recalls: u32,
    reading: Option<Observation>,
    /// What the last pass that saw something saw.
    seen: Option<Observation>,
    series: Series,
    resolving: Option<Box<Observation>>,
    verifying: Vec<ModelId>,
    published: Vec<Publication>,
    answered: Vec<(u64, Publication, bool)>,
}

impl Play {
    fn new(create: Create) -> Self {
        let now = Instant::now();
        let policy = policy(create);
        let mut play = Self {
            state: WorktreeState::new(policy, now),
            now,
            disk: 0,
            head: 0,
            dirty: false,
            known: BTreeSet::new(),
            ledger: Vec::new(),
            recalls: 0,
            reading: None,
            seen: None,
            series: Series::No,
            resolving: None,
            verifying: Vec::new(),
            published: Vec::new(),
            answered: Vec::new(),
        };
        play.give(Input::Tick);
        play
    }

    fn on_disk(&self) -> Observation {
        let hex = |byte: u8| format!("{byte:02x}").repeat(20);
        let content = hex(self.disk);
        Observation {
            version: VersionKey {
                name: content.clone(),
                key: content.clone(),
            },
            reading: Reading {
                head: Some(hex(self.head).parse().unwrap()),
                git_hash: Ok(content.clone()),
                content: content.parse().unwrap(),
                dirty: self.dirty,
            },
            note: None,
        }
    }

    fn give(&mut self, input: Input) {
        for effect in self.state.on(input, self.now) {
            match effect {
                Effect::Read(_) => {
                    assert!(self.reading.is_none(), "two passes at once");
                    self.reading = Some(self.on_disk());
                }
                Effect::Owe(observation) => self.owe(&observation),
                Effect::Recall => self.recalls += 1,
                Effect::Resolve { observation, owed } => {
                    assert!(
                        self.resolving.is_none(),
                        "two questions to the store at once"
                    );
                    if owed {
                        self.owe(&observation);
                    }
                    self.resolving = Some(observation);
                }
                Effect::Verify { model, .. } => self.verifying.push(model.model_id),
                Effect::Publish(publication) => {
                    if matches!(publication.state, State::Active(_)) {
                        assert_eq!(publication.observation, self.seen, "an id of older code");
                    }
                    self.published.push(publication);
                }
                Effect::Answer {
                    waiter,
                    publication,
                    fresh,
                } => {
                    self.answered.push((waiter, publication, fresh));
                }
            }
        }
    }

    fn owe(&mut self, observation: &Observation) {
        let version = &observation.version;
        if self.ledger.iter().all(|owed| owed.version != *version) {
            self.ledger.push(observation.clone());
        }
    }

    fn finish_recalls(&mut self) {
        for _ in 0..std::mem::take(&mut self.recalls) {
            let owed = self.ledger.iter().take(OWED_MAX).cloned().collect();
            self.give(Input::Recalled(owed));
        }
    }

    /// Kill -9 and a new daemon: what is left is the disk and the ledger.
    fn kill(&mut self) {
        let create = Create::Settled;
        self.state = WorktreeState::new(policy(create), self.now);
        (self.reading, self.resolving, self.recalls) = (None, None, 0);
        self.verifying.clear();
        self.give(Input::Tick);
    }

    fn edit(&mut self) {
        self.disk = self.disk.wrapping_add(1);
        self.dirty = true;
        self.give(Input::Touched);
    }

    fn commit(&mut self) {
        self.head = self.head.wrapping_add(1);
        self.disk = self.disk.wrapping_add(1);
        self.dirty = false;
        self.give(Input::Touched);
    }

    fn finish_pass(&mut self) {
        if let Some(observation) = self.reading.take() {
            let known = if self.known.contains(&observation.version) {
                Memory::Model(model(&observation))
            } else {
                Memory::Nothing
            };
            self.seen = Some(observation.clone());
            self.give(Input::Read(Ok(Seen::Observed(
                Box::new(observation),
                known,
                self.series,
            ))));
        }
    }

    /// A change during a pass makes another one necessary.
    fn finish_passes(&mut self) {
        while self.reading.is_some() {
            self.finish_pass();
        }
    }

    fn finish_verify(&mut self) {
        for model in std::mem::take(&mut self.verifying) {
            self.give(Input::Verified(model, Verdict::Stands));
        }
    }

    fn fail_pass(&mut self, failure: PassFailure) {
        if self.reading.take().is_some() {
            self.give(Input::Read(Err(failure)));
        }
    }

    fn fail_resolve(&mut self, scope: Scope, retry_after: Option<Duration>) {
        if let Some(observation) = self.resolving.take() {
            let failure = StoreFailure {
                reason: "no".into(),
                hint: "wait".into(),
                retry_after,
                scope,
                lasting: false,
            };
            self.give(Input::Resolved(observation, Err(failure)));
        }
    }

    fn finish_resolve(&mut self, works: bool) {
        if let Some(observation) = self.resolving.take() {
            let outcome = if works {
                self.known.insert(observation.version.clone());
                self.ledger
                    .retain(|owed| owed.version != observation.version);
                Ok(model(&observation))
            } else {
                Err(StoreFailure {
                    reason: "away".into(),
                    hint: "wait".into(),
                    retry_after: None,
                    scope: Scope::Store,
                    lasting: false,
                })
            };
            self.give(Input::Resolved(observation, outcome));
        }
    }

    /// The store says of a LoggedModel that it stands, is gone, or that an earlier one stands for the version.
    fn verify_one(&mut self, how: u8) {
        let Some(id) = self.verifying.pop() else {
            return;
        };
        let verdict = match how {
            0 => Verdict::Stands,
            1 => {
                self.known
                    .retain(|version| !id.to_string().ends_with(&version.name));
                Verdict::Gone
            }
            _ => Verdict::Later(ActiveModel {
                model_id: id.clone(),
                experiment_id: "0".parse().unwrap(),
            }),
        };
        self.give(Input::Verified(id, verdict));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.give(Input::Tick);
    }

    /// As the daemon does it: what the old store still answers counts for nothing.
    fn new_settings(&mut self) {
        {
            self.resolving = None;
            self.verifying.clear();
            self.recalls = 0;
            self.state.restart(policy(Create::Settled), self.now);
            self.give(Input::Tick);
        }
    }

    /// Lets everything run to its end.
    fn settle(&mut self) {
        self.settle_within(Duration::from_mins(2));
    }

    /// The same, where what is next may be as far away as `pause`.
    fn settle_within(&mut self, pause: Duration) {
        for _ in 0..400 {
            self.finish_recalls();
            self.finish_pass();
            self.finish_resolve(true);
            self.finish_verify();
            match self.state.wake_at() {
                Some(at) if at < self.now + pause => {
                    self.now = self.now.max(at);
                    self.give(Input::Tick);
                }
                _ if self.reading.is_none()
                    && self.resolving.is_none()
                    && self.verifying.is_empty() =>
                {
                    return;
                }
                _ => {}
            }
        }
        panic!("it never ends");
    }

    fn last(&self) -> &State {
        &self.published.last().unwrap().state
    }
}

fn model(observation: &Observation) -> ActiveModel {
    ActiveModel {
        model_id: format!("m-{}", observation.reading.content)
            .parse()
            .unwrap(),
        experiment_id: "0".parse().unwrap(),
    }
}

fn policy(create: Create) -> Policy {
    Policy {
        create,
        settle: SETTLE,
        seed: 7,
    }
}

fn settled(create: Create) -> Play {
    let mut play = Play::new(create);
    play.settle();
    assert!(matches!(play.last(), State::Active(_)) || create == Create::Asked);
    play
}

#[test]
fn an_id_is_withdrawn_as_soon_as_the_code_is_seen_to_differ_and_created_once_it_is_quiet() {
    let mut play = settled(Create::Settled);
    play.edit();
    play.finish_pass();
    assert_eq!(play.last(), &State::Pending(Pending::Creation));
    assert!(play.resolving.is_none(), "quiet comes first");
    play.wait(SETTLE);
    assert!(play.resolving.is_some());
    play.finish_resolve(true);
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn going_back_to_known_code_needs_no_store() {
    let mut play = settled(Create::Settled);
    play.edit();
    play.settle();
    play.disk -= 1;
    play.give(Input::Touched);
    play.wait(Duration::from_secs(1));
    play.finish_pass();
    assert!(matches!(play.last(), State::Active(_)));
    assert!(play.resolving.is_none());
}

#[test]
fn a_person_who_saves_without_pause_waits_two_seconds_at_most() {
    let mut play = settled(Create::Settled);
    let started = play.now;
    while play.resolving.is_none() {
        play.edit();
        play.finish_pass();
        play.wait(Duration::from_millis(100));
        assert!(play.now < started + Duration::from_secs(3), "starved");
    }
}

#[test]
fn a_commit_is_not_made_to_wait_for_quiet() {
    let mut play = settled(Create::Settled);
    play.commit();
    play.finish_pass();
    assert!(play.resolving.is_some());
}

#[test]
fn what_is_written_down_while_the_ledger_is_asked_is_asked_for_again() {
    let mut play = settled(Create::Settled);
    let here = std::mem::replace(&mut play.disk, 200);
    let old = play.on_disk();
    play.disk = here;
    play.give(Input::Owed);
    assert_eq!(play.recalls, 1);
    play.owe(&old);
    play.give(Input::Owed);
    play.recalls -= 1;
    play.give(Input::Recalled(Vec::new()));
    play.settle();
    assert!(play.known.contains(&old.version));
    assert!(play.ledger.is_empty());
}

#[test]
fn a_rebase_of_many_commits_makes_few_versions() {
    let mut play = settled(Create::Settled);
    let before = play.known.len();
    for _ in 0..100 {
        play.commit();
        play.finish_pass();
        play.finish_resolve(true);
        play.wait(Duration::from_millis(30));
    }
    play.settle();
    assert!(
        play.known.len() - before <= 3,
        "{}",
        play.known.len() - before
    );
}

#[test]
fn a_rebase_makes_the_version_of_its_end_however_many_commits_it_takes() {
    let mut play = settled(Create::Settled);
    let before = play.known.len();
    play.series = Series::UnderWay;
    for n in 0..500 {
        if n % 3 == 0 {
            // Between two commits.
            play.edit();
            play.finish_passes();
        }
        play.commit();
        play.finish_passes();
        play.finish_resolve(true);
        play.wait(Duration::from_millis(100));
    }
    assert_eq!(play.known.len(), before);
    play.series = Series::No;
    play.commit();
    play.settle();
    assert_eq!(play.known.len(), before + 1);
    assert!(play.ledger.is_empty());
}

#[test]
fn a_rebase_that_pauses_gets_the_version_that_is_there() {
    let mut play = settled(Create::Settled);
    play.series = Series::UnderWay;
    for _ in 0..10 {
        play.commit();
        play.finish_passes();
        play.wait(Duration::from_millis(100));
    }
    play.edit();
    play.settle();
    assert_eq!(play.last(), &State::Active(model(&play.on_disk())));
}

#[test]
fn while_git_changes_the_worktree_there_is_no_id_and_no_version() {
    let mut play = settled(Create::Settled);
    let before = play.known.len();
    play.edit();
    let asked = play.now + Duration::from_secs(10);
    play.give(Input::Asked {
        waiter: 1,
        deadline: asked,
        full: false,
    });
    for _ in 0..100 {
        play.fail_pass(PassFailure::Busy);
        assert_eq!(play.last(), &State::Pending(Pending::Reading));
        play.wait(Duration::from_millis(20));
        assert!(play.resolving.is_none());
    }
    assert_eq!((play.known.len(), play.answered.len()), (before, 0));
    play.settle();
    assert_eq!(play.last(), &State::Active(model(&play.on_disk())));
    assert!(play.answered[0].2, "the question is answered by a pass");
}

#[test]
fn whoever_asks_gets_a_version_even_where_none_is_created_unasked() {
    let mut play = settled(Create::Asked);
    assert_eq!(play.last(), &State::Pending(Pending::Question));
    let deadline = play.now + Duration::from_secs(10);
    play.give(Input::Asked {
        waiter: 7,
        deadline,
        full: false,
    });
    play.settle();
    let (waiter, publication, fresh) = &play.answered[0];
    assert_eq!((*waiter, *fresh), (7, true));
    assert!(matches!(publication.state, State::Active(_)));
}

#[test]
fn a_question_is_answered_by_a_pass_that_began_after_it() {
    let mut play = settled(Create::Settled);
    play.edit();
    assert!(play.reading.is_some());
    let stale = play.on_disk();
    let deadline = play.now + Duration::from_secs(10);
    play.disk += 1;
    play.give(Input::Asked {
        waiter: 1,
        deadline,
        full: false,
    });
    play.finish_pass();
    assert!(
        play.answered.is_empty(),
        "that pass began before the question"
    );
    play.settle();
    let (_, publication, fresh) = &play.answered[0];
    assert!(*fresh);
    assert_ne!(publication.observation.as_ref(), Some(&stale));
}

#[test]
fn a_question_is_read_by_what_events_told_and_a_full_one_by_every_file() {
    for (full, depth) in [(false, Depth::Synced), (true, Depth::Everything)] {
        let mut play = settled(Create::Settled);
        let asked = Input::Asked {
            waiter: 1,
            deadline: play.now + Duration::from_secs(10),
            full,
        };
        let effects = play.state.on(asked, play.now);
        assert!(effects.contains(&Effect::Read(depth)), "{effects:?}");
    }
}

#[test]
fn a_store_that_is_away_is_told_at_once_and_tried_again() {
    let mut play = settled(Create::Settled);
    play.edit();
    let deadline = play.now + Duration::from_mins(1);
    play.give(Input::Asked {
        waiter: 1,
        deadline,
        full: false,
    });
    while play.answered.is_empty() {
        play.finish_pass();
        play.finish_resolve(false);
    }
    assert!(matches!(
        &play.answered[0].1.state,
        State::Pending(Pending::Store(_))
    ));
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn a_file_that_changes_all_the_time_and_cannot_be_used_is_tried_once_a_second() {
    let mut play = settled(Create::Settled);
    play.commit();
    play.finish_pass();
    let mut tries = 0;
    for _ in 0..1000 {
        if play.resolving.is_some() {
            tries += 1;
            play.finish_resolve(false);
        }
        play.give(Input::StoreMayBeBack);
        play.wait(Duration::from_millis(10));
    }
    assert!((9..=12).contains(&tries), "{tries} tries in ten seconds");
}

#[test]
fn a_commit_made_while_the_store_is_away_gets_its_version_when_it_is_back() {
    let mut play = settled(Create::Settled);
    play.commit();
    play.finish_pass();
    let committed = play.on_disk().version;
    play.finish_resolve(false);
    play.edit();
    play.wait(Duration::from_millis(50));
    play.finish_pass();
    play.settle();
    assert!(play.known.contains(&committed));
}

#[test]
fn what_was_committed_while_the_store_was_away_is_made_by_the_next_daemon() {
    let mut play = settled(Create::Settled);
    let mut committed = Vec::new();
    for _ in 0..5 {
        play.commit();
        play.wait(Duration::from_secs(3));
        play.finish_pass();
        play.wait(Duration::from_secs(40));
        play.finish_resolve(false);
        committed.push(play.on_disk().version);
        if committed.len() == 3 {
            play.kill();
        }
    }
    play.edit();
    play.finish_pass();
    play.kill();
    assert_eq!(play.ledger.len(), 5);
    play.settle();
    assert!(committed.iter().all(|version| play.known.contains(version)));
    assert!(play.ledger.is_empty());
}

#[test]
fn after_a_day_off_line_what_is_on_disk_comes_first_and_the_rest_two_a_second() {
    let mut play = settled(Create::Settled);
    for _ in 0..100 {
        play.commit();
        while play.reading.is_some() {
            play.finish_pass();
        }
        play.finish_resolve(false);
        play.wait(Duration::from_mins(1));
    }
    play.finish_resolve(true);
    let on_disk = play.on_disk().version;
    assert!(play.known.contains(&on_disk), "the active one is the first");
    let (before, began) = (play.known.len(), play.now);
    while !play.ledger.is_empty() {
        play.finish_resolve(true);
        play.wait(Duration::from_millis(10));
    }
    let made = play.known.len() - before;
    assert!(made >= 90, "{made}");
    let least = Duration::from_millis(500) * u32::try_from(made - 2).unwrap();
    assert!(play.now - began >= least);
}

#[test]
fn what_is_owed_stays_owed_when_the_same_version_is_seen_once_more_without_being_committed() {
    let mut play = Play::new(Create::Settled);
    play.finish_passes();
    assert!(
        play.resolving.is_some(),
        "the store is busy with another version"
    );
    play.commit();
    play.finish_passes();
    assert_eq!(play.ledger.len(), 2);
    // As after `git reset --soft HEAD~1`, where versions go by the tree.
    play.dirty = true;
    play.give(Input::Touched);
    play.finish_passes();
    play.edit();
    play.finish_passes();
    play.settle();
    assert!(play.ledger.is_empty(), "{:?}", play.ledger);
}

#[test]
fn more_versions_are_owed_than_are_held_at_a_time() {
    let mut play = settled(Create::Settled);
    let owed = |n: usize| {
        let mut observation = play.on_disk();
        observation.version.key = format!("owed {n}");
        observation
    };
    play.ledger = (0..OWED_MAX * 2 + 7).map(owed).collect();
    play.kill();
    while !play.ledger.is_empty() {
        play.finish_recalls();
        play.finish_pass();
        play.finish_resolve(true);
        play.wait(Duration::from_millis(500));
    }
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn a_store_that_is_away_is_tried_at_least_every_thirty_seconds_and_not_in_step() {
    let mut pauses = BTreeSet::new();
    for seed in 0..20 {
        let mut play = Play::new(Create::Settled);
        play.state = WorktreeState::new(
            Policy {
                seed,
                ..policy(Create::Settled)
            },
            play.now,
        );
        play.reading = None;
        play.give(Input::Tick);
        play.finish_pass();
        for _ in 0..8 {
            play.finish_resolve(false);
            let at = play.state.wake_at().unwrap();
            let pause = at - play.now;
            assert!(pause <= Duration::from_secs(30), "{pause:?}");
            assert!(pause >= Duration::from_millis(500), "{pause:?}");
            play.wait(pause);
            pauses.insert(pause);
        }
    }
    assert!(pauses.len() > 100, "{}", pauses.len());
}

#[test]
fn a_store_that_asks_to_be_left_alone_is_left_alone_also_by_questions() {
    let mut play = settled(Create::Settled);
    play.commit();
    play.finish_pass();
    let observation = play.resolving.take().unwrap();
    let failure = StoreFailure {
        reason: "busy".into(),
        hint: "wait".into(),
        retry_after: Some(Duration::from_secs(20)),
        scope: Scope::Store,
        lasting: false,
    };
    play.give(Input::Resolved(observation, Err(failure)));
    let deadline = play.now + Duration::from_secs(10);
    play.give(Input::Asked {
        waiter: 1,
        deadline,
        full: false,
    });
    play.finish_pass();
    assert!(play.resolving.is_none());
    let (_, publication, _) = &play.answered[0];
    assert!(
        matches!(&publication.state, State::Pending(Pending::Store(said)) if said.reason == "busy")
    );
    play.edit();
    play.wait(SETTLE * 2);
    play.finish_pass();
    play.give(Input::Asked {
        waiter: 2,
        deadline,
        full: false,
    });
    play.finish_pass();
    assert!(play.resolving.is_none());
    let (_, publication, _) = &play.answered[1];
    assert!(
        matches!(&publication.state, State::Pending(Pending::Store(said)) if said.reason == "busy")
    );
    play.wait(Duration::from_secs(18));
    assert!(play.resolving.is_none());
    play.wait(Duration::from_secs(1));
    assert!(play.resolving.is_some());
}

#[test]
fn a_version_that_the_store_refuses_rests_alone() {
    let mut play = settled(Create::Settled);
    play.commit();
    play.finish_pass();
    let refused = play.resolving.take().unwrap();
    let failure = StoreFailure {
        reason: "too large".into(),
        hint: "make it smaller".into(),
        retry_after: None,
        scope: Scope::Version,
        lasting: true,
    };
    let refusal = || Err(failure.clone());
    play.give(Input::Resolved(refused.clone(), refusal()));
    assert_eq!(play.state.refused(), Some((1, "too large")));
    for tries in 0..2 {
        play.wait(Duration::from_mins(2));
        assert_eq!(play.resolving.take().as_ref(), Some(&refused), "{tries}");
        play.give(Input::Resolved(refused.clone(), refusal()));
        assert!(play.resolving.is_none());
    }
    play.commit();
    play.finish_pass();
    assert_ne!(play.resolving.as_ref(), Some(&refused));
    play.finish_resolve(true);
    assert!(matches!(play.last(), State::Active(_)));
    assert!(play.ledger.contains(&refused));
    play.wait(Duration::from_mins(3));
    assert_eq!(play.resolving.as_ref(), Some(&refused));
    play.finish_resolve(true);
    assert_eq!(play.state.refused(), None);
    assert!(play.ledger.is_empty());
}

#[test]
fn a_question_that_ends_while_the_store_does_not_answer_says_so() {
    let mut play = settled(Create::Settled);
    play.commit();
    play.finish_pass();
    assert!(play.resolving.is_some());
    let deadline = play.now + Duration::from_secs(8);
    play.give(Input::Asked {
        waiter: 1,
        deadline,
        full: false,
    });
    play.finish_pass();
    assert!(play.answered.is_empty());
    play.wait(Duration::from_secs(8));
    let (_, publication, _) = &play.answered[0];
    assert_eq!(publication.state, State::Pending(Pending::Silent(8)));
}

#[test]
fn an_earlier_row_that_is_seen_late_takes_over_at_once() {
    let mut play = settled(Create::Settled);
    let ours = model(&play.on_disk());
    let earlier = ActiveModel {
        model_id: "m-earlier".parse().unwrap(),
        ..ours.clone()
    };
    let verdict = Verdict::Later(earlier.clone());
    play.give(Input::Verified(ours.model_id.clone(), verdict));
    assert_eq!(play.last(), &State::Active(earlier.clone()));
    let expected = (ours.model_id, earlier.model_id);
    assert_eq!(play.state.duplicate(), Some(&expected));
}

#[test]
fn files_that_do_not_hold_still_have_no_model() {
    let mut play = settled(Create::Settled);
    play.edit();
    for _ in 0..2 {
        assert!(matches!(play.last(), State::Active(_)));
        play.reading = None;
        play.give(Input::Read(Err(PassFailure::Torn)));
        play.wait(Duration::from_millis(50));
    }
    assert_eq!(play.last(), &State::Pending(Pending::Reading));
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn a_change_that_takes_long_to_read_takes_the_id_away_and_the_reading_brings_one_back() {
    let mut play = settled(Create::Settled);
    play.give(Input::Touched);
    assert!(play.reading.is_some());
    play.wait(Duration::from_millis(1900));
    assert!(matches!(play.last(), State::Active(_)));
    play.wait(Duration::from_millis(200));
    assert_eq!(play.last(), &State::Pending(Pending::Reading));
    // Nothing had changed that counts: everything is read for the id to come back.
    play.reading = None;
    play.give(Input::Read(Ok(Seen::Same)));
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn a_worktree_that_sends_no_events_is_read_all_the_same() {
    let now = Instant::now();
    let mut state = WorktreeState::new(policy(Create::Settled), now);
    state.set_polling(true);
    let effects = state.on(Input::Tick, now);
    assert_eq!(effects, [Effect::Read(Depth::Everything), Effect::Recall]);
    state.on(Input::Read(Ok(Seen::Same)), now);
    assert!(
        state
            .wake_at()
            .is_some_and(|at| at <= now + Duration::from_secs(3))
    );
}

#[test]
fn retries_of_one_version_are_no_flood() {
    let mut play = settled(Create::Settled);
    play.edit();
    play.finish_pass();
    for _ in 0..100 {
        play.wait(Duration::from_secs(31));
        play.finish_pass();
        play.finish_resolve(false);
    }
    play.wait(Duration::from_secs(31));
    play.finish_resolve(true);
    play.edit();
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn code_that_a_program_writes_all_day_makes_no_flood_of_versions() {
    let mut play = settled(Create::Settled);
    for _ in 0..200 {
        play.edit();
        play.wait(Duration::from_secs(5));
        play.finish_pass();
        play.wait(Duration::from_secs(5));
        play.finish_resolve(true);
    }
    assert!(play.known.len() < 70, "{}", play.known.len());
    let deadline = play.now + Duration::from_secs(10);
    play.give(Input::Asked {
        waiter: 1,
        deadline,
        full: false,
    });
    while play.answered.is_empty() {
        play.finish_pass();
        play.finish_resolve(true);
        play.finish_verify();
    }
    assert!(
        matches!(play.answered[0].1.state, State::Active(_)),
        "who asks is answered"
    );
}

#[test]
fn a_commit_during_which_files_do_not_hold_still_ends_a_flood() {
    let mut play = settled(Create::Settled);
    for _ in 0..100 {
        play.edit();
        play.finish_passes();
        play.wait(Duration::from_secs(10));
        play.finish_passes();
        play.finish_resolve(true);
    }
    assert_eq!(play.last(), &State::Pending(Pending::Flood));
    play.commit();
    for _ in 0..2 {
        play.reading = None;
        play.give(Input::Read(Err(PassFailure::Torn)));
        play.wait(Duration::from_millis(50));
    }
    assert_eq!(play.last(), &State::Pending(Pending::Reading));
    play.finish_pass();
    assert!(play.resolving.is_some(), "the commit's version is created");
    play.finish_resolve(true);
    play.edit();
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[test]
fn a_model_that_the_store_lost_is_withdrawn_and_made_anew() {
    let mut play = settled(Create::Settled);
    let lost = model(&play.on_disk()).model_id;
    play.give(Input::Verified(lost, Verdict::Gone));
    assert_eq!(play.last(), &State::Pending(Pending::Creation));
    play.settle();
    assert!(matches!(play.last(), State::Active(_)));
}

#[derive(Debug, Clone)]
enum Step {
    Edit,
    Back,
    Commit,
    Noise,
    Ask(u64),
    Leave,
    PassEnds,
    PassTears,
    PassBreaks,
    PassIsPutOff,
    PassSeesNothing,
    StoreAnswers,
    StoreFails,
    StoreRefuses,
    StoreIsBusy(u64),
    Verified(u8),
    Blind,
    Seeing,
    Series(bool),
    LedgerAnswers,
    Kill,
    Wait(u64),
    NewSettings,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Edit),
        1 => Just(Step::Back),
        1 => Just(Step::Commit),
        1 => Just(Step::Noise),
        2 => (0u64..3000).prop_map(Step::Ask),
        1 => Just(Step::Leave),
        6 => Just(Step::PassEnds),
        1 => Just(Step::PassTears),
        1 => Just(Step::PassBreaks),
        1 => Just(Step::PassIsPutOff),
        1 => Just(Step::PassSeesNothing),
        1 => Just(Step::StoreRefuses),
        1 => (0u64..40).prop_map(Step::StoreIsBusy),
        1 => (0u8..3).prop_map(Step::Verified),
        1 => Just(Step::Blind),
        1 => Just(Step::Seeing),
        1 => proptest::bool::ANY.prop_map(Step::Series),
        4 => Just(Step::StoreAnswers),
        1 => Just(Step::StoreFails),
        1 => Just(Step::LedgerAnswers),
        1 => Just(Step::Kill),
        4 => (0u64..3000).prop_map(Step::Wait),
        1 => Just(Step::NewSettings),
    ]
}

impl Play {
    /// Has the step happen, as the `n`th one; `asked` are the waiters whose question nobody took back.
    fn take(&mut self, n: usize, step: &Step, asked: &mut BTreeSet<u64>) {
        let waiter = n as u64;
        match step {
            Step::Edit => self.edit(),
            Step::Back => {
                self.disk = self.disk.wrapping_sub(1);
                self.give(Input::Touched);
            }
            Step::Commit => self.commit(),
            Step::Noise => self.give(Input::Touched),
            Step::Ask(ms) => {
                asked.insert(waiter);
                let deadline = self.now + Duration::from_millis(*ms);
                self.give(Input::Asked {
                    waiter,
                    deadline,
                    full: n.is_multiple_of(7),
                });
            }
            Step::Leave => {
                if let Some(last) = asked.pop_last() {
                    self.give(Input::Left(last));
                }
            }
            Step::PassEnds => self.finish_pass(),
            Step::PassTears => self.fail_pass(PassFailure::Torn),
            Step::PassBreaks => self.fail_pass(PassFailure::Broken("gone".into())),
            Step::PassIsPutOff => self.fail_pass(PassFailure::Busy),
            // Only where nothing that counts was touched since the last pass.
            Step::PassSeesNothing => {
                if self.reading.is_some() && self.reading == self.seen {
                    self.reading = None;
                    self.give(Input::Read(Ok(Seen::Same)));
                }
            }
            Step::StoreRefuses => self.fail_resolve(Scope::Version, None),
            Step::StoreIsBusy(seconds) => {
                self.fail_resolve(Scope::Store, Some(Duration::from_secs(*seconds)));
            }
            Step::Verified(how) => self.verify_one(*how),
            Step::Blind => self.give(Input::Polling),
            Step::Seeing => self.give(Input::Watching),
            Step::Series(under_way) => {
                self.series = if *under_way {
                    Series::UnderWay
                } else {
                    Series::No
                };
            }
            Step::StoreAnswers => self.finish_resolve(true),
            Step::StoreFails => self.finish_resolve(false),
            Step::LedgerAnswers => self.finish_recalls(),
            Step::Kill => {
                asked.clear();
                self.answered.clear();
                self.kill();
            }
            Step::Wait(ms) => self.wait(Duration::from_millis(*ms)),
            Step::NewSettings => self.new_settings(),
        }
    }
}

proptest! {
    #![proptest_config(random(2000))]

    #[test]
    fn whatever_happens_every_question_is_answered_and_the_end_is_quiet_and_right(
        steps in proptest::collection::vec(step(), 0..80)
    ) {
        let mut play = Play::new(Create::Settled);
        let mut asked = BTreeSet::new();
        for (n, step) in steps.iter().enumerate() {
            play.take(n, step, &mut asked);
            for publication in &play.published {
                if let (State::Active(active), Some(seen)) = (&publication.state, &publication.observation) {
                    prop_assert_eq!(&active.model_id, &model(seen).model_id);
                }
            }
        }
        play.series = Series::No;
        play.give(Input::Watching);
        play.give(Input::Touched);
        play.settle_within(Duration::from_hours(2));
        let answered: BTreeSet<u64> = play.answered.iter().map(|(waiter, _, _)| *waiter).collect();
        prop_assert!(asked.is_subset(&answered));
        prop_assert_eq!(answered.len(), play.answered.len());
        let expected = model(&play.on_disk());
        prop_assert_eq!(play.last(), &State::Active(expected));
        prop_assert!(play.ledger.is_empty(), "{:?}", play.ledger);
    }
}
