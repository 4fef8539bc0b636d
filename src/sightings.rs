//! When each content was first seen on disk: knows no disk and no clock, and forgets the oldest beyond a bound.
//!
//! Pure.

use std::collections::BTreeMap;

use crate::ids::ContentId;

/// How many contents are remembered; one that is forgotten counts as first seen when it is seen again, which trusts less.
const MAX: usize = 1000;

/// Contents with the time of their first sighting, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Sightings(BTreeMap<ContentId, i64>);

impl Sightings {
    /// Notes that a content is there at `now_ms`.
    pub fn note(&mut self, content: &ContentId, now_ms: i64) {
        if self.0.contains_key(content) {
            return;
        }
        if self.0.len() >= MAX {
            self.forget_oldest();
        }
        self.0.insert(content.clone(), now_ms);
    }

    /// Returns when a content was first seen, in milliseconds since 1970; `None` where it was not, or that was forgotten.
    pub fn first(&self, content: &ContentId) -> Option<i64> {
        self.0.get(content).copied()
    }

    fn forget_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, at)| **at);
        if let Some(content) = oldest.map(|(content, _)| content.clone()) {
            self.0.remove(&content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sighting_counts_and_the_oldest_are_forgotten() {
        let content = |n: usize| format!("{n:040x}").parse::<ContentId>().unwrap();
        let mut sightings = Sightings::default();
        sightings.note(&content(1), 5);
        sightings.note(&content(1), 9);
        assert_eq!(sightings.first(&content(1)), Some(5));
        for n in 2..=MAX + 1 {
            sightings.note(&content(n), 10);
        }
        assert_eq!(sightings.first(&content(1)), None);
        assert_eq!(sightings.first(&content(MAX + 1)), Some(10));
    }
}
