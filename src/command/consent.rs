//! Questions to the person at the terminal. Nobody is asked where there is none.

use std::io::{IsTerminal as _, Write as _};

/// Whether a person at the terminal says yes, or says nothing else.
pub(super) fn given(question: &str) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "{} [Y/n] ", crate::text::printable(question));
    if asked.and_then(|()| stderr.flush()).is_err() {
        return false;
    }
    let mut reply = String::new();
    let read = std::io::stdin().read_line(&mut reply);
    read.is_ok_and(|length| length > 0)
        && matches!(reply.trim().to_lowercase().as_str(), "" | "y" | "yes")
}
