//! Does every command block of the documents do what it says? Each stands in one table here: run in a repository as a person would
//! paste it, run by another test, or left out with the reason. A block without a line in the table fails.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python::{environment, sqlite_store};
use crate::world::{Said, World};

/// What becomes of a block.
#[derive(Clone, Copy)]
enum How {
    /// Run; standard output contains this, with `{id}` for the model id that is active then.
    Says(&'static str),
    /// Written to this file of the repository, for the blocks after it.
    File(&'static str),
    /// The settings in it are read from `.tracemark.toml` (true) or the user's file, without a warning.
    Settings(bool),
    /// The command of the one service in it is run where the worktree is mounted; it says this.
    Compose(&'static str),
    /// JSON that editors read, which names a file with the id.
    Launch,
    /// Run by this test.
    By(&'static str),
    /// Not run, and why.
    Not(&'static str),
}

use How::{By, Compose, File, Launch, Not, Says, Settings};

/// Document, the beginning of the block, and what becomes of it; the blocks of a document are run in their order.
const BLOCKS: &[(&str, &str, How)] = &[
    (
        "README.md",
        "cargo run --release",
        Not(
            "a release is built and MLflow installed, minutes of both; docs/pictures/make.py runs the demo",
        ),
    ),
    (
        "README.md",
        "cargo install --path",
        By("tests/host/checks/packages.sh"),
    ),
    ("README.md", "cd ~/src/my-app", Says("{id}")),
    ("README.md", "tracemark show tr-", Says("-Be kind.")),
    ("README.md", "c911cb3ff0dd", By("tests/it/explain.rs")),
    ("README.md", "tracemark config show", Says("naming")),
    (
        "README.md",
        "# ~/.config/tracemark/credentials",
        By("tests/it/servers.rs"),
    ),
    ("README.md", "naming = \"tree\"", Settings(false)),
    (
        "README.md",
        "tracemark service",
        By("tests/host/checks/systemd.sh"),
    ),
    (
        "docs/env-file.md",
        "# Written by",
        By("tests/it/readers.rs"),
    ),
    ("docs/env-file.md", "set -a", Says("{id}")),
    (
        "docs/env-file.md",
        "import subprocess, dotenv",
        Says("{id}"),
    ),
    (
        "docs/getting-started.md",
        "pip install .",
        By("tests/host/checks/packages.sh"),
    ),
    ("docs/getting-started.md", "cd ~/src/my-app", Says("{id}")),
    (
        "docs/getting-started.md",
        "tracemark exec -- uvicorn",
        By("tests/it/wheel.rs"),
    ),
    (
        "docs/getting-started.md",
        "import os, subprocess",
        Says("{id}"),
    ),
    (
        "docs/getting-started.md",
        "%load_ext autoreload",
        By("tests/host/checks/notebook.sh"),
    ),
    ("docs/getting-started.md", "env_copy = true", Settings(true)),
    (
        "docs/getting-started.md",
        "services:",
        Compose("WHAT IS MLFLOW?"),
    ),
    (
        "docs/getting-started.md",
        "dotenv_if_exists",
        By("tests/host/checks/documents.sh"),
    ),
    ("docs/getting-started.md", "{", Launch),
    (
        "docs/guide-steps.md",
        "tracemark up --naming commit",
        Says("{id}"),
    ),
    (
        "docs/guide-steps.md",
        "tracemark up --naming git-hash",
        Says(""),
    ),
    (
        "docs/guide-steps.md",
        "tracemark params set llm=gpt-4o-mini",
        Says("temperature"),
    ),
    (
        "docs/guide-steps.md",
        "tracemark exec -- python app.py",
        Says("WHAT IS MLFLOW?"),
    ),
    (
        "docs/guide-steps.md",
        "tracemark params set llm=gpt-4o retrieval_strategy=vector_search_v4",
        Says("WHAT IS MLFLOW?"),
    ),
    ("docs/guide-steps.md", "tracemark log", Says("{id}")),
    (
        "docs/guide-steps.md",
        "import mlflow\nimport tracemark",
        Says("READY"),
    ),
    (
        "docs/guide-steps.md",
        "import mlflow\nfrom app",
        File("evaluate.py"),
    ),
    (
        "docs/guide-steps.md",
        "tracemark exec -- python evaluate.py",
        Says("{id}"),
    ),
    (
        "docs/guide-steps.md",
        "import mlflow\n\nmlflow.genai.register",
        File("prompts.py"),
    ),
    (
        "docs/guide-steps.md",
        "tracemark exec -- python prompts.py",
        Says("Answer shortly"),
    ),
    (
        "docs/packages.md",
        "systemctl --user enable",
        By("tests/host/systemd/package.sh"),
    ),
    (
        "docs/prompt.md",
        "[custom.tracemark]",
        Not("a setting of starship, which is not installed; the command in it: tests/it/looks.rs"),
    ),
    ("docs/prompt.md", "PS1=", Says("")),
    (
        "docs/prompt.md",
        "function fish_right_prompt",
        By("tests/host/checks/documents.sh"),
    ),
    (
        "docs/python.md",
        "tracemark exec -- uvicorn",
        By("tests/it/wheel.rs"),
    ),
    ("docs/python.md", "import tracemark", Says("")),
    ("docs/snapshots.md", "tracemark log", Says("-Be kind.")),
    ("docs/snapshots.md", "[snapshots]", Settings(false)),
    (
        "docs/socket-api.md",
        "curl",
        By("tests/host/checks/curl.sh"),
    ),
    (
        "docs/socket-api.md",
        "import http.client",
        By("tests/it/readers.rs"),
    ),
    ("docs/teams-and-ci.md", "naming = \"tree\"", Settings(true)),
    (
        "docs/teams-and-ci.md",
        "tracemark exec --once",
        Says("WHAT IS MLFLOW?"),
    ),
    (
        "docs/teams-and-ci.md",
        "id=$(tracemark active --once --timeout 60)\necho",
        Says(""),
    ),
    (
        "docs/teams-and-ci.md",
        "id=$(tracemark active --once --timeout 60)\ndocker",
        Says("MLFLOW_ACTIVE_MODEL_ID={id}"),
    ),
    (
        "docs/teams-and-ci.md",
        "FROM python",
        Not("no container engine; the variable in it is what every test of exec shows"),
    ),
    (
        "docs/troubleshooting.md",
        "tracemark status",
        Says("active"),
    ),
    (
        "docs/troubleshooting.md",
        "tracemark config show",
        Says("published"),
    ),
    ("docs/troubleshooting.md", "TRACEMARK_LOG", Says("{id}")),
];

const APP: &str = "import mlflow


@mlflow.trace
def my_app(input: str):
    return input.upper()


if __name__ == \"__main__\":
    print(my_app(\"What is MLflow?\"), mlflow.get_active_model_id())
";

struct Block {
    document: String,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "md"))
        .chain(["README.md".to_owned()])
        .collect();
    names.sort();
    names
}

/// The fenced blocks of all documents.
fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(root().join(&document)).unwrap();
        let mut parts = text.split("\n```");
        parts.next();
        while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
            let (language, text) = block.split_once('\n').unwrap();
            found.push(Block {
                document: document.clone(),
                language: language.to_owned(),
                text: text.to_owned(),
            });
        }
    }
    found
}

fn how(block: &Block) -> Option<How> {
    let mut fitting = BLOCKS.iter().filter(|(document, start, _)| {
        *document == block.document && block.text.starts_with(start)
    });
    let found = fitting.next().map(|(_, _, how)| *how);
    assert!(fitting.next().is_none(), "two lines fit: {}", block.text);
    found
}

#[test]
fn every_block_of_the_documents_stands_in_the_table_and_nothing_else_does() {
    let blocks = blocks();
    for block in &blocks {
        let Block { document, text, .. } = block;
        assert!(
            how(block).is_some(),
            "{document} has a block that no test knows:\n{text}"
        );
    }
    for (document, start, how) in BLOCKS {
        let is_there = |block: &Block| block.document == *document && block.text.starts_with(start);
        assert!(
            blocks.iter().any(is_there),
            "{document} has no block {start:?}"
        );
        if let By(test) = how {
            assert!(root().join(test).is_file(), "{test} is missing");
        }
        if let Not(reason) = how {
            assert!(reason.len() > 20, "{start:?}: say why");
        }
    }
}

/// A repository in `~/src/my-app`, with an app, a prompt and two traced versions, as the documents take for granted.
struct Reader {
    world: World,
    ids: Vec<String>,
    traces: Vec<String>,
}

impl Reader {
    fn new() -> Self {
        let mut world = World::with_commit();
        world.write("app.py", APP);
        world.write("prompts/x.md", "Be kind.\n");
        world.commit("the app");
        let src = world.base().join("home/src");
        std::fs::create_dir(&src).unwrap();
        std::os::unix::fs::symlink(world.repo(), src.join("my-app")).unwrap();
        let bin = world.base().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tracemark"), bin.join("tracemark")).unwrap();
        // What a person would see docker asked for.
        std::fs::write(bin.join("docker"), "#!/bin/sh\necho \"$@\"\n").unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bin.join("docker"), executable).unwrap();
        let path = [&bin, &environment().join("bin")].map(|dir| dir.to_str().unwrap().to_owned());
        let path = format!("{}:{}", path.join(":"), std::env::var("PATH").unwrap());
        world.set("PATH", &path);
        world.set("PYTHONPATH", root().join("python").to_str().unwrap());
        world.set("CI_ENV", bin.join("ci").to_str().unwrap());
        sqlite_store(&world.repo());
        world.tracemark(&["up"]).ok();
        Self {
            world,
            ids: Vec::new(),
            traces: Vec::new(),
        }
    }

    /// Runs the app under two versions, for documents that begin with traces.
    fn trace_twice(&mut self) {
        for prompt in ["Be kind.\n", "Be brief.\n"] {
            self.world.write("prompts/x.md", prompt);
            self.world
                .tracemark(&["exec", "--require", "--", "python", "app.py"])
                .ok();
            self.ids
                .push(self.world.tracemark(&["active"]).ok().trim().to_owned());
        }
        let query = "import sqlite3; print(*[row[0] for row in sqlite3.connect('mlflow.db').execute('SELECT request_id FROM trace_info ORDER BY timestamp_ms')])";
        let mut python = self.world.command("python3");
        let said = Said::of(&python.args(["-c", query]).output().unwrap()).ok();
        self.traces = said.split_whitespace().map(str::to_owned).collect();
    }

    /// The block with real ids where the document has examples.
    fn filled(&self, text: &str) -> String {
        let examples = [
            ("tr-0123…", &self.traces, 0),
            ("tr-4567…", &self.traces, 1),
            ("m-01ab", &self.ids, 0),
            ("m-77fe", &self.ids, 1),
        ];
        let filled = examples
            .iter()
            .fold(text.to_owned(), |text, (example, real, index)| {
                real.get(*index)
                    .map_or(text.clone(), |real| text.replace(example, real))
            });
        assert!(!filled.contains('…'), "{filled}");
        filled
    }

    fn command(&self, language: &str, text: &str) -> Command {
        let (program, arguments) = match language {
            "sh" => ("sh", vec!["-e", "-c", text]),
            "python" => ("python", vec!["-c", text]),
            other => panic!("no program for {other:?}"),
        };
        let mut command = self.world.command(program);
        // A terminal of its own makes nobody wait for a pager.
        command.args(arguments).env("GIT_PAGER", "cat");
        command
    }

    fn says(&self, command: &mut Command, wanted: &str, text: &str) {
        let said = Said::of(&command.output().unwrap());
        let id = self.world.tracemark(&["active"]).ok();
        let wanted = wanted.replace("{id}", id.trim());
        assert!(
            said.stdout.contains(&wanted),
            "{text}\n{said:?}\nnot {wanted}"
        );
        said.ok();
    }

    fn has_settings(&self, in_repository: bool, text: &str) {
        if in_repository {
            self.world.write(".tracemark.toml", text);
        } else {
            let dir = self.world.base().join("home/.config/tracemark");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("config.toml"), text).unwrap();
        }
        let said = self.world.tracemark(&["config", "show"]);
        assert_eq!(said.stderr, "", "{text}");
        for value in text.lines().filter_map(|line| line.split(" = ").nth(1)) {
            let value = value.split(" #").next().unwrap().trim().trim_matches('"');
            assert!(said.stdout.contains(value), "{value}: {said:?}");
        }
        if in_repository {
            self.world.tracemark(&["up"]).ok();
            self.world.tracemark(&["active"]).ok();
        } else {
            std::fs::remove_file(self.world.base().join("home/.config/tracemark/config.toml"))
                .unwrap();
        }
    }

    fn compose(&self, wanted: &str, text: &str) {
        self.world.write("../compose.yaml", text);
        let run = "import os, subprocess, sys, yaml
service, = yaml.safe_load(open('../compose.yaml'))['services'].values()
assert service['volumes'] == ['.:' + service['working_dir']]
sys.exit(subprocess.run(service['command']).returncode)";
        self.says(&mut self.command("python", run), wanted, text);
        self.says(&mut self.command("python", run), "{id}", text);
    }

    fn launch(&self, text: &str) {
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let env_file = file["configurations"][0]["envFile"].as_str().unwrap();
        let env_file = env_file.replace("${workspaceFolder}", self.world.repo().to_str().unwrap());
        let id = self.world.tracemark(&["active"]).ok();
        let line = format!("MLFLOW_ACTIVE_MODEL_ID={}", id.trim());
        assert!(std::fs::read_to_string(env_file).unwrap().contains(&line));
    }

    fn read(&self, block: &Block) {
        let text = self.filled(&block.text);
        match how(block).unwrap() {
            Says(wanted) => self.says(&mut self.command(&block.language, &text), wanted, &text),
            File(name) => self.world.write(name, text),
            Settings(in_repository) => self.has_settings(in_repository, &text),
            Compose(wanted) => self.compose(wanted, &text),
            Launch => self.launch(&text),
            By(_) | Not(_) => {}
        }
    }
}

fn read(documents: &[&str]) {
    for document in documents {
        let mut reader = Reader::new();
        let blocks: Vec<_> = blocks()
            .into_iter()
            .filter(|block| block.document == *document)
            .collect();
        let run = |block: &&Block| !matches!(how(block), Some(By(_) | Not(_)));
        if blocks
            .iter()
            .filter(run)
            .any(|block| block.text.contains('…') || block.text.contains("m-01ab"))
        {
            reader.trace_twice();
        }
        for block in blocks.iter().filter(run) {
            reader.read(block);
        }
    }
}

const TOGETHER: [&str; 5] = [
    "docs/env-file.md",
    "docs/prompt.md",
    "docs/python.md",
    "docs/snapshots.md",
    "docs/troubleshooting.md",
];
const ALONE: [&str; 4] = [
    "README.md",
    "docs/getting-started.md",
    "docs/guide-steps.md",
    "docs/teams-and-ci.md",
];

#[test]
fn the_blocks_of_the_readme_do_what_they_say() {
    read(&ALONE[..1]);
}

#[test]
fn the_blocks_for_an_app_of_ones_own_do_what_they_say() {
    read(&ALONE[1..2]);
}

#[test]
fn the_steps_of_the_guide_do_what_they_say() {
    read(&ALONE[2..3]);
}

#[test]
fn the_blocks_for_teams_do_what_they_say() {
    read(&ALONE[3..]);
}

#[test]
fn the_blocks_of_the_other_documents_do_what_they_say() {
    read(&TOGETHER);
    let read: BTreeSet<_> = ALONE.iter().chain(&TOGETHER).collect();
    for (document, _, how) in BLOCKS {
        let is_run = !matches!(how, By(_) | Not(_));
        assert!(!is_run || read.contains(document), "{document} is not read");
    }
}

#[test]
fn every_test_that_the_table_of_threats_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/reliability.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let missing: Vec<_> = rows
        .flat_map(|row| {
            row.rsplit('|')
                .nth(1)
                .unwrap()
                .split('`')
                .skip(1)
                .step_by(2)
        })
        .filter(|name| !is_a_test(root, name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(text.matches("::").count() > 100, "the table is not read");
}

/// `module::name`, `src/file.rs: name`, or `host: check`.
fn is_a_test(root: &Path, name: &str) -> bool {
    if let Some(check) = name.strip_prefix("host: ") {
        return root.join(format!("tests/host/checks/{check}.sh")).exists();
    }
    let (file, test) = if let Some((file, test)) = name.split_once(": ") {
        (file.to_owned(), test)
    } else {
        let (module, test) = name.rsplit_once("::").unwrap();
        (format!("tests/it/{}.rs", module.replace("::", "/")), test)
    };
    let code = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    let (before, _) = code.split_once(&format!("fn {test}()")).unwrap_or_default();
    let above = before.rsplit("\n\n").next().unwrap();
    above.contains("#[test]") || above.contains("#[tokio::test]")
}
