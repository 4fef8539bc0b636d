//! What lies in one directory, by its names, in the order of git's trees (git-mktree(1)): in runs, which copies share until they
//! change. So neither a copy nor a change of a large directory costs what its size is.
//!
//! Pure.

use std::sync::{Arc, OnceLock};

use super::{Dir, Entry, Node};
use crate::identity::object::Format;

/// So many names a run has at most.
const RUN_MAX: usize = 32;

/// What a name holds.
#[derive(Debug, Clone)]
pub(super) enum Held {
    File(Entry),
    Dir(Arc<Dir>),
}

impl Held {
    pub(super) fn node(&self) -> Node<'_> {
        match self {
            Self::File(entry) => Node::File(entry),
            Self::Dir(dir) => Node::Dir(dir),
        }
    }
}

/// Names one after the other, with a slash at the end where they are directories: so sorted, they lie as in git's trees.
#[derive(Debug, Default, Clone)]
struct Run {
    held: Vec<(Box<[u8]>, Held)>,
    /// Its part of a large directory's tree; empty after a change.
    body: OnceLock<Box<[u8]>>,
}

impl Run {
    fn of(held: Vec<(Box<[u8]>, Held)>) -> Arc<Self> {
        Arc::new(Self {
            held,
            body: OnceLock::new(),
        })
    }

    fn first(&self) -> &[u8] {
        self.held.first().map_or(&[], |(name, _)| name)
    }

    fn last(&self) -> &[u8] {
        self.held.last().map_or(&[], |(name, _)| name)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let found = self.held.binary_search_by(|(known, _)| (**known).cmp(name));
        found.ok()
    }

    fn nodes(&self) -> impl Iterator<Item = (&[u8], Node<'_>)> {
        self.held.iter().map(|(name, held)| (&**name, held.node()))
    }

    fn write_to(&self, body: &mut Vec<u8>, format: Format) -> Option<()> {
        for (name, node) in self.nodes() {
            let (mode, id) = match node {
                Node::File(entry) => (entry.mode.digits(), entry.id),
                Node::Dir(dir) => (&b"40000"[..], dir.tree_id(format)?),
            };
            body.extend_from_slice(mode);
            body.push(b' ');
            body.extend_from_slice(name.strip_suffix(b"/").unwrap_or(name));
            body.push(0);
            body.extend_from_slice(id.as_bytes());
        }
        Some(())
    }
}

/// All that lies in one directory. No run is empty.
#[derive(Debug, Default, Clone)]
pub(super) struct Runs(Vec<Arc<Run>>);

impl Runs {
    /// Returns those of names that come sorted.
    pub(super) fn of_sorted(sorted: Vec<(Box<[u8]>, Held)>) -> Self {
        let mut rest = sorted.into_iter().peekable();
        let mut runs = Vec::new();
        while rest.peek().is_some() {
            let mut held = Vec::with_capacity(rest.len().min(RUN_MAX));
            held.extend(rest.by_ref().take(RUN_MAX));
            runs.push(Run::of(held));
        }
        runs.shrink_to_fit();
        Self(runs)
    }

    /// Puts all into as few runs as it takes, with no memory to spare.
    pub(super) fn pack(&mut self) {
        let runs = std::mem::take(&mut self.0).into_iter();
        let all = runs.flat_map(|run| Arc::unwrap_or_clone(run).held);
        *self = Self::of_sorted(all.collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the run that has the name, or would.
    fn place_of(&self, name: &[u8]) -> usize {
        let after = self.0.partition_point(|run| run.first() <= name);
        after.saturating_sub(1)
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Held> {
        let run = self.0.get(self.place_of(name))?;
        run.held.get(run.find(name)?).map(|(_, held)| held)
    }

    /// Returns what the name holds; [`Self::forget`] is to be called where its mode or id changes.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Held> {
        let place = self.place_of(name);
        let run = self.0.get_mut(place)?;
        let at = run.find(name)?;
        let held = &mut Arc::make_mut(run).held;
        held.get_mut(at).map(|(_, held)| held)
    }

    /// Forgets what the tree says of the name.
    pub(super) fn forget(&mut self, name: &[u8]) {
        let place = self.place_of(name);
        if let Some(run) = self.0.get_mut(place) {
            Arc::make_mut(run).body = OnceLock::new();
        }
    }

    /// Adds a name that is not there.
    pub(super) fn insert(&mut self, name: &[u8], held: Held) {
        let mut place = self.place_of(name);
        if self
            .0
            .get(place)
            .is_none_or(|run| run.held.len() >= RUN_MAX)
        {
            self.make_room(place, name);
            place = self.place_of(name);
        }
        if let Some(run) = self.0.get_mut(place) {
            let run = Arc::make_mut(run);
            run.body = OnceLock::new();
            let at = run.held.partition_point(|(known, _)| **known < *name);
            run.held.insert(at, (name.into(), held));
        }
    }

    /// Names that come sorted fill one run after the other.
    fn make_room(&mut self, place: usize, name: &[u8]) {
        let last = place + 1 >= self.0.len();
        match self.0.get_mut(place) {
            Some(run) if !(last && run.last() < name) => {
                let run = Arc::make_mut(run);
                run.body = OnceLock::new();
                let behind = run.held.split_off(RUN_MAX / 2);
                self.0.insert(place + 1, Run::of(behind));
            }
            _ => self.0.push(Run::of(Vec::new())),
        }
    }

    /// Takes a name out; false where it is not there.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let place = self.place_of(name);
        let Some(run) = self.0.get_mut(place) else {
            return false;
        };
        let Some(at) = run.find(name) else {
            return false;
        };
        let run = Arc::make_mut(run);
        run.body = OnceLock::new();
        run.held.remove(at);
        if run.held.is_empty() {
            self.0.remove(place);
        }
        true
    }

    /// Returns every name and what it holds.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&[u8], Node<'_>)> {
        self.0.iter().flat_map(|run| run.nodes())
    }

    /// Returns those that are not shared with `other`, where they are certainly the same.
    pub(super) fn nodes_beside<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a [u8], Node<'a>)> {
        let is_shared = |run: &Arc<Run>| {
            let known = other.0.get(other.place_of(run.first()));
            known.is_some_and(|known| Arc::ptr_eq(known, run))
        };
        let own = self.0.iter().filter(move |run| !is_shared(run));
        own.flat_map(|run| run.nodes())
    }

    /// Returns the tree as git writes it. What large directories say of a run is kept, as of the others nothing else changes.
    pub(super) fn tree_body(&self, format: Format) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        for run in &self.0 {
            if let Some(known) = run.body.get() {
                body.extend_from_slice(known);
                continue;
            }
            let begin = body.len();
            run.write_to(&mut body, format)?;
            if self.0.len() > 1 {
                run.body
                    .get_or_init(|| body.get(begin..).unwrap_or_default().into());
            }
        }
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn dir() -> Held {
        Held::Dir(Arc::default())
    }

    fn names(runs: &Runs) -> Vec<Vec<u8>> {
        runs.nodes().map(|(name, _)| name.to_vec()).collect()
    }

    #[test]
    fn names_are_kept_sorted_whatever_comes_and_goes_in_which_order() {
        for step in [1_usize, 7, 389, 997] {
            let (mut runs, mut expected) = (Runs::default(), BTreeSet::new());
            let name = |n: usize| format!("{:04}/", n * step % 1000).into_bytes();
            for n in 0..1000 {
                assert!(runs.get(&name(n)).is_none());
                runs.insert(&name(n), dir());
                expected.insert(name(n));
            }
            assert_eq!(names(&runs), expected.iter().cloned().collect::<Vec<_>>());
            runs.pack();
            assert_eq!(names(&runs).len(), 1000);
            assert_eq!(runs.0.len(), 1000_usize.div_ceil(RUN_MAX));
            for n in (0..1000).filter(|n| n % 3 != 0) {
                assert!(runs.remove(&name(n)) && !runs.remove(&name(n)));
                expected.remove(&name(n));
            }
            assert_eq!(names(&runs), expected.iter().cloned().collect::<Vec<_>>());
            assert!(runs.0.iter().all(|run| !run.held.is_empty()));
            for name in expected {
                assert!(runs.get(&name).is_some() && runs.remove(&name));
            }
            assert!(runs.is_empty());
        }
    }

    #[test]
    fn names_that_come_sorted_fill_their_runs() {
        let mut runs = Runs::default();
        for n in 0..10 * RUN_MAX {
            runs.insert(format!("{n:04}").as_bytes(), dir());
        }
        assert_eq!(runs.0.len(), 10);
    }

    #[test]
    fn what_a_copy_shares_is_passed_over_and_what_changed_in_either_is_not() {
        let name = |n: usize| format!("{n:04}/").into_bytes();
        let before = Runs::of_sorted((0..320).map(|n| (name(n).into(), dir())).collect());
        let beside = |now: &Runs| now.nodes_beside(&before).count();
        let mut now = before.clone();
        assert_eq!(beside(&now), 0);
        now.forget(&name(100));
        assert_eq!(beside(&now), RUN_MAX);
        now.remove(&name(0));
        assert_eq!(beside(&now), 2 * RUN_MAX - 1);
        let mut other = before.clone();
        other.insert(&name(1000), dir());
        let found: Vec<_> = other
            .nodes_beside(&before)
            .map(|(name, _)| name.to_vec())
            .collect();
        assert!(found.contains(&name(1000)) && found.len() <= RUN_MAX);
    }
}
