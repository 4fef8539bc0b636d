//! Every kind of repository that git can make: is each answer that of the oracles, clean, dirty and staged?

use tracemark::touched::Touched;

use super::eyes::Watch;
use super::ground::{Ground, alone};
use super::judge::{judge, readers};

/// How a repository becomes one of its kind. Words are those of a command line.
enum How {
    /// By `git init` with these words.
    Init(&'static str),
    /// By a setting since before the first commit, a key and a value.
    Set(&'static str),
    /// By a call of git after the last commit.
    Then(&'static str),
    Made(fn() -> Ground),
}

use How::{Init, Made, Set, Then};

/// A name, how it is made, a call of git, and what that prints in a repository of that kind.
type Kind = (&'static str, How, &'static str, &'static str);

/// None is left out where git is too old for it: then the test fails.
#[rustfmt::skip]
const KINDS: [Kind; 18] = [
    ("reftable", Init("--ref-format=reftable"), "rev-parse --show-ref-format", "reftable"),
    ("sha256", Init("--object-format=sha256"), "rev-parse --show-object-format", "sha256"),
    ("both", Init("--object-format=sha256 --ref-format=reftable"), "rev-parse --show-ref-format", "reftable"),
    ("split index", Then("update-index --split-index"), "rev-parse --shared-index-path", "sharedindex."),
    ("many files", Set("feature.manyFiles true"), "update-index --show-index-version", "4"),
    ("sparse checkout", Then("sparse-checkout set --no-cone /pkg/*.py /.git*"), "ls-files -t", "S data/e.bin"),
    ("sparse index", Then("sparse-checkout set --cone --sparse-index pkg"), "ls-files --sparse", "data/\n"),
    ("linked worktree", Made(linked), "rev-parse --git-dir", "worktrees/other"),
    ("worktree of a bare repository", Made(bare), "rev-parse --git-common-dir", "bare.git"),
    ("git directory elsewhere", Then("init -q --separate-git-dir=../elsewhere"), "rev-parse --git-dir", "elsewhere"),
    ("submodule", Made(submodule), "submodule status", " sm (heads/main)"),
    ("large files by a filter", Set("filter.large.clean sha256sum"), "cat-file -p HEAD:data/e.bin", "  -\n"),
    ("a filter that changes nothing", Set("filter.large.clean cat"), "check-attr filter data/e.bin", "large"),
    ("autocrlf", Set("core.autocrlf true"), "ls-files --eol crlf.txt", "i/lf    w/crlf"),
    ("partial clone", Made(partial), "rev-list --objects --all --missing=print", "\n?"),
    ("shallow clone", Made(|| clone(&["--depth=1"])), "rev-parse --is-shallow-repository", "true"),
    ("borrowed objects", Made(|| clone(&["--shared"])), "count-objects -v", "alternate: "),
    ("packed", Then("repack -adq"), "count-objects -v", "packs: 1"),
];

/// What is done to each, one after another, and what it is then.
type State = (&'static str, fn(&Ground));

const STATES: [State; 3] = [
    ("clean", |_| {}),
    ("dirty", |ground| {
        ground.write("pkg/c.py", "changed\r\n");
        ground.write("pkg/new.py", "untracked\n");
        std::fs::remove_file(ground.at("pkg/d.py")).unwrap();
        if ground.at("sm").exists() {
            ground.write("sm/inner.txt", "changed\n");
        }
    }),
    ("staged, and changed again", |ground| {
        ground.call("add -A --sparse");
        ground.write("pkg/c.py", "changed twice\n");
    }),
];

#[test]
fn each_kind_of_repository_has_the_right_identity_in_each_state() {
    alone(|| {
        let wrong: Vec<String> = KINDS.iter().flat_map(what_is_wrong_with).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

fn what_is_wrong_with((name, how, proof, shown): &Kind) -> Vec<String> {
    let ground = match how {
        Init(words) => committed(words, None),
        Set(setting) => committed("", Some(setting)),
        Then(words) => after(words),
        Made(make) => make(),
    };
    let prove = || {
        let seen = ground.call(proof) + "\n";
        assert!(seen.contains(shown), "{name}: git {proof} prints {seen:?}");
    };
    prove();
    let worktree = ground.worktree();
    let (mut watch, mut readers) = (Watch::begin(&worktree, &[]), readers(&worktree));
    let judged = STATES.iter().map(|(state, change)| {
        change(&ground);
        let touched = Touched::Paths(watch.take(|_| false));
        let judged = judge(&ground, &worktree, &mut readers, &touched);
        judged.map_err(|why| format!("{name}, {state}: {why}"))
    });
    let wrong = judged.filter_map(Result::err).collect();
    prove();
    wrong
}

/// A repository with two commits.
fn committed(init: &str, setting: Option<&str>) -> Ground {
    let ground = Ground::new(&init.split_whitespace().collect::<Vec<_>>());
    if let Some(setting) = setting {
        let (key, value) = setting.split_once(' ').unwrap();
        ground.git(&["config", key, value]);
    }
    ground.write(".gitattributes", "data/*.bin filter=large\n");
    for file in ["a.py", "pkg/c.py", "pkg/d.py", "data/e.bin"] {
        ground.write(file, format!("first {file}\n"));
    }
    ground.write("crlf.txt", "one\r\ntwo\r\n");
    ground.commit_all("first");
    ground.write("a.py", "second\n");
    ground.write("data/e.bin", "second\n");
    ground.commit_all("second");
    ground
}

fn after(call: &str) -> Ground {
    let ground = committed("", None);
    ground.call(call);
    ground
}

fn submodule() -> Ground {
    let ground = committed("", None);
    ground.add_submodule();
    ground.commit_all("submodule");
    ground
}

fn linked() -> Ground {
    after("worktree add -q ../other -b side").in_place("other")
}

fn bare() -> Ground {
    let ground = after("clone -q --bare . ../bare.git");
    ground.call("-C ../bare.git worktree add -q ../other main");
    ground.in_place("other")
}

fn clone(how: &[&str]) -> Ground {
    let ground = committed("", Some("uploadpack.allowFilter true"));
    let url = format!("file://{}", ground.root().to_str().unwrap());
    let from = if how.contains(&"--shared") { "." } else { &url };
    ground.git(&[&["clone", "-q"], how, &[from, "../clone"]].concat());
    ground.in_place("clone")
}

/// The files outside `pkg` were never fetched.
fn partial() -> Ground {
    let ground = clone(&["--filter=blob:none", "--no-checkout"]);
    ground.call("sparse-checkout set pkg");
    ground.call("checkout -q main");
    ground
}

impl Ground {
    fn call(&self, words: &str) -> String {
        self.git(&words.split_whitespace().collect::<Vec<_>>())
    }
}
