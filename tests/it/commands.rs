//! Do the commands keep their promises: what `up` writes, what `down` takes back, what `exec`, `env` and `--once` hand out, what the
//! socket answers?

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::purge::{assert_same, snapshot, world_with_store};
use crate::python::sqlite_store;
use crate::world::{Said, World, is_alive, wait_until};

pub(crate) fn active_target(world: &World, more: &str) -> String {
    format!("/v1/active?worktree={}{more}", world.repo().display())
}

#[test]
fn down_takes_back_byte_for_byte_what_up_wrote() {
    let world = World::with_commit();
    world.write(
        ".git/hooks/post-commit",
        "#!/bin/bash\necho mine\nexec true\n",
    );
    let hook = world.repo().join(".git/hooks/post-commit");
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o750)).unwrap();
    let store = sqlite_store(world.base());
    let before = files_of(&world.repo());
    world.tracemark(&["up", "--store", &store]).ok();
    let pid = world.daemon_pid().unwrap();
    assert_ne!(files_of(&world.repo()), before);
    world.tracemark(&["down"]).ok();
    let mut after = files_of(&world.repo());
    let kept = world.repo().join(".git/tracemark");
    after.retain(|path, _| *path != kept && !path.starts_with(kept.join("snapshots")));
    assert_eq!(after, before, "all but the code that traces may refer to");
    wait_until("the daemon without repositories ends", || {
        (!is_alive(pid)).then_some(())
    });
    assert!(!world.socket().exists());
}

/// Every file below a directory with its mode and bytes.
fn files_of(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let bytes = if metadata.is_dir() {
                waiting.push(path.clone());
                Vec::new()
            } else {
                std::fs::read(&path).unwrap()
            };
            files.insert(path, (metadata.permissions().mode(), bytes));
        }
    }
    files
}

#[test]
fn up_is_safe_to_repeat() {
    let world = World::tracked();
    let id = world.env_id();
    let hook = world.repo().join(".git/hooks/post-commit");
    let hooks = || {
        let time = hook.metadata().unwrap().modified().unwrap();
        (time, std::fs::read(&hook).unwrap())
    };
    let before = hooks();
    let said = world.tracemark(&["up"]).ok();
    assert!(said.contains(&id), "{said}");
    assert_eq!(hooks(), before);
}

#[test]
fn the_socket_answers_as_documented() {
    let world = World::tracked();
    let said = world.get(&active_target(&world, "&wait=10000"));
    assert_eq!(said["state"], "active");
    assert_eq!(said["fresh"], true);
    assert_eq!(said["api"], 1);
    assert_eq!(said["model_id"], world.env_id());
    assert_eq!(said["head"], world.git(&["rev-parse", "HEAD"]));
    assert_eq!(said["name"], said["head"]);
    assert_eq!(said["dirty"], false);
    assert_eq!(said["experiment_id"], "0");
    let status = world.get("/v1/status");
    assert_eq!(status["schema"], 1);
    assert_eq!(status["worktrees"][0]["state"], "active");
    assert_eq!(status["daemon"]["pid"], world.daemon_pid().unwrap());
    // Any path inside finds the worktree.
    world.write("deep/er/file", "x");
    let inside = format!(
        "/v1/active?worktree={}/deep/er&wait=10000",
        world.repo().display()
    );
    assert_eq!(world.get(&inside)["dirty"], true);
}

/// The fields that a table of `docs/socket-api.md` names, below its first row.
fn documented(heading: &str) -> BTreeSet<String> {
    let text = include_str!("../../docs/socket-api.md");
    let (_, table) = text.split_once(heading).unwrap();
    let (_, rows) = table.split_once("|---|---|").unwrap();
    let rows = rows
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("| "));
    let names = rows.flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap();
        cell.split('`').skip(1).step_by(2).map(str::to_owned)
    });
    names.collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_document_of_the_socket_names_every_field_that_a_daemon_sends() {
    let world = World::tracked();
    let said = world.get(&active_target(&world, "&wait=10000"));
    assert_eq!(keys(&said), documented("\n| field | |\n"));
    let status = world.get("/v1/status");
    let top = ["schema", "api", "version", "daemon", "worktrees"];
    assert_eq!(keys(&status), top.map(str::to_owned).into());
    let daemon = documented("\n| field of `daemon` | |\n");
    assert_eq!(keys(&status["daemon"]), daemon);
    let worktree = documented("\n| field of a worktree | |\n");
    assert_eq!(keys(&status["worktrees"][0]), worktree);
    let owed = tracemark::protocol::OwedTo {
        store: String::new(),
        experiment: String::new(),
        owed: 0,
        current: false,
    };
    let text = include_str!("../../docs/socket-api.md");
    for key in keys(&serde_json::to_value(owed).unwrap()) {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
    // Without a daemon it is the same document.
    let without = World::with_commit().tracemark(&["status", "--json"]).ok();
    let without: Value = serde_json::from_str(&without).unwrap();
    assert_eq!(keys(&without), top.map(str::to_owned).into());
}

#[test]
fn the_document_of_the_socket_names_every_code_of_a_failure() {
    let world = World::tracked();
    let code = |method: &str, target: &str, headers: &str| {
        let (status, body) = world.http(method, target, headers);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            keys(&answer),
            ["api", "error", "version"].map(str::to_owned).into()
        );
        let error = &answer["error"];
        assert_eq!(
            keys(error),
            ["code", "hint", "message"].map(str::to_owned).into()
        );
        let code = error["code"].as_str().unwrap().to_owned();
        let text = include_str!("../../docs/socket-api.md");
        assert!(
            text.contains(&format!("| {status} | `{code}` |")),
            "{status} {code}"
        );
    };
    code("GET", "/v1/active", "");
    code("GET", "/v1/active?worktree=/", "");
    code("GET", "/v2/active", "");
    code("GET", "/v1/status", "Origin: http://evil.example\r\n");
    let stopping = format!("| 503 | `{}` |", tracemark::protocol::STOPPING);
    assert!(include_str!("../../docs/socket-api.md").contains(&stopping));
}

#[test]
fn the_socket_refuses_browsers_and_nonsense() {
    let world = World::tracked();
    let target = active_target(&world, "");
    let status = |method: &str, target: &str, headers: &str| world.http(method, target, headers).0;
    assert_eq!(
        status("GET", &target, "Origin: http://evil.example\r\n"),
        403
    );
    for hosts in [
        "Host: evil.example\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: localhost:80@evil.example\r\n",
        "Host:\r\n",
    ] {
        assert_eq!(status("GET", &target, hosts), 403, "{hosts}");
    }
    assert_eq!(status("GET", &target, "Host: localhost:80\r\n"), 200);
    let elsewhere = format!("http://evil.example{target}");
    assert_eq!(status("GET", &elsewhere, ""), 403);
    assert_eq!(status("GET", "/v1/active", ""), 400);
    assert_eq!(status("GET", "/v1/active?worktree=relative", ""), 400);
    assert_eq!(status("GET", &active_target(&world, "&wait=soon"), ""), 400);
    assert_eq!(status("GET", "/v1/active?worktree=/", ""), 404);
    assert_eq!(status("GET", "/v2/active", ""), 404);
    assert_eq!(status("POST", "/v1/touch", "Content-Length: 0\r\n"), 400);
    let mode = world.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let dir = world.socket().parent().unwrap().metadata().unwrap();
    assert_eq!(dir.permissions().mode() & 0o777, 0o700);
}

#[test]
fn exec_beats_what_the_shell_exported_and_keeps_the_exit_code() {
    let mut world = World::tracked();
    world.set("MLFLOW_ACTIVE_MODEL_ID", "m-stale");
    let env = world.exec_env();
    assert_eq!(env["MLFLOW_ACTIVE_MODEL_ID"], world.env_id());
    assert!(env["MLFLOW_TRACKING_URI"].starts_with("sqlite:////"));
    assert_eq!(env["MLFLOW_EXPERIMENT_ID"], "0");
    assert_eq!(env["TRACEMARK_SOCKET"], world.socket().to_str().unwrap());
    assert_eq!(
        world.tracemark(&["exec", "--", "sh", "-c", "exit 7"]).code,
        Some(7)
    );
    assert_eq!(
        world.tracemark(&["exec", "--", "no-such-program"]).code,
        Some(127)
    );
}

#[test]
fn exec_hands_out_no_id_of_another_store_than_the_commands() {
    let mut world = World::tracked();
    world.set("MLFLOW_TRACKING_URI", "http://127.0.0.1:9");
    let said = world.tracemark(&[
        "exec",
        "--",
        "sh",
        "-c",
        "echo \"[$MLFLOW_ACTIVE_MODEL_ID]\"",
    ]);
    assert_eq!(said.stdout, "[]\n");
    assert!(said.stderr.contains("MLFLOW_TRACKING_URI"), "{said:?}");
    assert_eq!(
        world.tracemark(&["exec", "--require", "--", "true"]).code,
        Some(125)
    );
}

#[test]
fn env_is_the_same_for_every_shell() {
    let world = World::tracked();
    let id = world.env_id();
    let script = "eval \"$($TM env)\"; echo $MLFLOW_ACTIVE_MODEL_ID";
    for shell in ["sh", "bash"] {
        let mut command = world.command(shell);
        command
            .env("TM", env!("CARGO_BIN_EXE_tracemark"))
            .args(["-c", script]);
        assert_eq!(Said::of(&command.output().unwrap()).ok().trim(), id);
    }
    let json: Value =
        serde_json::from_str(&world.tracemark(&["env", "--shell", "json"]).ok()).unwrap();
    assert_eq!(json["MLFLOW_ACTIVE_MODEL_ID"], id);
    let fish = world.tracemark(&["env", "--shell", "fish"]).ok();
    assert!(
        fish.contains(&format!("set -gx MLFLOW_ACTIVE_MODEL_ID '{id}';")),
        "{fish}"
    );
}

#[test]
fn a_store_whose_path_a_shell_would_split_reaches_every_shell_whole() {
    let world = World::with_commit();
    let dir = world.base().join("it's $HOME; a \\ \"b\" ü");
    std::fs::create_dir(&dir).unwrap();
    let store = sqlite_store(&dir);
    world.tracemark(&["up", "--store", &store]).ok();
    let uri = world.exec_env()["MLFLOW_TRACKING_URI"].clone();
    assert!(uri.ends_with("ü/mlflow.db"), "{uri}");
    let script = "eval \"$($TM env)\"; printf %s \"$MLFLOW_TRACKING_URI\"";
    for shell in ["sh", "bash"] {
        let mut command = world.command(shell);
        command.env("TM", env!("CARGO_BIN_EXE_tracemark"));
        let said = command.args(["-c", script]).output().unwrap();
        assert_eq!(Said::of(&said).ok(), uri);
    }
    let json: Value =
        serde_json::from_str(&world.tracemark(&["env", "--shell", "json"]).ok()).unwrap();
    assert_eq!(json["MLFLOW_TRACKING_URI"], uri);
    let fish = world.tracemark(&["env", "--shell", "fish"]).ok();
    let quoted = uri.replace('\\', r"\\").replace('\'', r"\'");
    assert!(
        fish.contains(&format!("set -gx MLFLOW_TRACKING_URI '{quoted}';")),
        "{fish}"
    );
    let dotenv = world.tracemark(&["env", "--shell", "dotenv"]);
    assert!(
        dotenv.stderr.contains("MLFLOW_TRACKING_URI is"),
        "{dotenv:?}"
    );
    assert!(!dotenv.ok().contains("MLFLOW_TRACKING_URI"));
}

#[test]
fn a_store_whose_path_holds_a_space_is_quoted_for_readers_of_env_files() {
    let world = World::with_commit();
    let dir = world.base().join("my data");
    std::fs::create_dir(&dir).unwrap();
    world
        .tracemark(&["up", "--store", &sqlite_store(&dir)])
        .ok();
    let said = world.tracemark(&["env", "--shell", "dotenv"]).ok();
    let uri = &world.exec_env()["MLFLOW_TRACKING_URI"];
    assert!(
        said.contains(&format!("MLFLOW_TRACKING_URI='{uri}'\n")),
        "{said}"
    );
}

#[test]
fn env_for_dotenv_is_the_env_file_without_its_comment() {
    let world = World::tracked();
    world.tracemark(&["active"]).ok();
    let said = world.tracemark(&["env", "--shell", "dotenv"]).ok();
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split('=').next().unwrap().to_owned())
            .collect()
    };
    let lines: BTreeSet<_> = said.lines().collect();
    let file = std::fs::read_to_string(world.repo().join(".git/tracemark/env")).unwrap();
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        assert!(lines.contains(line), "{line}: {said}");
    }
    let more = ["MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"].map(str::to_owned);
    assert_eq!(names(&said), [names(&file), more.to_vec()].concat());
    assert!(!said.contains(['"', '\'', '$']), "{said}");
}

#[test]
fn exec_leaves_the_terminal_to_the_command() {
    let world = World::tracked();
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size && stty -a | tr -d '\r' | grep -o ' -\\?echo '";
    let said = world.on_terminal(&["exec", "--", "sh", "-c", script], &[]);
    assert_eq!(said.ok(), "24 80\r\n echo \r\n");
    let said = world.on_terminal(&["exec", "--", "sh", "-c", "exit 37"], &[]);
    assert_eq!(said.code, Some(37));
}

/// A child that does not outlive its test.
struct EndedAtLast(Child);

impl Drop for EndedAtLast {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_signal_goes_to_the_command_that_exec_became() {
    use std::os::unix::process::ExitStatusExt as _;
    let world = World::tracked();
    let run = |script: &str, signal: rustix::process::Signal| {
        // A shell has what it runs in the background ignore SIGINT, tests too.
        let heeding = "import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])";
        let mut exec = world.command("python3");
        exec.args(["-c", heeding, env!("CARGO_BIN_EXE_tracemark")]);
        exec.args(["exec", "--", "sh", "-c", script]);
        let mut child = EndedAtLast(exec.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        let stdout = child.0.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert_eq!(line, "ready\n");
        let pid = rustix::process::Pid::from_child(&child.0);
        rustix::process::kill_process(pid, signal).unwrap();
        wait_until("the signal arrives", || child.0.try_wait().unwrap())
    };
    let trapped =
        "trap 'exit 41' TERM; trap 'exit 42' INT; echo ready; while :; do sleep 0.01; done";
    assert_eq!(run(trapped, rustix::process::Signal::TERM).code(), Some(41));
    assert_eq!(run(trapped, rustix::process::Signal::INT).code(), Some(42));
    let plain = "echo ready; exec sleep 1000";
    assert_eq!(run(plain, rustix::process::Signal::TERM).signal(), Some(15));
    assert_eq!(run(plain, rustix::process::Signal::INT).signal(), Some(2));
}

#[test]
fn once_answers_in_a_fresh_clone_on_a_detached_head_and_in_a_shallow_clone() {
    let mut world = World::with_commit();
    world.write("app.py", "print(2)\n");
    world.commit("second");
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    let head = world.git(&["rev-parse", "HEAD"]);
    let origin = format!("file://{}", world.repo().display());
    let mut ids = BTreeSet::new();
    for (name, options, detached) in [
        ("fresh", &[][..], false),
        ("detached", &[], true),
        ("shallow", &["--depth", "1"], false),
        ("shallow-detached", &["--depth", "1"], true),
    ] {
        let clone = world.base().join(name);
        let to = clone.to_str().unwrap();
        world.git(&[&["clone", "-q"][..], options, &[&origin, to]].concat());
        if detached {
            world.git(&["-C", to, "checkout", "-q", "--detach"]);
        }
        let run = |arguments: &[&str]| {
            let mut once = world.command(env!("CARGO_BIN_EXE_tracemark"));
            let once = once.args(arguments).current_dir(&clone).env("CI", "true");
            Said::of(&once.output().unwrap()).ok()
        };
        let id = run(&["active", "--once"]);
        let echo = "echo $MLFLOW_ACTIVE_MODEL_ID";
        assert_eq!(
            run(&["exec", "--once", "--", "sh", "-c", echo]),
            id,
            "{name}"
        );
        let json: Value = serde_json::from_str(&run(&["active", "--once", "--json"])).unwrap();
        assert_eq!(
            (&json["name"], &json["head"]),
            (&head.clone().into(), &head.clone().into())
        );
        assert!(!clone.join(".git/hooks/post-commit").exists());
        ids.insert(id);
    }
    assert_eq!(ids.len(), 1, "the same code is the same version: {ids:?}");
    assert_eq!(world.daemon_pid(), None);
}

#[test]
fn once_needs_neither_up_nor_a_daemon() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    let first = world.tracemark(&["active", "--once"]).ok();
    assert_eq!(world.tracemark(&["active", "--once"]).ok(), first);
    let said = world.tracemark(&[
        "exec",
        "--once",
        "--",
        "sh",
        "-c",
        "echo $MLFLOW_ACTIVE_MODEL_ID",
    ]);
    assert_eq!(said.ok(), first);
    assert_eq!(world.daemon_pid(), None);
}

#[test]
fn a_version_that_was_made_without_up_is_shown_from_where_it_was_made() {
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &sqlite_store(world.base()));
    let id = world.tracemark(&["active", "--once"]).ok();
    let shown = world.tracemark(&["show", id.trim()]).ok();
    assert!(shown.contains("0 traces"), "{shown}");
}

#[test]
fn linked_worktrees_are_tracked_each_with_its_own_code() {
    let world = World::tracked();
    let other = world.base().join("other");
    world.add_worktree(&other);
    std::fs::write(other.join("app.py"), "print('side')\n").unwrap();
    let asked = world.get(&format!(
        "/v1/active?worktree={}&wait=20000",
        other.display()
    ));
    assert_eq!(
        (&asked["state"], &asked["dirty"]),
        (&"active".into(), &true.into())
    );
    let env_file = asked["env_file"].as_str().unwrap();
    assert!(env_file.contains("worktrees"), "{env_file}");
    assert_ne!(asked["model_id"], world.env_id());
}

#[test]
fn running_an_app_is_no_change_of_the_code() {
    let world = World::tracked();
    let id = world.env_id();
    world.write("mlflow.db-journal", "x");
    world.write("mlruns/0/meta", "x");
    world.write("__pycache__/app.pyc", "x");
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_state_that_the_helper_cannot_name_is_tracked_under_its_tree() {
    let world = World::tracked();
    world.write("app.py", b"print('caf\xe9')\n");
    world.tracemark(&["hash"]).failed(1, "not UTF-8");
    let said = world.get(&active_target(&world, "&wait=20000"));
    assert_eq!(said["state"], "active");
    assert!(
        said["name"].as_str().unwrap().starts_with("repo-tree-"),
        "{said}"
    );
    assert!(
        said["note"].as_str().unwrap().contains("not UTF-8"),
        "{said}"
    );
}

#[test]
fn what_up_says_can_be_pasted_where_the_path_holds_a_space() {
    let world = World::without_repository();
    let repo = world.base().join("my app's");
    let git = |arguments: &[&str]| world.git(arguments);
    git(&["init", "-q", "-b", "main", repo.to_str().unwrap()]);
    git(&[
        "-C",
        repo.to_str().unwrap(),
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "first",
    ]);
    let store = sqlite_store(world.base());
    let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
    up.args(["up", "--store", &store]).current_dir(&repo);
    let said = Said::of(&up.output().unwrap()).ok();
    let line = said.lines().find(|line| line.contains("set -a")).unwrap();
    let shell = line.split("(or: ").nth(1).unwrap().trim_end_matches(')');
    let script = format!("{shell}; echo $MLFLOW_ACTIVE_MODEL_ID");
    let sourced = Said::of(&world.command("sh").args(["-c", &script]).output().unwrap()).ok();
    assert!(sourced.starts_with("m-"), "{said}");
}

#[test]
fn up_says_which_rule_lets_in_what_an_app_leaves() {
    let (world, store) = world_with_store();
    world.write(".gitignore", "!mlflow.db\n");
    let said = world.tracemark(&["up", "--store", &store]);
    assert!(
        said.stderr
            .contains("a rule lets mlflow.db in all the same"),
        "{said:?}"
    );
    world
        .tracemark(&["up", "--experiment", ""])
        .failed(2, "an experiment has a name");
}

#[test]
fn up_tells_each_step_on_a_terminal_and_only_there() {
    let (world, _) = world_with_store();
    let script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let mut python = world.command("python3");
    python.args(["-c", script, env!("CARGO_BIN_EXE_tracemark"), "up"]);
    let on_terminal = Said::of(&python.output().unwrap()).ok();
    for step in ["store ", "hooks ", "daemon ", "code "] {
        let told = on_terminal.lines().any(|line| line.starts_with(step));
        assert!(told, "{step}: {on_terminal}");
    }
    let off = world.tracemark(&["up"]);
    assert!(!off.stderr.contains("daemon "), "{off:?}");
}

#[test]
fn up_refuses_a_repository_that_is_the_home_directory_unless_asked() {
    let (world, _) = world_with_store();
    let home = world.base().join("home");
    world.git(&["init", "-q", home.to_str().unwrap()]);
    let up = |more: &[&str]| {
        let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
        up.arg("up").args(more).current_dir(&home);
        Said::of(&up.output().unwrap())
    };
    let before = snapshot(&world);
    up(&[]).failed(3, "a repository of everything");
    assert_same(&before, &snapshot(&world));
    up(&["--allow-home", "--dry-run"]).ok();
}

/// An interpreter of a virtual environment with an MLflow that is as old as its metadata says.
fn with_old_mlflow(world: &World) {
    let python = Said::of(
        &world
            .command("python3")
            .args(["-m", "venv", "--without-pip", ".venv"])
            .output()
            .unwrap(),
    );
    python.ok();
    let lib = std::fs::read_dir(world.repo().join(".venv/lib"))
        .unwrap()
        .next()
        .unwrap();
    let packages = lib.unwrap().path().join("site-packages");
    let info = packages.join("mlflow-2.9.2.dist-info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(
        info.join("METADATA"),
        "Metadata-Version: 2.1\nName: mlflow\nVersion: 2.9.2\n",
    )
    .unwrap();
    std::fs::create_dir_all(packages.join("mlflow")).unwrap();
    std::fs::write(packages.join("mlflow/__init__.py"), "").unwrap();
    world.write(".gitignore", ".venv/\n");
}

#[test]
fn up_tells_what_would_make_tracking_useless_and_what_to_type() {
    let mut world = World::new();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    world.set("MLFLOW_ACTIVE_MODEL_ID", "m-yesterday");
    with_old_mlflow(&world);
    world.write(
        "app.py",
        "import mlflow\nmlflow.set_experiment('support')\n",
    );
    world.write(".env", "MLFLOW_TRACKING_URI=http://localhost:5000\n");
    let said = world.tracemark(&["up"]);
    let told = |cause: &str, cure: &str| {
        let mut lines = said.stderr.lines().skip_while(|line| !line.contains(cause));
        assert!(lines.next().is_some(), "{cause}: {said:?}");
        let line = lines.next().unwrap();
        assert!(
            line.starts_with("  try: ") && line.contains(cure),
            "{said:?}"
        );
    };
    told(
        "exports MLFLOW_ACTIVE_MODEL_ID",
        "unset MLFLOW_ACTIVE_MODEL_ID",
    );
    told("no commit yet", "git commit");
    told("MLflow is 2.9.2", "pip install 'mlflow>=3.1'");
    told("app.py:2 sets the experiment", "--experiment support");
    told(
        ".env sets MLFLOW_TRACKING_URI",
        "take MLFLOW_TRACKING_URI out",
    );
}

/// Runs a command on a terminal and gives the same answer to each question.
const AT_TERMINAL: &str = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execvp(sys.argv[2], sys.argv[2:])
seen = b''
while True:
    try: said = os.read(fd, 4096)
    except OSError: break
    if not said: break
    seen += said
    sys.stdout.buffer.write(said); sys.stdout.flush()
    if seen.endswith(b'[Y/n] '): os.write(fd, sys.argv[1].encode() + b'\\n'); seen = b''
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

fn up_at_terminal(world: &World, reply: &str) -> Said {
    let mut python = world.command("python3");
    let program = env!("CARGO_BIN_EXE_tracemark");
    python.args(["-c", AT_TERMINAL, reply, program, "up"]);
    Said::of(&python.output().unwrap())
}

/// No commit, and code that names an experiment.
fn useless() -> World {
    let mut world = World::new();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    world.write(
        "app.py",
        "import mlflow\nmlflow.set_experiment('support')\n",
    );
    world
}

fn commits(world: &World) -> usize {
    let log = world
        .command("git")
        .args(["log", "--format=%s"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&log.stdout).lines().count()
}

#[test]
fn up_on_a_terminal_offers_to_mend_what_would_make_tracking_useless() {
    let world = useless();
    let refused = up_at_terminal(&world, "n").ok();
    assert_eq!(refused.matches("[Y/n]").count(), 2, "{refused}");
    assert_eq!(commits(&world), 0);
    assert!(refused.contains("experiment 0"), "{refused}");
    let agreed = up_at_terminal(&world, "").ok();
    assert_eq!(commits(&world), 1, "{agreed}");
    assert_eq!(world.git(&["status", "--porcelain"]), "?? app.py");
    assert!(
        !agreed.contains("no commit yet, so: its versions"),
        "{agreed}"
    );
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(!doctor.contains("sets the experiment"), "{doctor}");
    let again = up_at_terminal(&world, "n").ok();
    assert!(!again.contains("[Y/n]"), "{again}");
}

#[test]
fn up_asks_nothing_and_mends_nothing_where_nobody_can_answer_unless_told_to() {
    let world = useless();
    let said = world.tracemark(&["up"]);
    assert!(!said.stderr.contains("[Y/n]"), "{said:?}");
    assert!(said.stderr.contains("no commit yet"), "{said:?}");
    assert_eq!(commits(&world), 0);
    world.tracemark(&["up", "--yes"]).ok();
    assert_eq!(commits(&world), 1);
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(!doctor.contains("sets the experiment"), "{doctor}");
}

#[test]
fn a_database_that_git_tracks_leaves_the_index_if_a_person_agrees() {
    let world = World::with_commit();
    sqlite_store(&world.repo());
    let name = std::fs::read_dir(world.repo()).unwrap().flatten();
    let name = name.map(|entry| entry.file_name().into_string().unwrap());
    let name = name.into_iter().find(|name| name.contains(".db")).unwrap();
    world.git(&["add", "-f", &name]);
    world.git(&["commit", "-q", "-m", "with a database"]);
    let uri = format!("sqlite:///{}", world.repo().join(&name).display());
    let up = ["up", "--store", &uri];
    world.tracemark(&up).failed(3, "is tracked by git");
    assert_ne!(world.git(&["ls-files", &name]), "");
    let mut more = up.to_vec();
    more.push("--yes");
    world.tracemark(&more).ok();
    assert_eq!(world.git(&["ls-files", &name]), "");
    assert!(world.repo().join(&name).exists());
}

#[test]
fn up_refuses_a_repository_of_the_whole_disk() {
    let world = World::with_commit();
    world.git(&["config", "core.worktree", "/"]);
    let dir = world.repo();
    let said = world.tracemark_in(&dir, &["up"]);
    said.failed(3, "/ is a repository of everything");
    assert!(!world.state_dir().exists());
}

#[test]
fn a_command_that_only_looks_makes_no_state() {
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &sqlite_store(world.base()));
    let nowhere = format!("m-{}", "0".repeat(32));
    for arguments in [&["log"][..], &["show", "HEAD"], &["show", &nowhere]] {
        let said = world.tracemark(arguments);
        assert!(!world.state_dir().exists(), "{arguments:?}: {said:?}");
    }
}
