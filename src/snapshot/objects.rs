//! The object store: a bare git repository without references, whose objects lie in packs alone.
//!
//! A pack counts once git has read it back and named every object in it by its bytes (git-index-pack(1)). Takes no
//! lock, whoever opens the store to write holds it; and never decides which objects stay.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{Record, SnapshotError};
use crate::fs_util::{PathError, create_private_dir, replace};
use crate::git::{Git, GitError};
use crate::identity::object::{Format, RawId};

/// From so many packs on, the small ones are put together.
const PACKS_MAX: usize = 12;
/// The magic and version of a pack's table of contents (gitformat-pack(5)).
const TABLE_HEAD: &[u8] = b"\xfftOc\0\0\0\x02";
const FANOUT: usize = 256 * 4;

/// Returns a git that works on the store at `git_dir`, whatever a person's or a machine's settings say.
pub(super) fn git(git_dir: &Path) -> Git {
    Git::at(git_dir)
        .with_var("GIT_DIR", git_dir)
        .with_var("GIT_CONFIG_GLOBAL", "/dev/null")
        .with_var("GIT_CONFIG_SYSTEM", "/dev/null")
        .with_var("GIT_NO_REPLACE_OBJECTS", "1")
        .with_var("GIT_ATTR_NOSYSTEM", "1")
        .with_var("XDG_CONFIG_HOME", git_dir)
}

/// A git of the user's that only gives objects away: fetches nothing, replaces nothing.
pub(super) fn giving(git: Git) -> Git {
    git.distrusting().with_var("GIT_NO_REPLACE_OBJECTS", "1")
}

/// Returns which of the objects `git` has.
pub(super) fn present(git: &Git, ids: &BTreeSet<RawId>) -> Result<BTreeSet<RawId>, SnapshotError> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let input = ids.iter().flat_map(id_line).collect();
    let arguments = ["cat-file", "--batch-check", "--buffer"];
    let said = git.run_with_input(&arguments, Some(input))?.stdout;
    let lines = said.split(|byte| *byte == b'\n').zip(ids);
    let here = lines.filter(|(line, _)| !line.ends_with(b" missing"));
    Ok(here.map(|(_, id)| *id).collect())
}

/// Names the packs that the store has.
const LIST: &str = "packs";
/// Is there once a pack was lost.
const LOST: &str = "lost-packs";

/// Returns whether a pack of the store in `dir` ever went that nobody removed on purpose.
pub(super) fn has_lost(dir: &Path) -> bool {
    let listed = fs::read_to_string(dir.join(LIST)).unwrap_or_default();
    let packs = dir.join("objects/pack");
    let is_whole = |name: &str| {
        let table = packs.join(name);
        table.exists() && table.with_extension("pack").exists()
    };
    dir.join(LOST).exists() || !listed.lines().all(is_whole)
}

/// The store, opened by the only process that writes to it.
#[derive(Debug)]
pub(super) struct Objects {
    dir: PathBuf,
    pub(super) format: Format,
    pub(super) known: Known,
    /// Packs went with objects that others rely on: a tree that is here does not mean that all below it is.
    pub(super) has_lost: bool,
}

impl Objects {
    /// Opens the store and makes it where there is none; what a crash left behind is removed.
    pub(super) fn open(dir: &Path, format: Format) -> Result<Self, SnapshotError> {
        if !dir.join("HEAD").is_file() {
            make(dir, format)?;
        }
        let mut objects = Self {
            known: Known::default(),
            has_lost: false,
            dir: dir.to_owned(),
            format,
        };
        objects.read_tables()?;
        objects.note_losses()?;
        let scratch = objects.scratch();
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(PathError::of("remove", &scratch)(error).into());
            }
            _ => {}
        }
        create_private_dir(&scratch)?;
        Ok(objects)
    }

    pub(super) fn git(&self) -> Git {
        git(&self.dir)
    }

    /// Returns where unfinished packs lie.
    pub(super) fn scratch(&self) -> PathBuf {
        self.dir.join("unfinished")
    }

    fn packs(&self) -> PathBuf {
        self.dir.join("objects/pack")
    }

    /// A pack that was cut off, or whose table of contents was, gives nothing any more: what is kept from now on is kept without it.
    fn read_tables(&mut self) -> Result<(), SnapshotError> {
        let mut damaged = Vec::new();
        for table in tables(&self.packs())? {
            match self.known.add(&table, self.format) {
                Err(SnapshotError::Damaged(_)) => damaged.push(table),
                read => read?,
            }
        }
        self.set_aside(&damaged)
    }

    /// Remembers for good that a pack went which nobody removed on purpose.
    fn note_losses(&mut self) -> Result<(), SnapshotError> {
        self.has_lost = has_lost(&self.dir);
        let mark = self.dir.join(LOST);
        if self.has_lost && !mark.exists() {
            fs::write(&mark, "").map_err(PathError::of("write", &mark))?;
        }
        Ok(())
    }

    /// Writes down which packs there are.
    fn list_packs(&self) -> Result<(), SnapshotError> {
        let names = self
            .known
            .tables
            .iter()
            .filter_map(|table| table.file.file_name());
        let text: String = names
            .map(|name| format!("{}\n", name.to_string_lossy()))
            .collect();
        let list = self.dir.join(LIST);
        Ok(fs::write(&list, text).map_err(PathError::of("write", &list))?)
    }

    fn set_aside(&self, tables: &[PathBuf]) -> Result<(), SnapshotError> {
        let aside = self.dir.join("damaged");
        for table in tables {
            tracing::error!(table = %table.display(), "a damaged pack is set aside; versions that need it cannot be brought back");
            create_private_dir(&aside)?;
            for file in [table, &table.with_extension("pack")] {
                let to = aside.join(file.file_name().unwrap_or_default());
                fs::rename(file, &to).map_err(PathError::of("set aside", file))?;
            }
        }
        Ok(())
    }

    /// Puts small packs together. A pack that git cannot read keeps nothing from being kept.
    pub(super) fn tidy(&mut self) {
        let Err(error) = self.roll_up() else {
            return;
        };
        tracing::warn!(%error, "the packs of the snapshots stay many");
        let aside = unreadable(&self.dir).and_then(|tables| self.set_aside(&tables));
        if let Err(error) = aside {
            tracing::warn!(%error, "damaged packs stay where they are");
        }
    }

    /// Takes over objects of another store, with the deltas that they have there. Returns those that it does not have.
    pub(super) fn import(
        &mut self,
        from: &Git,
        wanted: &BTreeSet<RawId>,
        size_max: u64,
    ) -> Result<Import, SnapshotError> {
        let unknown: Vec<_> = wanted.iter().filter(|id| !self.known.has(id)).collect();
        let mut import = Import::default();
        if unknown.is_empty() {
            return Ok(import);
        }
        let from = giving(from.clone());
        let input = unknown.iter().flat_map(|id| id_line(id)).collect();
        let said = from
            .run_with_input(&["cat-file", "--batch-check", "--buffer"], Some(input))?
            .stdout;
        let mut here = Vec::new();
        for (line, id) in said.split(|byte| *byte == b'\n').zip(unknown) {
            let mut words = line.split(|byte| *byte == b' ').skip(1);
            let (kind, size) = (words.next().unwrap_or_default(), words.next());
            let size =
                size.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
            match size {
                Some(size) if size > size_max && kind == b"blob" => {
                    import.too_large.insert(*id);
                }
                Some(_) => here.extend(id_line(id)),
                None => {
                    import.missing.insert(*id);
                }
            }
        }
        if !here.is_empty() {
            self.pack_from(&from, here, "0")?;
        }
        Ok(import)
    }

    fn pack_from(&mut self, from: &Git, ids: Vec<u8>, window: &str) -> Result<(), SnapshotError> {
        let window = format!("--window={window}");
        // With a name instead, git makes the pack in the user's object directory first and moves it then.
        let arguments = [
            "-c",
            "pack.threads=1",
            "pack-objects",
            "-q",
            "--stdout",
            "--delta-base-offset",
            &window,
        ];
        let pack = self.scratch().join("import.pack");
        for ending in ["pack", "idx", "rev"] {
            crate::fs_util::remove_if_exists(&pack.with_extension(ending))?;
        }
        let mut file = File::create_new(&pack).map_err(PathError::of("write", &pack))?;
        let mut written = Ok(());
        let said = from.stream_with_input(&arguments, Some(ids), |bytes| {
            written = file.write_all(bytes);
            written.is_ok()
        });
        written.map_err(PathError::of("write", &pack))?;
        said?;
        self.take_in(&pack)
    }

    /// Reads a pack back, each object by its bytes, and makes it one of the store's.
    pub(super) fn take_in(&mut self, pack: &Path) -> Result<(), SnapshotError> {
        let table = pack.with_extension("idx");
        let (pack_text, table_text) = (pack.to_string_lossy(), table.to_string_lossy());
        let arguments = [
            "index-pack",
            "--no-rev-index",
            "-o",
            &table_text,
            &pack_text,
        ];
        let name = self.git().line(&arguments)?;
        let name = String::from_utf8_lossy(&name);
        let name = name.rsplit('\t').next().unwrap_or_default().trim();
        if RawId::from_hex(name.as_bytes()).is_none() {
            return Err(SnapshotError::Damaged(format!("a pack called {name:?}")));
        }
        for (from, ending) in [(pack, "pack"), (&table, "idx")] {
            let to = self.packs().join(format!("pack-{name}.{ending}"));
            File::open(from)
                .and_then(|file| file.sync_all())
                .and_then(|()| fs::rename(from, &to))
                .map_err(PathError::of("write", &to))?;
        }
        let packs = self.packs();
        File::open(&packs)
            .and_then(|dir| dir.sync_all())
            .map_err(PathError::of("write", &packs))?;
        let table = packs.join(format!("pack-{name}.idx"));
        self.known.add(&table, self.format)?;
        self.list_packs()
    }

    /// Puts small packs together, with deltas among their objects, where there are many.
    fn roll_up(&mut self) -> Result<(), SnapshotError> {
        let mut packs: Vec<(u64, PathBuf)> = Vec::new();
        for table in tables(&self.packs())? {
            let size = table.with_extension("pack").metadata();
            let size = size.map_err(PathError::of("read", &table))?.len();
            packs.push((size, table));
        }
        if packs.len() < PACKS_MAX {
            return Ok(());
        }
        packs.sort_unstable();
        let mut sum = 0;
        let small = packs.iter().take_while(|(size, _)| {
            let joins = sum == 0 || *size <= sum * 2;
            sum += size;
            joins
        });
        let small: Vec<_> = small.map(|(_, table)| table.clone()).collect();
        let mut ids = Vec::new();
        for table in &small {
            let table = Table::read(table, self.format)?;
            ids.extend(table.ids().flat_map(|id| id_line(&id)));
        }
        let git = self.git();
        self.pack_from(&git, ids, "50")?;
        self.remove_packs(&small, 1)
    }

    /// Removes packs whose objects are all in later ones. The last `kept` tables are never removed.
    pub(super) fn remove_packs(
        &mut self,
        tables: &[PathBuf],
        kept: usize,
    ) -> Result<(), SnapshotError> {
        let newest: Vec<_> = self
            .known
            .tables
            .iter()
            .rev()
            .take(kept)
            .map(|table| table.file.clone())
            .collect();
        for table in tables.iter().filter(|table| !newest.contains(table)) {
            crate::fs_util::remove_if_exists(table)?;
            crate::fs_util::remove_if_exists(&table.with_extension("pack"))?;
            self.known.tables.retain(|known| known.file != *table);
        }
        self.list_packs()
    }

    /// Keeps those objects and removes every other.
    pub(super) fn keep_only(&mut self, ids: &BTreeSet<RawId>) -> Result<(), SnapshotError> {
        let before = tables(&self.packs())?;
        let git = self.git();
        if ids.is_empty() {
            return self.remove_packs(&before, 0);
        }
        let input = ids.iter().flat_map(id_line).collect();
        self.pack_from(&git, input, "0")?;
        self.remove_packs(&before, 1)
    }
}

/// What another store did not give.
#[derive(Debug, Default)]
pub(super) struct Import {
    pub(super) missing: BTreeSet<RawId>,
    pub(super) too_large: BTreeSet<RawId>,
}

fn id_line(id: &RawId) -> Vec<u8> {
    let mut line = id.to_hex().into_bytes();
    line.push(b'\n');
    line
}

/// As `git init --bare` makes it, without what templates and settings of a person would add.
fn make(dir: &Path, format: Format) -> Result<(), SnapshotError> {
    for part in ["objects/pack", "objects/info", "refs"] {
        create_private_dir(&dir.join(part))?;
    }
    let config = match format {
        Format::Sha1 => "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
        Format::Sha256 => {
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
        }
    };
    replace(&dir.join("config"), config.as_bytes(), 0o600)?;
    replace(&dir.join("HEAD"), b"ref: refs/heads/none\n", 0o600)?;
    Ok(())
}

fn tables(packs: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let listed = fs::read_dir(packs).map_err(PathError::of("read", packs))?;
    Ok(listed
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "idx"))
        .filter(|path| path.with_extension("pack").is_file())
        .collect())
}

/// Which objects the store holds.
#[derive(Debug, Default)]
pub(super) struct Known {
    tables: Vec<Table>,
}

impl Known {
    pub(super) fn read(packs: &Path, format: Format) -> Result<Self, SnapshotError> {
        let mut known = Self::default();
        for table in tables(packs)? {
            known.add(&table, format)?;
        }
        Ok(known)
    }

    fn add(&mut self, table: &Path, format: Format) -> Result<(), SnapshotError> {
        self.tables.retain(|known| known.file != table);
        self.tables.push(Table::read(table, format)?);
        Ok(())
    }

    pub(super) fn has(&self, id: &RawId) -> bool {
        self.tables.iter().any(|table| table.has(id))
    }

    /// Returns whether the trees of a version are in the store.
    pub(super) fn has_trees_of(&self, record: &Record) -> bool {
        let mut trees = [Some(&record.tree), record.disk.as_ref()]
            .into_iter()
            .flatten();
        trees.all(|tree| RawId::from_hex(tree.as_bytes()).is_some_and(|id| self.has(&id)))
    }
}

/// The table of contents of one pack, version 2 (gitformat-pack(5)): ids in order behind 256 counts.
#[derive(Debug)]
struct Table {
    file: PathBuf,
    bytes: Vec<u8>,
    width: usize,
    count: usize,
}

impl Table {
    fn read(file: &Path, format: Format) -> Result<Self, SnapshotError> {
        let bytes = fs::read(file).map_err(PathError::of("read", file))?;
        let width = format.id_length();
        let damaged = || SnapshotError::Damaged(file.display().to_string());
        let count = number(&bytes, TABLE_HEAD.len() + FANOUT - 4).ok_or_else(damaged)?;
        let ids = TABLE_HEAD.len() + FANOUT;
        let checksums = 2 * width;
        let is_whole = bytes.starts_with(TABLE_HEAD)
            && bytes.len() >= ids + count * (width + 8) + checksums
            && end_of(&file.with_extension("pack"), width)?.as_deref()
                == bytes.get(bytes.len().saturating_sub(checksums)..bytes.len() - width);
        let mut table = Self {
            file: file.to_owned(),
            bytes,
            width,
            count,
        };
        if !is_whole {
            return Err(damaged());
        }
        // Checksums and offsets are git's affair.
        table.bytes.truncate(ids + count * width);
        Ok(table)
    }

    fn at(&self, place: usize) -> Option<&[u8]> {
        let start = TABLE_HEAD.len() + FANOUT + place * self.width;
        self.bytes.get(start..start + self.width)
    }

    fn ids(&self) -> impl Iterator<Item = RawId> {
        (0..self.count).filter_map(|place| RawId::new(self.at(place)?))
    }

    fn has(&self, id: &RawId) -> bool {
        let wanted = id.as_bytes();
        let Some(first) = wanted.first().map(|byte| usize::from(*byte)) else {
            return false;
        };
        let fanout = |at: usize| number(&self.bytes, TABLE_HEAD.len() + at * 4).unwrap_or(0);
        let mut low = first.checked_sub(1).map_or(0, fanout);
        let mut high = fanout(first).min(self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.at(middle).map(|found| found.cmp(wanted)) {
                Some(std::cmp::Ordering::Equal) => return true,
                Some(std::cmp::Ordering::Less) => low = middle + 1,
                _ => high = middle,
            }
        }
        false
    }
}

/// Returns the last bytes of a pack, its checksum, which its table repeats; `None` where it is shorter.
fn end_of(pack: &Path, width: usize) -> Result<Option<Vec<u8>>, SnapshotError> {
    let read = || {
        let file = File::open(pack)?;
        let Some(at) = file.metadata()?.len().checked_sub(width as u64) else {
            return Ok(None);
        };
        let mut end = vec![0; width];
        file.read_exact_at(&mut end, at)?;
        Ok(Some(end))
    };
    read().map_err(|source| PathError::of("read", pack)(source).into())
}

/// Returns the packs that git cannot read, each object by its bytes (git-verify-pack(1)). Takes as long as reading all of them.
pub(super) fn unreadable(dir: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let packs = dir.join("objects/pack");
    let is_unreadable = |table: &PathBuf| {
        let said = git(dir).run(&["verify-pack".as_ref(), table.as_os_str()]);
        matches!(said, Err(GitError::Failed { .. }))
    };
    Ok(tables(&packs)?.into_iter().filter(is_unreadable).collect())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(four)).ok()
}
