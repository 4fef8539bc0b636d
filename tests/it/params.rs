//! Can I do steps 4 and 5 of MLflow's guide? Parameters of a version, versions by hand, prompts that are linked to a version.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::history::past_in_a_file;
use crate::proxy::rest;
use crate::python::{look, run_script, server, sqlite_store, support};
use crate::world::{World, wait_until};

fn tracked(experiment: &str) -> World {
    let world = World::with_commit();
    let settings = "model_type = 'agent'\n[params]\nllm = 'gpt-4o-mini'\ntemperature = 0.7\n";
    world.write(".tracemark.toml", settings);
    world.commit("settings");
    let up = ["up", "--store", server(), "--experiment", experiment];
    world.tracemark(&up).ok();
    world
}

fn model(id: &str) -> Value {
    look(server(), &["model", id])
}

fn shown(world: &World) -> Value {
    serde_json::from_str(&world.tracemark(&["params", "show", "--json"]).ok()).unwrap()
}

#[test]
fn a_version_has_the_params_and_the_type_of_the_settings() {
    let world = tracked("params_of_settings");
    let model = model(&world.env_id());
    assert_eq!(model["model_type"], "agent");
    let expected = json!({"llm": "gpt-4o-mini", "temperature": "0.7"});
    assert_eq!(model["params"], expected);
    assert_eq!(shown(&world)["model_params"], expected);
}

#[test]
fn a_huge_value_is_shown_in_part_and_kept_whole() {
    let world = tracked("params_huge");
    let (huge, other) = ("ä".repeat(30_000), "b".repeat(30_000));
    for value in [&huge, &other] {
        let said = world.tracemark(&["params", "set", &format!("big={value}")]);
        assert_eq!(said.code, Some(0));
        let lines = (said.stdout + &said.stderr).lines().map(str::len).max();
        assert!(lines.unwrap() < 1500, "{lines:?}");
    }
    let text = world.tracemark(&["params", "show"]).ok();
    assert!(text.contains("… (30000 characters)"), "{text}");
    assert!(
        text.contains("tracemark params set big=… --new-version"),
        "{text}"
    );
    let shown = shown(&world);
    assert_eq!(shown["params"]["big"], other);
    assert_eq!(shown["model_params"]["big"], huge);
    let said = world.tracemark(&["params", "set", &huge]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.len() < 1500, "{said:?}");
    let said = world.tracemark(&["params", "unset", &huge]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.len() < 1500, "{said:?}");
}

#[test]
fn a_param_that_is_new_is_added_and_one_that_is_changed_is_explained() {
    let world = tracked("params_changed");
    let id = world.env_id();
    let said = world.tracemark(&["params", "set", "top_k=5"]).ok();
    assert!(said.contains("top_k = 5"), "{said}");
    assert_eq!(model(&id)["params"]["top_k"], "5");
    let said = world.tracemark(&["params", "set", "llm=gpt-4o"]).ok();
    assert!(said.contains("this version keeps gpt-4o-mini"), "{said}");
    let try_this = "tracemark params set llm=gpt-4o --new-version";
    assert!(said.contains(try_this), "{said}");
    assert_eq!(model(&id)["params"]["llm"], "gpt-4o-mini");
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);

    let said = world
        .tracemark(&["params", "set", "llm=gpt-4o", "--new-version"])
        .ok();
    assert!(!said.contains("keeps"), "{said}");
    let other = world.tracemark(&["active"]).ok();
    let other = model(other.trim());
    assert_ne!(other["model_id"], id.as_str());
    assert_eq!(other["name"], model(&id)["name"]);
    assert_eq!(other["params"]["llm"], "gpt-4o");
    assert_eq!(other["tags"]["tracemark.variant"], shown(&world)["variant"]);

    world.tracemark(&["params", "unset", "top_k"]).ok();
    world
        .tracemark(&["params", "unset", "temperature"])
        .failed(1, "was not set with tracemark params");
    world
        .tracemark(&["params", "set", "nonsense"])
        .failed(2, "is not KEY=VALUE");
}

#[test]
fn the_same_params_on_another_machine_are_the_same_version() {
    let (one, two) = (tracked("params_twice"), World::without_repository());
    let (from, to) = (one.repo(), two.repo());
    two.git(&["clone", "-q", from.to_str().unwrap(), to.to_str().unwrap()]);
    let up = ["up", "--store", server(), "--experiment", "params_twice"];
    two.tracemark(&up).ok();
    for world in [&one, &two] {
        world
            .tracemark(&["params", "set", "llm=gpt-4o", "--new-version"])
            .ok();
    }
    assert_eq!(
        one.tracemark(&["active"]).ok(),
        two.tracemark(&["active"]).ok()
    );
}

#[test]
fn a_pinned_version_stays_whatever_the_code_and_is_the_one_that_was_named_by_hand() {
    let world = tracked("pinned");
    let before = world.env_id();
    let experiment = look(server(), &["experiment", "pinned"])["experiment_id"].clone();
    let body = json!({"experiment_id": experiment, "name": "new-name-set-manually"});
    let by_hand = rest("POST", "logged-models", &body.to_string());
    let by_hand = by_hand["model"]["info"]["model_id"].as_str().unwrap();
    let said = world.tracemark(&["pin", "new-name-set-manually"]).ok();
    assert!(said.contains(by_hand) && said.contains("pinned"), "{said}");
    world.write("app.py", "print('other code')\n");
    let active = world.tracemark(&["active"]);
    assert!(active.stderr.contains("tracemark unpin"), "{active:?}");
    assert_eq!(active.ok().trim(), by_hand);
    assert_eq!(world.env_id(), by_hand);
    let row = model(by_hand);
    assert_eq!(row["tags"]["tracemark.pinned"], "true");
    assert_eq!(row["tags"].get("tracemark.content"), None);
    assert_eq!(row["params"]["llm"], "gpt-4o-mini");
    assert_eq!(world.status()["pinned"], true);
    assert!(
        world
            .tracemark(&["status"])
            .ok()
            .contains("tracemark unpin")
    );

    world.git(&["checkout", "-q", "app.py"]);
    world.tracemark(&["unpin"]).ok();
    assert_eq!(world.tracemark(&["active"]).ok().trim(), before);
    world
        .tracemark(&["unpin"])
        .failed(1, "no version is pinned");
    world.tracemark(&["pin", "v1.2"]).failed(2, "v1.2");
}

#[test]
fn a_pin_takes_no_row_of_a_version_and_is_found_by_an_app_that_names_it() {
    let world = tracked("pin_beside");
    let (first, name) = (world.env_id(), world.git(&["rev-parse", "HEAD"]));
    world.tracemark(&["pin", &name]).ok();
    let pinned = world.tracemark(&["active"]).ok();
    assert_ne!(pinned.trim(), first);
    assert_eq!(model(&first)["tags"].get("tracemark.pinned"), None);
    let mut env = world.vars().clone();
    env.insert("MLFLOW_TRACKING_URI".into(), server().into());
    env.insert("MLFLOW_EXPERIMENT_NAME".into(), "pin_beside".into());
    env.insert("NAME".into(), name);
    let said = run_script(&support("by_name.py"), &env, world.base());
    assert_eq!(said["model_id"], pinned.trim());
}

/// Everything that tracemark does to a row that has a linked prompt.
fn check_prompts(world: &World, store: &str, prompt: &str) {
    let mut env: BTreeMap<_, _> = world.exec_env();
    env.insert("PROMPT".into(), prompt.into());
    let said = run_script(&support("prompts.py"), &env, &world.repo());
    let (id, linked) = (said["model_id"].as_str().unwrap(), &said["linked"]);
    assert!(linked.as_str().unwrap().contains(prompt), "{said}");
    world.tracemark(&["params", "set", "top_k=5"]).ok();
    world.kill_daemon();
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    world.kill_daemon();
    std::fs::remove_file(world.state_dir().join("ledger.sqlite")).unwrap();
    assert_eq!(world.tracemark(&["active"]).ok().trim(), id);
    let model = wait_until("the new param is sent", || {
        let model = look(store, &["model", id]);
        (model["params"]["top_k"] == "5").then_some(model)
    });
    assert_eq!(&model["tags"]["mlflow.linkedPrompts"], linked);
}

#[test]
fn prompts_stay_linked_on_a_server() {
    let world = tracked("prompts");
    check_prompts(&world, server(), "on-a-server");
}

#[test]
fn prompts_stay_linked_in_a_sqlite_file() {
    let world = World::with_commit();
    let store = sqlite_store(&world.repo());
    world.tracemark(&["up"]).ok();
    check_prompts(&world, &store, "in-a-file");
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
