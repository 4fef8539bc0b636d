//! Signals as events, and what systemd is told.
//!
//! Acts on none itself, but for a second SIGTERM or SIGINT, which ends the process at once.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc;

use super::StartError;

/// News from outside that the event loop heeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum News {
    /// SIGTERM or SIGINT: finish and go. A second one ends the process at once.
    Stop,
    /// SIGHUP: read the settings again, and see whether clients still find the socket.
    Reload,
    /// The socket is at this path now.
    Moved(String),
    /// File systems were mounted or unmounted.
    Mounts,
}

/// Hears signals on a thread of its own, as signal-hook lays out, and passes them on.
pub(in crate::daemon) fn listen_for_signals()
-> Result<(mpsc::Sender<News>, mpsc::Receiver<News>), StartError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let system = |source| StartError::System {
        action: "listen for signals",
        source,
    };
    let stopping = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let stopping = std::sync::Arc::clone(&stopping);
        signal_hook::flag::register_conditional_shutdown(signal, 1, stopping).map_err(system)?;
    }
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(system)?;
    let (sender, receiver) = mpsc::channel(4);
    let news = sender.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let signal = if signal == SIGHUP {
                News::Reload
            } else {
                stopping.store(true, std::sync::atomic::Ordering::SeqCst);
                News::Stop
            };
            if sender.blocking_send(signal).is_err() {
                return;
            }
        }
    });
    Ok((news, receiver))
}

/// Tells systemd, where it listens (`sd_notify(3)`).
pub(in crate::daemon) fn notify_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

/// Returns how often systemd wants to hear from us: half of the unit's `WatchdogSec=`.
pub(in crate::daemon) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
