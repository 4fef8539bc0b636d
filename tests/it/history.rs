//! What do `log`, `show`, `diff` and `gc` say of the past, and does everything in a store that refers to a version lead to its code and
//! keep it from being removed?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::python::{look, run_script, server, sqlite_store, support};
use crate::snapshots::{Edited, edited, told};
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
pub(crate) struct Past {
    pub(crate) world: World,
    pub(crate) store: String,
    pub(crate) experiment: String,
}

impl Past {
    pub(crate) fn new(world: World, store: &str, experiment: &str) -> Self {
        world
            .tracemark(&["up", "--store", store, "--experiment", experiment])
            .ok();
        Self {
            world,
            store: store.to_owned(),
            experiment: experiment.to_owned(),
        }
    }

    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        self.world.tracemark(arguments).ok()
    }

    pub(crate) fn version(&self, text: &str) -> String {
        self.world.write("app.py", format!("print({text:?})\n"));
        self.told(&["active"]).trim().to_owned()
    }

    /// Has MLflow's own client refer to LoggedModels; returns what each way made.
    pub(crate) fn refer(&self, ways: &BTreeMap<&str, String>) -> Value {
        let mut env = self.world.vars().clone();
        env.insert("MLFLOW_TRACKING_URI".into(), self.store.clone());
        env.insert("MLFLOW_EXPERIMENT_NAME".into(), self.experiment.clone());
        env.insert("REFER".into(), json!(ways).to_string());
        run_script(&support("refer.py"), &env, self.world.base())
    }

    /// The store as the product opens it, and what runs its questions.
    pub(crate) fn opened(&self) -> (tokio::runtime::Runtime, tracemark::mlflow::Store) {
        use tracemark::mlflow::{Access, Store, StoreUri};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let uri = StoreUri::parse(&self.store, self.world.base()).unwrap();
        let store = Store::open(&uri, &Access::default()).unwrap();
        (runtime.unwrap(), store)
    }

    pub(crate) fn exists(&self, model: &str) -> bool {
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
    pub(crate) fn limits(&self, text: &str) {
        self.settings(&format!("[snapshots]\n{text}\n"));
    }

    /// What the LoggedModel itself says of its code.
    pub(crate) fn says(&self, model: &str) -> String {
        let model = look(&self.store, &["model", model]);
        let said = &model["tags"]["tracemark.restorable"];
        said.as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn comes_to_say(&self, model: &str, said: &str) {
        wait_until("the LoggedModel says how its code is kept", || {
            (self.says(model) == said).then_some(())
        });
    }
}

pub(crate) fn past_in_a_file() -> Past {
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

impl Past {
    pub(crate) fn settings(&self, text: &str) {
        let dir = self.world.base().join("home/.config/tracemark");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.toml"), text).unwrap();
    }

    /// What a command prints on a terminal, and its exit code.
    pub(crate) fn on_a_terminal(&self, arguments: &[&str]) -> (String, Option<i32>) {
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

fn give_to_another_machine(world: &World, id: &str) {
    let database = rusqlite::Connection::open(world.base().join("mlflow.db")).unwrap();
    let tag = "UPDATE logged_model_tags SET tag_value = 'theirs' WHERE model_id = ?1 AND tag_key = 'tracemark.nonce'";
    assert_eq!(database.execute(tag, [id]).unwrap(), 1);
}

#[test]
fn a_trace_leads_to_its_code_and_only_what_nothing_refers_to_is_removed() {
    let mut world = World::new();
    world.set("OPENAI_BASE_URL", crate::python::openai());
    world.set("OPENAI_API_KEY", "none");
    let app = std::fs::read_to_string(crate::python::support("app.py")).unwrap();
    world.write("app.py", &app);
    world.commit("the app");
    let store = crate::python::sqlite_store(world.base());
    told(&world, &["up", "--store", &store]);
    let clean = told(&world, &["active"]).trim().to_owned();
    let version = |text: &str| {
        world.write("app.py", format!("{app}# {text}\n"));
        told(&world, &["active"]).trim().to_owned()
    };
    let traced = version("traced");
    crate::python::run_script(
        &world.repo().join("app.py"),
        &world.exec_env(),
        &world.repo(),
    );
    let [unused, theirs] = ["unused", "of another machine"].map(version);
    let active = version("active");
    give_to_another_machine(&world, &theirs);

    let found = crate::python::look(&store, &["traces", &traced, "0"]);
    let trace = found[0].as_str().unwrap();
    let shown = told(&world, &["show", trace]);
    assert!(
        shown.contains(&traced) && shown.contains("1 traces"),
        "{shown}"
    );
    assert!(told(&world, &["diff", trace, "@"]).contains("+# active"));
    told(&world, &["restore", trace, "../then"]);
    assert_eq!(
        std::fs::read_to_string(world.base().join("then/app.py")).unwrap(),
        format!("{app}# traced\n")
    );
    assert!(told(&world, &["log"]).contains("1 trace"));

    let listed = told(&world, &["gc", "--keep", "0s"]);
    assert!(
        listed.contains(&unused) && listed.contains("nothing was removed"),
        "{listed}"
    );
    for kept in [&clean, &traced, &theirs, &active] {
        assert!(!listed.contains(kept.as_str()), "{kept} in {listed}");
    }
    assert!(told(&world, &["gc"]).contains("nothing to remove"));
    assert!(told(&world, &["gc", "--keep", "0s", "--yes"]).contains("removed 1 LoggedModels"));
    assert!(told(&world, &["gc", "--keep", "0s"]).contains("nothing to remove"));
    world
        .tracemark(&["show", &unused])
        .failed(1, "no version, commit or trace");
    assert_eq!(version("unused").len(), unused.len());
}

#[test]
fn a_version_can_be_shown_and_held_against_what_is_there_now() {
    let Edited {
        world,
        store,
        clean,
        second,
        name,
        content,
    } = edited();
    for id in [&clean, &second] {
        let model = crate::python::look(&store, &["model", id]);
        assert_eq!(model["tags"]["tracemark.restorable"], "true", "{model}");
    }
    let shown = told(&world, &["show", &second]);
    for word in [
        second.as_str(),
        name.as_str(),
        &content,
        "M app.py",
        "A prompts/x.md",
        "yes, every file",
    ] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    assert_eq!(
        told(&world, &["show", &format!("{name}:app.py")]),
        "print('second')\n"
    );
    let diff = told(&world, &["diff", &second, "@", "--", "app.py"]);
    assert!(
        diff.contains("-print('second')") && diff.contains("+print('third')"),
        "{diff}"
    );
    assert!(told(&world, &["diff", "HEAD", &second]).contains("+Be brief."));
    world
        .tracemark(&["show", "nothing"])
        .failed(1, "no version, commit or trace");
}

#[test]
fn the_log_lists_every_version_the_newest_first() {
    let Edited {
        world,
        clean,
        second,
        ..
    } = edited();
    let listed = told(&world, &["log"]);
    assert!(
        listed.contains("app.py") && listed.contains("commit "),
        "{listed}"
    );
    let listed: serde_json::Value =
        serde_json::from_str(&told(&world, &["log", "--json"])).unwrap();
    let models: Vec<_> = listed["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["model_id"].as_str().unwrap())
        .collect();
    assert_eq!(models.last(), Some(&clean.as_str()));
    assert!(models.contains(&second.as_str()));
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
