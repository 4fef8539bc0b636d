//! A hermetic world for one test: its own home, runtime directory, git configuration and repository, and an end for the
//! daemon that it started.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::python::sqlite_store;

/// How long anything may take before a test gives up on it; never how long it should take.
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    base: tempfile::TempDir,
    vars: BTreeMap<String, String>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// One line of cause, one line of what to type (one line for both from `hash`), nothing on standard output.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, cause: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let right = match lines[..] {
            [both] => both.contains("; try: "),
            [_, cure] => cure.starts_with("  try: "),
            _ => false,
        };
        assert!(right && lines[0].starts_with("tracemark: "), "{self:?}");
        assert!(lines[0].contains(cause), "{self:?}");
    }
}

impl World {
    /// Asks for the model until the daemon says why there is none: it may take longer than one question waits.
    #[track_caller]
    pub(crate) fn is_refused(&self, cause: &str) {
        let said = wait_until("the daemon says why there is no model", || {
            let said = self.tracemark(&["active", "--timeout", "1"]);
            (said.code != Some(6) || said.stderr.contains(cause)).then_some(said)
        });
        said.failed(6, cause);
    }

    /// A world with an empty repository on the branch `main`.
    pub(crate) fn new() -> Self {
        let world = Self::without_repository();
        std::fs::create_dir(world.repo()).unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        world
    }

    /// A world with a repository of one commit.
    pub(crate) fn with_commit() -> Self {
        let world = Self::new();
        world.write("app.py", "print('hello')\n");
        world.commit("first");
        world
    }

    /// A world with a repository that is tracked, and a SQLite store beside it.
    pub(crate) fn tracked() -> Self {
        let world = Self::with_commit();
        let store = sqlite_store(world.base());
        world.tracemark(&["up", "--store", &store]).ok();
        world
    }

    pub(crate) fn without_repository() -> Self {
        let base = tempfile::Builder::new().prefix("tm").tempdir().unwrap();
        for dir in ["home", "run"] {
            std::fs::create_dir(base.path().join(dir)).unwrap();
        }
        std::fs::set_permissions(
            base.path().join("run"),
            std::fs::Permissions::from_mode(0o700),
        )
        .unwrap();
        let at = |name: &str| base.path().join(name).to_str().unwrap().to_owned();
        let vars = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", at("home")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("USER", "ann".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            ("GIT_AUTHOR_NAME", "Ann".to_owned()),
            ("GIT_AUTHOR_EMAIL", "ann@example.org".to_owned()),
            ("GIT_COMMITTER_NAME", "Ann".to_owned()),
            ("GIT_COMMITTER_EMAIL", "ann@example.org".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("MLFLOW_DISABLE_TELEMETRY", "true".to_owned()),
            ("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false".to_owned()),
            ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2".to_owned()),
        ];
        Self {
            vars: vars
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            base,
        }
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.base.path().join("repo")
    }

    /// Puts a program in the place of git for all that starts from now on: it does what `script` says, which knows `$dir`, where it lies,
    /// and `$git`, and then what git does. Returns where it lies.
    pub(crate) fn put_before_git(&mut self, script: &str) -> PathBuf {
        let dir = self.base().join("bin");
        let mut which = Command::new("sh");
        let git = Said::of(&which.args(["-c", "command -v git"]).output().unwrap()).ok();
        let script = format!(
            "dir='{}'\ngit='{}'\n{script}exec \"$git\" \"$@\"",
            dir.display(),
            git.trim()
        );
        self.put_program("git", &script);
        dir
    }

    /// Puts a script of the shell before every program of that name, for all that starts from now on.
    pub(crate) fn put_program(&mut self, name: &str, script: &str) {
        let dir = self.base().join("bin");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = self.vars()["PATH"].clone();
        if !path.starts_with(&format!("{}:", dir.display())) {
            self.set("PATH", &format!("{}:{path}", dir.display()));
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.repo().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// Commits what is staged or changed, whatever lies inside in repositories of its own.
    pub(crate) fn commit_ours(&self) {
        self.git(&["add", ".gitattributes"]);
        self.git(&["commit", "-q", "-a", "-m", "ours"]);
    }

    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = self.command("git").args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Every file below a directory of the repository with its time and bytes, but what goes while we look.
    pub(crate) fn files_with_times(&self, dir: &str) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![self.repo().join(dir)];
        while let Some(dir) = waiting.pop() {
            let Ok(entries) = std::fs::read_dir(dir) else {
                continue;
            };
            for entry in entries.flatten() {
                let path = entry.path();
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                if metadata.is_dir() {
                    waiting.push(path);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    files.insert(path, (metadata.modified().unwrap(), bytes));
                }
            }
        }
        files
    }

    /// A linked worktree on a branch of its own.
    pub(crate) fn add_worktree(&self, dir: &Path) {
        let dir = dir.to_str().unwrap();
        self.git(&["worktree", "add", "-q", "-b", "side", dir]);
    }

    /// A submodule `sub` with a commit of its own, added and not committed.
    pub(crate) fn add_submodule(&self) {
        let inner = self.base().join("inner");
        let at = inner.to_str().unwrap();
        self.git(&["init", "-q", "-b", "main", at]);
        self.git(&["-C", at, "commit", "-q", "--allow-empty", "-m", "inner"]);
        let allow = "protocol.file.allow=always";
        self.git(&["-c", allow, "submodule", "--quiet", "add", at, "sub"]);
    }

    /// A command in the repository with this world's environment and nothing else.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let cwd = if self.repo().is_dir() {
            self.repo()
        } else {
            self.base().to_owned()
        };
        command
            .env_clear()
            .envs(&self.vars)
            .current_dir(cwd)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn tracemark(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(env!("CARGO_BIN_EXE_tracemark"));
        Said::of(&command.args(arguments).output().unwrap())
    }

    pub(crate) fn tracemark_in(&self, dir: &Path, arguments: &[&str]) -> Said {
        let mut command = self.command(env!("CARGO_BIN_EXE_tracemark"));
        Said::of(&command.args(arguments).current_dir(dir).output().unwrap())
    }

    /// The same on a terminal of 80 columns.
    pub(crate) fn on_terminal(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        let script = "import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0)); os.execv(sys.argv[1], sys.argv[1:])
try:
    while piece := os.read(terminal, 65536): sys.stdout.buffer.write(piece); sys.stdout.flush()
except OSError: pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
        let mut python = self.command("python3");
        python
            .args(["-c", script, env!("CARGO_BIN_EXE_tracemark")])
            .args(arguments)
            .env("TERM", "xterm")
            .envs(variables.iter().copied());
        Said::of(&python.output().unwrap())
    }

    pub(crate) fn env_file(&self) -> BTreeMap<String, String> {
        let path = self
            .repo()
            .join(self.git(&["rev-parse", "--git-path", "tracemark/env"]));
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    pub(crate) fn env_id(&self) -> String {
        self.env_file()["MLFLOW_ACTIVE_MODEL_ID"].clone()
    }

    /// Waits until the env file names a model other than `before`.
    #[track_caller]
    pub(crate) fn new_env_id(&self, before: &str) -> String {
        wait_until("the env file names another model", || {
            let id = self.env_id();
            (!id.is_empty() && id != before).then_some(id)
        })
    }

    /// The environment that `tracemark exec` gives to a command.
    #[track_caller]
    pub(crate) fn exec_env(&self) -> BTreeMap<String, String> {
        variables(
            &self
                .tracemark(&["exec", "--require", "--", "env", "-0"])
                .ok(),
        )
    }

    /// The environment of a shell that sourced the env file.
    #[track_caller]
    pub(crate) fn sourced_env(&self) -> BTreeMap<String, String> {
        let script = "set -a; . \"$(git rev-parse --git-path tracemark/env)\"; set +a; exec env -0";
        variables(&Said::of(&self.command("sh").args(["-c", script]).output().unwrap()).ok())
    }

    /// Asks the socket as curl would.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Value {
        let (status, body) = self.http("GET", target, "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// One exchange over the socket, with extra header lines, each ending in CRLF.
    pub(crate) fn http(&self, method: &str, target: &str, headers: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        let mut stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
        let host = if headers.contains("Host:") {
            ""
        } else {
            "Host: localhost\r\n"
        };
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.base().join("run/tracemark/api.sock")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.base().join("home/.local/state/tracemark")
    }

    /// What `status --json` says of the one worktree.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let said = self.tracemark(&["status", "--json"]).ok();
        let status: Value = serde_json::from_str(&said).unwrap();
        status["worktrees"][0].clone()
    }

    /// Ends the daemon as the system would when it is short of memory.
    pub(crate) fn kill_daemon(&self) {
        if let Some(pid) = self.signal_daemon(rustix::process::Signal::KILL) {
            wait_until("the daemon is gone", || (!is_alive(pid)).then_some(()));
        }
    }

    /// Has the daemon end, and waits for that.
    pub(crate) fn stop_daemon(&self) {
        let pid = self.signal_daemon(rustix::process::Signal::TERM).unwrap();
        wait_until("the daemon has ended", || (!is_alive(pid)).then_some(()));
    }

    pub(crate) fn daemon_pid(&self) -> Option<i32> {
        let record = std::fs::read(self.state_dir().join("daemon.json")).ok()?;
        let record: Value = serde_json::from_slice(&record).ok()?;
        i32::try_from(record["pid"].as_i64()?).ok()
    }

    pub(crate) fn signal_daemon(&self, signal: rustix::process::Signal) -> Option<i32> {
        let pid = self.daemon_pid()?;
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid)?, signal).ok()?;
        Some(pid)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.state_dir().join("daemon.log"));
            eprintln!("daemon log:\n{}", log.unwrap_or_default());
        }
        // A test that failed may have left it stopped.
        self.signal_daemon(rustix::process::Signal::CONT);
        if let Some(pid) = self.signal_daemon(rustix::process::Signal::TERM) {
            let started = Instant::now();
            while is_alive(pid) && started.elapsed() < DEADLINE {
                std::thread::yield_now();
            }
            if is_alive(pid) {
                self.signal_daemon(rustix::process::Signal::KILL);
            }
        }
    }
}

/// True while the process runs; a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

fn variables(nul_separated: &str) -> BTreeMap<String, String> {
    nul_separated
        .split('\0')
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Looks again and again until there is something, and fails after a deadline that has nothing to do with speed.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "gave up waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
