//! What answers are made of: JSON in one piece or a line for each change, and problems in words.
//!
//! Decides no answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::CONTENT_TYPE;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::daemon::clients::Asking;
use crate::daemon::followers::{End, Followed};
use crate::daemon::request::Refusal;
use crate::protocol::{API, Problem, ProblemDetail};

/// An answer.
pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(super) fn refused(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::NotTracked(path) => problem(
            StatusCode::NOT_FOUND,
            "not_tracked",
            &format!("{} is not in a tracked worktree", path.display()),
            "tracemark up",
        ),
    }
}

pub(super) fn bad_request(message: &str) -> Answer {
    problem(
        StatusCode::BAD_REQUEST,
        "bad_request",
        message,
        "see docs/socket-api.md",
    )
}

pub(super) fn problem(status: StatusCode, code: &str, message: &str, hint: &str) -> Answer {
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

pub(super) fn respond<T: Serialize>(outcome: Result<T, Box<Answer>>) -> Answer {
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

pub(super) fn body_answer(
    status: StatusCode,
    kind: &'static str,
    body: BoxBody<Bytes, Infallible>,
) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// A body whose client asks something until all of it is sent.
pub(super) struct Whole {
    body: BoxBody<Bytes, Infallible>,
    _asking: Asking,
}

impl Whole {
    pub(super) fn of(body: BoxBody<Bytes, Infallible>, asking: Asking) -> Self {
        Self {
            body,
            _asking: asking,
        }
    }
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
pub(super) struct Lines {
    changes: mpsc::Receiver<Followed>,
    _permit: OwnedSemaphorePermit,
}

impl Lines {
    pub(super) fn of(changes: mpsc::Receiver<Followed>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            changes,
            _permit: permit,
        }
    }
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
