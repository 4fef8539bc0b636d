//! Does it work with a Databricks workspace? Played by a server that behaves as Databricks documents it: logins, tokens that end, limits.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::stub::Stub;
use crate::world::{Said, World};

const EXPERIMENT: &str = "/Users/ann@example.org/shop";
const SECRET: &str = "canary-dose-4c1e";

fn workspace(more: &Value) -> Stub {
    let mut config = json!({"databricks": true});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Stub::new(&config)
}

fn world_in(profile: &str) -> World {
    let mut world = World::with_commit();
    std::fs::write(world.base().join("home/.databrickscfg"), profile).unwrap();
    world.set("MLFLOW_EXPERIMENT_NAME", EXPERIMENT);
    world
}

fn principal() -> Value {
    json!({"oauth": {"id": "app-1", "secret": SECRET}})
}

#[test]
fn a_profile_says_where_and_who() {
    let stub = workspace(&json!({"auth": ["Bearer dapi-1"]}));
    let text = format!(
        "[DEFAULT]\nhost = https://nowhere.example\n[shop]\nhost = {}/?o=1\ntoken = dapi-1\nworkspace_id = 77\n",
        stub.url()
    );
    let world = world_in(&text);
    let said = world
        .tracemark(&["up", "--store", "databricks://shop"])
        .ok();
    assert!(said.contains("databricks://shop"), "{said}");
    assert_eq!(stub.experiments(), [EXPERIMENT]);
    assert_eq!(stub.models().len(), 1);
    let asked = stub.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.headers["x-databricks-org-id"] == "77"),
        "{asked:?}"
    );
    let script = "echo $MLFLOW_TRACKING_URI $MLFLOW_EXPERIMENT_NAME";
    let said = world
        .tracemark(&["exec", "--require", "--", "sh", "-c", script])
        .ok();
    assert_eq!(said.trim(), format!("databricks://shop {EXPERIMENT}"));
}

#[test]
fn host_and_token_of_the_shell_come_before_profiles_and_the_daemon_remembers_the_host() {
    let stub = workspace(&json!({"auth": ["Bearer dapi-2"]}));
    let mut world = world_in("[DEFAULT]\nhost = https://nowhere.example\ntoken = wrong\n");
    world.set("MLFLOW_TRACKING_URI", "databricks");
    world.set("DATABRICKS_HOST", &stub.url());
    world.set("DATABRICKS_TOKEN", "dapi-2");
    world.tracemark(&["up"]).ok();
    world.stop_daemon();
    world.set("DATABRICKS_HOST", "");
    world.set("DATABRICKS_TOKEN", "");
    world.write("app.py", "print(2)\n");
    world.is_refused("DATABRICKS_TOKEN was set in the shell of `tracemark up`");
    // A profile of that workspace is enough, whatever its name.
    let profile = format!("[mine]\nhost = {}/\ntoken = dapi-2\n", stub.url());
    std::fs::write(world.base().join("home/.databrickscfg"), profile).unwrap();
    world.tracemark(&["active"]).ok();
}

#[test]
fn an_app_finds_the_workspace_that_up_saw_and_gets_no_id_for_another() {
    let stub = workspace(&json!({"auth": ["Bearer dapi-3"]}));
    let mut world = world_in(&format!("[mine]\nhost = {}\ntoken = dapi-3\n", stub.url()));
    world.set("MLFLOW_TRACKING_URI", "databricks");
    world.set("DATABRICKS_HOST", &stub.url());
    world.set("DATABRICKS_CONFIG_PROFILE", "mine");
    world.set("DATABRICKS_TOKEN", "dapi-3");
    world.tracemark(&["up"]).ok();
    let names = ["DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE"];
    for name in ["MLFLOW_TRACKING_URI", "DATABRICKS_TOKEN"]
        .iter()
        .chain(&names)
    {
        world.set(name, "");
    }
    let env = world.exec_env();
    assert_eq!(env["MLFLOW_TRACKING_URI"], "databricks");
    assert_eq!(
        names.map(|name| env[name].clone()),
        [stub.url(), "mine".into()]
    );
    assert_eq!(env["DATABRICKS_TOKEN"], "");
    for (name, other) in names.into_iter().zip(["https://other.example", "other"]) {
        world.set(name, other);
        let said = world.tracemark(&["exec", "--require", "--", "true"]);
        let words = format!("{name} is set to another Databricks workspace");
        assert!(
            said.code == Some(125) && said.stderr.contains(&words),
            "{said:?}"
        );
        world.set(name, "");
    }
    world.set(names[0], &format!("{}/", stub.url()));
    world.tracemark(&["exec", "--require", "--", "true"]).ok();
    world.tracemark(&["down"]).ok();
    world.set("MLFLOW_TRACKING_URI", "databricks");
    world.set("DATABRICKS_TOKEN", "dapi-3");
    world
        .tracemark(&["exec", "--once", "--require", "--", "true"])
        .ok();
}

#[test]
fn a_token_of_the_shell_goes_to_the_workspace_of_its_profile_alone() {
    let open = || workspace(&json!({}));
    let (prod, dev) = (open(), open());
    let mut world = world_in(&format!(
        "[prod]\nhost = {}\n[dev]\nhost = {}\ntoken = dapi-dev\n",
        prod.url(),
        dev.url()
    ));
    world.set("MLFLOW_TRACKING_URI", "databricks");
    world.set("DATABRICKS_CONFIG_PROFILE", "prod");
    world.set("DATABRICKS_TOKEN", SECRET);
    world.tracemark(&["up"]).ok();
    world.set("DATABRICKS_TOKEN", "");
    for dir in ["DATABRICKS_CONFIG_PROFILE", "DATABRICKS_HOST"] {
        world.git(&["clone", "-q", ".", &format!("../{dir}")]);
    }
    for (name, value) in [
        ("DATABRICKS_CONFIG_PROFILE", "dev"),
        ("DATABRICKS_HOST", &dev.url()),
    ] {
        world.set("DATABRICKS_CONFIG_PROFILE", "");
        world.set(name, value);
        let mut up = world.command(env!("CARGO_BIN_EXE_tracemark"));
        Said::of(
            &up.arg("up")
                .current_dir(world.base().join(name))
                .output()
                .unwrap(),
        )
        .ok();
    }
    let signed = |stub: &Stub| {
        let asked = stub.asked().into_iter();
        asked
            .filter_map(|asked| asked.authorization)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(signed(&prod), [format!("Bearer {SECRET}")].into());
    assert_eq!(signed(&dev), ["Bearer dapi-dev".to_owned()].into());
}

#[test]
fn an_app_whose_profile_leads_to_another_workspace_gets_no_id() {
    let (dev, other) = (workspace(&json!({})), workspace(&json!({})));
    let mut world = world_in(&format!(
        "[DEFAULT]\nhost = {}\ntoken = a\n[dev]\nhost = {}\ntoken = b\n[same]\nhost = {}/\ntoken = b\n",
        other.url(),
        dev.url(),
        dev.url()
    ));
    world.set("DATABRICKS_CONFIG_PROFILE", "dev");
    world.tracemark(&["up", "--store", "databricks"]).ok();
    world.set("DATABRICKS_CONFIG_PROFILE", "");
    let exec = |world: &World| world.tracemark(&["exec", "--require", "--", "true"]);
    exec(&world).ok();
    world.set("MLFLOW_TRACKING_URI", "databricks");
    let said = exec(&world);
    assert!(
        said.code == Some(125) && said.stderr.contains("is for another workspace"),
        "{said:?}"
    );
    world.set("DATABRICKS_CONFIG_PROFILE", "same");
    exec(&world).ok();
}

#[test]
fn a_service_principal_gets_a_token_once_and_a_new_one_when_it_ends() {
    let stub = workspace(&principal());
    let text = format!(
        "[DEFAULT]\nhost = {}\nclient_id = app-1\nclient_secret = {SECRET}\n",
        stub.url()
    );
    let world = world_in(&text);
    let tokens = |stub: &Stub| {
        stub.asked()
            .iter()
            .filter(|asked| asked.line == "POST /oidc/v1/token")
            .count()
    };
    world.tracemark(&["up", "--store", "databricks"]).ok();
    let (first, before) = (tokens(&stub), stub.asked().len());
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(tokens(&stub), first, "a token that lives is kept");
    stub.control(&json!({"expire": true}));
    world.write("app.py", "print(3)\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(
        tokens(&stub),
        first + 1,
        "one refused request, one new token"
    );
    assert_eq!(stub.models().len(), 3);
    let asked = stub.asked();
    let unsigned = asked[before..]
        .iter()
        .filter(|asked| asked.authorization.is_none());
    assert_eq!(unsigned.count(), 0, "{asked:?}");
    let log = std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
    assert!(!log.contains(SECRET) && !log.contains("issued-"), "{log}");
}

#[test]
fn a_short_lived_token_is_renewed_before_it_ends() {
    let mut config = principal();
    // Half of no life at all is over at once: each request is signed with a new token, none is refused.
    config["oauth"]["expires_in"] = json!(0);
    let stub = workspace(&config);
    let text = format!(
        "[DEFAULT]\nhost = {}\nclient_id = app-1\nclient_secret = {SECRET}\n",
        stub.url()
    );
    world_in(&text)
        .tracemark(&["up", "--store", "databricks"])
        .ok();
    let asked = stub.asked();
    let requests = asked
        .iter()
        .filter(|asked| asked.line.contains("/mlflow/"))
        .count();
    assert_eq!(asked.len(), 2 * requests, "{asked:?}");
}

#[test]
fn a_wrong_secret_is_said_to_be_refused_and_not_shown() {
    let stub = workspace(&principal());
    let text = format!(
        "[DEFAULT]\nhost = {}\nclient_id = app-1\nclient_secret = {SECRET}-old\n",
        stub.url()
    );
    let world = world_in(&text);
    let said = world.tracemark(&["up", "--store", "databricks"]);
    assert!(
        said.code == Some(6) && said.stderr.contains("HTTP 401"),
        "{said:?}"
    );
    assert!(!format!("{said:?}").contains(SECRET), "{said:?}");
}

#[test]
fn a_person_who_logged_in_is_signed_in_by_databricks_own_command() {
    let stub = workspace(&json!({"auth": ["Bearer of-the-command"]}));
    let mut world = world_in(&format!(
        "[me]\nhost = {}\nauth_type = databricks-cli\n",
        stub.url()
    ));
    let command = world.base().join("databricks");
    let script = "#!/bin/sh\n[ \"$*\" = 'auth token --profile me' ] || { echo \"Error: asked for $*\" >&2; exit 1; }\ncat \"$(dirname \"$0\")/answer\"\n";
    std::fs::write(&command, script).unwrap();
    std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
    let answer = r#"{"access_token":"of-the-command","token_type":"Bearer","expiry":"2099-01-01T00:00:00Z"}"#;
    std::fs::write(world.base().join("answer"), answer).unwrap();
    world.set("DATABRICKS_CLI_PATH", command.to_str().unwrap());
    world.tracemark(&["up", "--store", "databricks://me"]).ok();
    assert_eq!(stub.models().len(), 1);
    std::fs::write(
        &command,
        "#!/bin/sh\necho 'Error: run databricks auth login' >&2\nexit 1\n",
    )
    .unwrap();
    world
        .tracemark(&["up", "--store", "databricks://me"])
        .failed(
            6,
            "`databricks auth token` failed: Error: run databricks auth login",
        );
}

#[test]
fn logins_that_only_databricks_own_sdk_knows_and_double_ones_are_refused() {
    let cases = [
        (
            "[DEFAULT]\nhost = https://w.example\nauth_type = azure-cli\n",
            "databricks",
            "\"azure-cli\" are not supported",
        ),
        (
            "[DEFAULT]\nhost = https://w.example\ntoken = a\nclient_id = b\nclient_secret = c\n",
            "databricks",
            "pat and oauth-m2m",
        ),
        (
            "[other]\nhost = https://w.example\n",
            "databricks://mine",
            "has no profile \"mine\"",
        ),
        (
            "[other]\nhost = https://w.example\n",
            "databricks",
            "no Databricks workspace",
        ),
        (
            "[DEFAULT]\nhost = https://ann:pw@w.example\ntoken = a\n",
            "databricks",
            "user name or password",
        ),
        ("", "databricks://scope:prefix", "secret scopes"),
        ("", "databricks-uc", "model registry"),
    ];
    for (profile, uri, cause) in cases {
        world_in(profile)
            .tracemark(&["up", "--store", uri])
            .failed(3, cause);
    }
    let text = "[DEFAULT]\nhost = https://w.example\n";
    world_in(text)
        .tracemark(&["up", "--store", "databricks"])
        .failed(6, "no login for the Databricks workspace");
}

#[test]
fn an_experiment_is_a_path_in_the_workspace() {
    let stub = workspace(&json!({}));
    let text = format!("[DEFAULT]\nhost = {}\ntoken = dapi\n", stub.url());
    let mut world = world_in(&text);
    world.set("MLFLOW_EXPERIMENT_NAME", "");
    world
        .tracemark(&["up", "--store", "databricks"])
        .failed(6, "no default experiment");
    world
        .tracemark(&["up", "--store", "databricks", "--experiment", "shop"])
        .failed(6, "\"shop\" is no path in the Databricks workspace");
    world
        .tracemark(&[
            "up",
            "--store",
            "databricks",
            "--experiment",
            "/Nowhere/shop",
        ])
        .failed(6, "Workspace directory does not exist");
    world
        .tracemark(&[
            "up",
            "--store",
            "databricks",
            "--experiment",
            "/Shared/shop",
        ])
        .ok();
}

#[test]
fn tags_stay_below_the_limit_of_characters() {
    let stub = workspace(&json!({}));
    let world = world_in(&format!("[DEFAULT]\nhost = {}\ntoken = dapi\n", stub.url()));
    let long = format!("https://git.example/{}", "ü".repeat(6000));
    world.git(&["remote", "add", "origin", &long]);
    world
        .tracemark(&["up", "--store", "databricks", "--app", "shop"])
        .ok();
    let tags = stub.models().remove(0)["info"]["tags"].clone();
    let tag = tags
        .as_array()
        .unwrap()
        .iter()
        .find(|tag| tag["key"] == "mlflow.source.git.repoURL");
    let value = tag.unwrap()["value"].as_str().unwrap().to_owned();
    assert!(
        value.chars().count() == 5000 && value.ends_with('…'),
        "{value}"
    );
}

#[test]
fn a_workspace_that_is_busy_says_so_and_is_asked_again() {
    let stub = workspace(&json!({}));
    let world = world_in(&format!("[DEFAULT]\nhost = {}\ntoken = dapi\n", stub.url()));
    world.tracemark(&["up", "--store", "databricks"]).ok();
    let body = r#"{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"slow down"}"#;
    stub.control(&json!({"answer": {"status": 429, "times": 1, "body": body, "kind": "application/json", "headers": {"Retry-After": "1"}}}));
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(stub.models().len(), 2);
    let said = world.status()["last_error"].to_string();
    assert!(said.contains("slow down"), "{said}");
}
