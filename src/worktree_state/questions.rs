//! Who asked, and when there is an answer.
//!
//! Knows nobody but by a number, and sends nothing: an effect does. Asks no store itself.

use std::time::Instant;

use super::{Effect, Progress, Publication, WaiterId, WorktreeState};

/// One question.
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

/// Those that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<Waiter>);

impl Waiters {
    pub(super) fn add(&mut self, id: WaiterId, deadline: Instant) {
        self.0.push(Waiter {
            id,
            deadline,
            covered: false,
            in_pass: false,
            store_failed: false,
        });
    }

    fn remove(&mut self, id: WaiterId) {
        self.0.retain(|waiter| waiter.id != id);
    }

    /// Returns the same questions as if they were asked now.
    pub(super) fn restarted(&self) -> Self {
        let mut restarted = Self::default();
        for waiter in &self.0 {
            restarted.add(waiter.id, waiter.deadline);
        }
        restarted
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|waiter| waiter.deadline).min()
    }

    pub(super) fn pass_begins(&mut self) {
        for waiter in &mut self.0 {
            waiter.in_pass = true;
        }
    }

    pub(super) fn cover_those_in_pass(&mut self) {
        for waiter in &mut self.0 {
            waiter.covered |= waiter.in_pass;
        }
    }

    pub(super) fn pass_ends(&mut self) {
        for waiter in &mut self.0 {
            waiter.in_pass = false;
        }
    }

    /// Whoever asked for code that has been read hears that its store failed.
    pub(super) fn store_failed(&mut self) {
        for waiter in &mut self.0 {
            waiter.store_failed |= waiter.covered;
        }
    }

    fn is_any_covered(&self) -> bool {
        self.0.iter().any(|waiter| waiter.covered)
    }

    fn want_a_version(&self) -> bool {
        let mut all = self.0.iter();
        all.any(|waiter| waiter.covered && !waiter.store_failed)
    }

    /// Takes out those that have their answer, or wait no longer; returns each with whether its code was read.
    fn take_answered(&mut self, is_settled: bool, now: Instant) -> Vec<(WaiterId, bool)> {
        let mut answered = Vec::new();
        self.0.retain(|waiter| {
            let has_answer = waiter.covered && (is_settled || waiter.store_failed);
            let waits = !has_answer && waiter.deadline > now;
            if !waits {
                answered.push((waiter.id, waiter.covered));
            }
            waits
        });
        answered
    }
}

impl WorktreeState {
    pub(super) fn asked(&mut self, id: WaiterId, deadline: Instant, full: bool, now: Instant) {
        if deadline > now {
            self.passes.asked(full, now);
        }
        self.waiters.add(id, deadline);
    }

    pub(super) fn left(&mut self, id: WaiterId) {
        self.waiters.remove(id);
    }

    /// Whoever asked for code that has been read wants its version now.
    pub(super) fn hurry_for_waiters(&mut self, now: Instant) {
        let wanted = self.waiters.want_a_version();
        let Some(last) = self.last.as_ref().filter(|_| wanted) else {
            return;
        };
        match &mut self.progress {
            Progress::Unwanted => self.progress = Progress::Due(now),
            Progress::Due(at) => *at = (*at).min(now),
            Progress::Known(_) => return,
        }
        self.owed.ask_for(&last.version);
        self.store.end_refusal(&last.version, now);
        if let Some(order) = self.store.ordered(now) {
            self.failure = Some(order.clone());
            self.waiters.store_failed();
        } else if self.resolving.is_none() {
            self.store.cut_short();
        }
    }

    /// Whoever asks hears of no model that was not seen in the store lately.
    pub(super) fn verify_for_waiters(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let (true, Progress::Known(model)) = (self.waiters.is_any_covered(), &self.progress) {
            let model = model.clone();
            self.verify(&model, now, effects);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_broken = self.broken.is_some();
        let is_settled = match &self.progress {
            _ if is_broken => true,
            _ if self.passes.is_overdue() => false,
            Progress::Known(model) => self.proofs.is_recent(&model.model_id, now),
            Progress::Unwanted | Progress::Due(_) => false,
        };
        let publication = self.publication_at(now);
        let answered = self.waiters.take_answered(is_settled, now);
        let answer = |(waiter, is_covered): (WaiterId, bool)| {
            let publication: Publication = publication.clone();
            let fresh = is_covered && !is_broken;
            Effect::Answer {
                waiter,
                publication,
                fresh,
            }
        };
        effects.extend(answered.into_iter().map(answer));
    }
}
