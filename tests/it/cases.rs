//! How much do the random tests try? The same cases in every run, unless the environment asks for more or for others.

use proptest::test_runner::{Config, RngSeed};

/// How many times as many as usual: `TRACEMARK_TEST_CASES=20`.
pub(crate) const CASES: &str = "TRACEMARK_TEST_CASES";
/// Others than the usual ones: `TRACEMARK_TEST_SEED=7`.
pub(crate) const SEED: &str = "TRACEMARK_TEST_SEED";

/// How many times as many cases as usual are wanted.
pub(crate) fn times() -> usize {
    number(CASES).map_or(1, |times| usize::try_from(times).unwrap())
}

/// The seed that is wanted, else `usual`.
pub(crate) fn seed(usual: u64) -> u64 {
    number(SEED).unwrap_or(usual)
}

/// A configuration for `cases` random cases.
pub(crate) fn random(cases: u32) -> Config {
    Config {
        cases: cases * u32::try_from(times()).unwrap(),
        rng_seed: RngSeed::Fixed(seed(0)),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}
