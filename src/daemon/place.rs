//! Where clients find the daemon: its lock, its socket and the record of both, looked after while it runs.
//!
//! Temporary directories are cleaned, a runtime directory goes with the last login, a state directory may be removed by
//! hand. The event loop says when it is time to look; nothing here wakes by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::lifecycle::{DaemonRecord, Lock, News, Socket, StartError};
use super::request::Request;
use super::server;
use crate::paths::Paths;

/// How long clients that were let in before the end may take to ask and to hear that the daemon stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The lock, the socket and the record, given back when dropped.
pub(super) struct Place {
    paths: Paths,
    // Dropped in this order: nobody is let in, nobody is led here, somebody else may begin.
    servers: JoinSet<()>,
    socket: Option<Socket>,
    record: DaemonRecord,
    lock: Lock,
    requests: mpsc::Sender<Request>,
    doubts: Arc<Notify>,
}

impl Place {
    pub(super) fn new(
        paths: &Paths,
        lock: Lock,
        record: DaemonRecord,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        Self {
            paths: paths.clone(),
            servers: JoinSet::new(),
            socket: None,
            record,
            lock,
            requests,
            doubts: Arc::default(),
        }
    }

    /// Returns what is notified when it is time to look whether everything is where it was.
    pub(super) fn doubts(&self) -> Arc<Notify> {
        Arc::clone(&self.doubts)
    }

    /// Serves a socket from now on; connections of the one before stay.
    pub(super) fn serve(&mut self, mut socket: Socket) -> Result<(), StartError> {
        if let Some(listener) = socket.listener.take() {
            let listener = listener
                .set_nonblocking(true)
                .and_then(|()| tokio::net::UnixListener::from_std(listener))
                .map_err(|source| StartError::System {
                    action: "listen on the socket",
                    source,
                })?;
            self.servers
                .spawn(server::serve(listener, self.requests.clone()));
        }
        self.socket = Some(socket);
        Ok(())
    }

    /// Runs the event loop to its end, and ends it where the lock is lost: somebody else may be the daemon by then.
    pub(super) async fn keep(
        mut self,
        news: &mpsc::Sender<News>,
        event_loop: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        tokio::pin!(event_loop);
        let mut lost = Ok(());
        loop {
            tokio::select! {
                // Cancel safe: a notification that is not taken stays.
                () = &mut event_loop => break,
                () = self.doubts.notified() => {}
            }
            if !self.lock.is_held() {
                tracing::error!("the lock is no longer ours");
                lost = Err(self.lock.lost());
                drop(news.try_send(News::Stop));
            } else if let Some(signal) = self.find_again() {
                drop(news.try_send(signal));
            }
        }
        self.end_conversations().await;
        lost
    }

    /// Whoever was let in hears that the daemon stops, where a reset would say nothing.
    async fn end_conversations(&mut self) {
        let ended = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
            tracing::debug!("clients that said nothing are left");
        }
    }

    /// Listens anew where the socket is gone, and returns what the event loop should know of that.
    fn find_again(&mut self) -> Option<News> {
        if self.socket.as_ref().is_some_and(Socket::is_there) {
            self.write_record_again();
            return None;
        }
        let moved = self.listen_anew();
        if let Err(error) = &moved {
            tracing::error!(%error, "the socket is gone and no other can be had");
        }
        let socket = moved.ok()?;
        tracing::warn!(socket, "the socket was gone; listening anew");
        Some(News::Moved(socket))
    }

    fn listen_anew(&mut self) -> Result<String, StartError> {
        let socket = Socket::bind(&self.paths)?;
        if let Some(old) = &mut self.socket {
            old.leave();
        }
        self.record.move_to(&socket.path)?;
        self.serve(socket)?;
        Ok(self.record.info.socket.clone())
    }

    fn write_record_again(&self) {
        if !self.record.is_there()
            && let Err(error) = self.record.save()
        {
            tracing::warn!(%error, "the daemon's record is not as it was written and stays so");
        }
    }
}
