//! How a store is reached, in words: what was given up on the way, and who is trusted there.
//!
//! Pure.

/// What is worth a word.
pub(super) struct Way {
    /// The server's certificate is not checked.
    pub(super) is_unchecked: bool,
    /// A password or token may go over plain http to another machine.
    pub(super) takes_plain_http: bool,
    /// The file of certificates that are trusted instead of the system's.
    pub(super) certificates: Option<String>,
}

impl Way {
    /// Returns nothing where nothing is unusual.
    pub(super) fn text(&self) -> String {
        let unchecked = self
            .is_unchecked
            .then_some("its certificate is not checked");
        let plain = self
            .takes_plain_http
            .then_some("credentials over plain http allowed");
        let trusted = self
            .certificates
            .as_ref()
            .map(|file| format!("trusts the certificates in {file}"));
        let said = [unchecked, plain].into_iter().flatten().map(str::to_owned);
        said.chain(trusted).collect::<Vec<_>>().join(", ")
    }
}
