//! The command line: names, flags and help.
//!
//! Carries nothing out, and looks at no file: what words mean here and now, the commands say.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help text that people see"
)]

mod pages;
mod usage;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::identity::Naming;
pub use usage::WrongUsage;

/// How long a question waits for its answer, in seconds.
const TIMEOUT: u64 = 10;

/// Links every MLflow trace to the exact code that made it, with no line in the app.
#[derive(Debug, Parser)]
#[command(
    name = "tracemark",
    version,
    arg_required_else_help = true,
    before_help = "Begin with:\n  tracemark up                        in the repository of your app\n  tracemark exec -- python app.py     runs the app linked to its code",
    after_help = "Exit codes: 0 done, 1 negative answer, 2 usage, 3 configuration, 4 not a repository or not tracked, 5 no daemon,\n6 store unreachable or refused, 70 a bug"
)]
pub struct Cli {
    /// The daemon's socket, instead of looking for it
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the words that follow the program's name; ends the process where they ask for help.
    ///
    /// # Errors
    /// [`WrongUsage`] where they make no sense.
    pub fn read(words: &[OsString]) -> Result<Self, WrongUsage> {
        if let Some(cli) = Self::read_at_once(words) {
            return Ok(cli);
        }
        let program = OsString::from("tracemark");
        Self::try_parse_from([&program].into_iter().chain(words))
            .map_err(|error| WrongUsage::of(&error, words).unwrap_or_else(|| error.exit()))
    }

    /// What scripts and prompts run often, without the definitions of all commands, which take longer to make than it to run.
    fn read_at_once(arguments: &[OsString]) -> Option<Self> {
        let [command] = arguments else { return None };
        let command = match command.to_str()? {
            "hash" => Command::Hash(HashArgs::default()),
            "active" => Command::Active(ActiveArgs::default()),
            "prompt" => Command::Prompt,
            _ => return None,
        };
        Some(Self {
            socket: None,
            command,
        })
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Track this repository: checks, hooks, daemon, first version
    #[command(
        before_help = "Example:\n  tracemark up --store http://localhost:5000 --experiment support"
    )]
    Up(UpArgs),
    /// Stop tracking this repository and take everything back
    #[command(
        before_help = "Example:\n  tracemark down --purge     everything that tracemark ever wrote on this machine"
    )]
    Down(DownArgs),
    /// Show daemon, store and every tracked worktree
    #[command(before_help = "Example:\n  tracemark status --json | jq .worktrees[0].model_id")]
    Status(JsonArgs),
    /// Print the repository hash; needs no daemon, no store, no network
    #[command(before_help = "Example:\n  tracemark hash --explain")]
    Hash(HashArgs),
    /// Print the model id of the code on disk now
    #[command(before_help = "Example:\n  MLFLOW_ACTIVE_MODEL_ID=$(tracemark active) python app.py")]
    Active(ActiveArgs),
    /// Print the variables for `eval "$(tracemark env)"`
    #[command(before_help = "Example:\n  eval \"$(tracemark env)\"")]
    Env(EnvArgs),
    /// Run a command with the right model id in its environment
    #[command(before_help = "Example:\n  tracemark exec -- python app.py")]
    Exec(ExecArgs),
    /// Show or change the parameters of versions
    #[command(before_help = "Example:\n  tracemark params set llm=gpt-4o-mini temperature=0.7")]
    Params(ParamsArgs),
    /// Use one version, found by its name, whatever the code
    #[command(before_help = "Example:\n  tracemark pin release-candidate")]
    Pin(PinArgs),
    /// Go back to the version of the code
    #[command(before_help = "Example:\n  tracemark unpin")]
    Unpin,
    /// Bring the exact code of a version back, into a new directory
    #[command(
        before_help = "Example:\n  tracemark restore tr-0123456789abcdef0123456789abcdef ../then"
    )]
    Restore(RestoreArgs),
    /// Show one version, or one file of it
    #[command(
        before_help = "Example:\n  tracemark show tr-0123456789abcdef0123456789abcdef:app.py"
    )]
    Show(ShowArgs),
    /// Show the code between two versions
    #[command(before_help = "Example:\n  tracemark diff HEAD @ -- prompts/")]
    Diff(DiffArgs),
    /// List the versions of this repository, newest first
    #[command(before_help = "Example:\n  tracemark log -n 5")]
    Log(LogArgs),
    /// Remove versions that nothing refers to; shows them first
    #[command(before_help = "Example:\n  tracemark gc --keep 14d")]
    Gc(GcArgs),
    /// A guided tour on a throw-away repository
    #[command(before_help = "Example:\n  tracemark demo --clean")]
    Demo(DemoArgs),
    /// Run the daemon in the foreground
    #[command(before_help = "Example:\n  TRACEMARK_LOG=tracemark=debug tracemark daemon")]
    Daemon(DaemonArgs),
    /// Have systemd run the daemon: at login, and again after a crash
    #[command(before_help = "Example:\n  tracemark service install")]
    Service(ServiceArgs),
    /// Look for every known trouble, and say what to type
    #[command(before_help = "Example:\n  tracemark doctor")]
    Doctor(JsonArgs),
    /// Show the settings, and where each comes from
    #[command(before_help = "Example:\n  tracemark config show --origin")]
    Config(ConfigArgs),
    /// Follow this worktree: version, changed files, model id, as one edits
    #[command(before_help = "Example:\n  tracemark watch")]
    Watch(WatchArgs),
    /// Print a few letters for a shell's prompt, at once; nothing where nothing is tracked
    #[command(before_help = "Example:\n  PS1='$(tracemark prompt) \\$ '")]
    Prompt,
    /// Print the completions for a shell
    #[command(
        before_help = "Example:\n  tracemark completions bash > ~/.local/share/bash-completion/completions/tracemark"
    )]
    Completions(CompletionsArgs),
    /// Print a manual page
    #[command(before_help = "Example:\n  tracemark man exec | man -l -")]
    Man(ManArgs),
    /// Called by git's hooks
    #[command(before_help = "Example:\n  tracemark hook post-commit")]
    Hook(HookArgs),
}

/// How LoggedModels are named, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NamingArg {
    /// Exactly what the guide's get_current_git_hash() returns
    GitHash,
    /// {app}-git-{8 hex}, as step 2 of the guide
    Commit,
    /// {app}-tree-{12 hex}: the same code, the same name
    Tree,
}

impl From<NamingArg> for Naming {
    fn from(naming: NamingArg) -> Self {
        match naming {
            NamingArg::GitHash => Self::GitHash,
            NamingArg::Commit => Self::Commit,
            NamingArg::Tree => Self::Tree,
        }
    }
}

/// `tracemark up`
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The MLflow tracking URI, instead of MLFLOW_TRACKING_URI or MLflow's default
    #[arg(long, value_name = "URI")]
    pub store: Option<String>,
    /// The experiment's name, created if absent
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Send a password or token over plain http to another machine (=false takes that back)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_http_credentials: Option<bool>,
    /// How LoggedModels are named
    #[arg(long, value_enum)]
    pub naming: Option<NamingArg>,
    /// The app's name, for the namings commit and tree
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// Track this worktree only, not every worktree of the repository
    #[arg(long)]
    pub only_this: bool,
    /// Answer every question with yes
    #[arg(long, short)]
    pub yes: bool,
    /// Say what would be written where, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Track a repository that is the home directory, or /
    #[arg(long)]
    pub allow_home: bool,
}

/// `tracemark down`
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Only this worktree
    #[arg(long)]
    pub only_this: bool,
    /// Remove everything that tracemark ever wrote on this machine, in every repository
    #[arg(long, conflicts_with_all = ["only_this", "path"])]
    pub purge: bool,
    /// A worktree, also one that is gone [default: this one]
    pub path: Option<PathBuf>,
}

/// A command with a machine-readable form.
#[derive(Debug, Args)]
pub struct JsonArgs {
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `tracemark hash`
#[derive(Debug, Default, Args)]
pub struct HashArgs {
    /// Which hash: the guide's, the full HEAD, or the tree id [default: git-hash; with --safe: tree]
    #[arg(long, value_enum)]
    pub naming: Option<NamingArg>,
    /// Print the LoggedModel's name instead
    #[arg(long)]
    pub name: bool,
    /// The app's name, for --name
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// Then say what it was made of, and what would change it though no code changes
    #[arg(long)]
    pub explain: bool,
    /// Run nothing that the repository's configuration names: no filter, hook or diff program
    #[arg(long)]
    pub safe: bool,
}

/// `tracemark active`
#[derive(Debug, Args)]
pub struct ActiveArgs {
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
    /// The whole state as JSON
    #[arg(long)]
    pub json: bool,
    /// What is known now, without waiting
    #[arg(long)]
    pub no_wait: bool,
    /// Look at every file, also where the file system told of no change
    #[arg(long, conflicts_with = "no_wait")]
    pub full: bool,
    /// Read and create in this process: needs neither `up` nor a daemon
    #[arg(long)]
    pub once: bool,
}

impl Default for ActiveArgs {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT,
            json: false,
            no_wait: false,
            full: false,
            once: false,
        }
    }
}

/// `tracemark env`
#[derive(Debug, Args)]
pub struct EnvArgs {
    /// For which shell or reader
    #[arg(long, value_enum, default_value = "sh")]
    pub shell: Shell,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
}

/// A reader of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// POSIX shells
    Sh,
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// One JSON object
    Json,
    /// NAME=VALUE lines
    Dotenv,
}

/// `tracemark exec`
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Do not run the command without a model id
    #[arg(long)]
    pub require: bool,
    /// Read and create in this process: needs neither `up` nor a daemon
    #[arg(long)]
    pub once: bool,
    /// How long to wait for the model id, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = TIMEOUT, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub timeout: u64,
    /// Have MLflow's SQLite file made by the app's own MLflow where it is missing
    #[arg(long, short)]
    pub yes: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `tracemark params`
#[derive(Debug, Args)]
pub struct ParamsArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ParamsAction,
}

/// What `tracemark params` does.
#[derive(Debug, Subcommand)]
pub enum ParamsAction {
    /// Set parameters for the versions of this repository
    #[command(before_help = "Example:\n  tracemark params set llm=gpt-4o-mini temperature=0.7")]
    Set {
        /// Such as llm=gpt-4o-mini
        #[arg(required = true, value_name = "KEY=VALUE")]
        params: Vec<String>,
        /// Make another version of the same code, for a parameter that this one has already
        #[arg(long)]
        new_version: bool,
    },
    /// Take parameters back that were set with tracemark params
    #[command(before_help = "Example:\n  tracemark params unset llm")]
    Unset {
        /// Their names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// Make another version of the same code without them
        #[arg(long)]
        new_version: bool,
    },
    /// Show the parameters, and what the version of the code on disk has
    #[command(before_help = "Example:\n  tracemark params show --json")]
    Show {
        /// One JSON document instead of text
        #[arg(long)]
        json: bool,
    },
}

impl ParamsAction {
    /// True when another version of the same code is asked for.
    pub fn wants_new_version(&self) -> bool {
        match self {
            Self::Set { new_version, .. } | Self::Unset { new_version, .. } => *new_version,
            Self::Show { .. } => false,
        }
    }
}

/// `tracemark pin`
#[derive(Debug, Args)]
pub struct PinArgs {
    /// The LoggedModel's name
    pub name: String,
}

/// `tracemark restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A model id, a name, a content id, a commit or a trace id
    pub id: String,
    /// Where to; must not exist
    pub dir: PathBuf,
    /// Plain files, not a linked worktree
    #[arg(long)]
    pub plain: bool,
}

/// `tracemark show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A model id, a name, a content id, a commit or a trace id; with :PATH behind it one file
    pub id: OsString,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `tracemark diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// What was before: a model id, a name, a content id, a commit, a trace id, or @ for the disk now
    pub a: String,
    /// What was after
    #[arg(default_value = "@")]
    pub b: String,
    /// Only these paths
    #[arg(last = true, value_name = "PATHS")]
    pub paths: Vec<OsString>,
}

/// `tracemark log`
#[derive(Debug, Args)]
pub struct LogArgs {
    /// At most so many
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub limit: Option<usize>,
    /// One JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `tracemark gc`
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Remove what is listed
    #[arg(long, short)]
    pub yes: bool,
    /// Only list what would be removed, which is the default
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// How old a LoggedModel must be, instead of the setting gc.keep (30d)
    #[arg(long, value_name = "AGE")]
    pub keep: Option<String>,
}

/// `tracemark demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where to make the repository, instead of a temporary directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Remove the repository at the end
    #[arg(long)]
    pub clean: bool,
}

/// `tracemark daemon`
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// Leave the terminal's session and report readiness on standard output
    #[arg(long, hide = true)]
    pub detached: bool,
    /// Empty every env file that no daemon watches over, and end
    #[arg(long, hide = true, conflicts_with = "detached")]
    pub empty_env_files: bool,
}

/// `tracemark service`
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ServiceAction,
}

/// What `tracemark service` does.
#[derive(Debug, Subcommand)]
pub enum ServiceAction {
    /// Write the user units for this program, enable and start them
    #[command(before_help = "Example:\n  tracemark service install")]
    Install,
    /// Stop and remove the user units
    #[command(before_help = "Example:\n  tracemark service uninstall")]
    Uninstall,
    /// Show whether systemd runs the daemon
    #[command(before_help = "Example:\n  tracemark service status")]
    Status(JsonArgs),
}

/// `tracemark watch`
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// One JSON document a line
    #[arg(long)]
    pub json: bool,
}

/// `tracemark completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `tracemark man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The command that the page is about, in words: service install [default: tracemark itself]
    #[arg(conflicts_with = "dir")]
    pub command: Vec<String>,
    /// Write the pages of all commands there
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `tracemark config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What `tracemark config` does.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Show every setting that has a value here
    #[command(before_help = "Example:\n  tracemark config show --origin")]
    Show(ConfigShowArgs),
    /// Print the defaults as a file, with what each setting is for
    #[command(
        before_help = "Example:\n  tracemark config default > ~/.config/tracemark/config.toml"
    )]
    Default,
}

/// `tracemark config show`
#[derive(Debug, Args)]
pub struct ConfigShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    pub origin: bool,
    /// One JSON document instead of text, with the origins
    #[arg(long)]
    pub json: bool,
}

/// `tracemark hook`
#[derive(Debug, Args)]
pub struct HookArgs {
    /// The hook's name
    pub event: String,
    /// What git passes to it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_once_is_what_clap_would_have_read() {
        for command in ["hash", "active", "prompt"] {
            let at_once = Cli::read_at_once(&[command.into()]).unwrap();
            let by_clap = Cli::try_parse_from(["tracemark", command]).unwrap();
            assert_eq!(format!("{at_once:?}"), format!("{by_clap:?}"));
        }
    }
}
