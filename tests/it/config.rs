//! Do people learn what is set, by whom, and what they mistyped?

use serde_json::Value;

use crate::python::sqlite_store;
use crate::world::World;

fn row<'a>(said: &'a str, key: &str) -> &'a str {
    let start = format!("{key} = ");
    said.lines()
        .find(|line| line.starts_with(&start))
        .unwrap_or_else(|| panic!("{key} is not in {said}"))
}

#[test]
fn config_show_says_which_layer_each_value_comes_from() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    let home = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(
        home.join("config.toml"),
        "settle = '2s'\ncreate = 'commit'\n",
    )
    .unwrap();
    world.write(".tracemark.toml", "create = 'asked'\n[params]\nllm = 'x'\n");
    world
        .tracemark(&["up", "--store", &store, "--app", "kept"])
        .ok();
    world.set("TRACEMARK_NAMING", "tree");
    let said = world.tracemark(&["config", "show", "--origin"]).ok();
    for (key, value, origin) in [
        ("naming", "\"tree\"", "# environment TRACEMARK_NAMING"),
        ("app", "\"kept\"", "# up /"),
        ("create", "\"asked\"", "# repository /"),
        ("params.llm", "\"x\"", ".tracemark.toml"),
        ("settle", "\"2s\"", "# user /"),
        ("env_copy", "false", "# default"),
    ] {
        let row = row(&said, key);
        assert!(row.contains(value) && row.contains(origin), "{row}");
    }
    let plain = world.tracemark(&["config", "show"]).ok();
    assert_eq!(row(&plain, "settle"), "settle = \"2s\"");
    let json: Value =
        serde_json::from_str(&world.tracemark(&["config", "show", "--json"]).ok()).unwrap();
    assert_eq!(json["schema"], 1);
    let naming = json["settings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"] == "naming");
    assert_eq!(naming.unwrap()["place"], "TRACEMARK_NAMING");
}

#[test]
fn config_show_tells_of_a_value_that_is_none() {
    let world = World::with_commit();
    world.write(".tracemark.toml", "naming = 'by-mood'\n");
    let said = world.tracemark(&["config", "show", "--origin"]);
    assert!(row(&said.stdout, "naming").contains("by-mood"), "{said:?}");
    assert!(
        said.stderr.contains("none of git-hash, commit, tree"),
        "{said:?}"
    );
    assert_eq!(said.code, Some(3));
}

#[test]
fn config_show_needs_no_repository_and_shows_no_password() {
    let mut world = World::without_repository();
    world.set("MLFLOW_TRACKING_URI", "http://ann:secret@example.org");
    let said = world.tracemark(&["config", "show", "--origin"]).ok();
    assert!(
        row(&said, "store.uri").contains("ann:***@example.org"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_mistyped_setting_is_warned_of_with_the_nearest_name_and_a_servers_name_in_a_repository_too() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.write(
        ".tracemark.toml",
        "settel = '2s'\n[store]\nuri = 'http://evil.example'\n",
    );
    for command in [&["up", "--store", &store][..], &["config", "show"]] {
        let said = world.tracemark(command);
        assert_eq!(said.code, Some(0), "{said:?}");
        for line in [
            ".tracemark.toml: there is no setting settel",
            "  try: settle, if that was meant",
            ".tracemark.toml: store.uri is not read from this file",
            "  try: a repository's file is data from strangers; put store.uri into /",
        ] {
            assert!(said.stderr.contains(line), "{line}: {said:?}");
        }
        assert!(!said.stdout.contains("evil"), "{said:?}");
    }
}

#[test]
fn config_default_prints_a_file_that_changes_nothing() {
    let world = World::with_commit();
    let before = world.tracemark(&["config", "show"]).ok();
    let text = world.tracemark(&["config", "default"]).ok();
    assert!(text.contains("\nsettle = \"500ms\"\n"), "{text}");
    world.write(".tracemark.toml", "");
    let home = world.base().join("home/.config/tracemark");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.toml"), text).unwrap();
    let said = world.tracemark(&["config", "show"]);
    assert_eq!(said.stderr, "");
    assert_eq!(said.ok(), before);
}
