//! Do the commands keep their promises: what `up` writes, what `down` takes back, what the socket answers?

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::python::sqlite_store;
use crate::world::{Said, World, is_alive, wait_until};

fn active_target(world: &World, more: &str) -> String {
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
    let before = snapshot(&world.repo());
    world.tracemark(&["up", "--store", &store]).ok();
    let pid = world.daemon_pid().unwrap();
    assert_ne!(snapshot(&world.repo()), before);
    world.tracemark(&["down"]).ok();
    let mut after = snapshot(&world.repo());
    let kept = world.repo().join(".git/tracemark");
    after.retain(|path, _| *path != kept && !path.starts_with(kept.join("snapshots")));
    assert_eq!(after, before, "all but the code that traces may refer to");
    wait_until("the daemon without repositories ends", || {
        (!is_alive(pid)).then_some(())
    });
    assert!(!world.socket().exists());
}

/// Every file below a directory with its mode and bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
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
fn the_hook_runs_beside_a_hook_that_is_there_and_never_fails_a_commit() {
    let world = World::with_commit();
    world.write(
        ".git/hooks/post-commit",
        "#!/bin/sh\necho mine > mine.txt\nexec true\n",
    );
    let hook = world.repo().join(".git/hooks/post-commit");
    std::fs::set_permissions(hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let before = world.env_id();
    world.write("app.py", "print(2)\n");
    world.commit("second");
    assert!(world.repo().join("mine.txt").exists());
    world.new_env_id(&before);
    world.signal_daemon(rustix::process::Signal::TERM);
    world.write("app.py", "print(3)\n");
    world.commit("without a daemon");
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
fn a_follower_gets_the_state_now_and_then_every_change() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let world = World::tracked();
    let mut stream = std::os::unix::net::UnixStream::connect(world.socket()).unwrap();
    let target = format!("/v1/events?worktree={}", world.repo().display());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = || -> Value {
        let line = lines.find(|line| line.starts_with('{')).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let now = next();
    assert_eq!(now["model_id"], world.env_id());
    world.write("app.py", "print(2)\n");
    let withdrawn = next();
    assert_eq!(
        (&withdrawn["state"], &withdrawn["model_id"]),
        (&"pending".into(), &Value::Null)
    );
    let mut active = next();
    while active["state"] != "active" {
        active = next();
    }
    assert_ne!(active["model_id"], now["model_id"]);
    assert!(active["generation"].as_u64() > now["generation"].as_u64());
}

#[test]
fn a_daemon_that_stops_leaves_no_id_behind_and_the_next_question_starts_one() {
    let world = World::tracked();
    let id = world.env_id();
    let pid = world.signal_daemon(rustix::process::Signal::TERM).unwrap();
    wait_until("it ends", || (!is_alive(pid)).then_some(()));
    assert_eq!(world.env_id(), "");
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert_eq!(world.env_id(), id);
}

#[test]
fn a_killed_daemon_is_replaced_and_its_id_still_means_the_same_code() {
    let world = World::tracked();
    let id = world.env_id();
    let pid = world.signal_daemon(rustix::process::Signal::KILL).unwrap();
    wait_until("it ends", || (!is_alive(pid)).then_some(()));
    world.write("app.py", "print('changed while nobody looked')\n");
    assert_ne!(world.tracemark(&["active"]).ok().trim(), id);
    assert_ne!(world.env_id(), id);
}

#[test]
fn a_second_daemon_says_that_one_is_running() {
    let world = World::tracked();
    world
        .tracemark(&["daemon"])
        .failed(5, "another tracemark daemon");
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
fn a_worktree_that_was_added_just_now_is_watched_not_read_at_intervals() {
    let world = World::tracked();
    for n in 0..4 {
        let dir = world.base().join(format!("side{n}"));
        let (dir, branch) = (dir.to_str().unwrap(), format!("side{n}"));
        world.git(&["worktree", "add", "-q", "-b", &branch, dir]);
        let mut active = world.command(env!("CARGO_BIN_EXE_tracemark"));
        Said::of(&active.arg("active").current_dir(dir).output().unwrap()).ok();
    }
    let status = world.get("/v1/status");
    let worktrees = status["worktrees"].as_array().unwrap().iter();
    let modes: Vec<_> = worktrees.map(|one| one["mode"].clone()).collect();
    assert_eq!(modes, vec![Value::from("watch"); 5]);
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
fn a_file_that_only_libgit2_would_ignore_is_watched() {
    let mut world = World::with_commit();
    std::fs::write(world.base().join("home/ignore"), "*.txt\nnotes/\n").unwrap();
    let config = "[core]\n\texcludesFile = ~/ignore\n";
    std::fs::write(world.base().join("home/.gitconfig"), config).unwrap();
    world.set("GIT_CONFIG_GLOBAL", "/dev/null");
    let store = sqlite_store(world.base());
    world.write("notes/a.md", "one");
    world.tracemark(&["up", "--store", &store]).ok();
    let first = world.env_id();
    world.write("prompt.txt", "one");
    let second = world.new_env_id(&first);
    world.write("notes/a.md", "two");
    world.new_env_id(&second);
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
fn what_is_no_longer_ignored_is_watched() {
    let world = World::with_commit();
    world.write(".gitignore", "build/\n");
    world.write("build/deep/a.txt", "one");
    world.write("build/b.txt", "one");
    world.commit("ignoring");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let first = world.env_id();
    world.git(&["add", "-f", "build/b.txt"]);
    let second = world.new_env_id(&first);
    world.write("build/b.txt", "two");
    let third = world.new_env_id(&second);
    world.write(".gitignore", "# nothing\n");
    let fourth = world.new_env_id(&third);
    world.write("build/deep/a.txt", "two");
    world.new_env_id(&fourth);
}

#[test]
fn a_file_in_a_directory_made_a_moment_ago_is_seen() {
    let world = World::tracked();
    let mut id = world.env_id();
    for n in 0..20 {
        world.write(&format!("new{n}/deep/er/file.txt"), n.to_string());
        id = world.new_env_id(&id);
        world.write(&format!("new{n}/deep/er/file.txt"), "changed");
        id = world.new_env_id(&id);
    }
}

#[test]
fn a_file_that_a_program_writes_back_and_forth_is_never_named_for_other_bytes() {
    let world = World::tracked();
    let names: Vec<String> = ["one", "two"]
        .iter()
        .map(|text| {
            world.write("app.py", text);
            let said = world.get(&active_target(&world, "&wait=20000"));
            format!("{} {}", said["content"], said["name"])
        })
        .collect();
    let path = world.repo().join("app.py");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut texts = ["one", "two"].iter().cycle();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let next = world.base().join("next");
                std::fs::write(&next, texts.next().unwrap()).unwrap();
                std::fs::rename(&next, &path).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        });
        let mut answers = Vec::new();
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while answers.len() < 20 && std::time::Instant::now() < deadline {
            let said = world.get(&active_target(&world, "&wait=500"));
            if said["fresh"] == true {
                answers.push(format!("{} {}", said["content"], said["name"]));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let wrong: Vec<_> = answers.iter().filter(|one| !names.contains(one)).collect();
        assert!(wrong.is_empty(), "{wrong:?} never was: {names:?}");
        assert!(!answers.is_empty(), "nothing was published");
    });
}

/// A time that moved in there would be an event, the event a reading, and so on for ever.
#[test]
fn reading_a_packed_repository_freshens_no_time_in_it() {
    let world = World::with_commit();
    world.git(&["gc", "-q"]);
    world.write("app.py", "print('dirty')\n");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let times = || {
        let mut files = world.files_with_times(".git");
        files.retain(|path, _| !path.starts_with(world.repo().join(".git/tracemark")));
        files
    };
    let before = times();
    for _ in 0..3 {
        world.tracemark(&["active"]).ok();
        assert_eq!(times(), before);
    }
}

#[test]
fn the_daemon_holds_nothing_of_the_shell_that_started_it() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let script = "exec 9>held-by-the-shell; \"$TM\" up --store \"$STORE\" >/dev/null";
    let mut shell = world.command("sh");
    shell
        .args(["-c", script])
        .env("TM", env!("CARGO_BIN_EXE_tracemark"))
        .env("STORE", &store);
    Said::of(&shell.output().unwrap()).ok();
    let open = std::fs::read_dir(format!("/proc/{}/fd", world.daemon_pid().unwrap())).unwrap();
    let held = open
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    assert!(
        !held
            .into_iter()
            .any(|path| path.ends_with("held-by-the-shell"))
    );
}

/// Runs a script that leaves a file, instead of what was asked for.
fn canary(world: &World) -> (PathBuf, String) {
    let (sung, script) = (world.base().join("sung"), world.base().join("canary"));
    std::fs::write(
        &script,
        format!("#!/bin/sh\necho \"$0\" \"$@\" >>{}\n", sung.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    (sung, script.display().to_string())
}

/// Variables by which git and shells run a program.
const RUNNING: [&str; 7] = [
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH_COMMAND",
    "GIT_PAGER",
    "PAGER",
    "GIT_EDITOR",
    "GIT_ASKPASS",
    "GIT_CONFIG_VALUE_0",
];

/// Returns the program with the canary wherever a variable names one.
fn with_canary(world: &World, canary: &str, program: &str, argument: &str) -> Command {
    let mut command = world.command(program);
    command.envs(RUNNING.map(|name| (name, canary)));
    command
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.fsmonitor")
        .arg(argument);
    command
}

/// Returns variables that lead git elsewhere, and shells astray.
fn leading_astray<'a>(elsewhere: &'a str, canary: &'a str) -> [(&'static str, &'a str); 17] {
    [
        ("GIT_CONFIG_PARAMETERS", "'core.fsmonitor'='false'"),
        ("GIT_DIR", elsewhere),
        ("GIT_WORK_TREE", elsewhere),
        ("GIT_INDEX_FILE", elsewhere),
        ("GIT_OBJECT_DIRECTORY", elsewhere),
        ("GIT_NAMESPACE", "other"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_DIFF_OPTS", "--unified=9"),
        ("GIT_TRACE", canary),
        ("GIT_TRACE2_EVENT", canary),
        ("GIT_DEFAULT_HASH", "none"),
        ("BASH_ENV", canary),
        ("ENV", canary),
        ("IFS", "/"),
        ("CDPATH", "/"),
        ("LC_ALL", "xx_YY.none"),
        ("MLFLOW_ACTIVE_MODEL_ID", "m-$(touch sung)"),
    ]
}

#[test]
fn a_daemon_of_a_shell_with_hostile_variables_runs_none_of_them_and_tells_the_same() {
    let world = World::tracked();
    world.kill_daemon();
    let (sung, canary) = canary(&world);
    let elsewhere = world.base().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let elsewhere = elsewhere.display().to_string();
    drop(
        with_canary(&world, &canary, "git", "diff")
            .output()
            .unwrap(),
    );
    assert!(sung.exists(), "the canary does not sing");
    std::fs::remove_file(&sung).unwrap();
    let program = env!("CARGO_BIN_EXE_tracemark");
    let mut daemon = with_canary(&world, &canary, program, "daemon");
    daemon.envs(leading_astray(&elsewhere, &canary));
    let before = std::fs::read(&canary).unwrap();
    let mut daemon = daemon
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let id = wait_until("an id", || Some(world.env_id()).filter(|id| !id.is_empty()));
    world.write("app.py", "print('saved beside a hostile shell')\n");
    let id = world.new_env_id(&id);
    assert_eq!(
        world.env_file()["TRACEMARK_NAME"],
        world.tracemark(&["hash"]).ok().trim()
    );
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert!(
        !sung.exists(),
        "{}",
        std::fs::read_to_string(&sung).unwrap()
    );
    let traces = std::fs::read(&canary).unwrap().len() - before.len();
    assert_eq!(traces, 0, "bytes of git's traces");
    world.signal_daemon(rustix::process::Signal::TERM);
    daemon.wait().unwrap();
}

#[test]
fn a_commit_in_a_submodule_and_a_note_of_ones_own_are_seen() {
    let world = World::tracked();
    world.add_submodule();
    world.commit("with submodule");
    let id = world.tracemark(&["active"]).ok().trim().to_owned();
    world.git(&["-C", "sub", "commit", "-q", "--allow-empty", "-m", "more"]);
    let id = world.new_env_id(&id);
    world.write(".tracemark/notes.txt", "mine");
    let id = world.new_env_id(&id);
    world.write(".tracemark/notes.txt", "mine, changed");
    world.new_env_id(&id);
}
