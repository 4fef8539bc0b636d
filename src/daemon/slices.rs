//! How soon the daemon runs where other programs want the same processor. Knows nothing of what it does then.
//!
//! A thread that is woken up on a processor that is taken waits until the slice of the other one is over, some 3 ms, unless its own is shorter:
//! then it runs at once (Linux 6.12, `PREEMPT_SHORT` in kernel/sched/features.h). It gets no greater share for that.

/// In nanoseconds; the kernel takes none that are shorter (`__setparam_fair` in kernel/sched/syscalls.c).
#[cfg(target_os = "linux")]
const SHORT: u64 = 100_000;

/// Has the calling thread, and those that it and its children start, run in short slices. Where the system knows no such thing, or
/// forbids it, everything stays as it is.
#[cfg(target_os = "linux")]
pub(super) fn be_short() {
    let asked = uapi::sched_getattr(0, 0).and_then(|mut own| {
        own.sched_runtime = SHORT;
        uapi::sched_setattr(0, &own, 0)
    });
    if let Err(error) = asked {
        tracing::debug!(%error, "no short slices");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn be_short() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_and_those_that_it_starts_have_short_slices_where_the_kernel_knows_any() {
        let own = || uapi::sched_getattr(0, 0).unwrap().sched_runtime;
        let thread = std::thread::spawn(move || {
            let before = own();
            be_short();
            (before, own(), std::thread::spawn(own).join().unwrap())
        });
        let (before, after, of_child) = thread.join().unwrap();
        // Zero where it knows none.
        let wanted = if before == 0 { 0 } else { SHORT };
        assert_eq!((after, of_child), (wanted, wanted));
    }
}
