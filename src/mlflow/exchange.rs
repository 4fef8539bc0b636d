//! One request and what came back: at most 4 MiB of an answer kept, and a failure told in words that repeat no secret.
//!
//! Never redirected, never repeated. Knows no LoggedModel and no login, and does not decide whether to try again.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use url::Url;

use super::connection::authority;
use super::error::{StoreError, clean, innermost};
use super::scrub::Scrub;
use super::wire;

/// What is kept of an answer, after decompression.
pub(super) const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A 2xx answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// The server's own clock, where it says: no clock of this machine can be compared with times that a server gave.
    pub(super) date: Option<SystemTime>,
}

/// Sends a request, signed with `header`, and returns a 2xx answer. What a server says of a failure never
/// repeats what the request was signed with.
pub(super) async fn exchange(
    base: &Url,
    request: RequestBuilder,
    header: Option<&HeaderValue>,
) -> Result<Answer, StoreError> {
    let request = match header {
        Some(header) => request.header(AUTHORIZATION, header),
        None => request,
    };
    let response = request.send().await.map_err(|error| failed(base, &error))?;
    let status = response.status().as_u16();
    let location = text(response.headers(), LOCATION.as_str());
    let pause = text(response.headers(), RETRY_AFTER.as_str())
        .and_then(|text| retry_after(&text, SystemTime::now()));
    let date = text(response.headers(), DATE.as_str())
        .and_then(|text| httpdate::parse_http_date(text.trim()).ok());
    let body = body(base, response).await?;
    if (200..300).contains(&status) {
        return Ok(Answer { body, date });
    }
    let scrub = Scrub::of(header);
    let location = location.and_then(|location| scrub.place(&location, base));
    Err(match classify(status, location, &body, &scrub) {
        StoreError::Server {
            status, message, ..
        } => StoreError::Server {
            status,
            message,
            retry_after: pause,
        },
        // MLflow 3.17.2, `INVALID_HOST_MSG` of `mlflow/server/security_utils.py`.
        StoreError::Refused {
            status: 403,
            message,
        } if message.starts_with("Invalid Host header") => StoreError::HostRefused {
            host: authority(base),
        },
        other => other,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// `Retry-After` is a number of seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if is_number => RETRY_AFTER_MAX,
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

async fn body(base: &Url, mut response: Response) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(base, &error))?
    {
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(StoreError::InvalidAnswer(format!(
                "more than {} MiB",
                BODY_LIMIT / 1024 / 1024
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(base: &Url, error: &reqwest::Error) -> StoreError {
    if error.is_builder() {
        return StoreError::UnusableCredentials;
    }
    let url = base.as_str().trim_end_matches('/').to_owned();
    if error.is_timeout() {
        let cause = "timed out".to_owned();
        return StoreError::Unreachable { url, cause };
    }
    let cause = innermost(error);
    // The words of rustls 0.23 for what is wrong with the server's certificate, and with ours.
    let is_trust = cause.contains("invalid peer certificate")
        || cause.contains("fatal alert") && cause.contains("ertificate");
    if is_trust {
        StoreError::Certificate { url, cause }
    } else {
        StoreError::Unreachable { url, cause }
    }
}

pub(super) fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// What is shown of a refusal: known words, as the text may repeat a part of a password or token.
fn known_refusal(code: &str, message: &str) -> String {
    let mut known = REFUSALS.iter();
    let words = known.find(|words| code == **words || message.starts_with(**words));
    words
        .copied()
        .unwrap_or("its text is not shown, as it may repeat a token")
        .to_owned()
}

/// The code by which Databricks refuses a token that ended or was revoked.
pub(super) const INVALID_TOKEN: &str = "INVALID_ACCESS_TOKEN";
/// How refusals begin, or their `error_code`: MLflow 3.17.2 (`mlflow/server/auth/__init__.py`,
/// `mlflow/server/security_utils.py`), Databricks' REST API.
const REFUSALS: [&str; 10] = [
    "(a web page)",
    "You are not authenticated",
    "Permission denied",
    "Invalid Host header",
    "Cross-origin request blocked",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNAUTHORIZED",
    INVALID_TOKEN,
    "CUSTOMER_UNAUTHORIZED",
];

/// Returns what an answer outside 2xx means: by status first, as some answers of MLflow 3.17.2 are no JSON
/// (404 and 405 of unknown routes are HTML, 401 and 403 plain text), by `error_code` second.
fn classify(status: u16, location: Option<String>, body: &[u8], scrub: &Scrub) -> StoreError {
    let json: Option<wire::ErrorBody> = serde_json::from_slice(body).ok();
    let message = match &json {
        Some(error) => clean(&error.message),
        None if looks_like_html(body) => "(a web page)".to_owned(),
        None => clean(&String::from_utf8_lossy(body)),
    };
    let code = json.map_or_else(
        || "no error code".to_owned(),
        |error| clean(&error.error_code),
    );
    let shown = |text: &str| scrub.hide(text);
    match status {
        300..=399 => StoreError::Redirected {
            target: clean(&location.unwrap_or("an unnamed address".to_owned())),
        },
        401 | 403 | 407 => StoreError::Refused {
            status,
            message: known_refusal(&code, &message),
        },
        404 if code == "RESOURCE_DOES_NOT_EXIST" => StoreError::NotFound {
            message: shown(&message),
        },
        404 | 405 | 501 => StoreError::Unsuitable {
            reason: format!("the server has no LoggedModel API at this address (HTTP {status})"),
        },
        408 | 429 | 500.. => StoreError::Server {
            status,
            message: shown(&message),
            retry_after: None,
        },
        _ => StoreError::Rejected {
            status,
            message: shown(&message),
            code: if code == "RESOURCE_ALREADY_EXISTS" {
                code
            } else {
                shown(&code)
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_how_long_to_wait_in_seconds_or_until_when() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        let pause = |text| retry_after(text, now).map(|pause| pause.as_secs());
        assert_eq!(pause(" 7 "), Some(7));
        assert_eq!(pause("Mon, 23 Nov 2026 12:00:30 GMT"), Some(30));
        assert_eq!(pause("Mon, 23 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(pause("86400"), Some(3600));
        assert_eq!(pause("99999999999999999999999"), Some(3600));
        assert_eq!(pause("soon"), None);
        assert_eq!(pause("-5"), None);
    }

    #[test]
    fn statuses_come_before_error_codes() {
        let body = br#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"x"}"#;
        assert!(matches!(
            classify(404, None, body, &Scrub::of(None)),
            StoreError::NotFound { .. }
        ));
        assert!(matches!(
            classify(503, None, body, &Scrub::of(None)),
            StoreError::Server { .. }
        ));
        assert!(matches!(
            classify(404, None, br#"{"detail":"Not Found"}"#, &Scrub::of(None)),
            StoreError::Unsuitable { .. }
        ));
        assert!(matches!(
            classify(404, None, b"", &Scrub::of(None)),
            StoreError::Unsuitable { .. }
        ));
        assert!(matches!(
            classify(401, None, b"You are not authenticated", &Scrub::of(None)),
            StoreError::Refused { .. }
        ));
        assert!(matches!(
            classify(401, None, b"bad token: Bearer s3cretTok", &Scrub::of(None)),
            StoreError::Refused { message, .. } if !message.contains("s3cret")
        ));
        assert!(matches!(
            classify(403, None, br#"{"error_code":"PERMISSION_DENIED","message":"s3cretTok may not"}"#, &Scrub::of(None)),
            StoreError::Refused { message, .. } if message == "PERMISSION_DENIED"
        ));
        assert!(matches!(
            classify(429, None, b"", &Scrub::of(None)),
            StoreError::Server { .. }
        ));
        assert!(matches!(
            classify(400, None, b"{}", &Scrub::of(None)),
            StoreError::Rejected { .. }
        ));
    }
}
