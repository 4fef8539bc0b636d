//! Does `doctor` find the troubles that there are, and none where there is none?

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::python::sqlite_store;
use crate::stub::Stub;
use crate::world::{Said, World};

/// The words of the checks that found something; the text says the same as the document.
#[track_caller]
pub(crate) fn findings(world: &World) -> Vec<String> {
    let said = world.tracemark(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["schema"], 1);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(said.code, Some(i32::from(!findings.is_empty())), "{said:?}");
    let text = world.tracemark(&["doctor"]);
    for finding in findings {
        let (problem, cure) = (&finding["problem"], &finding["cure"]);
        let lines = format!(
            "{}\n  try: {}\n",
            problem.as_str().unwrap(),
            cure.as_str().unwrap()
        );
        assert!(text.stdout.contains(&lines), "{lines}: {text:?}");
    }
    let word = |finding: &Value| finding["check"].as_str().unwrap().to_owned();
    findings.iter().map(word).collect()
}

#[test]
fn doctor_finds_nothing_where_all_is_well() {
    let world = World::tracked();
    assert_eq!(world.tracemark(&["doctor"]).ok(), "no trouble was found\n");
    assert!(findings(&world).is_empty());
}

/// Where the packs of the snapshots lie, the largest first.
pub(crate) fn packs(world: &World) -> Vec<std::path::PathBuf> {
    let dir = world
        .repo()
        .join(".git/tracemark/snapshots/store.git/objects/pack");
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let mut packs: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "pack"))
        .collect();
    packs.sort_by_key(|pack| std::cmp::Reverse(pack.metadata().unwrap().len()));
    packs
}

/// A version of its own, kept.
pub(crate) fn kept_version(world: &World, text: &str) -> String {
    world.write("app.py", format!("print('{text}')\n"));
    let id = world.tracemark(&["active"]).ok().trim().to_owned();
    crate::world::wait_until("it is kept", || {
        (world.status()["restorable"] == "true").then_some(())
    });
    id
}

#[track_caller]
pub(crate) fn brings_back(world: &World, id: &str, text: &str) {
    let dir = world.base().join(format!("back-{text}"));
    world
        .tracemark(&["restore", id, dir.to_str().unwrap()])
        .ok();
    let file = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(file("app.py"), format!("print('{text}')\n"));
    assert_eq!(file("prompt.txt"), "be kind\n");
}

#[test]
fn a_damaged_pack_is_named_with_its_cure_and_versions_after_that_are_kept_whole() {
    let world = World::with_commit();
    world.write("prompt.txt", "be kind\n");
    world.commit("a prompt");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let before = kept_version(&world, "before");
    let pack = packs(&world).remove(0);
    let mut bytes = std::fs::read(&pack).unwrap();
    let end = bytes.len() - 20;
    bytes[12..end].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&pack, bytes).unwrap();
    assert_eq!(findings(&world), ["snapshots"]);
    let elsewhere = world.base().join("elsewhere");
    let failed = world.tracemark(&["restore", &before, elsewhere.to_str().unwrap()]);
    assert!(
        failed.stderr.contains("try: tracemark doctor"),
        "{failed:?}"
    );
    assert!(!elsewhere.exists());
    let report: Value =
        serde_json::from_str(&world.tracemark(&["doctor", "--json"]).stdout).unwrap();
    let cure = report["findings"][0]["cure"].as_str().unwrap();
    let mut shell = world.command("sh");
    Said::of(&shell.args(["-c", cure]).output().unwrap()).ok();
    assert!(findings(&world).is_empty());
    let after = kept_version(&world, "after");
    brings_back(&world, &after, "after");
}

#[test]
fn doctor_asks_for_up_where_nothing_is_tracked_and_for_nothing_outside_of_git() {
    let world = World::with_commit();
    assert_eq!(findings(&world), ["not_tracked"]);
    assert!(findings(&World::without_repository()).is_empty());
}

#[test]
fn doctor_tells_of_an_app_that_looks_elsewhere() {
    let world = World::tracked();
    world.write("app.py", "import mlflow\nmlflow.set_experiment(\"support\")\nmlflow.set_tracking_uri('http://localhost:5000')\n");
    world.write(".env", "export MLFLOW_EXPERIMENT_NAME='other'\n");
    world.write("service/mlflow.db", "x");
    world.write(".tracemark.toml", "nameing = 'tree'\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(
        findings(&world),
        [
            "setting",
            "other_experiment",
            "other_store",
            "env_file_against",
            "other_database"
        ]
    );
    let said = world.tracemark(&["doctor"]).stdout;
    assert!(
        said.contains("app.py:2") && said.contains("app.py:3"),
        "{said}"
    );
    assert!(said.contains("service/mlflow.db"), "{said}");
}

#[test]
fn doctor_tells_of_hooks_that_another_manager_owns_until_they_call_tracemark() {
    let world = World::tracked();
    world.git(&["config", "core.hooksPath", ".husky/_"]);
    world.write(".husky/_/post-commit", "#!/bin/sh\n. \"$0\"\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["hooks_elsewhere"]);
    let said = world.tracemark(&["doctor"]).stdout;
    let line = said.split("/.husky: ").nth(1).unwrap();
    world.write(".husky/post-commit", line.lines().next().unwrap());
    world.tracemark(&["active"]).ok();
    assert!(findings(&world).is_empty());
    world.git(&["config", "--unset", "core.hooksPath"]);
    std::fs::remove_file(world.repo().join(".git/hooks/post-merge")).unwrap();
    assert_eq!(findings(&world), ["hooks"]);
}

#[test]
fn doctor_tells_of_a_store_that_is_away_and_of_a_daemon_that_is() {
    let world = World::with_commit();
    world.tracemark(&["up", "--store", "http://127.0.0.1:9"]);
    assert_eq!(findings(&world), ["store"]);
    world.kill_daemon();
    assert_eq!(findings(&world), ["daemon", "store"]);
}

#[test]
fn doctor_tells_of_an_env_file_that_is_none_and_of_tokens_that_others_can_read() {
    let world = World::tracked();
    world.kill_daemon();
    let file = world.repo().join(".git/tracemark/env");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let credentials = world.base().join("home/.config/tracemark/credentials");
    std::fs::create_dir_all(credentials.parent().unwrap()).unwrap();
    std::fs::write(&credentials, "").unwrap();
    set_mode(&credentials, 0o644);
    assert_eq!(findings(&world), ["daemon", "credentials", "env_file"]);
}

#[test]
fn doctor_tells_of_a_second_daemon_that_commands_would_reach() {
    let mut world = World::tracked();
    let own = world.base().join("other-state");
    let mut other = world.command(env!("CARGO_BIN_EXE_tracemark"));
    other.args(["active"]).env("TRACEMARK_STATE_DIR", &own);
    assert_eq!(Said::of(&other.output().unwrap()).code, Some(4));
    let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let store = sqlite_store(world.base());
    up.args(["up", "--store", &store])
        .env("TRACEMARK_STATE_DIR", &own);
    Said::of(&up.output().unwrap()).ok();
    let socket = own.join("run/api.sock");
    world.set("TRACEMARK_SOCKET", socket.to_str().unwrap());
    assert!(findings(&world).contains(&"two_daemons".to_owned()));
    let mut down = world.command(env!("CARGO_BIN_EXE_tracemark"));
    down.args(["down", "--purge"])
        .env("TRACEMARK_STATE_DIR", &own);
    Said::of(&down.output().unwrap()).ok();
    assert!(!own.exists());
}

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts a program in front of all others.
fn problem(world: &World) -> String {
    world.tracemark(&["doctor"]).stdout
}

#[test]
fn doctor_tells_of_an_old_git() {
    let mut world = World::tracked();
    world.put_before_git("[ \"$1\" = version ] && echo git version 2.30.1 && exit 0\n");
    assert_eq!(findings(&world), ["git"]);
    assert!(problem(&world).contains("git is 2.30:"));
}

#[test]
fn doctor_tells_of_a_socket_that_others_could_use() {
    let world = World::tracked();
    let socket = world.socket();
    set_mode(&socket, 0o666);
    assert_eq!(findings(&world), ["socket"]);
    set_mode(&socket, 0o600);
    set_mode(socket.parent().unwrap(), 0o755);
    assert_eq!(findings(&world), ["socket_dir"]);
}

#[test]
fn doctor_tells_of_every_file_of_passwords_that_others_can_read() {
    let world = World::tracked();
    let home = world.base().join("home");
    std::fs::create_dir(home.join(".mlflow")).unwrap();
    for name in [".mlflow/credentials", ".netrc", ".databrickscfg"] {
        std::fs::write(home.join(name), "").unwrap();
        set_mode(&home.join(name), 0o640);
    }
    assert_eq!(findings(&world), ["credentials"; 3]);
    set_mode(&home.join(".netrc"), 0o600);
    assert_eq!(findings(&world), ["credentials"; 2]);
}

#[test]
fn doctor_tells_of_a_unit_that_systemd_gave_up_and_notes_that_nothing_lingers() {
    let mut world = World::tracked();
    let units = world.base().join("home/.config/systemd/user");
    std::fs::create_dir_all(&units).unwrap();
    let program = env!("CARGO_BIN_EXE_tracemark");
    let unit = format!("[Service]\nExecStart=\"{program}\" daemon\n");
    std::fs::write(units.join("tracemark.service"), unit).unwrap();
    let state = "ActiveState=failed\\nResult=start-limit-hit\\nUnitFileState=enabled";
    world.put_program("systemctl", &format!("printf '{state}\\n'"));
    world.put_program("loginctl", "echo no");
    assert!(findings(&world).contains(&"service".to_owned()));
    let said = problem(&world);
    assert!(
        said.contains("systemd gave up after too many failures"),
        "{said}"
    );
    assert!(
        said.contains("note: the daemon ends with your last login"),
        "{said}"
    );
}

#[test]
fn doctor_tells_of_a_daemon_that_hangs_and_how_to_end_it() {
    let world = World::tracked();
    let pid = world.signal_daemon(rustix::process::Signal::STOP).unwrap();
    let found = findings(&world);
    let said = problem(&world);
    world.signal_daemon(rustix::process::Signal::CONT).unwrap();
    assert_eq!(found, ["daemon"]);
    assert!(
        said.contains(&format!("try: kill -9 {pid}, then")),
        "{said}"
    );
}

#[test]
fn doctor_notes_a_hook_of_our_own_that_is_switched_off() {
    let world = World::tracked();
    let hook = world.repo().join(".git/hooks/post-merge");
    set_mode(&hook, 0o644);
    let said = world.tracemark(&["doctor"]).ok();
    let cure = format!("try: chmod +x {}", hook.display());
    assert!(
        said.contains("post-merge is switched off") && said.contains(&cure),
        "{said}"
    );
}

#[test]
fn doctor_notes_a_restore_that_was_cut_short_and_its_cure_removes_what_it_left() {
    let world = World::tracked();
    let left = world.base().join("left behind");
    let reason = "initializing (tracemark restore)";
    let add = ["worktree", "add", "-q", "--detach", "--no-checkout"];
    let lock = ["--lock", "--reason", reason, left.to_str().unwrap()];
    world.git(&[&add[..], &lock].concat());
    let said = world.tracemark(&["doctor"]).ok();
    let cure = said
        .lines()
        .find_map(|line| line.split_once("try: git worktree "));
    let cure = cure.unwrap_or_else(|| panic!("{said}")).1;
    let cure = cure.strip_suffix(", if none runs").unwrap();
    let run = format!("git -C {} worktree {cure}", world.repo().display());
    assert!(
        world
            .command("sh")
            .args(["-c", &run])
            .status()
            .unwrap()
            .success()
    );
    assert!(!left.exists());
    assert!(!world.tracemark(&["doctor"]).ok().contains("a restore into"));
}

#[test]
fn doctor_names_every_variable_of_an_env_file_that_is_against_it() {
    let world = World::tracked();
    world.write(
        ".env",
        "MLFLOW_TRACKING_URI=http://other:5000\nMLFLOW_EXPERIMENT_NAME=other\nMLFLOW_ACTIVE_MODEL_ID=m-1\n",
    );
    world.write(".flaskenv", "MLFLOW_ACTIVE_MODEL_ID=\"${MODEL}\"\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["env_file_against"; 3]);
    let said = problem(&world);
    assert!(
        said.contains("MLFLOW_ACTIVE_MODEL_ID=m-1, which stays the same"),
        "{said}"
    );
    assert!(
        said.contains("try: take MLFLOW_ACTIVE_MODEL_ID out of .env\n"),
        "{said}"
    );
}

#[test]
fn doctor_tells_of_what_is_no_longer_kept_out_and_of_a_shell_that_goes_elsewhere() {
    let mut world = World::tracked();
    let exclude = world.repo().join(".git/info/exclude");
    std::fs::write(&exclude, "").unwrap();
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["excludes"]);
    world.tracemark(&["up"]).ok();
    world.set("MLFLOW_TRACKING_URI", "http://other:5000");
    world.set("MLFLOW_EXPERIMENT_ID", "77");
    assert_eq!(findings(&world), ["shell_against", "shell_against"]);
}

#[test]
fn doctor_tells_of_other_worktrees_that_are_gone() {
    let world = World::tracked();
    let side = world.base().join("side");
    world.add_worktree(&side);
    let mut active = world.command(env!("CARGO_BIN_EXE_tracemark"));
    active.arg("active").current_dir(&side).output().unwrap();
    std::fs::remove_dir_all(&side).unwrap();
    let said = problem(&world);
    assert!(
        said.contains("side: the directory of this worktree is gone"),
        "{said}"
    );
    assert!(said.contains("worktree prune"), "{said}");
}

#[test]
fn doctor_tells_of_a_setting_that_is_none_once() {
    let world = World::tracked();
    world.write(".tracemark.toml", "app = 'x'\nsettle = \n");
    assert_eq!(
        findings(&world).iter().filter(|it| *it != "state").count(),
        1
    );
    assert!(
        problem(&world).contains(".tracemark.toml: line 2: "),
        "{}",
        problem(&world)
    );
    world.write(".tracemark.toml", "env = 3\n");
    assert!(problem(&world).contains("in `env`"), "{}", problem(&world));
}

#[test]
fn doctor_tells_of_an_id_that_this_shell_exports_unless_it_is_the_one() {
    let mut world = World::tracked();
    world.set("MLFLOW_ACTIVE_MODEL_ID", &world.env_id());
    assert!(findings(&world).is_empty());
    world.set("MLFLOW_ACTIVE_MODEL_ID", "m-old");
    assert_eq!(findings(&world), ["exported_id"]);
}

#[test]
fn doctor_tells_of_a_repository_without_a_commit() {
    let world = World::new();
    world.write("app.py", "print(1)\n");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]);
    assert!(findings(&world).contains(&"no_commit".to_owned()));
}

#[test]
fn doctor_tells_of_an_app_whose_mlflow_is_too_old() {
    let world = World::tracked();
    let venv = ["-m", "venv", "--without-pip", ".venv"];
    Said::of(&world.command("python3").args(venv).output().unwrap()).ok();
    world.write(".gitignore", ".venv/\n");
    let lib = std::fs::read_dir(world.repo().join(".venv/lib")).unwrap();
    let lib = lib.map(|entry| entry.unwrap().path()).next().unwrap();
    let package = lib.join("site-packages/mlflow");
    std::fs::create_dir(&package).unwrap();
    std::fs::write(package.join("__init__.py"), "").unwrap();
    let info = lib.join("site-packages/mlflow-2.22.1.dist-info");
    std::fs::create_dir(&info).unwrap();
    let metadata = "Metadata-Version: 2.1\nName: mlflow\nVersion: 2.22.1\n";
    std::fs::write(info.join("METADATA"), metadata).unwrap();
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["old_mlflow"]);
}

#[test]
fn doctor_tells_of_an_id_in_an_env_file_that_nobody_watches() {
    let world = World::tracked();
    world.kill_daemon();
    assert_eq!(findings(&world), ["daemon", "env_file"]);
}

#[test]
fn doctor_tells_of_hooks_that_cannot_run_and_names_who_owns_others() {
    let world = World::tracked();
    let hook = world.repo().join(".git/hooks/post-commit");
    std::fs::write(&hook, [0x7f, b'E', b'L', b'F', 0]).unwrap();
    assert!(findings(&world).is_empty());
    let note = format!("note: {} is ", hook.display());
    assert!(problem(&world).contains(&note), "{}", problem(&world));
    world.tracemark(&["up"]).ok();
    std::fs::remove_file(&hook).unwrap();
    world.tracemark(&["up"]).ok();
    world.git(&[
        "config",
        "hook.tracemark.command",
        "tracemark hook post-commit",
    ]);
    world.git(&["config", "hook.tracemark.enabled", "false"]);
    assert!(findings(&world).contains(&"hook_disabled".to_owned()));
    world.git(&["config", "--remove-section", "hook.tracemark"]);
    world.git(&["config", "--global", "core.hooksPath", "/opt/hooks"]);
    world.tracemark(&["active"]).ok();
    assert!(
        findings(&world).is_empty(),
        "what the whole machine does is a note"
    );
    let said = problem(&world);
    assert!(
        said.contains("note: git runs no hooks here: /opt/hooks (core.hooksPath in file:"),
        "{said}"
    );
    world.git(&["config", "core.hooksPath", ".husky/_"]);
    let said = problem(&world);
    assert!(said.contains("(husky; core.hooksPath in file:"), "{said}");
}

#[test]
fn doctor_tells_of_a_server_whose_clock_is_another() {
    let world = World::with_commit();
    let stub = Stub::new(&json!({}));
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    assert!(findings(&world).is_empty());
    stub.control(&json!({"clock": 3600}));
    assert_eq!(findings(&world), ["clock"]);
    let said = problem(&world);
    assert!(said.contains("ahead of this machine's"), "{said}");
}

#[test]
fn doctor_ends_beside_a_direnv_that_hangs() {
    let mut world = World::tracked();
    world.write(".envrc", "dotenv .git/tracemark/env\n");
    let asked = world.base().join("asked");
    let script = format!("echo >{}; exec sleep 1000", asked.display());
    world.put_program("direnv", &script);
    let said = problem(&world);
    assert!(said.contains("direnv status gave no answer"), "{said}");
    assert!(asked.exists());
}

#[test]
fn doctor_tells_of_an_envrc_that_direnv_was_not_told_to_run() {
    for (word, allowed) in [("true", true), ("0", true), ("false", false), ("1", false)] {
        let mut world = World::tracked();
        world.put_program("direnv", &format!("echo 'Found RC allowed {word}'"));
        world.write(".envrc", "layout python\n");
        world.tracemark(&["active"]).ok();
        assert!(findings(&world).is_empty());
        world.write(".envrc", "dotenv_if_exists .git/tracemark/env\n");
        world.tracemark(&["active"]).ok();
        assert_eq!(findings(&world).is_empty(), allowed, "{word}");
    }
}

#[test]
fn doctor_notes_a_reader_that_keeps_what_the_shell_exported() {
    let world = World::tracked();
    world.write(
        "app.py",
        "load_dotenv('.git/tracemark/env', override=True)\n",
    );
    world.tracemark(&["active"]).ok();
    assert_eq!(problem(&world), "no trouble was found\n");
    world.write("app.py", "\nload_dotenv('.git/tracemark/env')\n");
    world.tracemark(&["active"]).ok();
    let said = problem(&world);
    assert!(said.contains("note: app.py:2 reads the env file"), "{said}");
    assert!(findings(&world).is_empty());
}

#[test]
fn doctor_reads_keywords_and_notebooks_and_compares_ids_with_ids() {
    let world = World::tracked();
    let experiment = |text: &str| {
        world.write("app.py", text);
        world.tracemark(&["active"]).ok();
        findings(&world)
    };
    assert!(experiment("mlflow.set_experiment(experiment_name='Default')\n").is_empty());
    assert!(experiment("mlflow.set_experiment(experiment_id=\"0\")\n").is_empty());
    assert_eq!(
        experiment("mlflow.set_experiment(\n  experiment_name='a')\n"),
        ["other_experiment"]
    );
    assert_eq!(
        experiment("mlflow.set_experiment(experiment_id='7')\n"),
        ["other_experiment"]
    );
    assert!(experiment("print(1)\n").is_empty());
    let source = ["import mlflow\n", "mlflow.set_experiment(\"support\")\n"];
    let cells =
        json!([{"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "source": source}]);
    world.write("try.ipynb", json!({"cells": cells}).to_string());
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["other_experiment"]);
    assert!(problem(&world).contains("try.ipynb, cell 2"));
}

#[test]
fn doctor_finds_no_trouble_in_what_agrees() {
    let world = World::tracked();
    world.write(".gitignore", "side/\n");
    world.write(
        ".env",
        "MLFLOW_EXPERIMENT_NAME=Default # ours\nMLFLOW_EXPERIMENT_ID='0' # too\nMLFLOW_TRACKING_URI= # none\n",
    );
    let side = world.repo().join("side");
    world.add_worktree(&side);
    std::fs::write(side.join("mlflow.db"), "x").unwrap();
    world.tracemark(&["active"]).ok();
    assert!(findings(&world).is_empty(), "{}", problem(&world));
}

#[test]
fn doctor_shows_no_password() {
    let world = World::tracked();
    world.write(
        "app.py",
        "mlflow.set_tracking_uri('http://ann:s3cret@host:5000')\n",
    );
    world.write(".env", "MLFLOW_TRACKING_URI=http://ann:s3cret@host:5000\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["other_store", "env_file_against"]);
    let said = world.tracemark(&["doctor", "--json"]).stdout + &problem(&world);
    assert!(
        said.contains("http://host:5000") && !said.contains("s3cret"),
        "{said}"
    );
}

#[test]
fn doctor_tells_of_a_ledger_that_was_damaged_while_the_daemon_runs_and_its_cure_helps() {
    use std::os::unix::fs::FileExt as _;
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let id = world.tracemark(&["active"]).ok();
    let path = world.state_dir().join("ledger.sqlite");
    let checkpoint = "import sqlite3, sys\n\
        sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()";
    let mut python = world.command("python3");
    let done = python.args(["-c", checkpoint]).arg(&path).status();
    assert!(done.unwrap().success());
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    for page in 1..length / 4096 {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    let said = world.tracemark(&["doctor"]).stdout;
    assert!(said.contains("ledger.sqlite is damaged"), "{said}");
    let pid = world.daemon_pid().unwrap().to_string();
    assert!(said.contains(&format!("kill {pid}")), "{said}");
    world.signal_daemon(rustix::process::Signal::TERM);
    assert_eq!(world.tracemark(&["active"]).ok(), id);
    let said = world.tracemark(&["doctor"]).stdout;
    assert!(!said.contains("ledger"), "{said}");
}

#[test]
fn doctor_tells_of_a_block_in_the_exclude_file_whose_end_is_gone() {
    let world = World::tracked();
    let text = std::fs::read_to_string(world.repo().join(".git/info/exclude")).unwrap();
    let (before, _) = text.split_once("mlflow.db").unwrap();
    world.write(".git/info/exclude", before);
    assert_eq!(findings(&world), ["excludes"]);
    assert!(problem(&world).contains("take the line # >>> tracemark >>>"));
}
