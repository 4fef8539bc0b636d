//! Other programs, each run to its end or ended when it takes too long. Knows nothing of what they do.
//!
//! Ends the program alone, not what that started.

use std::io::{self, ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::locks::lock;

/// How long is waited for what a child that ended has said, within its time: another one that it left behind may hold its outputs
/// open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The pause between two looks at a child.
const PAUSE: Duration = Duration::from_millis(5);

/// A child that ended, and what it said until then.
pub(super) struct Done {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs a program without input; its outputs are read while it runs.
///
/// # Errors
/// Where it cannot be started; [`ErrorKind::TimedOut`] where it took longer than `limit`, and was ended.
pub(super) fn run_within(command: &mut Command, limit: Duration) -> io::Result<Done> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (
        Listener::to(child.stdout.take()),
        Listener::to(child.stderr.take()),
    );
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            let why = format!("no answer within {} s", limit.as_secs());
            return Err(io::Error::new(ErrorKind::TimedOut, why));
        }
        std::thread::sleep(PAUSE);
    };
    let last = deadline.min(Instant::now() + LAST_WORDS);
    Ok(Done {
        status,
        stdout: stdout.heard_until(last),
        stderr: stderr.heard_until(last),
    })
}

/// Reads one output of a child.
struct Listener {
    /// A mutex because the thread adds and the caller takes; held for one piece.
    heard: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Listener {
    fn to(output: Option<impl Read + Send + 'static>) -> Self {
        let heard = Arc::default();
        let into = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            if let Some(output) = output {
                listen(output, &into);
            }
        });
        Self { heard, thread }
    }

    fn heard_until(self, deadline: Instant) -> String {
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
        let heard = lock(&self.heard);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

fn listen(mut output: impl Read, heard: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4096];
    loop {
        match output.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                let mut heard = lock(heard);
                heard.extend_from_slice(piece.get(..length).unwrap_or_default());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "the rest of what a child says is not read");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_child_says_is_read_however_much_also_where_another_holds_its_outputs() {
        let limit = Duration::from_mins(1);
        let done = run_within(
            &mut sh("head -c 1000000 /dev/zero; echo no >&2; exit 3"),
            limit,
        );
        let done = done.unwrap();
        assert_eq!(done.status.code(), Some(3));
        assert_eq!((done.stdout.len(), &*done.stderr), (1_000_000, "no\n"));
        let done = run_within(&mut sh("echo said; exec sleep 30 & exit 0"), limit).unwrap();
        assert_eq!(done.stdout, "said\n");
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let ended = run_within(&mut sh("exec sleep 1000"), Duration::from_millis(50));
        assert_eq!(ended.err().unwrap().kind(), ErrorKind::TimedOut);
    }
}
