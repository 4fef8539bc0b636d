//! Does anything run that a repository's configuration names, and that `up` did not see?

use std::os::unix::fs::PermissionsExt as _;

use crate::hooks::with_new_git;
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
    world.git(&["config", "diff.x.textconv", "cat"]);
    let said = world.tracemark(&["hash"]);
    assert!(
        said.stderr.contains("(diff.x.textconv)") && said.stderr.lines().count() == 1,
        "only what up did not see: {said:?}"
    );
}

#[test]
fn our_own_hook_in_gits_configuration_is_trusted_and_another_is_not() {
    let mut world = World::with_commit();
    with_new_git(&mut world);
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert!(world.status()["note"].is_null(), "{}", world.status());
    world.git(&["config", "hook.other.command", "touch canary"]);
    world.tracemark(&["active"]).ok();
    let note = world.status()["note"].to_string();
    assert!(note.contains("hook.other.command"), "{note}");
}

#[test]
fn a_program_that_a_submodule_names_is_not_run_until_up_saw_it() {
    let world = World::with_commit();
    world.add_submodule();
    world.commit("with a submodule");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    crate::world::wait_until("what was trusted is done", || {
        world.status()["restorable"].is_string().then_some(())
    });
    let canary = world.base().join("canary");
    let run = format!("touch {}", canary.display());
    world.git(&["-C", "sub", "config", "core.fsmonitor", &run]);
    world.tracemark(&["active", "--full"]).ok();
    let note = world.status()["note"].to_string();
    assert!(
        note.contains("modules/sub") && note.contains("core.fsmonitor"),
        "{note}"
    );
    assert!(!canary.exists());
    world.git(&["status"]);
    assert!(
        canary.exists(),
        "git itself runs it, or this test could not fail"
    );
}

#[test]
fn a_submodule_whose_directory_was_moved_away_changes_nothing_about_trust() {
    let world = World::with_commit();
    world.add_submodule();
    world.commit("with a submodule");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    std::fs::rename(world.repo().join("sub"), world.repo().join("moved")).unwrap();
    world.tracemark(&["active", "--full"]).ok();
    let status = world.status();
    assert!(status["note"].is_null(), "{status}");
    assert_eq!(status["name"], world.tracemark(&["hash"]).ok().trim());
}

#[test]
fn what_is_read_without_running_anything_is_kept_shown_and_brought_back() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let canary = with_canary(&world);
    world.write(".gitattributes", "*.py filter=spy\n*.txt text eol=crlf\n");
    world.write("app.py", "print(2)\n");
    world.write("prompt.txt", "one\r\ntwo\r\n");
    let id = world.tracemark(&["active"]).ok().trim().to_owned();
    crate::world::wait_until("it is kept", || {
        (world.status()["restorable"] == "true").then_some(())
    });
    world.write("app.py", "print(3)\n");
    world.git(&["config", "diff.external", "false"]);
    let diff = world.tracemark(&["diff", &id, "@"]).ok();
    assert!(diff.contains("-print(2)\n+print(3)\n"), "{diff}");
    let back = world.base().join("back");
    let to = back.to_str().unwrap();
    world.tracemark(&["restore", &id, to, "--plain"]).ok();
    let bytes = |name: &str| std::fs::read_to_string(back.join(name)).unwrap();
    assert_eq!(bytes("app.py"), "print(2)\n");
    assert_eq!(bytes("prompt.txt"), "one\r\ntwo\r\n");
    assert!(!canary.exists());
}

#[test]
fn a_record_that_cannot_be_read_is_no_trust() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let canary = with_canary(&world);
    let records = world.state_dir().join("repositories");
    let record = std::fs::read_dir(records).unwrap().next().unwrap().unwrap();
    std::fs::write(record.path(), "{").unwrap();
    let before = world.env_id();
    world.write("app.py", "print(2)\n");
    world.new_env_id(&before);
    let note = world.status()["note"].to_string();
    assert!(note.contains("cannot be read"), "{note}");
    assert!(!canary.exists());
}

#[test]
fn watch_runs_nothing_that_up_did_not_see() {
    use std::io::{BufRead as _, BufReader};
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let canary = with_canary(&world);
    let mut watch = world.command(env!("CARGO_BIN_EXE_tracemark"));
    watch.arg("watch").stdout(std::process::Stdio::piped());
    let mut child = watch.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    world.write("app.py", "print('hi!!!')\n");
    let tree = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.contains("version=repo-tree-"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(tree.unwrap().contains("changed=?"));
    assert!(!canary.exists());
}

#[test]
fn once_warns_in_a_repository_that_is_not_tracked_as_hash_does() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    world.git(&["config", "protocol.ext.allow", "always"]);
    for arguments in [&["active", "--once"][..], &["exec", "--once", "--", "true"]] {
        let said = world.tracemark(arguments);
        assert!(said.stderr.contains("protocol.ext.allow"), "{said:?}");
        said.ok();
    }
    let hash = world.tracemark(&["hash"]);
    assert!(hash.stderr.contains("protocol.ext.allow"), "{hash:?}");
}

#[test]
fn a_dry_run_and_doctor_run_no_python_of_the_repository_and_show_no_password() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let canary = world.base().join("canary");
    let python = format!("#!/bin/sh\ntouch '{}'\n", canary.display());
    world.write(".venv/bin/python", python);
    world.write(".venv/pyvenv.cfg", "home = /usr/bin\n");
    let runnable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.repo().join(".venv/bin/python"), runnable).unwrap();
    let info = ".venv/lib/python3.11/site-packages/mlflow-2.9.2.dist-info/METADATA";
    world.write(info, "Name: mlflow\n");
    world.write(".gitignore", ".venv/\n");
    world.write(
        ".env",
        "MLFLOW_TRACKING_URI=https://ann:s3cret@mlflow.example\n",
    );
    let call = "mlflow.set_tracking_uri('https://bob:s3cret@other.example')\n";
    world.write("app.py", call);
    let dry = world.tracemark(&["up", "--store", &store, "--dry-run"]);
    world.tracemark(&["up", "--store", &store]).ok();
    let doctor = world.tracemark(&["doctor"]);
    let json = world.tracemark(&["doctor", "--json"]);
    for said in [&dry, &doctor, &json] {
        let all = format!("{}{}", said.stdout, said.stderr);
        for told in ["MLflow is 2.9.2", "mlflow.example", "other.example"] {
            assert!(all.contains(told), "{told}: {said:?}");
        }
        assert!(!all.contains("s3cret"), "{said:?}");
    }
    assert!(!canary.exists(), "a program of the repository was run");
}

/// Unpacked or cloned into the worktree, it was seen by nobody.
#[test]
fn a_program_that_a_repository_inside_names_is_not_run() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let evil = world.base().join("evil");
    world.git(&["init", "-q", "../nest"]);
    world.write("../nest/x.py", "x = 1\n");
    world.git(&["-C", "../nest", "add", "x.py"]);
    world.git(&["-C", "../nest", "commit", "-qm", "x"]);
    world.write("../nest/.gitattributes", "*.py filter=e\n");
    world.write("../nest/x.py", "x = 2\n");
    let program = format!("touch {}; cat", evil.display());
    world.git(&["-C", "../nest", "config", "filter.e.clean", &program]);
    let inside = world.repo().join("nest");
    std::fs::rename(world.base().join("nest"), &inside).unwrap();
    let before = world.tracemark(&["active", "--json"]).ok();
    world.tracemark(&["diff", "HEAD", "@"]);
    assert!(!evil.exists());
    // What it holds counts all the same.
    world.write("nest/x.py", "x = 3\n");
    let after = world.tracemark(&["active", "--json"]).ok();
    let content = |said: &str| {
        let said: serde_json::Value = serde_json::from_str(said).unwrap();
        said["content"].as_str().unwrap().to_owned()
    };
    assert_ne!(content(&before), content(&after));
    assert!(!evil.exists());
    // The test can fail: git itself does run it.
    world.git(&["-C", "nest", "add", "-A"]);
    assert!(evil.exists());
}

/// A repository inside that runs a program where git looks at its files.
fn nested_with_monitor(world: &World, path: &str) -> std::path::PathBuf {
    let canary = world.base().join("canary");
    world.git(&["init", "-q", path]);
    world.write(&format!("{path}/x.py"), "x = 1\n");
    world.git(&["-C", path, "add", "x.py"]);
    world.git(&["-C", path, "commit", "-qm", "x"]);
    let run = format!("touch {}", canary.display());
    world.git(&["-C", path, "config", "core.fsmonitor", &run]);
    canary
}

#[test]
fn no_monitor_is_run_to_show_where_a_submodule_differs() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let canary = nested_with_monitor(&world, "../elsewhere");
    world.git(&["-C", "../elsewhere", "config", "--unset", "core.fsmonitor"]);
    let allow = "protocol.file.allow=always";
    let add = ["submodule", "-q", "add", "../elsewhere", "sub"];
    world.git(&[&["-c", allow][..], &add].concat());
    world.commit("with a submodule");
    world.write("sub/x.py", "x = 2\n");
    // There it is not checked out: the version of the commit has no files of it.
    let other = world.base().join("other");
    world.add_worktree(&other);
    world.tracemark(&["up", "--store", &store]).ok();
    let mut there = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let there = there.arg("active").current_dir(&other).output().unwrap();
    assert!(there.status.success(), "{there:?}");
    // What is written into a configuration while it is read may run until that ends (docs/limits.md).
    world.kill_daemon();
    let run = format!("touch {}; true", canary.display());
    world.git(&["config", "core.fsmonitor", &run]);
    world.tracemark(&["active"]).ok();
    let said = world.tracemark(&["diff", "HEAD", "@"]);
    assert!(said.stdout.contains("Subproject commit"), "{said:?}");
    assert!(!canary.exists(), "{said:?}");
}

#[test]
fn hash_and_once_warn_of_a_program_that_a_repository_inside_names() {
    let world = World::with_commit();
    nested_with_monitor(&world, "nested");
    world.git(&["add", "nested"]);
    world.commit("a repository inside");
    for arguments in [&["hash"][..], &["active", "--once"]] {
        let said = world.tracemark(arguments);
        assert!(said.stderr.contains("git may run what"), "{said:?}");
    }
}

fn ask_everything(world: &World) {
    for arguments in [
        &["active", "--full"][..],
        &["status"],
        &["doctor"],
        &["env"],
        &["exec", "--", "true"],
        &["active", "--once"],
    ] {
        world.tracemark(arguments);
    }
}

#[test]
fn a_monitor_that_a_repository_inside_names_is_not_run_to_learn_what_it_ignores() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let canary = nested_with_monitor(&world, "nested");
    world.write("nested/.gitignore", "ignored/\n");
    world.write("nested/ignored/y.py", "y = 1\n");
    ask_everything(&world);
    world.write("nested/ignored/y.py", "y = 2\n");
    ask_everything(&world);
    assert!(!canary.exists());
    world.git(&["-C", "nested", "status"]);
    assert!(
        canary.exists(),
        "git itself runs it, or this test could not fail"
    );
}

#[test]
fn a_monitor_that_came_after_up_is_not_run_to_learn_what_is_ignored() {
    let world = World::with_commit();
    world.write(".gitignore", "ignored/\n");
    world.commit("ignore");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let canary = world.base().join("canary");
    let run = format!("touch {}", canary.display());
    world.git(&["config", "core.fsmonitor", &run]);
    world.write("ignored/y.py", "y = 1\n");
    ask_everything(&world);
    world.kill_daemon();
    ask_everything(&world);
    assert!(!canary.exists());
    world.git(&["status"]);
    assert!(
        canary.exists(),
        "git itself runs it, or this test could not fail"
    );
}

#[test]
fn a_program_of_a_submodule_that_the_index_alone_names_is_not_run_until_up_saw_it() {
    for (path, around) in [("nested", "."), ("deep/nested", "deep")] {
        let world = World::with_commit();
        let store = sqlite_store(world.base());
        world.tracemark(&["up", "--store", &store]).ok();
        if around != "." {
            world.git(&["init", "-q", around]);
        }
        let canary = nested_with_monitor(&world, path);
        for (outer, inner) in [(around, "nested"), (".", "deep")] {
            if world.repo().join(outer).join(inner).exists() {
                // What comes while a reading is under way is no part of its question.
                world.tracemark(&["active", "--full"]);
                let head = world.git(&["-C", path, "rev-parse", "HEAD"]);
                let entry = format!("160000,{head},{inner}");
                world.git(&["-C", outer, "update-index", "--add", "--cacheinfo", &entry]);
            }
        }
        drop(std::fs::remove_file(&canary));
        ask_everything(&world);
        let note = world.status()["note"].to_string();
        assert!(!canary.exists(), "{path}");
        assert!(
            note.contains("nested") && note.contains("core.fsmonitor"),
            "{note}"
        );
        world.git(&["status"]);
        assert!(canary.exists(), "git runs it, or this test could not fail");
    }
}

#[test]
fn in_a_repository_that_is_not_tracked_no_program_that_it_names_is_run() {
    let world = World::with_commit();
    world.write("app.py", "print('changed')\n");
    world.commit("changed");
    let canary = world.base().join("canary");
    for (key, then) in [("diff.external", "true"), ("core.pager", "cat")] {
        world.git(&[
            "config",
            key,
            &format!("touch {}; {then}", canary.display()),
        ]);
    }
    for on_terminal in [false, true] {
        let said = |arguments: &[&str]| {
            let said = if on_terminal {
                world.on_terminal(arguments, &[])
            } else {
                world.tracemark(arguments)
            };
            said.ok()
        };
        assert!(said(&["diff", "HEAD~1", "HEAD"]).contains("print('changed')"));
        assert!(said(&["show", "HEAD:app.py"]).contains("print('changed')"));
        assert!(!canary.exists());
    }
    world.git(&["diff", "HEAD~1", "HEAD"]);
    assert!(
        canary.exists(),
        "git itself runs it, or this test could not fail"
    );
}
