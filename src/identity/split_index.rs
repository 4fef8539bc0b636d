//! A split index and the shared one beside it, made one again, so that git need not read (and freshen the time of) the
//! shared file. Layout: gitformat-index(5), "Split index"; the bitmaps: gitformat-bitmap(5), "EWAH"; git 2.47.
//!
//! Writes nothing and asks git nothing: what is not understood is handed back as it came.

use std::path::Path;

use super::digest::hex;
use super::index_file::IndexFile;

/// What the names of shared index files begin with.
const SHARED: &str = "sharedindex.";

/// How many entries a shared index may have: a few bytes can claim billions of bits.
const BITS_MAX: usize = 1 << 26;

/// Returns whether a git directory holds any shared index.
pub(super) fn is_likely(git_dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(git_dir) else {
        return false;
    };
    let mut names = entries.flatten().map(|entry| entry.file_name());
    names.any(|name| name.to_string_lossy().starts_with(SHARED))
}

/// Returns the bytes of an index that means the same as `bytes` and needs no other file; `bytes` themselves where they do
/// not, or where that cannot be had.
pub(super) fn whole(bytes: Vec<u8>, git_dir: &Path) -> Vec<u8> {
    if !is_likely(git_dir) {
        return bytes;
    }
    let merged = [20, 32].into_iter().find_map(|id_length| {
        let (own, link) = IndexFile::read_with_link(bytes.clone(), id_length)?;
        let link = link?;
        let link = Link::parse(&link, id_length)?;
        if link.shared.iter().all(|byte| *byte == 0) {
            return None;
        }
        let shared = std::fs::read(git_dir.join(format!("{SHARED}{}", hex(link.shared)))).ok()?;
        let shared = IndexFile::read(shared, id_length)?;
        IndexFile::merged(&shared, &own, &link.deleted, &link.replaced)
    });
    merged.unwrap_or(bytes)
}

/// Reads the extension alone.
#[cfg(any(test, fuzzing))]
pub(super) fn read_link(body: &[u8], id_length: usize) {
    drop(Link::parse(body, id_length));
}

/// The extension of a split index.
struct Link<'a> {
    /// The id of the shared index.
    shared: &'a [u8],
    /// Which of its entries count no longer.
    deleted: Vec<bool>,
    /// Which are to be found in the split index, in this order.
    replaced: Vec<bool>,
}

impl<'a> Link<'a> {
    fn parse(body: &'a [u8], id_length: usize) -> Option<Self> {
        let (shared, bitmaps) = body.split_at_checked(id_length)?;
        let (deleted, replaced) = if bitmaps.is_empty() {
            (Vec::new(), Vec::new())
        } else {
            let (deleted, rest) = bitmap(bitmaps)?;
            (deleted, bitmap(rest)?.0)
        };
        Some(Self {
            shared,
            deleted,
            replaced,
        })
    }
}

/// Returns the bits of a compressed bitmap and what follows it: number of bits, number of words, words of 64 bits, the
/// position of the last marker. A marker says how often its lowest bit is repeated by words (32 bits) and how many words
/// follow as they are (31 bits).
fn bitmap(bytes: &[u8]) -> Option<(Vec<bool>, &[u8])> {
    let count = usize::try_from(number(bytes.get(..4)?)?).ok()?;
    (count <= BITS_MAX).then_some(())?;
    let words = usize::try_from(number(bytes.get(4..8)?)?).ok()?;
    let end = 8 + words.checked_mul(8)?;
    let mut words = bytes.get(8..end)?.chunks_exact(8).map(word);
    let mut bits = Vec::new();
    while let Some(marker) = words.next() {
        let marker = marker?;
        let repeated = usize::try_from((marker >> 1) & 0xffff_ffff).ok()?;
        let literal = marker >> 33;
        let room = count.saturating_sub(bits.len());
        let repeated = repeated.checked_mul(64)?.min(room);
        bits.extend(std::iter::repeat_n(marker & 1 == 1, repeated));
        for _ in 0..literal {
            let word = words.next()??;
            bits.extend((0..64).map(|at| word >> at & 1 == 1));
        }
    }
    bits.truncate(count);
    Some((bits, bytes.get(end + 4..)?))
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Git;
    use crate::scratch_repository::ScratchRepository;

    fn listed(git: &Git) -> String {
        let said = git.run(&["ls-files", "-s", "-v", "--debug"]).unwrap();
        // What git holds in memory of an entry that came from the shared file.
        let from_shared = ("flags: 8000000\n", "flags: 0\n");
        let listed = String::from_utf8(said.stdout).unwrap();
        listed.replace(from_shared.0, from_shared.1)
    }

    #[test]
    fn git_reads_the_same_from_the_two_made_one() {
        for format in ["sha1", "sha256"] {
            let repository = ScratchRepository::of_format(format);
            let git = Git::at(repository.root());
            for n in 0..300 {
                repository.write(&format!("file{n:03}"), "x");
            }
            repository.git(&["config", "splitIndex.maxPercentChange", "100"]);
            repository.git(&["add", "."]);
            repository.git(&["update-index", "--split-index"]);
            for n in [3, 64, 65, 299] {
                let name = format!("file{n:03}");
                repository.write(&name, "changed");
                repository.git(&["add", &name]);
            }
            for n in [0, 63, 128, 130] {
                repository.git(&["rm", "-q", "--cached", &format!("file{n:03}")]);
            }
            for name in ["a new one", "file0005", "zz"] {
                repository.write(name, "y");
                repository.git(&["add", name]);
            }
            repository.write("later", "y");
            repository.git(&["add", "-N", "later"]);
            let git_dir = repository.at(".git");
            let bytes = std::fs::read(git_dir.join("index")).unwrap();
            let merged = whole(bytes.clone(), &git_dir);
            assert_ne!(merged, bytes);
            let copy = git_dir.join("copy");
            std::fs::write(&copy, merged).unwrap();
            let on_copy = git.clone().with_var("GIT_INDEX_FILE", &copy);
            assert!(listed(&on_copy) == listed(&git), "{format}");
            assert!(listed(&git).lines().count() > 290);
        }
    }

    #[test]
    fn damaged_bitmaps_are_refused() {
        // Four billion bits in one marker.
        let huge = [
            &[0xff; 4][..],
            &[0, 0, 0, 1],
            &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            &[0; 4],
        ];
        assert!(bitmap(&huge.concat()).is_none());
        assert!(bitmap(&[0, 0, 0, 1, 0, 0, 0, 9]).is_none());
        let endless = [&[0, 0, 0, 5, 0, 0, 0, 1][..], &[0xff; 8], &[0; 4]].concat();
        assert!(bitmap(&endless).is_none());
    }
}
