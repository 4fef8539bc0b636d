//! A user's machine in small: a home, a daemon, an MLflow server that answers after a delay.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Process;
use crate::support::installed;

/// How long anything may take, for a million files too.
const DEADLINE: Duration = Duration::from_mins(10);
/// So long without a request and without work is taken for the end of both.
const QUIET: Duration = Duration::from_secs(3);

pub(crate) struct Home {
    dir: tempfile::TempDir,
    pub(crate) program: PathBuf,
    stub: Child,
    port: u16,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "run"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(dir.path().join("run"), private).unwrap();
        let program = installed(dir.path());
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/stub_server.py");
        let mut stub = Command::new("python3");
        stub.arg(server).arg("{}").stdin(Stdio::piped());
        let mut stub = stub.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let said = stub.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("PORT ").unwrap().parse().unwrap();
        Self {
            dir,
            program,
            stub,
            port,
        }
    }

    pub(crate) fn store(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Has the server take so long for each request.
    pub(crate) fn delay(&self, delay: Duration) {
        let body = format!("{{\"delay\": {}}}", delay.as_secs_f64());
        self.exchange("POST", "/_control", &body);
    }

    /// How many requests the server got, and how many LoggedModels it has.
    pub(crate) fn seen(&self) -> (usize, usize) {
        let seen: Value = serde_json::from_str(&self.exchange("GET", "/_seen", "")).unwrap();
        let requests = seen["requests"].as_array().map_or(0, Vec::len);
        (
            requests,
            seen["models"].as_object().map_or(0, serde_json::Map::len),
        )
    }

    /// Waits until nothing more comes and the daemon rests: versions of commits that were passed by are made one after the other, and
    /// their code is kept, in nobody's way.
    pub(crate) fn wait_until_quiet(&self) {
        let mut before = None;
        wait_until(|| {
            std::thread::sleep(QUIET);
            let now = Some((self.seen(), self.daemon().work()));
            let is_at_rest = before == now;
            before = now;
            is_at_rest.then_some(())
        });
    }

    fn exchange(&self, method: &str, target: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        let request =
            format!("{method} {target} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// A command of this user in a directory.
    pub(crate) fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.dir.path().join("run"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        command
    }

    /// What tracemark says in a directory.
    pub(crate) fn tracemark(&self, dir: &Path, arguments: &[&str]) -> String {
        let mut command = self.command(&self.program, dir);
        let said = command.args(arguments).output().unwrap();
        assert!(said.status.success(), "{arguments:?}: {said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// The daemon, as its own record names it.
    pub(crate) fn daemon(&self) -> Process {
        let record = self
            .dir
            .path()
            .join("home/.local/state/tracemark/daemon.json");
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        Process(u32::try_from(record["pid"].as_u64().unwrap()).unwrap())
    }

    /// Ends the daemon, as a logout does.
    pub(crate) fn end_daemon(&self) {
        let pid = self.daemon().0;
        let ended = Command::new("kill").arg(pid.to_string()).status().unwrap();
        assert!(ended.success());
        wait_until(|| (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut purge = self.command(&self.program, self.dir.path());
        drop(purge.args(["down", "--purge"]).output());
        drop(self.stub.kill());
        drop(self.stub.wait());
    }
}

/// Looks as often as it can.
pub(crate) fn wait_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "it does not come");
    }
}
