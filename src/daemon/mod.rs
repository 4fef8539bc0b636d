//! The daemon: boot order, tasks, stop order.

mod churn;
mod event_loop;
mod eyes;
mod lifecycle;
mod load;
mod request;
mod server;
mod worktree_job;

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::sync::mpsc;

pub use lifecycle::StartError;

use crate::ledger::Ledger;
use crate::paths::Paths;
use crate::registry::Registry;
use event_loop::EventLoop;
use lifecycle::{DaemonRecord, Lock, Socket, listen_for_signals, notify_systemd};
use load::{Catalog, empty_env, sweep};

/// Requests that may wait for the event loop; a client beyond them waits in its connection.
const REQUESTS_MAX: usize = 64;

/// Runs the daemon until a signal stops it or its last repository is given up. `ready` is called with the socket's path
/// once it answers.
///
/// # Errors
/// [`StartError`] when it cannot start.
pub fn run(paths: &Paths, ready: impl FnOnce(&str)) -> Result<(), StartError> {
    keep_memory_private();
    let _lock = Lock::take(paths)?;
    let ledger = Arc::new(Ledger::open(&paths.ledger())?);
    let catalog = Arc::new(Catalog {
        paths: paths.clone(),
        registry: Registry::new(paths.repositories()),
        ledger,
    });
    let loaded = catalog.everything();
    for one in &loaded {
        empty_env(&one.worktree);
        sweep(&one.worktree);
    }
    let mut socket = Socket::open(paths)?;
    let record = DaemonRecord::write(paths, &socket.path)?;
    let signals = listen_for_signals()?;
    let system = |action| move |source| StartError::System { action, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    runtime.block_on(async {
        let Some(listener) = socket.listener.take() else {
            return Ok(());
        };
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixListener::from_std(listener))
            .map_err(system("listen on the socket"))?;
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let mut server = tokio::task::JoinSet::new();
        server.spawn(server::serve(listener, sender));
        ready(&record.info.socket);
        notify_systemd(&[NotifyState::Ready]);
        tracing::info!(
            socket = record.info.socket,
            worktrees = loaded.len(),
            "ready"
        );
        EventLoop::new(Arc::clone(&catalog), record.info.clone())
            .run(loaded, requests, signals)
            .await;
        Ok(())
    })
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
