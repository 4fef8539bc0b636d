//! Python and MLflow for the tests: a virtual environment made once under `target/`, one warm Python that looks into stores
//! and runs apps, one MLflow server, one stub of the OpenAI endpoint. All end with the test process.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};

use crate::world::{Said, wait_until};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Returns a file of `tests/support`.
pub(crate) fn support(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/support")
        .join(name)
}

/// Returns the directory of a virtual environment with the pinned packages, made at the first call on this machine.
pub(crate) fn environment() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        std::fs::create_dir_all(&dir).unwrap();
        let lock = File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        let stamp = dir.join("requirements.txt");
        if std::fs::read_to_string(&stamp).ok().as_deref() != Some(REQUIREMENTS) {
            make_environment(&dir.join("venv"));
            std::fs::write(&stamp, REQUIREMENTS).unwrap();
        }
        dir.join("venv")
    })
}

fn make_environment(dir: &Path) {
    if dir.exists() {
        std::fs::remove_dir_all(dir).unwrap();
    }
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let steps: [(&Path, Vec<&str>, &str); 2] = [
        (
            Path::new("python3"),
            vec!["-m", "venv", dir.to_str().unwrap()],
            "the tests need python3 with its venv module (Debian: apt install python3-venv)",
        ),
        (
            &dir.join("bin/python"),
            vec![
                "-m",
                "pip",
                "install",
                "-q",
                "-r",
                requirements.to_str().unwrap(),
            ],
            "the tests need a package index that pip can reach",
        ),
    ];
    for (program, arguments, need) in steps {
        let output = Command::new(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{need}: {error}"));
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{need}: {words}");
    }
}

pub(crate) fn python() -> PathBuf {
    environment().join("bin/python")
}

/// One process that imported MLflow and answers one JSON line for each.
struct Warm {
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

fn ask(request: &Value) -> Result<Value, String> {
    static WARM: OnceLock<Mutex<Warm>> = OnceLock::new();
    let warm = WARM.get_or_init(|| {
        let mut child = alone(python())
            .arg(support("inspect_store.py"))
            .arg("serve")
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut warm = Warm {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            _child: child,
        };
        let mut ready = String::new();
        warm.output.read_line(&mut ready).unwrap();
        assert!(ready.contains("ready"), "{ready:?}");
        Mutex::new(warm)
    });
    let mut warm = warm.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(warm.input, "{request}").unwrap();
    let mut line = String::new();
    warm.output.read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    match answer.get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(answer["ok"].clone()),
    }
}

/// Looks into a store with MLflow's own client.
#[track_caller]
pub(crate) fn look(store: &str, command: &[&str]) -> Value {
    ask(&json!({"cmd": command, "tracking_uri": store})).unwrap()
}

/// Runs a script under an environment, as a fresh Python would, without the seconds that importing MLflow takes.
#[track_caller]
pub(crate) fn run_script(script: &Path, env: &BTreeMap<String, String>, cwd: &Path) -> Value {
    let request = json!({"cmd": ["run_app", script], "env": env, "cwd": cwd});
    let ran = ask(&request).unwrap();
    assert_eq!(
        ran["code"],
        0,
        "{}",
        ran["stderr"].as_str().unwrap_or_default()
    );
    last_json(ran["stdout"].as_str().unwrap())
}

/// Runs a script in a fresh Python below a command such as `tracemark exec --`.
#[track_caller]
pub(crate) fn run_fresh(mut command: Command) -> Value {
    last_json(&Said::of(&command.output().unwrap()).ok())
}

fn last_json(stdout: &str) -> Value {
    let line = stdout.lines().rfind(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no JSON in {stdout:?}"))).unwrap()
}

/// Starts a child that ends when this process ends, as its standard input closes then.
fn keep(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).spawn().unwrap()
}

/// Returns the base URL of the OpenAI stub.
pub(crate) fn openai() -> &'static str {
    static STUB: OnceLock<(String, Mutex<Child>)> = OnceLock::new();
    &STUB
        .get_or_init(|| {
            let mut command = alone(python());
            command
                .arg(support("openai_stub.py"))
                .stdout(Stdio::piped());
            let mut child = keep(command);
            let mut line = String::new();
            let stdout = child.stdout.take().unwrap();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            let port = line.trim().strip_prefix("PORT ").unwrap().to_owned();
            (format!("http://127.0.0.1:{port}/v1"), Mutex::new(child))
        })
        .0
}

/// Returns the address of the one MLflow server of this test run.
pub(crate) fn server() -> &'static str {
    static SERVER: OnceLock<(String, Mutex<Child>, tempfile::TempDir)> = OnceLock::new();
    &SERVER
        .get_or_init(|| {
            let dir = tempfile::Builder::new()
                .prefix("tm-server")
                .tempdir()
                .unwrap();
            let port = free_port();
            let log = File::create(dir.path().join("log")).unwrap();
            let database = format!("sqlite:///{}", dir.path().join("mlflow.db").display());
            let mut command = alone(python());
            command
                .arg(support("run_until_eof.py"))
                .arg(environment().join("bin/mlflow"))
                .args(["server", "--host", "127.0.0.1", "--workers", "1"])
                .args([
                    "--port",
                    &port.to_string(),
                    "--backend-store-uri",
                    &database,
                ])
                .arg("--artifacts-destination")
                .arg(dir.path().join("artifacts"))
                .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
                .current_dir(dir.path())
                .stdout(log.try_clone().unwrap())
                .stderr(log);
            let child = keep(command);
            let address = format!("http://127.0.0.1:{port}");
            wait_until("the MLflow server answers", || {
                is_healthy(port).then_some(())
            });
            (address, Mutex::new(child), dir)
        })
        .0
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn is_healthy(port: u16) -> bool {
    use std::io::Read as _;
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let asked = stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("200 OK")
}

/// Makes MLflow's SQLite file in `dir` and returns its tracking URI.
pub(crate) fn sqlite_store(dir: &Path) -> String {
    let template = template_database();
    let file = dir.join("mlflow.db");
    std::fs::copy(template, &file).unwrap();
    format!("sqlite:///{}", file.display())
}

/// A database as MLflow makes it at its first use, made once for the environment.
fn template_database() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = environment();
        let lock = File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        let made = dir.join("empty.db");
        if !made.exists() {
            let fresh = dir.join("fresh.db");
            let output = alone(python())
                .args(["-c", "import mlflow; mlflow.search_experiments()"])
                .env(
                    "MLFLOW_TRACKING_URI",
                    format!("sqlite:///{}", fresh.display()),
                )
                .current_dir(dir)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            std::fs::rename(&fresh, &made).unwrap();
        }
        made
    })
}

/// A program that sees nothing of the environment of whoever runs the tests, but where programs are.
pub(crate) fn alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("LC_ALL", "C.UTF-8")
        .env("MLFLOW_DISABLE_TELEMETRY", "true");
    command
}
