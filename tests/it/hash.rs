//! Is `tracemark hash` the guide's hash, byte for byte, in every state?

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use serde_json::Value;

use crate::identity::oracle;
use crate::world::{Said, World};

const PLAIN: &str = include_str!("../data/vectors-plain.json");
const ODD: &str = include_str!("../data/vectors-odd.json");

#[test]
fn it_equals_the_guides_helper_in_every_ordinary_state() {
    check_vectors(PLAIN);
}

#[test]
fn it_equals_the_guides_helper_in_every_odd_state() {
    check_vectors(ODD);
}

#[test]
fn the_oracles_of_these_tests_give_the_recorded_answers() {
    for text in [PLAIN, ODD] {
        let document: Value = serde_json::from_str(text).unwrap();
        for vector in document["vectors"].as_array().unwrap().iter().step_by(5) {
            let state = State::build(&document["env"], &vector["ops"]);
            let caller = |program: &str| state.command_of(vector, program);
            let tree = oracle::tree(&caller).map(|tree| tree.id);
            for (name, answer) in [("helper", oracle::git_hash(&caller)), ("tree", tree)] {
                let recorded = vector[name]["value"].as_str();
                let seed = &vector["seed"];
                assert_eq!(answer.as_deref().ok(), recorded, "seed {seed} {name}");
            }
        }
    }
}

#[test]
fn it_equals_an_independent_reading_of_the_same_rules_while_a_person_works() {
    let world = World::with_commit();
    let steps: [&dyn Fn(); 6] = [
        &|| world.write("app.py", "print('changed')\n"),
        &|| world.write("new file.py", "x = 1\n"),
        &|| drop(world.git(&["add", "app.py"])),
        &|| world.write("app.py", "print('changed twice')\r\n"),
        &|| drop(world.git(&["mv", "app.py", "renamed.py"])),
        &|| world.commit("second"),
    ];
    for step in steps {
        step();
        let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/git_helper.py");
        let expected = Said::of(&world.command("python3").arg(helper).output().unwrap()).ok();
        assert_eq!(world.tracemark(&["hash"]).ok(), expected);
    }
}

#[test]
fn it_names_the_commit_and_the_model_that_each_naming_gives() {
    let world = World::with_commit();
    let head = world.git(&["rev-parse", "HEAD"]);
    let tree = world.git(&["rev-parse", "HEAD^{tree}"]);
    let hash = |arguments: &[&str]| world.tracemark(arguments).ok().trim().to_owned();
    assert_eq!(hash(&["hash"]), head);
    assert_eq!(hash(&["hash", "--naming", "commit"]), head);
    assert_eq!(hash(&["hash", "--naming", "tree"]), tree);
    assert_eq!(
        hash(&["hash", "--naming", "commit", "--name"]),
        format!("repo-git-{}", &head[..8])
    );
    assert_eq!(
        hash(&["hash", "--naming", "tree", "--name", "--app", "my.app"]),
        format!("my-app-tree-{}", &tree[..12])
    );
}

#[test]
fn the_guides_fallback_name_is_given_outside_git() {
    let world = World::without_repository();
    let said = world.tracemark(&["hash", "--naming", "commit", "--name", "--app", "shop"]);
    assert_eq!(said.ok(), "shop-local-dev\n");
}

#[test]
fn two_edits_inside_a_dirty_submodule_are_two_contents() {
    let world = World::with_commit();
    world.add_submodule();
    world.commit("with submodule");
    let name = || {
        world
            .tracemark(&["hash", "--naming", "tree", "--name"])
            .ok()
    };
    let clean = name();
    world.write("sub/file", "one");
    let first = name();
    world.write("sub/file", "two");
    let second = name();
    assert!(clean != first && first != second && clean != second);
}

#[test]
fn asking_writes_nothing_into_the_git_directory() {
    let world = World::with_commit();
    world.write("touched.py", "same\n");
    world.commit("second");
    world.git(&["repack", "-adq"]);
    world.write("app.py", "print('changed')\n");
    touch(&world.repo().join("touched.py"), "1600000000");
    let before = world.files_with_times(".git");
    for naming in ["git-hash", "commit", "tree"] {
        world.tracemark(&["hash", "--naming", naming]).ok();
        assert_eq!(world.files_with_times(".git"), before, "{naming}");
    }
}

#[test]
fn a_temporary_directory_inside_the_worktree_is_no_part_of_the_code() {
    let mut world = World::with_commit();
    let inside = world.repo().join("tmp");
    std::fs::create_dir(&inside).unwrap();
    let before = world.tracemark(&["hash", "--naming", "tree"]).ok();
    world.set("TMPDIR", inside.to_str().unwrap());
    assert_eq!(world.tracemark(&["hash", "--naming", "tree"]).ok(), before);
}

fn check_vectors(text: &str) {
    let document: Value = serde_json::from_str(text).unwrap();
    let git = Said::of(&Command::new("git").arg("--version").output().unwrap()).ok();
    assert!(git.starts_with("git version "), "{git}");
    let vectors = document["vectors"].as_array().unwrap();
    let failures: Vec<String> = vectors
        .iter()
        .filter_map(|vector| check_vector(&document["env"], vector).err())
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        vectors.len(),
        failures.join("\n")
    );
}

fn check_vector(env: &Value, vector: &Value) -> Result<(), String> {
    let state = State::build(env, &vector["ops"]);
    for (oracle, arguments) in [
        ("helper", &["hash"][..]),
        ("tree", &["hash", "--naming", "tree"]),
    ] {
        let mut command = state.command_of(vector, env!("CARGO_BIN_EXE_tracemark"));
        let said = Said::of(&command.args(arguments).output().unwrap());
        let right = match vector[oracle]["value"].as_str() {
            Some(expected) => said.code == Some(0) && said.stdout.trim_end() == expected,
            None => said.code == Some(1) || said.code == Some(4),
        };
        if !right {
            return Err(format!(
                "seed {} {oracle}: {:?}, not {}",
                vector["seed"], said, vector[oracle]
            ));
        }
    }
    Ok(())
}

/// A state built in a directory of its own.
struct State {
    base: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl State {
    fn build(env: &Value, operations: &Value) -> Self {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(base.path().join("home")).unwrap();
        std::fs::create_dir_all(base.path().join("repo")).unwrap();
        std::fs::write(base.path().join("home/gitconfig"), "").unwrap();
        let root = base.path().to_str().unwrap().to_owned();
        let env = env
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| {
                (
                    name.clone(),
                    value.as_str().unwrap().replace("${BASE}", &root),
                )
            })
            .collect();
        let state = Self { base, env };
        for operation in operations.as_array().unwrap() {
            state.apply(operation);
        }
        state
    }

    fn repo(&self) -> PathBuf {
        self.base.path().join("repo")
    }

    /// A path below the repository: text, or base64 of bytes.
    fn path(&self, value: &Value) -> PathBuf {
        match value.as_str() {
            Some(text) => self.repo().join(text),
            None => self
                .repo()
                .join(OsStr::from_bytes(&decode(&value["base64"]))),
        }
    }

    fn command(&self, program: &str, extra: &Value) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(&self.env)
            .current_dir(self.repo())
            .stdin(Stdio::null());
        for (name, value) in extra.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            command.env(
                name,
                value.replace("${BASE}", self.base.path().to_str().unwrap()),
            );
        }
        command
    }

    /// A command where, and with the environment in which, a vector's identity is asked for.
    fn command_of(&self, vector: &Value, program: &str) -> Command {
        let mut command = self.command(program, &vector["run"]["env"]);
        command.current_dir(self.path(&vector["run"]["cwd"]));
        command
    }

    fn apply(&self, operation: &Value) {
        let has = |kind: &str| operation.get(kind);
        if let Some(path) = has("write") {
            write(&self.path(path), operation);
        } else if let Some(path) = has("retime") {
            retime(&self.path(path), operation);
        } else if let Some(path) = has("remove") {
            remove(&self.path(path));
        } else if let Some(path) = has("mkdir") {
            std::fs::create_dir_all(self.path(path)).unwrap();
        } else if let Some(path) = has("symlink") {
            symlink(&self.path(path), &operation["target"]);
        } else if let Some(path) = has("chmod") {
            let mode = u32::from_str_radix(operation["mode"].as_str().unwrap(), 8).unwrap();
            std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode))
                .unwrap();
        } else if let Some(path) = has("rename") {
            let to = self.path(&operation["to"]);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::rename(self.path(path), to).unwrap();
        } else if let Some(path) = has("utime") {
            touch(&self.path(path), &operation["mtime"].to_string());
        } else if let Some(path) = has("fifo") {
            let made = Command::new("mkfifo")
                .arg(self.path(path))
                .status()
                .unwrap();
            assert!(made.success());
        } else if let Some(path) = has("socket") {
            drop(std::os::unix::net::UnixListener::bind(self.path(path)).unwrap());
        } else if has("git").is_some() {
            self.git(operation);
        } else if has("age").is_some() {
            self.age();
        } else if let Some(seconds) = has("sleep") {
            std::thread::sleep(Duration::from_secs_f64(seconds.as_f64().unwrap()));
        } else {
            panic!("unknown operation {operation}");
        }
    }

    fn git(&self, operation: &Value) {
        let arguments = operation["git"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| match argument.as_str() {
                Some(text) => text
                    .replace("${BASE}", self.base.path().to_str().unwrap())
                    .into_bytes(),
                None => decode(&argument["base64"]),
            });
        let mut command = self.command("git", &Value::Null);
        if let Some(cwd) = operation.get("cwd") {
            command.current_dir(self.path(cwd));
        }
        for argument in arguments {
            command.arg(OsStr::from_bytes(&argument));
        }
        let input = operation
            .get("stdin_base64")
            .map(decode)
            .unwrap_or_default();
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let fed = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &input));
        let output = child.wait_with_output().unwrap();
        drop(fed.join());
        let may_fail = operation.get("may_fail").is_some();
        assert!(
            may_fail || output.status.success(),
            "{operation}: {output:?}"
        );
    }

    fn age(&self) {
        let listed = self
            .command("git", &Value::Null)
            .args(["ls-files", "-z"])
            .output()
            .unwrap();
        for path in listed
            .stdout
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
        {
            let path = self.repo().join(OsStr::from_bytes(path));
            if path.symlink_metadata().is_ok() {
                touch(&path, "1600000000");
            }
        }
        let refreshed = self
            .command("git", &Value::Null)
            .args(["update-index", "-q", "--refresh"])
            .status();
        assert!(refreshed.unwrap().code().is_some());
    }
}

fn write(path: &Path, operation: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content(operation)).unwrap();
}

fn symlink(path: &Path, target: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.symlink_metadata().is_ok() {
        std::fs::remove_file(path).unwrap();
    }
    let target = match target.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => decode(&target["base64"]),
    };
    std::os::unix::fs::symlink(OsStr::from_bytes(&target), path).unwrap();
}

fn retime(path: &Path, operation: &Value) {
    let before = path.metadata().unwrap().modified().unwrap();
    write(path, operation);
    set_mtime(path, before);
}

fn content(operation: &Value) -> Vec<u8> {
    match operation["content"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => decode(&operation["content_base64"]),
    }
}

fn decode(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(value.as_str().unwrap())
        .unwrap()
}

/// Sets the mtime of a path itself, in seconds.
fn touch(path: &Path, seconds: &str) {
    let mut command = Command::new("touch");
    command
        .args(["-h", "-m", "-d", &format!("@{seconds}"), "--"])
        .arg(path);
    assert!(command.status().unwrap().success());
}

fn set_mtime(path: &Path, time: SystemTime) {
    let file = std::fs::File::open(path).unwrap();
    file.set_times(std::fs::FileTimes::new().set_modified(time))
        .unwrap();
}

fn remove(path: &Path) {
    if path.symlink_metadata().unwrap().is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_worktree_of_which_a_sparse_checkout_hides_every_file_has_no_tree_id() {
    let world = World::with_commit();
    world.git(&["sparse-checkout", "set", "--no-cone", "/nothing"]);
    let said = world.tracemark(&["hash", "--naming", "tree"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("hides every file"), "{}", said.stderr);
}

#[test]
fn rules_in_settings_that_git_is_told_not_to_read_hide_nothing() {
    let world = World::with_commit();
    let rules = world.base().join("rules");
    std::fs::write(&rules, "*.log\n").unwrap();
    let name = ["core.excludesFile", rules.to_str().unwrap()];
    world.git(&["config", "--global", name[0], name[1]]);
    world.write("new.log", "x\n");
    let hash = |value: Option<&str>| {
        let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
        command.arg("hash").current_dir(world.repo());
        if let Some(value) = value {
            command.env("GIT_CONFIG_GLOBAL", value);
        }
        Said::of(&command.output().unwrap()).ok()
    };
    let head = world.git(&["rev-parse", "HEAD"]);
    assert_eq!(hash(None).trim(), head.trim());
    assert!(hash(Some("/dev/null")).contains("-dirty-"));
}

#[test]
fn a_git_that_reads_the_settings_of_another_place_is_asked() {
    let mut world = World::with_commit();
    let rules = world.base().join("rules");
    std::fs::write(&rules, "*.log\n").unwrap();
    let setting = format!("[core]\n\texcludesFile = {}\n", rules.display());
    let settings = world.base().join("gitconfig");
    std::fs::write(&settings, setting).unwrap();
    // As a git is that was built with another prefix.
    let script = format!("export GIT_CONFIG_SYSTEM='{}'\n", settings.display());
    world.put_before_git(&script);
    world.write("new.log", "x\n");
    let head = world.git(&["rev-parse", "HEAD"]);
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    command.env_remove("GIT_CONFIG_NOSYSTEM");
    let said = Said::of(&command.arg("hash").output().unwrap()).ok();
    assert_eq!(said.trim(), head.trim());
}

#[test]
fn a_truth_value_that_git_refuses_is_refused() {
    let world = World::with_commit();
    for name in ["GIT_OPTIONAL_LOCKS", "GIT_CONFIG_NOSYSTEM"] {
        for (value, code) in [("foo", 1), ("1", 0), ("no", 0)] {
            let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
            command.args(["hash"]).env(name, value);
            let said = Said::of(&command.output().unwrap());
            assert_eq!(said.code, Some(code), "{name}={value}: {}", said.stderr);
        }
    }
}

#[test]
fn a_full_or_missing_place_for_temporary_files_is_passed_over() {
    let world = World::with_commit();
    world.write("app.py", "print('changed')\n");
    world.git(&["add", "app.py"]);
    let hash = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
        command.args(arguments).envs(variables.iter().copied());
        Said::of(&command.output().unwrap()).ok()
    };
    // No file can be made in the first, nothing written to the second.
    for place in ["/proc/self", "/dev/full", "/nonexistent", ""] {
        for arguments in [&["hash"][..], &["hash", "--naming", "tree"]] {
            let before = world.files_with_times(".git");
            let there = hash(arguments, &[("TMPDIR", place)]);
            assert_eq!(there, hash(arguments, &[]), "{place}");
            assert_eq!(world.files_with_times(".git"), before, "{place}");
        }
    }
}

#[test]
fn where_head_names_no_ref_there_is_no_repository_as_for_git() {
    let world = World::with_commit();
    let git_dir = world.repo().join(".git");
    std::fs::write(git_dir.join("FOO"), world.git(&["rev-parse", "HEAD"])).unwrap();
    std::fs::write(git_dir.join("HEAD"), "ref: FOO\n").unwrap();
    world.tracemark(&["hash"]).failed(4, "not a git repository");
}

#[test]
fn an_app_without_a_name_is_refused() {
    let world = World::with_commit();
    for naming in ["commit", "tree"] {
        let arguments = ["hash", "--naming", naming, "--name", "--app", " "];
        world.tracemark(&arguments).failed(2, "an app has a name");
    }
}
