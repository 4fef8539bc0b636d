//! Can a name that somebody else chose move the cursor, hide text or retitle the window of who reads what is said?

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::python::sqlite_store;
use crate::world::{Said, World};

/// An escape that sets the title, C1 CSI, right-to-left override, DEL.
const HOSTILE: &str = "e\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{7f}";

/// A repository whose directory, branch, files and commit bear such names.
fn hostile(world: &World) -> PathBuf {
    let repo = world.base().join(HOSTILE);
    let git = |arguments: &[&str]| {
        let mut git = world.command("git");
        let said = git.args(arguments).current_dir(&repo).output().unwrap();
        Said::of(&said).ok();
    };
    std::fs::create_dir(&repo).unwrap();
    git(&["init", "-q", "-b", "a\u{9b}31m\u{202e}b"]);
    std::fs::write(repo.join("app.py"), "print(1)\n").unwrap();
    std::fs::write(repo.join(HOSTILE), "1\n").unwrap();
    std::fs::write(
        repo.join(OsStr::from_bytes(b"raw\xff\x9b\x1b[1m\nline")),
        "1\n",
    )
    .unwrap();
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", HOSTILE]);
    std::fs::write(repo.join(HOSTILE), "2\n").unwrap();
    std::fs::write(repo.join(OsStr::from_bytes(b"new\x9b\x1b[1m")), "2\n").unwrap();
    std::fs::write(repo.join(".tracemark.toml"), "\"k\\u001b[1m\" = 1\n").unwrap();
    repo
}

fn said(world: &World, repo: &Path, arguments: &[&str]) -> Said {
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let output = command
        .args(arguments)
        .current_dir(repo)
        .stdin(Stdio::null());
    let output = output.output().unwrap();
    for bytes in [&output.stdout, &output.stderr] {
        assert_harmless(bytes, arguments);
    }
    Said::of(&output)
}

#[track_caller]
fn assert_harmless(bytes: &[u8], what: &[&str]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("{what:?} is no UTF-8"));
    let odd = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
    assert!(!text.contains(odd), "{what:?}: {text:?}");
}

#[test]
fn no_name_of_a_directory_branch_file_or_commit_reaches_a_terminal_or_a_log_unescaped() {
    let world = World::without_repository();
    let repo = hostile(&world);
    let store = sqlite_store(world.base());
    said(&world, &repo, &["up", "--dry-run", "--store", &store]).ok();
    let up = said(&world, &repo, &["up", "--store", &store]).ok();
    assert!(up.contains("\\u{1b}]0;x"), "what is escaped is said: {up}");
    let id = said(&world, &repo, &["active"]).ok();
    let id = id.trim();
    let commands: [&[&str]; 23] = [
        &["status"],
        &["status", "--json"],
        &["active", "--json"],
        &["log", "--json"],
        &["show", "--json", id],
        &["doctor", "--json"],
        &["doctor"],
        &["log"],
        &["show", id],
        &["diff", "HEAD", id],
        &["hash", "--explain"],
        &["hash", "--explain", "--naming", "tree"],
        &["hash", "--safe", "--explain"],
        &["config", "show", "--origin"],
        &["params"],
        &["env"],
        &["env", "--shell", "dotenv"],
        &["prompt"],
        &["gc"],
        &["restore", id, HOSTILE],
        &["show", HOSTILE],
        &["exec", "--", HOSTILE],
        &["pin", HOSTILE],
    ];
    for arguments in commands {
        said(&world, &repo, arguments);
    }
    let (_, body) = world.http("GET", "/v1/status", "");
    assert!(body.contains("\\u009b31m"), "{body}");
    assert_harmless(body.as_bytes(), &["the socket"]);
    said(&world, &repo, &["restore", id, "../then"]).ok();
    let log = std::fs::read(world.state_dir().join("daemon.log")).unwrap();
    assert_harmless(&log, &["the daemon's log"]);
    said(&world, &repo, &["down"]).ok();
    said(&world, &repo, &["down", "--purge"]).ok();
}
