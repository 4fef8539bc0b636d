//! Does the main job work: edit a file, and the next trace is linked to exactly that code? Real MLflow, real apps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::python::{
    environment, look, openai, python, run_fresh, run_script, server, sqlite_store, support,
};
use crate::world::{World, wait_until};

/// A repository with the app of the guide's first step, committed.
fn app_world() -> World {
    let mut world = World::new();
    world.set("OPENAI_BASE_URL", openai());
    world.set("OPENAI_API_KEY", "none");
    for file in ["app.py", "evaluate.py"] {
        world.write(file, std::fs::read(support(file)).unwrap());
    }
    world.commit("the app");
    world
}

struct Story<'a> {
    world: &'a World,
    store: &'a str,
    experiment: String,
}

impl Story<'_> {
    fn run(&self, env: &BTreeMap<String, String>, script: &str) -> Value {
        run_script(&self.world.repo().join(script), env, &self.world.repo())
    }

    fn model(&self, id: &str) -> Value {
        look(self.store, &["model", id])
    }

    fn traces(&self, id: &str) -> Vec<String> {
        let found = look(self.store, &["traces", id, &self.experiment]);
        let mut traces: Vec<_> = found.as_array().unwrap().iter().map(text).collect();
        traces.sort();
        traces
    }

    /// The name, the status and the tags that everybody who looks at a version in MLflow relies on.
    fn check_model(&self, id: &str, name: &str, dirty: bool) {
        let model = wait_until("the LoggedModel is READY", || {
            let model = self.model(id);
            (text(&model["status"]) == "READY").then_some(model)
        });
        assert_eq!(text(&model["name"]), name);
        let tag = |name: &str| text(&model["tags"][name]);
        assert_eq!(tag("mlflow.model.isExternal"), "true");
        assert_eq!(
            tag("mlflow.source.git.commit"),
            self.world.git(&["rev-parse", "HEAD"])
        );
        assert_eq!(tag("mlflow.source.git.branch"), "main");
        assert_eq!(tag("mlflow.user"), "ann");
        assert_eq!(tag("tracemark.dirty"), dirty.to_string());
        assert_eq!(
            model["tags"].get("mlflow.source.git.dirty").is_some(),
            !dirty
        );
        let tree = self.world.tracemark(&["hash", "--naming", "tree"]).ok();
        assert_eq!(tag("tracemark.content"), tree.trim());
    }

    fn play(&self) {
        let world = self.world;
        let first = world.env_id();
        assert_eq!(world.tracemark(&["active"]).ok().trim(), first);
        self.check_model(&first, &world.git(&["rev-parse", "HEAD"]), false);
        let linked = self.traces_of_every_start(&first);
        let second = self.edit_after(&first);
        // The old traces stay with their version.
        assert_eq!(self.traces(&first), linked);
        self.evaluate(&second);

        // Committed: the model of the commit, named with the full HEAD.
        world.commit("second");
        let third = world.new_env_id(&second);
        self.check_model(&third, &world.git(&["rev-parse", "HEAD"]), false);
        assert_eq!(world.tracemark(&["active"]).ok().trim(), third);

        // An app that calls the guide's helper itself ends on the same model, clean and dirty.
        self.helper_agrees(&third);
        let app = std::fs::read_to_string(support("app.py")).unwrap();
        world.write("app.py", app + "# changed\n");
        let fourth = world.new_env_id(&third);
        self.helper_agrees(&fourth);
    }

    /// Traces of an app that was started by `exec` in a fresh interpreter, and by a shell that sourced the env file.
    fn traces_of_every_start(&self, first: &str) -> Vec<String> {
        let mut fresh = self.world.command(env!("CARGO_BIN_EXE_tracemark"));
        fresh.args(["exec", "--"]).arg(python()).arg("app.py");
        let by_exec = run_fresh(fresh);
        let mut sourced = self.world.sourced_env();
        sourced.insert("MLFLOW_TRACKING_URI".into(), self.store.into());
        sourced.insert("MLFLOW_EXPERIMENT_ID".into(), self.experiment.clone());
        let by_shell = self.run(&sourced, "app.py");
        let mut linked = vec![text(&by_exec["trace_id"]), text(&by_shell["trace_id"])];
        linked.sort();
        assert_eq!(self.traces(first), linked);
        for trace in &linked {
            assert_eq!(
                text(&look(self.store, &["trace", trace])["model_id"]),
                first
            );
        }
        linked
    }

    /// Edited, not committed: the next trace goes to another version.
    fn edit_after(&self, first: &str) -> String {
        let world = self.world;
        world.write("prompts/new.txt", "Be brief.\n");
        let second = world.new_env_id(first);
        let said = world.get(&format!("/v1/active?worktree={}", world.repo().display()));
        assert_eq!(text(&said["model_id"]), second);
        let hash = world.tracemark(&["hash"]).ok();
        self.check_model(&second, hash.trim(), true);
        let edited = self.run(&world.exec_env(), "app.py");
        assert_eq!(self.traces(&second), [text(&edited["trace_id"])]);
        second
    }

    /// Evaluations and metrics belong to the version too.
    fn evaluate(&self, second: &str) {
        let evaluated = self.run(&self.world.exec_env(), "evaluate.py");
        for run in evaluated["linked"].as_array().unwrap() {
            assert_eq!(
                (&run["run_linked"], &run["traces_linked"]),
                (&true.into(), &true.into()),
                "{evaluated}"
            );
        }
        for metric in ["metric_models_env", "metric_models"] {
            assert_eq!(
                evaluated[metric],
                serde_json::json!([second]),
                "{evaluated}"
            );
        }
    }

    fn helper_agrees(&self, id: &str) {
        let mut env = self.world.vars().clone();
        env.insert("MLFLOW_TRACKING_URI".into(), self.store.into());
        env.insert("MLFLOW_EXPERIMENT_ID".into(), self.experiment.clone());
        let helper = run_script(&with_helper(self.world), &env, &self.world.repo());
        assert_eq!(text(&helper["model_id"]), id, "{helper}");
    }
}

/// The app that calls the helper itself, beside one that does what the guide prints.
fn with_helper(world: &World) -> PathBuf {
    let dir = world.base().join("helper");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(support("git_helper.py"), dir.join("git_helper.py")).unwrap();
    std::fs::copy(support("app_helper.py"), dir.join("app_helper.py")).unwrap();
    dir.join("app_helper.py")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What `up` says: five lines, the id among them.
fn check_summary(said: &str, id: &str) {
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(
        said.contains(id) && said.contains("tracemark exec"),
        "{said}"
    );
}

#[test]
fn traces_are_linked_to_the_code_on_a_tracking_server() {
    let world = app_world();
    let said = world.tracemark(&[
        "up",
        "--store",
        server(),
        "--experiment",
        "on_a_tracking_server",
    ]);
    check_summary(&said.ok(), &world.env_id());
    let found = look(server(), &["experiment", "on_a_tracking_server"]);
    let story = Story {
        world: &world,
        store: server(),
        experiment: text(&found["experiment_id"]),
    };
    story.play();
    world.tracemark(&["down"]).ok();
}

#[test]
fn traces_are_linked_to_the_code_on_mlflows_sqlite_file_without_any_server() {
    let world = app_world();
    let store = sqlite_store(&world.repo());
    check_summary(&world.tracemark(&["up"]).ok(), &world.env_id());
    let story = Story {
        world: &world,
        store: &store,
        experiment: "0".to_owned(),
    };
    story.play();
    world.tracemark(&["down"]).ok();
}

#[test]
fn where_mlflows_sqlite_file_does_not_exist_yet_the_apps_own_mlflow_makes_it() {
    let mut world = app_world();
    world.set("VIRTUAL_ENV", environment().to_str().unwrap());
    let said = world.tracemark(&["up", "--yes"]).ok();
    check_summary(&said, &world.env_id());
    let id = world.env_id();
    assert!(!id.is_empty(), "{said}");
    let store = format!("sqlite:///{}", world.repo().join("mlflow.db").display());
    let ran = run_script(
        &world.repo().join("app.py"),
        &world.exec_env(),
        &world.repo(),
    );
    assert_eq!(
        look(&store, &["traces", &id, "0"]),
        serde_json::json!([ran["trace_id"]])
    );
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn without_leave_to_make_it_the_version_waits_for_the_apps_first_run() {
    let world = app_world();
    let said = world.tracemark(&["up"]).ok();
    assert!(said.contains("none yet"), "{said}");
    let mut app = world.command(env!("CARGO_BIN_EXE_tracemark"));
    app.args(["exec", "--timeout", "1", "--"])
        .arg(python())
        .arg("app.py");
    let first_run = run_fresh(app);
    assert_eq!(
        text(&first_run["env"]),
        "",
        "no id is handed out without a row"
    );
    let id = wait_until("the row is made", || {
        Some(world.env_id()).filter(|id| !id.is_empty())
    });
    let ran = run_script(
        &world.repo().join("app.py"),
        &world.exec_env(),
        &world.repo(),
    );
    assert_eq!(text(&ran["env"]), id);
}

#[test]
fn under_commit_naming_the_guides_second_step_ends_on_the_same_model() {
    let world = app_world();
    let store = sqlite_store(&world.repo());
    world
        .tracemark(&[
            "up",
            "--naming",
            "commit",
            "--app",
            "customer_support_agent",
        ])
        .ok();
    let id = world.env_id();
    let mut env = world.vars().clone();
    env.insert("MLFLOW_TRACKING_URI".into(), store.clone());
    let step_two =
        |env: &BTreeMap<String, String>| run_script(&support("app_step2.py"), env, &world.repo());
    let seen = step_two(&env);
    let head = world.git(&["rev-parse", "HEAD"]);
    assert_eq!(
        text(&seen["name"]),
        format!("customer_support_agent-git-{}", &head[..8])
    );
    assert_eq!(text(&seen["model_id"]), id);
    // Uncommitted changes belong to their commit's version.
    world.write(
        "app.py",
        std::fs::read_to_string(support("app.py")).unwrap() + "# changed\n",
    );
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    // A commit that the app meets first is not made twice.
    world.commit("second");
    let seen = step_two(&env);
    assert_eq!(
        world.tracemark(&["active"]).ok().trim(),
        text(&seen["model_id"])
    );
}

#[test]
fn the_guides_helper_gives_the_same_name() {
    let world = app_world();
    world.write("app.py", "changed\n");
    let mut command = world.command("python3");
    let output = command.arg(support("git_helper.py")).output().unwrap();
    let expected = String::from_utf8(output.stdout).unwrap();
    assert!(expected.contains("-dirty-"), "{expected}");
    assert_eq!(world.tracemark(&["hash"]).ok(), expected);
}
