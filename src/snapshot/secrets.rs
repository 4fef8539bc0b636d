//! Which files look like secrets, by their names alone.
//!
//! Pure. A short list that can be told in one sentence, not a scanner: what it misses is kept, on this machine only.

/// Endings that are made to be shared.
const TEMPLATES: [&[u8]; 5] = [b"example", b"sample", b"template", b"dist", b"defaults"];
/// Endings of files with private keys.
const KEY_ENDINGS: [&[u8]; 7] = [
    b".pem",
    b".key",
    b".p12",
    b".pfx",
    b".jks",
    b".keystore",
    b".ppk",
];
/// Names under which private keys and logins usually lie.
const NAMES: [&[u8]; 11] = [
    b"id_rsa",
    b"id_dsa",
    b"id_ecdsa",
    b"id_ed25519",
    b".netrc",
    b".pgpass",
    b".pypirc",
    b".npmrc",
    b".htpasswd",
    b".databrickscfg",
    b".git-credentials",
];

/// Returns whether the file at `path` is one of those that usually hold secrets: `.env*` (not `.env.example` and the like), private
/// keys, login files.
pub(super) fn looks_secret(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let name = name.to_ascii_lowercase();
    if let Some(rest) = name.strip_prefix(b".env") {
        let ending = rest.rsplit(|byte| *byte == b'.').next();
        let is_template = ending.is_some_and(|ending| TEMPLATES.contains(&ending));
        return !is_template;
    }
    let is_ssh_key = name.starts_with(b"id_rsa") || name.starts_with(b"id_ed25519");
    let is_public = name.ends_with(b".pub");
    NAMES.contains(&name.as_slice())
        || is_ssh_key && !is_public
        || KEY_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for path in [
            ".env",
            "deep/.env.production",
            ".ENV.local",
            ".envrc",
            ".env~",
            ".env-prod",
            ".env_local",
            ".git-credentials",
            "id_rsa_work",
            "tls/server.key",
            "ca.pem",
            "home/id_ed25519",
            ".netrc",
        ] {
            assert!(looks_secret(path.as_bytes()), "{path}");
        }
        for path in [
            ".env.example",
            ".env.local.sample",
            "env.py",
            "id_rsa.pub",
            "keys.py",
            "monkey",
        ] {
            assert!(!looks_secret(path.as_bytes()), "{path}");
        }
    }
}
