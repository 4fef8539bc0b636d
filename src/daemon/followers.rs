//! Those who follow a worktree on the socket: each is told every change, and one that lags behind is cut off with a
//! last word. Waits for none of them, and knows nothing of how they are reached.

use tokio::sync::mpsc;

use crate::protocol::Active;

/// Changes that a slow follower may lag behind before it is cut off.
const LAG_MAX: usize = 64;

/// What a follower is told.
#[derive(Debug)]
pub(super) enum Followed {
    /// The state, at first and after each change.
    State(Box<Active>),
    /// The last word.
    End(End),
}

/// Why a follower hears no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It does not read what it is told.
    TooSlow,
    /// The worktree is no longer tracked, or the daemon ends.
    Over,
}

/// The followers of one worktree.
#[derive(Debug, Default)]
pub(super) struct Followers(Vec<mpsc::Sender<Followed>>);

impl Followers {
    /// Takes in one more, who is told the state first.
    pub(super) fn add(&mut self, now: Active) -> mpsc::Receiver<Followed> {
        // One place is kept for the last word.
        let (sender, receiver) = mpsc::channel(LAG_MAX + 1);
        if tell(&sender, now) {
            self.0.push(sender);
        }
        receiver
    }

    /// Tells a change to each; waits for none.
    pub(super) fn tell(&mut self, change: &Active) {
        self.0.retain(|follower| tell(follower, change.clone()));
    }

    /// Says the last word to all.
    pub(super) fn say_goodbye(&mut self) {
        for follower in self.0.drain(..) {
            drop(follower.try_send(Followed::End(End::Over)));
        }
    }
}

/// Returns whether the follower is to be told more.
fn tell(follower: &mpsc::Sender<Followed>, change: Active) -> bool {
    if follower.capacity() > 1 {
        let told = follower.try_send(Followed::State(Box::new(change)));
        return told.is_ok();
    }
    drop(follower.try_send(Followed::End(End::TooSlow)));
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_reads_nothing_gets_a_last_word_and_the_others_every_change() {
        let mut followers = Followers::default();
        let mut slow = followers.add(Active::default());
        let mut quick = followers.add(Active::default());
        for _ in 0..LAG_MAX * 2 {
            assert!(matches!(quick.try_recv(), Ok(Followed::State(_))));
            followers.tell(&Active::default());
        }
        let mut told = Vec::new();
        while let Ok(one) = slow.try_recv() {
            told.push(one);
        }
        assert_eq!(told.len(), LAG_MAX + 1);
        assert!(matches!(told.last(), Some(Followed::End(End::TooSlow))));
        followers.say_goodbye();
        assert!(matches!(quick.try_recv(), Ok(Followed::State(_))));
        assert!(matches!(quick.try_recv(), Ok(Followed::End(End::Over))));
    }
}
