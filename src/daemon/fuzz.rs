//! What reads requests on the socket, for inputs that nobody thought of (`fuzz/`): it must neither panic nor hang.
//!
//! In no build for users.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::server;

/// Answers what a client sends before it ends; nobody decides anything.
pub fn requests(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return;
    };
    runtime.block_on(async {
        let (Ok((mut client, stream)), (requests, nobody)) = (UnixStream::pair(), mpsc::channel(1))
        else {
            return;
        };
        drop(nobody);
        let served = server::serve_one(stream, requests);
        let asked = async {
            drop(client.write_all(bytes).await);
            drop(client.shutdown().await);
            let mut answer = Vec::new();
            drop(client.read_to_end(&mut answer).await);
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1."),
                "{answer:?}"
            );
        };
        tokio::join!(served, asked);
    });
}
