//! What does the daemon look at, what does it wait for, and what does it leave alone?

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::cases::times;
use crate::fleet::worktrees;
use crate::freshness::tracked;
use crate::identity::oracle;
use crate::python::{look, sqlite_store};
use crate::world::{Said, World, wait_until};

/// `TRACEMARK_TEST_CASES=10` makes it 500.
const COMMITS: usize = 50;

fn name_on_disk(world: &World) -> String {
    oracle::git_hash(&|program| world.command(program)).unwrap()
}

fn watches(world: &World) -> u64 {
    world.status()["watches"].as_u64().unwrap()
}

/// Asks, so that everything written before has been looked at.
pub(crate) fn asked(world: &World, more: &[&str]) -> Value {
    let said = world.tracemark(&[&["active", "--json"], more].concat());
    serde_json::from_str(&said.ok()).unwrap()
}

fn models(store: &Path) -> BTreeSet<String> {
    let uri = format!("sqlite:///{}", store.join("mlflow.db").display());
    let found = look(&uri, &["models", "0"]);
    let models = found.as_array().unwrap().iter();
    models
        .map(|model| model["model_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_repositories_inside_ignore_costs_no_watch_and_what_they_do_not_is_seen() {
    let store = tempfile::tempdir().unwrap();
    let world = World::with_commit();
    world.write(".gitignore", "node_modules/\nbuild/\n*.log\n");
    world.add_submodule();
    world.commit("with a submodule");
    for place in ["node_modules", "sub/node_modules"] {
        for n in 0..40 {
            world.write(&format!("{place}/package{n}/index.js"), "x\n");
        }
    }
    world.write("sub/.gitignore", "node_modules/\n");
    world.git(&["init", "-q", "inside"]);
    world.write("inside/build/a.py", "a = 1\n");
    world.git(&["-C", "inside", "add", "-A", "-f"]);
    world.git(&["-C", "inside", "commit", "-qm", "inside"]);
    let uri = sqlite_store(store.path());
    world.tracemark(&["up", "--store", &uri]).ok();
    asked(&world, &[]);
    assert!(watches(&world) < 40, "{}", watches(&world));
    for path in ["inside/build/a.py", "inside/new.log"] {
        let before = world.env_id();
        world.write(path, "a = 2\n");
        wait_until("the change is seen unasked", || {
            (world.env_id() != before).then_some(())
        });
    }
}

#[test]
fn rules_of_what_is_ignored_that_lie_behind_a_link_are_watched() {
    let store = tempfile::tempdir().unwrap();
    let world = World::with_commit();
    let dotfiles = world.base().join("dotfiles");
    std::fs::create_dir(&dotfiles).unwrap();
    let exclude = world.repo().join(".git/info/exclude");
    std::fs::remove_file(&exclude).unwrap();
    std::fs::write(dotfiles.join("exclude"), "# mine\n").unwrap();
    std::os::unix::fs::symlink(dotfiles.join("exclude"), &exclude).unwrap();
    world.write("scratch.txt", "x\n");
    let uri = sqlite_store(store.path());
    world.tracemark(&["up", "--store", &uri]).ok();
    asked(&world, &[]);
    let before = world.env_id();
    let target = dotfiles.join("exclude");
    let mut file = std::fs::File::options().append(true).open(target).unwrap();
    std::io::Write::write_all(&mut file, b"scratch.txt\n").unwrap();
    wait_until("the change is seen unasked", || {
        (world.env_id() != before).then_some(())
    });
}

#[test]
fn rules_in_files_that_git_ignores_are_seen_unasked_and_count() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    world.write(".git/info/exclude", ".gitattributes\n");
    world.write("app.py", "print('changed')\n");
    world.write("inner/new.py", "new = 1\n");
    asked(&world, &[]);
    for (path, rules) in [
        ("inner/.gitignore", "*\n"),
        (".gitattributes", "app.py -diff\n"),
    ] {
        let before = world.env_id();
        world.write(path, rules);
        wait_until(&format!("{path} is seen unasked"), || {
            (world.env_id() != before).then_some(())
        });
        assert_eq!(asked(&world, &[])["name"], name_on_disk(&world), "{path}");
    }
}

#[test]
fn what_git_ignores_costs_no_watch_unless_a_tracked_file_lies_in_it() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    world.write(".gitignore", "node_modules/\n.venv/\n");
    world.commit("ignore");
    asked(&world, &[]);
    let before = watches(&world);
    for n in 0..20 {
        world.write(&format!("node_modules/p{n}/index.js"), "x");
        world.write(&format!(".venv/lib/p{n}/x.py"), "x");
        world.write(&format!("generated/p{n}/x.py"), "x");
    }
    asked(&world, &[]);
    let with_generated = watches(&world);
    assert_eq!(with_generated, before + 21, "only what is not ignored");
    world.git(&["add", "-f", "node_modules/p3/index.js"]);
    asked(&world, &[]);
    assert_eq!(watches(&world), with_generated + 2, "a tracked file counts");
    world.write(".gitignore", "node_modules/\n.venv/\ngenerated/\n");
    asked(&world, &[]);
    assert_eq!(watches(&world), before + 2, "what is ignored now is let go");
}

#[test]
fn a_rebase_makes_at_most_two_versions_and_never_meets_a_lock() {
    let store = tempfile::tempdir().unwrap();
    let world = World::with_commit();
    world.git(&["checkout", "-q", "-b", "work"]);
    for n in 0..COMMITS * times() {
        world.write(&format!("step{n}.py"), format!("step = {n}\n"));
        world.commit(&format!("step {n}"));
    }
    world.git(&["checkout", "-q", "main"]);
    world.write("base.py", "base = 2\n");
    world.commit("base");
    world.git(&["checkout", "-q", "work"]);
    world
        .tracemark(&["up", "--store", &sqlite_store(store.path())])
        .ok();
    asked(&world, &[]);
    let before = models(store.path());
    world.git(&["rebase", "-q", "main"]);
    let id = asked(&world, &[])["model_id"].clone();
    let after = models(store.path());
    assert!(after.contains(id.as_str().unwrap()));
    let made = after.difference(&before).count();
    assert!(made <= 2, "{made} versions of one rebase");
}

#[test]
fn during_a_bisect_an_app_gets_the_version_of_the_code_that_is_there() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let first = world.git(&["rev-parse", "HEAD"]);
    for n in 0..7 {
        world.write("app.py", format!("print({n})\n"));
        world.commit(&n.to_string());
    }
    world.git(&["bisect", "start", "HEAD", first.trim()]);
    for verdict in ["good", "bad"] {
        let answer = asked(&world, &[]);
        assert_eq!(answer["name"], name_on_disk(&world));
        assert_eq!(
            (&answer["fresh"], &answer["dirty"]),
            (&true.into(), &false.into())
        );
        world.git(&["bisect", verdict]);
    }
}

#[test]
fn while_git_holds_its_lock_there_is_no_id_and_who_asks_waits_for_git() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let lock = world.repo().join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    world.write("app.py", "print('half of a checkout')\n");
    wait_until("there is no id", || world.env_id().is_empty().then_some(()));
    let made = models(store.path());
    let mut asker = world.command(env!("CARGO_BIN_EXE_tracemark"));
    asker.args(["active", "--json"]).stdout(Stdio::piped());
    let asker = asker.spawn().unwrap();
    let fds = format!("/proc/{}/fd", asker.id());
    wait_until("it has asked", || {
        let open = std::fs::read_dir(&fds).ok()?.flatten();
        let mut links = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.find(|link| link.starts_with("socket:") || link.to_string_lossy().contains("socket:"))
    });
    world.write("app.py", "print('all of it')\n");
    assert_eq!(models(store.path()), made, "of half a checkout");
    std::fs::remove_file(&lock).unwrap();
    let answer = asker.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(answer["name"], name_on_disk(&world));
    assert_eq!(models(store.path()).len(), made.len() + 1);
}

#[test]
fn a_lock_that_a_crash_left_delays_one_question_and_withholds_nothing() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    std::fs::write(world.repo().join(".git/index.lock"), "").unwrap();
    for text in ["print('one')\n", "print('two')\n"] {
        world.write("app.py", text);
        let answer = asked(&world, &["--timeout", "60"]);
        assert_eq!(
            (&answer["name"], &answer["fresh"]),
            (&name_on_disk(&world).into(), &true.into())
        );
    }
}

#[test]
fn a_write_that_no_event_tells_of_is_found_by_a_full_look_and_counted() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let elsewhere = world.base().join("elsewhere.py");
    std::fs::hard_link(world.repo().join("app.py"), &elsewhere).unwrap();
    asked(&world, &[]);
    assert_eq!(world.status()["missed_changes"], 0);
    std::fs::write(&elsewhere, "print('through another name')\n").unwrap();
    let answer = asked(&world, &["--full"]);
    assert_eq!(answer["name"], name_on_disk(&world));
    assert_eq!(world.status()["missed_changes"], 1);
}

#[test]
fn a_worktree_that_git_adds_is_watched_like_any_other() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let side = world.base().join("side");
    world.add_worktree(&side);
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let asked = command.arg("active").current_dir(&side).output().unwrap();
    assert!(asked.status.success(), "{asked:?}");
    let said = world.tracemark(&["status", "--json"]).ok();
    let status: Value = serde_json::from_str(&said).unwrap();
    let worktrees = status["worktrees"].as_array().unwrap();
    let modes: Vec<_> = worktrees.iter().map(|one| &one["mode"]).collect();
    assert_eq!(modes, ["watch", "watch"]);
}

#[test]
fn what_the_configuration_includes_and_a_submodules_own_rules_are_watched() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    world.add_submodule();
    world.commit("with submodule");
    let rules = world.repo().join(".git/modules/sub/info/exclude");
    std::fs::create_dir_all(rules.parent().unwrap()).unwrap();
    std::fs::write(&rules, "*.mine\n").unwrap();
    world.write("sub/note.mine", "mine\n");
    let included = world.base().join("included");
    std::fs::write(&included, "[diff]\n\tcontext = 3\n").unwrap();
    world.git(&["config", "include.path", included.to_str().unwrap()]);
    world.write("app.py", "print('edited')\n");
    let id = world.tracemark(&["active"]).ok().trim().to_owned();
    std::fs::write(&included, "[diff]\n\tnoprefix = true\n").unwrap();
    let id = world.new_env_id(&id);
    std::fs::write(&rules, "").unwrap();
    world.new_env_id(&id);
}

#[test]
fn a_repository_that_was_used_a_moment_ago_can_be_removed() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    for n in 0..8 {
        let dir = world.base().join(format!("used{n}"));
        world.git(&["clone", "-q", ".", dir.to_str().unwrap()]);
        for arguments in [&["up", "--store", &store][..], &["active"]] {
            let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
            command.args(arguments).current_dir(&dir);
            Said::of(&command.output().unwrap()).ok();
        }
        let removed = world.command("rm").arg("-rf").arg(&dir).output().unwrap();
        let left = world.command("find").arg(&dir).output().unwrap();
        assert!(removed.status.success(), "{removed:?}, {left:?}");
    }
}

#[test]
fn what_is_written_through_another_name_of_a_file_is_seen_by_who_asks() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    world.write("lib/own.py", "own = 1\n");
    world.write("lib/alone.py", "alone = 1\n");
    world.commit("lib");
    let link = |from: &str, to: &str| {
        std::fs::hard_link(world.repo().join(from), world.repo().join(to)).unwrap();
    };
    link("app.py", "lib/app.py");
    link("lib/own.py", "own.log");
    world.commit("the same file twice");
    asked(&world, &[]);
    // Until what was written is so old that another write would show.
    let age = || {
        let found = world.repo().join("app.py").metadata().unwrap();
        found.modified().unwrap().elapsed().unwrap_or_default()
    };
    wait_until("the files are old", || {
        (age() > Duration::from_secs(3)).then_some(())
    });
    asked(&world, &[]);
    let bring = || {
        let away = world.base().join("away");
        std::fs::create_dir(&away).unwrap();
        std::fs::hard_link(world.repo().join("lib/alone.py"), away.join("alone.py")).unwrap();
        std::fs::rename(&away, world.repo().join("brought")).unwrap();
        asked(&world, &[]);
    };
    for name in ["app.py", "own.log", "lib/app.py", "brought/alone.py"] {
        if name.starts_with("brought/") {
            bring();
        }
        let path = world.repo().join(name);
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, name.as_bytes()).unwrap();
        let said = asked(&world, &[]);
        assert_eq!(said["name"], name_on_disk(&world), "{name}");
        assert_eq!(
            said["content"],
            world.tracemark(&["hash", "--naming", "tree"]).ok().trim()
        );
    }
}

#[test]
fn a_worktree_that_was_moved_away_is_watched_again_when_it_is_back() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let away = world.base().join("away");
    std::fs::rename(world.repo(), &away).unwrap();
    let state = || {
        let said = world.tracemark(&["status", "--json"]).stdout;
        let status: Value = serde_json::from_str(&said).unwrap();
        status["worktrees"][0].clone()
    };
    wait_until("it is missed", || {
        (state()["state"] == "broken").then_some(())
    });
    std::fs::rename(&away, world.repo()).unwrap();
    assert_eq!(asked(&world, &[])["name"], name_on_disk(&world));
    assert_eq!(state()["mode"], "watch");
}

#[test]
fn an_env_file_that_was_removed_or_overwritten_comes_back_when_somebody_asks() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let file = world.repo().join(".git/tracemark/env");
    let id = asked(&world, &[])["model_id"].as_str().unwrap().to_owned();
    std::fs::remove_file(&file).unwrap();
    asked(&world, &[]);
    wait_until("it is there", || file.exists().then_some(()));
    std::fs::write(&file, "MLFLOW_ACTIVE_MODEL_ID=m-bogus\n").unwrap();
    asked(&world, &[]);
    wait_until("it is right", || (world.env_id() == id).then_some(()));
}

#[test]
fn a_directory_deeper_than_any_path_and_links_in_a_circle_keep_nothing_from_being_tracked() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let make = "import os\n\
        for link, target in [('loop', '.'), ('root', '/'), ('there', 'back'), ('back', 'there')]:\n\
        \x20   os.symlink(target, link)\n\
        for level in range(60):\n\
        \x20   os.mkdir('d' * 100)\n\
        \x20   os.chdir('d' * 100)\n\
        open('app.py', 'w').write('deep')\n";
    let made = world.command("python3").args(["-c", make]).status();
    assert!(made.unwrap().success());
    world.write("app.py", "print('beside them')\n");
    let answer = asked(&world, &[]);
    assert_eq!(answer["name"], name_on_disk(&world).as_str());
    assert_eq!(answer["fresh"], true);
    let id = world.env_id();
    world.write("app.py", "print('beside them, later')\n");
    world.new_env_id(&id);
    assert!(watches(&world) < 100, "{}", watches(&world));
}

#[test]
fn what_changed_while_no_daemon_ran_is_seen_by_the_next_whatever_the_last_one_wrote_down() {
    let store = tempfile::tempdir().unwrap();
    let world = World::with_commit();
    for n in 0..1100 {
        world.write(&format!("many/{n}.py"), "x = 1\n");
    }
    world.commit("many");
    world
        .tracemark(&["up", "--store", &sqlite_store(store.path())])
        .ok();
    let record = world.repo().join(".git/tracemark/files");
    let changed = world.repo().join("many/7.py");
    let time = changed.metadata().unwrap().modified().unwrap();
    let damages: [&dyn Fn(); 4] = [
        &|| {},
        &|| std::fs::write(&record, "tracemark files 1\nnothing").unwrap(),
        &|| std::fs::remove_file(&record).unwrap(),
        &|| {
            std::fs::remove_file(&record).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", &record).unwrap();
        },
    ];
    for (value, damage) in damages.iter().enumerate() {
        asked(&world, &[]);
        world.stop_daemon();
        assert!(
            record.symlink_metadata().is_ok(),
            "it wrote down what it read"
        );
        damage();
        std::fs::write(&changed, format!("x = {}\n", value + 2)).unwrap();
        let file = std::fs::File::options().write(true).open(&changed);
        file.unwrap().set_modified(time).unwrap();
        assert_eq!(asked(&world, &[])["name"], name_on_disk(&world), "{value}");
    }
    world.tracemark(&["down"]).ok();
    assert!(record.symlink_metadata().is_err(), "down takes it along");
}

#[test]
fn where_the_git_directory_becomes_a_file_or_a_link_no_id_stays_behind_and_up_goes_on() {
    let store = tempfile::tempdir().unwrap();
    for by in ["file", "link"] {
        let world = tracked(store.path());
        let id = world.env_id();
        let (git_dir, away) = (world.repo().join(".git"), world.base().join("away"));
        if by == "file" {
            let away = away.to_str().unwrap();
            world.git(&["init", "-q", "--separate-git-dir", away]);
        } else {
            std::fs::rename(&git_dir, &away).unwrap();
            std::os::unix::fs::symlink(&away, &git_dir).unwrap();
        }
        world.write("app.py", format!("print({by:?})\n"));
        let env = away.join("tracemark/env");
        wait_until("the id is gone", || {
            let text = std::fs::read_to_string(&env).unwrap();
            (!text.contains(&id)).then_some(())
        });
        world.tracemark(&["up"]).ok();
        let answer = asked(&world, &[]);
        assert_eq!(answer["name"], name_on_disk(&world).as_str(), "{by}");
        let id = answer["model_id"].as_str().unwrap();
        world.write("app.py", "print('once more')\n");
        let renewed = world.new_env_id(id);
        assert_eq!(asked(&world, &[])["model_id"], renewed.as_str(), "{by}");
    }
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

#[test]
fn fifty_linked_worktrees_are_tracked_as_they_are_made_and_forgotten_as_they_are_removed() {
    let world = World::with_commit();
    // Hooks that somebody else owns tell nobody anything.
    world.git(&["config", "core.hooksPath", "hooks-of-ones-own"]);
    let store = sqlite_store(world.base());
    world
        .tracemark_in(&world.repo(), &["up", "--store", &store])
        .ok();
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
    world.tracemark_in(&moved, &["active"]).ok();
    wait_until("the old place is forgotten", || {
        let paths = worktrees(&world);
        (paths.len() == 2 && paths.contains(&moved.to_str()?.into())).then_some(())
    });
    world.git(&["worktree", "remove", "--force", moved.to_str().unwrap()]);
    wait_until("only the main one is left", || {
        (listed() == 1).then_some(())
    });
    world.tracemark_in(&world.repo(), &["active"]).ok();
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
