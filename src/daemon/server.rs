//! HTTP/1.1 on the local socket: accepts, checks who asks, bounds sizes and times, and turns requests into
//! [`Request`]s.
//!
//! Knows no worktree: the event loop has the answers. Remembers nothing of a client but that it is connected.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HOST, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::clients::{Asking, Client, Clients};
use super::followers::{End, Followed};
use super::request::{Refusal, Reply, Request};
use crate::protocol::{API, PathBody, Problem, ProblemDetail, STOPPING};

/// How many clients are served at a time; for more, those go that ask nothing.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send a request's head, and then its body.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest request head.
const HEAD_MAX: usize = 16 * 1024;
/// The largest request body.
const BODY_MAX: usize = 16 * 1024;
/// The longest time that a question may wait.
const WAIT_MAX: Duration = Duration::from_mins(5);
/// After one that could not be accepted, as where descriptors are out (accept(2)): long enough not to spin, short beside any deadline.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is told that other users try to connect.
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// How many clients may follow a worktree at a time, fewer than are served: whoever follows holds a connection for as long as it likes.
const FOLLOWERS_MAX: usize = 256;

type Answer = Response<BoxBody<Bytes, Infallible>>;

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
            let answer = answer(request, &inside).await;
            let whole = |body| {
                BoxBody::new(Whole {
                    body,
                    _asking: asking,
                })
            };
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

async fn answer(request: hyper::Request<Incoming>, inside: &Inside) -> Answer {
    let requests = &inside.requests;
    if let Some(refused) = foreign(&request) {
        return refused;
    }
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let route = (request.method().clone(), request.uri().path().to_owned());
    match (&route.0, route.1.as_str()) {
        (&Method::GET, "/v1/active") => active(&query, requests).await,
        (&Method::GET, "/v1/events") => events(&query, inside).await,
        (&Method::GET, "/v1/status") => {
            respond(ask(requests, |reply| Request::Status { reply }).await)
        }
        (&Method::POST, "/v1/worktrees") => {
            act(request, requests, |path, reply| Request::Track {
                path,
                reply,
            })
            .await
        }
        (&Method::DELETE, "/v1/worktrees") => {
            act(request, requests, |_, reply| Request::Untrack { reply }).await
        }
        (&Method::POST, "/v1/touch") => {
            act(request, requests, |path, reply| Request::Touch {
                path,
                reply,
            })
            .await
        }
        _ => problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such resource",
            "see GET /v1/status, /v1/active, /v1/events",
        ),
    }
}

/// A browser must not reach the socket through a bridge: no `Origin`, and a `Host` that only a local client sends.
fn foreign(request: &hyper::Request<Incoming>) -> Option<Answer> {
    let refuse = |what: &str| {
        problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            what,
            "curl --unix-socket SOCKET http://localhost/v1/status",
        )
    };
    if request.headers().contains_key(ORIGIN) {
        return Some(refuse("requests with an Origin header are refused"));
    }
    if request.uri().authority().is_some() {
        return Some(refuse(
            "requests that name a server in their path are refused",
        ));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_local = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_localhost(host.as_bytes()),
        _ => false,
    };
    (!is_local).then(|| refuse("the Host header must be localhost, once"))
}

/// `localhost`, also with a port.
fn is_localhost(host: &[u8]) -> bool {
    let Some(rest) = host.strip_prefix(b"localhost") else {
        return false;
    };
    let port = rest.strip_prefix(b":");
    rest.is_empty() || port.is_some_and(|port| port.iter().all(u8::is_ascii_digit))
}

async fn active(query: &HashMap<String, String>, requests: &mpsc::Sender<Request>) -> Answer {
    let (path, wait) = match (worktree_of(query).await, wait_of(query)) {
        (Ok(path), Ok(wait)) => (path, wait),
        (Err(refused), _) | (_, Err(refused)) => return *refused,
    };
    let deadline = Instant::now() + wait;
    let full = query.get("full").is_some_and(|full| full == "1");
    respond(
        ask(requests, |reply| Request::Active {
            path,
            deadline,
            full,
            reply,
        })
        .await,
    )
}

async fn events(query: &HashMap<String, String>, inside: &Inside) -> Answer {
    let Ok(permit) = Arc::clone(&inside.followers).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_followers",
            "too many clients follow already",
            "end some of them, or ask GET /v1/active",
        );
    };
    let path = match worktree_of(query).await {
        Ok(path) => path,
        Err(refused) => return *refused,
    };
    match ask(&inside.requests, |reply| Request::Follow { path, reply }).await {
        Ok(changes) => body_answer(
            StatusCode::OK,
            "application/x-ndjson",
            BoxBody::new(Lines {
                changes,
                _permit: permit,
            }),
        ),
        Err(refused) => *refused,
    }
}

async fn act(
    request: hyper::Request<Incoming>,
    requests: &mpsc::Sender<Request>,
    make: impl FnOnce(PathBuf, Reply<()>) -> Request,
) -> Answer {
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    let Ok(Ok(body)) = tokio::time::timeout(HEAD_TIMEOUT, body).await else {
        return bad_request("the body is too large, too slow or was cut off");
    };
    let path = match serde_json::from_slice::<PathBody>(&body.to_bytes()) {
        Ok(PathBody { path }) => PathBuf::from(path),
        Err(_) => return bad_request("the body is not {\"path\": \"/absolute/path\"}"),
    };
    if !path.is_absolute() {
        return bad_request("path is not absolute");
    }
    let path = resolved(path).await;
    let done = ask(requests, |reply| make(path, reply)).await;
    respond(done.map(|()| serde_json::json!({"api": API, "version": env!("CARGO_PKG_VERSION")})))
}

async fn worktree_of(query: &HashMap<String, String>) -> Result<PathBuf, Box<Answer>> {
    let path = query.get("worktree").map(PathBuf::from);
    match path.filter(|path| path.is_absolute()) {
        Some(path) => Ok(resolved(path).await),
        None => Err(Box::new(bad_request("worktree=/absolute/path is missing"))),
    }
}

fn wait_of(query: &HashMap<String, String>) -> Result<Duration, Box<Answer>> {
    let Some(text) = query.get("wait") else {
        return Ok(Duration::ZERO);
    };
    text.parse()
        .map(|ms| Duration::from_millis(ms).min(WAIT_MAX))
        .map_err(|_| Box::new(bad_request("wait is not a number of milliseconds")))
}

async fn resolved(path: PathBuf) -> PathBuf {
    let given = path.clone();
    tokio::task::spawn_blocking(move || canonical(&path))
        .await
        .unwrap_or(given)
}

/// Resolves symbolic links in the part of a path that exists.
fn canonical(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|ancestor| {
        let real = ancestor.canonicalize().ok()?;
        let rest = path.strip_prefix(ancestor).ok()?;
        Some(if rest.as_os_str().is_empty() {
            real
        } else {
            real.join(rest)
        })
    });
    existing.unwrap_or_else(|| path.to_owned())
}

async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    make: impl FnOnce(Reply<T>) -> Request,
) -> Result<T, Box<Answer>> {
    let (reply, answer) = oneshot::channel();
    let stopping = || {
        Box::new(problem(
            StatusCode::SERVICE_UNAVAILABLE,
            STOPPING,
            "the daemon is stopping",
            "tracemark up",
        ))
    };
    if requests.send(make(reply)).await.is_err() {
        return Err(stopping());
    }
    match answer.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(Box::new(refused(&refusal))),
        Err(_) => Err(stopping()),
    }
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::NotTracked(path) => problem(
            StatusCode::NOT_FOUND,
            "not_tracked",
            &format!("{} is not in a tracked worktree", path.display()),
            "tracemark up",
        ),
    }
}

fn bad_request(message: &str) -> Answer {
    problem(
        StatusCode::BAD_REQUEST,
        "bad_request",
        message,
        "see docs/socket-api.md",
    )
}

fn problem(status: StatusCode, code: &str, message: &str, hint: &str) -> Answer {
    json(status, &problem_of(code, message, hint))
}

fn line_told(told: &Followed) -> Bytes {
    let again = "ask again: the first line is the state then";
    match told {
        Followed::State(active) => line_of(active),
        Followed::End(End::TooSlow) => {
            let message = "this follower does not read its lines and is told no more";
            line_of(&problem_of("too_slow", message, again))
        }
        Followed::End(End::Over) => {
            let message = "the worktree is no longer tracked, or the daemon ends";
            line_of(&problem_of("over", message, again))
        }
    }
}

fn problem_of(code: &str, message: &str, hint: &str) -> Problem {
    Problem {
        api: API,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        error: ProblemDetail {
            code: code.to_owned(),
            message: message.to_owned(),
            hint: hint.to_owned(),
        },
    }
}

fn respond<T: Serialize>(outcome: Result<T, Box<Answer>>) -> Answer {
    match outcome {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refused) => *refused,
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let text = line_of(value);
    body_answer(status, "application/json", BoxBody::new(Full::new(text)))
}

fn line_of<T: Serialize>(value: &T) -> Bytes {
    let text = serde_json::to_string(value).unwrap_or_default();
    Bytes::from(crate::text::json_plain(&text) + "\n")
}

fn body_answer(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// A body whose client asks something until all of it is sent.
struct Whole {
    body: BoxBody<Bytes, Infallible>,
    _asking: Asking,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The changes of a worktree as a body, one JSON object a line.
struct Lines {
    changes: mpsc::Receiver<Followed>,
    _permit: OwnedSemaphorePermit,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.changes
            .poll_recv(context)
            .map(|told| told.map(|told| Ok(Frame::data(line_told(&told)))))
    }
}
