//! The trees that git noted in an index: what the entries below a directory make (gitformat-index(5), "Cache tree").
//!
//! Pure.

use std::collections::BTreeMap;

use super::object::RawId;

/// Returns the ids of the trees that are known, by directory: empty for the root, else with a slash at the end. `None` for what is
/// no such extension.
pub(super) fn read(body: &[u8], id_length: usize) -> Option<BTreeMap<Vec<u8>, RawId>> {
    let mut known = BTreeMap::new();
    // Directories whose records are not complete, and how many subtrees each still has to come.
    let mut open: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let record = Record::read(&mut rest, id_length)?;
        let mut path = match open.last_mut() {
            Some((above, to_come)) => {
                *to_come = to_come.checked_sub(1)?;
                [above.as_slice(), record.name].concat()
            }
            None if record.name.is_empty() => Vec::new(),
            None => return None,
        };
        if !record.name.is_empty() {
            path.push(b'/');
        }
        if let Some(id) = record.id {
            known.insert(path.clone(), id);
        }
        open.push((path, record.subtrees));
        while open.last().is_some_and(|(_, to_come)| *to_come == 0) {
            open.pop();
        }
        if open.is_empty() {
            break;
        }
    }
    (rest.is_empty() && open.is_empty()).then_some(known)
}

/// Name, NUL, number of entries (negative where the tree is not known), space, number of subtrees, LF, id.
struct Record<'a> {
    name: &'a [u8],
    subtrees: usize,
    id: Option<RawId>,
}

impl<'a> Record<'a> {
    fn read(rest: &mut &'a [u8], id_length: usize) -> Option<Self> {
        let name = until(rest, 0)?;
        let entries = until(rest, b' ')?;
        let subtrees = std::str::from_utf8(until(rest, b'\n')?).ok()?;
        let is_known = !entries.starts_with(b"-");
        let (id, after) = rest.split_at_checked(if is_known { id_length } else { 0 })?;
        *rest = after;
        Some(Self {
            name,
            subtrees: subtrees.parse().ok()?,
            id: if is_known {
                Some(RawId::new(id)?)
            } else {
                None
            },
        })
    }
}

/// Takes what stands before the next `end`, and that.
fn until<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| *byte == end)?;
    let (found, after) = rest.split_at_checked(at)?;
    *rest = after.get(1..)?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Vec<u8> {
        vec![byte; 20]
    }

    #[test]
    fn trees_are_found_by_their_directory_and_unknown_ones_are_left_out() {
        let body = [
            b"\0-1 2\n".to_vec(),
            b"a\0".to_vec(),
            b"2 1\n".to_vec(),
            id(1),
            b"b\x001 0\n".to_vec(),
            id(2),
            b"c\0-1 0\n".to_vec(),
        ];
        let known = read(&body.concat(), 20).unwrap();
        let found: Vec<_> = known
            .iter()
            .map(|(path, id)| (path.as_slice(), id.as_bytes().to_vec()))
            .collect();
        assert_eq!(found, [(&b"a/"[..], id(1)), (b"a/b/", id(2))]);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_not_read() {
        for body in [
            &b"\x001 0\n"[..],
            b"\0-1 1\n",
            b"\0-1 0\nx\0-1 0\n",
            b"a\0-1 0\n",
        ] {
            assert_eq!(read(body, 20), None);
        }
    }
}
