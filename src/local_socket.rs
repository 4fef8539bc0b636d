//! Unix sockets with a deadline: connecting, who is at the other end, how long a path may be.
//!
//! Knows nothing of what is said over them. Blocks, but never for longer than it was told.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest socket path that the kernel takes: `sun_path` without its NUL (unix(7)); 103 on macOS.
pub const PATH_MAX: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// True when the kernel takes the path for a socket.
pub fn fits(path: &Path) -> bool {
    path.as_os_str().as_bytes().len() <= PATH_MAX
}

/// Connects, and waits at most `patience` where the listener's backlog is full.
///
/// # Errors
/// The system's refusal; `WouldBlock` when the time is over, `InvalidInput` when the path does not fit.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    if !fits(path) {
        let length = path.as_os_str().as_bytes().len();
        let message = format!("the socket's path has {length} bytes, the system takes {PATH_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        close_on_exec(),
        None,
    )?;
    // unix(7): connect(2) honours SO_SNDTIMEO.
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

#[cfg(not(target_os = "macos"))]
fn close_on_exec() -> SocketFlags {
    SocketFlags::CLOEXEC
}

#[cfg(target_os = "macos")]
fn close_on_exec() -> SocketFlags {
    SocketFlags::empty()
}

/// True when a connection failed because nobody listens; a listener that does not answer in time is no such case.
pub fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Returns the user id of whoever listens at the other end, `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub fn listener_uid(stream: &UnixStream) -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(peer.uid.as_raw())
}

/// Returns the process that began to listen at the other end, `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub fn listener_pid(stream: &UnixStream) -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

/// Returns the process that began to listen at the other end, `None` where the system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn listener_pid(_: &UnixStream) -> Option<u32> {
    None
}

/// Returns the user id of whoever listens at the other end, `None` where the system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn listener_uid(_: &UnixStream) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_path_of_107_bytes_can_be_used_and_one_of_108_is_named_as_too_long() {
        let dir = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let used = dir.path().as_os_str().len() + 1;
        let fitting = dir.path().join("s".repeat(PATH_MAX - used));
        let _listener = UnixListener::bind(&fitting).unwrap();
        let stream = connect(&fitting, Duration::from_secs(1)).unwrap();
        let me = rustix::process::geteuid().as_raw();
        assert!(listener_uid(&stream).is_none_or(|uid| uid == me));
        let error = connect(
            &dir.path().join("s".repeat(PATH_MAX - used + 1)),
            Duration::from_secs(1),
        );
        assert!(error.unwrap_err().to_string().contains("108 bytes"));
    }

    #[test]
    fn a_listener_that_never_accepts_is_not_taken_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut held = Vec::new();
        let error = loop {
            match connect(&path, Duration::from_millis(50)) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
        };
        assert!(!nobody_listens(&error), "{error:?}");
    }

    #[test]
    fn a_socket_file_that_was_left_over_means_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let error = connect(&path, Duration::from_secs(1)).unwrap_err();
        assert!(nobody_listens(&error), "{error:?}");
        let error = connect(&dir.path().join("t"), Duration::from_secs(1)).unwrap_err();
        assert!(nobody_listens(&error), "{error:?}");
    }
}
