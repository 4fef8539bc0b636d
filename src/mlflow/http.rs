//! A server and who we are to it: requests are signed, and sent once more only where credentials were renewed.
//!
//! Knows no LoggedModel, and repeats nothing else: it says what came back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder};
use serde::de::DeserializeOwned;
use url::Url;

use super::connection::{Access, AccessError, authority, is_loopback};
use super::credentials::{Credentials, Keys};
use super::databricks::{Login, Workspace};
use super::error::{StoreError, clean};
use super::exchange::{Answer, INVALID_TOKEN, exchange, looks_like_html};
use super::secret::hidden;
use crate::locks::lock;

/// MLflow 3.17.2, `WORKSPACE_HEADER_NAME` of `mlflow/utils/workspace_utils.py`.
const WORKSPACE_HEADER: &str = "X-MLFLOW-WORKSPACE";
/// MLflow 3.17.2, `http_request` of `mlflow/utils/rest_utils.py`.
const ORGANISATION_HEADER: &str = "x-databricks-org-id";

/// A server and how to talk to it. Clones share one connection pool and what is known of credentials.
#[derive(Debug, Clone)]
pub(super) struct Http {
    base: Url,
    client: Client,
    signer: Arc<Signer>,
    allow_plain: bool,
    sent: Arc<AtomicU64>,
    /// By how many seconds the server's clock was ahead of ours in the last answer; none before the first.
    skew: Arc<Mutex<Option<i64>>>,
}

#[derive(Debug)]
enum Signer {
    Server {
        keys: Keys,
        seen: Vec<String>,
        /// A mutex because requests run side by side; held for a copy.
        known: Mutex<Option<Credentials>>,
    },
    Databricks {
        login: Box<Login>,
        seen: Vec<String>,
        file: PathBuf,
    },
}

impl Http {
    /// Returns the way to an MLflow server. Nothing is connected yet.
    pub(super) fn to_server(base: Url, access: &Access) -> Result<Self, AccessError> {
        let signer = Signer::Server {
            keys: access.keys.clone(),
            seen: access.connection.credentials_seen.clone(),
            known: Mutex::new(None),
        };
        let mut headers = HeaderMap::new();
        if let Some(workspace) = &access.connection.workspace {
            let value = HeaderValue::from_str(workspace).map_err(|_| AccessError::Workspace {
                workspace: clean(workspace),
            })?;
            headers.insert(WORKSPACE_HEADER, value);
        }
        Self::new(base, access, signer, headers)
    }

    /// Returns the way to the Databricks workspace of a profile. Nothing is connected yet.
    pub(super) fn to_databricks(
        profile: Option<&str>,
        access: &Access,
    ) -> Result<Self, AccessError> {
        let workspace = Workspace::find(profile, access)?;
        let mut headers = HeaderMap::new();
        if let Some(id) = workspace.id.as_deref().and_then(hidden) {
            headers.insert(ORGANISATION_HEADER, id);
        }
        let signer = Signer::Databricks {
            login: Box::new(workspace.login),
            seen: access.connection.credentials_seen.clone(),
            file: workspace.file,
        };
        Self::new(workspace.base, access, signer, headers)
    }

    fn new(
        base: Url,
        access: &Access,
        signer: Signer,
        headers: HeaderMap,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            client: access.connection.client(&base, headers)?,
            allow_plain: access.connection.allow_http_credentials,
            base,
            signer: Arc::new(signer),
            sent: Arc::default(),
            skew: Arc::default(),
        })
    }

    /// Returns how many requests were sent, by all clones together.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns by how many seconds the server's clock is ahead of ours, as far as an answer said: for people only.
    pub(super) fn skew(&self) -> Option<i64> {
        *lock(&self.skew)
    }

    /// Returns the server's address.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the address of a route: `parts` below the base, each segment percent-encoded.
    pub(super) fn url(&self, parts: &[&[&str]]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts.iter().copied().flatten());
        }
        url
    }

    /// Returns a request to a route.
    pub(super) fn request(&self, method: Method, parts: &[&[&str]]) -> RequestBuilder {
        self.request_to(method, self.url(parts))
    }

    /// Returns a request to an address made of [`Http::url`].
    pub(super) fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends and returns the JSON of a 2xx answer.
    pub(super) async fn call<A: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<A, StoreError> {
        self.call_dated(request).await.map(|(answer, _)| answer)
    }

    /// As [`Http::call`], with the server's own time.
    pub(super) async fn call_dated<A: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(A, Option<SystemTime>), StoreError> {
        let answer = self.send(request).await?;
        let parsed = serde_json::from_slice(&answer.body).map_err(|error| {
            if looks_like_html(&answer.body) {
                StoreError::Unsuitable {
                    reason: "the address answers with a web page, not with MLflow's API".into(),
                }
            } else {
                StoreError::InvalidAnswer(without_values(&error))
            }
        });
        parsed.map(|parsed| (parsed, answer.date))
    }

    /// Sends and returns a 2xx answer. Refused credentials are looked up again, and where they are others
    /// now the request is sent once more: a server that refuses them has done nothing.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, StoreError> {
        let again = request.try_clone();
        let header = self.header(None).await?;
        self.sent.fetch_add(1, Ordering::Relaxed);
        let answer = exchange(&self.base, request, header.as_ref()).await;
        self.note_clock(&answer);
        if !is_about_credentials(&answer) {
            return answer;
        }
        let renewed = self.header(header.as_ref()).await?;
        match again {
            Some(again) if renewed.is_some() && renewed != header => {
                self.sent.fetch_add(1, Ordering::Relaxed);
                let answer = exchange(&self.base, again, renewed.as_ref()).await;
                self.note_clock(&answer);
                answer
            }
            _ => answer,
        }
    }

    fn note_clock(&self, answer: &Result<Answer, StoreError>) {
        let Some(theirs) = answer.as_ref().ok().and_then(|answer| answer.date) else {
            return;
        };
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let skew = match theirs.duration_since(SystemTime::now()) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => -seconds(behind.duration()),
        };
        *lock(&self.skew) = Some(skew);
    }

    /// Returns what to sign with, looked up anew where it was `refused`.
    async fn header(
        &self,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, StoreError> {
        match &*self.signer {
            Signer::Server { keys, seen, known } => {
                let remembered = lock(known).clone();
                let found = match remembered.filter(|_| refused.is_none()) {
                    Some(remembered) => remembered,
                    None => keys.for_server(&authority(&self.base))?,
                };
                if found == Credentials::None && !seen.is_empty() {
                    return Err(self.not_here(keys, seen));
                }
                let header = found.header()?;
                self.check_way(header.is_some())?;
                *lock(known) = Some(found);
                Ok(header)
            }
            Signer::Databricks { login, seen, file } => {
                self.check_way(true)?;
                let header = login.header(&self.client, refused).await?;
                header.map(Some).ok_or_else(|| self.no_login(seen, file))
            }
        }
    }

    fn no_login(&self, seen: &[String], file: &Path) -> StoreError {
        let server = authority(&self.base);
        if seen.is_empty() {
            return StoreError::NoLogin { server };
        }
        StoreError::CredentialsNotHere {
            remedy: format!(
                "write a profile with host = {host} and token = … (or client_id and client_secret) into {file}",
                host = self.base.as_str().trim_end_matches('/'),
                file = file.display()
            ),
            seen: seen.join(", "),
            server,
        }
    }

    fn check_way(&self, has_credentials: bool) -> Result<(), StoreError> {
        let is_safe = self.base.scheme() == "https" || is_loopback(&self.base);
        if has_credentials && !is_safe && !self.allow_plain {
            return Err(StoreError::PlainHttp {
                server: authority(&self.base),
            });
        }
        Ok(())
    }

    fn not_here(&self, keys: &Keys, seen: &[String]) -> StoreError {
        let server = authority(&self.base);
        let names = if seen.iter().any(|name| name.ends_with("_TOKEN")) {
            "mlflow_tracking_token = …"
        } else {
            "mlflow_tracking_username = … and mlflow_tracking_password = …"
        };
        StoreError::CredentialsNotHere {
            remedy: format!(
                "write [{server}] and {names} into {file}, mode 0600",
                file = keys.file().display()
            ),
            seen: seen.join(", "),
            server,
        }
    }
}

/// What is wrong with an answer, without any value of it.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field") {
        clean(&text)
    } else {
        format!(
            "not the JSON that MLflow sends (line {}, column {})",
            error.line(),
            error.column()
        )
    }
}

/// Databricks answers 403 with a code of its own for a token that ended or was revoked.
fn is_about_credentials(answer: &Result<Answer, StoreError>) -> bool {
    match answer {
        Err(StoreError::Refused { status: 401, .. }) => true,
        Err(StoreError::Refused {
            status: 403,
            message,
        }) => message.starts_with(INVALID_TOKEN),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(address: &str, allowed: bool) -> Result<(), StoreError> {
        let mut access = Access::default();
        access.connection.allow_http_credentials = allowed;
        Http::to_server(Url::parse(address).unwrap(), &access)
            .unwrap()
            .check_way(true)
    }

    #[test]
    fn only_loopback_https_and_what_the_user_allows_get_a_token() {
        for safe in [
            "http://localhost:5000",
            "http://127.0.0.2",
            "http://[::1]:5000",
        ] {
            assert_eq!(way(safe, false), Ok(()), "{safe}");
        }
        for open in [
            "http://mlflow:5000",
            "http://10.0.0.1",
            "http://localhost.example",
        ] {
            assert!(
                matches!(way(open, false), Err(StoreError::PlainHttp { .. })),
                "{open}"
            );
            assert_eq!(way(open, true), Ok(()));
        }
    }
}
