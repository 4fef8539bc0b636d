//! Hides what a request was signed with in what a server says: whole or in part, as servers cut and quote it.
//!
//! Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::HeaderValue;
use url::Url;

/// So many characters of a secret, one after the other, are no coincidence.
const PART: usize = 6;
/// What is shown instead.
const HIDDEN: &str = "(hidden)";

/// Knows the secrets of one request: the token; or user and password together, as sent, and the password.
pub(super) struct Scrub(Vec<Vec<char>>);

impl Scrub {
    /// Returns one that knows what a request was signed with.
    pub(super) fn of(header: Option<&HeaderValue>) -> Self {
        let signature = header
            .and_then(|header| std::str::from_utf8(header.as_bytes()).ok())
            .and_then(|text| text.split_once(' '));
        let Some((scheme, signature)) = signature else {
            return Self(Vec::new());
        };
        let mut secrets = vec![signature.to_owned()];
        if scheme == "Basic" {
            let pair = BASE64.decode(signature).unwrap_or_default();
            let pair = String::from_utf8_lossy(&pair);
            secrets.extend(
                pair.split_once(':')
                    .map(|(_, password)| password.to_owned()),
            );
        }
        let letters = |secret: String| secret.chars().map(|c| c.to_ascii_lowercase()).collect();
        secrets.retain(|secret| !secret.is_empty());
        Self(secrets.into_iter().map(letters).collect())
    }

    /// Returns a short text without the secrets, and without any longer part of them, in whatever case.
    pub(super) fn hide(&self, text: &str) -> String {
        let letters: Vec<char> = text.chars().collect();
        let mut rest = letters.as_slice();
        let mut shown = String::new();
        while let Some((first, after)) = rest.split_first() {
            match self.secret_at(rest) {
                0 => {
                    shown.push(*first);
                    rest = after;
                }
                length => {
                    shown += HIDDEN;
                    rest = rest.get(length..).unwrap_or_default();
                }
            }
        }
        shown
    }

    /// How many characters at the beginning of a text are of a secret: all of it, or a part of some length.
    fn secret_at(&self, text: &[char]) -> usize {
        let longest = |secret: &Vec<char>| {
            let starts = (0..secret.len()).filter_map(|at| secret.get(at..));
            let common = starts.map(|part| common(part, text)).max().unwrap_or(0);
            if common >= PART.min(secret.len()) {
                common
            } else {
                0
            }
        };
        self.0.iter().map(longest).max().unwrap_or(0)
    }

    /// Returns where a server sends to, without what addresses carry beside the place.
    pub(super) fn place(&self, location: &str, base: &Url) -> Option<String> {
        let mut url = base.join(location).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        if url.path().contains('%') {
            url.set_path("");
        }
        // An address that cannot have a user has no secret there.
        let _gone = (url.set_username(""), url.set_password(None));
        url.has_host().then(|| self.hide(url.as_str()))
    }
}

fn common(secret: &[char], text: &[char]) -> usize {
    let pairs = secret.iter().zip(text);
    pairs
        .take_while(|(secret, shown)| **secret == shown.to_ascii_lowercase())
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(header: &'static str) -> Scrub {
        Scrub::of(Some(&HeaderValue::from_static(header)))
    }

    #[test]
    fn what_a_request_was_signed_with_is_hidden_in_what_a_server_says() {
        let basic = scrub("Basic YW5uOnMzY3JldA==");
        for (said, shown) in [
            (
                "ann:s3cret (YW5uOnMzY3JldA==) is unknown",
                "ann:(hidden) ((hidden)) is unknown",
            ),
            ("YW5uOnMzY3… is unknown", "(hidden)… is unknown"),
            ("of ann", "of ann"),
        ] {
            assert_eq!(basic.hide(said), shown);
        }
        assert_eq!(Scrub::of(None).hide("s3cret"), "s3cret");
    }

    #[test]
    fn a_part_of_a_token_is_hidden_and_what_only_looks_like_one_is_shown() {
        let bearer = scrub("Bearer dapi0123456789abcdef");
        for (said, shown) in [
            ("token dapi0123… is void", "token (hidden)… is void"),
            ("…89ABCDEF is void", "…(hidden) is void"),
            ("xxdapi0123456789abcdefyy", "xx(hidden)yy"),
            ("dapi0 is a kind of token", "dapi0 is a kind of token"),
            ("m\u{e4}dapi0123456", "m\u{e4}(hidden)"),
        ] {
            assert_eq!(bearer.hide(said), shown);
        }
        let short = scrub("Basic YTpiYg==");
        assert_eq!(short.hide("bb or b"), "(hidden) or b");
    }

    #[test]
    fn of_an_address_only_the_place_is_shown() {
        let bearer = scrub("Bearer dapi0123456789abcdef");
        let base = Url::parse("https://mlflow.example/ml/api").unwrap();
        for (location, shown) in [
            ("/login?next=x#y", Some("https://mlflow.example/login")),
            ("https://a:b@sso.example/in", Some("https://sso.example/in")),
            ("https://sso.example/%64api", Some("https://sso.example/")),
            (
                "https://sso.example/dapi012345/in",
                Some("https://sso.example/(hidden)/in"),
            ),
            ("mailto:dapi0123456789abcdef", None),
        ] {
            assert_eq!(
                bearer.place(location, &base).as_deref(),
                shown,
                "{location}"
            );
        }
    }
}
