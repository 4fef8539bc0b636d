//! When something is wrong: one line of cause, one line of what to do, the right exit code, nothing half-written?

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use crate::python::{free_port, look, server, sqlite_store};
use crate::world::{Said, World};

#[test]
fn outside_a_repository_every_command_says_so_and_nothing_is_tracked() {
    let world = World::without_repository();
    for command in [&["up"][..], &["active"], &["hash"], &["down"], &["env"]] {
        world.tracemark(command).failed(4, "not a git repository");
    }
    assert!(!world.state_dir().join("repositories").exists());
}

#[test]
fn a_repository_that_is_not_tracked_is_said_not_to_be() {
    let world = World::with_commit();
    for command in [&["active"][..], &["env"], &["down"]] {
        world.tracemark(command).failed(4, "is not tracked");
    }
}

#[test]
fn a_bare_repository_is_said_to_have_no_work_tree() {
    let world = World::without_repository();
    std::fs::create_dir(world.repo()).unwrap();
    world.git(&["init", "-q", "--bare", "."]);
    world.tracemark(&["up"]).failed(4, "no work tree");
    world.tracemark(&["hash"]).failed(4, "work tree");
}

#[test]
fn before_the_first_commit_there_is_no_hash_but_tracking_works() {
    let world = World::new();
    world.write("app.py", "print(1)\n");
    world.tracemark(&["hash"]).failed(1, "no commit yet");
    let store = sqlite_store(world.base());
    let said = world.tracemark(&["up", "--store", &store]).ok();
    assert!(
        said.contains("repo-tree-") && said.contains("(active)"),
        "{said}"
    );
}

#[test]
fn a_broken_branch_is_not_taken_for_a_repository_without_commits() {
    let world = World::with_commit();
    std::fs::write(world.repo().join(".git/refs/heads/main"), "junk\n").unwrap();
    let said = world.tracemark(&["hash"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(!said.stderr.contains("no commit yet"), "{said:?}");
}

#[test]
fn an_index_that_cannot_be_read_is_not_taken_for_a_lack_of_room() {
    let world = World::with_commit();
    let index = world.repo().join(".git/index");
    std::fs::remove_file(&index).unwrap();
    std::fs::create_dir(&index).unwrap();
    let said = world.tracemark(&["hash"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(!said.stderr.contains("TMPDIR"), "{said:?}");
}

#[test]
fn without_git_it_is_said_that_git_is_not_installed() {
    let mut world = World::with_commit();
    let empty = world.base().join("empty");
    std::fs::create_dir(&empty).unwrap();
    world.set("PATH", empty.to_str().unwrap());
    world.tracemark(&["hash"]).failed(1, "git is not installed");
    world.tracemark(&["up"]).failed(1, "git is not installed");
}

#[test]
fn with_a_store_that_nobody_answers_for_tracking_is_on_and_no_id_is_published() {
    let world = World::with_commit();
    let address = format!("http://127.0.0.1:{}", free_port());
    let said = world.tracemark(&["up", "--store", &address]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(said.stderr.contains("tracking is on"), "{said:?}");
    assert_eq!(world.env_id(), "");
    assert!(!world.env_file()["TRACEMARK_NAME"].is_empty());
    world.is_refused("no answer from the MLflow server");
    world.tracemark(&["down"]).ok();
}

/// A server that gives everybody the same answer.
fn always(status: &'static str, kind: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _sent = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        }
    });
    address
}

#[test]
fn with_a_store_that_refuses_or_is_none_nothing_is_written() {
    let cases = [
        (
            always("403 Forbidden", "text/plain", "Permission denied"),
            "Permission denied",
        ),
        (
            always("404 Not Found", "text/html", "<html>no</html>"),
            "not a usable MLflow store",
        ),
        (
            always("200 OK", "text/html", "<html>hello</html>"),
            "MLflow",
        ),
    ];
    for (address, cause) in cases {
        let world = World::with_commit();
        let hooks = || {
            std::fs::read_dir(world.repo().join(".git/hooks"))
                .unwrap()
                .count()
        };
        let before = hooks();
        world
            .tracemark(&["up", "--store", &address])
            .failed(6, cause);
        assert_eq!(hooks(), before);
        assert!(!world.repo().join(".git/tracemark").exists());
        assert!(!world.state_dir().join("repositories").exists());
        world.tracemark(&["active"]).failed(4, "is not tracked");
    }
}

#[test]
fn what_a_store_in_trouble_says_is_shown_without_its_control_characters() {
    let world = World::with_commit();
    let address = always(
        "500 Internal Server Error",
        "text/plain",
        "out of \u{1b}[31mcheese",
    );
    let said = world.tracemark(&["up", "--store", &address]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(
        said.stderr.contains("HTTP 500") && !said.stderr.contains('\u{1b}'),
        "{said:?}"
    );
    world.is_refused("HTTP 500");
}

#[test]
fn an_experiment_that_was_deleted_is_said_to_be() {
    let world = World::with_commit();
    look(server(), &["experiment", "deleted"]);
    let python = format!(
        "import mlflow; mlflow.set_tracking_uri('{}'); mlflow.delete_experiment(mlflow.create_experiment('deleted'))",
        server()
    );
    let mut command = world.command(crate::python::python());
    assert!(command.args(["-c", &python]).status().unwrap().success());
    world
        .tracemark(&["up", "--store", server(), "--experiment", "deleted"])
        .failed(6, "is deleted");
}

#[test]
fn a_tracking_uri_that_cannot_be_used_is_named() {
    let world = World::with_commit();
    for (uri, cause) in [
        ("postgresql://u:p@db/mlflow", "postgresql"),
        ("file:///tmp/mlruns", "file store"),
        ("databricks", "Databricks"),
        ("ftp://x", "ftp"),
    ] {
        world.tracemark(&["up", "--store", uri]).failed(3, cause);
    }
}

#[test]
fn a_git_directory_that_cannot_be_written_is_named() {
    if rustix::process::geteuid().is_root() {
        // Permissions do not stop root: a file in the directory's place does.
        let world = World::with_commit();
        world.write(".git/tracemark", "in the way");
        world.tracemark(&["up"]).failed(3, ".git/tracemark");
        return;
    }
    let world = World::with_commit();
    let dir = world.repo().join(".git");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o500)).unwrap();
    let said = world.tracemark(&["up"]);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    said.failed(3, "Permission denied");
}

#[test]
fn a_wrong_value_in_a_settings_file_stops_up_and_an_unknown_key_is_named() {
    let world = World::with_commit();
    world.write(".tracemark.toml", "naming = 'by-mood'\n");
    world.tracemark(&["up"]).failed(3, "by-mood");
    world.write(".tracemark.toml", "namming = 'tree'\n");
    let said = world.tracemark(&["up"]);
    assert!(
        said.stderr.contains("namming") && said.code == Some(0),
        "{said:?}"
    );
}

#[test]
fn wrong_usage_exits_2_and_says_what_to_type() {
    let world = World::without_repository();
    world
        .tracemark(&["no-such-command"])
        .failed(2, "unrecognized subcommand 'no-such-command'");
    world
        .tracemark(&["hash", "--naming", "mood"])
        .failed(2, "[possible values: git-hash, commit, tree]");
    world.tracemark(&["restore", "x"]).failed(2, "<DIR>");
    for words in [
        &["exec"][..],
        &["--socket=/x", "exec", "--nonsense", "--", "true"],
    ] {
        world.tracemark(words).failed(125, "");
    }
    let help = world.tracemark(&["env", "--shell", "tcsh"]).stderr;
    assert!(help.contains("try: tracemark env --help"), "{help}");
}

#[test]
fn where_there_is_no_work_tree_only_the_commit_can_be_named() {
    let world = World::without_repository();
    let bare = world.base().join("bare");
    world
        .command("git")
        .args(["init", "-q", "--bare"])
        .arg(&bare)
        .output()
        .unwrap();
    let removed = world.base().join("removed");
    std::fs::create_dir(&removed).unwrap();
    for naming in ["git-hash", "tree", "commit"] {
        let mut hash = world.command(env!("CARGO_BIN_EXE_tracemark"));
        hash.args(["hash", "--naming", naming]).current_dir(&bare);
        let code = if naming == "commit" { 1 } else { 4 };
        Said::of(&hash.output().unwrap()).failed(code, "");
        let script =
            "rmdir \"$PWD\"; \"$0\" hash --naming \"$1\"; code=$?; mkdir \"$PWD\"; exit $code";
        let mut shell = world.command("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_tracemark"), naming]);
        let said = shell.current_dir(&removed).output().unwrap();
        Said::of(&said).failed(4, "current working directory");
    }
}

#[test]
fn up_names_a_path_that_is_not_utf_8_and_writes_nothing() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::without_repository();
    let repository = world.base().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&repository).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = world.command(program);
        Said::of(
            &command
                .args(arguments)
                .current_dir(&repository)
                .output()
                .unwrap(),
        )
    };
    run("git", &["init", "-q"]).ok();
    let store = sqlite_store(world.base());
    let up = ["up", "--store", &store];
    run(env!("CARGO_BIN_EXE_tracemark"), &up).failed(3, "is not UTF-8");
    assert!(!world.state_dir().exists());
    assert!(!repository.join(".git/tracemark").exists());
}

#[test]
fn settings_that_cannot_be_used_are_answered_at_once() {
    let world = World::tracked();
    let config = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "naming = 5 [").unwrap();
    world.stop_daemon();
    let said = world.tracemark(&["active", "--timeout", "600"]);
    said.failed(3, "config.toml");
}
