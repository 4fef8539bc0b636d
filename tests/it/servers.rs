//! Does a token reach the server that it is for, and nobody else? What is said of servers that cannot be used?

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::stub::Stub;
use crate::world::World;

const CANARY: &str = "canary-5f1d0b7e";

fn signed_by(header: &str) -> Value {
    json!({ "auth": [header] })
}

/// A world whose shell names a server and holds a token for it.
fn world_with_token(stub: &Stub) -> World {
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    world.set("MLFLOW_TRACKING_TOKEN", CANARY);
    world
}

fn private_file(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn own_file(world: &World) -> PathBuf {
    world.base().join("home/.config/tracemark/credentials")
}

#[test]
fn a_token_of_the_shell_signs_every_request() {
    let stub = Stub::new(&signed_by(&format!("Bearer {CANARY}")));
    let world = world_with_token(&stub);
    world.tracemark(&["up"]).ok();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(stub.models().len(), 2);
    let asked = stub.asked();
    let wanted = format!("Bearer {CANARY}");
    assert!(
        asked
            .iter()
            .all(|asked| asked.authorization.as_deref() == Some(&wanted)),
        "{asked:?}"
    );
}

#[test]
fn a_server_below_a_path_is_asked_there() {
    let stub = Stub::new(&json!({ "below": "/team/mlflow" }));
    let world = World::with_commit();
    world
        .tracemark(&["up", "--store", &stub.url()])
        .failed(6, "answers with a web page");
    let uri = format!("{}/team/mlflow/", stub.url());
    world.tracemark(&["up", "--store", &uri]).ok();
    assert_eq!(stub.models().len(), 1);
    let status = world.tracemark(&["status"]).ok();
    assert!(status.contains("/team/mlflow/#/experiments/0"), "{status}");
}

#[test]
fn user_and_password_of_mlflows_own_file_sign_too() {
    let stub = Stub::new(&signed_by("Basic YW5uOnA7NTAl"));
    let world = World::with_commit();
    private_file(
        &world.base().join("home/.mlflow/credentials"),
        "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = p;50%%\n",
        0o600,
    );
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    assert_eq!(stub.models().len(), 1);
}

#[test]
fn the_hosts_entry_in_netrc_signs_where_nothing_else_does() {
    let stub = Stub::new(&signed_by("Basic YW5uOnA7NTAl"));
    let world = World::with_commit();
    let file = world.base().join("home/.netrc");
    private_file(&file, "default login d password d\n", 0o600);
    world
        .tracemark(&["up", "--store", &stub.url()])
        .failed(6, "HTTP 401");
    assert!(
        stub.asked()
            .iter()
            .all(|asked| asked.authorization.is_none())
    );
    let text = "machine elsewhere login a password b\nmachine 127.0.0.1 login ann password p;50%\n";
    private_file(&file, text, 0o600);
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    assert_eq!(stub.models().len(), 1);
}

#[test]
fn a_refused_password_is_not_sent_again_while_a_question_waits() {
    let stub = Stub::new(&signed_by(&format!("Bearer {CANARY}")));
    let world = world_with_token(&stub);
    world.tracemark(&["up"]).ok();
    stub.control(&signed_by("Bearer another"));
    world.write("app.py", "print(2)\n");
    let before = stub.asked().len();
    world
        .tracemark(&["active", "--timeout", "30"])
        .failed(6, "HTTP 401");
    assert!(stub.asked().len() < before + 8, "{:?}", stub.asked());
}

#[test]
fn a_token_that_is_for_another_server_is_not_sent() {
    let (theirs, other) = (Stub::new(&json!({})), Stub::new(&json!({})));
    let world = world_with_token(&theirs);
    world.tracemark(&["up", "--store", &other.url()]).ok();
    let asked = other.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|asked| asked.authorization.is_none()),
        "{asked:?}"
    );
    assert!(theirs.asked().is_empty());
}

#[test]
fn a_token_of_a_shell_that_names_no_server_is_sent_to_none() {
    let stub = Stub::new(&json!({}));
    let mut world = World::with_commit();
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    world.stop_daemon();
    world.set("MLFLOW_TRACKING_TOKEN", CANARY);
    let before = stub.asked().len();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    world.write("app.py", "print(3)\n");
    world.tracemark(&["active", "--once"]).ok();
    for command in [&["log"][..], &["params", "show"], &["doctor"]] {
        world.tracemark(command);
    }
    let asked = stub.asked().split_off(before);
    assert!(
        !asked.is_empty() && asked.iter().all(|asked| asked.authorization.is_none()),
        "{asked:?}"
    );
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let last = stub.asked().pop().unwrap();
    assert_eq!(last.authorization, Some(format!("Bearer {CANARY}")));
}

#[test]
fn a_daemon_without_the_token_that_up_saw_says_so_and_takes_it_from_its_file() {
    let stub = Stub::new(&signed_by(&format!("Bearer {CANARY}")));
    let mut world = world_with_token(&stub);
    let said = world.tracemark(&["up"]);
    let file = own_file(&world);
    assert!(said.stderr.contains(file.to_str().unwrap()), "{said:?}");
    world.stop_daemon();
    world.set("MLFLOW_TRACKING_TOKEN", "");
    world.write("app.py", "print(2)\n");
    world.is_refused("MLFLOW_TRACKING_TOKEN was set in the shell of `tracemark up`");
    let asked = stub.asked().len();
    let status = world.tracemark(&["status"]).ok();
    assert!(status.contains(file.to_str().unwrap()), "{status}");
    let section = format!("[{}]\nmlflow_tracking_token = {CANARY}\n", stub.authority());
    private_file(&file, &section, 0o644);
    world.is_refused("its mode is 0644");
    let said = world.tracemark(&["active", "--timeout", "1"]);
    assert!(
        said.stderr
            .contains(&format!("try: chmod 600 {}", file.display())),
        "{said:?}"
    );
    assert_eq!(
        stub.asked().len(),
        asked,
        "nothing is asked without a credential"
    );
    private_file(&file, &section, 0o600);
    world.tracemark(&["active"]).ok();
}

#[test]
fn a_token_that_was_changed_in_the_file_is_used_without_a_new_daemon() {
    let stub = Stub::new(&signed_by("Bearer first"));
    let world = World::with_commit();
    let write = |token: &str| {
        let text = format!("[{}]\nmlflow_tracking_token = {token}\n", stub.authority());
        private_file(&own_file(&world), &text, 0o600);
    };
    write("first");
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    stub.control(&signed_by("Bearer second"));
    world.write("app.py", "print(2)\n");
    world.is_refused("HTTP 401");
    write("second");
    world.tracemark(&["active"]).ok();
}

#[test]
fn a_token_is_not_sent_over_plain_http_to_another_machine_unless_the_user_says_so() {
    let proxy = Stub::new(&json!({}));
    let mut world = World::with_commit();
    // Whoever is asked for mlflow.example gets the stub, as a proxy.
    world.set("HTTP_PROXY", &proxy.url());
    world.set("MLFLOW_TRACKING_URI", "http://mlflow.example:5000");
    world.set("MLFLOW_TRACKING_TOKEN", CANARY);
    world
        .tracemark(&["up"])
        .failed(6, "not sent to mlflow.example:5000 over plain http");
    assert!(proxy.asked().is_empty());
    world.write(
        ".tracemark.toml",
        "[store.connection]\nallow_http_credentials = true\n",
    );
    world.tracemark(&["up"]).failed(6, "over plain http");
    std::fs::remove_file(world.repo().join(".tracemark.toml")).unwrap();
    world.tracemark(&["up", "--allow-http-credentials"]).ok();
    world.tracemark(&["up"]).ok();
    let asked = proxy.asked();
    assert!(
        asked[0].line.contains(" http://mlflow.example:5000/"),
        "{asked:?}"
    );
    let said = world.tracemark(&["up", "--allow-http-credentials=false"]);
    assert_eq!(said.code, Some(6), "{said:?}");
}

#[test]
fn a_proxy_is_used_by_a_daemon_of_another_shell_and_not_for_this_machine() {
    let (proxy, direct) = (Stub::new(&json!({})), Stub::new(&json!({})));
    let mut world = World::with_commit();
    world.set("HTTP_PROXY", &proxy.url());
    world.tracemark(&["up", "--store", &direct.url()]).ok();
    assert!(proxy.asked().is_empty());
    world
        .tracemark(&["up", "--store", "http://mlflow.example"])
        .ok();
    world.stop_daemon();
    world.set("HTTP_PROXY", "");
    let before = proxy.asked().len();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert!(proxy.asked().len() > before);
}

#[test]
fn a_workspace_is_named_in_every_request_and_asked_for_first() {
    let stub = Stub::new(&json!({ "workspaces": true }));
    let mut world = World::with_commit();
    world.set("MLFLOW_WORKSPACE", "team-a");
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let asked = stub.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.headers["x-mlflow-workspace"] == "team-a"),
        "{asked:?}"
    );
    let refused = |world: &World, words: &str| {
        let said = world.tracemark(&["exec", "--require", "--", "true"]);
        assert!(
            said.code == Some(125) && said.stderr.contains(words),
            "{said:?}"
        );
    };
    world.set("MLFLOW_WORKSPACE", "team-b");
    refused(&world, "MLFLOW_WORKSPACE is set to another");
    world.set("MLFLOW_WORKSPACE", "");
    assert_eq!(world.exec_env()["MLFLOW_WORKSPACE"], "team-a");
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    refused(&world, "MLFLOW_WORKSPACE is not set");
    world.set("MLFLOW_WORKSPACE", "team-a");
    world.tracemark(&["exec", "--require", "--", "true"]).ok();
    world.set("MLFLOW_TRACKING_URI", "");
    let none = Stub::new(&json!({}));
    world.tracemark(&["up", "--store", &none.url()]).failed(
        6,
        "no workspaces, but the workspace \"team-a\" is asked for",
    );
    assert!(none.models().is_empty());
}

#[test]
fn a_repositorys_file_never_chooses_the_server_nor_the_way_there() {
    let (ours, theirs) = (Stub::new(&json!({})), Stub::new(&json!({})));
    let world = world_with_token(&ours);
    let settings = format!(
        "naming = 'tree'\n[store]\nuri = '{url}'\nexperiment = 'theirs'\n[store.connection]\nproxy = '{url}'\ninsecure_tls = true\n",
        url = theirs.url()
    );
    world.write(".tracemark.toml", settings);
    world.commit("settings of a stranger");
    world.tracemark(&["up"]).ok();
    assert!(world.status()["name"].as_str().unwrap().contains("-tree-"));
    assert_eq!(world.status()["insecure_tls"], false);
    assert_eq!(ours.models().len(), 1);
    assert_eq!(ours.experiments(), ["Default"]);
    assert!(theirs.asked().is_empty(), "{:?}", theirs.asked());
}

/// The list of programs is for everybody to read.
#[test]
fn a_token_is_in_no_argument_of_any_program_that_is_run() {
    let stub = Stub::new(&signed_by(&format!("Bearer {CANARY}")));
    let mut world = world_with_token(&stub);
    let dir = world.put_before_git("echo \"$@\" >>\"$dir/arguments\"\n");
    let url = format!("https://ann:{CANARY}@git.example/team/app.git");
    world.git(&["config", "remote.origin.url", &url]);
    std::fs::remove_file(dir.join("arguments")).unwrap();
    world.tracemark(&["up"]).ok();
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    let arguments = std::fs::read_to_string(dir.join("arguments")).unwrap();
    assert!(arguments.contains("status"), "{arguments}");
    assert!(!arguments.contains(CANARY), "{arguments}");
    assert!(!format!("{:?}", stub.models()).contains(CANARY));
}

#[test]
fn what_only_mlflows_own_client_can_sign_is_refused() {
    let stub = Stub::new(&json!({}));
    for (variable, value) in [
        ("MLFLOW_TRACKING_AWS_SIGV4", "TRUE"),
        ("MLFLOW_TRACKING_AUTH", "kubernetes"),
    ] {
        let mut world = World::with_commit();
        world.set(variable, value);
        world.tracemark(&["up", "--store", &stub.url()]).failed(
            3,
            &format!("{variable} is set, which only MLflow's own Python client can do"),
        );
    }
    assert!(stub.asked().is_empty());
}

#[test]
fn variables_that_mlflow_refuses_are_refused() {
    let stub = Stub::new(&json!({}));
    for (variable, value) in [
        ("MLFLOW_TRACKING_INSECURE_TLS", "maybe"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon"),
        ("MLFLOW_TRACKING_AWS_SIGV4", "perhaps"),
    ] {
        let mut world = World::with_commit();
        world.set(variable, value);
        world
            .tracemark(&["up", "--store", &stub.url()])
            .failed(3, variable);
    }
    let mut world = World::with_commit();
    world.set("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "11");
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    world
        .tracemark(&["active", "--once"])
        .failed(3, "MLFLOW_HTTP_REQUEST_MAX_RETRIES");
}

#[test]
fn a_server_without_logged_models_is_named() {
    let stub = Stub::new(&json!({ "old": true }));
    let world = World::with_commit();
    world
        .tracemark(&["up", "--store", &stub.url()])
        .failed(6, "the server is MLflow 2.22.1, which has no LoggedModels");
    assert!(!world.repo().join(".git/tracemark").exists());
}

#[test]
fn a_host_that_is_not_allowed_shows_what_the_servers_owner_must_set() {
    let refused = json!({"answer": {"status": 403, "times": -1, "body": "Invalid Host header - possible DNS rebinding attack detected"}});
    let stub = Stub::new(&refused);
    let world = World::with_commit();
    let said = world.tracemark(&["up", "--store", &stub.url()]);
    assert_eq!(said.code, Some(6));
    let flag = format!("mlflow server --allowed-hosts '{}'", stub.authority());
    assert!(said.stderr.contains(&flag), "{said:?}");
}

#[test]
fn nothing_follows_a_redirect() {
    let elsewhere = Stub::new(&json!({}));
    let stub = Stub::new(
        &json!({"answer": {"status": 307, "times": -1, "headers": {"Location": elsewhere.url()}}}),
    );
    let world = world_with_token(&stub);
    world.tracemark(&["up"]).failed(6, "redirects to");
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn a_small_answer_that_unpacks_to_a_huge_one_is_cut() {
    let stub = Stub::new(&json!({ "gzip": true }));
    let world = World::with_commit();
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    stub.control(&json!({ "bomb": 5_000_000 }));
    world.write("app.py", "print(2)\n");
    world.is_refused("more than 4 MiB");
}

#[test]
fn a_server_that_never_answers_is_left_after_the_time_that_mlflow_is_given() {
    let stub = Stub::new(&json!({ "hang": true }));
    let mut world = World::with_commit();
    world.set("MLFLOW_HTTP_REQUEST_TIMEOUT", "1");
    let said = world.tracemark(&["up", "--store", &stub.url()]);
    assert!(
        said.code == Some(6) && said.stderr.contains("timed out"),
        "{said:?}"
    );
}

#[test]
fn without_a_daemon_a_busy_server_is_asked_again_when_it_wants() {
    let busy = json!({"answer": {"status": 429, "times": 2, "headers": {"Retry-After": "0"}}});
    let stub = Stub::new(&busy);
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    world.tracemark(&["active", "--once"]).ok();
    assert_eq!(stub.models().len(), 1);
    stub.control(&busy);
    world.set("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0");
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active", "--once"]).failed(6, "HTTP 429");
}

#[test]
fn an_experiment_given_by_name_and_by_another_id_is_refused() {
    let stub = Stub::new(&json!({}));
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    world.set("MLFLOW_EXPERIMENT_NAME", "shop");
    world.set("MLFLOW_EXPERIMENT_ID", "0");
    world.tracemark(&["up"]).failed(
        6,
        "the experiment with the id 0 is called \"Default\", not \"shop\"",
    );
    world.set("MLFLOW_EXPERIMENT_ID", "");
    world.tracemark(&["up"]).ok();
    assert_eq!(stub.experiments(), ["Default", "shop"]);
    world.set("MLFLOW_EXPERIMENT_ID", "2");
    world.tracemark(&["up"]).ok();
}

#[test]
fn the_repositorys_address_is_tagged_without_user_password_and_query() {
    let stub = Stub::new(&json!({}));
    let world = World::with_commit();
    world.git(&[
        "remote",
        "add",
        "origin",
        "https://ann:t0ken@git.example/team/app.git?token=t0ken",
    ]);
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let model = stub.models().remove(0).to_string();
    assert!(
        model.contains("https://git.example/team/app.git") && !model.contains("t0ken"),
        "{model}"
    );
}

#[test]
fn an_id_that_a_server_gives_twice_or_that_is_none_is_never_handed_out() {
    let stub = Stub::new(&json!({}));
    let world = World::with_commit();
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let first = world.env_id();
    let lies = [
        (json!({"model_id": first}), "already stands for the version"),
        (json!({"experiment_id": "7"}), "another LoggedModel"),
        (json!({"name": "other"}), "another LoggedModel"),
        (
            json!({"model_id": "m-$(touch pwned)"}),
            "a model id that is none",
        ),
        (
            json!({"model_id": "m-1\nPATH=/evil"}),
            "a model id that is none",
        ),
        (
            json!({"model_id": "m-\u{1b}[2J"}),
            "a model id that is none",
        ),
        (
            json!({"model_id": "../../etc/passwd"}),
            "a model id that is none",
        ),
        (json!({"model_id": ""}), "a model id that is none"),
    ];
    for (turn, (lie, words)) in lies.iter().enumerate() {
        stub.control(&json!({ "lie": lie }));
        world.write("app.py", format!("print('lie {turn}')\n"));
        world.tracemark(&["active"]).failed(6, words);
        assert_eq!(world.env_id(), "", "{lie}");
        world.tracemark(&["active", "--once"]).failed(6, words);
    }
    stub.control(&json!({ "lie": null }));
    world.write("app.py", "print('the truth')\n");
    assert_ne!(world.tracemark(&["active"]).ok().trim(), first);
    world.git(&["checkout", "-q", "."]);
    assert_eq!(world.tracemark(&["active"]).ok().trim(), first);
}

#[test]
fn a_server_whose_database_was_made_anew_gets_its_versions_again_also_under_ids_of_before() {
    let world = World::with_commit();
    let stub = Stub::new(&json!({}));
    world.tracemark(&["up", "--store", &stub.url()]).ok();
    let first = world.env_id();
    stub.control(&json!({ "forget": true }));
    world.write("app.py", "print(2)\n");
    stub.control(&json!({ "lie": {"model_id": first} }));
    assert_eq!(world.tracemark(&["active"]).ok().trim(), first);
    stub.control(&json!({ "lie": null }));
    world.git(&["checkout", "-q", "."]);
    let again = world.tracemark(&["active"]).ok();
    assert_ne!(again.trim(), first);
    let names: std::collections::BTreeSet<_> = stub
        .models()
        .iter()
        .map(|model| model["info"]["name"].to_string())
        .collect();
    assert_eq!(names.len(), 2);
}

/// Every file below a directory whose bytes hold the text.
fn holding(dir: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holding(&path, text, found);
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            if bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                found.push(path);
            }
        }
    }
}

/// Answers that give back what a request was signed with, whole, cut, quoted or escaped, wherever a server can.
fn troubles() -> Vec<Value> {
    let json = "application/json";
    let message = |text: &str| json!({"error_code": text, "message": text}).to_string();
    let experiment = |id: &str| {
        let experiment = json!({"experiment_id": id, "name": id, "lifecycle_stage": "deleted"});
        json!({ "experiment": experiment }).to_string()
    };
    let escaped = r#"{"error_code": "ESCAPED_TOKEN", "message": "no ESCAPED_TOKEN"}"#;
    let elsewhere = |target: &str| json!({"status": 302, "headers": {"Location": target}});
    vec![
        json!({"status": 401, "body": "you said AUTHORIZATION"}),
        json!({"status": 403, "body": "BEGIN_OF_TOKEN… may not do this"}),
        json!({"status": 403, "body": message("AUTHORIZATION")}),
        json!({"status": 404, "body": message("AUTHORIZATION")}),
        json!({"status": 404, "body": message("RESOURCE_DOES_NOT_EXIST").replace("message\":\"", "message\":\"BEGIN_OF_TOKEN ")}),
        json!({"status": 404, "body": "no AUTHORIZATION"}),
        json!({"status": 500, "body": "you said AUTHORIZATION"}),
        json!({"status": 500, "body": "the token BEGIN_OF_TOKEN… is known"}),
        json!({"status": 503, "body": escaped, "kind": json}),
        json!({"status": 400, "body": message("AUTHORIZATION")}),
        json!({"status": 400, "body": message("of BEGIN_OF_TOKEN")}),
        json!({"status": 400, "body": escaped, "kind": json}),
        elsewhere("http://127.0.0.1:9/"),
        elsewhere("https://login.example/in?token=AUTHORIZATION"),
        elsewhere("https://login.example/BEGIN_OF_TOKEN/in"),
        elsewhere("https://login.example/?t=QUOTED_TOKEN"),
        elsewhere("https://login.example/QUOTED_TOKEN"),
        elsewhere("https://ann:BEGIN_OF_TOKEN@login.example/"),
        json!({"status": 200, "body": "<html>"}),
        json!({"status": 200, "body": "not JSON: AUTHORIZATION"}),
        json!({"status": 200, "body": "{\"experiment\": \"AUTHORIZATION\"}", "kind": json}),
        json!({"status": 200, "body": experiment("AUTHORIZATION"), "kind": json}),
        json!({"status": 200, "body": experiment("ESCAPED_TOKEN").replace("deleted", ""), "kind": json}),
        json!({"status": 200, "body": experiment("0").replace("\"name\":\"0\"", "\"name\":\"BEGIN_OF_TOKEN\""), "kind": json}),
    ]
}

fn leaves_no_core_file(world: &World) {
    let limits = format!("/proc/{}/limits", world.daemon_pid().unwrap());
    let limits = std::fs::read_to_string(limits).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().skip(4).collect();
    assert_eq!(words, ["0", "0", "bytes"], "no core file");
}

#[test]
fn a_token_is_in_no_log_no_file_no_answer_and_no_argument() {
    let stub = Stub::new(&signed_by(&format!("Bearer {CANARY}")));
    let mut world = world_with_token(&stub);
    world.set("TRACEMARK_LOG", "trace");
    let mut said = vec![world.tracemark(&["up"])];
    for (turn, mut trouble) in troubles().into_iter().enumerate() {
        trouble["times"] = json!(-1);
        stub.control(&json!({ "answer": trouble }));
        world.write("app.py", format!("print({turn})\n"));
        for command in [
            &["active", "--timeout", "1"][..],
            &["active", "--json", "--no-wait"],
            &["status"],
            &["status", "--json"],
            &["env"],
            &["active", "--once"],
        ] {
            said.push(world.tracemark(command));
        }
    }
    stub.control(&json!({ "answer": null }));
    said.push(world.tracemark(&["active"]));
    // Nor any longer part of it.
    let canary = &CANARY[..10];
    for answer in &said {
        assert!(!format!("{answer:?}").contains(canary), "{answer:?}");
    }
    assert!(
        said[1].stderr.contains("HTTP 401") && said.last().unwrap().code == Some(0),
        "{said:?}"
    );
    let log = std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    let arguments =
        std::fs::read(format!("/proc/{}/cmdline", world.daemon_pid().unwrap())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(canary));
    leaves_no_core_file(&world);
    let mut found = Vec::new();
    holding(world.base(), canary, &mut found);
    assert_eq!(found, Vec::<PathBuf>::new());
}

#[test]
fn a_password_is_in_no_log_no_file_and_no_answer_neither_plain_nor_as_it_is_sent() {
    let encoded = "YW5uOmNhbmFyeS01ZjFkMGI3ZQ";
    let stub = Stub::new(&signed_by(&format!("Basic {encoded}==")));
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    world.set("MLFLOW_TRACKING_USERNAME", "ann");
    world.set("MLFLOW_TRACKING_PASSWORD", CANARY);
    world.set("TRACEMARK_LOG", "trace");
    let mut said = vec![world.tracemark(&["up"])];
    for (turn, status) in [401, 403, 404, 500, 400].into_iter().enumerate() {
        let body = "you said AUTHORIZATION, that is BEGIN_OF_TOKEN";
        stub.control(&json!({"answer": {"status": status, "body": body, "times": -1}}));
        world.write("app.py", format!("print({turn})\n"));
        for command in [
            &["active", "--timeout", "1"][..],
            &["status", "--json"],
            &["doctor", "--json"],
            &["active", "--once"],
        ] {
            said.push(world.tracemark(command));
        }
    }
    stub.control(&json!({ "answer": null }));
    said.push(world.tracemark(&["active"]));
    assert_eq!(said.last().unwrap().code, Some(0), "{said:?}");
    for part in [&CANARY[..10], &encoded[6..20]] {
        for answer in &said {
            assert!(!format!("{answer:?}").contains(part), "{answer:?}");
        }
        let mut found = Vec::new();
        holding(world.base(), part, &mut found);
        assert_eq!(found, Vec::<PathBuf>::new());
    }
}

#[test]
fn a_password_of_a_proxy_is_in_no_log_no_file_and_no_answer() {
    let proxy = Stub::new(
        &json!({"answer": {"status": 407, "times": -1, "body": "BEGIN_OF_TOKEN AUTHORIZATION", "headers": {"Proxy-Authenticate": "Basic"}}}),
    );
    let mut world = World::with_commit();
    world.set("TRACEMARK_LOG", "trace");
    let mut said = Vec::new();
    for scheme in ["http", "https"] {
        for address in [proxy.authority(), "127.0.0.1:9".to_owned()] {
            for variable in ["HTTP_PROXY", "HTTPS_PROXY"] {
                world.set(variable, &format!("http://ann:{CANARY}@{address}"));
            }
            let store = format!("{scheme}://mlflow.example");
            world.set("MLFLOW_TRACKING_URI", &store);
            said.push(world.tracemark(&["up"]));
            for command in [
                &["active", "--timeout", "1"][..],
                &["active", "--once", "--timeout", "1"],
                &["status", "--json"],
            ] {
                said.push(world.tracemark(command));
            }
        }
    }
    assert!(said.iter().any(|said| said.code == Some(6)), "{said:?}");
    for answer in &said {
        assert!(!format!("{answer:?}").contains(CANARY), "{answer:?}");
    }
    let mut found = Vec::new();
    holding(world.base(), CANARY, &mut found);
    assert_eq!(found, Vec::<PathBuf>::new());
}

#[test]
fn a_pipe_in_the_place_of_a_file_with_credentials_holds_nobody_up() {
    let stub = Stub::new(&json!({}));
    let mut world = World::with_commit();
    world.set("MLFLOW_TRACKING_URI", &stub.url());
    for place in [".netrc", ".mlflow/credentials", ".databrickscfg"] {
        let file = world.base().join("home").join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let made = world.command("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
    }
    world
        .tracemark(&["active", "--once", "--timeout", "20"])
        .ok();
    world.set("MLFLOW_TRACKING_URI", "databricks");
    let said = world.tracemark(&["active", "--once", "--timeout", "2"]);
    assert!(said.stderr.contains("no Databricks workspace"), "{said:?}");
}
