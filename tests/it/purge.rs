//! Does `down --purge` leave the machine as it was found, byte for byte, and `up --dry-run` untouched?

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::python::sqlite_store;
use crate::world::{Said, World, is_alive, wait_until};

/// A file, link or directory: its mode, its bytes, and the time of what is no directory.
type Thing = (u32, Vec<u8>, Option<SystemTime>);

/// Everything below the world: home, runtime directory, repositories, what lies beside them. What goes while we look (a daemon
/// keeps code in directories that it renames) is left out.
fn machine(world: &World) -> BTreeMap<PathBuf, Thing> {
    let mut things = BTreeMap::new();
    let mut waiting = vec![world.base().to_owned()];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            let (bytes, time) = if metadata.is_dir() {
                waiting.push(path.clone());
                (Vec::new(), None)
            } else if metadata.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                (target.into_os_string().into_encoded_bytes(), None)
            } else if metadata.is_file() {
                (
                    std::fs::read(&path).unwrap_or_default(),
                    metadata.modified().ok(),
                )
            } else {
                (Vec::new(), None)
            };
            things.insert(path, (metadata.permissions().mode(), bytes, time));
        }
    }
    things
}

/// Compares name by name, so that a failure says which.
#[track_caller]
fn assert_same(before: &BTreeMap<PathBuf, Thing>, after: &BTreeMap<PathBuf, Thing>) {
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let wrong: Vec<_> = names.into_iter().filter(differs).collect();
    let detail: Vec<_> = wrong
        .iter()
        .map(|path| (path, before.get(*path), after.get(*path)))
        .take(3)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{detail:?}");
}

/// What is easily damaged: hooks of ones own in every shape, an exclude file without a last line end and with a mode of
/// its own, times long ago.
fn with_things_of_ones_own(world: &World) {
    let git = world.repo().join(".git");
    std::fs::create_dir_all(git.join("hooks")).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    world.write(
        ".git/hooks/post-commit",
        "#!/bin/bash\necho mine\nexec true",
    );
    mode(&git.join("hooks/post-commit"), 0o750);
    world.write(".git/hooks/post-merge", "#!/bin/sh\n");
    mode(&git.join("hooks/post-merge"), 0o711);
    world.write(".git/hooks/post-rewrite", [0x7f, b'E', b'L', b'F', 0, 1]);
    world.write(".git/info/exclude", "*.log");
    mode(&git.join("info/exclude"), 0o600);
    for name in ["hooks/post-commit", "hooks/post-merge", "info/exclude"] {
        let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500_000_000_250);
        let file = std::fs::File::open(git.join(name)).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(long_ago))
            .unwrap();
    }
}

/// Again and again, as the daemon may write while a directory is emptied.
fn remove(dir: &Path) {
    wait_until("the directory is gone", || {
        drop(std::fs::remove_dir_all(dir));
        (!dir.exists()).then_some(())
    });
}

/// The store is a file beside the repository, which is there before.
fn world_with_store() -> (World, String) {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    let tracking = store.clone();
    world.set("MLFLOW_TRACKING_URI", &tracking);
    (world, store)
}

fn store_file(world: &World) -> impl Fn(&PathBuf, &mut Thing) -> bool + use<> {
    let base = world.base().to_owned();
    move |path, _| !(path.parent() == Some(&base) && path.to_string_lossy().contains(".db"))
}

/// The LoggedModels that were made stay in the store, whose file is left out.
fn snapshot(world: &World) -> BTreeMap<PathBuf, Thing> {
    let mut things = machine(world);
    things.retain(store_file(world));
    things
}

#[test]
fn purge_leaves_every_byte_mode_name_and_time_as_it_was_before_up() {
    let (world, _) = world_with_store();
    with_things_of_ones_own(&world);
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    world.tracemark(&["params", "set", "llm=gpt"]).ok();
    world.write(".tracemark.toml", "env_copy = true\n");
    world.tracemark(&["up"]).ok();
    world.tracemark(&["active"]).ok();
    assert!(world.repo().join(".tracemark/env").exists());
    assert!(world.repo().join(".git/tracemark/snapshots").exists());
    std::fs::remove_file(world.repo().join(".tracemark.toml")).unwrap();
    let pid = world.daemon_pid().unwrap();
    let said = world.tracemark(&["down", "--purge"]).ok();
    assert!(said.contains("LoggedModels and traces"), "{said}");
    assert!(!is_alive(pid), "the daemon is part of what goes");
    assert_same(&before, &snapshot(&world));
    let again = world.tracemark(&["down", "--purge"]).ok();
    assert!(again.contains("nothing of tracemark was found"), "{again}");
    assert_same(&before, &snapshot(&world));
}

#[test]
fn purge_knows_what_an_earlier_down_left_behind_and_what_ran_without_up() {
    let (world, _) = world_with_store();
    let before = snapshot(&world);
    world.tracemark(&["active", "--once"]).ok();
    world.tracemark(&["up"]).ok();
    world.tracemark(&["down"]).ok();
    assert!(world.repo().join(".git/tracemark/snapshots").exists());
    world.tracemark(&["down", "--purge"]).ok();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn purge_knows_where_a_version_was_asked_for_without_up() {
    let (mut world, store) = world_with_store();
    let other = world.base().join("other");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    world.set("MLFLOW_TRACKING_URI", &store);
    let before = snapshot(&world);
    in_dir(&world, &other, &["active", "--once"]).ok();
    assert!(other.join(".git/tracemark").exists());
    let home = world.base().join("home");
    in_dir(&world, &home, &["down", "--purge"]).ok();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn nothing_is_added_to_an_exclude_file_whose_block_was_cut_off_and_what_stands_below_stays() {
    let world = World::with_commit();
    let store = sqlite_store(&world.repo());
    let block = "# >>> tracemark >>> (made by `tracemark up`, removed by `tracemark down`)\n";
    let text = format!("{block}mlflow.db-*\nmy-own-notes\n");
    world.write(".git/info/exclude", &text);
    let dry = world
        .tracemark(&["up", "--store", &store, "--dry-run"])
        .ok();
    assert!(dry.contains("whose end is gone"), "{dry}");
    let said = world.tracemark(&["up", "--store", &store]);
    assert!(said.stderr.contains("whose end is gone"), "{said:?}");
    world.tracemark(&["down"]).ok();
    let file = world.repo().join(".git/info/exclude");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn an_exclude_file_that_is_a_link_is_not_written_through() {
    let (world, store) = world_with_store();
    let mine = world.base().join("home/exclude");
    std::fs::write(&mine, "*.log\n").unwrap();
    let file = world.repo().join(".git/info/exclude");
    drop(std::fs::remove_file(&file));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&mine, &file).unwrap();
    let before = snapshot(&world);
    let dry = world
        .tracemark(&["up", "--store", &store, "--dry-run"])
        .ok();
    assert!(
        dry.contains("info/exclude: a link; to be added to it by hand: mlflow.db"),
        "{dry}"
    );
    let said = world.tracemark(&["up", "--store", &store]);
    assert!(
        said.stderr.contains("add these lines to it: mlflow.db"),
        "{said:?}"
    );
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "*.log\n");
    world.tracemark(&["down", "--purge"]).ok();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn a_block_whose_end_somebody_took_is_named() {
    let (world, _) = world_with_store();
    world.tracemark(&["up"]).ok();
    for name in ["hooks/post-commit", "info/exclude"] {
        let file = world.repo().join(".git").join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("# <<< tracemark <<<\n", "")).unwrap();
    }
    let said = world.tracemark(&["down", "--purge"]);
    for name in ["hooks/post-commit", "info/exclude"] {
        assert!(
            said.stderr.contains(&format!("{name} holds a block")),
            "{said:?}"
        );
    }
    said.ok();
}

#[test]
fn down_works_where_only_the_git_directory_is_gone() {
    let (world, _) = world_with_store();
    world.tracemark(&["up"]).ok();
    remove(&world.repo().join(".git"));
    world.tracemark(&["down"]).ok();
    let records = world.state_dir().join("repositories");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
    world.tracemark(&["down"]).failed(4, "not a git repository");
}

#[test]
fn down_and_purge_leave_alone_what_another_home_tracks() {
    let (world, store) = world_with_store();
    world.tracemark(&["up", "--store", &store]).ok();
    let before = std::fs::read(world.repo().join(".git/hooks/post-commit")).unwrap();
    let other = world.base().join("other-home");
    std::fs::create_dir(&other).unwrap();
    let from_there = |arguments: &[&str]| {
        let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
        command.env("HOME", &other).env_remove("XDG_RUNTIME_DIR");
        Said::of(&command.args(arguments).output().unwrap())
    };
    from_there(&["down"]).failed(4, "is tracked from another home");
    from_there(&["down", "--purge"]).ok();
    assert!(world.repo().join(".git/tracemark/env").exists());
    assert_eq!(
        std::fs::read(world.repo().join(".git/hooks/post-commit")).unwrap(),
        before
    );
    world.tracemark(&["down", "--purge"]).ok();
    from_there(&["down"]).failed(4, "is not tracked");
}

/// A list that a repository brings along, about files behind a link in its git directory.
fn with_a_list_of_others(world: &World, outside: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let git_dir = world.repo().join(".git");
    std::os::unix::fs::symlink(outside, git_dir.join("lnk")).unwrap();
    std::fs::create_dir(git_dir.join("tracemark")).unwrap();
    let metadata = git_dir.metadata().unwrap();
    let time = serde_json::json!({"secs_since_epoch": 1, "nanos_since_epoch": 0});
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let list = serde_json::json!({
        "schema": 1, "common_dir": git_dir, "identity": [metadata.dev(), metadata.ino()], "roots": [],
        "made": ["lnk/empty"], "hooks": ["lnk"],
        "found": {
            "lnk/key": {"sha256": empty, "mode": 0o666, "modified": time},
            "lnk/new": {"sha256": empty, "mode": 0o777, "modified": time},
        },
    });
    std::fs::write(git_dir.join("tracemark/written.json"), list.to_string()).unwrap();
}

#[test]
fn a_list_that_a_repository_brings_along_leads_to_nothing_outside_of_it() {
    for arguments in [&["down"][..], &["down", "--purge"]] {
        let world = World::with_commit();
        let outside = world.base().join("private");
        std::fs::create_dir_all(outside.join("empty")).unwrap();
        std::fs::write(outside.join("key"), "").unwrap();
        let hook = "#!/bin/sh\n# >>> tracemark >>>\n# <<< tracemark <<<\n";
        std::fs::write(outside.join("post-commit"), hook).unwrap();
        with_a_list_of_others(&world, &outside);
        let mut before = machine(&world);
        world.tracemark(arguments);
        let mut after = machine(&world);
        for things in [&mut before, &mut after] {
            things.retain(|path, _| path.starts_with(&outside));
        }
        assert!(before.len() > 3, "{before:?}");
        assert_same(&before, &after);
    }
}

#[test]
fn purge_knows_the_runtime_directories_of_other_shells() {
    let (mut world, _) = world_with_store();
    let before = snapshot(&world);
    let second = world.base().join("second");
    std::fs::create_dir(&second).unwrap();
    std::fs::set_permissions(&second, std::fs::Permissions::from_mode(0o700)).unwrap();
    world.set("XDG_RUNTIME_DIR", second.to_str().unwrap());
    world.tracemark(&["up"]).ok();
    let first = world.base().join("run");
    world.set("XDG_RUNTIME_DIR", first.to_str().unwrap());
    world.tracemark(&["down", "--purge"]).ok();
    std::fs::remove_dir(&second).unwrap();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn up_writes_nothing_through_a_link_in_the_place_of_our_directory() {
    let (world, store) = world_with_store();
    let out = world.base().join("out");
    std::fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink(&out, world.repo().join(".git/tracemark")).unwrap();
    world
        .tracemark(&["up", "--store", &store])
        .failed(3, "is a link");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
}

#[test]
fn down_works_in_a_linked_worktree_whose_repository_was_moved_away() {
    let (world, _) = world_with_store();
    let side = world.base().join("side");
    world.add_worktree(&side);
    world.tracemark(&["up"]).ok();
    in_dir(&world, &side, &["active"]).ok();
    std::fs::rename(world.repo(), world.base().join("away")).unwrap();
    let status = in_dir(&world, &side, &["status"]).ok();
    assert!(
        status.contains("the repository that it belongs to is gone"),
        "{status}"
    );
    in_dir(&world, &side, &["down"]).ok();
    let records = world.state_dir().join("repositories");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
    std::fs::rename(world.base().join("away"), world.repo()).unwrap();
}

#[test]
fn up_says_which_rule_lets_in_what_an_app_leaves() {
    let (world, store) = world_with_store();
    world.write(".gitignore", "!mlflow.db\n");
    let said = world.tracemark(&["up", "--store", &store]);
    assert!(
        said.stderr
            .contains("a rule lets mlflow.db in all the same"),
        "{said:?}"
    );
    world
        .tracemark(&["up", "--experiment", ""])
        .failed(2, "an experiment has a name");
}

#[test]
fn down_says_that_other_worktrees_go_too() {
    let (world, _) = world_with_store();
    let side = world.base().join("side");
    world.add_worktree(&side);
    world.tracemark(&["up"]).ok();
    let said = in_dir(&world, &side, &["down"]).ok();
    assert!(
        said.contains("side and the other worktree of its repository are no longer"),
        "{said}"
    );
}

#[test]
fn purge_cleans_linked_worktrees_and_repositories_without_hooks_or_info_directory() {
    let (world, _) = world_with_store();
    for dir in ["hooks", "info"] {
        std::fs::remove_dir_all(world.repo().join(".git").join(dir)).unwrap();
    }
    world.add_worktree(&world.base().join("side"));
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    let linked = world.repo().join(".git/worktrees/side/tracemark/env");
    wait_until("the linked worktree is tracked too", || {
        linked.exists().then_some(())
    });
    world.tracemark(&["down", "--purge"]).ok();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn purge_finds_a_repository_that_was_renamed_and_names_one_that_is_gone() {
    let (world, _) = world_with_store();
    let other = world.base().join("other");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
    Said::of(&up.arg("up").current_dir(&other).output().unwrap()).ok();
    let moved = world.base().join("renamed");
    std::fs::rename(world.repo(), &moved).unwrap();
    remove(&other);
    let said = world.tracemark(&["down", "--purge"]).ok();
    let gone = format!("{} is gone", other.join(".git").display());
    assert!(said.contains(&gone), "{said}");
    std::fs::rename(&moved, world.repo()).unwrap();
    let mut before = before;
    before.retain(|path, _| !path.starts_with(&other));
    assert_same(&before, &snapshot(&world));
}

#[test]
fn down_works_in_a_repository_that_was_moved_and_for_one_that_is_gone() {
    let (world, _) = world_with_store();
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    let far = world.base().join("far/away/from/here");
    std::fs::create_dir_all(far.parent().unwrap()).unwrap();
    std::fs::rename(world.repo(), &far).unwrap();
    let mut down = world.command(env!("CARGO_BIN_EXE_tracemark"));
    Said::of(&down.arg("down").current_dir(&far).output().unwrap()).ok();
    std::fs::rename(&far, world.repo()).unwrap();
    std::fs::remove_dir_all(world.base().join("far")).unwrap();
    std::fs::remove_dir_all(world.repo().join(".git/tracemark")).unwrap();
    let inside = |things: BTreeMap<PathBuf, Thing>| -> BTreeMap<PathBuf, Thing> {
        let repo = world.repo();
        things
            .into_iter()
            .filter(|(path, _)| path.starts_with(&repo))
            .collect()
    };
    assert_same(&inside(before), &inside(snapshot(&world)));

    world.tracemark(&["up"]).ok();
    remove(&world.repo());
    let gone = world.repo();
    let mut down = world.command(env!("CARGO_BIN_EXE_tracemark"));
    down.arg("down").arg(&gone).current_dir(world.base());
    Said::of(&down.output().unwrap()).ok();
    let records = world.state_dir().join("repositories");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
}

#[test]
fn purge_leaves_what_a_person_wrote_into_the_settings_and_hooks() {
    let (world, _) = world_with_store();
    let settings = world.base().join("home/.config/tracemark/config.toml");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    std::fs::write(&settings, "settle = '1s'\n").unwrap();
    world.tracemark(&["up"]).ok();
    let hook = world.repo().join(".git/hooks/post-merge");
    let text = std::fs::read_to_string(&hook).unwrap();
    std::fs::write(&hook, text + "echo mine\n").unwrap();
    let said = world.tracemark(&["down", "--purge"]).ok();
    assert!(said.contains("you wrote what is in it"), "{said}");
    assert!(settings.exists());
    assert_eq!(
        std::fs::read_to_string(&hook).unwrap(),
        "#!/bin/sh\necho mine\n"
    );
}

#[test]
fn a_dry_run_writes_nothing_and_names_everything_that_up_then_writes() {
    let (world, _) = world_with_store();
    with_things_of_ones_own(&world);
    let before = snapshot(&world);
    let said = world.tracemark(&["up", "--dry-run"]).ok();
    assert_same(&before, &snapshot(&world));
    assert!(said.contains("  + mlflow.db\n"), "{said}");
    assert!(
        said.contains("leave ") && said.contains("post-rewrite"),
        "{said}"
    );
    let named: Vec<PathBuf> = said
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(verb, _)| ["make", "use", "write"].contains(verb))
        .map(|(_, rest)| rest.trim_start().split([':', ',']).next().unwrap())
        .map(|path| PathBuf::from(path.trim_end_matches('/')))
        .collect();
    let written: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  + "))
        .collect();
    world.tracemark(&["up"]).ok();
    let after = snapshot(&world);
    let changed = after
        .iter()
        .filter(|(path, thing)| before.get(*path) != Some(thing));
    for (path, (_, bytes, _)) in changed {
        let is_named = named.iter().any(|name| path.starts_with(name));
        assert!(is_named, "{} is not in {said}", path.display());
        if path.starts_with(world.repo().join(".git/hooks")) {
            let text = String::from_utf8_lossy(bytes);
            let begin = text.lines().find(|line| line.starts_with("# >>>")).unwrap();
            assert!(written.contains(&begin), "{begin} is not in {said}");
        }
    }
    let again = world.tracemark(&["up", "--dry-run"]).ok();
    assert!(
        !again.lines().any(|line| line.starts_with("write")),
        "{again}"
    );
}

#[test]
fn up_tells_each_step_on_a_terminal_and_only_there() {
    let (world, _) = world_with_store();
    let script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let mut python = world.command("python3");
    python.args(["-c", script, env!("CARGO_BIN_EXE_tracemark"), "up"]);
    let on_terminal = Said::of(&python.output().unwrap()).ok();
    for step in ["store ", "hooks ", "daemon ", "code "] {
        let told = on_terminal.lines().any(|line| line.starts_with(step));
        assert!(told, "{step}: {on_terminal}");
    }
    let off = world.tracemark(&["up"]);
    assert!(!off.stderr.contains("daemon "), "{off:?}");
}

#[test]
fn up_refuses_a_repository_that_is_the_home_directory_unless_asked() {
    let (world, _) = world_with_store();
    let home = world.base().join("home");
    world.git(&["init", "-q", home.to_str().unwrap()]);
    let up = |more: &[&str]| {
        let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
        up.arg("up").args(more).current_dir(&home);
        Said::of(&up.output().unwrap())
    };
    let before = snapshot(&world);
    up(&[]).failed(3, "a repository of everything");
    assert_same(&before, &snapshot(&world));
    up(&["--allow-home", "--dry-run"]).ok();
}

#[test]
fn in_a_repository_that_is_the_home_directory_our_own_files_are_no_code() {
    let (world, store) = world_with_store();
    let home = world.base().join("home");
    world.git(&["init", "-q", home.to_str().unwrap()]);
    std::fs::write(home.join("app.py"), "print()\n").unwrap();
    let git = |arguments: &[&str]| {
        let mut git = world.command("git");
        Said::of(&git.args(arguments).current_dir(&home).output().unwrap()).ok()
    };
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "first"]);
    in_dir(&world, &home, &["up", "--allow-home", "--store", &store]).ok();
    assert_eq!(git(&["status", "--porcelain"]), "");
    let id = in_dir(&world, &home, &["active"]).ok();
    assert_eq!(in_dir(&world, &home, &["active"]).ok(), id);
    let hash = in_dir(&world, &home, &["hash"]).ok();
    assert!(!hash.contains("dirty"), "{hash}");
    in_dir(&world, &home, &["down", "--purge"]).ok();
    assert_eq!(git(&["status", "--porcelain"]), "");
}

fn in_dir(world: &World, dir: &Path, arguments: &[&str]) -> Said {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    Said::of(&command.args(arguments).current_dir(dir).output().unwrap())
}

#[test]
fn purge_cleans_a_repository_that_was_moved_far_away_also_after_one_that_did_not_find_it() {
    let (world, _) = world_with_store();
    with_things_of_ones_own(&world);
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    wait_until("the code is kept", || {
        world.status()["restorable"].is_string().then_some(())
    });
    let far = world.base().join("very/far/away/from/here");
    std::fs::create_dir_all(far.parent().unwrap()).unwrap();
    std::fs::rename(world.repo(), &far).unwrap();
    let said = in_dir(&world, world.base(), &["down", "--purge"]).ok();
    assert!(said.contains("is gone; if it was moved"), "{said}");
    let said = in_dir(&world, &far, &["down", "--purge"]).ok();
    assert!(said.contains(far.to_str().unwrap()), "{said}");
    std::fs::rename(&far, world.repo()).unwrap();
    std::fs::remove_dir_all(world.base().join("very")).unwrap();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn down_of_a_deleted_linked_worktree_cleans_its_repository() {
    let (world, _) = world_with_store();
    let side = world.base().join("side");
    world.add_worktree(&side);
    let hooks = world.repo().join(".git/hooks");
    let count = || {
        let ours = |name: &&&str| hooks.join(name).exists();
        ["post-commit", "post-merge"].iter().filter(ours).count()
    };
    in_dir(&world, &side, &["up"]).ok();
    assert_eq!(count(), 2);
    remove(&side);
    in_dir(&world, world.base(), &["down", side.to_str().unwrap()]).ok();
    assert_eq!(count(), 0);
    let records = world.state_dir().join("repositories");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
    let again = in_dir(&world, world.base(), &["down", side.to_str().unwrap()]);
    assert_ne!(again.code, Some(70), "{again:?}");
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
    in_dir(&world, &moved, &["up"]).ok();
    let records = world.state_dir().join("repositories");
    let records: Vec<_> = std::fs::read_dir(records).unwrap().flatten().collect();
    assert_eq!(records.len(), 1, "the old place is forgotten");
    let record = std::fs::read_to_string(records[0].path()).unwrap();
    for kept in [store.as_str(), "moved", "llm", "release"] {
        assert!(record.contains(kept), "{kept}: {record}");
    }
    in_dir(&world, &moved, &["down", "--purge"]).ok();
    std::fs::rename(&moved, world.repo()).unwrap();
    std::fs::remove_dir(moved.parent().unwrap()).unwrap();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn a_repository_that_cannot_be_cleaned_stops_the_cleaning_of_no_other() {
    let (world, _) = world_with_store();
    let other = world.base().join("a-clone");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    in_dir(&world, &other, &["up"]).ok();
    let exclude = other.join(".git/info/exclude");
    let text = std::fs::read(&exclude).unwrap();
    std::fs::remove_file(&exclude).unwrap();
    std::fs::create_dir(&exclude).unwrap();
    let said = in_dir(&world, world.base(), &["down", "--purge"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("info/exclude"), "{said:?}");
    assert!(!world.repo().join(".git/tracemark").exists());
    std::fs::remove_dir(&exclude).unwrap();
    std::fs::write(&exclude, text).unwrap();
    in_dir(&world, world.base(), &["down", "--purge"]).ok();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn a_link_that_leads_to_the_state_directory_stays_and_what_it_leads_to_is_emptied() {
    let (world, _) = world_with_store();
    let elsewhere = world.base().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o700)).unwrap();
    let state = world.state_dir();
    std::fs::create_dir_all(state.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &state).unwrap();
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    assert!(elsewhere.join("ledger.sqlite").exists());
    world.tracemark(&["down", "--purge"]).ok();
    assert_same(&before, &snapshot(&world));
}

#[test]
fn hooks_are_taken_back_wherever_a_manager_has_put_them_and_wherever_git_ran_them() {
    let (world, _) = world_with_store();
    world.git(&["config", "core.hooksPath", ".git/my-hooks"]);
    with_things_of_ones_own(&world);
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    assert!(world.repo().join(".git/my-hooks/post-commit").exists());
    world.git(&["config", "--unset", "core.hooksPath"]);
    world.tracemark(&["up"]).ok();
    let hooks = world.repo().join(".git/hooks");
    std::fs::rename(hooks.join("post-commit"), hooks.join("post-commit.legacy")).unwrap();
    std::fs::rename(
        hooks.join("post-applypatch"),
        hooks.join("post-applypatch.old"),
    )
    .unwrap();
    world.tracemark(&["down", "--purge"]).ok();
    let aside = std::fs::read_to_string(hooks.join("post-commit.legacy")).unwrap();
    assert_eq!(aside, "#!/bin/bash\necho mine\nexec true");
    std::fs::rename(hooks.join("post-commit.legacy"), hooks.join("post-commit")).unwrap();
    let mut after = snapshot(&world);
    let mut before = before;
    // Its time is that of the renamed file.
    for things in [&mut before, &mut after] {
        things.retain(|path, _| {
            !path.ends_with("hooks/post-commit") && !path.ends_with(".git/config")
        });
    }
    assert_same(&before, &after);
}

/// An interpreter of a virtual environment with an MLflow that is as old as its metadata says.
fn with_old_mlflow(world: &World) {
    let python = Said::of(
        &world
            .command("python3")
            .args(["-m", "venv", "--without-pip", ".venv"])
            .output()
            .unwrap(),
    );
    python.ok();
    let lib = std::fs::read_dir(world.repo().join(".venv/lib"))
        .unwrap()
        .next()
        .unwrap();
    let packages = lib.unwrap().path().join("site-packages");
    let info = packages.join("mlflow-2.9.2.dist-info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(
        info.join("METADATA"),
        "Metadata-Version: 2.1\nName: mlflow\nVersion: 2.9.2\n",
    )
    .unwrap();
    std::fs::create_dir_all(packages.join("mlflow")).unwrap();
    std::fs::write(packages.join("mlflow/__init__.py"), "").unwrap();
    world.write(".gitignore", ".venv/\n");
}

#[test]
fn up_tells_what_would_make_tracking_useless_and_what_to_type() {
    let mut world = World::new();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    world.set("MLFLOW_ACTIVE_MODEL_ID", "m-yesterday");
    with_old_mlflow(&world);
    world.write(
        "app.py",
        "import mlflow\nmlflow.set_experiment('support')\n",
    );
    world.write(".env", "MLFLOW_TRACKING_URI=http://localhost:5000\n");
    let said = world.tracemark(&["up"]);
    let told = |cause: &str, cure: &str| {
        let mut lines = said.stderr.lines().skip_while(|line| !line.contains(cause));
        assert!(lines.next().is_some(), "{cause}: {said:?}");
        let line = lines.next().unwrap();
        assert!(
            line.starts_with("  try: ") && line.contains(cure),
            "{said:?}"
        );
    };
    told(
        "exports MLFLOW_ACTIVE_MODEL_ID",
        "unset MLFLOW_ACTIVE_MODEL_ID",
    );
    told("no commit yet", "git commit");
    told("MLflow is 2.9.2", "pip install 'mlflow>=3.1'");
    told("app.py:2 sets the experiment", "--experiment support");
    told(
        ".env sets MLFLOW_TRACKING_URI",
        "take MLFLOW_TRACKING_URI out",
    );
}

/// Runs a command on a terminal and gives the same answer to each question.
const AT_TERMINAL: &str = "
import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execvp(sys.argv[2], sys.argv[2:])
seen = b''
while True:
    try: said = os.read(fd, 4096)
    except OSError: break
    if not said: break
    seen += said
    sys.stdout.buffer.write(said); sys.stdout.flush()
    if seen.endswith(b'[Y/n] '): os.write(fd, sys.argv[1].encode() + b'\\n'); seen = b''
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

fn up_at_terminal(world: &World, reply: &str) -> Said {
    let mut python = world.command("python3");
    let program = env!("CARGO_BIN_EXE_tracemark");
    python.args(["-c", AT_TERMINAL, reply, program, "up"]);
    Said::of(&python.output().unwrap())
}

/// No commit, and code that names an experiment.
fn useless() -> World {
    let mut world = World::new();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    world.write(
        "app.py",
        "import mlflow\nmlflow.set_experiment('support')\n",
    );
    world
}

fn commits(world: &World) -> usize {
    let log = world
        .command("git")
        .args(["log", "--format=%s"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&log.stdout).lines().count()
}

#[test]
fn up_on_a_terminal_offers_to_mend_what_would_make_tracking_useless() {
    let world = useless();
    let refused = up_at_terminal(&world, "n").ok();
    assert_eq!(refused.matches("[Y/n]").count(), 2, "{refused}");
    assert_eq!(commits(&world), 0);
    assert!(refused.contains("experiment 0"), "{refused}");
    let agreed = up_at_terminal(&world, "").ok();
    assert_eq!(commits(&world), 1, "{agreed}");
    assert_eq!(world.git(&["status", "--porcelain"]), "?? app.py");
    assert!(
        !agreed.contains("no commit yet, so: its versions"),
        "{agreed}"
    );
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(!doctor.contains("sets the experiment"), "{doctor}");
    let again = up_at_terminal(&world, "n").ok();
    assert!(!again.contains("[Y/n]"), "{again}");
}

#[test]
fn up_asks_nothing_and_mends_nothing_where_nobody_can_answer_unless_told_to() {
    let world = useless();
    let said = world.tracemark(&["up"]);
    assert!(!said.stderr.contains("[Y/n]"), "{said:?}");
    assert!(said.stderr.contains("no commit yet"), "{said:?}");
    assert_eq!(commits(&world), 0);
    world.tracemark(&["up", "--yes"]).ok();
    assert_eq!(commits(&world), 1);
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(!doctor.contains("sets the experiment"), "{doctor}");
}

#[test]
fn a_database_that_git_tracks_leaves_the_index_if_a_person_agrees() {
    let world = World::with_commit();
    sqlite_store(&world.repo());
    let name = std::fs::read_dir(world.repo()).unwrap().flatten();
    let name = name.map(|entry| entry.file_name().into_string().unwrap());
    let name = name.into_iter().find(|name| name.contains(".db")).unwrap();
    world.git(&["add", "-f", &name]);
    world.git(&["commit", "-q", "-m", "with a database"]);
    let uri = format!("sqlite:///{}", world.repo().join(&name).display());
    let up = ["up", "--store", &uri];
    world.tracemark(&up).failed(3, "is tracked by git");
    assert_ne!(world.git(&["ls-files", &name]), "");
    let mut more = up.to_vec();
    more.push("--yes");
    world.tracemark(&more).ok();
    assert_eq!(world.git(&["ls-files", &name]), "");
    assert!(world.repo().join(&name).exists());
}

#[test]
fn up_refuses_a_repository_of_the_whole_disk() {
    let world = World::with_commit();
    world.git(&["config", "core.worktree", "/"]);
    let dir = world.repo();
    let said = in_dir(&world, &dir, &["up"]);
    said.failed(3, "/ is a repository of everything");
    assert!(!world.state_dir().exists());
}
