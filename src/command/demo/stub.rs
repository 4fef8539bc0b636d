//! The server that stands in for OpenAI, on this machine alone. It knows nothing of versions, and does not outlive the
//! demo.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use super::runner::end_group;
use super::sandbox::Sandbox;
use super::words::negative;
use crate::error::Failure;

const PROGRAM: &str = include_str!("openai_stub.py");

/// A running server; it ends when this is dropped, or when its standard input is closed because the demo was killed.
pub(super) struct Stub {
    child: Child,
    pub(super) url: String,
}

impl Stub {
    pub(super) fn start(sandbox: &Sandbox) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            negative(&format!("the stand-in for OpenAI did not start: {error}"))
        };
        let child = sandbox
            .child(&sandbox.python())
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut stub = Self {
            child,
            url: String::new(),
        };
        let mut port = String::new();
        if let Some(stdout) = stub.child.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut port)
                .map_err(failed)?;
        }
        stub.url = format!("http://127.0.0.1:{}/v1", port.trim());
        Ok(stub)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}
