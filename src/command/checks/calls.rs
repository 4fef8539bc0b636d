//! Calls in Python code and notebooks that git does not ignore, with one literal text as their first argument.
//!
//! Runs no Python and evaluates none: any other argument is not seen.

use std::path::Path;

use serde_json::Value;

use super::small_text;
use crate::git::{Git, records};
use crate::repository::Worktree;

/// A call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// File and line, or file and cell.
    pub(super) place: String,
    /// The keyword that the text was given by, empty where there was none.
    pub(super) keyword: String,
    pub(super) argument: String,
}

/// Returns the calls of a function anywhere in the worktree.
pub(super) fn calls_in(worktree: &Worktree, function: &str) -> Vec<Call> {
    let pattern = format!("{function}(");
    files_with(worktree, &pattern)
        .iter()
        .flat_map(|name| calls_in_file(&worktree.root, name, &pattern))
        .collect()
}

/// Returns the Python files and notebooks that hold a text, relative to the root.
pub(super) fn files_with(worktree: &Worktree, text: &str) -> Vec<String> {
    let git = Git::at(&worktree.root).with_config(&["core.fsmonitor=false"]);
    let options = ["grep", "--untracked", "-I", "-l", "-z", "-F", "-e", text];
    let found = git.run(&[&options[..], &["--", "*.py", "*.ipynb"]].concat());
    let listed = found.map(|output| output.stdout).unwrap_or_default();
    records(&listed)
        .filter_map(|name| std::str::from_utf8(name).ok())
        .map(str::to_owned)
        .collect()
}

fn calls_in_file(root: &Path, name: &str, pattern: &str) -> Vec<Call> {
    let file = root.join(name);
    let text = small_text(&file).unwrap_or_default();
    if file.extension().is_none_or(|kind| kind != "ipynb") {
        return calls_in_text(&text, pattern, |line| format!("{name}:{line}"));
    }
    let notebook: Value = serde_json::from_str(&text).unwrap_or_default();
    let cells = notebook.get("cells").and_then(Value::as_array);
    let numbered = cells.into_iter().flatten().zip(1..);
    numbered
        .filter(|(cell, _)| cell.get("cell_type").is_some_and(|kind| kind == "code"))
        .flat_map(|(cell, number)| {
            let code = source(cell);
            calls_in_text(&code, pattern, |_| format!("{name}, cell {number}"))
        })
        .collect()
}

/// One text or a list of lines (nbformat 4, `multiline_string`).
fn source(cell: &Value) -> String {
    match cell.get("source") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => lines.iter().filter_map(Value::as_str).collect(),
        _ => String::new(),
    }
}

fn calls_in_text(text: &str, pattern: &str, place: impl Fn(usize) -> String) -> Vec<Call> {
    text.match_indices(pattern)
        .filter_map(|(at, _)| {
            let (before, rest) = text.split_at_checked(at)?;
            let line = before.rsplit('\n').next().unwrap_or_default();
            let (keyword, argument) = first_text(rest.strip_prefix(pattern)?)?;
            let is_comment = line.trim_start().starts_with('#');
            (!is_comment).then(|| Call {
                place: place(before.matches('\n').count() + 1),
                keyword,
                argument,
            })
        })
        .collect()
}

/// Returns keyword and text of a first argument that is a plain literal.
fn first_text(arguments: &str) -> Option<(String, String)> {
    let arguments = arguments.trim_start();
    let word: String = arguments
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let rest = arguments.strip_prefix(word.as_str())?.trim_start();
    let rest = match (word.is_empty(), rest.strip_prefix('=')) {
        (true, _) => rest,
        (false, Some(value)) => value.trim_start(),
        (false, None) => return None,
    };
    let quote = rest.chars().next().filter(|c| "\"'".contains(*c))?;
    let (argument, _) = rest.get(1..)?.split_once(quote)?;
    Some((word, argument.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_call_is_found_by_keyword_too_and_over_lines() {
        let read = |text: &str| {
            let calls = calls_in_text(text, "f(", |line| line.to_string());
            let shown = |call: Call| format!("{} {} {}", call.place, call.keyword, call.argument);
            calls.into_iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(read("f('a')\nf( \"b\" )"), ["1  a", "2  b"]);
        assert_eq!(read("x\nf(\n  name = 'a',\n)"), ["2 name a"]);
        assert!(read("# f('a')\nf(name)\nf(f'{x}')\nf()").is_empty());
    }
}
