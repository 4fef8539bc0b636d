//! `tracemark demo`: a guided tour on a throw-away repository.

use super::{Context, say};
use crate::cli::DemoArgs;
use crate::error::Failure;

pub(super) fn run(_context: &Context, _arguments: &DemoArgs) -> Result<(), Failure> {
    say("demo");
    Ok(())
}
