//! A ledger that cannot be used: put away, and what can be read of it carried over into a new one.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::fs_util::PathError;

/// What SQLite keeps beside a file (<https://sqlite.org/walformat.html>).
const WITH_FILE: [&str; 3] = ["", "-wal", "-shm"];

/// Renames the file to `*.unusable`, with what belongs to it, and returns where it is.
///
/// # Errors
/// [`PathError`] when the directory cannot be written.
pub(super) fn put(path: &Path) -> Result<PathBuf, PathError> {
    let aside = path.with_extension("unusable");
    for end in WITH_FILE {
        let [from, to] = [path, &aside].map(|path| {
            let mut path = path.as_os_str().to_owned();
            path.push(end);
            PathBuf::from(path)
        });
        match std::fs::rename(&from, &to) {
            // What belonged to a file that was put there before.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                crate::fs_util::remove_if_exists(&to)?;
            }
            done => done.map_err(PathError::of("set aside", &from))?,
        }
    }
    Ok(aside)
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
