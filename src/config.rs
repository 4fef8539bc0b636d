//! The settings of one worktree: the layers merged.
//!
//! User-private settings of a repository (made by `up`) beat the repository's own `.tracemark.toml`, which beats the
//! user's `config.toml`, which beats the defaults. The repository's file is data from strangers: what chooses a server
//! is never read from it. Reads no variable of a shell, and writes no file.

#[cfg(any(test, fuzzing))]
mod fuzz;
mod keys;
mod layer;
mod origin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::fs_util::PathError;
use crate::identity::Naming;
use crate::ids::ExperimentId;
use crate::mlflow::{Connection, ExperimentChoice};
use crate::retention::Retention;
use crate::text::with_unit;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
pub use keys::ConfigWarning;
use keys::Reader;
pub use layer::{ConnectionLayer, Create, EnvContents, Layer, StoreLayer};
pub use origin::{DEFAULT_FILE, Origin, Origins, Setting};

/// The name of the repository's own settings file.
pub const REPOSITORY_FILE: &str = ".tracemark.toml";
/// How long a worktree must be quiet before an uncommitted state gets its LoggedModel.
const DEFAULT_SETTLE: Duration = Duration::from_millis(500);
/// The longest `settle` that makes sense; longer is a mistyped unit.
const MAX_SETTLE: Duration = Duration::from_mins(1);

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A settings file cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// A settings file is not valid: syntax, an unknown key, a value of the wrong kind.
    #[error("{}: {message}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, with the place.
        message: String,
    },
}

/// The settings of one worktree, layers merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How LoggedModels are named.
    pub naming: Naming,
    /// The app's name as MLflow accepts it, `None` to derive it from the repository.
    pub app: Option<String>,
    /// When versions are created.
    pub create: Create,
    /// Quiet time before an unasked version.
    pub settle: Duration,
    /// What the env file carries.
    pub env: EnvContents,
    /// Whether `.tracemark/env` is kept in the worktree.
    pub env_copy: bool,
    /// The LoggedModel's `model_type`.
    pub model_type: Option<String>,
    /// Parameters of each new LoggedModel.
    pub params: BTreeMap<String, String>,
    /// Tells versions of the same code apart, where there are several.
    pub variant: Option<String>,
    /// The name of the version, whatever the code, where `tracemark pin` chose one.
    pub pin: Option<String>,
    /// The tracking URI as written, `None` for MLflow's default.
    pub store_uri: Option<String>,
    /// The experiment.
    pub experiment: ExperimentChoice,
    /// The id that an experiment chosen by name must have.
    pub experiment_id: Option<ExperimentId>,
    /// How the store is reached.
    pub connection: Connection,
    /// How much of the past is kept.
    pub retention: Retention,
}

impl Settings {
    /// Merges `private` over the repository's file at `root` over the user's file.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file and what is wrong in it.
    pub fn load(private: &Layer, root: &Path, user_file: &Path) -> Result<Self, ConfigError> {
        let repository_file = root.join(REPOSITORY_FILE);
        let repository = Layer::read(&repository_file, Reader::Repository)?.0;
        let user = Layer::read(user_file, Reader::User)?.0;
        let sources = [
            (
                private,
                Path::new("flags of `tracemark up` or MLFLOW_* and TRACEMARK_* variables"),
            ),
            (&repository, repository_file.as_path()),
            (&user, user_file),
        ];
        Ok(Self {
            naming: parsed(&sources, |layer| layer.naming.as_ref(), str::parse)?
                .unwrap_or_default(),
            app: parsed(&sources, |layer| layer.app.as_ref(), valid_app)?,
            create: first(&sources, |layer| layer.create.as_ref()).unwrap_or_default(),
            settle: parsed(&sources, |layer| layer.settle.as_ref(), duration)?
                .unwrap_or(DEFAULT_SETTLE),
            env: first(&sources, |layer| layer.env.as_ref()).unwrap_or_default(),
            env_copy: first(&sources, |layer| layer.env_copy.as_ref()).unwrap_or_default(),
            model_type: first(&sources, |layer| layer.model_type.as_ref()),
            params: merged_params(&sources),
            variant: private.variant.clone(),
            pin: private.pin.clone(),
            store_uri: first(&sources, |layer| layer.store.uri.as_ref()),
            experiment: experiment(&sources)?.0,
            experiment_id: experiment(&sources)?.1,
            connection: connection(private, &user),
            retention: retention(private, &user, user_file)?,
        })
    }
}

/// Each param of each layer, the upper layer's value where several name one.
fn merged_params(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let lowest_first = sources.iter().rev();
    lowest_first
        .flat_map(|(layer, _)| layer.params.clone())
        .collect()
}

type Sources<'a> = [(&'a Layer, &'a Path); 3];

fn first<T: Clone>(sources: &Sources<'_>, get: impl Fn(&Layer) -> Option<&T>) -> Option<T> {
    sources.iter().find_map(|(layer, _)| get(layer).cloned())
}

fn parsed<T>(
    sources: &Sources<'_>,
    get: impl Fn(&Layer) -> Option<&String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let found = sources
        .iter()
        .find_map(|(layer, file)| get(layer).map(|text| (text, *file)));
    found
        .map(|(text, file)| {
            parse(text).map_err(|message| ConfigError::Invalid {
                file: file.to_owned(),
                message,
            })
        })
        .transpose()
}

/// What is kept for the repository comes first, as long as it is about the same server.
fn connection(private: &Layer, user: &Layer) -> Connection {
    let user = if private.store.is_of_another_than(&user.store) {
        ConnectionLayer::default()
    } else {
        user.store.connection.clone()
    };
    private.store.connection.clone().or(user).into_connection()
}

/// A repository's file has no say in what is kept on this machine.
fn retention(private: &Layer, user: &Layer, file: &Path) -> Result<Retention, ConfigError> {
    let snapshots = private.snapshots.clone().or(user.snapshots.clone());
    let gc = private.gc.clone().or(user.gc.clone());
    Retention::of(&snapshots, &gc).map_err(|message| ConfigError::Invalid {
        file: file.to_owned(),
        message,
    })
}

/// MLflow 3.17.2, `MAX_EXPERIMENT_NAME_LENGTH` of `mlflow/utils/validation.py`.
const EXPERIMENT_NAME_MAX: usize = 500;

/// The name wins over the id within a layer, and an id beside it must be that of the name, as in MLflow's client
/// (3.17.2, `_get_experiment_id_from_env` of `mlflow/tracking/fluent.py`).
fn experiment(
    sources: &Sources<'_>,
) -> Result<(ExperimentChoice, Option<ExperimentId>), ConfigError> {
    for (layer, file) in sources {
        let invalid = |message: String| ConfigError::Invalid {
            file: file.to_path_buf(),
            message,
        };
        let id = layer.store.experiment_id.as_ref().map(|id| {
            let id = id.trim().parse::<ExperimentId>();
            id.map_err(|error| invalid(error.to_string()))
        });
        let id = id.transpose()?;
        if let Some(name) = &layer.store.experiment {
            let length = name.chars().count();
            if length > EXPERIMENT_NAME_MAX {
                return Err(invalid(format!(
                    "an experiment's name has at most {EXPERIMENT_NAME_MAX} characters, this one {length}"
                )));
            }
            return Ok((ExperimentChoice::Name(name.clone()), id));
        }
        if let Some(id) = id {
            return Ok((ExperimentChoice::Id(id), None));
        }
    }
    Ok((ExperimentChoice::Default, None))
}

fn valid_app(text: &str) -> Result<String, String> {
    let app = crate::identity::sanitize_app(text);
    if app.is_empty() {
        Err("app is empty".to_owned())
    } else {
        Ok(app)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    with_unit(text, &[("ms", 1), ("s", 1000)])
        .map(Duration::from_millis)
        .filter(|duration| *duration <= MAX_SETTLE)
        .ok_or_else(|| {
            let text = text.trim();
            format!("settle {text:?} is not a time of at most 60s such as 500ms or 2s")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(private: &Layer, repository: &str, user: &str) -> Result<Settings, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let user_file = dir.path().join("config.toml");
        std::fs::write(dir.path().join(REPOSITORY_FILE), repository).unwrap();
        std::fs::write(&user_file, user).unwrap();
        Settings::load(private, dir.path(), &user_file)
    }

    #[test]
    fn private_settings_beat_the_repository_which_beats_the_user() {
        let private = Layer {
            app: Some("mine".into()),
            ..Layer::default()
        };
        let settings = load(
            &private,
            "app = 'theirs'\nnaming = 'tree'",
            "naming = 'commit'\nsettle = '2s'",
        )
        .unwrap();
        assert_eq!(settings.app.as_deref(), Some("mine"));
        assert_eq!(settings.naming, Naming::Tree);
        assert_eq!(settings.settle, Duration::from_secs(2));
    }

    #[test]
    fn an_experiment_is_chosen_as_mlflow_reads_it() {
        let of = |name: Option<String>, id: &str| {
            let mut private = Layer::default();
            private.store.experiment = name;
            private.store.experiment_id = Some(id.to_owned());
            load(&private, "", "")
        };
        let chosen = of(None, " 1").unwrap().experiment;
        assert_eq!(chosen, ExperimentChoice::Id("1".parse().unwrap()));
        assert!(of(Some("n".repeat(500)), "1").is_ok());
        assert!(of(Some("n".repeat(501)), "1").is_err());
    }

    #[test]
    fn a_repository_never_chooses_the_server() {
        let settings = load(
            &Layer::default(),
            "[store]\nuri = 'http://evil.example'",
            "",
        )
        .unwrap();
        assert_eq!(settings.store_uri, None);
    }

    #[test]
    fn params_of_all_layers_count_and_may_be_numbers() {
        let private = Layer {
            params: BTreeMap::from([("llm".into(), "mine".into())]),
            ..Layer::default()
        };
        let settings = load(
            &private,
            "[params]\nllm = 'theirs'\ntemperature = 0.7\ntop = 3\nstream = true\nscale = 1.0",
            "",
        )
        .unwrap();
        let expected = [
            ("llm", "mine"),
            ("scale", "1.0"),
            ("stream", "true"),
            ("temperature", "0.7"),
            ("top", "3"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(settings.params, BTreeMap::from(expected));
    }

    #[test]
    fn a_repository_pins_nothing() {
        let settings = load(&Layer::default(), "pin = 'x'\nvariant = 'y'", "").unwrap();
        assert_eq!((settings.pin, settings.variant), (None, None));
    }

    #[test]
    fn a_mistyped_key_is_left_out_and_a_value_of_the_wrong_kind_is_an_error() {
        let settings = load(&Layer::default(), "namming = 'tree'", "env_copy = true").unwrap();
        assert!(settings.env_copy && settings.naming == Naming::GitHash);
        let error = load(&Layer::default(), "env_copy = 3", "").unwrap_err();
        assert!(error.to_string().contains(REPOSITORY_FILE), "{error}");
    }

    #[test]
    fn a_repository_has_no_say_in_what_is_kept_on_this_machine() {
        let file = "[snapshots]\nenabled = false\n[gc]\nkeep = '1s'";
        let settings = load(&Layer::default(), file, "").unwrap();
        assert_eq!(
            settings.retention,
            load(&Layer::default(), "", "").unwrap().retention
        );
    }
}
