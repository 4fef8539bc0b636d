//! Does everything in a store that refers to a version lead to its code and keep it from being removed?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::python::{look, run_script, server, sqlite_store, support};
use crate::world::{Said, World, wait_until};

/// The ways of `tests/support/refer.py`.
const WAYS: [&str; 13] = [
    "trace",
    "trashed_trace",
    "run_input",
    "run_output",
    "deleted_run",
    "resumed_run",
    "metric",
    "registered",
    "untagged",
    "by_place",
    "prompt",
    "tagged",
    "described",
];

/// A tracked repository, and a version for each text of `app.py`.
struct Past {
    world: World,
    store: String,
    experiment: String,
}

impl Past {
    fn new(world: World, store: &str, experiment: &str) -> Self {
        world
            .tracemark(&["up", "--store", store, "--experiment", experiment])
            .ok();
        Self {
            world,
            store: store.to_owned(),
            experiment: experiment.to_owned(),
        }
    }

    fn told(&self, arguments: &[&str]) -> String {
        self.world.tracemark(arguments).ok()
    }

    fn version(&self, text: &str) -> String {
        self.world.write("app.py", format!("print({text:?})\n"));
        self.told(&["active"]).trim().to_owned()
    }

    /// Has MLflow's own client refer to LoggedModels; returns what each way made.
    fn refer(&self, ways: &BTreeMap<&str, String>) -> Value {
        let mut env = self.world.vars().clone();
        env.insert("MLFLOW_TRACKING_URI".into(), self.store.clone());
        env.insert("MLFLOW_EXPERIMENT_NAME".into(), self.experiment.clone());
        env.insert("REFER".into(), json!(ways).to_string());
        run_script(&support("refer.py"), &env, self.world.base())
    }

    /// The store as the product opens it, and what runs its questions.
    fn opened(&self) -> (tokio::runtime::Runtime, tracemark::mlflow::Store) {
        use tracemark::mlflow::{Access, Store, StoreUri};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let uri = StoreUri::parse(&self.store, self.world.base()).unwrap();
        let store = Store::open(&uri, &Access::default()).unwrap();
        (runtime.unwrap(), store)
    }

    fn exists(&self, model: &str) -> bool {
        let id = look(&self.store, &["experiment", &self.experiment])["experiment_id"].clone();
        let models = look(&self.store, &["models", id.as_str().unwrap()]);
        let mut models = models.as_array().unwrap().iter();
        models.any(|one| one["model_id"] == model)
    }
}

fn only_what_nothing_refers_to_goes(past: &Past) {
    let ways: BTreeMap<_, _> = WAYS.map(|way| (way, past.version(way))).into();
    let unused = past.version("unused");
    let active = past.version("active");
    let made = past.refer(&ways);

    let listed = past.told(&["gc", "--keep", "0s"]);
    assert!(listed.contains(&unused), "{listed}");
    for (way, model) in ways.iter().chain([(&"active", &active)]) {
        assert!(!listed.contains(model), "{way} in {listed}");
    }
    let removed = past.told(&["gc", "--keep", "0s", "--yes"]);
    assert!(removed.contains("removed 1 LoggedModels"), "{removed}");
    assert!(!past.exists(&unused));
    for (way, model) in &ways {
        assert!(past.exists(model), "{way}: {made}");
    }

    let trace = made["trace"].as_str().unwrap();
    let shown = past.told(&["show", trace]);
    assert!(
        shown.contains(&ways["trace"]) && shown.contains("1 traces, 0 runs"),
        "{shown}"
    );
    let shown = past.told(&["show", &ways["run_input"]]);
    assert!(shown.contains("0 traces, 1 runs"), "{shown}");
    past.told(&["restore", trace, "../then"]);
    let restored = std::fs::read_to_string(past.world.base().join("then/app.py")).unwrap();
    assert_eq!(restored, "print(\"trace\")\n");
    let short = &ways["trace"][..10];
    wait_until("the store counts traces in time", || {
        let listed = past.told(&["log"]);
        let mut lines = listed.lines();
        let counted = lines.any(|line| line.contains(short) && line.contains("1 trace"));
        counted.then_some(())
    });
}

#[test]
fn on_a_server_every_kind_of_reference_keeps_a_version_and_leads_to_its_code() {
    let past = Past::new(World::with_commit(), server(), "references");
    only_what_nothing_refers_to_goes(&past);
}

#[test]
fn on_mlflows_sqlite_file_every_kind_of_reference_keeps_a_version_and_leads_to_its_code() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    only_what_nothing_refers_to_goes(&Past::new(world, &store, "references"));
}

/// Another person's clone, with another home and another ledger.
fn clone_of(origin: &World) -> World {
    let world = World::without_repository();
    let (from, to) = (origin.repo(), world.repo());
    world.git(&["clone", "-q", from.to_str().unwrap(), to.to_str().unwrap()]);
    world
}

/// What another machine made.
struct Theirs {
    /// Not committed when its trace was made, committed later.
    committed: String,
    trace: String,
    /// HEAD at that time.
    first: String,
    never: String,
    /// A clean version whose commit was replaced by another with the same code.
    replaced: String,
    amended: String,
}

fn made_by(theirs: &Past) -> Theirs {
    let head = || theirs.world.git(&["rev-parse", "HEAD"]);
    let committed = theirs.version("soon committed");
    let never = theirs.version("never committed");
    let made = theirs.refer(&WAYS.map(|way| (way, committed.clone())).into());
    let first = head();
    theirs.world.write("app.py", "print(\"soon committed\")\n");
    theirs.world.commit("what was traced");
    theirs.world.write("new.py", "new\n");
    theirs.world.commit("as it was first");
    let replaced = theirs.told(&["active"]).trim().to_owned();
    let amend = ["commit", "-q", "--amend", "-m", "as it is now"];
    theirs.world.git(&amend);
    Theirs {
        committed,
        trace: made["trace"].as_str().unwrap().to_owned(),
        first,
        never,
        replaced,
        amended: head(),
    }
}

fn what_another_machine_made_is_found_by_its_code(store: &str, experiment: &str) {
    let theirs = Past::new(World::with_commit(), store, experiment);
    let ours = Past::new(clone_of(&theirs.world), store, experiment);
    let Theirs {
        committed,
        trace,
        first,
        never,
        replaced,
        amended,
    } = made_by(&theirs);
    let trace = trace.as_str();

    let shown = ours.told(&["show", &never]);
    assert!(shown.contains("not kept on this machine"), "{shown}");
    ours.world
        .tracemark(&["restore", trace, "../early"])
        .failed(1, "not kept on this machine");
    ours.world.git(&["fetch", "-q"]);

    let shown = ours.told(&["show", trace]);
    assert!(shown.contains(&committed), "{shown}");
    assert!(
        shown.contains("what was traced") && shown.contains("M app.py"),
        "{shown}"
    );
    let said = ours.told(&["restore", trace, "../traced"]);
    assert!(
        said.contains(&first[..12]),
        "at the version's own commit: {said}"
    );
    let at = |dir: &str, file: &str| {
        std::fs::read_to_string(ours.world.base().join(dir).join(file)).unwrap()
    };
    assert_eq!(at("traced", "app.py"), "print(\"soon committed\")\n");
    assert_eq!(
        ours.world
            .git(&["-C", "../traced", "status", "--porcelain"]),
        "M app.py"
    );
    assert_eq!(
        ours.told(&["show", &format!("{trace}:app.py")]),
        "print(\"soon committed\")\n"
    );
    assert!(
        ours.told(&["diff", trace, "HEAD"])
            .contains("-print(\"soon committed\")")
    );
    let said = ours.told(&["restore", &replaced, "../replaced"]);
    assert!(said.contains(&amended[..12]), "{said}");
    assert_eq!(at("replaced", "new.py"), "new\n");
    assert_eq!(
        ours.world
            .git(&["-C", "../replaced", "status", "--porcelain"]),
        ""
    );
    ours.world
        .tracemark(&["restore", &never, "../never"])
        .failed(1, "not kept on this machine");

    // None of it is ours to remove.
    let listed = ours.told(&["gc", "--keep", "0s"]);
    assert!(!listed.contains("LoggedModel "), "{listed}");
}

fn what_another_machine_uses_is_not_removed(store: &str, experiment: &str) {
    let maker = Past::new(World::with_commit(), store, experiment);
    let user = Past::new(clone_of(&maker.world), store, experiment);
    let (alone, together) = (maker.version("alone"), maker.version("together"));
    maker.version("later");
    assert_eq!(user.version("together"), together);
    // The tag is set once the id is out.
    wait_until("the maker hears of it", || {
        let listed = maker.told(&["gc", "--keep", "0s"]);
        assert!(listed.contains(&alone), "{listed}");
        (!listed.contains(&together)).then_some(())
    });
    maker.told(&["gc", "--keep", "0s", "--yes"]);
    assert!(maker.exists(&together) && !maker.exists(&alone));
}

#[test]
fn a_second_clone_on_this_machine_shows_its_versions_and_keeps_them_from_the_first() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let first = Past::new(world, &store, "clones");
    let second = first.world.base().join("second");
    first
        .world
        .git(&["clone", "-q", ".", second.to_str().unwrap()]);
    let there = |arguments: &[&str]| {
        let mut command = first.world.command(env!("CARGO_BIN_EXE_tracemark"));
        command.args(arguments).current_dir(&second);
        Said::of(&command.output().unwrap()).ok()
    };
    there(&["up", "--store", &store, "--experiment", "clones"]);
    let shared = first.version("shared");
    std::fs::write(second.join("app.py"), "print(\"shared\")\n").unwrap();
    assert_eq!(there(&["active"]).trim(), shared);
    wait_until("the second clone lists it", || {
        there(&["log", "--json"]).contains(&shared).then_some(())
    });
    first.version("later");
    let listed = first.told(&["gc", "--keep", "0s"]);
    assert!(!listed.contains(&shared), "{listed}");
    there(&["down"]);
    std::fs::remove_dir_all(&second).unwrap();
    let listed = first.told(&["gc", "--keep", "0s"]);
    assert!(listed.contains(&shared), "{listed}");
}

#[test]
fn a_version_that_was_active_lately_is_not_old_however_long_ago_it_was_made() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "used");
    let used = past.version("used");
    past.version("other");
    let ledger = past.world.state_dir().join("ledger.sqlite");
    let code = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('UPDATE history SET at_ms = 1, used_ms = 0'); db.commit()";
    let aged = past
        .world
        .command("python3")
        .args(["-c", code])
        .arg(ledger)
        .output();
    Said::of(&aged.unwrap()).ok();
    let listed = past.told(&["gc", "--keep", "1h"]);
    assert!(listed.contains(&used), "{listed}");
    assert_eq!(past.version("used"), used);
    past.version("other");
    wait_until("it counts as used", || {
        let listed = past.told(&["gc", "--keep", "1h"]);
        (!listed.contains(&used)).then_some(())
    });
}

#[test]
fn of_a_submodule_what_changed_in_it_is_shown_and_nothing_else() {
    let world = World::with_commit();
    world.add_submodule();
    world.write("zapp.py", "print(1)\n");
    world.commit("with submodule");
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "submodule");
    let shown = |past: &Past, id: &str| {
        wait_until("it is kept", || {
            (past.world.status()["restorable"] == "true").then_some(())
        });
        let shown: Value = serde_json::from_str(&past.told(&["show", id, "--json"])).unwrap();
        shown["changed"].clone()
    };
    past.world.write("zapp.py", "print(2)\n");
    let id = past.told(&["active"]).trim().to_owned();
    assert_eq!(shown(&past, &id), json!(["M zapp.py"]));
    past.world.write("sub/new.py", "print(3)\n");
    let id = past.told(&["active"]).trim().to_owned();
    assert_eq!(shown(&past, &id), json!(["M zapp.py", "A sub/new.py"]));
    past.world.git(&["-C", "sub", "add", "-A"]);
    past.world.git(&["-C", "sub", "commit", "-q", "-m", "more"]);
    let id = past.told(&["active"]).trim().to_owned();
    assert_eq!(shown(&past, &id), json!(["M zapp.py", "M sub"]));
}

#[test]
fn a_commit_of_ones_own_comes_back_from_the_repository_where_no_snapshot_is_kept() {
    let world = World::with_commit();
    let settings = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::write(
        settings.join("config.toml"),
        "[snapshots]\nenabled = false\n",
    )
    .unwrap();
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "not_kept");
    let id = past.told(&["active"]).trim().to_owned();
    for (n, what) in ["HEAD", &id].into_iter().enumerate() {
        past.told(&["restore", what, &format!("../back{n}")]);
        let file = past.world.base().join(format!("back{n}/app.py"));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "print('hello')\n");
    }
    assert_eq!(past.told(&["show", "HEAD:app.py"]), "print('hello')\n");
}

#[test]
fn under_commit_naming_every_state_that_was_seen_is_kept() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world
        .tracemark(&["up", "--store", &store, "--naming", "commit"])
        .ok();
    let mut states = Vec::new();
    for text in ["one", "two", "three"] {
        world.write("app.py", format!("print({text:?})\n"));
        world.tracemark(&["active"]).ok();
        let content = world.tracemark(&["hash", "--naming", "tree"]).ok();
        states.push((content.trim().to_owned(), text));
        wait_until("it is kept", || {
            (world.status()["restorable"] == "true").then_some(())
        });
    }
    for (content, text) in states {
        let shown = world.tracemark(&["show", &format!("{content}:app.py")]);
        assert_eq!(shown.ok(), format!("print({text:?})\n"));
    }
}

#[test]
fn what_this_machine_made_is_its_own_also_for_a_later_daemon() {
    let past = Past::new(World::with_commit(), server(), "own");
    let own = past.version("own");
    past.told(&["params", "show"]);
    past.world.kill_daemon();
    assert_eq!(past.told(&["active"]).trim(), own);
    past.told(&["params", "show"]);
    past.version("later");
    let listed = past.told(&["gc", "--keep", "0s"]);
    assert!(listed.contains(&own), "{listed}");
}

#[test]
fn on_a_server_what_another_machine_uses_is_not_removed() {
    what_another_machine_uses_is_not_removed(server(), "shared");
}

#[test]
fn on_mlflows_sqlite_file_what_another_machine_uses_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    what_another_machine_uses_is_not_removed(&sqlite_store(dir.path()), "shared");
}

#[test]
fn on_a_server_what_another_machine_made_is_found_by_its_code() {
    what_another_machine_made_is_found_by_its_code(server(), "two_machines");
}

#[test]
fn on_mlflows_sqlite_file_what_another_machine_made_is_found_by_its_code() {
    let dir = tempfile::tempdir().unwrap();
    what_another_machine_made_is_found_by_its_code(&sqlite_store(dir.path()), "two_machines");
}

impl Past {
    fn limits(&self, text: &str) {
        self.settings(&format!("[snapshots]\n{text}\n"));
    }

    /// What the LoggedModel itself says of its code.
    fn says(&self, model: &str) -> String {
        let model = look(&self.store, &["model", model]);
        let said = &model["tags"]["tracemark.restorable"];
        said.as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn comes_to_say(&self, model: &str, said: &str) {
        wait_until("the LoggedModel says how its code is kept", || {
            (self.says(model) == said).then_some(())
        });
    }
}

fn past_in_a_file() -> Past {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    Past::new(world, &store, "Default")
}

#[test]
fn a_version_that_could_not_be_kept_says_so_until_it_is() {
    let past = past_in_a_file();
    past.limits("quota = \"100B\"");
    let first = past.version("first");
    past.comes_to_say(&first, "false");
    let status = past.world.status();
    assert_eq!(status["restorable"], "false", "{status}");
    let why = status["not_kept"].as_str().unwrap();
    assert!(why.contains("quota of 100 bytes"), "{why}");
    let text = past.told(&["status"]);
    assert!(
        text.contains("kept    no: the snapshots have reached"),
        "{text}"
    );
    assert!(past.told(&["show", &first]).contains("no: its code"));

    past.limits("quota = \"1GiB\"");
    past.version("second");
    assert_eq!(past.version("first"), first);
    past.comes_to_say(&first, "true");
    assert!(past.told(&["show", &first]).contains("yes, every file"));
    let status = past.world.status();
    assert_eq!(status["restorable"], "true", "{status}");
    assert_eq!(status["not_kept"], Value::Null, "{status}");
    assert!(!past.told(&["status"]).contains("kept "));

    past.world.write(".env", "TOKEN=1\n");
    let partly = past.told(&["active"]).trim().to_owned();
    past.comes_to_say(&partly, "partial");
    let text = past.told(&["status"]);
    let why = "kept    in part: 1 file is not kept: .env (looks like a secret)";
    assert!(text.contains(why), "{text}");
}

#[test]
fn a_version_whose_snapshot_is_removed_says_so_and_stays_where_it_cannot() {
    let past = past_in_a_file();
    let [first, second] = ["first", "second"].map(|text| past.version(text));
    let last = past.version("last");
    for model in [&first, &second, &last] {
        past.comes_to_say(model, "true");
    }
    past.limits("keep = \"0s\"");
    let file = past.world.base().join("mlflow.db");
    let away = past.world.base().join("away.db");
    std::fs::rename(&file, &away).unwrap();
    let said = past.world.tracemark(&["gc", "--yes"]);
    assert!(said.stdout.contains("and 0 snapshots"), "{said:?}");
    assert_eq!(said.code, Some(6), "{said:?}");
    std::fs::rename(&away, &file).unwrap();
    assert!(past.told(&["show", &first]).contains("yes, every file"));

    past.told(&["gc", "--yes"]);
    for (model, said) in [(&first, "false"), (&second, "false"), (&last, "true")] {
        assert_eq!(past.says(model), said);
    }
    assert!(past.told(&["show", &first]).contains("no: its code"));
    past.world
        .tracemark(&["restore", &first, "../gone"])
        .failed(1, "not kept on this machine");
    // It is kept again when it is seen again.
    assert_eq!(past.version("first"), first);
    past.comes_to_say(&first, "true");
}

/// A git on the PATH that fails as if the disk were full when it is to do that.
fn break_git(world: &mut World, subcommand: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let found = world.command("sh").args(["-c", "command -v git"]).output();
    let real = String::from_utf8(found.unwrap().stdout).unwrap();
    let bin = world.base().join(format!("without-{subcommand}"));
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nfor word; do [ \"$word\" = {subcommand} ] && echo 'fatal: no space left' >&2 && exit 128; done\nexec {} \"$@\"\n",
        real.trim()
    );
    std::fs::write(bin.join("git"), script).unwrap();
    std::fs::set_permissions(bin.join("git"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), world.vars()["PATH"]);
    world.set("PATH", &path);
}

#[test]
fn a_restore_that_fails_half_way_leaves_neither_directory_nor_worktree() {
    let mut past = past_in_a_file();
    let model = past.version("edited");
    let before = past.world.git(&["worktree", "list"]);
    for subcommand in ["read-tree", "cat-file"] {
        let path = past.world.vars()["PATH"].clone();
        break_git(&mut past.world, subcommand);
        let said = past.world.tracemark(&["restore", &model, "../half"]);
        assert_eq!(said.stdout, "", "{said:?}");
        assert_ne!(said.code, Some(0), "{said:?}");
        past.world.set("PATH", &path);
        assert!(!past.world.base().join("half").exists(), "{subcommand}");
        assert_eq!(
            past.world.git(&["worktree", "list"]),
            before,
            "{subcommand}"
        );
    }
    past.told(&["restore", &model, "../half"]);
}

impl Past {
    fn settings(&self, text: &str) {
        let dir = self.world.base().join("home/.config/tracemark");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.toml"), text).unwrap();
    }

    /// What a command prints on a terminal, and its exit code.
    fn on_a_terminal(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let mut command = self.world.command("python3");
        command.arg(support("on_a_terminal.py"));
        command.arg(env!("CARGO_BIN_EXE_tracemark"));
        let said = command.args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        (text, said.status.code())
    }
}

#[test]
fn what_was_committed_later_is_not_offered_for_removal_whatever_it_is_called() {
    let past = past_in_a_file();
    past.settings("naming = \"tree\"\n");
    let committed = past.version("soon a commit");
    past.world.commit("a commit");
    assert_eq!(past.told(&["active"]).trim(), committed);
    let unused = past.version("never a commit");
    past.version("active");
    let listed = past.told(&["gc", "--keep", "0s"]);
    assert!(listed.contains(&unused), "{listed}");
    assert!(!listed.contains(&committed), "{listed}");
    past.told(&["gc", "--keep", "0s", "--yes"]);
    assert!(past.exists(&committed) && !past.exists(&unused));
}

#[test]
fn a_restore_leaves_alone_what_git_knows_as_another_worktree() {
    let past = past_in_a_file();
    let model = past.version("edited");
    let git = |arguments: &[&str]| past.world.git(arguments);
    git(&["worktree", "add", "-q", "--detach", "../unplugged"]);
    let there = past.world.base().join("unplugged");
    std::fs::rename(&there, past.world.base().join("elsewhere")).unwrap();
    let before = git(&["worktree", "list", "--porcelain"]);
    past.world
        .tracemark(&["restore", &model, "../unplugged"])
        .failed(1, "is a linked worktree whose directory is missing");
    assert_eq!(git(&["worktree", "list", "--porcelain"]), before);
    std::fs::rename(past.world.base().join("elsewhere"), &there).unwrap();
    assert_eq!(git(&["-C", "../unplugged", "status", "--porcelain"]), "");
}

#[test]
fn whoever_leaves_the_pager_early_has_seen_a_diff_and_a_file_all_the_same() {
    let mut past = past_in_a_file();
    past.world
        .write("long.txt", "a line of a long file\n".repeat(50_000));
    let long = past.version("long");
    past.world.set("GIT_PAGER", "head -n 1");
    let (shown, code) = past.on_a_terminal(&["diff", "HEAD", &long]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let file = format!("{long}:long.txt");
    let (shown, code) = past.on_a_terminal(&["show", &file]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown.trim(), "a line of a long file");
    let whole = past.told(&["show", &file]);
    assert_eq!(whole.lines().count(), 50_000, "no pager off a terminal");
}

#[test]
fn of_traces_in_another_store_nothing_is_said() {
    let past = past_in_a_file();
    let first = past.version("first");
    past.version("met by both");
    let dir = past.world.base().join("other");
    std::fs::create_dir(&dir).unwrap();
    past.told(&["up", "--store", &sqlite_store(&dir)]);
    let second = past.version("second");
    let listed: Value = serde_json::from_str(&past.told(&["log", "--json"])).unwrap();
    let traces = |model: &str| {
        let mut versions = listed["versions"].as_array().unwrap().iter();
        versions.find(|one| one["model_id"] == model).unwrap()["traces"].clone()
    };
    assert_eq!(traces(&first), Value::Null, "{listed}");
    assert_eq!(traces(&second), json!(0), "{listed}");
}

#[test]
fn runs_of_a_slow_server_are_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut proxy = crate::proxy::Proxy::start(dir.path());
    let past = Past::new(World::with_commit(), proxy.address(), "slow_runs");
    let model = past.version("traced");
    proxy.be("slow 2");
    let shown = past.told(&["show", &model]);
    assert!(
        shown.contains("0 traces; its runs were not counted"),
        "{shown}"
    );
    let shown: Value = serde_json::from_str(&past.told(&["show", &model, "--json"])).unwrap();
    assert_eq!(shown["runs"], Value::Null, "{shown}");
    proxy.be("pass");
    let shown = past.told(&["show", &model]);
    assert!(shown.contains("0 traces, 0 runs"), "{shown}");
}

#[test]
fn a_file_whose_name_is_no_utf_8_is_shown_by_its_bytes_and_as_it_is_printed() {
    use std::os::unix::ffi::OsStringExt as _;
    let past = past_in_a_file();
    let name = std::ffi::OsString::from_vec(b"lat\xe9in.txt".to_vec());
    std::fs::write(past.world.repo().join(&name), "latin\n").unwrap();
    let model = past.version("with it");
    let shown = past.told(&["show", &model]);
    assert!(shown.contains("A lat\\xe9in.txt"), "{shown}");
    assert_eq!(
        past.told(&["show", &format!("{model}:lat\\xe9in.txt")]),
        "latin\n"
    );
    let mut command = past.world.command(env!("CARGO_BIN_EXE_tracemark"));
    let mut id = std::ffi::OsString::from(format!("{model}:"));
    id.push(&name);
    let said = command.arg("show").arg(id).output().unwrap();
    assert_eq!(said.stdout, b"latin\n", "{said:?}");
}

#[test]
fn plain_files_say_whether_that_was_asked_or_their_commit_is_gone() {
    let past = past_in_a_file();
    past.world.write("app.py", "print('amended away')\n");
    past.world.commit("to be amended");
    let head = past.world.git(&["rev-parse", "HEAD"]);
    let model = past.told(&["active"]).trim().to_owned();
    wait_until("the version is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    let said = past.told(&["restore", &model, "../asked", "--plain"]);
    let on_top = format!("plain files, as they lay on top of commit {}", &head[..12]);
    assert!(said.contains(&on_top) && !said.contains("gone"), "{said}");
    past.world
        .git(&["commit", "-q", "--amend", "-m", "amended"]);
    past.world
        .git(&["reflog", "expire", "--expire=now", "--all"]);
    past.world.git(&["gc", "-q", "--prune=now"]);
    let said = past.told(&["restore", &model, "../lost"]);
    let gone = format!("as its commit {} is gone", &head[..12]);
    assert!(said.contains(&gone), "{said}");
}

#[test]
fn a_restored_worktree_says_what_git_status_does_not_show() {
    let world = World::with_commit();
    world.add_submodule();
    world.commit("with a submodule");
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "Default");
    past.world.write("sub/changed.py", "print('inside')\n");
    let model = past.told(&["active"]).trim().to_owned();
    wait_until("the version is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    let said = past.told(&["restore", &model, "../with-sub"]);
    assert!(
        said.contains("git status says nothing of what was changed in a submodule"),
        "{said}"
    );
    let inside = past.world.base().join("with-sub/sub/changed.py");
    assert_eq!(
        std::fs::read_to_string(inside).unwrap(),
        "print('inside')\n"
    );
    let status = past
        .world
        .git(&["-C", "../with-sub", "status", "--porcelain"]);
    assert_eq!(status, "");
}

fn a_reference_that_is_made_after_the_list_keeps_a_version(past: &Past) {
    use tracemark::mlflow::References;
    let (runtime, store) = past.opened();
    let ways: BTreeMap<_, _> = WAYS.map(|way| (way, past.version(way))).into();
    let unused = past.version("unused");
    past.version("active");
    let id = look(&past.store, &["experiment", &past.experiment])["experiment_id"].clone();
    let experiments = [id.as_str().unwrap().parse().unwrap()].into();
    let ids = ways.values().chain([&unused]).map(|id| id.parse().unwrap());
    let rows = runtime
        .block_on(store.models(&experiments, &ids.collect()))
        .unwrap();
    let rows: Vec<_> = rows.into_values().collect();
    let since_ms = rows.iter().map(|row| row.created_ms).min().unwrap();
    let known = runtime
        .block_on(store.references(since_ms, &References::default()))
        .unwrap();
    let made = past.refer(&ways);
    let mut removed = Vec::new();
    let asked = store.remove_unused(&rows, &known, since_ms, &mut removed);
    runtime.block_on(asked).unwrap();
    assert_eq!(removed, [unused.parse().unwrap()], "{made}");
    assert!(!past.exists(&unused));
    for (way, model) in &ways {
        assert!(past.exists(model), "{way}: {made}");
    }
}

#[test]
fn a_restore_leaves_alone_what_appears_in_its_place_meanwhile() {
    let past = past_in_a_file();
    for n in 0..400 {
        past.world.write(&format!("many/{n}.txt"), format!("{n}\n"));
    }
    let model = past.version("kept");
    wait_until("the version is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    for kind in ["", "--plain"] {
        let dir = past.world.base().join(format!("new{kind}"));
        let mut command = past.world.command(env!("CARGO_BIN_EXE_tracemark"));
        command.args(["restore", &model, dir.to_str().unwrap()]);
        command.args((!kind.is_empty()).then_some(kind));
        let mut child = command.spawn().unwrap();
        let is_begun = || {
            let entries = std::fs::read_dir(past.world.base()).unwrap().flatten();
            let mut names = entries.map(|entry| entry.file_name());
            names.any(|name| name.to_string_lossy().starts_with(".tracemark-restore-"))
        };
        while !is_begun() {
            assert!(child.try_wait().unwrap().is_none(), "too quick to be met");
        }
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("thesis.txt"), "precious").unwrap();
        assert!(!child.wait().unwrap().success());
        let text = std::fs::read_to_string(dir.join("thesis.txt")).unwrap();
        assert_eq!(text, "precious");
    }
    let model = model.as_str();
    let detour = past
        .world
        .tracemark(&["restore", model, "../nowhere/../repo/sub"]);
    assert_eq!(detour.code, Some(2), "{detour:?}");
    assert!(!past.world.base().join("nowhere").exists());
}

#[test]
fn gc_leaves_what_is_active_also_where_no_daemon_runs_and_what_was_handed_out_lately() {
    let past = past_in_a_file();
    let first = past.version("first");
    let second = past.version("second");
    assert_eq!(past.version("first"), first);
    past.world.kill_daemon();
    let said = past.told(&["gc", "--keep", "0s", "--yes"]);
    assert!(!said.contains(&first) && said.contains(&second), "{said}");
    assert!(past.exists(&first));
}

#[test]
fn gc_makes_no_version_to_find_out_what_is_active() {
    let past = past_in_a_file();
    past.settings("create = \"asked\"\n");
    past.version("first");
    past.world.kill_daemon();
    past.world.write("app.py", "print('nobody asked')\n");
    let id = look(&past.store, &["experiment", &past.experiment])["experiment_id"].clone();
    let count = || {
        let models = look(&past.store, &["models", id.as_str().unwrap()]);
        models.as_array().unwrap().len()
    };
    let before = count();
    past.told(&["gc", "--keep", "0s"]);
    assert_eq!(count(), before);
}

#[test]
fn what_git_converts_is_kept_as_it_lies_when_its_id_is_handed_out() {
    let past = past_in_a_file();
    past.world
        .git(&["config", "filter.strip.clean", "grep -v output || true"]);
    past.world.git(&["config", "filter.strip.smudge", "cat"]);
    past.world.write(".gitattributes", "*.ipynb filter=strip\n");
    past.world.write("n.ipynb", "cell\noutput 1\n");
    past.world.commit("a notebook");
    past.told(&["up", "--store", &past.store]);
    past.told(&["active"]);
    for text in ["cell\noutput 22\n", "cell\noutput 333\n", "cell\n"] {
        past.world.write("n.ipynb", text);
        let model = past.told(&["active"]).trim().to_owned();
        wait_until("it comes back", || {
            let said = past.world.tracemark(&["show", &format!("{model}:n.ipynb")]);
            (said.stdout == text).then_some(())
        });
    }
}

#[test]
fn what_lies_on_the_disk_in_other_bytes_since_is_kept_anew() {
    let world = World::with_commit();
    world.add_submodule();
    world.write("../inner/a.py", "a = 1\n");
    world.git(&["-C", "../inner", "add", "a.py"]);
    world.git(&["-C", "../inner", "commit", "-qm", "a"]);
    let allow = "protocol.file.allow=always";
    world.git(&["-C", "sub", "-c", allow, "pull", "-q", "origin", "main"]);
    world.commit("with a submodule");
    world.git(&["submodule", "-q", "deinit", "-f", "sub"]);
    let store = sqlite_store(world.base());
    let past = Past::new(world, &store, "Default");
    let model = past.told(&["active"]).trim().to_owned();
    wait_until("it is kept", || {
        let shown = past.told(&["show", &model]);
        shown.contains("yes, every file").then_some(())
    });
    past.world
        .git(&["-c", allow, "submodule", "-q", "update", "--init"]);
    assert_eq!(past.told(&["active"]).trim(), model);
    wait_until("its files are kept too", || {
        let shown = past.told(&["show", &model]);
        shown.contains("inside     sub").then_some(())
    });
    past.told(&["restore", &model, "../with-files"]);
    assert!(past.world.base().join("with-files/sub/a.py").is_file());
}

#[test]
fn a_pinned_version_brings_back_no_code() {
    let past = past_in_a_file();
    past.version("before");
    past.told(&["pin", "release"]);
    let pinned = past.version("while pinned");
    let shown = past.told(&["show", &pinned]);
    assert!(shown.contains("no: its code is not kept"), "{shown}");
    let refused = past.world.tracemark(&["restore", &pinned, "../pinned"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

#[test]
fn a_pinned_version_with_params_of_its_own_says_nothing_of_code_that_was_kept_for_another() {
    let past = past_in_a_file();
    past.told(&["params", "set", "llm=other", "--new-version"]);
    let kept = past.version("the same code");
    wait_until("it is kept", || {
        let shown = past.told(&["show", &kept]);
        shown.contains("yes, every file").then_some(())
    });
    past.told(&["pin", "release"]);
    let pinned = past.told(&["active"]).trim().to_owned();
    assert_ne!(pinned, kept);
    let shown = past.told(&["show", &pinned]);
    assert!(shown.contains("no: its code is not kept"), "{shown}");
}

#[test]
fn a_version_that_was_pinned_on_a_commit_says_nothing_of_code_either() {
    let past = past_in_a_file();
    past.told(&["pin", "release"]);
    let pinned = past.told(&["active"]).trim().to_owned();
    let shown = past.told(&["show", &pinned]);
    assert!(shown.contains("no: its code is not kept"), "{shown}");
    let head = past.world.git(&["rev-parse", "HEAD"]);
    assert!(!shown.contains(&head[..12]), "{shown}");
    let refused = past.world.tracemark(&["restore", &pinned, "../pinned"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

#[test]
fn a_command_that_only_looks_makes_no_state() {
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &sqlite_store(world.base()));
    let nowhere = format!("m-{}", "0".repeat(32));
    for arguments in [&["log"][..], &["show", "HEAD"], &["show", &nowhere]] {
        let said = world.tracemark(arguments);
        assert!(!world.state_dir().exists(), "{arguments:?}: {said:?}");
    }
}

#[test]
fn in_a_repository_that_is_not_tracked_no_program_that_it_names_is_run() {
    let world = World::with_commit();
    world.write("app.py", "print('changed')\n");
    world.commit("changed");
    let evil = world.base().join("evil");
    world.git(&[
        "config",
        "diff.external",
        &format!("touch {}; true", evil.display()),
    ]);
    world.git(&[
        "config",
        "core.pager",
        &format!("touch {}; cat", evil.display()),
    ]);
    let said = world.tracemark(&["diff", "HEAD~1", "HEAD"]);
    assert!(said.stdout.contains("+print('changed')"), "{said:?}");
    world.tracemark(&["show", "HEAD:app.py"]);
    assert!(!evil.exists());
}

/// As if it had been killed before it could say that the code is kept.
#[test]
fn a_model_that_a_killed_daemon_left_saying_that_its_code_is_not_kept_is_put_right() {
    let past = past_in_a_file();
    let model: tracemark::ids::ModelId = past.version("kept").parse().unwrap();
    let (runtime, store) = past.opened();
    let says = || {
        let row = runtime.block_on(store.model(&model)).unwrap().unwrap();
        row.tag("tracemark.restorable").unwrap().to_owned()
    };
    wait_until("the version is kept", || (says() == "true").then_some(()));
    past.world.kill_daemon();
    let tags = BTreeMap::from([("tracemark.restorable".to_owned(), "false".to_owned())]);
    runtime.block_on(store.set_tags(&model, &tags)).unwrap();
    assert_eq!(past.told(&["active"]).trim(), model.as_str());
    wait_until("it says so again", || (says() == "true").then_some(()));
}

#[test]
fn on_a_server_a_reference_that_is_made_after_the_list_keeps_a_version() {
    let past = Past::new(World::with_commit(), server(), "meanwhile");
    a_reference_that_is_made_after_the_list_keeps_a_version(&past);
}

#[test]
fn on_mlflows_sqlite_file_a_reference_that_is_made_after_the_list_keeps_a_version() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    a_reference_that_is_made_after_the_list_keeps_a_version(&Past::new(world, &store, "meanwhile"));
}

#[test]
fn what_is_being_restored_is_no_code_until_it_is_complete_and_goes_where_a_signal_ends_it() {
    let world = World::with_commit();
    for n in 0..3000 {
        world.write(&format!("many/{}/{n}.txt", n % 50), n.to_string());
    }
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let id = world.tracemark(&["active", "--timeout", "60"]).ok();
    let names = || {
        let log: Value = serde_json::from_str(&world.tracemark(&["log", "--json"]).ok()).unwrap();
        log["versions"].as_array().unwrap().len()
    };
    let before = names();
    let mut restore = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let mut restore = restore
        .args(["restore", id.trim(), "../ended"])
        .spawn()
        .unwrap();
    let partial = || {
        let entries = std::fs::read_dir(world.base()).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .find(|name| name.starts_with(".tracemark-restore-"))
    };
    let began = wait_until("it writes, or is done", || {
        partial()
            .map(|_| true)
            .or_else(|| restore.try_wait().unwrap().map(|_| false))
    });
    assert!(began, "it writes beside its place first");
    let pid = rustix::process::Pid::from_child(&restore);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = restore.wait().unwrap();
    assert_eq!(partial(), None);
    assert_eq!(world.base().join("ended").exists(), ended.success());
    world.tracemark(&["restore", id.trim(), "../whole"]).ok();
    let mut asks = world.command(env!("CARGO_BIN_EXE_tracemark"));
    let asked = asks.arg("active").current_dir(world.base().join("whole"));
    assert_eq!(String::from_utf8_lossy(&asked.output().unwrap().stdout), id);
    assert_eq!(names(), before, "the same code is no other version");
}
