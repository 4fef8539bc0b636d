//! Files as Python's `configparser` reads them: `~/.mlflow/credentials`, `~/.databrickscfg` and our own credentials.
//!
//! Pure. Knows no key: which value is a secret is for whoever takes it out.

use std::collections::BTreeMap;

/// The values of one section, keys in lower case.
pub(super) type Section = BTreeMap<String, String>;

/// How a `%` in a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Percent {
    /// `%%` stands for `%`, as in `~/.mlflow/credentials`, which MLflow reads with interpolation.
    Doubled,
    /// As it stands, as in `~/.databrickscfg`, which the Databricks SDK reads raw.
    Plain,
}

/// Returns the sections of a file: keys in any case, `=` or `:`, whole-line comments with `#` or `;`. Of two equal
/// keys the later one counts; a key without a value is left out.
pub(super) fn sections(text: &str, percent: Percent) -> BTreeMap<String, Section> {
    let mut sections = BTreeMap::<String, Section>::new();
    let mut current = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            sections.entry(name.to_owned()).or_default();
            current = Some(name.to_owned());
        } else if !line.starts_with(['#', ';'])
            && let Some((name, value)) = line.split_once(['=', ':'])
            && let Some(section) = current.as_ref().and_then(|name| sections.get_mut(name))
        {
            let value = match percent {
                Percent::Doubled => value.trim().replace("%%", "%"),
                Percent::Plain => value.trim().to_owned(),
            };
            if !value.is_empty() {
                section.insert(name.trim().to_ascii_lowercase(), value);
            }
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_any_case_and_comments_are_whole_lines() {
        let text =
            "lost = x\n[a]\n# c\n; c\nKey = v;50%%\nother: w # x\nempty =\n[b]\nKEY=1\nkey=2\n";
        let found = sections(text, Percent::Doubled);
        assert_eq!(found["a"]["key"], "v;50%");
        assert_eq!(found["a"]["other"], "w # x");
        assert_eq!(found["a"].len(), 2);
        assert_eq!(found["b"]["key"], "2");
        assert_eq!(sections(text, Percent::Plain)["a"]["key"], "v;50%%");
    }
}
