//! Do `down` and `down --purge` leave the machine as it was found, byte for byte, and `up --dry-run` untouched?

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::python::sqlite_store;
use crate::surroundings::{store_dir, tracked_in};
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
pub(crate) fn assert_same(before: &BTreeMap<PathBuf, Thing>, after: &BTreeMap<PathBuf, Thing>) {
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
pub(crate) fn with_things_of_ones_own(world: &World) {
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
pub(crate) fn world_with_store() -> (World, String) {
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
pub(crate) fn snapshot(world: &World) -> BTreeMap<PathBuf, Thing> {
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
fn what_was_asked_for_without_up_leaves_nothing_in_its_repository_and_goes_with_a_purge() {
    let (mut world, store) = world_with_store();
    let other = world.base().join("other");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    world.set("MLFLOW_TRACKING_URI", &store);
    let before = snapshot(&world);
    world.tracemark_in(&other, &["active", "--once"]).ok();
    assert!(!other.join(".git/tracemark").exists());
    let home = world.base().join("home");
    world.tracemark_in(&home, &["down", "--purge"]).ok();
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
    world.tracemark_in(&side, &["active"]).ok();
    std::fs::rename(world.repo(), world.base().join("away")).unwrap();
    let status = world.tracemark_in(&side, &["status"]).ok();
    assert!(
        status.contains("the repository that it belongs to is gone"),
        "{status}"
    );
    world.tracemark_in(&side, &["down"]).ok();
    let records = world.state_dir().join("repositories");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
    std::fs::rename(world.base().join("away"), world.repo()).unwrap();
}

#[test]
fn down_says_that_other_worktrees_go_too() {
    let (world, _) = world_with_store();
    let side = world.base().join("side");
    world.add_worktree(&side);
    world.tracemark(&["up"]).ok();
    let said = world.tracemark_in(&side, &["down"]).ok();
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
    world
        .tracemark_in(&home, &["up", "--allow-home", "--store", &store])
        .ok();
    assert_eq!(git(&["status", "--porcelain"]), "");
    let id = world.tracemark_in(&home, &["active"]).ok();
    assert_eq!(world.tracemark_in(&home, &["active"]).ok(), id);
    let hash = world.tracemark_in(&home, &["hash"]).ok();
    assert!(!hash.contains("dirty"), "{hash}");
    world.tracemark_in(&home, &["down", "--purge"]).ok();
    assert_eq!(git(&["status", "--porcelain"]), "");
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
    let said = world.tracemark_in(world.base(), &["down", "--purge"]).ok();
    assert!(said.contains("is gone; if it was moved"), "{said}");
    let said = world.tracemark_in(&far, &["down", "--purge"]).ok();
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
    world.tracemark_in(&side, &["up"]).ok();
    assert_eq!(count(), 2);
    remove(&side);
    world
        .tracemark_in(world.base(), &["down", side.to_str().unwrap()])
        .ok();
    assert_eq!(count(), 0);
    let records = world.state_dir().join("repositories");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
    let again = world.tracemark_in(world.base(), &["down", side.to_str().unwrap()]);
    assert_ne!(again.code, Some(70), "{again:?}");
}

#[test]
fn a_repository_that_cannot_be_cleaned_stops_the_cleaning_of_no_other() {
    let (world, _) = world_with_store();
    let other = world.base().join("a-clone");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    let before = snapshot(&world);
    world.tracemark(&["up"]).ok();
    world.tracemark_in(&other, &["up"]).ok();
    let exclude = other.join(".git/info/exclude");
    let text = std::fs::read(&exclude).unwrap();
    std::fs::remove_file(&exclude).unwrap();
    std::fs::create_dir(&exclude).unwrap();
    let said = world.tracemark_in(world.base(), &["down", "--purge"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("info/exclude"), "{said:?}");
    assert!(!world.repo().join(".git/tracemark").exists());
    std::fs::remove_dir(&exclude).unwrap();
    std::fs::write(&exclude, text).unwrap();
    world.tracemark_in(world.base(), &["down", "--purge"]).ok();
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

#[test]
fn down_gives_up_every_worktree_of_the_repository() {
    let dir = store_dir();
    let world = tracked_in(&sqlite_store(dir.path()));
    let other = world.base().join("other");
    world.add_worktree(&other);
    world.tracemark_in(&other, &["active"]).ok();
    world.tracemark(&["down"]).ok();
    world
        .tracemark_in(&other, &["active"])
        .failed(4, "is not tracked");
    let private = world.repo().join(".git/worktrees/other/tracemark");
    assert!(!private.exists());
}

#[test]
fn files_of_ones_own_in_the_copys_directory_stay() {
    let dir = store_dir();
    let world = World::with_commit();
    world.write(".tracemark/notes.txt", "mine");
    world.commit("notes");
    let store = sqlite_store(dir.path());
    world.tracemark(&["up", "--store", &store]).ok();
    world.tracemark(&["down"]).ok();
    assert!(world.repo().join(".tracemark/notes.txt").exists());
}
