//! The text of the systemd units: the templates in `systemd/` with the program and the environment filled in.
//!
//! Pure.

use std::path::{Path, PathBuf};

use crate::error::{Failure, FailureKind};

const SERVICE: &str = include_str!("../../systemd/tracemark.service");
const SOCKET: &str = include_str!("../../systemd/tracemark.socket");
/// What the daemon needs of a login shell, which it does not have: where programs are (git's filters among them), and where
/// the user keeps settings.
const VARIABLES: [&str; 2] = ["PATH", "XDG_CONFIG_HOME"];

pub(super) fn socket() -> &'static str {
    SOCKET
}

/// Returns the service's unit for a program.
pub(super) fn service(program: &Path, environment: &str) -> Result<String, Failure> {
    let unusable = || {
        let message = format!("{} cannot stand in a systemd unit", program.display());
        Failure::new(FailureKind::Configuration, &message).hint("move this program elsewhere")
    };
    let text = program.to_str().ok_or_else(unusable)?;
    if text.chars().any(char::is_control) {
        return Err(unusable());
    }
    // systemd.service(5): the executable may be quoted, and no variable is substituted in it.
    let program = quoted(text);
    Ok(SERVICE
        .replace("@TRACEMARK@", &program)
        .replace("@ENVIRONMENT@\n", environment))
}

/// Returns the `Environment=` lines for what `lookup` finds.
pub(super) fn environment(lookup: impl Fn(&str) -> Option<String>) -> String {
    VARIABLES
        .iter()
        .filter_map(|name| {
            let value = lookup(name)?;
            let usable = !value.is_empty() && !value.chars().any(char::is_control);
            usable.then(|| format!("Environment={}\n", quoted(&format!("{name}={value}"))))
        })
        .collect()
}

/// Returns the program that a unit of ours names.
pub(super) fn program(text: &str) -> Option<PathBuf> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))?;
    let line = line.strip_suffix(" daemon")?;
    let inner = line
        .strip_prefix('"')
        .and_then(|line| line.strip_suffix('"'));
    let mut program = String::new();
    let mut characters = inner.unwrap_or(line).chars();
    while let Some(character) = characters.next() {
        // The second `%` of two, and what a backslash protects.
        let is_double = matches!(character, '\\' | '%');
        program.push(if is_double {
            characters.next()?
        } else {
            character
        });
    }
    Some(PathBuf::from(program))
}

/// systemd.syntax(7): quotes round it, backslashes before quotes and backslashes; systemd.unit(5): `%` is doubled.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_the_package_is_the_template_for_usr_bin() {
        let packaged = include_str!("../../packaging/debian/tracemark.service");
        assert_eq!(
            service(Path::new("/usr/bin/tracemark"), "").unwrap(),
            packaged
        );
    }

    #[test]
    fn the_program_is_read_back_from_the_unit_whatever_its_path() {
        for path in [
            "/usr/bin/tracemark",
            "/home/a b/100%/$x/\"q\"/back\\slash/tracemark",
        ] {
            let text = service(Path::new(path), "").unwrap();
            assert_eq!(program(&text).as_deref(), Some(Path::new(path)), "{text}");
            assert!(!text.contains('@') || text.contains("@system-service"));
        }
        assert!(service(Path::new("/a\nExecStartPre=/bin/evil"), "").is_err());
    }

    #[test]
    fn what_the_daemon_needs_of_the_shell_is_written_down_and_nothing_else() {
        let text = environment(|name| match name {
            "PATH" => Some("/opt/100%/bin:/usr/bin".to_owned()),
            "XDG_CONFIG_HOME" => Some(String::new()),
            _ => Some("secret".to_owned()),
        });
        assert_eq!(text, "Environment=\"PATH=/opt/100%%/bin:/usr/bin\"\n");
    }
}
