//! What commands write: answers on standard output, everything else on standard error.
//!
//! Knows nothing of what is said, but makes what is shown of it harmless.

use std::io::Write as _;

use crate::error::{Failure, FailureKind};

/// Writes an answer to standard output. A reader that went away is no failure.
pub(super) fn answer(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .and_then(|()| std::io::stdout().flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            FailureKind::Negative,
            &format!("cannot write to standard output: {error}"),
        )
        .hint("check where the output goes")),
        _ => Ok(()),
    }
}

/// Says something to the person on standard error.
pub(super) fn say(text: &str) {
    if let Err(error) = writeln!(std::io::stderr().lock(), "{text}") {
        tracing::debug!(%error, "standard error is closed");
    }
}

/// Warns of something, in one line of what it is and one of what to type.
pub(super) fn warn(message: &str, hint: &str) {
    say(&format!("tracemark: {}", crate::text::printable(message)));
    say(&format!("  try: {}", crate::text::printable(hint)));
}

/// Returns a document as text that a terminal can take too.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| crate::text::json_plain(&text) + "\n")
        .map_err(|error| Failure::new(FailureKind::Bug, &error.to_string()))
}
