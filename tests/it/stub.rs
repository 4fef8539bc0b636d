//! A stub of an MLflow server, of a Databricks workspace, of a proxy: see `tests/support/stub_server.py`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::python::{alone, support};

/// A running stub; ends with the value.
pub(crate) struct Stub {
    child: Child,
    port: u16,
    tls: bool,
}

/// A request that the stub got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) headers: Value,
}

impl Stub {
    pub(crate) fn new(config: &Value) -> Self {
        let mut child = alone("python3")
            .arg(support("stub_server.py"))
            .arg(config.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("PORT ").unwrap().parse().unwrap();
        Self {
            child,
            port,
            tls: config.get("tls").is_some(),
        }
    }

    /// A stub that speaks TLS with the certificate `name` of `tests/data/tls`.
    pub(crate) fn with_certificate(name: &str, more: &Value) -> Self {
        let mut tls = json!({
            "cert": certificate(&format!("{name}.pem")),
            "key": certificate(&format!("{name}.key")),
        });
        tls.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Self::new(&json!({ "tls": tls }))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Changes how it behaves from now on.
    pub(crate) fn control(&self, change: &Value) {
        self.exchange("POST", "/_control", &change.to_string());
    }

    fn seen(&self) -> Value {
        serde_json::from_str(&self.exchange("GET", "/_seen", "")).unwrap()
    }

    /// Every request of tracemark, the first one first.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let seen = self.seen();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        seen["requests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|request| Asked {
                line: format!("{} {}", text(&request["method"]), text(&request["target"])),
                authorization: request["headers"]["authorization"]
                    .as_str()
                    .map(str::to_owned),
                headers: request["headers"].clone(),
            })
            .collect()
    }

    /// Every LoggedModel that there is.
    pub(crate) fn models(&self) -> Vec<Value> {
        self.seen()["models"]
            .as_object()
            .unwrap()
            .values()
            .cloned()
            .collect()
    }

    /// The names of the experiments.
    pub(crate) fn experiments(&self) -> Vec<String> {
        let seen = self.seen();
        let found = seen["experiments"].as_object().unwrap().values();
        found
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    fn exchange(&self, method: &str, target: &str, body: &str) -> String {
        assert!(!self.tls, "a stub with TLS cannot be talked to by the test");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "{method} {target} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns a file of `tests/data/tls`.
pub(crate) fn certificate(name: &str) -> PathBuf {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    dir.join(name)
}
