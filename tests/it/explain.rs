//! Does `tracemark hash --explain` tell the truth about the state it is in, and does `--safe` run nothing?

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::world::{Said, World};

/// A trap: how one gets into it, what is then said, and whether what happens next changes the hash.
struct Case {
    says: &'static str,
    enter: fn(&mut World),
    then: fn(&mut World),
    changes_the_hash: bool,
}

const CASES: [Case; 27] = [
    Case {
        says: "git add (1 changed file) would change this hash though no code changes",
        enter: |world| world.write("app.py", "edited\n"),
        then: |world| drop(world.git(&["add", "app.py"])),
        changes_the_hash: true,
    },
    Case {
        says: "git add or git add -N (1 untracked file) would change this hash",
        enter: |world| world.write("new.py", "new\n"),
        then: |world| drop(world.git(&["add", "-N", "new.py"])),
        changes_the_hash: true,
    },
    Case {
        says: "git commit or git reset (1 staged file) would change this hash",
        enter: |world| stage(world, "new.py", "new\n"),
        then: |world| drop(world.git(&["commit", "-q", "-m", "second"])),
        changes_the_hash: true,
    },
    Case {
        says: "app.py is first in git status and not staged: the helper trims the space before it, \
               and so loses a letter of the name; it looks for \"pp.py\", and the content counts only through the diff",
        enter: |world| world.write("app.py", "edited\n"),
        then: |world| ignored(world, "pp.py", "a decoy\n"),
        changes_the_hash: true,
    },
    Case {
        says: "/repo/pp.py in its place",
        enter: |world| {
            world.write("app.py", "edited\n");
            ignored(world, "pp.py", "a decoy\n");
        },
        then: |world| world.write("pp.py", "another decoy\n"),
        changes_the_hash: true,
    },
    Case {
        says: "/x, outside the worktree, in its place",
        enter: |world| {
            committed(world, "x../x", "inside\n");
            world.write("x../x", "edited\n");
            world.write("../x", "outside\n");
        },
        then: |world| world.write("../x", "outside, edited\n"),
        changes_the_hash: true,
    },
    Case {
        says: "the content of sp ace.py, é.py does not count here",
        enter: |world| {
            world.write("sp ace.py", "one\n");
            world.write("é.py", "one\n");
        },
        then: |world| {
            world.write("sp ace.py", "two\n");
            world.write("é.py", "two\n");
        },
        changes_the_hash: false,
    },
    Case {
        says: "the content of sp ace.py does not count here: the helper reads the file that has git's quotes in its name",
        enter: |world| {
            world.write("sp ace.py", "one\n");
            world.write("\"sp ace.py\"", "a decoy\n");
        },
        then: |world| world.write("sp ace.py", "two\n"),
        changes_the_hash: false,
    },
    Case {
        says: "the executable bit of run.sh does not count while untracked",
        enter: |world| {
            world.write("run.sh", "#!/bin/sh\n");
            chmod(world, "run.sh", 0o755);
        },
        then: |world| chmod(world, "run.sh", 0o644),
        changes_the_hash: false,
    },
    Case {
        says: "untracked links count as the content that they lead to, wherever that is: link",
        enter: |world| {
            committed(world, "same.py", "print('hello')\n");
            link(world, "app.py", "link");
        },
        then: |world| link(world, "same.py", "link"),
        changes_the_hash: false,
    },
    Case {
        says: "git add or git add -N (1 untracked file) would change this hash though no code changes",
        enter: |world| {
            drop(world.git(&["init", "-q", "nest"]));
            let commit = ["-C", "nest", "commit", "-q", "--allow-empty", "-m", "x"];
            drop(world.git(&commit));
        },
        then: |world| {
            let add = ["-c", "advice.addEmbeddedRepo=false", "add", "nest"];
            drop(world.git(&add));
        },
        changes_the_hash: true,
    },
    Case {
        says: "nothing in the nested repository counts: nest/",
        enter: |world| {
            drop(world.git(&["init", "-q", "nest"]));
            world.write("nest/file", "one\n");
        },
        then: |world| world.write("nest/file", "two\n"),
        changes_the_hash: false,
    },
    Case {
        says: "further edits in the dirty submodule do not count: sub",
        enter: |world| {
            world.add_submodule();
            world.commit("with submodule");
            world.write("sub/file", "one\n");
        },
        then: |world| world.write("sub/file", "two\n"),
        changes_the_hash: false,
    },
    Case {
        says: "a conflict resolved to ours and one resolved to theirs have the same hash: app.py",
        enter: |world| {
            conflict(world);
            world.write("app.py", "ours\n");
        },
        then: |world| world.write("app.py", "theirs\n"),
        changes_the_hash: false,
    },
    Case {
        says: "flagged assume-unchanged or skip-worktree, so changes do not count: app.py",
        enter: |world| flagged(world, "--assume-unchanged"),
        then: |world| world.write("app.py", "edited again\n"),
        changes_the_hash: false,
    },
    Case {
        says: "flagged assume-unchanged or skip-worktree, so changes do not count: app.py",
        enter: |world| flagged(world, "--skip-worktree"),
        then: |world| world.write("app.py", "edited again\n"),
        changes_the_hash: false,
    },
    Case {
        says: "no untracked file counts (1 here) until a tracked one changes: \
               status.showuntrackedfiles=no (local file:.git/config)",
        enter: |world| {
            set(world, "status.showUntrackedFiles", "no");
            world.write("new.py", "one\n");
        },
        then: |world| world.write("new.py", "two\n"),
        changes_the_hash: false,
    },
    Case {
        says: "GIT_DIFF_OPTS in this shell makes it differ from the daemon's, which is ",
        enter: |world| {
            world.write("app.py", "print('hello')\nprint('again')\n");
            world.set("GIT_DIFF_OPTS", "-u0");
        },
        then: |world| world.set("GIT_DIFF_OPTS", ""),
        changes_the_hash: true,
    },
    Case {
        says: "GIT_EXTERNAL_DIFF=true prints what is hashed: without it the hash is another",
        enter: |world| {
            world.write("app.py", "edited\n");
            world.set("GIT_EXTERNAL_DIFF", "true");
        },
        then: |world| world.set("GIT_EXTERNAL_DIFF", "echo same; :"),
        changes_the_hash: true,
    },
    Case {
        says: "diff.external=true (local file:.git/config) prints what is hashed: without it the hash is another",
        enter: |world| {
            world.write("app.py", "edited\n");
            set(world, "diff.external", "true");
        },
        then: |world| drop(world.git(&["config", "--unset", "diff.external"])),
        changes_the_hash: true,
    },
    Case {
        says: "diff.upper.textconv=tr a-z A-Z < (local file:.git/config) prints what is hashed of app.py:",
        enter: |world| {
            committed(world, ".gitattributes", "*.py diff=upper\n");
            set(world, "diff.upper.textconv", "tr a-z A-Z <");
            world.write("app.py", "edited\n");
        },
        then: |world| drop(world.git(&["config", "--unset", "diff.upper.textconv"])),
        changes_the_hash: true,
    },
    Case {
        says: "diff.mine.xfuncname=^T (local file:.git/config) belongs to a diff driver in use",
        enter: |world| {
            committed(world, ".gitattributes", "*.txt diff=mine\n");
            let text = "Title\nx\ny\nz\nw\nv\nlast\n";
            committed(world, "long.txt", text);
            set(world, "diff.mine.xfuncname", "^T");
            world.write("long.txt", text.replace("last", "other"));
        },
        then: |world| drop(world.git(&["config", "--unset", "diff.mine.xfuncname"])),
        changes_the_hash: true,
    },
    Case {
        says: ".git/info/exclude alone, so a teammate's counts: mine.log",
        enter: |world| ignored(world, "mine.log", "mine\n"),
        then: |world| world.write(".git/info/exclude", ""),
        changes_the_hash: true,
    },
    Case {
        says: "the diff abbreviates object ids to 8 digits as ",
        enter: |world| {
            world.write("app.py", "edited\n");
            pack_blobs(world, 1 << 14);
        },
        then: |world| {
            for entry in world.repo().join(".git/objects/pack").read_dir().unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
        },
        changes_the_hash: true,
    },
    Case {
        says: "the content of a.bin (binary) counts only through 7 digits of its object id",
        enter: |world| {
            committed(world, "a.bin", "\0one");
            world.write("a.bin", "\0two");
        },
        then: |world| world.write("a.bin", "\0three"),
        changes_the_hash: true,
    },
    Case {
        says: "git status calls it changed, git diff shows no change (line ends, or no regular file is there): lines.txt",
        enter: |world| {
            committed(world, ".gitattributes", "lines.txt text eol=lf\n");
            committed(world, "lines.txt", "one\ntwo\n");
            world.write("lines.txt", "one\r\ntwo\r\n");
        },
        then: |world| drop(world.git(&["add", "lines.txt"])),
        changes_the_hash: true,
    },
    Case {
        says: "core.filemode=false (local file:.git/config): without it the hash is another",
        enter: |world| {
            set(world, "core.fileMode", "false");
            chmod(world, "app.py", 0o755);
        },
        then: |world| set(world, "core.fileMode", "true"),
        changes_the_hash: true,
    },
];

#[test]
fn each_trap_is_named_where_one_is_in_it_and_only_there_and_is_as_it_is_said() {
    for case in CASES {
        let mut world = World::with_commit();
        let before = explained(&world);
        assert!(!before.contains(case.says), "{before}");
        (case.enter)(&mut world);
        let text = explained(&world);
        assert!(
            text.contains(case.says),
            "{:?} is not in\n{text}",
            case.says
        );
        let hash = hash(&world);
        (case.then)(&mut world);
        let changed = self::hash(&world) != hash;
        assert_eq!(changed, case.changes_the_hash, "{}", case.says);
    }
}

#[test]
fn every_setting_that_shapes_the_hash_is_named_with_the_file_that_it_stands_in() {
    let long: String = (0..40).map(|line| format!("{line}\n\n")).collect();
    let world = World::new();
    world.write("a.txt", &long);
    world.write("b.txt", "moved\n".repeat(9));
    world.write("é.txt", "one\n");
    world.write("z.txt", "kept\n");
    world.commit("first");
    world.git(&["mv", "b.txt", "c.txt"]);
    let edited = long.replace("12\n", "x\n").replace("20\n", "y\n");
    world.write("a.txt", edited);
    world.write("é.txt", "two\n");
    let order = world.base().join("order");
    std::fs::write(&order, "z*\n").unwrap();
    world.write("z.txt", "changed\n");
    for (key, value) in [
        ("color.diff", "always"),
        ("color.ui", "always"),
        ("core.abbrev", "12"),
        ("core.quotepath", "false"),
        ("diff.context", "1"),
        ("diff.dstprefix", "new/"),
        ("diff.interhunkcontext", "20"),
        ("diff.mnemonicprefix", "true"),
        ("diff.noprefix", "true"),
        ("diff.orderfile", order.to_str().unwrap()),
        ("diff.renames", "false"),
        ("diff.srcprefix", "old/"),
        ("diff.suppressblankempty", "true"),
        ("status.renames", "false"),
    ] {
        world.git(&["config", "--global", key, value]);
        let text = explained(&world);
        world.git(&["config", "--global", "--unset", key]);
        let home = world.base().join("home/.gitconfig");
        let said = format!("{key}={value} (global file:{}): without it", home.display());
        assert!(text.contains(&said), "{said}\n{text}");
    }
    let text = explained(&world);
    assert!(!text.contains("without it the hash is another"), "{text}");
}

#[test]
fn two_settings_that_hide_each_other_are_both_named() {
    let world = World::with_commit();
    world.write("app.py", "edited\n");
    for key in ["diff.noprefix", "diff.mnemonicprefix"] {
        set(&world, key, "true");
    }
    assert!(!explained(&world).contains("diff.mnemonicprefix"));
    for key in ["color.ui", "color.diff"] {
        set(&world, key, "always");
    }
    let text = explained(&world);
    assert!(text.contains("color.diff=always"), "{text}");
}

#[test]
fn a_setting_that_makes_no_difference_here_is_not_named() {
    let world = World::with_commit();
    world.write("app.py", "edited\n");
    set(&world, "diff.context", "9");
    set(&world, "diff.renames", "copies");
    assert!(!explained(&world).contains("without it"));
}

#[test]
fn in_a_subdirectory_diff_relative_is_named_as_what_the_daemon_does_not_do() {
    let world = World::with_commit();
    committed(&world, "deep/file", "one\n");
    world.write("app.py", "edited\n");
    set(&world, "diff.relative", "true");
    assert!(!explained(&world).contains("the daemon's"));
    let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
    command
        .args(["hash", "--explain"])
        .current_dir(world.repo().join("deep"));
    let text = Said::of(&command.output().unwrap()).ok();
    let said = format!(
        "diff.relative in this subdirectory makes it differ from the daemon's, which is {}",
        hash(&world)
    );
    assert!(text.contains(&said), "{said}\n{text}");
    assert!(!text.contains("would change this hash"), "{text}");
}

#[test]
fn every_variable_that_the_daemon_does_not_see_is_named_where_it_makes_a_difference() {
    for (name, value) in [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_PARAMETERS", "'diff.noprefix'='true'"),
        ("GIT_INDEX_FILE", "no-such-index"),
        ("GIT_DIR", "../other/.git"),
    ] {
        let mut world = World::with_commit();
        let other = world.base().join("other");
        let (here, there) = (world.repo(), other.to_str().unwrap());
        world.git(&["clone", "-q", here.to_str().unwrap(), there]);
        world.git(&["-C", there, "commit", "-q", "--allow-empty", "-m", "other"]);
        world.write("app.py", "edited\n");
        world.set("GIT_CONFIG_KEY_0", "diff.noprefix");
        world.set("GIT_CONFIG_VALUE_0", "true");
        world.set(name, value);
        let text = explained(&world);
        assert!(text.contains(&format!("{name} in this shell")), "{text}");
    }
}

#[test]
fn the_first_line_is_the_hash_and_the_parts_are_those_that_are_hashed() {
    let world = World::with_commit();
    stage(&world, "new.py", "new\n");
    world.write("app.py", "edited\n");
    world.write("other.py", "untracked\n");
    let text = explained(&world);
    assert_eq!(text.lines().next(), Some(hash(&world).as_str()));
    let head = world.git(&["rev-parse", "HEAD"]);
    for (title, arguments) in [
        ("staged", &["diff", "--cached"][..]),
        ("unstaged", &["diff"]),
    ] {
        let diff = world
            .command("git")
            .args(arguments)
            .output()
            .unwrap()
            .stdout;
        let said = format!(
            "{title:<13}{} bytes of git {} about 1 file, SHA-256 {}…\n",
            diff.len(),
            arguments.join(" "),
            &digits(&diff)[..12]
        );
        assert!(text.contains(&said), "{said}\n{text}");
    }
    let files = [
        format!("HEAD         {head}\n"),
        format!("  new.py: {}\n", digits(b"new\n")),
        format!("  other.py: {}\n", digits(b"untracked\n")),
        "  pp.py: unreadable (app.py: the first line of git status lost its first letter)\n"
            .to_owned(),
    ];
    for said in files {
        assert!(text.contains(&said), "{said}\n{text}");
    }
}

#[test]
fn a_clean_tree_is_head_and_nothing_is_to_be_known() {
    let world = World::with_commit();
    let head = world.git(&["rev-parse", "HEAD"]);
    let text = explained(&world);
    assert!(text.starts_with(&format!("{head}\n\n")), "{text}");
    assert!(text.contains("clean        git status prints nothing, so the hash is HEAD itself"));
    assert!(text.contains("no known trap"), "{text}");
}

#[test]
fn every_file_that_the_helper_cannot_read_is_said_to_be_so_and_why() {
    let world = World::with_commit();
    world.add_submodule();
    committed(&world, "old.py", "one\ntwo\nthree\nfour\n");
    world.git(&["mv", "old.py", "renamed.py"]);
    world.write("renamed.py", "one\ntwo\nthree\nfour\nfive\n");
    stage(&world, "added.py", "new\n");
    std::fs::remove_file(world.repo().join("added.py")).unwrap();
    world.write("sub/file", "one\n");
    world.write("sp ace.py", "x\n");
    world.git(&["init", "-q", "nest"]);
    link(&world, "nowhere", "broken");
    link(&world, "loop", "loop");
    link(&world, "/proc/self/mem", "memory");
    link(&world, "sub", "to-directory");
    let text = explained(&world);
    for said in [
        "added.py: unreadable (there is no such file)",
        "\"sp ace.py\": unreadable (git quotes the name, ",
        "old.py -> renamed.py: unreadable (git shows both names of a rename, ",
        "sub: unreadable (a submodule, ",
        "nest/: unreadable (a nested repository, ",
        "broken: unreadable (a symbolic link that leads nowhere)",
        "memory: unreadable (Input/output error",
        "loop: unreadable (symbolic links that lead in a circle)",
        "to-directory: unreadable (a directory)",
    ] {
        assert!(text.contains(&format!("  {said}")), "{said}\n{text}");
    }
}

#[test]
fn latin_1_in_a_diff_is_explained_and_is_still_no_hash() {
    let world = World::with_commit();
    committed(&world, "latin.py", "plain\n");
    world.write("latin.py", b"caf\xe9\n");
    let said = world.tracemark(&["hash", "--explain"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.starts_with("\n\nHEAD"), "{said:?}");
    assert!(
        said.stdout.contains("not UTF-8 in \"diff --git a/latin.py b/latin.py\": the helper raises UnicodeDecodeError"),
        "{said:?}"
    );
    assert!(
        said.stdout
            .contains("tracemark names this version by its tree"),
        "{said:?}"
    );
    assert!(said.stderr.contains("that is not UTF-8"), "{said:?}");
}

#[test]
fn a_pipe_in_place_of_a_file_is_explained_and_waited_for_by_nobody() {
    let world = World::with_commit();
    committed(&world, "empty", "");
    std::fs::remove_file(world.repo().join("empty")).unwrap();
    world.write("aa", "untracked\n");
    stage(&world, "a.py", "first\n");
    let made = world.command("mkfifo").arg("empty").status().unwrap();
    assert!(made.success());
    let said = world.tracemark(&["hash", "--explain"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("never finishes reading"), "{said:?}");
}

#[test]
fn a_diff_program_that_says_something_else_each_time_is_found_out() {
    let world = World::with_commit();
    world.write("app.py", "edited\n");
    set(&world, "diff.external", "echo");
    let said = world.tracemark(&["hash", "--explain"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.starts_with("\n\nHEAD"), "{said:?}");
    assert!(said.stderr.contains("something else each time"), "{said:?}");
}

#[test]
fn files_that_change_meanwhile_are_no_explanation() {
    let world = World::with_commit();
    let counter = "cat; echo x >> counter";
    committed(&world, ".gitattributes", "*.py filter=counting\n");
    set(&world, "filter.counting.clean", counter);
    world.write("counter", "");
    world.write("app.py", "edited\n");
    let said = world.tracemark(&["hash", "--explain"]);
    let why = "files changed while they were read";
    assert!(
        said.code == Some(1) && said.stderr.contains(why),
        "{said:?}"
    );
}

#[test]
fn long_lists_are_cut_and_names_cannot_move_the_cursor() {
    let world = World::with_commit();
    for number in 0..60 {
        world.write(&format!("file-{number}"), "x\n");
    }
    world.write("a\u{1b}[31mred", "x\n");
    let text = explained(&world);
    let lines = text.lines().filter(|line| line.starts_with("  file-"));
    assert!(
        lines.count() < 51 && text.contains("\n  and 11 more\n"),
        "{text}"
    );
    assert!(
        text.contains("a\\u{1b}[31mred") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn explaining_writes_nothing_into_the_git_directory() {
    let world = World::with_commit();
    world.write("touched.py", "same\n");
    world.commit("second");
    world.git(&["update-index", "--assume-unchanged", "touched.py"]);
    world.write("touched.py", "different\n");
    world.write("app.py", "edited\n");
    let hooked = world.repo().join(".git/hooks/post-index-change");
    script(&hooked, "touch .git/hook-ran");
    let before = world.files_with_times(".");
    for naming in ["git-hash", "commit", "tree"] {
        world
            .tracemark(&["hash", "--explain", "--naming", naming])
            .ok();
        world.tracemark(&["hash", "--explain", "--safe"]).ok();
        let after = world.files_with_times(".");
        let changed = after
            .iter()
            .filter(|(path, file)| before.get(*path) != Some(*file));
        let changed: Vec<_> = changed.map(|(path, _)| path).collect();
        assert!(
            changed.is_empty() && after.len() == before.len(),
            "{naming}: {changed:?}"
        );
    }
}

#[test]
fn a_tree_id_is_explained_by_what_differs_from_heads() {
    let world = World::with_commit();
    world.add_submodule();
    committed(&world, "gone.py", "x\n");
    world.write("sub/file", "dirty\n");
    world.write("new file.py", "new\n");
    std::fs::remove_file(world.repo().join("gone.py")).unwrap();
    ignored(&world, "mine.log", "x\n");
    let tree = world.tracemark(&["hash", "--naming", "tree"]).ok();
    let name = world
        .tracemark(&["hash", "--naming", "tree", "--name"])
        .ok();
    let text = world
        .tracemark(&["hash", "--naming", "tree", "--name", "--explain"])
        .ok();
    assert!(text.starts_with(&tree), "{text}");
    let object = world.git(&["hash-object", "new file.py"]);
    for said in [
        format!(
            "HEAD's       {}\n",
            world.git(&["rev-parse", "HEAD^{tree}"])
        ),
        format!("LoggedModel  {name}"),
        "changed      2 paths ".to_owned(),
        format!("  100644 {object} new file.py\n"),
        "  gone gone.py\n".to_owned(),
        "nested       sub: only its commit counts here".to_owned(),
        "what git ignores (mine.log)".to_owned(),
    ] {
        assert!(text.contains(&said), "{said}\n{text}");
    }
}

#[test]
fn before_the_first_commit_all_of_the_tree_is_new() {
    let world = World::new();
    world.write("app.py", "x\n");
    let text = world
        .tracemark(&["hash", "--naming", "tree", "--explain"])
        .ok();
    assert!(
        text.contains("there is no commit yet") && text.contains("changed      1 path "),
        "{text}"
    );
    world
        .tracemark(&["hash", "--explain"])
        .failed(1, "no commit yet");
}

#[test]
fn a_commit_is_explained_by_what_does_not_count() {
    let world = World::with_commit();
    world.write("app.py", "edited\n");
    let head = world.git(&["rev-parse", "HEAD"]);
    let text = world
        .tracemark(&["hash", "--naming", "commit", "--name", "--explain"])
        .ok();
    assert!(text.starts_with(&format!("{head}\n")), "{text}");
    assert!(
        text.contains(&format!("LoggedModel  repo-git-{}\n", &head[..8])),
        "{text}"
    );
    assert!(text.contains("edits        do not count"), "{text}");
}

/// Each plant leaves a mark when it runs.
const PLANTS: [(&str, &str, &[&str]); 6] = [
    (
        "filter.evil=er.clean",
        "cat",
        &["add", "--renormalize", "."],
    ),
    (
        "filter.other.process",
        "false",
        &["add", "--renormalize", "."],
    ),
    ("core.fsmonitor", "false", &["status"]),
    ("diff.shown.textconv", "cat", &["diff"]),
    ("core.hooksPath", "true", &["add", "."]),
    ("diff.external", "true", &["diff"]),
];

#[test]
fn a_safe_hash_runs_nothing_that_the_repository_names() {
    for (key, program, control) in PLANTS {
        let world = World::with_commit();
        let mark = world.base().join("ran");
        planted(&world, key, program, &mark);
        let bytes = "raw\n";
        world.write("app.py", bytes);
        world.write("untracked.py", bytes);
        for naming in [
            &[][..],
            &["--name"],
            &["--explain"],
            &["--naming", "commit"],
        ] {
            let arguments = [&["hash", "--safe"], naming].concat();
            world.tracemark(&arguments).ok();
            assert!(!mark.exists(), "{key} {arguments:?}");
        }
        let id = world.tracemark(&["hash", "--safe"]).ok();
        assert_eq!(id.trim(), raw_tree(&world), "{key}");
        drop(world.command("git").args(control).output().unwrap());
        assert!(
            mark.exists(),
            "{key} is no plant: git {control:?} does not run it"
        );
    }
}

#[test]
fn a_safe_name_runs_nothing_that_a_nested_repository_names() {
    let world = World::with_commit();
    world.add_submodule();
    world.commit("with submodule");
    let mark = world.base().join("ran");
    world.write("sub/file", "clean\n");
    world.git(&["-C", "sub", "add", "file"]);
    world.git(&["-C", "sub", "commit", "-q", "-m", "file"]);
    world.commit("with its file");
    world.write("sub/.gitattributes", "* filter=inner\n");
    // As large as before, so that a status reads it.
    world.write("sub/file", "dirty\n");
    let clean = format!("touch '{}'; cat", mark.display());
    world.git(&["-C", "sub", "config", "filter.inner.clean", &clean]);
    world.git(&["-C", "sub", "config", "filter.inner.required", "true"]);
    world.tracemark(&["hash", "--safe", "--name"]).ok();
    world
        .tracemark(&["hash", "--safe", "--name", "--explain"])
        .ok();
    assert!(!mark.exists());
    world
        .tracemark(&["hash", "--naming", "tree", "--name"])
        .ok();
    assert!(mark.exists());
}

#[test]
fn a_safe_hash_fetches_nothing_from_where_the_repository_says() {
    let world = World::with_commit();
    committed(&world, ".gitattributes", "app.py text=auto\n");
    committed(&world, "app.py", "one\r\n");
    let origin = world.base().join("origin");
    world.git(&["clone", "-q", "--bare", ".", origin.to_str().unwrap()]);
    world.git(&[
        "-C",
        origin.to_str().unwrap(),
        "config",
        "uploadpack.allowFilter",
        "true",
    ]);
    std::fs::remove_dir_all(world.repo()).unwrap();
    let url = format!("file://{}", origin.display());
    let part = world.repo();
    world.git(&[
        "clone",
        "-q",
        "--filter=blob:none",
        &url,
        part.to_str().unwrap(),
    ]);
    world.git(&[
        "update-index",
        "--cacheinfo",
        "100644",
        &"1".repeat(40),
        "app.py",
    ]);
    let mark = world.base().join("ran");
    let program = format!("touch '{}'; git-upload-pack", mark.display());
    set(&world, "remote.origin.uploadpack", &program);
    world.write("app.py", "two\r\n");
    world.tracemark(&["hash", "--safe"]).ok();
    assert!(!mark.exists());
    drop(world.tracemark(&["hash", "--naming", "tree"]));
    assert!(mark.exists(), "nothing was missing");
}

#[test]
fn line_ends_are_converted_in_a_safe_hash_as_in_any() {
    let world = World::with_commit();
    committed(
        &world,
        ".gitattributes",
        "*.txt text eol=crlf\n*.id ident\n",
    );
    world.write("lines.txt", "one\r\ntwo\r\n");
    world.write("x.id", "$Id: 1 $\n");
    let safe = world.tracemark(&["hash", "--safe"]).ok();
    assert_eq!(safe, world.tracemark(&["hash", "--naming", "tree"]).ok());
    assert_ne!(safe.trim(), raw_tree(&world));
}

#[test]
fn a_filter_that_did_not_run_is_named_in_the_explanation() {
    let world = World::with_commit();
    set(&world, "filter.lfs.clean", "cat");
    let text = world.tracemark(&["hash", "--safe", "--explain"]).ok();
    assert!(
        text.contains("safe         clean filters do not run (lfs)"),
        "{text}"
    );
    let text = world
        .tracemark(&["hash", "--naming", "tree", "--explain"])
        .ok();
    assert!(!text.contains("clean filters"), "{text}");
}

#[test]
fn a_safe_git_hash_is_refused_as_usage_that_is_wrong() {
    let world = World::with_commit();
    world
        .tracemark(&["hash", "--safe", "--naming", "git-hash"])
        .failed(2, "cannot be had with --safe");
}

#[track_caller]
fn explained(world: &World) -> String {
    let text = world.tracemark(&["hash", "--explain"]).ok();
    assert_eq!(text.lines().next(), Some(hash(world).as_str()), "{text}");
    text
}

#[track_caller]
fn hash(world: &World) -> String {
    world.tracemark(&["hash"]).ok().trim().to_owned()
}

fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn set(world: &World, key: &str, value: &str) {
    world.git(&["config", key, value]);
}

fn stage(world: &World, path: &str, text: &str) {
    world.write(path, text);
    world.git(&["add", path]);
}

fn committed(world: &World, path: &str, text: &str) {
    world.write(path, text);
    world.commit(path);
}

/// A file that this machine alone ignores.
fn ignored(world: &World, path: &str, text: &str) {
    world.write(".git/info/exclude", path);
    world.write(path, text);
}

fn flagged(world: &World, flag: &str) {
    world.git(&["update-index", flag, "app.py"]);
    world.write("app.py", "edited\n");
}

fn chmod(world: &World, path: &str, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(world.repo().join(path), permissions).unwrap();
}

fn link(world: &World, target: &str, path: &str) {
    let path = world.repo().join(path);
    drop(std::fs::remove_file(&path));
    std::os::unix::fs::symlink(target, path).unwrap();
}

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn conflict(world: &World) {
    world.git(&["checkout", "-q", "-b", "side"]);
    committed(world, "app.py", "theirs\n");
    world.git(&["checkout", "-q", "main"]);
    committed(world, "app.py", "ours\n");
    let merged = world.command("git").args(["merge", "-q", "side"]).output();
    assert!(!merged.unwrap().status.success());
}

/// Objects in a pack that nothing refers to.
fn pack_blobs(world: &World, count: usize) {
    use std::fmt::Write as _;
    let stream = (0..count).fold(String::new(), |mut stream, number| {
        let body = number.to_string();
        write!(stream, "blob\ndata {}\n{body}\n", body.len()).unwrap();
        stream
    });
    let input = world.base().join("blobs");
    std::fs::write(&input, stream).unwrap();
    let mut command = world.command("git");
    command.args(["fast-import", "--quiet"]);
    command.stdin(std::fs::File::open(input).unwrap());
    assert!(command.status().unwrap().success());
}

/// Makes git run a program that leaves a mark, for every file of the repository where it is a filter or driver.
fn planted(world: &World, key: &str, program: &str, mark: &Path) {
    committed(world, "plain.py", "committed\n");
    let (plant, hooks) = (world.base().join("plant"), world.base().join("hooks"));
    let text = format!("touch '{}'\nexec {program}", mark.display());
    script(&plant, &text);
    script(&hooks.join("post-index-change"), &text);
    let value = if key == "core.hooksPath" {
        hooks
    } else {
        plant
    };
    set(world, key, value.to_str().unwrap());
    let (section, driver) = key.split_once('.').unwrap();
    let driver = driver.rsplit_once('.').map_or("", |(driver, _)| driver);
    if !driver.is_empty() {
        world.write(".git/info/attributes", format!("*.py {section}={driver}\n"));
    }
    if section == "filter" {
        set(world, &format!("filter.{driver}.required"), "true");
    }
}

/// The tree of the bytes as they lie on disk.
fn raw_tree(world: &World) -> String {
    let index = world.base().join("raw-index");
    let git = |arguments: &[&str]| {
        let mut command = world.command("git");
        command.env("GIT_INDEX_FILE", &index).args(arguments);
        Said::of(&command.output().unwrap()).ok().trim().to_owned()
    };
    for path in git(&["ls-files", "-o", "--exclude-standard"]).lines() {
        let id = git(&["hash-object", "-w", "--no-filters", path]);
        git(&["update-index", "--add", "--cacheinfo", "100644", &id, path]);
    }
    git(&["write-tree"])
}
