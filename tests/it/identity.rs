//! Are the identities right in every state, kind of repository and surrounding, and is nothing of the user's touched for them?
//!
//! Every answer is compared with that of an oracle, which runs git and shares no code with the product.
//! `TRACEMARK_TEST_CASES=20` takes twenty times as many random walks, `TRACEMARK_TEST_SEED=7` others.

mod edges;
mod eyes;
mod ground;
mod judge;
mod kinds;
mod operations;
pub(crate) mod oracle;
mod untouched;
mod walk;
