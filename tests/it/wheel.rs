//! The Python package: does each new interpreter below `exec` get the id of its own code? The package is put on the path as the
//! wheel's files lie; the wheel itself is built and installed by the host suite.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::python::{python, run_fresh, sqlite_store, support};
use crate::world::{Said, World};

/// A world whose Python finds the package and its `.pth` file as in site-packages.
fn with_package() -> World {
    let mut world = World::with_commit();
    let site = world.base().join("site");
    std::fs::create_dir(&site).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    for (from, to) in [
        ("tracemark", "tracemark"),
        ("tracemark.data/purelib/tracemark.pth", "tracemark.pth"),
    ] {
        std::os::unix::fs::symlink(ours.join(from), site.join(to)).unwrap();
    }
    let custom = world.base().join("custom");
    std::fs::create_dir(&custom).unwrap();
    // Twice, as a virtual environment may read the same directory under two names.
    let text = format!(
        "import site\nfor _ in range(2): site.addsitedir({:?})\n",
        site.to_str().unwrap()
    );
    std::fs::write(custom.join("sitecustomize.py"), text).unwrap();
    world.set("PYTHONPATH", custom.to_str().unwrap());
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world
}

const SHOW: &str =
    "import os; print('[' + os.environ.get('MLFLOW_ACTIVE_MODEL_ID', 'unset') + ']')";

fn below_exec(world: &World, script: &str, arguments: &[&str]) -> Said {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    command.args(["exec", "--", "sh", "-c", script]).arg("sh");
    command.args(arguments).env("PYTHON", python());
    Said::of(&command.output().unwrap())
}

#[test]
fn an_app_that_uvicorn_reloads_is_never_linked_to_other_code_than_runs() {
    let world = with_package();
    let mut command = world.command(python());
    command
        .arg(support("reload.py"))
        .args([env!("CARGO_BIN_EXE_tracemark"), "uvicorn", "3"])
        .env("MLFLOW_DB", world.base().join("mlflow.db"));
    let seen = run_fresh(command);
    assert_eq!(seen["wrong"], 0, "{seen}");
    assert_eq!(seen["unlinked"], 0, "{seen}");
    assert_eq!(seen["revisions"], 4, "{seen}");
}

#[test]
fn each_interpreter_below_exec_asks_again_before_user_code_runs() {
    let world = with_package();
    let before = world.tracemark(&["active"]).ok();
    let script = "echo 'print(2)' > app.py; exec \"$PYTHON\" -c \"$1\"";
    let after = below_exec(&world, script, &[SHOW]).ok();
    let expected = world.tracemark(&["active"]).ok();
    assert_ne!(before, expected);
    assert_eq!(after, format!("[{}]\n", expected.trim()));
}

#[test]
fn interpreters_that_leave_things_out_start_and_ask_all_the_same() {
    let world = with_package();
    let id = world.tracemark(&["active"]).ok();
    let module = "import sys; sys.path.insert(0, sys.argv[1]); import tracemark._start; ";
    let site = world.base().join("site");
    let site = site.to_str().unwrap();
    // -I, -E and -S keep our PYTHONPATH out, so the module is imported as the .pth file would.
    for flags in ["-I", "-E", "-S", "-s -B"] {
        let script = format!("exec env -u HOME \"$PYTHON\" {flags} -c \"$1\" \"$2\" 2>&-");
        let said = below_exec(&world, &script, &[&format!("{module}{SHOW}"), site]);
        assert_eq!(said.ok(), format!("[{}]\n", id.trim()), "{flags}");
    }
}

/// Of three children, each after a save: the revision that it loaded, its id, and the id of the code on disk.
fn children(world: &World, arguments: &[&str]) -> Vec<(u64, String, String)> {
    let script = support("forks.py");
    let script = [script.to_str().unwrap(), env!("CARGO_BIN_EXE_tracemark")];
    let all = [&script[..], arguments].concat();
    let said = below_exec(world, "exec \"$PYTHON\" \"$@\"", &all).ok();
    let rows: Vec<(u64, String, String)> = serde_json::from_str(&said).unwrap();
    assert_eq!(rows.len(), 3, "{rows:?}");
    rows
}

#[test]
fn a_child_of_multiprocessing_that_loads_code_has_the_id_of_that() {
    let world = with_package();
    for method in ["spawn", "forkserver"] {
        for (at, (revision, id, right)) in (0..).zip(children(&world, &[method])) {
            assert_eq!((revision, &id), (at, &right), "{method}");
        }
    }
}

#[test]
fn what_a_child_of_a_fork_server_forks_keeps_the_id_of_the_code_that_it_loaded() {
    let mut world = with_package();
    world.set("FORKS_AGAIN", "1");
    for (_, id, of_its_parent) in children(&world, &["forkserver"]) {
        assert!(id.starts_with("m-"), "{id}");
        assert_eq!(id, of_its_parent);
    }
}

#[test]
fn a_child_of_a_fork_server_that_loaded_code_before_has_no_id_of_other_code() {
    let world = with_package();
    let rows = children(&world, &["forkserver", "answers"]);
    assert_eq!(rows[0].1, rows[0].2, "nothing was saved since it loaded it");
    for (revision, id, _) in &rows[1..] {
        assert_eq!(
            (*revision, id.as_str()),
            (0, ""),
            "older than what was saved"
        );
    }
}

#[test]
fn where_another_module_has_our_name_there_is_no_id_and_no_word() {
    let world = with_package();
    let other = world.base().join("other/tracemark");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("__init__.py"), "").unwrap();
    let custom = &world.vars()["PYTHONPATH"];
    let path = format!("{}:{custom}", world.base().join("other").display());
    let script = "PYTHONPATH=$2 exec \"$PYTHON\" -c \"$1\"";
    let said = below_exec(&world, script, &[SHOW, &path]);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("[]\n", ""));
}

#[test]
fn an_interpreter_without_an_answer_has_no_id_rather_than_an_old_one() {
    let world = with_package();
    let script = "export TRACEMARK_SOCKET=\"$2\"; exec \"$PYTHON\" -c \"$1\" 2>&1";
    // One that takes connections and says nothing is given up.
    let silent = world.base().join("silent.sock");
    let _listener = UnixListener::bind(&silent).unwrap();
    let said = below_exec(&world, script, &[SHOW, silent.to_str().unwrap()]);
    assert_eq!(said.ok(), "[]\n");
    // Another store than the one that `exec` passed on.
    let other = "export TRACEMARK_STORE=other; exec \"$PYTHON\" -c \"$1\" 2>&1";
    assert_eq!(below_exec(&world, other, &[SHOW]).ok(), "[]\n");
    // One that is gone.
    let pid = world.daemon_pid().unwrap();
    let runs = format!("grep -qs '^State:[[:space:]]*[^Z]' /proc/{pid}/status");
    let killed = format!("kill -9 {pid}; while {runs}; do :; done; {script}");
    let gone = world.socket();
    let said = below_exec(&world, &killed, &[SHOW, gone.to_str().unwrap()]);
    assert_eq!(said.ok(), "[]\n");
}

/// How long each client stays that a listener never answers, until it was asked so often.
fn waits_at(listener: &UnixListener, clients: usize) -> Vec<Duration> {
    let wait = || {
        let (mut client, _) = listener.accept().unwrap();
        let began = Instant::now();
        std::io::copy(&mut client, &mut std::io::sink()).unwrap();
        began.elapsed()
    };
    (0..clients).map(|_| wait()).collect()
}

#[test]
fn a_daemon_that_hangs_is_waited_for_once_by_all_interpreters_together() {
    let world = with_package();
    let silent = world.base().join("silent.sock");
    let listener = UnixListener::bind(&silent).unwrap();
    let waits = std::thread::spawn(move || waits_at(&listener, 5));
    let four_more = "import os, subprocess, sys
for _ in range(4): subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)";
    let script = "export TRACEMARK_SOCKET=\"$2\"; exec \"$PYTHON\" -c \"$3\" \"$1\" 2>&1";
    let arguments = [SHOW, silent.to_str().unwrap(), four_more];
    assert_eq!(
        below_exec(&world, script, &arguments).ok(),
        "[]\n".repeat(4)
    );
    let waits = waits.join().unwrap();
    let (first, others) = waits.split_first().unwrap();
    assert!(*first > Duration::from_millis(1800), "{waits:?}");
    assert!(others.iter().all(|wait| wait < first), "{waits:?}");
}

#[test]
fn interpreters_that_start_one_after_another_wait_once_for_a_daemon_that_hangs() {
    let world = with_package();
    let silent = world.base().join("silent.sock");
    let listener = UnixListener::bind(&silent).unwrap();
    let waits = std::thread::spawn(move || waits_at(&listener, 4));
    let script =
        "export TRACEMARK_SOCKET=\"$2\"; for n in 1 2 3 4; do \"$PYTHON\" -c \"$1\" 2>&1; done";
    let said = below_exec(&world, script, &[SHOW, silent.to_str().unwrap()]);
    assert_eq!(said.ok(), "[]\n".repeat(4));
    let waits = waits.join().unwrap();
    let (first, others) = waits.split_first().unwrap();
    assert!(*first > Duration::from_millis(1800), "{waits:?}");
    assert!(others.iter().all(|wait| wait < first), "{waits:?}");
}

#[test]
fn what_is_left_of_a_daemon_that_hung_goes_with_the_next_one_and_with_a_purge() {
    let world = with_package();
    let slow = world.socket().with_extension("sock.slow");
    std::fs::write(&slow, "").unwrap();
    world.kill_daemon();
    world.tracemark(&["active"]).ok();
    assert!(!slow.exists());
    std::fs::write(&slow, "").unwrap();
    world.tracemark(&["down", "--purge"]).ok();
    assert!(!slow.exists());
}

#[test]
fn an_interpreter_finds_a_daemon_that_listens_elsewhere_than_exec_said() {
    let world = with_package();
    let id = world.tracemark(&["active"]).ok();
    let script = "export TRACEMARK_SOCKET=/nowhere/api.sock; exec \"$PYTHON\" -c \"$1\"";
    let said = below_exec(&world, script, &[SHOW]);
    assert_eq!(said.ok(), format!("[{}]\n", id.trim()));
}

#[test]
fn an_id_that_exec_found_without_a_daemon_stays() {
    let world = with_package();
    let id = world.tracemark(&["active"]).ok();
    let daemon = world.signal_daemon(rustix::process::Signal::STOP).unwrap();
    let said = below_exec(&world, "exec \"$PYTHON\" -c \"$1\"", &[SHOW]);
    world.signal_daemon(rustix::process::Signal::CONT).unwrap();
    assert_eq!(world.daemon_pid(), Some(daemon));
    assert_eq!(said.ok(), format!("[{}]\n", id.trim()));
}

#[test]
fn outside_exec_the_module_is_not_even_imported() {
    let mut world = with_package();
    world.set("TRACEMARK_SOCKET", world.socket().to_str().unwrap());
    world.set("MLFLOW_ACTIVE_MODEL_ID", "mine");
    let script = "import os, sys; print(os.environ['MLFLOW_ACTIVE_MODEL_ID'], [name for name in sys.modules if 'tracemark' in name])";
    let output = world
        .command(python())
        .args(["-c", script])
        .output()
        .unwrap();
    assert_eq!(Said::of(&output).ok(), "mine []\n");
}

#[test]
fn an_exec_inside_another_one_that_asks_no_daemon_leaves_no_way_to_it() {
    let mut world = with_package();
    let store = format!("sqlite:///{}", world.base().join("mlflow.db").display());
    world.set("MLFLOW_TRACKING_URI", &store);
    for name in ["TRACEMARK_SOCKET", "TRACEMARK_WORKTREE", "TRACEMARK_STORE"] {
        world.set(name, "/outer");
    }
    let said = world.tracemark(&["exec", "--once", "--", "env"]).ok();
    assert!(!said.contains("/outer"), "{said}");
}

#[test]
fn exec_warns_of_a_reloader_only_where_the_wheel_is_missing() {
    let world = with_package();
    let bin = world.repo().join(".venv/bin");
    let packages = world.repo().join(".venv/lib/python3.11/site-packages");
    for dir in [&bin, &packages] {
        std::fs::create_dir_all(dir).unwrap();
    }
    let uvicorn: PathBuf = bin.join("uvicorn");
    std::os::unix::fs::symlink("/bin/true", &uvicorn).unwrap();
    let run = || {
        let mut command: Command = world.command(env!("CARGO_BIN_EXE_tracemark"));
        command
            .args(["exec", "--"])
            .arg(&uvicorn)
            .args(["app:app", "--reload"]);
        Said::of(&command.output().unwrap())
    };
    let said = run();
    assert!(
        said.stderr.contains("--reload") && said.stderr.contains("pip install CLONE"),
        "{said:?}"
    );
    std::fs::write(packages.join("tracemark.pth"), "").unwrap();
    assert_eq!(run().stderr, "");
}

/// Runs a script with the package and a real MLflow that uses the repository's store; every answer in it has to be true.
fn all_true(script: &str, answers: usize) {
    let mut world = with_package();
    let store = format!("sqlite:///{}", world.base().join("mlflow.db").display());
    world.set("MLFLOW_TRACKING_URI", &store);
    let mut command = world.command(python());
    command
        .arg(support(script))
        .arg(env!("CARGO_BIN_EXE_tracemark"));
    let said = run_fresh(command);
    let said = said.as_object().unwrap();
    assert_eq!(said.len(), answers, "{said:?}");
    assert!(
        said.values().all(|value| value.as_bool() == Some(true)),
        "{said:?}"
    );
}

#[test]
fn the_api_sets_and_follows_the_active_model_of_mlflow() {
    all_true("follow.py", 7);
}

#[test]
fn the_api_leaves_no_active_model_where_mlflow_or_the_daemon_fails_and_tries_again() {
    all_true("api_troubles.py", 8);
}
