//! What clients ask of the daemon, as the event loop sees it: no HTTP, no JSON.

use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::followers::Followed;
use crate::protocol::{Active, Status};

/// One request, with the way back.
#[derive(Debug)]
pub(super) enum Request {
    /// The model of the code on disk.
    Active {
        path: PathBuf,
        deadline: Instant,
        /// Look at every file, whatever events told.
        full: bool,
        reply: Reply<Active>,
    },
    /// The state now, then each change.
    Follow {
        path: PathBuf,
        reply: Reply<mpsc::Receiver<Followed>>,
    },
    /// Everything about the daemon.
    Status { reply: Reply<Status> },
    /// Read the record that `up` made and track what it covers.
    Track { path: PathBuf, reply: Reply<()> },
    /// Forget every worktree that no record covers any more: `down` changed one.
    Untrack { reply: Reply<()> },
    /// A hook says that git did something here.
    Touch { path: PathBuf, reply: Reply<()> },
}

/// The way back to a client.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// An answer, with the way back.
pub(super) enum Answer {
    Active(Reply<Active>, Box<Active>),
    Tracked(Reply<()>),
}

impl Answer {
    /// A client that went away misses nothing.
    pub(super) fn give(self) {
        match self {
            Self::Active(reply, active) => drop(reply.send(Ok(*active))),
            Self::Tracked(reply) => drop(reply.send(Ok(()))),
        }
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No worktree that `up` was run for lies there.
    NotTracked(PathBuf),
}
