//! Who we are in a Databricks workspace: personal access tokens, OAuth of service principals and of people. Runs Databricks'
//! command line; keeps tokens in memory only.
//!
//! Knows no variable and no file of profiles: `profile` reads them. Tokens are fetched as the Databricks SDK for Python 0.156.0
//! does (`databricks/sdk/credentials_provider.py`, `oauth.py`), which MLflow's client uses.

mod profile;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderValue;
use reqwest::{Client, Method};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::connection::{Access, AccessError};
use super::credentials::basic;
use super::error::{StoreError, clean};
use super::exchange::exchange;
use super::secret::Secret;
pub use profile::workspace_address;
use profile::{Configured, Kind, address};

/// A token is renewed that long before it expires, or when half of a shorter life is over.
const EARLY: Duration = Duration::from_mins(5);
/// How long the command line may take.
const CLI_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a token of unknown life is taken to live; one that is refused is renewed at once.
const UNKNOWN_LIFE: Duration = Duration::from_mins(10);

/// A workspace and how to log in there.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) base: Url,
    /// Its id, sent as `x-databricks-org-id`.
    pub(super) id: Option<String>,
    pub(super) login: Login,
    /// The file of profiles.
    pub(super) file: PathBuf,
}

/// How requests are signed.
#[derive(Debug)]
pub(super) struct Login {
    /// Where the login is looked for again when it was refused, or is not there yet.
    profile: Option<String>,
    access: Access,
    base: Url,
    /// A mutex so that requests side by side get one token; held while it is fetched.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    kind: Kind,
    token: Option<Token>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    renew_at: SystemTime,
}

impl Workspace {
    /// Finds the workspace of a profile, or that of the environment.
    pub(super) fn find(profile: Option<&str>, access: &Access) -> Result<Self, AccessError> {
        let found = Configured::of(profile, access)?;
        let host = found.value("host").ok_or_else(|| AccessError::NoHost {
            file: found.file.clone(),
        })?;
        let base = address(&host)?;
        let kind = found.login(&base)?;
        let id = found
            .value("workspace_id")
            .filter(|id| id.bytes().all(|b| b.is_ascii_digit()));
        Ok(Self {
            id,
            login: Login {
                profile: profile.map(str::to_owned),
                access: access.clone(),
                base: base.clone(),
                state: Mutex::new(State { kind, token: None }),
            },
            base,
            file: found.file,
        })
    }
}

/// What a token endpoint (RFC 6749, section 5.1) or `databricks auth token` answers.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl TokenAnswer {
    fn into_token(self, now: SystemTime) -> Result<Token, StoreError> {
        let life = self.expires_in.map_or(UNKNOWN_LIFE, Duration::from_secs);
        let early = EARLY.min(life / 2);
        let header = Secret::new(self.access_token).bearer();
        Ok(Token {
            header: header.ok_or(StoreError::UnusableCredentials)?,
            renew_at: now + life.saturating_sub(early),
        })
    }
}

impl Login {
    /// Returns the header to sign with, `None` where nothing says who we are; one that was `refused` is replaced where
    /// that can be done.
    pub(super) async fn header(
        &self,
        client: &Client,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, StoreError> {
        let mut state = self.state.lock().await;
        if refused.is_some() || state.kind == Kind::Nothing {
            self.look_again(&mut state);
        }
        if let Some(good) = state.good_token(refused) {
            return Ok(Some(good));
        }
        let fresh = match &state.kind {
            Kind::Nothing => return Ok(None),
            Kind::Token(token) => return usable(token.bearer()),
            Kind::Basic { user, password } => return usable(basic(user, password)),
            Kind::ServicePrincipal { url, id, secret } => {
                fetch_token(client, url, id, secret).await?
            }
            Kind::CommandLine { program, arguments } => run(program, arguments).await?,
        };
        let fresh = fresh.into_token(SystemTime::now())?;
        let header = fresh.header.clone();
        state.token = Some(fresh);
        Ok(Some(header))
    }

    fn look_again(&self, state: &mut State) {
        let found = Configured::of(self.profile.as_deref(), &self.access)
            .and_then(|found| found.login(&self.base));
        if let Ok(kind) = found
            && kind != state.kind
        {
            *state = State { kind, token: None };
        }
    }
}

impl State {
    fn good_token(&self, refused: Option<&HeaderValue>) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        let is_good = token.renew_at > SystemTime::now() && Some(&token.header) != refused;
        is_good.then(|| token.header.clone())
    }
}

fn usable(header: Option<HeaderValue>) -> Result<Option<HeaderValue>, StoreError> {
    header.map(Some).ok_or(StoreError::UnusableCredentials)
}

/// The client credentials grant (RFC 6749, section 4.4) with the scope that Databricks documents.
async fn fetch_token(
    client: &Client,
    url: &Url,
    id: &Secret,
    secret: &Secret,
) -> Result<TokenAnswer, StoreError> {
    let header = basic(id, secret).ok_or(StoreError::UnusableCredentials)?;
    let request = client
        .request(Method::POST, url.clone())
        .header(
            reqwest::header::CONTENT_TYPE,
            "application/x-www-form-urlencoded",
        )
        .body("grant_type=client_credentials&scope=all-apis");
    let answer = exchange(url, request, Some(&header)).await?;
    // What serde says of a wrong answer may quote it.
    serde_json::from_slice(&answer.body).map_err(|_| {
        StoreError::InvalidAnswer("the Databricks token endpoint sent no token".to_owned())
    })
}

async fn run(program: &Path, arguments: &[String]) -> Result<TokenAnswer, StoreError> {
    let failed = |cause: String| StoreError::Login {
        cause: clean(&cause),
    };
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(CLI_TIMEOUT, output)
        .await
        .map_err(|_| failed(format!("no answer for {} s", CLI_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            words
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no message")
                .to_owned(),
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|_| failed("it printed no token".to_owned()))
}
