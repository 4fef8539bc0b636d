//! The resources of the socket: what a request asks for, and what it is refused for.
//!
//! Knows no worktree and no connection: the event loop has the answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{HOST, ORIGIN};
use hyper::{Method, StatusCode};
use tokio::sync::{mpsc, oneshot};

use super::bodies::{Answer, Lines, bad_request, body_answer, problem, refused, respond};
use super::{HEAD_TIMEOUT, Inside};
use crate::daemon::request::{Reply, Request};
use crate::protocol::{API, PathBody, STOPPING};

/// The largest request body.
const BODY_MAX: usize = 16 * 1024;
/// The longest time that a question may wait.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// Returns the answer to a request.
pub(super) async fn answer(request: hyper::Request<Incoming>, inside: &Inside) -> Answer {
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
            BoxBody::new(Lines::of(changes, permit)),
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
