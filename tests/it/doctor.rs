//! Does `doctor` find the troubles that there are, and none where there is none?

use serde_json::Value;

use crate::python::sqlite_store;
use crate::world::{Said, World};

fn tracked() -> World {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world
}

/// The words of the checks that found something; the text says the same as the document.
#[track_caller]
fn findings(world: &World) -> Vec<String> {
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
    let world = tracked();
    assert_eq!(world.tracemark(&["doctor"]).ok(), "no trouble was found\n");
    assert!(findings(&world).is_empty());
}

#[test]
fn doctor_asks_for_up_where_nothing_is_tracked_and_for_nothing_outside_of_git() {
    let world = World::with_commit();
    assert_eq!(findings(&world), ["not_tracked"]);
    assert!(findings(&World::without_repository()).is_empty());
}

#[test]
fn doctor_tells_of_an_app_that_looks_elsewhere() {
    let world = tracked();
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
    let world = tracked();
    world.git(&["config", "core.hooksPath", ".husky/_"]);
    world.write(".husky/_/post-commit", "#!/bin/sh\n. \"$0\"\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(findings(&world), ["hooks_elsewhere"]);
    let said = world.tracemark(&["doctor"]).stdout;
    let line = said.split("post-commit hook there: ").nth(1).unwrap();
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
    let world = tracked();
    world.kill_daemon();
    let file = world.repo().join(".git/tracemark/env");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let credentials = world.base().join("home/.config/tracemark/credentials");
    std::fs::create_dir_all(credentials.parent().unwrap()).unwrap();
    std::fs::write(&credentials, "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&credentials, mode).unwrap();
    assert_eq!(findings(&world), ["daemon", "credentials", "env_file"]);
}

#[test]
fn doctor_tells_of_a_second_daemon_that_commands_would_reach() {
    let mut world = tracked();
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
