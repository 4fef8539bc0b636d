//! What once led to an error, or shows what is meant, is read by everything that reads bytes from outside (`fuzz/corpus`).

use std::path::Path;

fn each(name: &str, read: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().collect();
    assert!(!files.is_empty(), "{name}");
    for file in files {
        read(&std::fs::read(file.unwrap().path()).unwrap());
    }
}

#[test]
fn every_input_that_was_kept_is_read_without_an_error() {
    each("index", crate::identity::fuzz::index);
    each("status", crate::identity::fuzz::status);
    each("rules", crate::identity::fuzz::rules);
    each("text", crate::identity::fuzz::text);
    each("answer", crate::mlflow::fuzz::answer);
    each("credentials", crate::mlflow::fuzz::text);
    each("config", crate::config::fuzz);
    each("requests", crate::daemon::fuzz::requests);
}
