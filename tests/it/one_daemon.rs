//! Is there one daemon for a user, found from every shell, whatever happens to it?

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::proxy::Proxy;
use crate::python::sqlite_store;
use crate::world::{Said, World, is_alive, wait_until};

/// tracemark in a shell with other variables; `None` unsets one.
fn with(world: &World, variables: &[(&str, Option<&str>)], arguments: &[&str]) -> Said {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Said::of(&command.args(arguments).output().unwrap())
}

fn daemon(said: Said) -> Value {
    let status: Value = serde_json::from_str(&said.ok()).unwrap();
    status["daemon"].clone()
}

fn private_dir(world: &World, name: &str) -> String {
    let dir = world.base().join(name);
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    dir.to_str().unwrap().to_owned()
}

/// How many daemons began to answer in this world so far, by their own log.
fn daemons(world: &World) -> usize {
    let log = std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
    log.matches(": ready socket=").count()
}

fn spawn(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

pub(crate) fn said(child: Child) -> Said {
    Said::of(&child.wait_with_output().unwrap())
}

fn foreground(world: &World) -> Child {
    let mut child = spawn(world, &["daemon"]);
    let pid = i32::try_from(child.id()).unwrap();
    wait_until("the daemon answers", || {
        if let Some(status) = child.try_wait().unwrap() {
            let mut words = String::new();
            let mut stderr = child.stderr.take().unwrap();
            std::io::Read::read_to_string(&mut stderr, &mut words).unwrap();
            panic!("the daemon ended: {status}: {words}");
        }
        daemon_of(world).filter(|found| *found == pid)
    });
    child
}

/// The pid of the daemon that answers, without starting one.
fn daemon_of(world: &World) -> Option<i32> {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let output = command.args(["status", "--json"]).current_dir("/").output();
    let status: Value = serde_json::from_slice(&output.unwrap().stdout).ok()?;
    i32::try_from(status["daemon"]["pid"].as_i64()?).ok()
}

/// Three times as long as it takes for itself, and less than what it would wait for takes.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn shells_with_other_xdg_variables_and_with_none_find_the_same_daemon() {
    let world = World::tracked();
    let first = daemon(world.tracemark(&["status", "--json"]));
    let (run, state) = (private_dir(&world, "run2"), private_dir(&world, "state2"));
    let shells: [&[(&str, Option<&str>)]; 9] = [
        &[("XDG_RUNTIME_DIR", None)],
        &[("XDG_RUNTIME_DIR", Some(""))],
        &[("XDG_RUNTIME_DIR", Some("relative"))],
        &[("XDG_RUNTIME_DIR", Some(&run))],
        &[("XDG_STATE_HOME", Some(&state)), ("XDG_RUNTIME_DIR", None)],
        &[
            ("XDG_STATE_HOME", Some("relative")),
            ("XDG_DATA_HOME", Some(&state)),
        ],
        &[("XDG_STATE_HOME", Some("")), ("XDG_CONFIG_HOME", Some(""))],
        &[("XDG_CONFIG_HOME", Some("relative"))],
        &[("XDG_CONFIG_HOME", Some(&state))],
    ];
    for shell in shells {
        assert_eq!(
            daemon(with(&world, shell, &["status", "--json"])),
            first,
            "{shell:?}"
        );
        let id = with(&world, shell, &["active"]).ok();
        assert_eq!(id.trim(), world.env_id(), "{shell:?}");
        with(&world, shell, &["daemon"]).failed(5, "another tracemark daemon");
    }
    assert_eq!(daemons(&world), 1);
}

#[test]
fn a_daemon_that_was_started_without_a_runtime_directory_is_found_from_a_shell_that_has_one() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let bare = [("XDG_RUNTIME_DIR", None)];
    with(&world, &bare, &["up", "--store", &store]).ok();
    let one = daemon(with(&world, &bare, &["status", "--json"]));
    assert_eq!(daemon(world.tracemark(&["status", "--json"])), one);
    assert_eq!(daemons(&world), 1);
}

#[test]
fn many_who_start_at_once_end_with_one_daemon_and_the_same_answer() {
    let world = World::tracked();
    world.kill_daemon();
    let asked: Vec<_> = (0..8).map(|_| spawn(&world, &["active"])).collect();
    let ids: Vec<_> = asked.into_iter().map(|child| said(child).ok()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(daemons(&world), 2);
    world.kill_daemon();
    let started: Vec<_> = (0..2).map(|_| spawn(&world, &["daemon"])).collect();
    wait_until("one of them answers", || daemon_of(&world));
    let pid = world.daemon_pid().unwrap();
    let is_the_one = |child: &Child| i32::try_from(child.id()).unwrap() == pid;
    let (one, others): (Vec<_>, Vec<_>) = started.into_iter().partition(is_the_one);
    // While the one runs: it would be the other's turn after it.
    for child in others {
        said(child).failed(5, "another tracemark daemon");
    }
    for child in one {
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM)
            .unwrap();
        assert_eq!(said(child).code, Some(0));
    }
}

#[test]
fn a_socket_and_a_record_that_were_left_over_are_no_daemon() {
    let world = World::tracked();
    let id = world.env_id();
    world.kill_daemon();
    assert!(world.socket().exists() && world.daemon_pid().is_some());
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    // A process of another program has the recorded pid by now.
    world.kill_daemon();
    let record = world.state_dir().join("daemon.json");
    let other = std::fs::read_to_string(&record).unwrap();
    let before = world.daemon_pid().unwrap();
    let mine = std::process::id().to_string();
    std::fs::write(&record, other.replace(&before.to_string(), &mine)).unwrap();
    std::fs::write(world.state_dir().join("daemon.lock"), &mine).unwrap();
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert_ne!(world.daemon_pid().unwrap().to_string(), mine);
}

#[test]
fn files_in_every_place_of_the_socket_are_left_alone_and_one_is_named() {
    let world = World::with_commit();
    let places = [world.socket(), world.state_dir().join("run/api.sock")];
    for place in &places {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, "precious").unwrap();
    }
    world
        .tracemark(&["daemon"])
        .failed(5, "api.sock is in use by another program");
    let store = sqlite_store(world.base());
    let said = world.tracemark(&["up", "--store", &store]);
    let cause = "tracemark: the daemon did not start: ";
    assert!(
        said.code == Some(5) && said.stderr.contains(cause),
        "{said:?}"
    );
    assert!(
        said.stderr
            .contains("api.sock is in use by another program")
    );
    for place in &places {
        assert_eq!(std::fs::read_to_string(place).unwrap(), "precious");
    }
}

#[test]
fn a_socket_that_a_cleaner_took_away_comes_back_when_somebody_asks() {
    let world = World::tracked();
    let pid = world.daemon_pid();
    let id = world.env_id();
    std::fs::remove_dir_all(world.socket().parent().unwrap()).unwrap();
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert_eq!(world.daemon_pid(), pid);
    assert!(world.socket().exists());
}

#[test]
fn where_the_runtime_directory_went_with_the_login_the_daemon_listens_in_the_state_directory() {
    let world = World::tracked();
    let pid = world.daemon_pid();
    std::fs::remove_dir_all(world.base().join("run")).unwrap();
    let id = world.tracemark(&["active"]).ok();
    assert_eq!(id.trim(), world.env_id());
    assert_eq!(world.daemon_pid(), pid);
    let info = daemon(world.tracemark(&["status", "--json"]));
    let socket = Path::new(info["socket"].as_str().unwrap()).to_owned();
    assert!(!socket.starts_with(world.base().join("run")), "{socket:?}");
    wait_until("the env file names it", || {
        (world.env_file()["TRACEMARK_SOCKET"] == socket.to_str().unwrap()).then_some(())
    });
}

/// Something that is no socket comes in the place of the daemon's while it runs.
#[test]
fn where_something_else_took_the_sockets_place_the_daemon_listens_in_the_next_one() {
    let world = World::tracked();
    let pid = world.daemon_pid();
    let pipe = world.base().join("pipe");
    let mut mkfifo = world.command("mkfifo");
    Said::of(&mkfifo.arg(&pipe).output().unwrap()).ok();
    std::fs::rename(pipe, world.socket()).unwrap();
    let id = world.tracemark(&["active"]).ok();
    assert_eq!(id.trim(), world.env_id());
    assert_eq!(world.daemon_pid(), pid);
    let info = daemon(world.tracemark(&["status", "--json"]));
    assert_eq!(info["pid"].as_i64(), pid.map(i64::from));
}

#[test]
fn a_record_that_was_overwritten_is_written_again_and_a_pipe_in_its_place_hangs_nobody() {
    let world = World::tracked();
    let pid = world.daemon_pid();
    let record = world.state_dir().join("daemon.json");
    let written = std::fs::read(&record).unwrap();
    let elsewhere = [("XDG_RUNTIME_DIR", None)];
    for text in ["garbage", "", "[]", "{\"pid\":1"] {
        std::fs::write(&record, text).unwrap();
        let info = daemon(with(&world, &elsewhere, &["status", "--json"]));
        assert_eq!(info["pid"].as_i64(), pid.map(i64::from), "{text}");
        assert_eq!(std::fs::read(&record).unwrap(), written);
    }
    std::fs::remove_file(&record).unwrap();
    let mut mkfifo = world.command("mkfifo");
    Said::of(&mkfifo.arg(&record).output().unwrap()).ok();
    let info = daemon(with(&world, &elsewhere, &["status", "--json"]));
    assert_eq!(info["pid"].as_i64(), pid.map(i64::from));
}

/// Two homes of one user that share a runtime directory, as with `sudo -E` or a service with a home of its own.
#[test]
fn two_homes_with_one_runtime_directory_have_a_daemon_each_and_are_never_mixed_up() {
    let one = World::tracked();
    let mut other = World::with_commit();
    other.set("XDG_RUNTIME_DIR", one.base().join("run").to_str().unwrap());
    let store = sqlite_store(other.base());
    other.tracemark(&["up", "--store", &store]).ok();
    let stores = |world: &World| {
        let said = world.tracemark(&["active", "--json"]).ok();
        let active: Value = serde_json::from_str(&said).unwrap();
        active["store"].clone()
    };
    assert_eq!(stores(&other), store);
    let of_one = stores(&one);
    assert_ne!(of_one, store);
    assert_ne!(one.daemon_pid(), other.daemon_pid());
    // What a killed daemon left names a socket that the other one may take.
    one.kill_daemon();
    other.stop_daemon();
    other.tracemark(&["active"]).ok();
    assert_eq!(stores(&one), of_one);
    assert_eq!(stores(&other), store);
    let daemons = [daemon_of(&one), daemon_of(&other)];
    assert!(
        daemons[0].is_some() && daemons[0] != daemons[1],
        "{daemons:?}"
    );
}

#[test]
fn a_stranger_that_says_nothing_on_the_socket_of_the_shell_costs_no_daemon_its_life() {
    let mut world = World::tracked();
    let elsewhere = world.base().join("stranger.sock");
    let _stranger = std::os::unix::net::UnixListener::bind(&elsewhere).unwrap();
    world.set("TRACEMARK_SOCKET", elsewhere.to_str().unwrap());
    let said = world.tracemark(&["status"]);
    assert!(!said.stderr.contains("kill"), "{said:?}");
    said.failed(5, "says nothing in time");
}

#[test]
fn who_hangs_up_on_the_socket_of_the_shell_is_asked_no_more_than_a_few_times() {
    let mut world = World::tracked();
    let id = world.tracemark(&["active"]).ok();
    let elsewhere = world.base().join("hangs-up.sock");
    let stranger = std::os::unix::net::UnixListener::bind(&elsewhere).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    std::thread::spawn(move || {
        for _ in stranger.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    world.set("TRACEMARK_SOCKET", elsewhere.to_str().unwrap());
    assert_eq!(world.tracemark(&["active"]).ok(), id);
    world.write("app.py", "print('asked beside a stranger')\n");
    assert_ne!(world.tracemark(&["active"]).ok(), id);
    let calls = calls.load(Ordering::Relaxed);
    assert!(calls < 20, "{calls}");
}

#[test]
fn a_daemon_that_hangs_is_named_by_status_with_what_to_type() {
    let world = World::tracked();
    world.signal_daemon(rustix::process::Signal::STOP).unwrap();
    let said = world.tracemark(&["status"]);
    world.signal_daemon(rustix::process::Signal::CONT);
    said.failed(5, "says nothing in time");
}

#[test]
fn a_listener_that_never_comes_to_an_end_is_not_waited_for() {
    let world = World::tracked();
    world.stop_daemon();
    let drip = "
import socket, sys, threading
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print('listening', flush=True)
def drip(client):
    try:
        while True: client.send(b'H'); threading.Event().wait(0.5)
    except OSError: pass
while True: threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()
";
    let mut python = world.command("python3");
    let mut dripping = python
        .args(["-c", drip])
        .arg(world.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 9];
    std::io::Read::read_exact(dripping.stdout.as_mut().unwrap(), &mut line).unwrap();
    let active = world.tracemark(&["active", "--json"]).ok();
    dripping.kill().unwrap();
    dripping.wait().unwrap();
    let active: Value = serde_json::from_str(&active).unwrap();
    assert_eq!(active["name"], world.tracemark(&["hash"]).ok().trim());
}

#[test]
fn followers_leave_room_for_questions() {
    let world = World::tracked();
    let query = format!("/v1/events?worktree={}", world.repo().display());
    let request = format!("GET {query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let follow = || {
        let mut stream = std::os::unix::net::UnixStream::connect(world.socket()).unwrap();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut status = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut status).unwrap();
        (stream, String::from_utf8_lossy(&status).into_owned())
    };
    let followers: Vec<_> = (0..300).map(|_| follow()).collect();
    let count = |status: &str| followers.iter().filter(|(_, said)| said == status).count();
    assert_eq!((count("HTTP/1.1 200"), count("HTTP/1.1 503")), (256, 44));
    assert_eq!(world.tracemark(&["active"]).ok().trim(), world.env_id());
}

#[test]
fn where_a_link_or_a_file_lies_in_the_runtime_directory_the_daemon_listens_in_the_state_directory()
{
    let link: fn(&Path) = |at| std::os::unix::fs::symlink("/tmp", at).unwrap();
    let file: fn(&Path) = |at| std::fs::write(at, "x").unwrap();
    for plant in [link, file] {
        let world = World::with_commit();
        plant(&world.base().join("run/tracemark"));
        let store = sqlite_store(world.base());
        world.tracemark(&["up", "--store", &store]).ok();
        let info = daemon(world.tracemark(&["status", "--json"]));
        let socket = Path::new(info["socket"].as_str().unwrap());
        assert!(socket.starts_with(world.state_dir()), "{socket:?}");
        let id = world.tracemark(&["active"]).ok();
        assert_eq!(id.trim(), world.env_id());
    }
}

#[test]
fn a_daemon_whose_state_directory_was_removed_makes_room() {
    let world = World::tracked();
    let pid = world.daemon_pid().unwrap();
    std::fs::remove_dir_all(world.state_dir()).unwrap();
    world.write("app.py", "print('this makes it look')\n");
    wait_until("it ends", || (!is_alive(pid)).then_some(()));
    assert_eq!(world.env_id(), "");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_passed_over_or_named() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    let long = private_dir(&world, &"r".repeat(90));
    world.set("XDG_RUNTIME_DIR", &long);
    world.tracemark(&["up", "--store", &store]).ok();
    let info = daemon(world.tracemark(&["status", "--json"]));
    assert!(!info["socket"].as_str().unwrap().starts_with(&long));
    world.tracemark(&["down"]).ok();
    let state = world.base().join("s".repeat(90));
    let separate = [("TRACEMARK_STATE_DIR", state.to_str())];
    with(&world, &separate, &["daemon"]).failed(5, "bytes, the system takes 107");
    let said = with(&world, &separate, &["up", "--store", &store]);
    assert!(said.code == Some(5) && said.stderr.contains("try: set TRACEMARK_STATE_DIR"));
    let log = std::fs::read_to_string(state.join("daemon.log")).unwrap();
    assert_eq!(log.matches("takes 107").count(), 1, "it was tried once");
    let given = format!("{long}/tracemark/api.sock");
    let said = world.tracemark(&["--socket", &given, "up", "--store", &store]);
    assert!(
        said.stderr.contains("bytes, the system takes 107"),
        "{said:?}"
    );
    assert_eq!(said.code, Some(5));
}

#[test]
fn a_separate_instance_knows_nothing_of_the_users_daemon() {
    let world = World::tracked();
    let dir = private_dir(&world, "separate");
    let separate = [("TRACEMARK_STATE_DIR", Some(dir.as_str()))];
    with(&world, &separate, &["active"]).failed(4, "is not tracked");
    let status: Value =
        serde_json::from_str(&with(&world, &separate, &["status", "--json"]).ok()).unwrap();
    assert_eq!(status["daemon"], Value::Null);
}

#[test]
fn a_stop_empties_the_env_files_and_ends_within_five_seconds_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::tracked();
        world.kill_daemon();
        let child = foreground(&world);
        world.tracemark(&["active"]).ok();
        assert_ne!(world.env_id(), "");
        let began = Instant::now();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        assert_eq!(said(child).code, Some(0));
        assert!(began.elapsed() < SOON);
        assert_eq!(world.env_id(), "");
        assert!(!world.socket().exists() && world.daemon_pid().is_none());
    }
}

/// Git that never ends, for those who ask with a `hang` file beside it.
fn with_git_that_hangs(world: &mut World) -> PathBuf {
    world.put_before_git(
        "if [ -e \"$dir/hang\" ]; then echo $$ > \"$dir/hanging\"; exec sleep 1000; fi\n",
    )
}

#[test]
fn a_reading_that_hangs_delays_no_stop_and_a_second_signal_ends_at_once() {
    let mut world = World::with_commit();
    let dir = with_git_that_hangs(&mut world);
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let hanging_daemon = || {
        world.kill_daemon();
        let child = foreground(&world);
        world.tracemark(&["active"]).ok();
        std::fs::write(dir.join("hang"), "").unwrap();
        world.write("app.py", format!("print({})\n", child.id()));
        wait_until("git hangs", || {
            std::fs::metadata(dir.join("hanging"))
                .is_ok_and(|it| it.len() > 1)
                .then_some(())
        });
        child
    };
    let kill = |child: &Child, signal| {
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
    };
    // The git that hangs holds the pipes of a test's daemon open, so only the exit is waited for.
    let code_of = |mut child: Child| {
        let code = child.wait().unwrap().code();
        let git: i32 = std::fs::read_to_string(dir.join("hanging"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(git).unwrap(), Signal::KILL)
            .unwrap();
        std::fs::remove_file(dir.join("hang")).unwrap();
        std::fs::remove_file(dir.join("hanging")).unwrap();
        code
    };
    let child = hanging_daemon();
    let began = Instant::now();
    kill(&child, Signal::TERM);
    let took = || began.elapsed() < SOON;
    assert_eq!((code_of(child), took()), (Some(0), true));
    let child = hanging_daemon();
    kill(&child, Signal::INT);
    // It has heard the first one, and waits for git.
    wait_until("nobody is let in", || {
        std::os::unix::net::UnixStream::connect(world.socket())
            .is_err()
            .then_some(())
    });
    kill(&child, Signal::INT);
    assert_eq!(code_of(child), Some(1));
}

#[test]
fn a_daemon_that_starts_while_git_hangs_empties_what_a_killed_one_left_and_ends_when_it_is_asked_to()
 {
    let mut world = World::with_commit();
    let dir = with_git_that_hangs(&mut world);
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    assert!(world.env_id().starts_with("m-"));
    world.kill_daemon();
    let file = world.repo().join(".git/tracemark/env");
    assert!(std::fs::read_to_string(&file).unwrap().contains("=m-"));
    std::fs::write(dir.join("hang"), "").unwrap();
    let mut child = spawn(&world, &["daemon"]);
    wait_until("git hangs", || {
        let hanging = std::fs::metadata(dir.join("hanging"));
        hanging.is_ok_and(|it| it.len() > 1).then_some(())
    });
    assert!(!std::fs::read_to_string(&file).unwrap().contains("=m-"));
    let began = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let code = child.wait().unwrap().code();
    let git = std::fs::read_to_string(dir.join("hanging")).unwrap();
    let git = rustix::process::Pid::from_raw(git.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(git, Signal::KILL).unwrap();
    assert_eq!(code, Some(0));
    assert!(began.elapsed() < SOON);
}

#[test]
fn who_follows_a_daemon_that_hangs_is_told_so() {
    let world = World::tracked();
    let mut watch = spawn(&world, &["watch", "--json"]);
    let mut stdout = std::io::BufReader::new(watch.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert!(line.contains("\"state\""), "{line}");
    world.signal_daemon(Signal::STOP).unwrap();
    let said = said(watch);
    world.signal_daemon(Signal::CONT).unwrap();
    said.failed(5, "the daemon does not answer");
}

#[test]
fn a_hangup_reads_the_settings_again() {
    let world = World::tracked();
    let pid = world.daemon_pid();
    let config = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "naming = \"tree\"\n").unwrap();
    world.signal_daemon(Signal::HUP).unwrap();
    wait_until("the name is the tree's", || {
        world.env_file()["TRACEMARK_NAME"]
            .starts_with("repo-tree-")
            .then_some(())
    });
    assert_eq!(world.daemon_pid(), pid);
}

#[test]
fn a_hangup_with_wrong_settings_keeps_the_old_ones_and_status_says_so_until_they_are_right() {
    let world = World::tracked();
    let id = world.env_id();
    let config = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "naming = \"no such naming\"\n").unwrap();
    world.signal_daemon(Signal::HUP).unwrap();
    let status = wait_until("status says so", || {
        let status = world.status();
        let reason = status["reason"].as_str()?.to_owned();
        reason.contains("no such naming").then_some(status)
    });
    assert_eq!(status["state"], "active");
    assert_eq!(status["model_id"], id);
    let text = world.tracemark(&["status"]).ok();
    assert!(
        text.contains("settings before") && text.contains("try     correct"),
        "{text}"
    );
    world.write("app.py", "print('with the settings before')\n");
    let next = world.new_env_id(&id);
    assert_eq!(world.status()["model_id"], next);
    std::fs::write(config.join("config.toml"), "naming = \"git-hash\"\n").unwrap();
    world.signal_daemon(Signal::HUP).unwrap();
    wait_until("status is content", || {
        (world.status()["reason"] == Value::Null).then_some(())
    });
    assert_eq!(world.env_id(), next);
}

/// Ends a daemon in whose hands a question hangs.
fn stop_while_the_store_hangs(world: &World, daemon: Child) {
    world.write("app.py", "print('the store hangs')\n");
    let asked = spawn(world, &["active", "--timeout", "60"]);
    wait_until("it asks the store", || {
        let status = world.status();
        let reason = status["reason"].as_str()?.to_owned();
        reason.contains("is being created").then_some(())
    });
    let began = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert_eq!(said(daemon).code, Some(0));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(!world.env_file()["MLFLOW_ACTIVE_MODEL_ID"].starts_with("m-"));
    let mut asked = asked;
    asked.kill().unwrap();
    asked.wait().unwrap();
}

#[test]
fn a_server_that_never_answers_delays_no_stop() {
    let world = World::with_commit();
    let mut proxy = Proxy::start(world.base());
    let store = ["up", "--store", proxy.address(), "--experiment", "stopped"];
    world.tracemark(&store).ok();
    world.kill_daemon();
    let daemon = foreground(&world);
    world.tracemark(&["active"]).ok();
    proxy.be("silence");
    stop_while_the_store_hangs(&world, daemon);
}

#[test]
fn a_database_that_somebody_holds_delays_no_stop() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.kill_daemon();
    let daemon = foreground(&world);
    world.tracemark(&["active"]).ok();
    let hold = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None); db.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()";
    let mut holder = world.command("python3");
    holder
        .args(["-c", hold, store.strip_prefix("sqlite:///").unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut line = String::new();
    let stdout = holder.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "held\n");
    stop_while_the_store_hangs(&world, daemon);
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn the_next_start_empties_what_a_killed_daemon_left_also_where_git_refuses_the_repository() {
    let world = World::with_commit();
    world.write(".tracemark.toml", "env_copy = true\n");
    world.commit("with copy");
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let side = world.base().join("side");
    world.add_worktree(&side);
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    Said::of(&command.arg("active").current_dir(&side).output().unwrap()).ok();
    world.kill_daemon();
    let files = [
        world.repo().join(".git/tracemark/env"),
        world.repo().join(".tracemark/env"),
        world.repo().join(".git/worktrees/side/tracemark/env"),
        side.join(".tracemark/env"),
    ];
    let has_id = |file: &PathBuf| {
        std::fs::read_to_string(file)
            .unwrap()
            .contains("MODEL_ID=m-")
    };
    assert!(files.iter().all(has_id));
    std::fs::write(world.repo().join(".git/HEAD"), "nonsense\n").unwrap();
    world.tracemark(&["daemon", "--empty-env-files"]).ok();
    assert!(!files.iter().any(has_id));
}

#[test]
fn nothing_is_emptied_while_a_daemon_watches() {
    let world = World::tracked();
    let id = world.env_id();
    world.tracemark(&["daemon", "--empty-env-files"]).ok();
    assert_eq!(world.env_id(), id);
}

#[test]
fn who_asks_while_the_daemon_hangs_dies_or_cannot_be_had_gets_the_right_answer_all_the_same() {
    let mut world = World::tracked();
    // It hangs.
    world.signal_daemon(Signal::STOP).unwrap();
    world.write("app.py", "print('asked of a daemon that hangs')\n");
    let here = world.tracemark(&["active"]);
    assert!(here.stderr.contains("says nothing in time"), "{here:?}");
    assert!(here.stderr.contains("try: kill -9"), "{here:?}");
    let here = here.ok();
    world.tracemark(&["hook", "post-commit"]).ok();
    // It dies while it is asked.
    let asked = spawn(&world, &["active"]);
    world.kill_daemon();
    assert_eq!(said(asked).ok(), here);
    // It cannot be had: something else is where its socket should be.
    let pid = wait_until("one runs again", || daemon_of(&world));
    world.signal_daemon(Signal::TERM).unwrap();
    wait_until("it ends", || (!is_alive(pid)).then_some(()));
    std::fs::remove_dir_all(world.socket().parent().unwrap()).unwrap();
    std::fs::write(world.socket().parent().unwrap(), "no directory").unwrap();
    world.set("TRACEMARK_SOCKET", "");
    world.write("app.py", "print('asked without any daemon')\n");
    let alone = world.tracemark(&["active"]).ok();
    assert_ne!(alone, here);
    let env = world.exec_env();
    assert_eq!(env["MLFLOW_ACTIVE_MODEL_ID"], alone.trim());
}

/// What systemd does for the daemon: holds the socket, starts the daemon with it and stops it, while clients ask without
/// pause. Prints whom nobody answered.
const RESTARTS: &str = r#"
import os, signal, socket, subprocess, sys, threading, time
program, path = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(128)
os.dup2(listener.fileno(), 3)
start = 'exec env LISTEN_PID=$$ LISTEN_FDS=1 "$0" daemon'
done = threading.Event()
answers = []
def ask():
    while not done.is_set():
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        try:
            client.sendall(b"GET /v1/status HTTP/1.1\r\n")
            time.sleep(0.02)  # A client that is not quick: some are always between two words.
            client.sendall(b"Host: localhost\r\nConnection: close\r\n\r\n")
            answers.append(client.recv(12).decode() or "nothing")
        except OSError as error:
            answers.append(str(error))
askers = [threading.Thread(target=ask) for _ in range(8)]
for asker in askers: asker.start()
for _ in range(10):
    daemon = subprocess.Popen(["sh", "-c", start, program], pass_fds=[3], stderr=subprocess.DEVNULL)
    before = answers.count("HTTP/1.1 200")
    while answers.count("HTTP/1.1 200") < before + 20:
        assert daemon.poll() is None
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
last = subprocess.Popen(["sh", "-c", start, program], pass_fds=[3], stderr=subprocess.DEVNULL)
done.set()
for asker in askers: asker.join()
last.terminate()
last.wait()
print(sorted(set(answers) - {"HTTP/1.1 200", "HTTP/1.1 503"}))
"#;

#[test]
fn a_question_that_was_let_in_is_answered_also_by_a_daemon_that_stops() {
    let world = World::tracked();
    world.stop_daemon();
    let socket = world.base().join("run/activated.sock");
    let mut python = world.command("python3");
    python
        .args(["-c", RESTARTS, env!("CARGO_BIN_EXE_tracemark")])
        .arg(&socket);
    let said = Said::of(&python.output().unwrap()).ok();
    assert_eq!(said.trim(), "[]");
}

#[test]
fn the_hook_starts_nothing() {
    let world = World::tracked();
    world.kill_daemon();
    world.tracemark(&["hook", "post-commit"]).ok();
    world.git(&["commit", "-q", "--allow-empty", "-m", "by hand"]);
    assert_eq!(daemon_of(&world), None);
}

#[test]
fn status_starts_the_daemon_in_a_tracked_repository_and_nowhere_else() {
    let world = World::tracked();
    world.kill_daemon();
    assert_eq!(daemon_of(&world), None);
    assert!(daemon(world.tracemark(&["status", "--json"]))["pid"].is_u64());
}

/// A copy of the program that can be replaced.
fn installed(world: &World) -> PathBuf {
    let program = world.base().join("tracemark");
    std::fs::copy(env!("CARGO_BIN_EXE_tracemark"), &program).unwrap();
    program
}

pub(crate) fn run(world: &World, program: &Path, arguments: &[&str]) -> Said {
    // Another test may be forking while the copy was open for writing.
    let output: Output = wait_until("the program can be run", || {
        match world.command(program).args(arguments).output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            other => Some(other.unwrap()),
        }
    });
    Said::of(&output)
}

#[test]
fn a_daemon_whose_program_was_replaced_says_so_and_up_replaces_it() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let program = installed(&world);
    run(&world, &program, &["up", "--store", &store]).ok();
    let old = world.daemon_pid().unwrap();
    assert!(!run(&world, &program, &["status"]).ok().contains("replaced"));
    std::fs::remove_file(&program).unwrap();
    installed(&world);
    let said = run(&world, &program, &["status"]).ok();
    assert!(
        said.contains("was replaced") && said.contains("tracemark up"),
        "{said}"
    );
    run(&world, &program, &["up"]).ok();
    assert_ne!(world.daemon_pid().unwrap(), old);
    assert!(!is_alive(old));
    assert!(!run(&world, &program, &["status"]).ok().contains("replaced"));
}

/// A daemon of another version, as far as a client can tell: it holds the lock and answers what `answers` has for a resource.
/// Its program is called `program`: whoever holds the lock is looked at by name.
fn other_version(world: &World, program: &str, answers: &Value) -> Child {
    let script = r#"
import fcntl, json, os, signal, socket, sys
state, path, answers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: (os.unlink(path), os.unlink(state + "/daemon.json"), os._exit(0)))
lock = open(state + "/daemon.lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX); lock.write(str(os.getpid())); lock.flush()
listener = socket.socket(socket.AF_UNIX); listener.bind(path); listener.listen()
json.dump({"pid": os.getpid(), "version": "9.9.9", "socket": path, "since": 0, "program": "/opt/tracemark"}, open(state + "/daemon.json", "w"))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    asked = connection.recv(65536).decode()
    if asked:
        resource = asked.split()[1].split("?")[0]
        answer = json.dumps(answers.get(resource, answers.get("any")))
        connection.sendall(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer).encode())
    connection.close()
"#;
    let python = world
        .command("python3")
        .args([
            "-c",
            "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)",
        ])
        .output();
    let said = Said::of(&python.unwrap()).ok();
    let (executable, prefix) = said.trim().split_once('\n').unwrap();
    let copy = world.base().join(program);
    std::fs::copy(executable, &copy).unwrap();
    let mut child = wait_until("the program can be run", || {
        let mut command = world.command(&copy);
        command
            .args(["-c", script])
            .arg(world.state_dir())
            .arg(world.socket())
            .arg(answers.to_string())
            .env("PYTHONHOME", prefix)
            .env("LD_LIBRARY_PATH", format!("{prefix}/lib"));
        match command.stdout(Stdio::piped()).spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            other => Some(other.unwrap()),
        }
    });
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn a_daemon_that_speaks_another_protocol_is_named_with_what_to_type_and_questions_are_answered_here()
 {
    let world = World::tracked();
    let id = world.tracemark(&["active"]).ok();
    world.stop_daemon();
    let answers = serde_json::json!({"any": {"api": 2, "version": "9.9.9"}});
    let mut other = other_version(&world, "tracemark-of-tomorrow", &answers);
    std::fs::write(
        world.state_dir().join("daemon.json"),
        r#"{"of": "tomorrow"}"#,
    )
    .unwrap();
    world
        .tracemark(&["status"])
        .failed(5, "is tracemark 9.9.9, which speaks another protocol");
    assert!(
        world
            .tracemark(&["status"])
            .stderr
            .contains("try: tracemark up")
    );
    assert_eq!(world.tracemark(&["active"]).ok(), id);
    assert_eq!(world.exec_env()["MLFLOW_ACTIVE_MODEL_ID"], id.trim());
    let said = world.tracemark(&["up"]);
    assert!(said.stderr.contains("runs tracemark 9.9.9; it is replaced"));
    assert!(said.ok().contains(id.trim()));
    assert!(other.wait().unwrap().success());
    assert_eq!(world.tracemark(&["active"]).ok(), id);
}

#[test]
fn a_daemon_of_another_version_that_speaks_the_same_protocol_is_asked_until_up_replaces_it() {
    let world = World::tracked();
    let id = world.tracemark(&["active"]).ok();
    let ours = env!("CARGO_PKG_VERSION");
    let of_tomorrow = |target: &str| {
        let text = world.get(target).to_string();
        let mut answer: Value = serde_json::from_str(&text.replace(ours, "9.9.9")).unwrap();
        answer["known_tomorrow"] = true.into();
        answer
    };
    let mut active = of_tomorrow(&format!("/v1/active?worktree={}", world.repo().display()));
    active["model_id"] = "m-of-tomorrow".into();
    active["fresh"] = true.into();
    let answers =
        serde_json::json!({"/v1/active": active, "/v1/status": of_tomorrow("/v1/status")});
    world.stop_daemon();
    let mut other = other_version(&world, "tracemark-of-tomorrow", &answers);
    let status = world.tracemark(&["status"]).ok();
    assert!(
        status.contains("9.9.9") && status.contains("try     tracemark up"),
        "{status}"
    );
    assert_eq!(world.tracemark(&["active"]).ok(), "m-of-tomorrow\n");
    assert_eq!(world.exec_env()["MLFLOW_ACTIVE_MODEL_ID"], "m-of-tomorrow");
    assert!(world.tracemark(&["up"]).ok().contains(id.trim()));
    assert!(other.wait().unwrap().success());
    assert_eq!(world.tracemark(&["active"]).ok(), id);
}

#[test]
fn a_daemon_that_up_cannot_replace_is_named_with_the_line_that_ends_it() {
    let world = World::tracked();
    world.stop_daemon();
    let answers = serde_json::json!({"any": {"api": 2, "version": "9.9.9"}});
    let mut other = other_version(&world, "some-python", &answers);
    let record = world.state_dir().join("daemon.json");
    std::fs::write(&record, r#"{"of": "tomorrow"}"#).unwrap();
    let said = world.tracemark(&["up"]);
    let lock = world.state_dir().join("daemon.lock");
    let cure = format!("try: kill -9 $(cat {}), then", lock.display());
    assert!(
        said.code == Some(5) && said.stderr.contains(&cure),
        "{said:?}"
    );
    let own = serde_json::json!({"pid": other.id(), "version": "9.9.9", "socket": world.socket(), "since": 0});
    std::fs::write(&record, own.to_string()).unwrap();
    let said = world.tracemark(&["up"]);
    let cure = format!("try: kill -9 {}, then", other.id());
    assert!(
        said.code == Some(5) && said.stderr.contains(&cure),
        "{said:?}"
    );
    other.kill().unwrap();
    other.wait().unwrap();
    world.tracemark(&["up"]).ok();
}

#[test]
fn a_log_that_grows_is_set_aside_at_the_start_and_while_the_daemon_writes() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let log = world.state_dir().join("daemon.log");
    let old = world.state_dir().join("daemon.log.old");
    let limit = usize::try_from(tracemark::log_file::LOG_MAX).unwrap();
    std::fs::create_dir_all(world.state_dir()).unwrap();
    std::fs::write(&log, "a".repeat(limit)).unwrap();
    world.tracemark(&["up", "--store", &store]).ok();
    assert!(std::fs::read_to_string(&old).unwrap().starts_with("aaa"));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("ready"), "{text}");
    // It writes on at the end of what is there by now.
    std::fs::write(&log, "b".repeat(limit)).unwrap();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert!(std::fs::read_to_string(&old).unwrap().starts_with("bbb"));
    world.write("app.py", "print(3)\n");
    world.tracemark(&["active"]).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("published") && !text.contains('b'.to_string().repeat(9).as_str()));
}

#[test]
fn tracemark_log_says_how_much_the_daemon_says() {
    for (level, says) in [("off", false), ("tracemark=info", true)] {
        let mut world = World::with_commit();
        let store = sqlite_store(world.base());
        world.set("TRACEMARK_LOG", level);
        world.tracemark(&["up", "--store", &store]).ok();
        let log = std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
        assert_eq!(log.contains("published"), says, "{level}: {log}");
    }
}

#[test]
fn a_record_that_cannot_be_used_leaves_no_id_behind_and_is_named() {
    let world = World::tracked();
    world.env_id();
    let records = world.state_dir().join("repositories");
    let file = std::fs::read_dir(&records)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    world.kill_daemon();
    std::fs::write(&file, "{").unwrap();
    world.write("app.py", "print('changed')\n");
    let other = world.base().join("other");
    world.git(&["clone", "-q", ".", other.to_str().unwrap()]);
    let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
    up.args(["up", "--store", &sqlite_store(world.base())]);
    Said::of(&up.current_dir(&other).output().unwrap()).ok();
    assert_eq!(world.env_file()["MLFLOW_ACTIVE_MODEL_ID"], "");
    let status = world.tracemark(&["status"]);
    let named = file.to_str().unwrap();
    assert!(
        status.stderr.contains(named) && status.stderr.contains("is not watched"),
        "{status:?}"
    );
    let doctor = world.tracemark(&["doctor"]);
    assert!(doctor.stdout.contains(named), "{doctor:?}");
    std::fs::remove_file(&file).unwrap();
    world.tracemark(&["up"]).ok();
    world.env_id();
}

#[test]
fn a_directory_in_the_place_of_the_ledger_is_set_aside() {
    let world = World::tracked();
    let id = world.env_id();
    world.kill_daemon();
    let ledger = world.state_dir().join("ledger.sqlite");
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(
            world.state_dir().join(format!("ledger.sqlite{end}")),
        ));
    }
    std::fs::create_dir_all(ledger.join("in it")).unwrap();
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert!(world.state_dir().join("ledger.unusable/in it").exists());
    world.tracemark(&["down", "--purge"]).ok();
    assert!(!world.state_dir().exists());
}

#[test]
fn nothing_is_written_through_links_in_the_place_of_the_files_of_the_state() {
    let world = World::tracked();
    world.kill_daemon();
    let victim = world.base().join("victim");
    for name in [
        "daemon.json",
        "daemon.lock",
        "daemon.log",
        "daemon.log.old",
        "ledger.sqlite",
        "ledger.sqlite-wal",
        "written/machine.json",
    ] {
        std::fs::write(&victim, "precious").unwrap();
        let file = world.state_dir().join(name);
        drop(std::fs::remove_file(&file));
        std::os::unix::fs::symlink(&victim, &file).unwrap();
        world.write("app.py", format!("print({name:?})\n"));
        world.tracemark(&["active"]);
        world.tracemark(&["status"]);
        world.kill_daemon();
        assert_eq!(
            std::fs::read_to_string(&victim).unwrap(),
            "precious",
            "{name}"
        );
        drop(std::fs::remove_file(&file));
    }
    world.tracemark(&["active"]).ok();
}

#[test]
fn a_state_directory_that_others_could_write_to_is_closed_to_them() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    std::fs::create_dir_all(world.state_dir()).unwrap();
    let set = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(world.state_dir(), mode).unwrap();
    };
    let mode = || {
        let found = world.state_dir().metadata().unwrap();
        found.permissions().mode() & 0o777
    };
    set(0o777);
    world.tracemark(&["up", "--store", &store]).ok();
    assert_eq!(mode(), 0o700, "after up");
    world.kill_daemon();
    set(0o773);
    world.tracemark(&["active"]).ok();
    assert_eq!(mode(), 0o700, "after the start of a daemon");
}

#[test]
fn directories_of_the_state_that_are_links_are_refused() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let victim = world.base().join("victim");
    std::fs::create_dir(&victim).unwrap();
    std::fs::create_dir_all(world.state_dir()).unwrap();
    for name in ["written", "repositories"] {
        let link = world.state_dir().join(name);
        drop(std::fs::remove_dir_all(&link));
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let said = world.tracemark(&["up", "--store", &store]);
        assert!(said.stderr.contains("no directory lies there"), "{said:?}");
        assert_ne!(said.code, Some(0));
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0, "{name}");
        std::fs::remove_file(&link).unwrap();
    }
    world.tracemark(&["up", "--store", &store]).ok();
}

#[test]
fn a_daemon_that_stops_leaves_no_id_behind_and_the_next_question_starts_one() {
    let world = World::tracked();
    let id = world.env_id();
    world.stop_daemon();
    assert_eq!(world.env_id(), "");
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert_eq!(world.env_id(), id);
}

#[test]
fn a_killed_daemon_is_replaced_and_its_id_still_means_the_same_code() {
    let world = World::tracked();
    let id = world.env_id();
    let pid = world.signal_daemon(rustix::process::Signal::KILL).unwrap();
    wait_until("it ends", || (!is_alive(pid)).then_some(()));
    world.write("app.py", "print('changed while nobody looked')\n");
    assert_ne!(world.tracemark(&["active"]).ok().trim(), id);
    assert_ne!(world.env_id(), id);
}

#[test]
fn a_second_daemon_says_that_one_is_running() {
    let world = World::tracked();
    world
        .tracemark(&["daemon"])
        .failed(5, "another tracemark daemon");
}

#[test]
fn the_daemon_holds_nothing_of_the_shell_that_started_it() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let script = "exec 9>held-by-the-shell; \"$TM\" up --store \"$STORE\" >/dev/null";
    let mut shell = world.command("sh");
    shell
        .args(["-c", script])
        .env("TM", env!("CARGO_BIN_EXE_tracemark"))
        .env("STORE", &store);
    Said::of(&shell.output().unwrap()).ok();
    let open = std::fs::read_dir(format!("/proc/{}/fd", world.daemon_pid().unwrap())).unwrap();
    let held = open
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    assert!(
        !held
            .into_iter()
            .any(|path| path.ends_with("held-by-the-shell"))
    );
}

/// Runs a script that leaves a file, instead of what was asked for.
fn canary(world: &World) -> (PathBuf, String) {
    let (sung, script) = (world.base().join("sung"), world.base().join("canary"));
    std::fs::write(
        &script,
        format!("#!/bin/sh\necho \"$0\" \"$@\" >>{}\n", sung.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    (sung, script.display().to_string())
}

/// Variables by which git and shells run a program.
const RUNNING: [&str; 7] = [
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH_COMMAND",
    "GIT_PAGER",
    "PAGER",
    "GIT_EDITOR",
    "GIT_ASKPASS",
    "GIT_CONFIG_VALUE_0",
];

/// Returns the program with the canary wherever a variable names one.
fn with_canary(world: &World, canary: &str, program: &str, argument: &str) -> Command {
    let mut command = world.command(program);
    command.envs(RUNNING.map(|name| (name, canary)));
    command
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.fsmonitor")
        .arg(argument);
    command
}

/// Returns variables that lead git elsewhere, and shells astray.
fn leading_astray<'a>(elsewhere: &'a str, canary: &'a str) -> [(&'static str, &'a str); 17] {
    [
        ("GIT_CONFIG_PARAMETERS", "'core.fsmonitor'='false'"),
        ("GIT_DIR", elsewhere),
        ("GIT_WORK_TREE", elsewhere),
        ("GIT_INDEX_FILE", elsewhere),
        ("GIT_OBJECT_DIRECTORY", elsewhere),
        ("GIT_NAMESPACE", "other"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_DIFF_OPTS", "--unified=9"),
        ("GIT_TRACE", canary),
        ("GIT_TRACE2_EVENT", canary),
        ("GIT_DEFAULT_HASH", "none"),
        ("BASH_ENV", canary),
        ("ENV", canary),
        ("IFS", "/"),
        ("CDPATH", "/"),
        ("LC_ALL", "xx_YY.none"),
        ("MLFLOW_ACTIVE_MODEL_ID", "m-$(touch sung)"),
    ]
}

#[test]
fn a_daemon_of_a_shell_with_hostile_variables_runs_none_of_them_and_tells_the_same() {
    let world = World::tracked();
    world.kill_daemon();
    let (sung, canary) = canary(&world);
    let elsewhere = world.base().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let elsewhere = elsewhere.display().to_string();
    drop(
        with_canary(&world, &canary, "git", "diff")
            .output()
            .unwrap(),
    );
    assert!(sung.exists(), "the canary does not sing");
    std::fs::remove_file(&sung).unwrap();
    let program = env!("CARGO_BIN_EXE_tracemark");
    let mut daemon = with_canary(&world, &canary, program, "daemon");
    daemon.envs(leading_astray(&elsewhere, &canary));
    let before = std::fs::read(&canary).unwrap();
    let mut daemon = daemon
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let id = wait_until("an id", || Some(world.env_id()).filter(|id| !id.is_empty()));
    world.write("app.py", "print('saved beside a hostile shell')\n");
    let id = world.new_env_id(&id);
    assert_eq!(
        world.env_file()["TRACEMARK_NAME"],
        world.tracemark(&["hash"]).ok().trim()
    );
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    assert!(
        !sung.exists(),
        "{}",
        std::fs::read_to_string(&sung).unwrap()
    );
    let traces = std::fs::read(&canary).unwrap().len() - before.len();
    assert_eq!(traces, 0, "bytes of git's traces");
    world.signal_daemon(rustix::process::Signal::TERM);
    daemon.wait().unwrap();
}

#[test]
fn a_pipe_or_a_link_in_the_place_of_the_log_is_replaced_and_holds_nobody_up() {
    let world = World::tracked();
    let (log, victim) = (world.state_dir().join("daemon.log"), world.base().join("x"));
    for make in ["ln -s", "mkfifo"] {
        world.stop_daemon();
        std::fs::remove_file(&log).unwrap();
        let made = match make {
            "mkfifo" => format!("mkfifo '{}'", log.display()),
            _ => format!("ln -s '{}' '{}'", victim.display(), log.display()),
        };
        let made = world.command("sh").args(["-c", &made]).status().unwrap();
        assert!(made.success());
        let said = world.tracemark(&["active"]);
        assert_eq!(said.code, Some(0), "{make}: {said:?}");
        assert!(world.daemon_pid().is_some_and(is_alive), "{make}");
        assert!(log.symlink_metadata().unwrap().is_file() && !victim.exists());
    }
}
