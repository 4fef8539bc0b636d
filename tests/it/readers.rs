//! Do all readers of the env file read the same, also while it is replaced all the time? Those that need more
//! than Python are in `tests/host`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tracemark::env_file::{self, EnvValues};

use crate::python::{alone, environment, sqlite_store};
use crate::world::{Said, World};

/// How often each reader reads while the file is replaced; the quick ones read many times at each of them.
const TIMES: usize = 5;
const PRINT: &str =
    "import os; print(os.environ['MLFLOW_ACTIVE_MODEL_ID'], os.environ['TRACEMARK_NAME'])";

/// Each reader as a command that prints the id and the name, once or many times.
fn readers(dir: &Path, file: &Path) -> Vec<(&'static str, Command)> {
    let file = file.to_str().unwrap();
    let python = environment().join("bin/python");
    let by_module = |module: &str| {
        let mut command = alone(&python);
        command.args(["-m", module]);
        command
    };
    let shell = |program: &str| {
        let mut command = alone(program);
        let read = "( set -a; . \"$1\"; set +a; echo \"$MLFLOW_ACTIVE_MODEL_ID $TRACEMARK_NAME\" )";
        let script = format!("i=0; while [ $i -lt 50 ]; do {read}; i=$((i+1)); done");
        command.args(["-c", &script, "reader", file]);
        command
    };
    let mut dotenv = alone(&python);
    let read = "import sys, dotenv
for _ in range(50):
    values = dotenv.dotenv_values(sys.argv[1]); print(values['MLFLOW_ACTIVE_MODEL_ID'], values['TRACEMARK_NAME'])";
    dotenv.args(["-c", read, file]);
    // Uvicorn reads the file, then imports the app, which has said everything by then.
    std::fs::write(
        dir.join("said.py"),
        format!("{PRINT}; import sys; sys.stdout.flush(); os._exit(0)\n"),
    )
    .unwrap();
    let mut uvicorn = by_module("uvicorn");
    uvicorn.args([
        "--env-file",
        file,
        "--app-dir",
        dir.to_str().unwrap(),
        "said:app",
    ]);
    let mut honcho = by_module("honcho");
    honcho.args(["-e", file, "run", python.to_str().unwrap(), "-c", PRINT]);
    vec![
        ("sh", shell("sh")),
        ("dash", shell("dash")),
        ("bash", shell("bash")),
        ("python-dotenv", dotenv),
        ("uvicorn", uvicorn),
        ("honcho", honcho),
    ]
}

fn read(dir: &Path, command: &mut Command) -> BTreeSet<String> {
    command.current_dir(dir);
    Said::of(&command.output().unwrap())
        .ok()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_reader_reads_the_id_that_the_daemon_published() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let file = world.repo().join(".git/tracemark/env");
    let wanted = format!("{} {}", world.env_id(), world.git(&["rev-parse", "HEAD"]));
    for (name, mut command) in readers(world.base(), &file) {
        assert_eq!(
            read(world.base(), &mut command),
            [wanted.clone()].into(),
            "{name}"
        );
    }
}

#[test]
fn a_reader_gets_one_whole_version_while_the_file_is_replaced_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    let version = |n: u8| EnvValues {
        model_id: format!("m-{}", format!("{n:x}").repeat(32)),
        name: format!("{n:x}").repeat(40),
        state: "active".to_owned(),
        ..EnvValues::default()
    };
    let whole: BTreeSet<String> = (0..16)
        .map(|n| format!("{} {}", version(n).model_id, version(n).name))
        .collect();
    env_file::publish(&file, &version(0).render()).unwrap();
    let done = AtomicBool::new(false);
    let (replaced, read_by) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut replaced = 0_u32;
            while !done.load(Ordering::SeqCst) {
                let next = version(u8::try_from(replaced % 16).unwrap());
                env_file::publish(&file, &next.render()).unwrap();
                replaced += 1;
            }
            replaced
        });
        let mut read_by = 0;
        for _ in 0..TIMES {
            for (name, mut command) in readers(dir.path(), &file) {
                let seen = read(dir.path(), &mut command);
                assert!(
                    !seen.is_empty() && seen.is_subset(&whole),
                    "{name}: {seen:?}"
                );
                read_by += 1;
            }
        }
        done.store(true, Ordering::SeqCst);
        (writer.join().unwrap(), read_by)
    });
    assert!(
        replaced > read_by,
        "{replaced} versions for {read_by} readers"
    );
}

/// The fenced examples of a document in one language.
pub(crate) fn examples(document: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("\n```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap().to_owned())
        .collect()
}

/// Runs an example of a document in a tracked repository, as a person would paste it, and returns what it printed.
fn try_example(world: &World, language: &str, example: &str) -> String {
    let mut command = match language {
        "sh" => world.command("sh"),
        _ => world.command(environment().join("bin/python")),
    };
    command
        .args(["-c", example])
        .env("TRACEMARK_SOCKET", world.socket());
    Said::of(&command.output().unwrap()).ok()
}

#[test]
fn the_examples_of_the_documents_do_what_they_say() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let id = world.tracemark(&["active"]).ok();
    let id = id.trim();
    let all = format!("['{id}']");
    for (document, language, answers) in [
        ("env-file.md", "sh", &[id][..]),
        ("env-file.md", "python", &[id]),
        ("socket-api.md", "python", &[id, id, all.as_str(), "1"]),
    ] {
        let examples = examples(document, language);
        assert_eq!(examples.len(), answers.len(), "{document}");
        for (example, answer) in examples.iter().zip(answers) {
            let said = try_example(&world, language, example);
            assert_eq!(said.trim_end(), *answer, "{document}: {example}");
        }
    }
}

#[test]
fn the_env_file_has_the_lines_that_its_document_shows() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let names = |text: &str| -> Vec<String> {
        let name = |line: &str| line.split('=').next().unwrap().to_owned();
        text.lines().map(name).collect()
    };
    let file = std::fs::read_to_string(world.repo().join(".git/tracemark/env")).unwrap();
    assert_eq!(names(&examples("env-file.md", "")[0]), names(&file));
}
