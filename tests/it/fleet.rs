//! Many repositories in one daemon: does one that is slow or broken delay the others?

use std::path::{Path, PathBuf};

use crate::python::sqlite_store;
use crate::world::{World, wait_until};

const OTHERS: usize = 48;

/// A repository beside the world's own, with one commit.
pub(crate) fn repository(world: &World, name: &str) -> PathBuf {
    let at = world.base().join(name);
    world.git(&["init", "-q", "-b", "main", at.to_str().unwrap()]);
    std::fs::write(at.join("app.py"), format!("print({name:?})\n")).unwrap();
    git(world, &at, &["add", "-A"]);
    git(world, &at, &["commit", "-q", "-m", "first"]);
    at
}

pub(crate) fn git(world: &World, at: &Path, arguments: &[&str]) {
    let there = ["-C", at.to_str().unwrap()];
    world.git(&[&there[..], arguments].concat());
}

pub(crate) fn env_file(at: &Path) -> String {
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
        world.tracemark_in(at, &["up", "--store", &store]).ok();
    }
    let before: Vec<_> = others
        .iter()
        .map(|at| world.tracemark_in(at, &["active"]).ok())
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
        let id = world.tracemark_in(at, &["active"]).ok();
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
        world.tracemark_in(at, &["active"]).ok();
    }
}

/// The paths of those that the daemon tracks.
pub(crate) fn worktrees(world: &World) -> Vec<serde_json::Value> {
    let status = world.get("/v1/status");
    let listed = status["worktrees"].as_array().unwrap().iter();
    listed.map(|one| one["path"].clone()).collect()
}
