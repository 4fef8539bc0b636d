//! What do I see while I edit? The prompt, `watch`, and how `status` and `doctor` look.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;

use serde_json::Value;

use crate::python::sqlite_store;
use crate::world::{Said, World, is_alive, wait_until};

#[test]
fn the_prompt_says_the_id_of_the_env_file_without_git_and_without_a_daemon() {
    let world = World::tracked();
    let id = world.env_id();
    let short = format!("{}\n", &id[..10]);
    world.write("deep/er/file", "x");
    let inside = |dir: &str| {
        let mut prompt = world.command(env!("CARGO_BIN_EXE_tracemark"));
        prompt
            .arg("prompt")
            .env("PATH", "/nowhere")
            .current_dir(world.repo().join(dir));
        Said::of(&prompt.output().unwrap()).ok()
    };
    let file = world.repo().join(".git/tracemark/env");
    world.kill_daemon();
    let env = |text: &str| std::fs::write(&file, text).unwrap();
    env(&format!(
        "MLFLOW_ACTIVE_MODEL_ID={id}\nTRACEMARK_STATE=active\n"
    ));
    assert_eq!(inside("."), short);
    assert_eq!(inside("deep/er"), short);
    env("MLFLOW_ACTIVE_MODEL_ID=\nTRACEMARK_STATE=pending\nTRACEMARK_SOCKET=/s\n");
    assert_eq!(inside("."), "m-…\n");
    env("MLFLOW_ACTIVE_MODEL_ID=\nTRACEMARK_STATE=broken\nTRACEMARK_SOCKET=/s\n");
    assert_eq!(inside("."), "m-!\n");
    env("MLFLOW_ACTIVE_MODEL_ID=m-\u{1b}[31m$(x)\n");
    assert_eq!(
        inside("."),
        "m-31mx\n",
        "what a terminal would obey is left out"
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(inside("."), "");
    assert_eq!(inside("../home"), "");
}

#[test]
fn the_prompt_works_in_a_linked_worktree() {
    let world = World::tracked();
    let side = world.base().join("side");
    world.add_worktree(&side);
    let mut active = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let id = Said::of(&active.arg("active").current_dir(&side).output().unwrap()).ok();
    let mut prompt = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let said = Said::of(&prompt.arg("prompt").current_dir(&side).output().unwrap()).ok();
    assert_eq!(said.trim(), &id[..10]);
}

#[test]
fn watch_ends_with_its_reader() {
    let world = World::tracked();
    for more in [&[][..], &["--json"]] {
        let mut watch = world.command(env!("CARGO_BIN_EXE_tracemark"));
        let mut watch = watch
            .arg("watch")
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(watch.stdout.take().unwrap());
        reader.read_line(&mut line).unwrap();
        assert!(
            line.contains("active") || line.contains("pending"),
            "{line}"
        );
        drop(reader);
        let ended = wait_until("it ends", || watch.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }
}

#[test]
fn watch_prints_a_plain_line_for_each_change_off_a_terminal() {
    let world = World::tracked();
    let id = world.env_id();
    let mut watch = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let mut child = watch.arg("watch").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("state=active version="), "{first}");
    assert!(
        first.contains(&format!("changed=0 model={id} traces=0")),
        "{first}"
    );
    world.write("app.py", "print(2)\n");
    let next = lines
        .map(Result::unwrap)
        .find(|line| line.starts_with("state=active") && !line.contains(&id))
        .unwrap();
    assert!(
        next.contains("changed=1") && !next.contains('\u{1b}'),
        "{next}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn watch_counts_traces_and_asks_git_for_nothing_while_the_code_stays() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.write("app.py", "print(2)\n");
    let id = world.tracemark(&["active"]).ok();
    let asked = world
        .put_before_git("echo \"$*\" >>\"$dir/asked\"\n")
        .join("asked");
    let mut watch = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let mut child = watch.arg("watch").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let first = next();
    assert!(first.ends_with("traces=0 files=app.py"), "{first}");
    let statuses = || {
        let asked = std::fs::read_to_string(&asked).unwrap();
        asked
            .lines()
            .filter(|line| line.contains("status "))
            .count()
    };
    assert_eq!(statuses(), 1);
    let file = store.strip_prefix("sqlite:///").unwrap();
    for count in 1..=2 {
        let link = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute(\"INSERT INTO trace_request_metadata (key, value, request_id) VALUES ('mlflow.modelId', ?, ?)\", sys.argv[2:]); db.commit()";
        let mut python = world.command("python3");
        python.args(["-c", link, file, id.trim(), &format!("tr-{count}")]);
        Said::of(&python.output().unwrap()).ok();
        let line = next();
        assert!(line.contains(&format!("traces={count}")), "{line}");
    }
    assert_eq!(statuses(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn watch_prints_one_document_a_line_for_programs_and_ends_with_the_daemon() {
    let world = World::tracked();
    let mut watch = world.command(env!("CARGO_BIN_EXE_tracemark"));
    watch
        .args(["watch", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = watch.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["model_id"], world.env_id());
    world.signal_daemon(rustix::process::Signal::TERM);
    for line in lines {
        drop(line);
    }
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn status_and_doctor_are_coloured_on_a_terminal_that_wants_it_and_nowhere_else() {
    let world = World::tracked();
    world.write("app.py", "print(2)\n");
    let id = world.tracemark(&["active"]).ok();
    for command in ["status", "doctor"] {
        let plain = world.tracemark(&[command]).ok();
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let said = world.on_terminal(&[command], &[]).ok();
        assert!(said.contains("\u{1b}[32m"), "{said:?}");
        for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let said = world.on_terminal(&[command], &[(name, value)]).ok();
            assert!(!said.contains('\u{1b}'), "{name}: {said:?}");
        }
        let said = world.on_terminal(&[command], &[("NO_COLOR", "")]).ok();
        assert!(said.contains('\u{1b}'), "an empty NO_COLOR says nothing");
    }
    let status = world.on_terminal(&["status"], &[]).ok();
    let state = format!(
        "\u{1b}[2mstate   \u{1b}[0m\u{1b}[32mactive\u{1b}[0m {}",
        id.trim()
    );
    assert!(status.contains(&state), "{status:?}");
    let json = world.on_terminal(&["status", "--json"], &[]).ok();
    assert!(!json.contains('\u{1b}'), "{json}");
}

#[test]
fn status_says_how_long_ago_things_were() {
    let world = World::tracked();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    let status = world.tracemark(&["status"]).ok();
    let row = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {status}"))
            .to_owned()
    };
    let daemon = row("daemon ");
    assert!(
        daemon.contains(", started ") && daemon.ends_with(" ago"),
        "{daemon}"
    );
    let last = row("last ");
    assert!(
        last.contains("saved app.py, ") && last.ends_with(" ago"),
        "{last}"
    );
    let columns: Vec<_> = ["state ", "name ", "store ", "env ", "last "]
        .map(|name| row(name).find(|c: char| c.is_lowercase()).unwrap())
        .into();
    assert_eq!(columns, [2; 5]);
}

#[test]
fn the_prompt_asks_nobody_and_says_when_the_daemon_ended() {
    let mut world = World::tracked();
    let short = format!("{}\n", &world.env_id()[..10]);
    let pid = world.daemon_pid().unwrap();
    let ask = |world: &World| {
        let mut prompt = world.command(env!("CARGO_BIN_EXE_tracemark"));
        let prompt = prompt.arg("prompt").env("PATH", "/nowhere");
        Said::of(&prompt.output().unwrap()).ok()
    };
    world.kill_daemon();
    // Whoever asked would be let in here and wait for ever.
    std::fs::remove_file(world.socket()).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(world.socket()).unwrap();
    world.set("TRACEMARK_SOCKET", world.socket().to_str().unwrap());
    assert_eq!(ask(&world), short);
    listener.set_nonblocking(true).unwrap();
    let nobody = listener.accept().unwrap_err().kind();
    assert_eq!(nobody, std::io::ErrorKind::WouldBlock);
    assert!(!is_alive(pid), "nor was a daemon started");
    drop(listener);
    world.set("TRACEMARK_SOCKET", "");
    std::fs::remove_file(world.socket()).unwrap();
    world.tracemark(&["active"]).ok();
    world.stop_daemon();
    assert_eq!(ask(&world), "m-?\n");
}

/// What a terminal of so many columns shows after all that was written to it: rows that are too long go on below.
fn screen(written: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut row, mut column) = (vec![String::new()], 0_usize, 0_usize);
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\u{1b}[5A") {
            (row, rest) = (row.saturating_sub(5), after);
            continue;
        }
        if let Some(after) = rest.strip_prefix("\u{1b}[J") {
            rows.truncate(row + 1);
            rows[row].truncate(column);
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            _ => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                rows.resize(rows.len().max(row + 1), String::new());
                rows[row].push(c);
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), String::new());
    }
    rows
}

/// A command on a terminal of 24 rows and 40 columns.
struct Terminal {
    child: Child,
    pieces: Receiver<Vec<u8>>,
    written: Vec<u8>,
}

impl Terminal {
    const COLUMNS: usize = 40;
    const SCRIPT: &str = "import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 40, 0, 0)); os.execv(sys.argv[1], sys.argv[1:])
while True: sys.stdout.buffer.write(os.read(terminal, 65536)); sys.stdout.flush()";

    fn of(world: &World, command: &str) -> Self {
        let mut python = world.command("python3");
        python.args(["-c", Self::SCRIPT, env!("CARGO_BIN_EXE_tracemark"), command]);
        let python = python.env("TERM", "xterm").stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (sender, pieces) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            pieces,
            written: Vec::new(),
        }
    }

    /// Waits until the screen is as wanted, and returns its rows.
    fn shows(&mut self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        wait_until(what, || {
            self.written.extend(self.pieces.try_iter().flatten());
            let screen = screen(&String::from_utf8_lossy(&self.written), Self::COLUMNS);
            wanted(&screen).then_some(screen)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn watch_draws_one_block_over_itself_however_narrow_the_terminal_is() {
    let world = World::tracked();
    let id = world.env_id();
    let mut terminal = Terminal::of(&world, "watch");
    terminal.shows("the block is there", |rows| {
        rows.iter().any(|row| row.starts_with("traces"))
    });
    for n in 0..3 {
        world.write("app.py", format!("print({n})\n"));
        world.write(&format!("a-file-with-a-long-name-{n}.py"), "x");
        let next = world.tracemark(&["active"]).ok();
        let next = format!("model    {}", &next[..20]);
        terminal.shows("the next id is there", |rows| {
            rows.iter().any(|row| row.starts_with(&next))
        });
    }
    let rows = terminal.shows("all files are there", |rows| {
        rows.iter().any(|row| row.starts_with("changed  4 app.py"))
            && rows.iter().any(|row| row.starts_with("state    active"))
    });
    let labels: Vec<_> = rows
        .iter()
        .map(|row| row.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        labels,
        ["state", "version", "changed", "model", "traces", ""],
        "{rows:?}"
    );
    assert!(!rows.iter().any(|row| row.contains(&id[..20])), "{rows:?}");
}
