//! Many repositories in one daemon: does one that is slow or broken delay the others?

use std::path::{Path, PathBuf};

use crate::python::sqlite_store;
use crate::world::{Said, World, wait_until};

const OTHERS: usize = 48;

/// A repository beside the world's own, with one commit.
fn repository(world: &World, name: &str) -> PathBuf {
    let at = world.base().join(name);
    world.git(&["init", "-q", "-b", "main", at.to_str().unwrap()]);
    std::fs::write(at.join("app.py"), format!("print({name:?})\n")).unwrap();
    git(world, &at, &["add", "-A"]);
    git(world, &at, &["commit", "-q", "-m", "first"]);
    at
}

fn git(world: &World, at: &Path, arguments: &[&str]) {
    let there = ["-C", at.to_str().unwrap()];
    world.git(&[&there[..], arguments].concat());
}

fn tracemark(world: &World, at: &Path, arguments: &[&str]) -> Said {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    Said::of(&command.args(arguments).current_dir(at).output().unwrap())
}

fn env_file(at: &Path) -> String {
    std::fs::read_to_string(at.join(".git/tracemark/env")).unwrap()
}

#[test]
fn a_worktree_whose_reading_hangs_and_one_that_is_broken_delay_none_of_fifty() {
    let world = World::without_repository();
    let store = sqlite_store(world.base());
    let others: Vec<_> = (0..OTHERS)
        .map(|number| repository(&world, &format!("other{number}")))
        .collect();
    let slow = repository(&world, "slow");
    let held = world.base().join("held");
    let filter = format!("while [ -e '{}' ]; do sleep 0.1; done; cat", held.display());
    git(&world, &slow, &["config", "filter.slow.clean", &filter]);
    std::fs::write(slow.join(".gitattributes"), "*.slow filter=slow\n").unwrap();
    let broken = repository(&world, "broken");
    for at in others.iter().chain([&slow, &broken]) {
        tracemark(&world, at, &["up", "--store", &store]).ok();
    }
    let before: Vec<_> = others
        .iter()
        .map(|at| tracemark(&world, at, &["active"]).ok())
        .collect();
    std::fs::write(&held, "").unwrap();
    std::fs::write(slow.join("held.slow"), "held").unwrap();
    std::fs::write(broken.join(".git/HEAD"), "no reference\n").unwrap();
    wait_until("the slow one has no id", || {
        env_file(&slow)
            .contains("MLFLOW_ACTIVE_MODEL_ID=\n")
            .then_some(())
    });
    for at in &others {
        std::fs::write(at.join("app.py"), "print('edited')\n").unwrap();
    }
    for (at, before) in others.iter().zip(&before) {
        let id = tracemark(&world, at, &["active"]).ok();
        assert_ne!(&id, before);
        wait_until("the env file follows", || {
            env_file(at)
                .contains(&format!("MLFLOW_ACTIVE_MODEL_ID={}", id.trim()))
                .then_some(())
        });
    }
    // Both come back by themselves.
    std::fs::remove_file(&held).unwrap();
    std::fs::write(broken.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    for at in [&slow, &broken] {
        wait_until("it has an id again", || {
            (!env_file(at).contains("MLFLOW_ACTIVE_MODEL_ID=\n")).then_some(())
        });
        tracemark(&world, at, &["active"]).ok();
    }
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
    tracemark(&world, &place, &["active"]).failed(4, "not tracked");
    let status = tracemark(&world, &place, &["status"]).ok();
    assert!(
        status.contains("broken") && status.contains("lies in its place"),
        "{status}"
    );
    assert!(!place.join(".git/tracemark/env").exists());

    tracemark(&world, &place, &["up", "--store", &store]).ok();
    let other_id = tracemark(&world, &place, &["active"]).ok();
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
        ids.push(tracemark(&world, dir, &["active"]).ok());
    }
    let aside = world.base().join("aside");
    for (from, to) in [(&dirs[0], &aside), (&dirs[1], &dirs[0]), (&aside, &dirs[1])] {
        std::fs::rename(from, to).unwrap();
    }
    for dir in &dirs {
        let said = tracemark(&world, dir, &["active", "--timeout", "1"]);
        assert!(!ids.contains(&said.stdout), "{said:?}");
    }
    let readings = || {
        let log = std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
        log.matches("no longer tracked").count()
    };
    world.kill_daemon();
    world.tracemark(&["active"]).ok();
    let before = readings();
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
            let said = tracemark(&world, dir, &["active", "--json"]);
            let active: serde_json::Value = serde_json::from_str(&said.stdout).ok()?;
            let hash = tracemark(&world, dir, &["hash"]).ok();
            (active["name"] == hash.trim()).then_some(())
        });
    }
}

/// The paths of those that the daemon tracks.
fn worktrees(world: &World) -> Vec<serde_json::Value> {
    let status = world.get("/v1/status");
    let listed = status["worktrees"].as_array().unwrap().iter();
    listed.map(|one| one["path"].clone()).collect()
}

#[test]
fn fifty_linked_worktrees_are_tracked_as_they_are_made_and_forgotten_as_they_are_removed() {
    let world = World::with_commit();
    // Hooks that somebody else owns tell nobody anything.
    world.git(&["config", "core.hooksPath", "hooks-of-ones-own"]);
    let store = sqlite_store(world.base());
    tracemark(&world, &world.repo(), &["up", "--store", &store]).ok();
    let name = |number: usize| format!("linked{number}");
    for number in 0..50 {
        let at = world.base().join(name(number));
        let branch = name(number);
        world.git(&["worktree", "add", "-q", "-b", &branch, at.to_str().unwrap()]);
    }
    let listed = || worktrees(&world).len();
    for number in 0..50 {
        let env = world
            .repo()
            .join(format!(".git/worktrees/{}/tracemark/env", name(number)));
        wait_until("it has an id without being asked for one", || {
            let text = std::fs::read_to_string(&env).ok()?;
            text.contains("MLFLOW_ACTIVE_MODEL_ID=m-").then_some(())
        });
    }
    assert_eq!(listed(), 51);
    for number in 0..49 {
        let at = world.base().join(name(number));
        world.git(&["worktree", "remove", "--force", at.to_str().unwrap()]);
    }
    wait_until("those that are gone are forgotten", || {
        (listed() == 2).then_some(())
    });
    let moved = world.base().join("moved");
    let last = world.base().join(name(49));
    world.git(&[
        "worktree",
        "move",
        last.to_str().unwrap(),
        moved.to_str().unwrap(),
    ]);
    std::fs::write(moved.join("app.py"), "print('moved')\n").unwrap();
    tracemark(&world, &moved, &["active"]).ok();
    wait_until("the old place is forgotten", || {
        let paths = worktrees(&world);
        (paths.len() == 2 && paths.contains(&moved.to_str()?.into())).then_some(())
    });
    world.git(&["worktree", "remove", "--force", moved.to_str().unwrap()]);
    wait_until("only the main one is left", || {
        (listed() == 1).then_some(())
    });
    tracemark(&world, &world.repo(), &["active"]).ok();
}

#[test]
fn of_what_is_gone_status_says_what_to_type_and_that_mends_it() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let side = world.base().join("side");
    world.git(&["worktree", "add", "-q", "--detach", side.to_str().unwrap()]);
    tracemark(&world, &side, &["active"]).ok();
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
    let status = tracemark(&world, world.base(), &["status"]).ok();
    assert!(status.contains("nothing is tracked"), "{status}");
}
