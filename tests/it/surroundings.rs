//! Does it stay right when things around the code change: the store, the settings, the place of the repository?

use std::path::Path;

use crate::fleet::{env_file, repository};
use crate::purge::{assert_same, snapshot, with_things_of_ones_own, world_with_store};
use crate::python::sqlite_store;
use crate::world::{Said, World, wait_until};

pub(crate) fn tracked_in(store: &str) -> World {
    let world = World::with_commit();
    world.tracemark(&["up", "--store", store]).ok();
    world
}

pub(crate) fn store_dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Every version in a SQLite store: name and model id.
fn versions(world: &World, file: &Path) -> Vec<String> {
    let script = "import sqlite3,sys; [print(*row) for row in sqlite3.connect(sys.argv[1]).execute('select name, model_id from logged_models')]";
    let mut python = world.command("python3");
    let output = python.args(["-c", script]).arg(file).output().unwrap();
    Said::of(&output).ok().lines().map(str::to_owned).collect()
}

#[test]
fn a_database_that_was_deleted_and_made_again_gives_no_id_of_the_old_one() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    let first = world.env_id();
    std::fs::remove_file(dir.path().join("mlflow.db")).unwrap();
    wait_until("the id is withdrawn", || {
        world.env_id().is_empty().then_some(())
    });
    world.is_refused("no MLflow database");
    sqlite_store(dir.path());
    let second = world.new_env_id(&first);
    assert_eq!(world.tracemark(&["active"]).ok().trim(), second);
    assert_eq!(versions(&world, &dir.path().join("mlflow.db")).len(), 1);
}

#[test]
fn tracking_in_another_store_gives_an_id_of_that_store() {
    let (one, two) = (store_dir(), store_dir());
    let world = tracked_in(&sqlite_store(one.path()));
    let first = world.env_id();
    for (dir, _) in [(&two, 1), (&one, 2), (&two, 3)] {
        let store = format!("sqlite:///{}", dir.path().join("mlflow.db").display());
        if !dir.path().join("mlflow.db").exists() {
            sqlite_store(dir.path());
        }
        world.write("app.py", dir.path().to_str().unwrap());
        let said = world.tracemark(&["up", "--store", &store]).ok();
        let id = world.tracemark(&["active"]).ok();
        assert!(said.contains(id.trim()), "{said}");
        let there = versions(&world, &dir.path().join("mlflow.db"));
        assert!(
            there.iter().any(|row| row.ends_with(id.trim())),
            "{id} {there:?}"
        );
        assert_ne!(id.trim(), first);
    }
}

#[test]
fn a_setting_changed_while_the_daemon_runs_counts_for_the_next_question() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    world.write(".tracemark.toml", "naming = 'tree'\napp = 'shop'\n");
    world.tracemark(&["active"]).ok();
    assert!(world.env_file()["TRACEMARK_NAME"].starts_with("shop-tree-"));
    assert!(
        !versions(&world, &dir.path().join("mlflow.db"))
            .iter()
            .any(|row| row.contains("-dirty-"))
    );
}

#[test]
fn a_database_in_the_worktree_is_no_code() {
    let world = World::with_commit();
    let file = world.repo().join("data/traces.db");
    std::fs::create_dir(world.repo().join("data")).unwrap();
    std::fs::rename(
        sqlite_store(world.base()).trim_start_matches("sqlite:///"),
        &file,
    )
    .unwrap();
    let store = format!("sqlite:///{}", file.display());
    world.tracemark(&["up", "--store", &store]).ok();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(world.git(&["status", "--porcelain"]), "M app.py");
    assert_eq!(versions(&world, &file).len(), 2);
    world.git(&["add", "-f", "data/traces.db"]);
    world
        .tracemark(&["up", "--store", &store])
        .failed(3, "is tracked by git");
}

#[test]
fn a_worktree_inside_a_worktree_has_its_own_version() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    let inside = world.repo().join("worktrees/side");
    world.add_worktree(&inside);
    std::fs::write(inside.join("app.py"), "print('side')\n").unwrap();
    let side = world.tracemark_in(&inside, &["active"]).ok();
    assert_ne!(side, world.tracemark_in(&world.repo(), &["active"]).ok());
    assert_eq!(side, world.tracemark_in(&inside, &["active"]).ok());
}

#[test]
fn a_submodule_is_tracked_as_a_repository_of_its_own() {
    let dir = store_dir();
    let store = sqlite_store(dir.path());
    let world = tracked_in(&store);
    world.add_submodule();
    let sub = world.repo().join("sub");
    let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
    up.args(["up", "--store", &store]).current_dir(&sub);
    let said = Said::of(&up.output().unwrap()).ok();
    let id = world.tracemark_in(&sub, &["active"]).ok();
    assert!(said.contains(id.trim()), "{said}");
    assert_ne!(id, world.tracemark_in(&world.repo(), &["active"]).ok());
}

#[test]
fn a_repository_that_was_moved_away_keeps_no_id_and_its_old_place_stays_empty() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    let moved = world.base().join("moved");
    std::fs::rename(world.repo(), &moved).unwrap();
    let env_file = moved.join(".git/tracemark/env");
    wait_until("the id is withdrawn", || {
        let text = std::fs::read_to_string(&env_file).unwrap();
        text.contains("MLFLOW_ACTIVE_MODEL_ID=\n").then_some(())
    });
    assert!(!world.repo().exists());
    std::fs::rename(&moved, world.repo()).unwrap();
    world.tracemark(&["active"]).ok();
    let back = world.new_env_id("");
    world.write("app.py", "print('changed after the way back')\n");
    world.new_env_id(&back);
}

#[test]
fn another_repository_in_the_old_place_is_not_tracked_until_up_is_run_there() {
    let dir = store_dir();
    let store = sqlite_store(dir.path());
    let world = tracked_in(&store);
    let kept = world.base().join("kept");
    std::fs::rename(world.repo(), &kept).unwrap();
    world.git(&[
        "clone",
        "-q",
        kept.to_str().unwrap(),
        world.repo().to_str().unwrap(),
    ]);
    world.tracemark(&["active"]).failed(4, "is not tracked");
    world.tracemark(&["up", "--store", &store]).ok();
    let first = world.env_id();
    world.write("app.py", "print('in the clone')\n");
    world.new_env_id(&first);
}

#[test]
fn a_git_directory_that_comes_back_from_a_backup_keeps_its_settings_with_the_next_up() {
    let dir = store_dir();
    let store = sqlite_store(dir.path());
    let world = tracked_in(&store);
    let id = world.env_id();
    let backup = world.base().join("backup");
    let git_dir = world.repo().join(".git");
    let mut copy = world.command("cp");
    let copied = copy.arg("-a").args([&git_dir, &backup]).status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(&git_dir).unwrap();
    std::fs::rename(&backup, &git_dir).unwrap();
    world.tracemark(&["active"]).failed(4, "is not tracked");
    world.tracemark(&["up"]).ok();
    assert_eq!(world.env_id(), id);
}

/// A tracked world, and where the visible copy of its env file goes.
fn with_copy(store: &Path) -> (World, std::path::PathBuf) {
    let world = World::with_commit();
    world.write(".tracemark.toml", "env_copy = true\n");
    world.commit("with copy");
    let store = sqlite_store(store);
    world.tracemark(&["up", "--store", &store]).ok();
    let copy = world.repo().join(".tracemark/env");
    (world, copy)
}

#[test]
fn the_visible_copy_says_the_same_and_is_no_code() {
    let dir = store_dir();
    let (world, copy) = with_copy(dir.path());
    let id = world.env_id();
    wait_until("the copy is there", || {
        let text = std::fs::read_to_string(&copy).ok()?;
        text.contains(&id).then_some(())
    });
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.tracemark(&["down"]).ok();
    assert!(!world.repo().join(".tracemark").exists());
}

#[test]
fn a_daemon_that_was_told_of_settings_answers_when_the_env_file_follows_them() {
    let dir = store_dir();
    let (world, copy) = with_copy(dir.path());
    let body = format!("{{\"path\": {:?}}}", world.repo());
    // The line end that `http` adds counts.
    let head = format!("Content-Length: {}\r\n\r\n{body}", body.len() + 2);
    for n in 0..20 {
        let naming = if n % 2 == 0 { "tree" } else { "git-hash" };
        world.write(
            ".tracemark.toml",
            format!("env_copy = true\nnaming = '{naming}'\n"),
        );
        assert_eq!(world.http("POST", "/v1/worktrees", &head).0, 200);
        // Withdrawn, or named after the new settings already: in both files alike.
        let text = std::fs::read_to_string(&copy).unwrap();
        let file = std::fs::read_to_string(world.repo().join(".git/tracemark/env")).unwrap();
        let name = world.env_file()["TRACEMARK_NAME"].clone();
        let fits = name.is_empty() || name.starts_with("repo-tree-") == (naming == "tree");
        assert!(fits, "{naming}: {file} {text}");
        let line = |text: &str| {
            let mut lines = text.lines().map(str::to_owned);
            lines.find(|line| line.contains("TRACEMARK_NAME="))
        };
        assert_eq!(line(&text), line(&file), "{text} {file}");
    }
    let id = world.tracemark(&["active"]).ok();
    assert_eq!(world.env_id(), id.trim());
}

#[test]
fn a_settings_file_that_was_wrong_and_is_corrected_needs_no_up() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    world.write(".tracemark.toml", "naming = 'by-mood'\n");
    world.tracemark(&["active"]).ok();
    let status = world.tracemark(&["status"]).ok();
    assert!(status.contains("by-mood"), "{status}");
    world.write(".tracemark.toml", "naming = 'tree'\n");
    world.tracemark(&["active"]).ok();
    assert!(world.env_file()["TRACEMARK_NAME"].starts_with("repo-tree-"));
}

#[test]
fn a_shell_that_remembers_the_socket_of_an_ended_daemon_finds_the_new_one() {
    let dir = store_dir();
    let mut world = tracked_in(&sqlite_store(dir.path()));
    world.set("TRACEMARK_SOCKET", "/nowhere/api.sock");
    let id = world.tracemark(&["active"]).ok();
    assert_eq!(id.trim(), world.env_id());
}

#[test]
fn an_env_file_that_was_removed_comes_back_with_up() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    let id = world.new_env_id("");
    std::fs::remove_dir_all(world.repo().join(".git/tracemark")).unwrap();
    world.tracemark(&["up"]).ok();
    wait_until("it is back", || {
        world
            .repo()
            .join(".git/tracemark/env")
            .exists()
            .then_some(())
    });
    assert_eq!(world.env_id(), id);
}

#[test]
fn who_asks_in_a_repository_that_git_refuses_by_now_hears_so_before_the_time_is_over() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    let elsewhere = dir.path().to_string_lossy().into_owned();
    let ask = || world.tracemark(&["active", "--timeout", "60"]);
    for (key, value) in [("core.bare", "true"), ("core.worktree", &elsewhere)] {
        world.git(&["config", key, value]);
        ask().failed(4, "no work tree here");
        world.git(&["config", "--unset", key]);
    }
    world.git(&["config", "core.bare", "false"]);
    ask().ok();
    let head = world.repo().join(".git/HEAD");
    let kept = std::fs::read(&head).unwrap();
    std::fs::remove_file(&head).unwrap();
    ask().failed(4, "not a git repository");
    std::fs::write(&head, kept).unwrap();
    ask().ok();
}

#[test]
fn a_repository_in_the_place_of_a_tracked_one_gets_no_id_and_the_one_that_was_moved_away_keeps_none()
 {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let other = repository(&world, "other");
    let (place, aside) = (world.repo(), world.base().join("aside"));
    world.tracemark(&["up", "--store", &store]).ok();
    let id = world.tracemark(&["active"]).ok();
    assert!(env_file(&place).contains(id.trim()));
    std::fs::rename(&place, &aside).unwrap();
    std::fs::rename(&other, &place).unwrap();
    wait_until("the id is taken back", || {
        (!env_file(&aside).contains(id.trim())).then_some(())
    });
    world
        .tracemark_in(&place, &["active"])
        .failed(4, "not tracked");
    let status = world.tracemark_in(&place, &["status"]).ok();
    assert!(
        status.contains("broken") && status.contains("lies in its place"),
        "{status}"
    );
    assert!(!place.join(".git/tracemark/env").exists());

    world.tracemark_in(&place, &["up", "--store", &store]).ok();
    let other_id = world.tracemark_in(&place, &["active"]).ok();
    assert_ne!(other_id, id);
    std::fs::write(place.join("app.py"), "print('edited')\n").unwrap();
    wait_until("it is watched", || {
        let env = env_file(&place);
        (env.contains("=active") && !env.contains(other_id.trim())).then_some(())
    });
}

#[test]
fn linked_worktrees_that_were_swapped_by_hand_get_no_id_until_git_repairs_them_and_no_rest_is_lost()
{
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let dirs = ["one", "two"].map(|name| world.base().join(name));
    let mut ids = Vec::new();
    for dir in &dirs {
        world.git(&["worktree", "add", "-q", "--detach", dir.to_str().unwrap()]);
        std::fs::write(dir.join("app.py"), format!("print({dir:?})\n")).unwrap();
        ids.push(world.tracemark_in(dir, &["active"]).ok());
    }
    let aside = world.base().join("aside");
    for (from, to) in [(&dirs[0], &aside), (&dirs[1], &dirs[0]), (&aside, &dirs[1])] {
        std::fs::rename(from, to).unwrap();
    }
    for dir in &dirs {
        let said = world.tracemark_in(dir, &["active", "--timeout", "1"]);
        assert!(!ids.contains(&said.stdout), "{said:?}");
    }
    let readings = || {
        let log = std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
        log.matches("no longer tracked").count()
    };
    world.kill_daemon();
    world.tracemark(&["active"]).ok();
    let before = readings();
    assert!(before > 0, "none was ever given up");
    for _ in 0..20 {
        world.tracemark(&["active", "--full"]).ok();
    }
    assert!(readings() - before <= 4, "{} more", readings() - before);
    world.git(&[
        "worktree",
        "repair",
        dirs[0].to_str().unwrap(),
        dirs[1].to_str().unwrap(),
    ]);
    for dir in &dirs {
        wait_until("it is tracked again", || {
            let said = world.tracemark_in(dir, &["active", "--json"]);
            let active: serde_json::Value = serde_json::from_str(&said.stdout).ok()?;
            let hash = world.tracemark_in(dir, &["hash"]).ok();
            (active["name"] == hash.trim()).then_some(())
        });
    }
}

#[test]
fn of_what_is_gone_status_says_what_to_type_and_that_mends_it() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let side = world.base().join("side");
    world.git(&["worktree", "add", "-q", "--detach", side.to_str().unwrap()]);
    world.tracemark_in(&side, &["active"]).ok();
    let cure = |gone: &str| {
        wait_until("status says what is gone", || {
            let status = world.get("/v1/status");
            let mut worktrees = status["worktrees"].as_array().unwrap().iter();
            let one = worktrees.find(|one| one["reason"] == gone)?;
            Some(one["hint"].as_str().unwrap().to_owned())
        })
    };
    let type_it = |line: &str| {
        let mut shell = world.command("sh");
        let dir = Path::new(env!("CARGO_BIN_EXE_tracemark")).parent().unwrap();
        let path = format!("{}:{}", dir.display(), world.vars()["PATH"]);
        shell.env("PATH", path).args(["-c", line]);
        Said::of(&shell.current_dir(world.base()).output().unwrap()).ok();
    };
    std::fs::remove_dir_all(&side).unwrap();
    type_it(&cure("the directory of this worktree is gone"));
    wait_until("it is forgotten", || {
        (world.get("/v1/status")["worktrees"]
            .as_array()
            .unwrap()
            .len()
            == 1)
            .then_some(())
    });
    std::fs::rename(world.repo().join(".git"), world.base().join("git")).unwrap();
    let cure = cure("its .git is gone");
    type_it(cure.split("or ").nth(1).unwrap());
    let status = world.tracemark_in(world.base(), &["status"]).ok();
    assert!(status.contains("nothing is tracked"), "{status}");
}

#[test]
fn up_in_a_repository_that_was_moved_keeps_its_settings_and_what_it_knows_of_files() {
    let (mut world, store) = world_with_store();
    with_things_of_ones_own(&world);
    let before = snapshot(&world);
    world.tracemark(&["up", "--experiment", "moved"]).ok();
    world.tracemark(&["params", "set", "llm=gpt"]).ok();
    world.tracemark(&["pin", "release"]).ok();
    world.kill_daemon();
    let moved = world.base().join("elsewhere/app");
    std::fs::create_dir(moved.parent().unwrap()).unwrap();
    std::fs::rename(world.repo(), &moved).unwrap();
    world.set("MLFLOW_TRACKING_URI", "");
    world.tracemark_in(&moved, &["up"]).ok();
    let records = world.state_dir().join("repositories");
    let records: Vec<_> = std::fs::read_dir(records).unwrap().flatten().collect();
    assert_eq!(records.len(), 1, "the old place is forgotten");
    let record = std::fs::read_to_string(records[0].path()).unwrap();
    for kept in [store.as_str(), "moved", "llm", "release"] {
        assert!(record.contains(kept), "{kept}: {record}");
    }
    world.tracemark_in(&moved, &["down", "--purge"]).ok();
    std::fs::rename(&moved, world.repo()).unwrap();
    std::fs::remove_dir(moved.parent().unwrap()).unwrap();
    assert_same(&before, &snapshot(&world));
}
