//! Where a Databricks workspace is, and which login is configured for it: variables and profiles together.
//!
//! Reads Databricks' own files, and asks no server. The order of variables and profiles, the kinds of login and their names are
//! those of the Databricks SDK for Python 0.156.0 (`databricks/sdk/config.py`), which MLflow's client uses.

use std::path::{Path, PathBuf};

use url::Url;

use crate::fs_util::text_of;
use crate::mlflow::connection::{Access, AccessError, DatabricksPlace};
use crate::mlflow::credentials::Keys;
use crate::mlflow::error::clean;
use crate::mlflow::ini::{Percent, Section, sections};
use crate::mlflow::secret::Secret;

/// A login, as it is configured.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
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

/// What environment and profile say together.
pub(super) struct Configured<'a> {
    place: &'a DatabricksPlace,
    keys: &'a Keys,
    profile: Option<String>,
    section: Section,
    pub(super) file: PathBuf,
    /// False where the variables with secrets belong to another workspace.
    trusts_environment: bool,
}

impl<'a> Configured<'a> {
    pub(super) fn of(profile: Option<&str>, access: &'a Access) -> Result<Self, AccessError> {
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

    pub(super) fn value(&self, name: &str) -> Option<String> {
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

    pub(super) fn login(&self, base: &Url) -> Result<Kind, AccessError> {
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
    let text = text_of(file).unwrap_or_default();
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
    let text = text_of(file).unwrap_or_default();
    let is_there = |section: &Section| {
        let theirs = section.get("host");
        theirs.is_some_and(|theirs| normal(theirs) == normal(host))
    };
    let all = sections(&text, Percent::Plain).into_values();
    all.into_iter().find(is_there).unwrap_or_default()
}

/// `https://` where no scheme is given, no path: as the SDK reads a host, without a `?o=` copied along.
pub(super) fn address(host: &str) -> Result<Url, AccessError> {
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
