//! Work that is shared out over the processors.
//!
//! Knows nothing of the work, and keeps no thread once it is done.

use std::num::NonZero;
use std::ops::Range;
use std::thread::available_parallelism;

/// Has `work` done on consecutive shares of `count` things, side by side, where a share is worth a thread: at least `least` of them.
/// Returns what came of each share, in their order; `None` where a thread died.
pub(super) fn in_shares<T: Send>(
    count: usize,
    least: usize,
    work: impl Fn(Range<usize>) -> T + Sync,
) -> Option<Vec<T>> {
    // What the system is asked for this takes longer than a little work.
    let workers = if count > least {
        available_parallelism().map_or(1, NonZero::get)
    } else {
        1
    };
    let share = count.div_ceil(workers).max(least).max(1);
    let of = |start| start..count.min(start + share);
    let work = &work;
    std::thread::scope(|scope| {
        let others: Vec<_> = (share..count)
            .step_by(share)
            .map(|start| scope.spawn(move || work(of(start))))
            .collect();
        let mut done = vec![work(of(0))];
        for other in others {
            done.push(other.join().ok()?);
        }
        Some(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_is_in_one_share_in_its_order() {
        for count in [0, 1, 9, 10, 11, 25, 1000] {
            let shares = in_shares(count, 10, Iterator::collect::<Vec<_>>).unwrap();
            assert_eq!(shares.concat(), (0..count).collect::<Vec<_>>());
            let (_, full) = shares.split_last().unwrap();
            assert!(full.iter().all(|share| share.len() >= 10), "{count}");
        }
    }
}
