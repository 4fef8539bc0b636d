//! Do hooks tell the daemon where git runs them, and never stand in anybody's way?

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::python::sqlite_store;
use crate::world::{Said, World, wait_until};

fn hook(world: &World, name: &str) -> PathBuf {
    world.repo().join(".git/hooks").join(name)
}

fn make_runnable(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn shell(world: &World, dir: &Path, script: &str) -> Command {
    let mut shell = world.command("sh");
    shell.args(["-c", script]).current_dir(dir);
    shell
}

/// A git that says it is 2.54, and passes everything else on.
pub(crate) fn with_new_git(world: &mut World) {
    let answers = "case \"$1\" in version|--version) echo 'git version 2.54.0'; exit ;; esac\n";
    world.put_before_git(answers);
}

/// Takes the place of the daemon, and hears what hooks say.
struct Ear {
    listener: UnixListener,
    record: PathBuf,
    process: Child,
}

impl Ear {
    fn of(world: &World) -> Self {
        world.stop_daemon();
        let socket = world.base().join("run/ear.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let process = world.command("sleep").arg("600").spawn().unwrap();
        let record = world.state_dir().join("daemon.json");
        let info =
            serde_json::json!({"pid": process.id(), "version": "0", "socket": socket, "since": 0});
        std::fs::write(&record, info.to_string()).unwrap();
        Self {
            listener,
            record,
            process,
        }
    }

    /// What the next hook says, once it has said it.
    fn hears(&self) -> String {
        let (mut stream, _) = wait_until("a hook speaks", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        while !said.ends_with(b"}") {
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "{}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&piece[..length]);
        }
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
        String::from_utf8(said).unwrap()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.record));
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn a_commit_in_a_linked_worktree_from_a_program_with_a_bare_path_tells_of_that_worktree() {
    let world = World::tracked();
    let side = world.base().join("side");
    world.add_worktree(&side);
    let ear = Ear::of(&world);
    let said = shell(&world, &side, "git commit -q --allow-empty -m second")
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert_eq!(Said::of(&said).ok(), "");
    let heard = ear.hears();
    assert!(heard.starts_with("POST /v1/touch "), "{heard}");
    assert!(heard.contains(side.to_str().unwrap()), "{heard}");
}

#[test]
fn in_a_repository_of_somebody_else_the_hook_says_and_leaves_nothing() {
    let world = World::tracked();
    let ear = Ear::of(&world);
    let before = world.files_with_times(".git");
    let run = |dir: &Path| {
        let mut hook = world.command(env!("CARGO_BIN_EXE_tracemark"));
        let said = hook
            .args(["hook", "post-commit"])
            .env("GIT_DIR", dir)
            .output();
        assert_eq!(Said::of(&said.unwrap()).ok(), "");
    };
    let foreign = if rustix::process::geteuid().is_root() {
        let dir = world.base().join("foreign");
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(4242), Some(4242)).unwrap();
        dir
    } else {
        PathBuf::from("/")
    };
    assert_ne!(
        foreign.metadata().unwrap().uid(),
        rustix::process::geteuid().as_raw()
    );
    run(&foreign);
    assert!(ear.listener.accept().is_err(), "nobody was told");
    assert_eq!(world.files_with_times(".git"), before);
    // The same call in one's own repository is heard, or this test could not fail.
    let caller = std::thread::scope(|scope| {
        let own = world.repo().join(".git");
        scope.spawn(move || run(&own));
        ear.hears()
    });
    assert!(caller.contains("/v1/touch"), "{caller}");
}

#[test]
fn a_hook_whose_program_is_gone_says_nothing_and_fails_nothing() {
    let world = World::tracked();
    for name in ["post-commit", "post-checkout"] {
        let text = std::fs::read_to_string(hook(&world, name)).unwrap();
        let gone = text.replace(env!("CARGO_BIN_EXE_tracemark"), "/nowhere/tracemark");
        assert_ne!(text, gone);
        std::fs::write(hook(&world, name), gone).unwrap();
    }
    for script in [
        "git checkout -q -b other",
        "git commit -q --allow-empty -m x",
    ] {
        let said = Said::of(&shell(&world, &world.repo(), script).output().unwrap());
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{script}");
    }
}

#[test]
fn a_commit_waits_for_no_hook_however_long_it_takes_and_whoever_reads_along() {
    let world = World::tracked();
    let (running, release) = (world.base().join("running"), world.base().join("release"));
    let slow = world.base().join("slow");
    let script = format!(
        "#!/bin/sh\necho x >>'{0}'\nwhile [ -e '{0}' ] && [ ! -e '{1}' ]; do sleep 0.05; done\necho x >>'{1}'\n",
        running.display(),
        release.display()
    );
    std::fs::write(&slow, script).unwrap();
    make_runnable(&slow);
    let file = hook(&world, "post-commit");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(env!("CARGO_BIN_EXE_tracemark"), slow.to_str().unwrap());
    std::fs::write(&file, text).unwrap();
    for (number, script) in [
        "git commit --allow-empty -m x",
        "git commit --allow-empty -m x | cat",
        "git commit --allow-empty -m x 2>&1 | cat",
    ]
    .iter()
    .enumerate()
    {
        // It ends although the hook does not, or this never returns.
        Said::of(&shell(&world, &world.repo(), script).output().unwrap()).ok();
        wait_until("the hook runs", || {
            let begun = std::fs::read_to_string(&running).unwrap_or_default();
            (begun.lines().count() > number).then_some(())
        });
    }
    std::fs::write(&release, "").unwrap();
    wait_until("the hooks have ended", || {
        let ended = std::fs::read_to_string(&release).unwrap();
        (ended.lines().count() == 3).then_some(())
    });
}

#[test]
fn a_commit_beside_a_daemon_that_hangs_is_made_and_seen_when_it_goes_on() {
    let world = World::tracked();
    let before = world.env_id();
    world.signal_daemon(rustix::process::Signal::STOP).unwrap();
    world.write("app.py", "print(2)\n");
    let script =
        "git add -A && git commit -q -m second && git commit -q --allow-empty -m third | cat";
    let said = Said::of(&shell(&world, &world.repo(), script).output().unwrap());
    world.signal_daemon(rustix::process::Signal::CONT).unwrap();
    assert_eq!(said.ok(), "");
    world.new_env_id(&before);
}

#[test]
fn hooks_that_end_in_exec_and_those_that_are_programs_go_on_working() {
    let world = World::with_commit();
    world.write(".git/hooks/post-commit", "#!/bin/sh\nexec touch by-exec\n");
    make_runnable(&hook(&world, "post-commit"));
    std::fs::copy("/bin/true", hook(&world, "post-checkout")).unwrap();
    let store = sqlite_store(world.base());
    let said = world.tracemark(&["up", "--store", &store]);
    assert!(
        said.stderr.contains("post-checkout is no shell script"),
        "{said:?}"
    );
    let binary = std::fs::read(hook(&world, "post-checkout")).unwrap();
    assert_eq!(binary, std::fs::read("/bin/true").unwrap());
    let ear = Ear::of(&world);
    world.git(&["checkout", "-q", "-b", "other"]);
    world.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    assert!(world.repo().join("by-exec").exists());
    assert!(ear.hears().contains("/v1/touch"));
}

#[test]
fn a_hook_that_is_switched_off_stays_so_and_up_says_it() {
    let world = World::with_commit();
    world.write(".git/hooks/post-merge", "#!/bin/sh\nexit 1\n");
    let file = hook(&world, "post-merge");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = sqlite_store(world.base());
    let dry = world
        .tracemark(&["up", "--store", &store, "--dry-run"])
        .ok();
    assert!(dry.contains("post-merge: switched off"), "{dry}");
    let said = world.tracemark(&["up", "--store", &store]);
    assert!(
        said.stderr.contains("post-merge is switched off"),
        "{said:?}"
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "#!/bin/sh\nexit 1\n"
    );
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o644);
}

#[test]
fn a_hook_that_is_a_link_or_has_other_names_is_not_written_through() {
    let world = World::with_commit();
    world.write("scripts/hook", "#!/bin/sh\ntrue\n");
    world.write("scripts/other", "#!/bin/sh\ntrue\n");
    let elsewhere = world.repo().join("scripts/hook");
    let other = world.repo().join("scripts/other");
    make_runnable(&elsewhere);
    make_runnable(&other);
    std::fs::create_dir_all(world.repo().join(".git/hooks")).unwrap();
    for event in ["post-commit", "post-merge"] {
        std::os::unix::fs::symlink(&elsewhere, hook(&world, event)).unwrap();
    }
    std::fs::hard_link(&other, hook(&world, "post-checkout")).unwrap();
    std::os::unix::fs::symlink("nowhere", hook(&world, "post-rewrite")).unwrap();
    let store = sqlite_store(world.base());
    let dry = world
        .tracemark(&["up", "--store", &store, "--dry-run"])
        .ok();
    let said = world.tracemark(&["up", "--store", &store]);
    for event in ["post-commit", "post-merge", "post-checkout", "post-rewrite"] {
        assert!(dry.contains(&format!("/{event}: a link, or")), "{dry}");
        assert!(
            said.stderr.contains(&format!("/{event} is a link, or")),
            "{said:?}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(&elsewhere).unwrap(),
        "#!/bin/sh\ntrue\n"
    );
    assert_eq!(other.metadata().unwrap().nlink(), 2);
    assert!(hook(&world, "post-rewrite").is_symlink());
    let doctor = world.tracemark(&["doctor"]).ok();
    assert!(
        doctor.contains("try: have it run: tracemark hook post-merge"),
        "{doctor}"
    );
    world.tracemark(&["down"]).ok();
    assert_eq!(other.metadata().unwrap().nlink(), 2);
    assert!(hook(&world, "post-commit").is_symlink());
}

#[test]
fn a_place_of_hooks_that_git_cannot_find_keeps_nobody_from_tracking() {
    for place in ["", "app.py/hooks", "/nowhere/at/all"] {
        let world = World::with_commit();
        world.git(&["config", "core.hooksPath", place]);
        let store = sqlite_store(world.base());
        let said = world.tracemark(&["up", "--store", &store]);
        assert!(said.stderr.contains("Hooks are run from"), "{said:?}");
        said.ok();
        world.tracemark(&["doctor"]);
        world.tracemark(&["down"]).ok();
    }
}

#[test]
fn the_lines_for_huskys_hooks_belong_beside_those_that_it_makes_anew() {
    let world = World::with_commit();
    world.git(&["config", "core.hooksPath", ".husky/_"]);
    world.write(
        ".husky/_/post-commit",
        "#!/bin/sh\n. \"$(dirname \"$0\")/h\"\n",
    );
    let store = sqlite_store(world.base());
    let said = world.tracemark(&["up", "--store", &store]).stderr;
    assert!(
        said.contains("add to the hooks in '") && said.contains("/.husky':"),
        "{said}"
    );
    world.write(".husky/_/post-commit", "tracemark hook post-commit\n");
    assert!(
        world.tracemark(&["doctor"]).stdout.contains("hook in"),
        "which never runs"
    );
}

#[test]
fn the_settings_of_a_git_whose_file_is_a_link_are_left_alone() {
    let mut world = World::with_commit();
    with_new_git(&mut world);
    let file = world.repo().join(".git/config");
    let mine = world.base().join("mine");
    std::fs::rename(&file, &mine).unwrap();
    std::os::unix::fs::symlink(&mine, &file).unwrap();
    let before = std::fs::read(&mine).unwrap();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    assert_eq!(std::fs::read(&mine).unwrap(), before);
    assert!(hook(&world, "post-commit").exists());
    world.tracemark(&["down"]).ok();
    assert!(!hook(&world, "post-commit").exists());
}

#[test]
fn the_line_for_hooks_of_another_manager_is_told_everywhere_and_waits_for_nothing() {
    let world = World::with_commit();
    world.git(&["config", "core.hooksPath", "tracked-hooks"]);
    let store = sqlite_store(world.base());
    let dry = world
        .tracemark(&["up", "--store", &store, "--dry-run"])
        .ok();
    let up = world.tracemark(&["up", "--store", &store]).stderr;
    let doctor = world.tracemark(&["doctor"]).stdout;
    for said in [&dry, &up] {
        for event in [
            "post-commit",
            "post-checkout",
            "post-merge",
            "post-rewrite",
            "post-applypatch",
        ] {
            assert!(
                said.contains(&format!("tracemark hook {event};")),
                "{event}: {said}"
            );
        }
    }
    assert!(doctor.contains("tracemark hook post-commit;"), "{doctor}");
    let line = up
        .lines()
        .find_map(|line| line.trim().strip_prefix("post-commit: "))
        .unwrap();
    let hook = world.repo().join("tracked-hooks/post-commit");
    world.write(
        "tracked-hooks/post-commit",
        format!("#!/bin/sh -e\n{line}\n"),
    );
    make_runnable(&hook);
    // Nobody's tracemark is on this PATH.
    let commit = "git commit -q --allow-empty -m x 2>&1 | cat";
    assert_eq!(
        Said::of(&shell(&world, &world.repo(), commit).output().unwrap()).ok(),
        ""
    );
    let ear = Ear::of(&world);
    let dir = Path::new(env!("CARGO_BIN_EXE_tracemark")).parent().unwrap();
    let path = format!("{}:{}", dir.display(), world.vars()["PATH"]);
    let mut commit = shell(&world, &world.repo(), commit);
    assert_eq!(
        Said::of(&commit.env("PATH", path).output().unwrap()).ok(),
        ""
    );
    assert!(ear.hears().contains("/v1/touch"));
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(!doctor.contains("another program owns"), "{doctor}");
}

fn lies(file: &Path) -> (Vec<u8>, std::time::SystemTime) {
    let time = file.metadata().unwrap().modified().unwrap();
    (std::fs::read(file).unwrap(), time)
}

/// As git runs it (`prepare_shell_cmd` in run-command.c): with the hook's arguments appended.
fn tells_the_daemon(world: &World, command: &str) {
    let ear = Ear::of(world);
    let mut run = world.command("sh");
    run.args([
        "-c",
        &format!("{command} \"$@\""),
        "x",
        "no-such-program",
        "1",
    ]);
    let said = Said::of(&run.output().unwrap());
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert!(ear.hears().contains("/v1/touch"));
}

#[test]
fn a_git_with_hooks_in_its_configuration_gets_them_there_and_down_takes_them_back() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    // A hook file of a tracemark that met an older git.
    world.tracemark(&["up", "--store", &store]).ok();
    world.tracemark(&["down"]).ok();
    let config = world.repo().join(".git/config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.trim_end()).unwrap();
    let before = lies(&config);
    world.tracemark(&["up", "--store", &store]).ok();
    assert!(hook(&world, "post-commit").exists());
    with_new_git(&mut world);
    let dry = world.tracemark(&["up", "--dry-run"]).ok();
    for event in ["post-commit", "post-applypatch"] {
        assert!(
            dry.contains(&format!("  + hook.tracemark.event = {event}\n")),
            "{dry}"
        );
    }
    assert!(dry.contains("  + hook.tracemark.command = "), "{dry}");
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(
        doctor.contains("hook in git's configuration is missing"),
        "{doctor}"
    );
    world.tracemark(&["up"]).ok();
    assert!(!hook(&world, "post-commit").exists());
    let events = world.git(&["config", "--local", "--get-all", "hook.tracemark.event"]);
    assert_eq!(events.lines().count(), 5, "{events}");
    let doctor = world.tracemark(&["doctor"]).stdout;
    assert!(!doctor.contains("hook"), "{doctor}");
    let command = world.git(&["config", "--local", "--get", "hook.tracemark.command"]);
    let once = lies(&config);
    world.tracemark(&["up"]).ok();
    assert_eq!(lies(&config), once, "twice is once");
    tells_the_daemon(&world, &command);
    world.tracemark(&["down"]).ok();
    assert_eq!(lies(&config), before);
}

#[test]
fn the_hook_runs_beside_a_hook_that_is_there_and_never_fails_a_commit() {
    let world = World::with_commit();
    world.write(
        ".git/hooks/post-commit",
        "#!/bin/sh\necho mine > mine.txt\nexec true\n",
    );
    let hook = world.repo().join(".git/hooks/post-commit");
    std::fs::set_permissions(hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let before = world.env_id();
    world.write("app.py", "print(2)\n");
    world.commit("second");
    assert!(world.repo().join("mine.txt").exists());
    world.new_env_id(&before);
    world.stop_daemon();
    world.write("app.py", "print(3)\n");
    world.commit("without a daemon");
}
