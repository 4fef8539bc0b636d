//! What travels over the local socket: JSON over HTTP/1.1, so that curl and any language can ask.
//!
//! Pure: wire types only, by which nothing is decided.

use serde::{Deserialize, Serialize};

use crate::env_file::EnvValues;

/// The number that grows when a client of today would no longer understand an answer.
pub const API: u32 = 1;
/// The version of what `tracemark status --json` prints.
pub const STATUS_SCHEMA: u32 = 1;
/// The code of the problem that a daemon answers with when it is about to end.
pub const STOPPING: &str = "stopping";

/// The state of one worktree: the answer of `GET /v1/active` and each line of `GET /v1/events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// The number of this protocol.
    pub api: u32,
    /// The daemon's version.
    pub version: String,
    /// The top of the worktree.
    pub worktree: String,
    /// `active`, `pending` or `broken`.
    pub state: String,
    /// What a pending state waits for: `reading`, `question`, `creation` or `store`.
    pub waiting_for: Option<String>,
    /// Whether what it waits for stays away until somebody changes something, so that waiting does not help.
    #[serde(default)]
    pub lasting: bool,
    /// The id of the LoggedModel, null unless active.
    pub model_id: Option<String>,
    /// The name of the version on disk, null while unknown.
    pub name: Option<String>,
    /// Its content id.
    pub content: Option<String>,
    /// The full HEAD.
    pub head: Option<String>,
    /// Whether there are uncommitted changes.
    pub dirty: Option<bool>,
    /// The experiment, null unless active.
    pub experiment_id: Option<String>,
    /// The tracking URI.
    pub store: String,
    /// The experiment as configured: `name:NAME`, `id:ID` or `default`.
    pub experiment: String,
    /// Where the env file lies.
    pub env_file: String,
    /// Whether this covers everything that was written before the question was asked.
    pub fresh: bool,
    /// Why it is not fresh.
    pub why_not_fresh: Option<String>,
    /// Grows with each change.
    pub generation: u64,
    /// Why it is pending or broken, and one thing to do.
    pub reason: Option<String>,
    /// What to type.
    pub hint: Option<String>,
    /// Why the name is not the one that the naming asks for.
    pub note: Option<String>,
    /// Whether `tracemark pin` chose the version, whatever the code.
    #[serde(default)]
    pub pinned: bool,
}

impl Active {
    /// Returns what the env file says of this state.
    pub fn env_values(&self, socket: &str, full: bool) -> EnvValues {
        EnvValues {
            model_id: self.model_id.clone().unwrap_or_default(),
            name: self.name.clone().unwrap_or_default(),
            content: self.content.clone().unwrap_or_default(),
            state: self.state.clone(),
            socket: socket.to_owned(),
            store: full.then(|| {
                (
                    self.store.clone(),
                    self.experiment_id.clone().unwrap_or_default(),
                )
            }),
        }
    }
}

/// The answer of `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The number of this document's layout.
    pub schema: u32,
    /// The number of this protocol.
    pub api: u32,
    /// The daemon's version.
    pub version: String,
    /// The daemon.
    pub daemon: Option<DaemonInfo>,
    /// Every worktree that is tracked.
    pub worktrees: Vec<WorktreeStatus>,
}

/// The daemon itself; also the record that it keeps in the state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The socket that it listens on.
    pub socket: String,
    /// When it started, in Unix milliseconds.
    pub since: u64,
    /// The program that it runs.
    #[serde(default)]
    pub program: String,
    /// Whether another program lies at that path by now, or none: `tracemark up` starts that one.
    #[serde(default)]
    pub replaced: bool,
    /// The state directory that it serves.
    #[serde(default)]
    pub state_dir: String,
    /// Whether systemd runs it.
    #[serde(default)]
    pub by_systemd: bool,
}

/// One worktree in the status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorktreeStatus {
    /// The top of the worktree.
    pub path: String,
    /// `active`, `pending` or `broken`.
    pub state: String,
    /// The id of the LoggedModel, null unless active.
    pub model_id: Option<String>,
    /// The name of the version on disk.
    pub name: Option<String>,
    /// The tracking URI.
    pub store: String,
    /// The experiment as configured.
    pub experiment: String,
    /// Its id, null while unknown.
    #[serde(default)]
    pub experiment_id: Option<String>,
    /// Its page in the MLflow UI, null where there is none.
    #[serde(default)]
    pub experiment_url: Option<String>,
    /// Whether the server's certificate is not checked.
    #[serde(default)]
    pub insecure_tls: bool,
    /// Whether a password or token may go over plain http to another machine.
    #[serde(default)]
    pub allow_http_credentials: bool,
    /// The file of certificates that are trusted instead of the system's, null where there is none.
    #[serde(default)]
    pub server_cert: Option<String>,
    /// Whether `tracemark pin` chose the version, whatever the code.
    #[serde(default)]
    pub pinned: bool,
    /// Whether the code of the version on disk can be brought back: `true`, `partial`, `false`; null where it was not to be
    /// kept yet.
    #[serde(default)]
    pub restorable: Option<String>,
    /// What of it is not kept, and why.
    #[serde(default)]
    pub not_kept: Option<String>,
    /// How many versions that were asked for or committed wait for a store.
    #[serde(default)]
    pub owed: u64,
    /// How many of them wait for which store.
    #[serde(default)]
    pub owed_to: Vec<OwedTo>,
    /// How many versions the store refuses while it takes others.
    #[serde(default)]
    pub refused: u64,
    /// Why it refuses one of them.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Which LoggedModel turned out to be a later duplicate, and of which.
    #[serde(default)]
    pub duplicate: Option<String>,
    /// The last failure of the store since the daemon started, also when it has recovered.
    #[serde(default)]
    pub last_error: Option<String>,
    /// When that was, in Unix milliseconds.
    #[serde(default)]
    pub last_error_ms: Option<u64>,
    /// Where the env file lies.
    pub env_file: String,
    /// Why the env file or its visible copy does not say this state, null where it does; it is tried again.
    #[serde(default)]
    pub env_problem: Option<String>,
    /// `watch`, `poll`, or `none` where no daemon runs.
    pub mode: String,
    /// Why it is `poll`, and what would help.
    #[serde(default)]
    pub mode_reason: Option<String>,
    /// What is wrong.
    pub reason: Option<String>,
    /// Whether that is nothing to mend: it passes in a moment, or once somebody asks.
    #[serde(default)]
    pub passing: bool,
    /// The next command to type.
    pub hint: Option<String>,
    /// Why the name is not the one that the naming asks for.
    pub note: Option<String>,
    /// What made the last reading necessary.
    pub cause: Option<String>,
    /// When that was, in Unix milliseconds.
    #[serde(default)]
    pub cause_ms: Option<u64>,
    /// Directories watched.
    pub watches: usize,
    /// Looks so far, also those that found nothing to read.
    pub passes: u64,
    /// Readings of every file.
    #[serde(default)]
    pub full_passes: u64,
    /// Readings of what was touched and of what is not committed.
    #[serde(default)]
    pub narrow_passes: u64,
    /// Readings given up, as files changed meanwhile.
    #[serde(default)]
    pub torn_passes: u64,
    /// Changes that a reading of every file found and no event had told of.
    #[serde(default)]
    pub missed_changes: u64,
    /// Requests to the store since the daemon took up these settings; statements to a SQLite file are not counted.
    #[serde(default)]
    pub store_requests: u64,
}

/// Versions that were asked for or committed and wait for one experiment of one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedTo {
    /// The address of the store, with the MLflow workspace where there is one.
    pub store: String,
    /// The experiment as it was configured.
    pub experiment: String,
    /// How many.
    pub owed: u64,
    /// Whether that is where versions are made now; others wait until `tracemark up` names their store again.
    pub current: bool,
}

/// The answer to a request that cannot be answered otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The number of this protocol.
    pub api: u32,
    /// The daemon's version.
    pub version: String,
    /// What is wrong.
    pub error: ProblemDetail,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDetail {
    /// A word for programs: `bad_request`, `forbidden`, `not_tracked`, `not_found`, `too_many_followers`, [`STOPPING`], and as the last line of events
    /// `too_slow`, `over`.
    pub code: String,
    /// What and why, in one line.
    pub message: String,
    /// What to type.
    pub hint: String,
}

/// The body of `POST /v1/worktrees`, `DELETE /v1/worktrees` and `POST /v1/touch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathBody {
    /// A path in the repository.
    pub path: String,
}
