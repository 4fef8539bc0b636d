#![no_main]

use tracemark::env_file::EnvValues;

const NAMES: [&str; 7] = [
    "MLFLOW_ACTIVE_MODEL_ID",
    "TRACEMARK_NAME",
    "TRACEMARK_CONTENT",
    "TRACEMARK_STATE",
    "TRACEMARK_SOCKET",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_ID",
];

// Whatever a server, a branch or a file is called: only the lines that every reader reads alike.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut parts = text.split('\0').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let values = EnvValues {
        model_id: next(),
        name: next(),
        content: next(),
        state: next(),
        socket: next(),
        store: Some((next(), next())),
    };
    let file = values.render();
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let (name, value) = line.split_once('=').expect("an assignment");
        assert!(NAMES.contains(&name), "{line}");
        assert!(!value.starts_with('~'), "{line}");
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/:@%+,=-".contains(&byte)), "{line}");
    }
    assert!(file.ends_with('\n') && file.is_ascii());
});
