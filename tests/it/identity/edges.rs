//! Is the hash right at the edge, too? What cannot be read, never ends, has no text, or is asked for in a strange place.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tracemark::repository::Worktree;
use tracemark::touched::Touched;

use super::ground::{Ground, alone, alone_under, home};
use super::judge::{judge, readers, same};
use super::oracle;
use crate::world::Said;

/// A state and how it comes about in a repository of one commit.
type State = (&'static str, fn(&Ground));

/// As root, permissions bind nobody; `setpriv` of util-linux takes that away.
const WITHOUT_ROOTS_POWERS: &[&str] = &[
    "setpriv",
    "--bounding-set",
    "-dac_override,-dac_read_search",
];

const UNREADABLE: [State; 9] = [
    ("an untracked file", |ground| lock(ground, "new.py")),
    ("a changed file", |ground| {
        ground.write("a.py", "changed\n");
        lock(ground, "a.py");
    }),
    ("a file that was not changed", |ground| lock(ground, "a.py")),
    ("a staged file", |ground| {
        ground.write("a.py", "changed\n");
        ground.git(&["add", "-A"]);
        lock(ground, "a.py");
    }),
    ("an untracked directory", |ground| {
        ground.write("new/c.py", "new\n");
        lock(ground, "new");
    }),
    ("an ignored file", |ground| {
        ground.write(".gitignore", "*.log\n");
        lock(ground, "x.log");
    }),
    ("a directory of tracked files", |ground| {
        ground.write("d/c.py", "first\n");
        ground.write("d/e/c.py", "first\n");
        ground.commit_all("d");
        ground.write("a.py", "changed\n");
        lock(ground, "d");
    }),
    ("a directory of changed and of new files", |ground| {
        ground.write("d/c.py", "first\n");
        ground.commit_all("d");
        ground.write("d/c.py", "changed\n");
        ground.write("d/new.py", "new\n");
        lock(ground, "d");
    }),
    ("what is in a directory but for its names", |ground| {
        ground.write("d/c.py", "first\n");
        ground.commit_all("d");
        ground.write("d/new.py", "new\n");
        let names_only = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(ground.at("d"), names_only).unwrap();
    }),
];

#[test]
fn what_permissions_forbid_to_read_is_as_unreadable_as_for_the_helper() {
    let root = rustix::process::geteuid().is_root();
    let wrapper: &[&str] = if root { WITHOUT_ROOTS_POWERS } else { &[] };
    alone_under(wrapper, || each_is_right(&UNREADABLE));
}

/// States that look clean, or like one plain edit, to who looks at files and index alone.
const DECEPTIVE: [State; 41] = [
    (
        "a file came after git noted what is untracked",
        note_directories_before_a_file_comes,
    ),
    (
        "a file came after git noted what is untracked, in a conflict",
        |ground| {
            let blob = ground.git(&["rev-parse", "HEAD:a.py"]);
            let stages = (1..=3).map(|stage| format!("100644 {} {stage}\tc.py\n", blob.trim()));
            write_index(ground, &stages.collect::<String>());
            note_directories_before_a_file_comes(ground);
        },
    ),
    (
        "a file was written as it is committed, after what converted it is gone",
        |ground| {
            ground.write(".gitattributes", "*.py text eol=crlf\n");
            ground.write("lines.py", "a\nb\n");
            ground.commit_all("lines");
            std::fs::remove_file(ground.at("lines.py")).unwrap();
            ground.git(&["checkout", "-q", "lines.py"]);
            let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            let file = File::options().write(true).open(ground.at("lines.py"));
            file.unwrap().set_modified(long_ago).unwrap();
            ground.git(&["update-index", "-q", "--refresh"]);
            ground.git(&["rm", "-q", ".gitattributes"]);
            ground.git(&["commit", "-q", "-m", "no attributes"]);
            ground.write("lines.py", "a\nb\n");
            assert_eq!(ground.git(&["status", "--porcelain"]), "M lines.py");
        },
    ),
    ("a promise that is no truth value", |ground| {
        ground.git(&["config", "remote.o.promisor", "zzz"]);
    }),
    (
        "a path has two slashes behind the home directory",
        |ground| {
            std::fs::write(home().join("rules"), "*.log\n").unwrap();
            ground.git(&["config", "core.excludesFile", "~//rules"]);
            ground.write("x.log", "x\n");
        },
    ),
    (
        "a committed name is longer than any on the disk",
        |ground| {
            let blob = ground.git(&["rev-parse", "HEAD:a.py"]);
            let entry = format!("100644,{},{}", blob.trim(), "n".repeat(5000));
            ground.git(&["update-index", "--add", "--cacheinfo", &entry]);
            ground.git(&["commit", "-q", "-m", "long"]);
        },
    ),
    ("the list of packed refs is broken", |ground| {
        std::fs::write(ground.at(".git/packed-refs"), "# junk\n").unwrap();
    }),
    (
        "a value begins with a space that is none of git's",
        |ground| {
            append(ground, ".git/config", "[push]\n\tdefault = \u{a0}simple\n");
        },
    ),
    ("a value begins with a form feed", |ground| {
        append(ground, ".git/config", "[color]\n\tui = \u{c}auto\n");
    }),
    ("a truth value begins with a form feed", |ground| {
        append(ground, ".git/config", "[core]\n\tbare = \u{c}false\n");
    }),
    ("a path begins with a vertical tab", |ground| {
        rules(ground, "\u{b}", "");
    }),
    ("a path begins with a wide space", |ground| {
        rules(ground, "\u{3000}", "");
    }),
    ("a path ends with two carriage returns", |ground| {
        rules(ground, "", "\r\r");
    }),
    ("the index has no time", |ground| {
        let epoch = std::time::UNIX_EPOCH;
        for text in ["aaa", "bbb"] {
            ground.write("f", text);
            set_time(&ground.at("f"), epoch);
            if text == "aaa" {
                ground.git(&["add", "f"]);
                ground.git(&["commit", "-q", "-m", "f"]);
            }
        }
        set_time(&ground.at(".git/index"), epoch);
    }),
    ("HEAD is a name of too many names", |ground| {
        let branch = ground.git(&["symbolic-ref", "HEAD"]);
        let names = [1, 2, 3, 4, 5, 6].map(|number| format!("refs/heads/s{number}"));
        let next = names.iter().skip(1).map(String::as_str);
        for (name, next) in names.iter().zip(next.chain([branch.trim()])) {
            std::fs::write(ground.at(".git").join(name), format!("ref: {next}\n")).unwrap();
        }
        std::fs::write(ground.at(".git/HEAD"), "ref: refs/heads/s1\n").unwrap();
    }),
    ("a setting for writing the index is wrong", |ground| {
        ground.git(&["config", "core.sharedRepository", "bogus"]);
    }),
    ("nothing was changed", |_| {}),
    ("a file was touched", |ground| {
        ground.write("a.py", "first\n");
    }),
    ("a file is gone", |ground| {
        std::fs::remove_file(ground.at("a.py")).unwrap();
    }),
    ("a file became a link", |ground| {
        std::fs::remove_file(ground.at("a.py")).unwrap();
        symlink("b.py", ground.at("a.py")).unwrap();
    }),
    ("a file became executable", |ground| {
        std::fs::set_permissions(ground.at("a.py"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
    }),
    ("a file became a directory", |ground| {
        std::fs::remove_file(ground.at("a.py")).unwrap();
        ground.write("a.py/in.py", "first\n");
    }),
    ("a directory became a link to its double", |ground| {
        ground.write("d/c.py", "first\n");
        ground.commit_all("d");
        std::fs::rename(ground.at("d"), ground.at("../double")).unwrap();
        symlink("../double", ground.at("d")).unwrap();
    }),
    ("a directory became a repository", |ground| {
        ground.write("d/c.py", "first\n");
        ground.commit_all("d");
        ground.git(&["init", "-q", "d"]);
    }),
    ("HEAD is replaced", |ground| {
        ground.write("a.py", "second\n");
        ground.commit_all("second");
        ground.git(&["replace", "HEAD", "HEAD~1"]);
    }),
    ("a setting has a value that git refuses", |ground| {
        ground.git(&["config", "push.default", "bogus"]);
    }),
    ("a setting is half a line", |ground| {
        append(ground, ".git/config", "[user]\n\tname\n");
    }),
    (
        "a setting that only some commands read is wrong",
        |ground| {
            ground.git(&["config", "core.logAllRefUpdates", "bogus"]);
        },
    ),
    ("a setting of a filter is wrong", |ground| {
        ground.git(&["config", "filter.x.required", "abc"]);
    }),
    ("a key begins with a digit", |ground| {
        append(ground, ".git/config", "[alias]\n\t1a = x\n");
    }),
    ("a quote is not closed", |ground| {
        append(ground, ".git/config", "[user]\n\tname = \"x\n");
    }),
    ("git compares seconds", |ground| {
        // Until both writes fall into one second.
        let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let write = |text: &str| {
            ground.write("a.py", text);
            let file = ground.at("a.py");
            let open = std::fs::File::options().write(true).open(&file).unwrap();
            open.set_modified(past).unwrap();
            std::os::unix::fs::MetadataExt::ctime(&file.metadata().unwrap())
        };
        let is_done = (0..50).any(|_| {
            let first = write("1");
            ground.git(&["add", "a.py"]);
            ground.git(&["commit", "-q", "--allow-empty", "-m", "one"]);
            write("9") == first
        });
        assert!(is_done, "no two writes in one second");
    }),
    (
        "a submodule has a new file, and settings hide new files",
        |ground| {
            submodule(ground);
            ground.write("s/new.py", "new\n");
            ground.git(&["config", "status.showUntrackedFiles", "no"]);
        },
    ),
    ("modes do not count", |ground| {
        ground.git(&["config", "core.fileMode", "false"]);
        std::fs::set_permissions(ground.at("a.py"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
    }),
    ("line ends do not count", |ground| {
        ground.write(".gitattributes", "* text\n");
        ground.commit_all("text");
        ground.write("a.py", "first\r\n");
    }),
    (
        "line ends do not count by a file of the repository alone",
        |ground| {
            append(ground, ".git/info/attributes", "* text\n");
            ground.write("a.py", "first\r\n");
        },
    ),
    (
        "the file by which line ends do not count is gone",
        |ground| {
            ground.write(".gitattributes", "* text\n");
            ground.commit_all("text");
            std::fs::remove_file(ground.at(".gitattributes")).unwrap();
            ground.write("-new/c.py", "new\r\n");
            ground.write("a.py", "changed\r\n");
            ground.write("new.py", "new\r\n");
        },
    ),
    (
        "the file by which line ends do not count is gone, after others",
        |ground| {
            ground.write("-.py", "first\n");
            ground.write(".gitattributes", "* text\n");
            ground.commit_all("text");
            std::fs::remove_file(ground.at(".gitattributes")).unwrap();
            ground.write("-.py", "changed\r\n");
            ground.write("a.py", "changed\r\n");
            ground.write("new/c.py", "new\r\n");
        },
    ),
    (
        "the file by which line ends do not count became a link",
        |ground| {
            ground.write(".gitattributes", "* text\n");
            ground.commit_all("text");
            std::fs::rename(ground.at(".gitattributes"), ground.at("rules")).unwrap();
            symlink("rules", ground.at(".gitattributes")).unwrap();
            ground.write("-.py", "new\r\n");
            ground.write("a.py", "changed\r\n");
        },
    ),
    ("a file is only ignored", |ground| {
        append(ground, ".git/info/exclude", "*.log\n");
        ground.write("x.log", "x\n");
        ground.write("a.py", "changed\n");
    }),
    ("the branch was moved back", |ground| {
        ground.write("a.py", "second\n");
        ground.commit_all("second");
        ground.git(&["update-ref", "HEAD", "HEAD~1"]);
    }),
];

/// What `git add` takes that other commands refuse, and the other way round.
const REFUSED: [State; 21] = [
    ("a submodule in a conflict is not checked out", |ground| {
        contest(ground, "sub");
        std::fs::create_dir(ground.at("sub")).unwrap();
    }),
    ("a submodule in a conflict is gone", |ground| {
        contest(ground, "sub");
    }),
    (
        "modes do not count, and our side of a conflict is executable",
        |ground| {
            let blob = ground.git(&["rev-parse", "HEAD:a.py"]);
            let blob = blob.trim();
            ground.git(&["config", "core.fileMode", "false"]);
            ground.git(&["rm", "-q", "--cached", "a.py"]);
            for (mode, stage) in [("100644", 1), ("100755", 2), ("100644", 3)] {
                let line = format!("{mode} {blob} {stage}\ta.py\n");
                write_index(ground, &line);
            }
            ground.write("a.py", "resolved\n");
        },
    ),
    ("the list of submodules was staged as a link", |ground| {
        ground.write(".gitmodules", "\n");
        ground.commit_all("list");
        std::fs::remove_file(ground.at(".gitmodules")).unwrap();
        symlink("one", ground.at(".gitmodules")).unwrap();
        ground.git(&["add", ".gitmodules"]);
        std::fs::remove_file(ground.at(".gitmodules")).unwrap();
        symlink("another", ground.at(".gitmodules")).unwrap();
    }),
    (
        "a repository that is ignored took the place of a file",
        |ground| {
            ground.write(".gitignore", "a.py\n");
            std::fs::remove_file(ground.at("a.py")).unwrap();
            ground.git(&["clone", "-q", ".", "a.py"]);
        },
    ),
    (
        "a submodule without a commit has new files alone",
        |ground| {
            submodule(ground);
            ground.write("s/new.py", "new\n");
            ground.git(&["-C", "s", "checkout", "-q", "--orphan", "other"]);
            ground.git(&["-C", "s", "rm", "-rqf", "--cached", "."]);
        },
    ),
    ("a repository took the place of a file", |ground| {
        std::fs::remove_file(ground.at("a.py")).unwrap();
        ground.git(&["clone", "-q", ".", "a.py"]);
        ground.write("a.py/b.py", "changed inside\n");
    }),
    (
        "a repository took the place of a link further below",
        |ground| {
            ground.write("d/c.py", "first\n");
            symlink("c.py", ground.at("d/link")).unwrap();
            ground.commit_all("link");
            std::fs::remove_file(ground.at("d/link")).unwrap();
            ground.git(&["clone", "-q", ".", "d/link"]);
        },
    ),
    (
        "a repository without a commit took the place of a file",
        |ground| {
            std::fs::remove_file(ground.at("a.py")).unwrap();
            ground.git(&["init", "-q", "a.py"]);
        },
    ),
    ("a submodule has no commit checked out", |ground| {
        submodule(ground);
        ground.git(&["-C", "s", "checkout", "-q", "--orphan", "other"]);
    }),
    ("a setting of git add is wrong", |ground| {
        ground.git(&["config", "add.ignoreErrors", "bogus"]);
    }),
    ("an old name of a setting of git add is wrong", |ground| {
        ground.write("new.py", "new\n");
        ground.git(&["config", "add.ignore-errors", "bogus"]);
    }),
    (
        "a sparse checkout hides every file but a new one",
        |ground| {
            ground.git(&["sparse-checkout", "set", "--no-cone", "/nothing"]);
            ground.write("new.py", "new\n");
        },
    ),
    ("a setting of colours is wrong", |ground| {
        ground.git(&["config", "color.ui", "bogus"]);
    }),
    ("the list of submodules became a link", |ground| {
        ground.write(
            ".gitmodules",
            "[submodule \"s\"]\n\tpath = s\n\turl = ./s\n",
        );
        ground.commit_all("list");
        std::fs::rename(ground.at(".gitmodules"), ground.at("list")).unwrap();
        symlink("list", ground.at(".gitmodules")).unwrap();
    }),
    (
        "a list of submodules further below became a link",
        |ground| {
            ground.write("d/.gitmodules", "\n");
            ground.commit_all("list");
            std::fs::remove_file(ground.at("d/.gitmodules")).unwrap();
            symlink("nowhere", ground.at("d/.gitmodules")).unwrap();
        },
    ),
    ("a new link has the name of the list", |ground| {
        symlink("a.py", ground.at(".gitmodules")).unwrap();
    }),
    (
        "a name in the index is longer than any on the disk",
        |ground| {
            let blob = ground.git(&["rev-parse", "HEAD:a.py"]);
            let entry = format!("100644,{},{}", blob.trim(), "n".repeat(300));
            ground.git(&["update-index", "--add", "--cacheinfo", &entry]);
        },
    ),
    ("the repository of a submodule has no HEAD", |ground| {
        submodule(ground);
        std::fs::remove_file(ground.at(".git/modules/s/HEAD")).unwrap();
    }),
    ("the index of a submodule is broken", |ground| {
        submodule(ground);
        std::fs::write(ground.at(".git/modules/s/index"), "broken").unwrap();
    }),
    ("a submodule is not checked out", |ground| {
        submodule(ground);
        std::fs::remove_dir_all(ground.at("s")).unwrap();
        std::fs::create_dir(ground.at("s")).unwrap();
    }),
];
fn rules(ground: &Ground, before: &str, after: &str) {
    ground.write("../rules", "x.log\n");
    let rules = ground.at("../rules");
    let line = format!(
        "[core]\n\texcludesFile = {before}{}{after}\n",
        rules.display()
    );
    append(ground, ".git/config", &line);
    ground.write("x.log", "x\n");
    ground.write("y.py", "y\n");
}

fn set_time(path: &Path, time: std::time::SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Git compares seconds: where the index is as old as a directory, it looks into that again.
fn note_directories_before_a_file_comes(ground: &Ground) {
    for (key, value) in [
        ("core.untrackedCache", "true"),
        ("core.trustctime", "false"),
        ("status.showUntrackedFiles", "all"),
    ] {
        ground.git(&["config", key, value]);
    }
    let then = SystemTime::now() - Duration::from_hours(1);
    set_time(ground.root(), then);
    for _ in 0..2 {
        ground.git(&["status"]);
    }
    ground.write("new/c.py", "new\n");
    set_time(ground.root(), then);
    set_time(&ground.at(".git/index"), then);
}

fn submodule(ground: &Ground) {
    let add = ["submodule", "--quiet", "add", "./.", "s"];
    ground.git(&[&["-c", "protocol.file.allow=always"][..], &add].concat());
    ground.commit_all("submodule");
}

#[test]
fn what_git_add_takes_and_refuses_is_taken_and_refused() {
    alone(|| each_is_right(&REFUSED));
}

/// What a look may see without git: files that no commit has, and what is staged.
const NEW_OR_STAGED: [State; 22] = [
    ("an untracked directory has rules of its own", |ground| {
        ground.write(".gitignore", "*.log\n");
        ground.write("new/.gitignore", "!x.log\n/d/\n");
        ground.write("new/x.log", "x\n");
        ground.write("new/d/y.py", "y\n");
        ground.write("new/e/d/y.py", "y\n");
    }),
    ("a tracked file lies in an ignored directory", |ground| {
        ground.write("build/c.py", "first\n");
        ground.commit_all("build");
        ground.write(".gitignore", "build/\n");
        ground.write("build/new.py", "new\n");
    }),
    ("rules take back what others say", |ground| {
        ground.write(
            ".gitignore",
            ".env*\n!.env.example\n__pycache__/\n*.py[co]\n",
        );
        for name in [
            ".env",
            ".env.example",
            "d/__pycache__/a.pyc",
            "d/b.pyo",
            "d/c.pyx",
        ] {
            ground.write(name, "x\n");
        }
    }),
    ("the rules are a link", |ground| {
        ground.write("rules", "*.log\n");
        symlink("rules", ground.at(".gitignore")).unwrap();
        ground.write("x.log", "x\n");
    }),
    ("the rules are a directory", |ground| {
        ground.write(".gitignore/x", "x\n");
        ground.write("x.log", "x\n");
    }),
    ("rules have spaces and backslashes", |ground| {
        ground.write(".gitignore", "x.log \ny\\ \n\\#z\n");
        for name in ["x.log", "x.log ", "y", "y ", "#z"] {
            ground.write(name, "x\n");
        }
    }),
    ("rules end lines as on Windows", |ground| {
        ground.write(".gitignore", "x.log\r\n");
        ground.write("x.log", "x\n");
    }),
    (
        "the user has rules in a file that a setting names",
        |ground| {
            ground.write("../rules", "*.log\n");
            let rules = ground.at("../rules");
            ground.git(&["config", "core.excludesFile", rules.to_str().unwrap()]);
            ground.write("x.log", "x\n");
            ground.write("y.py", "y\n");
        },
    ),
    (
        "the user's rules lie in the home directory, and a later setting names others",
        |ground| {
            std::fs::write(home().join("rules"), "*.log\n").unwrap();
            ground.git(&["config", "--global", "core.excludesFile", "~/rules"]);
            ground.write("x.log", "x\n");
            ground.write("y.tmp", "y\n");
            ground.write("../rules", "*.tmp\n");
            let rules = ground.at("../rules");
            ground.git(&["config", "core.excludesFile", rules.to_str().unwrap()]);
        },
    ),
    ("the user's rules lie in the home directory", |ground| {
        ground.git(&["config", "--global", "core.excludesFile", "~/rules"]);
        ground.write("x.log", "x\n");
        ground.write("y.tmp", "y\n");
    }),
    ("the user's rules are a directory", |ground| {
        ground.write("x.log", "x\n");
        ground.git(&["config", "core.excludesFile", "~/"]);
    }),
    ("the user's rules start at the worktree", |ground| {
        ground.git(&["config", "--global", "core.excludesFile", "rules"]);
        ground.write("rules", "*.log\n");
        ground.write("x.log", "x\n");
    }),
    ("the user's rules are named and not there", |ground| {
        ground.git(&["config", "--global", "core.excludesFile", "~/none"]);
        ground.write("x.log", "x\n");
    }),
    ("an untracked directory is a repository", |ground| {
        std::fs::remove_file(home().join(".gitconfig")).unwrap();
        ground.write("new/c.py", "new\n");
        ground.git(&["init", "-q", "new"]);
    }),
    ("an untracked directory is empty", |ground| {
        std::fs::create_dir_all(ground.at("new/d")).unwrap();
    }),
    ("untracked files have attributes", |ground| {
        ground.write(".gitattributes", "* text\n");
        ground.write("a.py", "first\r\n");
    }),
    ("a staged file was deleted and made again", |ground| {
        ground.git(&["rm", "-q", "--cached", "a.py"]);
        ground.write("a.py", "again\n");
    }),
    ("staged files were edited again", |ground| {
        ground.write("a.py", "staged\n");
        ground.write("new.py", "staged\n");
        ground.git(&["add", "-A"]);
        ground.write("a.py", "edited\n");
        std::fs::remove_file(ground.at("new.py")).unwrap();
    }),
    ("a staged file was renamed", |ground| {
        ground.git(&["mv", "a.py", "c.py"]);
    }),
    (
        "a link is staged in place of a file, and a mode",
        |ground| {
            std::fs::remove_file(ground.at("a.py")).unwrap();
            symlink("b.py", ground.at("a.py")).unwrap();
            ground.git(&["update-index", "--chmod=+x", "b.py"]);
            ground.git(&["add", "a.py"]);
        },
    ),
    ("a file is only meant to be added", |ground| {
        ground.write("new.py", "new\n");
        ground.git(&["add", "-N", "new.py"]);
    }),
    ("a name needs quotes", |ground| {
        for name in ["a b", "\u{e9}", "tab\t", "\"q\""] {
            ground.write(name, "x\n");
        }
    }),
];

#[test]
fn what_is_new_or_staged_counts_as_for_git() {
    alone(|| each_is_right(&NEW_OR_STAGED));
}

fn append(ground: &Ground, path: &str, text: &str) {
    let path = ground.at(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, before + text).unwrap();
}

#[test]
fn what_looks_clean_is_clean_only_where_git_says_so() {
    alone(|| each_is_right(&DECEPTIVE));
}

/// Makes a file that nobody may read, or a directory that nobody may enter.
fn lock(ground: &Ground, path: &str) {
    let path = ground.at(path);
    if !path.exists() {
        std::fs::write(&path, "locked\n").unwrap();
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let can_read = if path.is_dir() {
        std::fs::read_dir(&path).is_ok()
    } else {
        std::fs::read(&path).is_ok()
    };
    assert!(!can_read, "permissions do not bind this process");
}

const ENDLESS: [State; 11] = [
    ("an endless device behind the first line", |ground| {
        change(ground, "d/dev/zero");
    }),
    ("a device that is full", |ground| {
        change(ground, "d/dev/full");
    }),
    ("a device that is empty", |ground| {
        change(ground, "d/dev/null");
    }),
    ("a device that waits", |ground| {
        change(ground, "d/dev/stdin");
    }),
    ("a file outside of the repository", |ground| {
        change(ground, "d/proc/sys/kernel/ostype");
    }),
    ("a pipe instead of a file", |ground| pipe(ground, "a.py")),
    ("a pipe instead of an empty file", |ground| {
        ground.write("a.py", "");
        ground.commit_all("empty");
        pipe(ground, "a.py");
    }),
    ("a pipe that nobody added", |ground| pipe(ground, "pipe")),
    ("a pipe behind the first line", |ground| {
        change(ground, "d.py");
        pipe(ground, ".py");
    }),
    ("a link to a pipe", |ground| {
        pipe(ground, "../pipe");
        symlink("../pipe", ground.at("link")).unwrap();
    }),
    ("a link to itself", |ground| {
        symlink("link", ground.at("link")).unwrap();
    }),
];

#[test]
fn what_never_ends_is_an_error_and_not_waited_for() {
    alone(|| each_is_right(&ENDLESS));
}

/// Leaves a submodule in a conflict between three commits.
fn contest(ground: &Ground, path: &str) {
    let head = ground.git(&["rev-parse", "HEAD"]);
    let entries: String = (1..=3)
        .map(|stage| format!("160000 {} {stage}\t{path}\n", head.trim()))
        .collect();
    write_index(ground, &entries);
}

fn write_index(ground: &Ground, entries: &str) {
    std::fs::write(ground.at("../entries"), entries).unwrap();
    let entries = File::open(ground.at("../entries")).unwrap();
    let mut command = ground.command("git");
    command
        .args(["update-index", "--index-info"])
        .stdin(entries);
    assert!(command.status().unwrap().success());
}

fn change(ground: &Ground, path: &str) {
    ground.write(path, "first\n");
    ground.commit_all("first");
    ground.write(path, "changed\n");
}

fn pipe(ground: &Ground, path: &str) {
    drop(std::fs::remove_file(ground.at(path)));
    assert!(
        ground
            .command("mkfifo")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

fn each_is_right(states: &[State]) {
    let wrong: Vec<String> = states
        .iter()
        .filter_map(|(name, make)| {
            let ground = of_one_commit("repo");
            make(&ground);
            is_right(&ground).err().map(|why| format!("{name}: {why}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn of_one_commit(name: impl AsRef<Path>) -> Ground {
    let ground = Ground::new(&[]);
    let from = ground.root().to_owned();
    let ground = ground.in_place(name);
    std::fs::rename(from, ground.root()).unwrap();
    ground.write("a.py", "first\n");
    ground.write("b.py", "first\n");
    ground.commit_all("first");
    ground
}

fn is_right(ground: &Ground) -> Result<(), String> {
    let worktree = worktree_of(ground);
    let mut readers = readers(&worktree);
    judge(ground, &worktree, &mut readers, &Touched::Everything)?;
    judge(ground, &worktree, &mut readers, &Touched::default())
}

fn worktree_of(ground: &Ground) -> Worktree {
    let git_dir = ground.at(".git");
    let worktree = Worktree {
        root: ground.root().to_owned(),
        common_dir: git_dir.clone(),
        git_dir,
    };
    std::fs::create_dir_all(worktree.private_dir()).unwrap();
    worktree
}

#[test]
fn a_directory_in_place_of_another_brings_attributes_although_it_ignores_everything() {
    alone(|| {
        let ground = of_one_commit("repo");
        let worktree = worktree_of(&ground);
        ground.write("d/new.py", "staged\n");
        ground.git(&["add", "-A"]);
        let mut readers = readers(&worktree);
        // What was just written is not built upon.
        while readers.whole.passes().narrow == 0 {
            readers.whole.read(&Touched::Everything).unwrap();
            readers.whole.read(&Touched::default()).unwrap();
        }
        ground.write("../moved/.gitignore", "*\n");
        ground.write("../moved/.gitattributes", "*.py -diff\n");
        std::fs::rename(ground.at("d"), ground.at("../away")).unwrap();
        std::fs::rename(ground.at("../moved"), ground.at("d")).unwrap();
        let touched = Touched::Paths(BTreeSet::from([ground.at("d")]));
        judge(&ground, &worktree, &mut readers, &touched).unwrap();
    });
}

#[test]
fn what_never_ends_is_named_and_an_open_standard_input_is_not_waited_for() {
    alone(|| {
        for path in ["/dev/zero", "/dev/stdin"] {
            let ground = of_one_commit("repo");
            change(&ground, &format!("d{path}"));
            let mut command = ground.command(env!("CARGO_BIN_EXE_tracemark"));
            command
                .arg("hash")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let held_open = child.stdin.take();
            let said = Said::of(&child.wait_with_output().unwrap());
            drop(held_open);
            said.failed(1, path);
        }
    });
}

#[test]
fn the_root_may_have_any_name() {
    let names = [
        &b"caf\xe9"[..],
        b"white ",
        b"\xe3\x80\x80",
        b" white",
        b"-c",
        b"qu\"ote",
        b"new\nline",
        b"line\n",
        b"a:b",
    ];
    alone(|| {
        let mut wrong = Vec::new();
        for name in names {
            let ground = of_one_commit(OsStr::from_bytes(name));
            for state in ["clean", "dirty"] {
                let judged = is_right(&ground);
                wrong.extend(
                    judged
                        .err()
                        .map(|why| format!("{ground:?}, {state}: {why}")),
                );
                ground.write("a.py", "changed\n");
                ground.write("b.py", "changed\n");
                ground.write("new.py", "new\n");
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

#[test]
fn no_locale_changes_the_answer() {
    alone(|| {
        let ground = of_one_commit("repo");
        ground.write("a.py", "caf\u{e9} \u{30e2}\n");
        ground.write("n\u{e9}.py", "caf\u{e9}\n");
        let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/git_helper.py");
        let expected = oracle::git_hash(&|program| ground.command(program));
        for locale in ["C", "POSIX", "C.UTF-8", "xx_YY.ISO-8859-1", "de_DE@euro"] {
            let in_locale = |program: &str| {
                let mut command = ground.command(program);
                command.env_remove("LANG").env("LC_ALL", locale);
                command
            };
            let said = |output| Ok(Said::of(&output).ok().trim().to_owned());
            let by_python = in_locale("python3").arg(&helper).output().unwrap();
            let ours = in_locale(env!("CARGO_BIN_EXE_tracemark"))
                .arg("hash")
                .output()
                .unwrap();
            same(locale, &said(ours), "the helper", &expected).unwrap();
            same(locale, &said(by_python), "the helper", &expected).unwrap();
        }
    });
}

#[test]
fn a_huge_untracked_file_is_hashed_without_being_held_in_memory() {
    alone(|| {
        let ground = of_one_commit("repo");
        let file = std::fs::File::create(ground.at("huge.bin")).unwrap();
        file.set_len(HUGE).unwrap();
        let limited = format!("ulimit -v {} && exec \"$0\" hash", HUGE / 2 / 1024);
        let mut command = ground.command("sh");
        let output = command
            .args(["-c", &limited, env!("CARGO_BIN_EXE_tracemark")])
            .output()
            .unwrap();
        let answer = Ok(Said::of(&output).ok().trim().to_owned());
        let expected = oracle::git_hash(&|program| ground.command(program));
        same("tracemark hash", &answer, "the helper", &expected).unwrap();
    });
}

/// More than 32 bits can count, in bytes; nothing of it is on the disk.
const HUGE: u64 = 3 << 30;

/// What a hook says that git asks for changed files: everything may have changed, nothing did, or it fails (githooks(5)).
const FSMONITORS: [(&str, &str); 4] = [
    ("says everything", "printf 'token\\0/\\0'"),
    ("says the truth", "printf 'token\\0a.py\\0new.py\\0'"),
    ("says nothing", "printf 'token\\0'"),
    ("fails", "exit 1"),
];

#[test]
fn a_hook_that_watches_files_for_git_is_trusted_as_the_helpers_git_trusts_it() {
    alone(|| {
        for (name, script) in FSMONITORS {
            let ground = of_one_commit("repo");
            ground.add_fsmonitor(script);
            for state in ["clean", "dirty", "staged"] {
                is_right(&ground)
                    .unwrap_or_else(|why| panic!("a hook that {name}, {state}: {why}"));
                match state {
                    "clean" => {
                        ground.write("a.py", "changed\n");
                        ground.write("new.py", "new\n");
                    }
                    _ => drop(ground.git(&["add", "-A"])),
                }
            }
        }
    });
}
