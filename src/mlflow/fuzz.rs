//! What reads servers' answers and users' files, for inputs that nobody thought of (`fuzz/`): none may panic.
//!
//! In no build for users. Asks no server.

use serde::de::DeserializeOwned;

use super::past::models_in;
use super::uri::StoreUri;
use super::{ini, netrc, rest, wire};

/// Reads an answer as every kind that is expected of a server.
pub fn answer(bytes: &[u8]) {
    fn read<T: DeserializeOwned>(bytes: &[u8]) {
        drop(serde_json::from_slice::<T>(bytes));
    }
    read::<wire::ErrorBody>(bytes);
    read::<wire::ServerInfo>(bytes);
    read::<wire::ExperimentAnswer>(bytes);
    read::<wire::ModelAnswer>(bytes);
    read::<wire::FoundModels>(bytes);
    read::<wire::FoundTraces>(bytes);
    if let Ok(answer) = serde_json::from_slice(bytes) {
        rest::read_past(&answer);
    }
}

/// Reads a tracking URI, and files with credentials.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let root = std::path::Path::new("/root");
    if let Ok(uri) = StoreUri::parse(text, root) {
        let again = StoreUri::parse(&uri.to_tracking_uri(), root);
        assert_eq!(
            again.ok(),
            Some(uri),
            "a tracking URI means the same when written again"
        );
    }
    for percent in [ini::Percent::Doubled, ini::Percent::Plain] {
        ini::sections(text, percent);
    }
    netrc::login(text, "example.org");
    assert!(models_in(text).all(|model| model.as_str().starts_with("m-")));
}
