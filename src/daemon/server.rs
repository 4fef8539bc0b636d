//! HTTP/1.1 on the local socket: accepts, checks who asks, and bounds how many, how long and how much.
//!
//! Knows no worktree, and of resources only that some are followed. Remembers nothing of a client but that it is connected.

mod bodies;
mod routes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::clients::{Client, Clients};
use super::request::Request;
use bodies::Whole;

/// How many clients are served at a time; for more, those go that ask nothing.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send a request's head, and then its body.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest request head.
const HEAD_MAX: usize = 16 * 1024;
/// After one that could not be accepted, as where descriptors are out (accept(2)): long enough not to spin, short beside any deadline.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is told that other users try to connect.
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// How many clients may follow a worktree at a time, fewer than are served: whoever follows holds a connection for as long as it likes.
const FOLLOWERS_MAX: usize = 256;

/// What every connection shares.
#[derive(Clone)]
struct Inside {
    requests: mpsc::Sender<Request>,
    followers: Arc<Semaphore>,
}

/// Serves until nobody takes requests any more; then nobody is let in, and those who are inside hear that it stops. Ends at
/// once, with every connection, when it is dropped.
pub(super) async fn serve(listener: UnixListener, requests: mpsc::Sender<Request>) {
    let clients = Clients::at_most(CONNECTIONS_MAX);
    let inside = Inside {
        requests: requests.clone(),
        followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
    };
    let mut connections = JoinSet::new();
    let mut strangers = Strangers::default();
    loop {
        while connections.try_join_next().is_some() {}
        let client = clients.room().await;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = requests.closed() => break,
        };
        match accepted {
            Ok((stream, _)) if is_ours(&stream) => {
                let served = client.served_by();
                served(connections.spawn(converse(stream, inside.clone(), client)));
            }
            Ok(_) => strangers.refuse(),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Connections of other users, told once a minute.
#[derive(Default)]
struct Strangers {
    told: Option<Instant>,
}

impl Strangers {
    fn refuse(&mut self) {
        if self.told.is_none_or(|at| at.elapsed() > TOLD_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!("connections of another user are refused");
        }
    }
}

/// This user or root; the directory's mode keeps others out where the system honours it.
fn is_ours(stream: &UnixStream) -> bool {
    let me = rustix::process::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == me || peer.uid() == 0)
}

/// Serves one connection.
#[cfg(any(test, fuzzing))]
pub(super) async fn serve_one(stream: UnixStream, requests: mpsc::Sender<Request>) {
    let inside = Inside {
        requests,
        followers: Arc::new(Semaphore::new(1)),
    };
    let client = Clients::at_most(1).room().await;
    converse(stream, inside, client).await;
}

async fn converse(stream: UnixStream, inside: Inside, client: Client) {
    let service = service_fn(|request| {
        let (inside, asking) = (inside.clone(), client.asks());
        async move {
            let answer = routes::answer(request, &inside).await;
            let whole = |body| BoxBody::new(Whole::of(body, asking));
            Ok::<_, Infallible>(answer.map(whole))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
