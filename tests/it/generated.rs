//! Are completions and manual pages those of the commands there are, and does each help begin with an example?

use std::collections::BTreeMap;
use std::path::Path;

use crate::world::World;

/// Compares with what the repository holds, or with `TRACEMARK_BLESS=1` replaces that.
#[track_caller]
fn assert_as_kept(dir: &str, made: &BTreeMap<String, String>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    if std::env::var_os("TRACEMARK_BLESS").is_some() {
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir).unwrap();
        for (name, text) in made {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }
    let kept: BTreeMap<String, String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|file| {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(file).unwrap())
        })
        .collect();
    let names = made.keys().chain(kept.keys());
    for name in names {
        assert_eq!(
            made.get(name),
            kept.get(name),
            "{name} is not what the commands say; TRACEMARK_BLESS=1 cargo test --test it generated"
        );
    }
}

#[test]
fn completions_are_those_of_the_commands() {
    let world = World::without_repository();
    let files = [
        ("bash", "tracemark.bash"),
        ("zsh", "_tracemark"),
        ("fish", "tracemark.fish"),
        ("elvish", "tracemark.elv"),
        ("powershell", "_tracemark.ps1"),
    ];
    let made = files.map(|(shell, name)| {
        (
            name.to_owned(),
            world.tracemark(&["completions", shell]).ok(),
        )
    });
    assert_as_kept("completions", &BTreeMap::from(made));
    let bash = world.base().join("completions");
    std::fs::write(&bash, world.tracemark(&["completions", "bash"]).ok()).unwrap();
    let script = format!(
        ". {}; COMP_WORDS=(tracemark conf); COMP_CWORD=1; _tracemark tracemark conf tracemark; echo ${{COMPREPLY[@]}}",
        bash.display()
    );
    let said = world
        .command("bash")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "config");
}

#[test]
fn manual_pages_are_those_of_the_commands() {
    let world = World::without_repository();
    let dir = world.base().join("man");
    world
        .tracemark(&["man", "--dir", dir.to_str().unwrap()])
        .ok();
    let made = std::fs::read_dir(&dir).unwrap().map(|entry| {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read_to_string(file).unwrap())
    });
    let made: BTreeMap<String, String> = made.collect();
    assert_eq!(
        made["tracemark-exec.1"],
        world.tracemark(&["man", "exec"]).ok()
    );
    assert_eq!(made["tracemark.1"], world.tracemark(&["man"]).ok());
    assert_eq!(
        made["tracemark-service-install.1"],
        world.tracemark(&["man", "service", "install"]).ok()
    );
    world
        .tracemark(&["man", "nonsense"])
        .failed(2, "no command tracemark nonsense");
    assert_as_kept("man", &made);
}

/// Every command by its words, as the help lists them.
fn commands(world: &World, words: &[String], found: &mut Vec<Vec<String>>) {
    let mut asked: Vec<&str> = words.iter().map(String::as_str).collect();
    asked.push("--help");
    let help = world.tracemark(&asked).ok();
    found.push(words.to_vec());
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let names = listed
        .lines()
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    for name in names {
        let words = [words, &[name.to_owned()]].concat();
        commands(world, &words, found);
    }
}

#[test]
fn each_help_begins_with_an_example_that_is_a_command() {
    let world = World::without_repository();
    let mut found = Vec::new();
    commands(&world, &[], &mut found);
    assert!(
        found.contains(&vec!["params".to_owned(), "set".to_owned()]),
        "{found:?}"
    );
    for words in found {
        let mut asked: Vec<&str> = words.iter().map(String::as_str).collect();
        asked.push("--help");
        let help = world.tracemark(&asked).ok();
        let mut lines = help.lines();
        let first = lines.next().unwrap();
        let title = if words.is_empty() {
            "Begin with:"
        } else {
            "Example:"
        };
        assert_eq!(first, title, "{words:?}");
        let example = lines.next().unwrap();
        let command = format!("tracemark {}", words.join(" "));
        assert!(example.contains(command.trim_end()), "{words:?}: {example}");
    }
}
