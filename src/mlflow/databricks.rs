//! Where a Databricks workspace is and who we are there: profiles, personal access tokens, OAuth of service principals
//! and of people. Reads Databricks' own files and runs its command line; keeps tokens in memory only.
//!
//! The order of variables and profiles, the kinds of login and their names are those of the Databricks SDK for Python
//! 0.156.0 (`databricks/sdk/config.py`, `credentials_provider.py`, `oauth.py`), which MLflow's client uses.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderValue;
use reqwest::{Client, Method};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::connection::{Access, AccessError, DatabricksPlace};
use super::credentials::{Keys, basic};
use super::error::{StoreError, clean};
use super::exchange::exchange;
use super::ini::{Percent, Section, sections};
use super::secret::Secret;

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

#[derive(Debug, PartialEq)]
enum Kind {
    Nothing,
    Token(Secret),
    Basic {
        user: Secret,
        password: Secret,
    },
    ServicePrincipal {
        url: Url,
        id: Secret,
        secret: Secret,
    },
    CommandLine {
        program: PathBuf,
        arguments: [String; 4],
    },
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    renew_at: SystemTime,
}

impl Workspace {
    /// Finds the workspace of a profile, or that of the environment.
    pub(super) fn find(profile: Option<&str>, access: &Access) -> Result<Self, AccessError> {
        let found = Found::of(profile, access)?;
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

/// What environment and profile say together.
struct Found<'a> {
    place: &'a DatabricksPlace,
    keys: &'a Keys,
    profile: Option<String>,
    section: Section,
    file: PathBuf,
    /// False where the variables with secrets belong to another workspace.
    trusts_environment: bool,
}

impl<'a> Found<'a> {
    fn of(profile: Option<&str>, access: &'a Access) -> Result<Self, AccessError> {
        let place = &access.connection.databricks;
        let keys = &access.keys;
        let file = file_of(place, keys);
        let wanted = profile.map(str::to_owned).or_else(|| place.profile.clone());
        // Where the environment says where, the SDK opens the file only for a profile that is asked for. A daemon may
        // know where and lack who: then the profile of that very workspace says it.
        let (profile, section) = match (&wanted, &place.host) {
            (None, Some(host)) => (None, section_at(host, &file)),
            _ => section_of(wanted, &file)?,
        };
        let host = place.host.as_ref().or_else(|| section.get("host"));
        let ours = host.and_then(|host| address(host).ok());
        let (their_profile, theirs) = place_of_environment(keys);
        let theirs = workspace_address(their_profile.as_deref(), &theirs, keys);
        let trusts_environment = ours.is_some() && ours == theirs;
        Ok(Self {
            place,
            keys,
            profile,
            section,
            file,
            trusts_environment,
        })
    }

    fn value(&self, name: &str) -> Option<String> {
        let from_place = match name {
            "host" => self.place.host.clone(),
            "auth_type" => self.place.auth_type.clone(),
            _ => None,
        };
        from_place.or_else(|| self.section.get(name).cloned())
    }

    /// A variable beats the profile.
    fn secret(&self, variable: &str, name: &str) -> Option<Secret> {
        let in_environment = self
            .keys
            .variable(variable)
            .filter(|_| self.trusts_environment);
        in_environment
            .cloned()
            .or_else(|| self.section.get(name).map(Secret::new))
    }

    fn login(&self, base: &Url) -> Result<Kind, AccessError> {
        let token = self.secret("DATABRICKS_TOKEN", "token").map(Kind::Token);
        let basic = self
            .secret("DATABRICKS_USERNAME", "username")
            .zip(self.secret("DATABRICKS_PASSWORD", "password"))
            .map(|(user, password)| Kind::Basic { user, password });
        let principal = self
            .secret("DATABRICKS_CLIENT_ID", "client_id")
            .zip(self.secret("DATABRICKS_CLIENT_SECRET", "client_secret"))
            .map(|(id, secret)| Kind::ServicePrincipal {
                url: token_endpoint(base),
                id,
                secret,
            });
        let configured = [("pat", token), ("basic", basic), ("oauth-m2m", principal)];
        match self.value("auth_type").as_deref() {
            None => self.only_one(configured),
            Some("databricks-cli") => Ok(self.command_line().unwrap_or(Kind::Nothing)),
            Some(kind) => configured
                .into_iter()
                .find(|(name, _)| *name == kind)
                .map(|(_, login)| login.unwrap_or(Kind::Nothing))
                .ok_or_else(|| AccessError::Login { kind: clean(kind) }),
        }
    }

    fn only_one(&self, configured: [(&'static str, Option<Kind>); 3]) -> Result<Kind, AccessError> {
        let mut there: Vec<_> = configured
            .into_iter()
            .filter_map(|(name, login)| Some((name, login?)))
            .collect();
        if there.len() > 1 {
            let names: Vec<_> = there.iter().map(|(name, _)| *name).collect();
            return Err(AccessError::Logins {
                kinds: names.join(" and "),
            });
        }
        Ok(there
            .pop()
            .map(|(_, login)| login)
            .or_else(|| self.command_line())
            .unwrap_or(Kind::Nothing))
    }

    /// `databricks auth token`, where the command is installed: the login of a person (`databricks auth login`).
    fn command_line(&self) -> Option<Kind> {
        let in_profile = || self.section.get("databricks_cli_path").map(PathBuf::from);
        let given = self.place.command_line.clone().or_else(in_profile);
        let program = given.or_else(|| {
            let dirs = std::env::var_os("PATH")?;
            std::env::split_paths(&dirs)
                .map(|dir| dir.join("databricks"))
                .find(|program| program.is_file())
        })?;
        let of_whom = match &self.profile {
            Some(profile) => ["--profile".to_owned(), profile.clone()],
            None => ["--host".to_owned(), self.value("host")?],
        };
        let [flag, value] = of_whom;
        Some(Kind::CommandLine {
            program,
            arguments: ["auth".to_owned(), "token".to_owned(), flag, value],
        })
    }
}

/// Returns the address of the workspace that a profile, or `place`, leads to; `None` where they lead nowhere.
pub fn workspace_address(
    profile: Option<&str>,
    place: &DatabricksPlace,
    keys: &Keys,
) -> Option<Url> {
    if let Some(host) = &place.host {
        return address(host).ok();
    }
    let wanted = profile.map(str::to_owned).or_else(|| place.profile.clone());
    let (_, section) = section_of(wanted, &file_of(place, keys)).ok()?;
    section.get("host").and_then(|host| address(host).ok())
}

/// Returns the profile and the place of the Databricks workspace that the environment's own variables belong to.
fn place_of_environment(keys: &Keys) -> (Option<String>, DatabricksPlace) {
    let text = |name: &str| {
        let found = keys.variable(name);
        found.map(|value| value.expose().to_owned())
    };
    let uri = text("MLFLOW_TRACKING_URI");
    let profile = uri.and_then(|uri| Some(uri.strip_prefix("databricks://")?.to_owned()));
    let place = DatabricksPlace {
        host: text("DATABRICKS_HOST"),
        profile: text("DATABRICKS_CONFIG_PROFILE"),
        config_file: text("DATABRICKS_CONFIG_FILE").map(PathBuf::from),
        ..DatabricksPlace::default()
    };
    (profile.filter(|profile| !profile.is_empty()), place)
}

/// Returns the file of profiles.
fn file_of(place: &DatabricksPlace, keys: &Keys) -> PathBuf {
    let given = place.config_file.clone();
    given
        .or_else(|| keys.in_home(".databrickscfg"))
        .unwrap_or_default()
}

/// Returns the profile's name and values; without a name that of `[__settings__] default_profile`, else `DEFAULT`.
fn section_of(
    wanted: Option<String>,
    file: &Path,
) -> Result<(Option<String>, Section), AccessError> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut all = sections(&text, Percent::Plain);
    let settings = all.remove("__settings__").unwrap_or_default();
    let named = wanted.or_else(|| settings.get("default_profile").cloned());
    let Some(name) = named else {
        return Ok((None, all.remove("DEFAULT").unwrap_or_default()));
    };
    match all.remove(&name) {
        Some(section) => Ok((Some(name), section)),
        None => Err(AccessError::NoProfile {
            profile: clean(&name),
            file: file.to_owned(),
        }),
    }
}

/// Returns the values of the first profile for a workspace, the login of the environment aside.
fn section_at(host: &str, file: &Path) -> Section {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let is_there = |section: &Section| {
        let theirs = section.get("host");
        theirs.is_some_and(|theirs| normal(theirs) == normal(host))
    };
    let all = sections(&text, Percent::Plain).into_values();
    all.into_iter().find(is_there).unwrap_or_default()
}

/// `https://` where no scheme is given, no path: as the SDK reads a host, without a `?o=` copied along.
fn address(host: &str) -> Result<Url, AccessError> {
    let invalid = |cause: &str| AccessError::Host {
        cause: clean(cause),
    };
    let mut url = Url::parse(&normal(host)).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid("it is not https://HOST"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it holds a user name or password"));
    }
    url.set_query(None);
    url.set_fragment(None);
    url.set_path("");
    Ok(url)
}

fn normal(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.contains("://") {
        host.to_owned()
    } else {
        format!("https://{host}")
    }
}

/// The workspace-level token endpoint as Databricks documents it ("Authorize service principal access with OAuth").
fn token_endpoint(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_path("/oidc/v1/token");
    url
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
        let found = Found::of(self.profile.as_deref(), &self.access)
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
