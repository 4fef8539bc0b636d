//! Does anything run that a repository's configuration names, and that `up` did not see?

use crate::python::sqlite_store;
use crate::world::World;

/// A repository whose configuration runs a program that leaves a trace beside the repository.
fn with_canary(world: &World) -> std::path::PathBuf {
    let canary = world.base().join("canary");
    let run = format!("sh -c 'touch {}; cat'", canary.display());
    world.git(&["config", "filter.spy.clean", &run]);
    world.write(".gitattributes", "*.py filter=spy\n");
    canary
}

#[test]
fn programs_that_up_did_not_see_are_not_run_until_up_saw_them() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let before = world.env_id();
    let canary = with_canary(&world);
    world.write("app.py", "print(2)\n");
    let id = world.tracemark(&["active"]).ok();
    assert_ne!(id.trim(), before);
    let status = world.status();
    assert!(
        status["name"].as_str().unwrap().starts_with("repo-tree-"),
        "{status}"
    );
    let note = status["note"].as_str().unwrap();
    assert!(
        note.contains("filter.spy.clean") && note.contains("tracemark up"),
        "{status}"
    );
    world.write("app.py", "print(3)\n");
    world.new_env_id(id.trim());
    world.kill_daemon();
    world.tracemark(&["active", "--once"]).ok();
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(doctor.contains("filter.spy.clean"), "{doctor}");
    assert!(
        !canary.exists(),
        "the program of a configuration that up did not see was run"
    );

    world.tracemark(&["up"]).ok();
    assert!(
        canary.exists(),
        "what up saw is run, or this test could not fail"
    );
    assert!(world.status()["note"].is_null(), "{}", world.status());
}

#[test]
fn what_git_lfs_and_users_configure_takes_no_trust_away() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.git(&["config", "filter.lfs.clean", "git-lfs clean -- %f"]);
    world.git(&["config", "core.hooksPath", ".husky/_"]);
    world.git(&["config", "--global", "diff.spy.textconv", "cat"]);
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert!(world.status()["note"].is_null(), "{}", world.status());
}

#[test]
fn hash_warns_in_a_repository_that_is_not_tracked_where_git_may_run_something() {
    let world = World::with_commit();
    assert_eq!(world.tracemark(&["hash"]).stderr, "");
    let canary = with_canary(&world);
    world.write("app.py", "print(2)\n");
    let said = world.tracemark(&["hash"]);
    assert!(
        said.stderr.contains("filter.spy.clean")
            && said.stderr.contains("try: tracemark hash --safe"),
        "{said:?}"
    );
    assert!(canary.exists(), "the warning is true");
    world.git(&["config", "diff.external", "false"]);
    let failed = world.tracemark(&["hash"]);
    assert_eq!(
        (failed.stdout.as_str(), failed.stderr.lines().count()),
        ("", 1),
        "{failed:?}"
    );
    world.git(&["config", "--unset", "diff.external"]);
    std::fs::remove_file(&canary).unwrap();
    let safe = world.tracemark(&["hash", "--safe"]);
    assert_eq!(safe.stderr, "");
    safe.ok();
    assert!(!canary.exists());
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    assert_eq!(
        world.tracemark(&["hash"]).stderr,
        "",
        "what is tracked is trusted"
    );
}
