//! Do the arrows between modules only go down? Reads the `crate::` paths of every source file.

use std::collections::BTreeMap;
use std::path::Path;

/// Modules and what each may use: only what stands before it.
const MAY_USE: [(&str, &[&str]); 41] = [
    ("addresses", &[]),
    ("backoff", &[]),
    ("ids", &[]),
    ("locks", &[]),
    ("text", &[]),
    ("unix_time", &[]),
    ("reflog", &["ids"]),
    ("marked_block", &[]),
    ("fs_util", &[]),
    ("git", &["fs_util"]),
    ("env_file", &["fs_util"]),
    ("protocol", &["env_file"]),
    ("local_socket", &[]),
    ("log_file", &["fs_util"]),
    ("log_line", &["text"]),
    ("paths", &["local_socket"]),
    ("touched", &[]),
    ("identity", &["fs_util", "git", "ids", "locks", "touched"]),
    ("ledger", &["fs_util", "ids", "locks"]),
    ("mlflow", &["fs_util", "ids", "locks", "text", "unix_time"]),
    ("repository", &["addresses", "git", "identity", "text"]),
    ("remote_fs", &[]),
    (
        "watch",
        &[
            "env_file",
            "fs_util",
            "git",
            "locks",
            "remote_fs",
            "repository",
            "touched",
        ],
    ),
    ("retention", &["text"]),
    ("sightings", &["ids"]),
    ("snapshot", &["fs_util", "git", "identity"]),
    (
        "config",
        &["fs_util", "identity", "ids", "mlflow", "retention", "text"],
    ),
    (
        "registry",
        &["config", "fs_util", "git", "identity", "repository"],
    ),
    (
        "written",
        &[
            "fs_util",
            "identity",
            "marked_block",
            "paths",
            "registry",
            "repository",
        ],
    ),
    (
        "trust",
        &["fs_util", "git", "identity", "registry", "repository"],
    ),
    ("hook_settings", &["fs_util", "git", "marked_block", "text"]),
    (
        "hooks",
        &[
            "fs_util",
            "git",
            "hook_settings",
            "marked_block",
            "repository",
        ],
    ),
    ("exclude", &["fs_util", "git", "marked_block", "repository"]),
    ("version", &["config", "identity", "ids", "mlflow"]),
    ("debt", &["identity", "ids", "mlflow", "version"]),
    ("worktree_state", &["backoff", "config", "ids", "version"]),
    (
        "session",
        &[
            "config",
            "debt",
            "fs_util",
            "git",
            "identity",
            "ids",
            "ledger",
            "locks",
            "mlflow",
            "paths",
            "reflog",
            "repository",
            "sightings",
            "snapshot",
            "unix_time",
            "version",
        ],
    ),
    ("client", &["fs_util", "local_socket", "paths", "protocol"]),
    ("cli", &["identity"]),
    (
        "daemon",
        &[
            "backoff",
            "client",
            "config",
            "env_file",
            "exclude",
            "fs_util",
            "identity",
            "ids",
            "ledger",
            "local_socket",
            "locks",
            "mlflow",
            "paths",
            "protocol",
            "reflog",
            "registry",
            "repository",
            "session",
            "text",
            "touched",
            "trust",
            "unix_time",
            "version",
            "watch",
            "worktree_state",
            "written",
        ],
    ),
    (
        "error",
        &[
            "config",
            "daemon",
            "fs_util",
            "git",
            "hooks",
            "ledger",
            "mlflow",
            "registry",
            "repository",
            "session",
            "snapshot",
            "text",
        ],
    ),
];

/// Crates, and the modules that may name them.
const FENCED: [(&str, &[&str]); 9] = [
    ("notify::", &["watch"]),
    ("git2::", &["identity", "repository", "watch"]),
    ("rusqlite::", &["ledger", "mlflow"]),
    ("reqwest::", &["mlflow"]),
    ("rustls::", &["mlflow"]),
    ("clap::", &["cli", "main"]),
    ("hyper::", &["daemon"]),
    ("uapi::", &["daemon"]),
    ("signal_hook::", &["daemon", "command", "identity", "main"]),
];

#[test]
fn modules_use_only_what_lies_below_them() {
    for (module, text) in sources() {
        if ["command", "main", "lib", "corpus", "scratch_repository"].contains(&module.as_str()) {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{module} has no place in the layers"));
        for used in used_modules(&text) {
            assert!(
                used == module || allowed.contains(&used.as_str()),
                "{module} uses {used}"
            );
        }
    }
}

#[test]
fn every_arrow_leads_to_a_module_that_stands_before() {
    for (at, (module, allowed)) in MAY_USE.iter().enumerate() {
        for below in *allowed {
            let stands = MAY_USE.iter().position(|(name, _)| name == below);
            assert!(stands.is_some_and(|it| it < at), "{module} uses {below}");
        }
    }
}

#[test]
fn every_arrow_is_there_for_a_use() {
    let sources = sources();
    for (module, allowed) in MAY_USE {
        let used = used_modules(&sources[module]);
        for below in allowed {
            assert!(
                used.iter().any(|it| it == below),
                "{module} never uses {below}"
            );
        }
    }
}

#[test]
fn outside_libraries_are_named_only_by_the_modules_of_the_table() {
    for (module, text) in sources() {
        for (library, doors) in FENCED {
            let is_named = text.match_indices(library).any(|(at, _)| {
                let before = text[..at].chars().next_back().unwrap_or(' ');
                !(before.is_alphanumeric() || before == '_' || before == ':')
            });
            assert!(
                !is_named || doors.contains(&module.as_str()),
                "{module} names {library}"
            );
        }
    }
}

/// What no file holds that says of itself to be pure, nor one below it.
const OUTSIDE: [&str; 8] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "rustix::",
    "::now()",
    ".elapsed()",
    "symlink_metadata",
];

#[test]
fn what_is_said_to_be_pure_knows_no_clock_no_disk_and_no_network() {
    let mut files = Vec::new();
    collect(&src(), &mut files);
    let text = |file: &Path| std::fs::read_to_string(file).unwrap();
    let is_pure = |file: &Path| {
        let mut lines = text(file);
        lines.truncate(lines.find("\nuse ").unwrap_or(lines.len()));
        lines.contains("\n//! Pure.") || lines.contains("\n//! Pure: ")
    };
    let (pure, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| is_pure(file));
    let is_below = |file: &Path| {
        pure.iter()
            .any(|top| file.starts_with(top.with_extension("")))
    };
    let below = others.into_iter().filter(|file| is_below(file));
    let all: Vec<_> = pure.iter().copied().chain(below).collect();
    assert!(all.len() > 20, "{all:?}");
    for file in all {
        let text = text(file);
        let code = text.split("#[cfg(test)]").next().unwrap();
        let found = OUTSIDE.iter().find(|word| code.contains(**word));
        assert_eq!(found, None, "{}", file.display());
    }
}

/// Words by which a header says what its module does not do or know.
const ABSENCES: [&str; 11] = [
    "pure", "no", "not", "none", "nothing", "nobody", "never", "nowhere", "neither", "only",
    "alone",
];

#[test]
fn every_module_says_what_it_is_for_and_what_it_must_not_know() {
    let mut files = Vec::new();
    collect(&src(), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let header: Vec<_> = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .collect();
        let header = header.join(" ").to_lowercase();
        let mut words = header.split(|letter: char| !letter.is_alphabetic());
        assert!(
            words.any(|word| ABSENCES.contains(&word)),
            "{} does not say what it must not know: {header:?}",
            file.display()
        );
    }
}

/// The words between backticks of the document that tells where things live.
fn words_of_the_map() -> Vec<String> {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let text = std::fs::read_to_string(map).unwrap();
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

#[test]
fn the_map_leads_to_every_module_of_the_library() {
    let words = words_of_the_map();
    let text = std::fs::read_to_string(src().join("lib.rs")).unwrap();
    let modules: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert!(modules.len() > 30, "{modules:?}");
    for module in modules {
        let is_it = |word: &String| word.split("::").next() == Some(module);
        assert!(words.iter().any(is_it), "{module} is not on the map");
    }
}

#[test]
fn whatever_the_map_names_is_there() {
    let mut files = Vec::new();
    collect(&src(), &mut files);
    let is_path = |word: &&String| {
        let mut parts = word.split("::");
        let is_name = |part: &str| part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        word.contains("::") && parts.all(is_name)
    };
    for word in words_of_the_map().iter().filter(is_path) {
        let (module, item) = word.rsplit_once("::").unwrap();
        let lies_at = |file: &Path, path: &str| {
            let path = path.replace("::", "/");
            file.ends_with(format!("{path}.rs"))
        };
        let is_module = files.iter().any(|file| lies_at(file, word));
        let is_item = files
            .iter()
            .filter(|file| lies_at(file, module))
            .any(|file| {
                let text = std::fs::read_to_string(file).unwrap();
                text.contains(&format!("::{item};")) || text.contains(&format!("pub fn {item}("))
            });
        assert!(is_module || is_item, "{word} is nowhere");
    }
}

pub(crate) fn src() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub(crate) fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The text of each top-level module without its tests.
fn sources() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    collect(&src(), &mut files);
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let relative = file.strip_prefix(src()).unwrap().with_extension("");
        let module = relative.iter().next().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        sources.entry(module).or_default().push_str(code);
    }
    sources
}

fn used_modules(text: &str) -> Vec<String> {
    assert!(!text.contains("crate::{"), "a path that is not read here");
    text.split("crate::")
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|name: &String| !name.is_empty())
        .collect()
}
