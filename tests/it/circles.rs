//! Can each module be read after those that it uses? Reads the imports of modules that lie in one folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::{collect, src};

/// The segments of a module's path below the crate.
type Module = Vec<String>;

#[test]
fn modules_of_one_folder_use_each_other_in_no_circle() {
    let modules = modules();
    let uses: BTreeMap<_, _> = modules
        .iter()
        .map(|(module, text)| (module, uses(module, text, &modules)))
        .collect();
    let folders: BTreeSet<&[String]> = modules
        .keys()
        .flat_map(|module| (1..module.len()).map(|depth| &module[..depth]))
        .collect();
    assert!(folders.len() > 15, "{folders:?}");
    for folder in folders {
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in uses
            .iter()
            .flat_map(|(from, all)| all.iter().map(move |to| (*from, to)))
        {
            let both = below(folder, from).zip(below(folder, to));
            if let Some((from, to)) = both.filter(|(from, to)| from != to) {
                arrows.entry(from).or_default().insert(to);
            }
        }
        assert_eq!(circle(arrows), None, "in {}", folder.join("::"));
    }
}

/// The child of `folder` that `module` is or lies in.
fn below<'a>(folder: &[String], module: &'a [String]) -> Option<&'a str> {
    module.strip_prefix(folder)?.first().map(String::as_str)
}

/// Takes away whoever uses nobody that is left, until nobody is, or only those that use each other.
fn circle(mut arrows: BTreeMap<&str, BTreeSet<&str>>) -> Option<Vec<String>> {
    loop {
        let left: BTreeSet<_> = arrows.keys().copied().collect();
        let before = left.len();
        arrows.retain(|_, used| used.iter().any(|one| left.contains(one)));
        if arrows.len() == before {
            let names = left.into_iter().map(str::to_owned).collect::<Vec<_>>();
            return Some(names).filter(|names| !names.is_empty());
        }
    }
}

/// Every module with its text, without tests and comments.
fn modules() -> BTreeMap<Module, String> {
    let mut files = Vec::new();
    collect(&src(), &mut files);
    let module = |file: &std::path::PathBuf| {
        let path = file.strip_prefix(src()).unwrap().with_extension("");
        let text = std::fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().map(|line| line.split("//").next().unwrap());
        let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
        (names.collect(), code.collect::<Vec<_>>().join("\n"))
    };
    files.iter().map(module).collect()
}

/// The other modules that the paths of a text lead to.
fn uses(module: &Module, text: &str, modules: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let mut paths = Vec::new();
    for tree in starting_with("use ", text).filter_map(|tail| tail.split(';').next()) {
        expand(String::new(), &tree["use ".len()..], &mut paths);
    }
    let is_of_path = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    for tail in starting_with("crate::", text).chain(starting_with("super::", text)) {
        paths.push(tail.chars().take_while(|c| is_of_path(*c)).collect());
    }
    let found = paths.iter().filter_map(|path| {
        let path = resolve(module, path);
        let mut starts = (1..=path.len()).rev().map(|length| path[..length].to_vec());
        starts.find(|start| modules.contains_key(start))
    });
    found.filter(|used| used != module).collect()
}

/// What follows each place where `word` begins, and is no end of another word or path.
fn starting_with<'a>(word: &'a str, text: &'a str) -> impl Iterator<Item = &'a str> {
    let found = text.match_indices(word).filter(|(at, _)| {
        let before = text[..*at].chars().next_back().unwrap_or(' ');
        !(before.is_alphanumeric() || before == '_' || before == ':')
    });
    found.map(|(at, _)| &text[at..])
}

/// Every path of a tree like `a::{b, c::{d, e}}`.
fn expand(before: String, tree: &str, paths: &mut Vec<String>) {
    let Some((start, rest)) = tree.split_once('{') else {
        return paths.push(before + tree.trim());
    };
    let inside = rest.rsplit_once('}').map_or("", |(inside, _)| inside);
    let mut depth = 0;
    let branches = inside.split(|letter: char| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    });
    for branch in branches.filter(|branch| !branch.trim().is_empty()) {
        expand(format!("{before}{}", start.trim()), branch, paths);
    }
}

/// The path from the crate on, as if other crates were children of the module.
fn resolve(module: &Module, path: &str) -> Module {
    let path = path.split(" as ").next().unwrap();
    let mut base = module.clone();
    let mut names = path.split("::").peekable();
    if names.next_if_eq(&"crate").is_some() {
        base.clear();
    }
    while names
        .next_if(|name| ["super", "self"].contains(name))
        .is_some_and(|name| name == "self" || base.pop().is_some())
    {}
    base.into_iter().chain(names.map(str::to_owned)).collect()
}

#[test]
fn paths_are_followed_through_groups_and_up_to_the_parent() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let all = ["a", "a::b", "a::c", "a::d", "a::b::e"].map(|path| (module(path), String::new()));
    let text = "use super::{d, e::{f, g}};\nfn h() { crate::a::c::i() }\nuse e::j;";
    let found = uses(&module("a::b"), text, &BTreeMap::from(all));
    assert_eq!(found, ["a", "a::b::e", "a::c", "a::d"].map(module).into());
    let arrows = |pairs: &[(&'static str, &'static str)]| {
        let mut arrows: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (from, to) in pairs {
            arrows.entry(*from).or_default().insert(*to);
        }
        circle(arrows)
    };
    assert_eq!(arrows(&[("a", "b"), ("b", "c")]), None);
    assert!(arrows(&[("a", "b"), ("b", "c"), ("c", "a")]).is_some());
}
