//! The daemon: boot order, tasks, stop order.
//!
//! Decides nothing about a worktree: the event loop does. Prints nothing: whoever runs it is told that it is ready.

mod beside;
mod churn;
mod clients;
mod entry;
mod env_writer;
mod event_loop;
mod eyes;
mod followers;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod git_at_work;
mod left_over;
mod lifecycle;
mod load;
mod mounts;
mod place;
mod presence;
mod remembered_files;
mod request;
mod said;
mod scratch_dirs;
mod server;
mod slices;
mod surprises;
mod uses;
mod watching;
mod worktree_job;

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal as SystemSignal;
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

pub use lifecycle::StartError;

use crate::ledger::Ledger;
use crate::paths::Paths;
use crate::registry::Registry;
use event_loop::EventLoop;
use left_over::{empty_all_env, sweep};
use lifecycle::{DaemonRecord, Lock, News, Socket, listen_for_signals, notify_systemd};
use load::{Catalog, Loaded};
use place::Place;

/// Requests that may wait for the event loop; a client beyond them waits in its connection.
const REQUESTS_MAX: usize = 64;
/// How long a thread that still works when everything else has ended is waited for.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// Runs the daemon until a signal stops it or its last repository is given up. `ready` is called with the socket's path
/// once it answers. The first thing it does is to empty the env files that an earlier daemon may have left.
///
/// # Errors
/// [`StartError`] when it cannot start, or when its state directory is taken away.
pub fn run(paths: &Paths, ready: impl FnOnce(&str)) -> Result<(), StartError> {
    keep_memory_private();
    // Before there are other threads, which take it over.
    slices::be_short();
    // First, as a signal that nobody hears would end the process.
    let (news, mut signals) = listen_for_signals()?;
    surprises::watch_mounts(news.clone());
    let (runtime, others) = runtimes().map_err(|source| StartError::System {
        action: "start the runtime",
        source,
    })?;
    let handle = others.handle().clone();
    let ended = runtime.block_on(async {
        match begin(paths, &news, &mut signals).await? {
            Some(begun) => serve(paths, begun, ready, news, signals, handle).await,
            None => Ok(()),
        }
    });
    // A reading that hangs in a file system must not keep the process from ending.
    runtime.shutdown_timeout(LAST_PATIENCE);
    others.shutdown_timeout(LAST_PATIENCE);
    ended
}

/// One for the event loop and its clients, on the thread of whoever calls, and one for what waits for stores, which has no timer
/// and so no wake-up while nothing happens.
fn runtimes() -> std::io::Result<(Runtime, Runtime)> {
    let own = Builder::new_current_thread().enable_all().build()?;
    let others = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    Ok((own, others))
}

/// What a daemon holds once it may answer.
struct Begun {
    lock: Lock,
    catalog: Arc<Catalog>,
    loaded: Vec<Loaded>,
    socket: Socket,
    record: DaemonRecord,
}

/// Takes the lock, empties env files and opens every worktree, however long git takes; `None` where a signal says stop
/// meanwhile.
async fn begin(
    paths: &Paths,
    news: &mpsc::Sender<News>,
    signals: &mut mpsc::Receiver<News>,
) -> Result<Option<Begun>, StartError> {
    let paths = paths.clone();
    let mut beginning = tokio::task::spawn_blocking(move || open(&paths));
    let mut heard = Vec::new();
    let begun = loop {
        tokio::select! {
            // Cancel safe: a task that is polled by reference and a channel lose nothing.
            signal = signals.recv() => match signal {
                Some(News::Stop) | None => return Ok(None),
                Some(other) => heard.push(other),
            },
            begun = &mut beginning => break begun,
        }
    };
    // What was heard meanwhile is for the event loop.
    for signal in heard {
        drop(news.try_send(signal));
    }
    let begun = begun.map_err(|error| StartError::System {
        action: "begin",
        source: std::io::Error::other(error),
    })?;
    begun.map(Some)
}

fn open(paths: &Paths) -> Result<Begun, StartError> {
    let lock = Lock::take(paths)?;
    let registry = Registry::new(paths.repositories());
    empty_all_env(&registry, paths);
    let catalog = Arc::new(Catalog {
        paths: paths.clone(),
        ledger: Arc::new(Ledger::open(&paths.ledger())?),
        registry,
    });
    let loaded = catalog.everything();
    for one in &loaded {
        sweep(&one.worktree);
    }
    let socket = Socket::open(paths)?;
    let record = DaemonRecord::write(paths, &socket.path)?;
    Ok(Begun {
        lock,
        catalog,
        loaded,
        socket,
        record,
    })
}

async fn serve(
    paths: &Paths,
    begun: Begun,
    ready: impl FnOnce(&str),
    news: mpsc::Sender<News>,
    signals: mpsc::Receiver<News>,
    others: Handle,
) -> Result<(), StartError> {
    let Begun {
        lock,
        catalog,
        loaded,
        socket,
        record,
    } = begun;
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let info = record.info.clone();
    let mut place = Place::new(paths, lock, record, sender);
    let doubts = place.doubts();
    place.serve(socket)?;
    ready(&info.socket);
    notify_systemd(&[NotifyState::Ready]);
    tracing::info!(
        socket = info.socket,
        worktrees = loaded.len(),
        version = info.version,
        "ready"
    );
    let event_loop = EventLoop::new(catalog, info, doubts, others);
    place
        .keep(&news, event_loop.run(loaded, requests, signals))
        .await
}

/// Leaves no env file with an id when no daemon watches over it: what the unit's `ExecStopPost=` does after a crash. Does
/// nothing while a daemon runs.
///
/// # Errors
/// [`StartError`] when the state directory cannot be used.
pub fn empty_env_files(paths: &Paths) -> Result<(), StartError> {
    if !paths.state.exists() {
        return Ok(());
    }
    match Lock::take_for_a_moment(paths) {
        Ok(_lock) => empty_all_env(&Registry::new(paths.repositories()), paths),
        Err(StartError::AlreadyRunning) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Has the daemon that holds the lock see whether clients still find it, where there is one.
pub fn nudge(paths: &Paths) {
    lifecycle::signal_holder(paths, SystemSignal::HUP);
}

/// Asks the daemon that holds the lock to end, and returns whether there is one.
pub fn ask_to_end(paths: &Paths) -> bool {
    lifecycle::signal_holder(paths, SystemSignal::TERM)
}

/// Passwords and tokens are in this process's memory and environment: no core file, and no other process looks in.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
    {
        tracing::warn!(%error, "a crash may leave passwords and tokens in a core file");
    }
}
