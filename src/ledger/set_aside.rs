//! Which files belong to a ledger; one that cannot be used is put away, and what can be read of it carried over into a new one.
//!
//! Knows no meaning of a row: tables are copied by the names of their columns.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, params};

use super::LedgerError;
use crate::fs_util::{self, PathError};

/// A file of SQLite's, and what it keeps beside it (<https://sqlite.org/walformat.html>).
const WITH_FILE: [&str; 3] = ["", "-wal", "-shm"];
/// What else may lie beside one, which another way to write than ours keeps there (<https://sqlite.org/tempfiles.html>).
const JOURNAL: &str = "-journal";

/// Removes links, pipes and devices in the place of a ledger and of what SQLite keeps beside one, which it would follow or open; a
/// directory in the place of the latter is put away.
///
/// # Errors
/// [`PathError`] when one cannot be removed.
pub(super) fn remove_what_is_no_file(path: &Path) -> Result<(), PathError> {
    for end in WITH_FILE.into_iter().chain([JOURNAL]) {
        let place = with_end(path, end);
        fs_util::remove_what_is_no_file(&place)?;
        if !end.is_empty() && place.is_dir() {
            let aside = with_end(&place_of(path), end);
            remove(&aside).map_err(PathError::of("remove", &aside))?;
            std::fs::rename(&place, &aside).map_err(PathError::of("set aside", &place))?;
        }
    }
    Ok(())
}

/// Returns where a ledger is put that cannot be used.
fn place_of(path: &Path) -> PathBuf {
    path.with_extension("unusable")
}

/// Returns the places of a ledger, of one that was put away, and of all that SQLite may keep beside the two.
pub(super) fn all_files(path: &Path) -> Vec<PathBuf> {
    let ends = WITH_FILE.into_iter().chain([JOURNAL]);
    ends.flat_map(|end| [path.to_owned(), place_of(path)].map(|path| with_end(&path, end)))
        .collect()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

/// Renames the file to `*.unusable`, with what belongs to it, and returns where it is.
///
/// # Errors
/// [`LedgerError`] when the directory cannot be written, or somebody has the ledger open who can use it: SQLite would remove by
/// its name what belongs to the next one.
pub(super) fn put(path: &Path) -> Result<PathBuf, LedgerError> {
    close_for_others(path)?;
    let aside = place_of(path);
    for end in WITH_FILE {
        let [from, to] = [path, &aside].map(|path| with_end(path, end));
        if from.is_dir() || to.is_dir() {
            remove(&to).map_err(PathError::of("remove", &to))?;
        }
        match std::fs::rename(&from, &to) {
            // What belonged to a file that was put there before.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs_util::remove_if_exists(&to)?;
            }
            done => done.map_err(PathError::of("set aside", &from))?,
        }
    }
    Ok(aside)
}

/// A directory takes no file's place.
fn remove(path: &Path) -> std::io::Result<()> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Only who is alone with a file can leave WAL, which puts all of it into the one file (<https://sqlite.org/wal.html>, section 3.3).
fn close_for_others(path: &Path) -> Result<(), LedgerError> {
    let left = Connection::open(path).and_then(|connection| {
        connection.busy_timeout(super::BUSY_TIMEOUT)?;
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
    });
    match left {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// Copies the rows of `tables`, as far as they can be read and have the columns that are known here: debts are written down
/// nowhere else. Returns how many there were.
pub(super) fn carry_over(aside: &Path, into: &Connection, tables: &[&str]) -> usize {
    let Some(aside) = aside.to_str() else {
        return 0;
    };
    if into.execute("ATTACH ?1 AS aside", [aside]).is_err() {
        return 0;
    }
    let copied = tables.iter().map(|table| copy(into, table));
    let copied = copied.map(|copied| {
        copied.unwrap_or_else(|error| {
            tracing::debug!(%error, "a table of a ledger that was set aside is lost");
            0
        })
    });
    let copied = copied.sum();
    if let Err(error) = into.execute("DETACH aside", []) {
        tracing::debug!(%error, "the ledger that was set aside stays open");
    }
    copied
}

/// Rows are numbered anew, in the order that they had.
fn copy(into: &Connection, table: &str) -> rusqlite::Result<usize> {
    let mut columns =
        into.prepare("SELECT name FROM pragma_table_info(?1, 'main') WHERE name <> 'id'")?;
    let columns: Vec<String> = columns
        .query_map(params![table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let columns = columns.join(", ");
    into.execute(
        &format!("INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM aside.{table} ORDER BY rowid"),
        [],
    )
}
