//! Addresses of servers and remotes without the secrets that stand in some.
//!
//! Pure.

/// Returns an address without user, password and query: `https://user:token@host/x` becomes `https://host/x`. The user of an scp-like
/// address (`git@host:x`) is kept, as it is no secret. `None` where it cannot be said what is secret in it.
pub fn without_credentials(url: &str) -> Option<String> {
    // gitremote-helpers(7): the name of a transport may come before.
    if let Some((transport, rest)) = url.split_once("::")
        && transport
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
    {
        return Some(format!("{transport}::{}", without_credentials(rest)?));
    }
    if !url.contains("://") {
        let is_open = url
            .rsplit_once('@')
            .is_none_or(|(user, _)| !user.contains(':'));
        return is_open.then(|| url.to_owned());
    }
    let mut parsed = url::Url::parse(url).ok()?;
    let has_user = !parsed.username().is_empty() || parsed.password().is_some();
    if !has_user && parsed.query().is_none() && parsed.fragment().is_none() {
        return Some(url.to_owned());
    }
    if has_user {
        parsed.set_username("").ok()?;
        parsed.set_password(None).ok()?;
    }
    parsed.set_query(None);
    parsed.set_fragment(None);
    let mut public = parsed.to_string();
    if parsed.path() == "/" && !url.ends_with('/') {
        public.pop();
    }
    Some(public)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_or_token_in_an_address_never_leaves() {
        let public = [
            (
                "https://me:secret@example.org/team/app.git",
                "https://example.org/team/app.git",
            ),
            (
                "https://example.org/app.git?token=secret#secret",
                "https://example.org/app.git",
            ),
            (
                "git@example.org:team/app.git",
                "git@example.org:team/app.git",
            ),
            ("ssh://git:secret@example.org/app", "ssh://example.org/app"),
            (
                "https::https://me:secret@example.org/x",
                "https::https://example.org/x",
            ),
            ("codecommit::eu://me:secret@app", "codecommit::eu://app"),
            ("http://ann:pw@host:5000/a@b", "http://host:5000/a@b"),
            ("http://ann:p@w@host", "http://host"),
            ("http://HOST:5000", "http://HOST:5000"),
            ("sqlite:///x.db", "sqlite:///x.db"),
            ("databricks", "databricks"),
            ("../app", "../app"),
            ("/srv/git/app.git", "/srv/git/app.git"),
        ];
        for (url, wanted) in public {
            assert_eq!(without_credentials(url).as_deref(), Some(wanted), "{url}");
        }
        for url in [
            "https://me:secret/b@example.org/x.git",
            "https://me:secret#b@example.org/x.git",
            "https://me:secret@example.org:port/x.git",
            "https://me:secret@example org/x",
            "https://me:secret@[bad/x",
            "//me:secret@example.org/x",
            "me:secret@example.org:x",
        ] {
            assert_eq!(without_credentials(url), None, "{url}");
        }
    }
}
