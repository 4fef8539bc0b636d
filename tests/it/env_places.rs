//! Does nothing that lies in the place of an env file, or of its directory, lead the daemon to write elsewhere, and is a write that failed
//! made up for?

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tracemark::env_file::{self, Dates, EnvValues};

use crate::freshness::tracked;
use crate::python::sqlite_store;
use crate::watching::asked;
use crate::world::{World, wait_until};
use std::collections::BTreeSet;

const PRECIOUS: &str = "PATH=/precious\n";

/// A directory with a file `env` of somebody else's, as `~/.cargo` has one.
fn victim(base: &Path) -> PathBuf {
    let dir = base.join("victim");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("env"), PRECIOUS).unwrap();
    dir
}

#[track_caller]
fn is_unharmed(victim: &Path) {
    let names: Vec<_> = std::fs::read_dir(victim)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["env"]);
    let text = std::fs::read_to_string(victim.join("env")).unwrap();
    assert_eq!(text, PRECIOUS);
}

fn text(n: u32) -> String {
    let values = EnvValues {
        model_id: format!("m-{n:032x}"),
        ..EnvValues::default()
    };
    values.render()
}

/// Everything that a daemon does with an env file, from start to end.
fn live(world: &World) {
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    world.kill_daemon();
    world.tracemark(&["daemon", "--empty-env-files"]).ok();
    world.tracemark(&["active"]).ok();
    world.tracemark(&["down", "--purge"]).ok();
}

#[test]
fn a_link_in_the_place_of_the_copys_directory_is_never_followed() {
    for wanted in [false, true] {
        let world = World::with_commit();
        let victim = victim(world.base());
        symlink(&victim, world.repo().join(".tracemark")).unwrap();
        world.write(".tracemark.toml", format!("env_copy = {wanted}\n"));
        world.commit("a link");
        live(&world);
        is_unharmed(&victim);
    }
}

#[test]
fn a_file_of_ones_own_in_the_place_of_the_copy_stays_as_it_is_and_is_code() {
    for wanted in [false, true] {
        let world = World::with_commit();
        world.write(".tracemark/env", PRECIOUS);
        world.write(".tracemark.toml", format!("env_copy = {wanted}\n"));
        world.commit("a file of ones own");
        let store = sqlite_store(world.base());
        world.tracemark(&["up", "--store", &store]).ok();
        let before = world.tracemark(&["active"]).ok();
        let edited = format!("{PRECIOUS}MINE=1\n");
        world.write(".tracemark/env", &edited);
        let after = world.new_env_id(before.trim());
        assert_eq!(world.tracemark(&["active"]).ok().trim(), after);
        let status = world.status();
        let problem = status["env_problem"].as_str().unwrap_or_default();
        assert_eq!(problem.contains("git tracks it"), wanted, "{problem}");
        world.tracemark(&["down"]).ok();
        let left = std::fs::read_to_string(world.repo().join(".tracemark/env")).unwrap();
        assert_eq!(left, edited);
    }
}

#[test]
fn a_copy_that_git_tracks_is_code_also_where_it_begins_as_ours() {
    let world = World::with_commit();
    world.write(".tracemark/env", text(1));
    world.write(".tracemark.toml", "env_copy = true\n");
    world.commit("a copy");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let before = world.tracemark(&["active"]).ok();
    world.write(".tracemark/env", text(2));
    let after = world.new_env_id(before.trim());
    assert_eq!(world.tracemark(&["active"]).ok().trim(), after);
    let left = std::fs::read_to_string(world.repo().join(".tracemark/env")).unwrap();
    assert_eq!(left, text(2));
}

#[test]
fn a_write_that_failed_is_made_up_for_and_named_in_status_until_then() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let place = world.repo().join(".git/tracemark/env");
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    world.write("app.py", "print(2)\n");
    let id = world.tracemark(&["active"]).ok();
    let problem = wait_until("status names it", || {
        world.status()["env_problem"].as_str().map(str::to_owned)
    });
    assert!(problem.contains(place.to_str().unwrap()), "{problem}");
    assert!(world.tracemark(&["status"]).ok().contains(&problem));
    std::fs::remove_dir(&place).unwrap();
    wait_until("it is written", || place.is_file().then_some(()));
    assert_eq!(world.new_env_id(""), id.trim());
    wait_until("status is content", || {
        world.status()["env_problem"].is_null().then_some(())
    });
}

#[test]
fn pipes_devices_and_links_in_the_place_of_an_env_file_are_replaced_unread() {
    let dir = tempfile::tempdir().unwrap();
    let victim = victim(dir.path());
    let place = dir.path().join("private");
    std::fs::create_dir(&place).unwrap();
    let file = place.join("env");
    let target = victim.join("env");
    for link in ["/dev/zero", "/dev/tty", target.to_str().unwrap(), "nowhere"] {
        symlink(link, &file).unwrap();
        env_file::publish(&file, &text(1)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text(1), "{link}");
        assert!(file.symlink_metadata().unwrap().is_file(), "{link}");
        std::fs::remove_file(&file).unwrap();
    }
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    env_file::publish(&file, &text(1)).unwrap();
    assert!(file.symlink_metadata().unwrap().is_file());
    std::fs::write(&file, "#".repeat(1 << 20)).unwrap();
    env_file::empty(&place).unwrap();
    assert!(file.metadata().unwrap().len() < 1024);
    is_unharmed(&victim);
}

#[test]
fn a_copy_is_not_written_over_what_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let victim = victim(dir.path());
    let copy = dir.path().join(".tracemark");
    std::fs::create_dir(&copy).unwrap();
    for link in ["/dev/zero", victim.join("env").to_str().unwrap()] {
        symlink(link, copy.join("env")).unwrap();
        let refused =
            env_file::publish_copy(dir.path(), &text(1), &mut Dates::default()).unwrap_err();
        assert!(refused.to_string().contains("did not write"), "{refused}");
        env_file::empty_copy(dir.path()).unwrap();
        env_file::remove_copy(dir.path()).unwrap();
        std::fs::remove_file(copy.join("env")).unwrap();
    }
    assert!(env_file::publish_copy(dir.path(), &text(1), &mut Dates::default()).unwrap());
    assert!(env_file::publish_copy(dir.path(), &text(2), &mut Dates::default()).unwrap());
    is_unharmed(&victim);
}

#[test]
fn a_link_that_takes_the_place_of_a_directory_again_and_again_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let victim = victim(dir.path());
    let copy = dir.path().join(".tracemark");
    let away = dir.path().join("away");
    let done = AtomicBool::new(false);
    let swaps = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                // Each step may fail while the writer makes or uses the directory.
                let is_swapped =
                    std::fs::rename(&copy, &away).is_ok() && symlink(&victim, &copy).is_ok();
                swaps.fetch_add(u32::from(is_swapped), Ordering::SeqCst);
                drop(std::fs::remove_file(&copy));
                drop(std::fs::rename(&away, &copy));
                drop(std::fs::remove_dir_all(&away));
            }
        });
        for n in 0.. {
            if n >= 300 && swaps.load(Ordering::SeqCst) >= 10 {
                break;
            }
            // A link that is met is refused, whatever else is met is written to.
            drop(env_file::publish_copy(
                dir.path(),
                &text(n),
                &mut Dates::default(),
            ));
            drop(env_file::publish(&copy.join("env"), &text(n)));
            drop(env_file::empty_copy(dir.path()));
        }
        done.store(true, Ordering::SeqCst);
    });
    is_unharmed(&victim);
}

#[test]
fn nothing_is_removed_through_a_link_in_the_place_of_our_directories() {
    let store = tempfile::tempdir().unwrap();
    let uri = sqlite_store(store.path());
    let world = World::with_commit();
    let precious = world.base().join("precious");
    std::fs::create_dir(&precious).unwrap();
    for name in ["1", "notes.txt"] {
        std::fs::write(precious.join(name), "mine").unwrap();
    }
    let private = world.repo().join(".git/tracemark");
    std::fs::create_dir(&private).unwrap();
    for ours in ["cookies", "snapshots"] {
        std::os::unix::fs::symlink(&precious, private.join(ours)).unwrap();
    }
    world.tracemark(&["up", "--store", &uri]).ok();
    asked(&world, &[]);
    let left = std::fs::read_dir(&precious).unwrap().flatten();
    let left: BTreeSet<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["1".into(), "notes.txt".into()].into());
}

#[test]
fn nothing_is_written_through_a_link_in_the_place_of_our_directory() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let precious = world.base().join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("status-index"), "mine").unwrap();
    let private = world.repo().join(".git/tracemark");
    std::fs::rename(&private, world.repo().join(".git/tracemark-before")).unwrap();
    std::os::unix::fs::symlink(&precious, &private).unwrap();
    for n in 0..3 {
        world.write("app.py", format!("print('linked', {n})\n"));
        world.git(&["add", "-A"]);
        world.tracemark(&["active"]);
    }
    world.tracemark(&["diff", "HEAD", "@"]);
    let left = std::fs::read_dir(&precious).unwrap().flatten();
    let left: BTreeSet<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["status-index".into()].into());
    let text = std::fs::read_to_string(precious.join("status-index")).unwrap();
    assert_eq!(text, "mine");
}
