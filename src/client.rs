//! Talks to the daemon over its socket: blocking, with deadlines, without a runtime.
//!
//! Knows nothing of what the daemon does, and believes no socket that belongs to another user than root.

use std::cell::RefCell;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::fs_util::read_if_exists;
use crate::local_socket;
use crate::paths::Paths;
use crate::protocol::{
    API, Active, DaemonInfo, PathBody, Problem, ProblemDetail, STOPPING, Status,
};

/// How long the daemon may take beyond what it was asked to wait.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a daemon that is busy may take to take a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// How long a daemon that is followed may say nothing until it is asked whether it lives.
const QUIET: Duration = Duration::from_secs(5);
/// The same for one that was asked and may take its time.
const QUIET_WHILE_ASKED: Duration = Duration::from_secs(1);
/// How long another may take to answer where the one that was asked ended.
const SECOND_CHANCE: Duration = Duration::from_secs(2);
/// The largest answer that is read.
const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 16 * 1024;
/// How many headers an answer may have.
const HEADERS_MAX: usize = 32;

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the daemon does not answer on {}: {source}", socket.display())]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The socket belongs to another user.
    #[error("the socket {} belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// What came back is no answer of a tracemark daemon of this version.
    #[error("the answer on {} is not one of tracemark: {message}", socket.display())]
    NotUnderstood {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A daemon of another version, with which this one cannot talk.
    #[error("the daemon on {} is tracemark {version}, which speaks another protocol than this tracemark {}", socket.display(), env!("CARGO_PKG_VERSION"))]
    OtherProtocol {
        /// The socket.
        socket: PathBuf,
        /// The daemon's version.
        version: String,
    },
    /// The daemon said no.
    #[error("{}", .0.message)]
    Refused(ProblemDetail),
}

/// How the model of the code on disk is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// How long the answer may take; zero asks what is known now.
    pub wait: Duration,
    /// Whether every file is looked at, also where the file system told of no change.
    pub full: bool,
}

impl Question {
    /// Returns the usual question: what the file system told of counts.
    pub fn within(wait: Duration) -> Self {
        Self { wait, full: false }
    }

    /// Returns the question with what is left of its time since `began`, or two seconds where less is left: another answers it now.
    #[must_use]
    pub fn since(self, began: Instant) -> Self {
        let left = self.wait.saturating_sub(began.elapsed());
        Self {
            wait: left.max(self.wait.min(SECOND_CHANCE)),
            ..self
        }
    }
}

/// A way to the daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    /// The connection by which it was found, for the first question.
    connected: RefCell<Option<UnixStream>>,
}

impl ClientError {
    /// True when somebody listens and says nothing in time: another daemon would not help.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if is_timeout(source))
    }

    /// True when the daemon answers and is about to end: the next one will know.
    pub fn is_stopping(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.code == STOPPING)
    }

    /// True when another daemon may give the answer that this one did not give: it ended, or is about to.
    pub fn is_over(&self) -> bool {
        let is_gone = matches!(self, Self::Unreachable { .. }) && !self.is_silence();
        is_gone || self.is_stopping()
    }
}

impl Client {
    /// Finds the socket that somebody listens on: what was given, `TRACEMARK_SOCKET` (which may be of a daemon that has
    /// ended), the daemon's own record, then the places where a daemon or systemd would put it, if it is of a daemon
    /// with our state directory. Where nobody listens, the place where a new one would.
    pub fn find(given: Option<&Path>, paths: &Paths) -> Self {
        if let Some(given) = given {
            return Self::at(given);
        }
        let from_shell = std::env::var_os("TRACEMARK_SOCKET")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from);
        let from_shell = from_shell.filter(|socket| is_listened_on(socket));
        from_shell.map_or_else(|| Self::find_own(paths), |socket| Self::at(&socket))
    }

    /// As [`Self::find`], whatever the shell says: what it names may be no daemon.
    pub fn find_own(paths: &Paths) -> Self {
        let from_record = || {
            let info = recorded(paths)?;
            let socket = PathBuf::from(&info.socket);
            let listener = listener(&socket)?;
            // Where systemd listens, or another daemon since, it has to say whose it is.
            let is_its_own =
                listener.pid == Some(info.pid) || info.by_systemd && is_alive(info.pid);
            let client = Self {
                socket,
                connected: RefCell::new(listener.stream),
            };
            (is_its_own || client.serves(paths)).then_some(client)
        };
        let elsewhere = || {
            let sockets = paths.sockets().into_iter();
            let mut clients = sockets
                .filter(|it| is_listened_on(it))
                .map(|it| Self::at(&it));
            clients.find(|client| client.serves(paths))
        };
        let free = || {
            let mut sockets = paths.sockets().into_iter();
            sockets.find(|socket| local_socket::fits(socket) && !is_listened_on(socket))
        };
        let found = from_record().or_else(elsewhere);
        found.unwrap_or_else(|| Self::at(&free().unwrap_or_else(|| paths.new_socket())))
    }

    /// Returns a client of the daemon that runs, without a look elsewhere that could start one; none where none runs.
    pub fn of_running(given: Option<&Path>, paths: &Paths) -> Option<Self> {
        if let Some(given) = given {
            return Some(Self::at(given));
        }
        let info = recorded(paths).filter(|info| is_alive(info.pid))?;
        Some(Self::at(Path::new(&info.socket)))
    }

    fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            connected: RefCell::new(None),
        }
    }

    /// A daemon of another home directory may listen in the same runtime directory. One that says nothing, or nothing
    /// that we understand, is not passed over in silence.
    fn serves(&self, paths: &Paths) -> bool {
        match self.status() {
            Ok(status) => status
                .daemon
                .is_some_and(|daemon| is_same_dir(Path::new(&daemon.state_dir), &paths.state)),
            Err(error) => !matches!(error, ClientError::Foreign(_)) && !error.is_over(),
        }
    }

    /// Returns the socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Asks for the model of the code on disk. A daemon that says nothing for a while is asked besides whether it lives.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn active(&self, worktree: &Path, question: Question) -> Result<Active, ClientError> {
        let Question { wait, full } = question;
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("worktree", &worktree.to_string_lossy())
            .append_pair("wait", &wait.as_millis().to_string())
            .append_pair("full", if full { "1" } else { "0" })
            .finish();
        self.ask("GET", &format!("/v1/active?{query}"), None, wait + PATIENCE)
    }

    /// Asks for everything about the daemon.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.ask("GET", "/v1/status", None, PATIENCE)
    }

    /// Tells the daemon to track what the record around `path` covers.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer or no record.
    pub fn track(&self, path: &Path) -> Result<(), ClientError> {
        self.act("POST", "/v1/worktrees", path, PATIENCE)
    }

    /// Tells the daemon that the record around `path` is gone.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn untrack(&self, path: &Path) -> Result<(), ClientError> {
        self.act("DELETE", "/v1/worktrees", path, PATIENCE)
    }

    /// Tells the daemon that git did something at `path`, and waits at most `patience`.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub fn touch(&self, path: &Path, patience: Duration) -> Result<(), ClientError> {
        self.act("POST", "/v1/touch", path, patience)
    }

    /// Hands the state of a worktree to `each`, now and after every change, until it returns false or the daemon ends.
    ///
    /// # Errors
    /// [`ClientError`] when the daemon cannot be reached or does not know the worktree.
    pub fn follow(
        &self,
        worktree: &Path,
        each: &mut dyn FnMut(Active) -> bool,
    ) -> Result<(), ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("worktree", &worktree.to_string_lossy())
            .finish();
        let mut stream =
            local_socket::connect(&self.socket, CONNECT_PATIENCE).map_err(unreachable)?;
        if local_socket::listener_uid(&stream).is_some_and(is_foreign) {
            return Err(ClientError::Foreign(self.socket.clone()));
        }
        stream
            .set_read_timeout(Some(QUIET))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(unreachable)?;
        // HTTP/1.0 is answered as it is, without chunks (RFC 9112, 6.1).
        let request = format!("GET /v1/events?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(unreachable)?;
        let mut reader = BufReader::new(stream);
        while let Some(line) = self.line(&mut reader)? {
            if !line.starts_with('{') {
                continue;
            }
            match serde_json::from_str::<Active>(&line) {
                Ok(active) => {
                    if !each(active) {
                        return Ok(());
                    }
                }
                Err(_) => return Err(self.refusal(&line)),
            }
        }
        Ok(())
    }

    /// Returns the next line, `None` at the end. While there is none, the daemon is asked now and then whether it lives:
    /// one that was stopped keeps its connections open.
    fn line(&self, reader: &mut impl std::io::BufRead) -> Result<Option<String>, ClientError> {
        let mut line = Vec::new();
        loop {
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(String::from_utf8_lossy(&line).into_owned())),
                // What came so far is kept.
                Err(error) if is_timeout(&error) => {
                    let _alive = self.status()?;
                }
                Err(source) => {
                    return Err(ClientError::Unreachable {
                        socket: self.socket.clone(),
                        source,
                    });
                }
            }
        }
    }

    fn refusal(&self, line: &str) -> ClientError {
        match serde_json::from_str::<Problem>(line) {
            Ok(problem) => ClientError::Refused(problem.error),
            Err(error) => self.not_understood(&error.to_string()),
        }
    }

    fn act(
        &self,
        method: &str,
        target: &str,
        path: &Path,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let body = serde_json::to_vec(&PathBody {
            path: path.to_string_lossy().into_owned(),
        })
        .map_err(|error| self.not_understood(&error.to_string()))?;
        let _answer: serde_json::Value = self.ask(method, target, Some(&body), patience)?;
        Ok(())
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let answer = self.exchange(method, target, body.unwrap_or_default(), patience)?;
        let (status, body) = self.parse(&answer)?;
        let value: serde_json::Value = serde_json::from_slice(body)
            .map_err(|error| self.not_understood(&error.to_string()))?;
        let api = value.get("api").and_then(serde_json::Value::as_u64);
        if api != Some(u64::from(API)) {
            return Err(self.other_protocol(&value));
        }
        let understood = |error: serde_json::Error| self.not_understood(&error.to_string());
        if status == 200 {
            serde_json::from_value(value).map_err(understood)
        } else {
            let problem: Problem = serde_json::from_value(value).map_err(understood)?;
            Err(ClientError::Refused(problem.error))
        }
    }

    fn exchange(
        &self,
        method: &str,
        target: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let connect = || local_socket::connect(&self.socket, patience.min(CONNECT_PATIENCE));
        let mut stream = match self.connected.take() {
            Some(stream) => stream,
            None => connect().map_err(unreachable)?,
        };
        let owner = self.socket.symlink_metadata().map_err(unreachable)?.uid();
        if is_foreign(owner) {
            return Err(ClientError::Foreign(self.socket.clone()));
        }
        if local_socket::listener_uid(&stream).is_some_and(is_foreign) {
            return Err(ClientError::Foreign(self.socket.clone()));
        }
        stream
            .set_write_timeout(Some(patience))
            .map_err(unreachable)?;
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).map_err(unreachable)?;
        let answer = self.read_all(&mut stream, patience)?;
        if answer.is_empty() {
            return Err(unreachable(std::io::ErrorKind::ConnectionReset.into()));
        }
        Ok(answer)
    }

    /// Reads to the end, which has to come in time. While nothing comes of what may take long, the daemon is asked now and then
    /// whether it lives.
    fn read_all(
        &self,
        stream: &mut UnixStream,
        patience: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + patience;
        let may_take_long = patience > PATIENCE;
        let unreachable = |source| ClientError::Unreachable {
            socket: self.socket.clone(),
            source,
        };
        let mut answer = Vec::new();
        let mut buffer = vec![0; PIECE];
        while answer.len() < ANSWER_MAX {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(unreachable(std::io::ErrorKind::TimedOut.into()));
            }
            let pause = if may_take_long {
                left.min(QUIET_WHILE_ASKED)
            } else {
                left
            };
            stream.set_read_timeout(Some(pause)).map_err(unreachable)?;
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if may_take_long && is_timeout(&error) => {
                    let _alive = self.status()?;
                }
                Err(error) => return Err(unreachable(error)),
            }
        }
        Ok(answer)
    }

    fn parse<'a>(&self, answer: &'a [u8]) -> Result<(u16, &'a [u8]), ClientError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(answer) {
            Ok(httparse::Status::Complete(head)) => Ok((
                response.code.unwrap_or_default(),
                answer.get(head..).unwrap_or_default(),
            )),
            Ok(httparse::Status::Partial) => Err(self.not_understood("it was cut off")),
            Err(error) => Err(self.not_understood(&error.to_string())),
        }
    }

    fn other_protocol(&self, answer: &serde_json::Value) -> ClientError {
        match answer.get("version").and_then(serde_json::Value::as_str) {
            Some(version) => ClientError::OtherProtocol {
                socket: self.socket.clone(),
                version: version.to_owned(),
            },
            None => self.not_understood("it carries no version"),
        }
    }

    fn not_understood(&self, message: &str) -> ClientError {
        ClientError::NotUnderstood {
            socket: self.socket.clone(),
            message: message.to_owned(),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

/// A daemon that is stopped or overwhelmed is somebody; a socket file that was left over is nobody, and so is another user,
/// whose socket a shell may name after su(1).
fn is_listened_on(socket: &Path) -> bool {
    listener(socket).is_some()
}

/// Whoever listens on a socket, as far as the system tells.
struct Listener {
    pid: Option<u32>,
    /// The connection to it, unless it is too busy to take one.
    stream: Option<UnixStream>,
}

fn listener(socket: &Path) -> Option<Listener> {
    match local_socket::connect(socket, CONNECT_PATIENCE) {
        Ok(stream) => {
            let is_foreign = local_socket::listener_uid(&stream).is_some_and(is_foreign);
            let pid = local_socket::listener_pid(&stream);
            let stream = Some(stream);
            (!is_foreign).then_some(Listener { pid, stream })
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Some(Listener {
            pid: None,
            stream: None,
        }),
        Err(_) => None,
    }
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn is_foreign(owner: u32) -> bool {
    owner != rustix::process::geteuid().as_raw() && owner != 0
}

fn is_same_dir(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// Returns what the daemon wrote about itself when it began, also when it was killed since.
pub fn recorded(paths: &Paths) -> Option<DaemonInfo> {
    let bytes = read_if_exists(&paths.daemon_record()).ok()??;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_in_the_place_of_another_has_what_is_left_of_the_time_and_two_seconds_at_least() {
        let began = Instant::now().checked_sub(Duration::from_secs(9)).unwrap();
        let left = |seconds| {
            let asked = Question::within(Duration::from_secs(seconds));
            asked.since(began).wait
        };
        assert!((50..=51).contains(&left(60).as_secs()), "{:?}", left(60));
        assert_eq!(left(10), SECOND_CHANCE);
        assert_eq!(left(1), Duration::from_secs(1));
        assert_eq!(left(0), Duration::ZERO);
    }
}
