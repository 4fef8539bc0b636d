//! `~/.netrc`, which MLflow's client reads through Python's `requests` library.
//!
//! Pure: the text comes in.

use super::secret::Secret;

/// Returns login and password of the last entry for `host` that has both. The words are those of Python 3.11's `netrc`
/// module. An entry `default` is passed over: it would give a password to every server.
pub(super) fn login(text: &str, host: &str) -> Option<(Secret, Secret)> {
    let mut words = Words { rest: text };
    let (mut found, mut entry) = (None, Entry::default());
    while let Some(word) = words.keyword() {
        match word.as_str() {
            "machine" => {
                let machine = words.value().unwrap_or_default();
                entry = Entry {
                    is_wanted: machine.eq_ignore_ascii_case(host),
                    ..Entry::default()
                };
            }
            "default" => entry = Entry::default(),
            "login" | "user" => entry.login = words.value().map(Secret::new),
            "password" => entry.password = words.value().map(Secret::new),
            "account" => drop(words.value()),
            "macdef" => words.skip_macro(),
            _ => {}
        }
        found = entry.complete().or(found);
    }
    found
}

#[derive(Default)]
struct Entry {
    is_wanted: bool,
    login: Option<Secret>,
    password: Option<Secret>,
}

impl Entry {
    fn complete(&self) -> Option<(Secret, Secret)> {
        let pair = self.login.clone().zip(self.password.clone());
        pair.filter(|_| self.is_wanted)
    }
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    /// The next word that is not in a comment, which begins where a keyword is expected.
    fn keyword(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return self.value();
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, next)| next);
        }
    }

    /// The next word, in quotes or not; a backslash takes the next character as it is.
    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return None;
        }
        let quoted = self.rest.strip_prefix('"');
        let mut chars = quoted.unwrap_or(self.rest).chars();
        let mut word = String::new();
        loop {
            self.rest = chars.as_str();
            match chars.next() {
                None => break,
                Some('"') if quoted.is_some() => {
                    self.rest = chars.as_str();
                    break;
                }
                Some(c) if quoted.is_none() && c.is_whitespace() => break,
                Some('\\') => word.extend(chars.next()),
                Some(c) => word.push(c),
            }
        }
        Some(word)
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.rest = self.rest.split_once("\n\n").map_or("", |(_, next)| next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(String, String)> {
        let (login, password) = login(text, "mlflow.example")?;
        Some((login.expose().to_owned(), password.expose().to_owned()))
    }

    #[test]
    fn the_entry_of_the_host_is_found_among_all_that_may_stand_in_the_file() {
        let ann = Some(("ann".to_owned(), "#p w\"".to_owned()));
        for text in [
            "machine mlflow.example login ann password \"#p w\\\"\"",
            "# machine x\nmachine other login a password b\nmachine MLflow.example\n  # c\n  login ann account q\n  password #p\\ w\"\n",
            "macdef init\n machine mlflow.example login no password no\n\nmachine mlflow.example user ann password \"#p w\\\"\"\ndefault login d password e\n",
            "macdef empty\n\nmachine mlflow.example password \"#p w\\\"\" login ann",
            "machine mlflow.example login old password old\nmachine mlflow.example login ann password \"#p w\\\"",
        ] {
            assert_eq!(found(text), ann, "{text}");
        }
        for text in [
            "",
            "default login d password e",
            "machine mlflow.example login ann",
            "machine mlflow.example login ann\nmachine other password b",
            "machine evil.mlflow.example login a password b",
            "machine",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
