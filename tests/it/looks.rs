//! What people look at while they edit: the prompt and `watch`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::python::sqlite_store;
use crate::world::{Said, World};

fn tracked() -> World {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world
}

#[test]
fn the_prompt_says_the_id_of_the_env_file_without_git_and_without_a_daemon() {
    let world = tracked();
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
    env("MLFLOW_ACTIVE_MODEL_ID=\nTRACEMARK_STATE=pending\n");
    assert_eq!(inside("."), "m-…\n");
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
    let world = tracked();
    let side = world.base().join("side");
    world.add_worktree(&side);
    let mut active = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let id = Said::of(&active.arg("active").current_dir(&side).output().unwrap()).ok();
    let mut prompt = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let said = Said::of(&prompt.arg("prompt").current_dir(&side).output().unwrap()).ok();
    assert_eq!(said.trim(), &id[..10]);
}

#[test]
fn watch_prints_a_plain_line_for_each_change_off_a_terminal() {
    let world = tracked();
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
fn watch_prints_one_document_a_line_for_programs_and_ends_with_the_daemon() {
    let world = tracked();
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
    let world = tracked();
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
    let world = tracked();
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
