//! Reads what a child prints to both of its outputs as it comes, without a thread for either.
//!
//! Knows nothing of git or of what is printed, and ends no child: whoever started it does.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long a child may print nothing before it is given up.
pub(super) const TIME_LIMIT: Duration = Duration::from_mins(2);
/// How many bytes of standard error are kept; more is an error.
const STDERR_LIMIT: usize = 16 * 1024 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Why the reading ended before the child's outputs did.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The sink wants no more, or there is more standard error than is kept.
    TooMuch,
    /// Nothing came for [`TIME_LIMIT`].
    TimedOut,
    /// The system refused.
    Failed(io::Error),
}

/// Hands standard output to `sink` until that returns false, and returns standard error.
pub(super) fn gather(
    child: &mut Child,
    sink: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<Vec<u8>, Stopped> {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let mut buffer = vec![0; PIECE];
    let mut stderr = Vec::new();
    while out.is_some() || err.is_some() {
        let [has_out, has_err] = wait(out.as_ref(), err.as_ref())?;
        if has_out && !next(&mut out, &mut buffer, &mut *sink)? {
            return Err(Stopped::TooMuch);
        }
        let mut keep = |bytes: &[u8]| {
            stderr.extend_from_slice(bytes);
            stderr.len() <= STDERR_LIMIT
        };
        if has_err && !next(&mut err, &mut buffer, &mut keep)? {
            return Err(Stopped::TooMuch);
        }
    }
    Ok(stderr)
}

/// Returns which of the two have something to read, or have ended.
fn wait(out: Option<&impl AsFd>, err: Option<&impl AsFd>) -> Result<[bool; 2], Stopped> {
    let limit = Timespec::try_from(TIME_LIMIT).ok();
    let one = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut fds: Vec<_> = [out.map(AsFd::as_fd), err.map(AsFd::as_fd)]
        .into_iter()
        .flatten()
        .map(one)
        .collect();
    loop {
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) => return Err(Stopped::TimedOut),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(Stopped::Failed(error.into())),
        }
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok([out.is_some(), err.is_some()].map(|is_open| is_open && ready.next().unwrap_or(false)))
}

/// Reads once, and lets go of an output that has ended. Returns what the sink says.
fn next(
    source: &mut Option<impl Read>,
    buffer: &mut [u8],
    sink: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<bool, Stopped> {
    let Some(open) = source else { return Ok(true) };
    match open.read(buffer) {
        Ok(0) => {
            *source = None;
            Ok(true)
        }
        Ok(count) => Ok(sink(buffer.get(..count).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(Stopped::Failed(error)),
    }
}
