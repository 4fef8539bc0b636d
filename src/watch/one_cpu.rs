//! Brings two threads to one processor, as long as they ask each other at every step.
//!
//! To watch a directory, a thread asks notify's and waits for its answer. Between processors that sleep meanwhile that takes five
//! times as long as on one, as each has to be woken up in turn. Knows nothing of watches; where a system has no such thing, every
//! thread stays where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which processor threads are to meet on: one more than its number, zero for none.
#[derive(Debug, Clone, Default)]
pub(super) struct Meeting(Arc<AtomicUsize>);

/// A thread that comes to the meeting when it is called.
pub(super) struct Guest {
    meeting: Meeting,
    at: usize,
    home: Option<Processors>,
}

/// A thread that stays where it is, and a meeting there, as long as this lives.
pub(super) struct Host {
    meeting: Meeting,
    home: Option<Processors>,
}

impl Meeting {
    /// Returns a guest, for the thread that will call [`Guest::come`].
    pub(super) fn guest(&self) -> Guest {
        Guest {
            meeting: self.clone(),
            at: 0,
            home: None,
        }
    }

    /// Holds the meeting where the calling thread is.
    pub(super) fn hold(&self) -> Host {
        let here = Processors::here();
        let home = here.and_then(|(number, here)| {
            let home = here.take()?;
            self.0.store(number + 1, Ordering::Relaxed);
            Some(home)
        });
        Host {
            meeting: self.clone(),
            home,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.meeting.0.store(0, Ordering::Relaxed);
        if let Some(home) = self.home.take() {
            home.take();
        }
    }
}

impl Guest {
    /// Has the calling thread, always the same, come to the meeting, or go home once it is over.
    pub(super) fn come(&mut self) {
        let at = self.meeting.0.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.at, at) == at {
            return;
        }
        let place = at.checked_sub(1).map(Processors::only);
        let before = place
            .or_else(|| self.home.take())
            .and_then(Processors::take);
        if at > 0 {
            self.home = self.home.take().or(before);
        }
    }
}

/// Processors that a thread may run on.
struct Processors(system::CpuSet);

impl Processors {
    /// Returns the one that the calling thread is on, and its number.
    fn here() -> Option<(usize, Self)> {
        let number = system::current()?;
        Some((number, Self::only(number)))
    }

    fn only(number: usize) -> Self {
        let mut one = system::CpuSet::new();
        one.set(number);
        Self(one)
    }

    /// Has the calling thread run on them alone. Returns those that it had before, `None` where it stays as it was.
    fn take(self) -> Option<Self> {
        let before = system::get()?;
        system::set(&self.0).then_some(Self(before))
    }
}

#[cfg(target_os = "linux")]
mod system {
    pub(super) use rustix::thread::CpuSet;
    use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};

    #[allow(clippy::unnecessary_wraps, reason = "other systems do not tell")]
    pub(super) fn current() -> Option<usize> {
        Some(sched_getcpu())
    }

    pub(super) fn get() -> Option<CpuSet> {
        sched_getaffinity(None).ok()
    }

    pub(super) fn set(set: &CpuSet) -> bool {
        sched_setaffinity(None, set).is_ok()
    }

    #[cfg(test)]
    pub(super) fn numbers(set: &CpuSet) -> Vec<usize> {
        let all = 0..CpuSet::MAX_CPU;
        all.filter(|number| set.is_set(*number)).collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) struct CpuSet;

    impl CpuSet {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn set(&mut self, _: usize) {}
    }

    pub(super) fn current() -> Option<usize> {
        None
    }

    pub(super) fn get() -> Option<CpuSet> {
        None
    }

    pub(super) fn set(_: &CpuSet) -> bool {
        false
    }

    #[cfg(test)]
    pub(super) fn numbers(_: &CpuSet) -> Vec<usize> {
        Vec::new()
    }
}

/// Returns on which processors the calling thread may run, as far as the system tells.
#[cfg(test)]
pub(super) fn allowed() -> Vec<usize> {
    system::get().map_or_else(Vec::new, |set| system::numbers(&set))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_guest_comes_when_it_is_called_and_goes_home_when_it_is_over() {
        let meeting = Meeting::default();
        let mut guest = meeting.guest();
        let (call, calls) = channel();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for () in calls {
                guest.come();
                tell.send(allowed()).unwrap();
            }
        });
        let guest = || {
            call.send(()).unwrap();
            told.recv().unwrap()
        };
        let all = allowed();
        assert_eq!(guest(), all);
        let host = meeting.hold();
        let here = allowed();
        assert_eq!((here.len(), guest()), (1, here.clone()));
        drop(host);
        assert_eq!((allowed(), guest()), (all.clone(), all));
    }
}
