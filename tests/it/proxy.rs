//! A proxy before the MLflow server of the run that misbehaves as told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::python::{alone, server, support};

/// A running proxy; ends when dropped.
pub(crate) struct Proxy {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    port: u16,
    address: String,
}

/// One request that went through.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) began: f64,
    pub(crate) ended: f64,
    pub(crate) method: String,
    pub(crate) path: String,
    /// 0 where the answer was lost.
    pub(crate) status: u16,
}

impl Proxy {
    /// Starts a proxy on a port of its choice, with its log in `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_on(dir, 0)
    }

    pub(crate) fn start_on(dir: &Path, port: u16) -> Self {
        let log = dir.join("proxy.log");
        let mut child = alone("python3")
            .arg(support("proxy.py"))
            .args(["--to", server(), "--port", &port.to_string(), "--log"])
            .arg(&log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let port = read_line(&mut output);
        let port = port.strip_prefix("PORT ").unwrap();
        Self {
            address: format!("http://127.0.0.1:{port}"),
            port: port.parse().unwrap(),
            child,
            input,
            output,
            log,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Has it behave otherwise from now on.
    pub(crate) fn be(&mut self, mode: &str) {
        writeln!(self.input, "{mode}").unwrap();
        assert_eq!(read_line(&mut self.output), "ok");
    }

    /// Everything that was asked so far, in the order in which it was answered.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .map(|line| {
                let words: Vec<_> = line.split(' ').collect();
                Exchange {
                    began: words[0].parse().unwrap(),
                    ended: words[1].parse().unwrap(),
                    method: words[2].to_owned(),
                    path: words[3].to_owned(),
                    status: words[4].parse().unwrap(),
                }
            })
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// One request to the MLflow server, as curl would send it; fails unless it works.
#[track_caller]
pub(crate) fn rest(method: &str, path: &str, body: &str) -> Value {
    use std::io::Read as _;
    let host = server().strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{method} /api/2.0/mlflow/{path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    serde_json::from_str(body).unwrap()
}

fn read_line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().to_owned()
}
