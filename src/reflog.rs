//! What git did to HEAD in one worktree, from the reflog that git writes: which commits were made here.
//!
//! The lines of `logs/HEAD` are `old new name <email> seconds zone TAB what: message` (git-reflog(1), git-update-ref(1));
//! the words for `what` are those that git 2.47 writes. Knows nothing of what becomes of the commits.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::ids::ObjectId;

/// How much of a reflog is read, from its end: some thousand moves.
const TAIL: u64 = 1024 * 1024;
/// How many commits are made up for at once, the newest.
const MADE_MAX: usize = 1000;
/// Steps of one cherry-pick, revert or mailbox that follow each other within so many seconds are one operation.
const SERIES: u64 = 1;

/// One move of HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    old: ObjectId,
    /// Where HEAD went.
    pub new: ObjectId,
    seconds: u64,
    /// What git did, in its own word: `commit`, `checkout`, `rebase (pick)` (git-reflog(1)).
    pub what: String,
    message: String,
}

/// A commit that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The commit.
    pub commit: ObjectId,
    /// The branch that it was made on, where the reflog tells.
    pub branch: Option<String>,
}

/// Returns the moves of HEAD in the worktree of a git directory, the oldest first; none where git keeps no reflog, or
/// not as a file.
pub fn read(git_dir: &Path) -> Vec<Move> {
    let bytes = tail(&git_dir.join("logs/HEAD")).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| parse(&String::from_utf8_lossy(line)))
        .collect()
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(line: &str) -> Option<Move> {
    let (head, text) = line.split_once('\t').unwrap_or((line, ""));
    let mut ids = head.split(' ');
    let (old, new) = (ids.next()?.parse().ok()?, ids.next()?.parse().ok()?);
    let (_, time) = head.rsplit_once("> ")?;
    let (seconds, _zone) = time.split_once(' ')?;
    let (what, message) = text.split_once(": ").unwrap_or((text, ""));
    Some(Move {
        old,
        new,
        seconds: seconds.parse().ok()?,
        what: what.to_owned(),
        message: message.to_owned(),
    })
}

impl Move {
    /// Returns the text by which [`position`] finds this move again.
    pub fn mark(&self) -> String {
        format!("{} {} {}", self.old, self.new, self.seconds)
    }

    fn command(&self) -> &str {
        self.what.split(' ').next().unwrap_or_default()
    }

    /// What stands in brackets: `finish` of `rebase (finish)`.
    fn step(&self) -> Option<&str> {
        let (_, step) = self.what.strip_suffix(')')?.rsplit_once('(')?;
        Some(step)
    }

    fn begins_rebase(&self) -> bool {
        self.step() == Some("start")
    }

    fn ends_rebase(&self) -> bool {
        matches!(self.step(), Some("finish" | "abort"))
    }

    /// True for what makes a commit, or moves the branch to one that was fetched.
    fn makes(&self) -> bool {
        matches!(
            (self.command(), self.step()),
            ("commit", _)
                | ("rebase" | "pull", Some("finish"))
                | ("merge" | "pull" | "cherry-pick" | "revert" | "am", None)
        )
    }

    /// True when `next` goes on with what this one did.
    fn goes_on_in(&self, next: &Self) -> bool {
        matches!(self.command(), "cherry-pick" | "revert" | "am")
            && next.what == self.what
            && next.seconds.saturating_sub(self.seconds) <= SERIES
    }
}

/// Returns where the move is that a mark was made of, the latest where there are several.
pub fn position(moves: &[Move], mark: &str) -> Option<usize> {
    moves.iter().rposition(|one| one.mark() == mark)
}

/// Returns the commits that the moves of a range made, the oldest first, each once, at most the newest [`MADE_MAX`]. What
/// a rebase passes through does not count, nor do the steps of a series but the last. `branch` is checked out now.
pub fn made(moves: &[Move], range: &Range<usize>, branch: Option<String>) -> Vec<Made> {
    let mut made: Vec<Made> = Vec::new();
    let mut on = branch;
    let mut inside_rebase = false;
    let mut next: Option<&Move> = None;
    for (at, one) in moves.iter().enumerate().rev() {
        if at < range.start || made.len() == MADE_MAX {
            break;
        }
        inside_rebase = (inside_rebase || one.ends_rebase()) && !one.begins_rebase();
        if let Some(finished) = one.message.strip_prefix("returning to refs/heads/") {
            on = Some(finished.to_owned());
        }
        let counts = one.makes()
            && (!inside_rebase || one.step() == Some("finish"))
            && !next.is_some_and(|next| one.goes_on_in(next));
        if range.contains(&at) && counts && made.iter().all(|made| made.commit != one.new) {
            made.push(Made {
                commit: one.new.clone(),
                branch: on.clone(),
            });
        }
        on = branch_before(one, on);
        next = Some(one);
    }
    made.reverse();
    made
}

/// `checkout: moving from BRANCH to …` names a branch or, from a detached HEAD, a commit. A rebase may begin on any.
fn branch_before(one: &Move, after: Option<String>) -> Option<String> {
    let from = one.message.strip_prefix("moving from ");
    match from.and_then(|text| text.split_once(" to ")) {
        _ if one.begins_rebase() => None,
        Some((from, _)) if one.command() == "checkout" => {
            let detached = from.parse::<ObjectId>().is_ok();
            (!detached).then(|| from.to_owned())
        }
        _ => after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> String {
        format!("{n:040x}")
    }

    /// Moves from commit to commit, ten seconds apart.
    fn log(whats: &[&str]) -> Vec<Move> {
        let line = |(n, what): (usize, &&str)| {
            let (old, new) = (id(n), id(n + 1));
            parse(&format!("{old} {new} A B <a@b> {} +0000\t{what}", n * 10)).unwrap()
        };
        whats.iter().enumerate().map(line).collect()
    }

    fn made_of(moves: &[Move]) -> Vec<(usize, Option<String>)> {
        made(moves, &(0..moves.len()), Some("main".into()))
            .into_iter()
            .map(|made| {
                let digits = usize::from_str_radix(made.commit.as_str(), 16);
                (digits.unwrap(), made.branch)
            })
            .collect()
    }

    fn numbers(moves: &[Move]) -> Vec<usize> {
        made_of(moves).into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn commits_merges_and_pulls_are_made_here_and_checkouts_and_resets_are_not() {
        let moves = log(&[
            "clone: from x",
            "commit: a",
            "commit (amend): a: b",
            "checkout: moving from main to side",
            "commit (merge): Merge",
            "reset: moving to HEAD~1",
            "merge origin/main: Fast-forward",
            "pull: Fast-forward",
            "pull -q origin main: Merge made by the 'ort' strategy.",
            "",
            "revert: Revert",
        ]);
        assert_eq!(numbers(&moves), [2, 3, 5, 7, 8, 9, 11]);
    }

    #[test]
    fn of_a_rebase_only_the_end_counts_and_of_one_that_was_given_up_nothing() {
        for rebase in [
            "rebase",
            "rebase -i",
            "pull",
            "pull --rebase -q origin main",
        ] {
            let what = |step: &str| format!("{rebase} ({step}): x");
            let [start, pick, finish, abort] = ["start", "pick", "finish", "abort"].map(what);
            let ended = [
                "commit: a",
                &start,
                &pick,
                "commit (amend): b",
                &pick,
                &finish,
            ];
            assert_eq!(numbers(&log(&ended)), [1, 6], "{rebase}");
            let given_up = [&start, "commit: a", &pick, &abort, "commit: b"];
            assert_eq!(numbers(&log(&given_up)), [5], "{rebase}");
        }
    }

    #[test]
    fn of_a_series_of_steps_only_the_last_counts() {
        let mut moves = log(&["cherry-pick: a", "cherry-pick: b", "cherry-pick: c"]);
        assert_eq!(numbers(&moves), [1, 2, 3]);
        for one in &mut moves {
            one.seconds = 7;
        }
        assert_eq!(numbers(&moves), [3]);
        for one in &mut moves {
            one.what = "commit".into();
        }
        assert_eq!(numbers(&moves), [1, 2, 3], "each was made by a person");
    }

    #[test]
    fn a_commit_is_said_to_be_of_the_branch_that_was_checked_out_then() {
        let detached = format!("checkout: moving from {} to main", id(9));
        let moves = log(&[
            "commit: before a rebase from who knows where",
            "rebase (start): checkout main",
            "rebase (finish): returning to refs/heads/topic",
            "checkout: moving from topic to side",
            "commit: a",
            "checkout: moving from side to HEAD~1",
            "commit: b",
            &detached,
            "commit: c",
        ]);
        let branch = |name: &str| Some(name.to_owned());
        assert_eq!(
            made_of(&moves),
            [
                (1, None),
                (3, branch("topic")),
                (5, branch("side")),
                (7, None),
                (9, branch("main"))
            ]
        );
    }

    #[test]
    fn at_most_the_newest_thousand_count_each_once() {
        let mut moves = log(&vec!["commit: x"; MADE_MAX + 50]);
        let newest: Vec<_> = (51..=MADE_MAX + 50).collect();
        assert_eq!(numbers(&moves), newest);
        let again = moves.clone();
        moves.extend(again);
        assert_eq!(numbers(&moves), newest);
        assert_eq!(made(&moves, &(0..2), None).len(), 2);
    }

    #[test]
    fn a_move_is_found_again_by_its_mark_and_lines_that_git_does_not_write_are_passed_over() {
        let moves = log(&["commit: a", "commit: b", "commit: c"]);
        assert_eq!(position(&moves, &moves[1].mark()), Some(1));
        assert_eq!(position(&moves, "x"), None);
        for line in [
            "",
            "x",
            "x y",
            "\t",
            &id(1),
            &format!("{} {} x 7 +0000", id(1), id(2)),
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!(read(Path::new("/nonexistent")), []);
    }
}
