//! Why a hash is what it is: its parts, and the traps that this state sits in.
//!
//! Facts only; what is said of them to people is the command's. Asks git for more than a hash needs, and changes nothing
//! either: diffs run on a copy of the index.

mod parts;
mod settings;
mod state;
mod traps;
mod tree;

use std::fmt;

pub use parts::{Content, FileLine, Part, Parts, Unreadable};
pub use settings::Setting;
pub use traps::{Trap, Uncounted};
pub use tree::{Change, TreeExplanation, tree};

use super::GitHashError;
use super::git_hash::{self, GitHash};
use crate::git::Git;
use settings::Settings;
use state::State;
use traps::Search;

/// What a git-hash is made of.
#[derive(Debug)]
pub struct Explanation {
    /// The hash that [`git_hash::compute`] gives, and to which the parts hash.
    pub hash: Result<GitHash, NoExplanation>,
    /// The full HEAD.
    pub head: String,
    /// What is hashed after HEAD, `None` for a clean tree.
    pub parts: Option<Parts>,
    /// The traps that apply now.
    pub traps: Vec<Trap>,
}

/// Why no hash can be explained.
#[derive(Debug, thiserror::Error)]
pub enum NoExplanation {
    /// There is none.
    #[error(transparent)]
    NoHash(#[from] GitHashError),
    /// The parts hash to something else.
    #[error("files changed while they were read")]
    Torn,
}

/// Explains the git-hash in the directory and environment of `git`.
///
/// # Errors
/// [`GitHashError`] where there is nothing to explain: no repository, no commit, an index that git cannot read.
pub fn git_hash(git: &Git) -> Result<Explanation, GitHashError> {
    let state = State::read(git)?;
    let hash = git_hash::compute(git, None);
    let is_clean = matches!(&hash, Ok(hash) if hash.clean);
    let read = (!is_clean).then(|| Parts::read(&state));
    let (parts, digits) = read.unzip();
    let search = Search {
        caller: git,
        settings: Settings::read(&state.here)?,
        state: &state,
        hash: hash.as_ref().ok(),
        parts: parts.as_ref(),
    };
    let traps = search.traps()?;
    let hash = match hash {
        Ok(hash) if is_same(&hash, &state, digits.as_deref()) => Ok(hash),
        Ok(hash) => Err(why_other(git, &hash, &traps)),
        Err(error) => Err(error.into()),
    };
    Ok(Explanation {
        hash,
        head: state.head,
        parts,
        traps,
    })
}

fn is_same(hash: &GitHash, state: &State, digits: Option<&str>) -> bool {
    let same_parts = match digits {
        Some(digits) => hash.text.ends_with(digits),
        None => state.changed().next().is_none(),
    };
    hash.head == state.head && same_parts
}

fn why_other(git: &Git, hash: &GitHash, traps: &[Trap]) -> NoExplanation {
    let has_program = traps
        .iter()
        .any(|trap| matches!(trap, Trap::Program { .. }));
    let again = || git_hash::compute(git, None).is_ok_and(|again| again.text == hash.text);
    if has_program && !again() {
        GitHashError::Unsteady.into()
    } else {
        NoExplanation::Torn
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            scope,
            origin,
        } = self;
        write!(f, "{key}={value} ({scope} {origin})")
    }
}
