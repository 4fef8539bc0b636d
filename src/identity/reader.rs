//! Readings of one worktree, one after another: what was read before is kept, and only what was touched is read again.
//!
//! A full pass looks at every file and reads those whose stamp moved; a narrow pass looks at the files that were
//! touched and at those that are not committed. Both answer what [`super::read`] answers from scratch; where a worktree
//! is not plain enough to be sure of that (submodules, conflicts, hidden files, programs in the place of git's diff),
//! [`super::read`] is what is done. Watches nothing, and never decides when to read: what was touched it is told.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::Cache;
use super::files::{Copies, Files};
use super::files_record::{self, FilesRecord};
use super::from_scratch::{read_safely, read_with};
use super::ground::Places;
use super::index_names::IndexNames;
use super::kept::Kept;
use super::pass::{NOT_WANTED, Pass, Prepared, Stop};
use super::scratch::in_place;
use super::stamp::Moment;
use super::workbench::Workbench;
use super::{ReadError, Reading};
use crate::git::Git;
use crate::ids::ContentId;
use crate::touched::Touched;

/// How often a worktree was read, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passes {
    /// Passes that looked at every file.
    pub full: u64,
    /// Passes that looked only at what was touched and at what is not committed.
    pub narrow: u64,
    /// Passes that were given up as files changed meanwhile.
    pub torn: u64,
}

/// Reads one worktree again and again.
#[derive(Debug)]
pub struct WorktreeReader {
    places: Places,
    private: PathBuf,
    git: Git,
    /// What the last pass left, `None` before the first and after one that failed.
    kept: Option<Kept>,
    prepared: Option<Prepared>,
    cache: Cache,
    /// The files of the last reading that was made from scratch, and their content.
    from_scratch: Option<(ContentId, Files)>,
    /// What the last pass read of files that did not hold still, until it is asked for.
    copies: Option<Arc<Copies>>,
    /// The files of the last reading that did not hold still.
    held: BTreeSet<PathBuf>,
    passes: Passes,
    /// What the last pass left, to spare the next one the making of directories and files.
    workbench: Option<Workbench>,
    doubt: Option<Doubt>,
    is_doubted: bool,
    wants_git_hash: bool,
}

/// Says why nothing that the repository's configuration names may run, `None` while it may.
pub struct Doubt(Box<Ask>);

type Ask = dyn Fn(Option<&IndexNames>) -> Option<String> + Send;

impl Doubt {
    /// Returns a doubt that asks again before each pass that is not sure to meet the configuration of the last one. Where it is known
    /// what the index names, that is handed over.
    pub fn new(ask: impl Fn(Option<&IndexNames>) -> Option<String> + Send + 'static) -> Self {
        Self(Box::new(ask))
    }
}

impl std::fmt::Debug for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doubt")
    }
}

impl WorktreeReader {
    /// Returns a reader that knows nothing yet. `git_dir` is the worktree's own git directory; temporary files and a
    /// copy of the index go to `private`, which no reading may see.
    pub fn new(root: &Path, git_dir: &Path, private: &Path) -> Self {
        Self {
            places: Places::new(root, git_dir),
            private: private.to_owned(),
            git: Git::at(root),
            kept: None,
            prepared: None,
            cache: Cache::default(),
            from_scratch: None,
            copies: None,
            held: BTreeSet::new(),
            passes: Passes::default(),
            workbench: None,
            doubt: None,
            is_doubted: false,
            wants_git_hash: true,
        }
    }

    /// Has readings of changed code go without the git-hash, for which git makes diffs, or has them carry it again.
    pub fn want_git_hash(&mut self, wanted: bool) {
        if wanted != self.wants_git_hash {
            self.kept = None;
        }
        self.wants_git_hash = wanted;
    }

    /// Makes the reader run nothing of the repository while there is a doubt.
    #[must_use]
    pub fn doubting(mut self, doubt: Doubt) -> Self {
        self.doubt = Some(doubt);
        self
    }

    /// Returns whether the last reading was made without running anything of the repository.
    pub fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Returns whether the last reading found the file in the index.
    pub fn tracks(&self, path: &Path) -> bool {
        let known = self.known(path);
        known.is_some_and(|(kept, path)| kept.index.find(path).is_some())
    }

    /// Returns how often the worktree was read, and how.
    pub fn passes(&self) -> Passes {
        self.passes
    }

    /// Returns whether the files that the helper opens lie as they did when they were last read, also those that are ignored or
    /// elsewhere: targets of links, and what the damaged first line of the status leads to; and those with several names. Nothing is known of a worktree
    /// that is read from scratch each time; then it is true.
    pub fn opened_files_lie_still(&self) -> bool {
        let links_lie_still = || self.cache.moved_links(&self.places.root).is_empty();
        self.kept.is_none() || self.cache.hashes.lie_as_opened() && links_lie_still()
    }

    /// Learns what another process read here, of which [`FilesRecord`] made bytes. A file counts as read as long as its stamp is the
    /// same. Anything else is passed over.
    pub fn recall(&mut self, record: &[u8]) {
        if let Some(files) = files_record::read(record) {
            self.cache.recall(files);
        }
    }

    /// Returns what was read where it is time to write that down, or, at the end, where anything was read since: many files, none
    /// of which git converts.
    pub fn record(&mut self, is_last: bool) -> Option<FilesRecord> {
        let kept = self.kept.as_ref()?;
        if kept.conversion.is_possible() {
            return None;
        }
        let record = FilesRecord::of(&self.cache.files, self.cache.read, is_last)?;
        self.cache.read = 0;
        Some(record)
    }

    /// Returns the files that moved while the last reading was made, each read alone, touched or not.
    pub fn held(&self) -> &BTreeSet<PathBuf> {
        &self.held
    }

    /// Returns whether the last reading knows of no file there. Nothing is known of a worktree that is read from scratch each time; then
    /// it is false.
    pub fn misses(&self, path: &Path) -> bool {
        let known = self.known(path);
        known.is_some_and(|(_, path)| self.cache.files.get(path).is_none())
    }

    /// Returns whether the last reading knows of files below, or tracks some.
    pub fn has_dir(&self, path: &Path) -> bool {
        self.known(path).is_some_and(|(kept, path)| {
            self.cache.files.has_dir(path) || kept.index.below(path).next().is_some()
        })
    }

    /// Returns what the last pass left, and the path below the top.
    fn known<'a>(&'a self, path: &'a Path) -> Option<(&'a Kept, &'a [u8])> {
        let inside = path.strip_prefix(&self.places.root).ok()?;
        Some((self.kept.as_ref()?, inside.as_os_str().as_bytes()))
    }

    /// Returns every file of the last reading; `None` where they are to be read by [`Files::read`].
    pub fn files(&mut self) -> Option<Files> {
        let copies = self.copies.take();
        let Some(kept) = &self.kept else {
            return self.from_scratch.as_ref().map(|(_, files)| files.clone());
        };
        let map = self.cache.files.clone();
        Some(Files::plain(map, kept.head.format, copies))
    }

    /// Reads files before anybody asks for them, as long as `goes_on` says so: what is read spares the next reading that, where they
    /// lie as they do now. Those that were never read are left to it, and all of them where git may convert any.
    pub fn read_ahead(&mut self, paths: &BTreeSet<PathBuf>, goes_on: &dyn Fn() -> bool) {
        let plain = self
            .kept
            .as_ref()
            .filter(|kept| !kept.conversion.is_possible());
        let Some(format) = plain.map(|kept| kept.head.format) else {
            return;
        };
        if let Ok(mut pass) = self.pass() {
            pass.read_ahead(paths, format, goes_on);
            self.workbench = left_by(pass).1;
        }
    }

    /// Reads what the next look at every file begins with, and runs nothing of the repository. It counts where nothing of it moved
    /// until then.
    pub fn prepare(&mut self) {
        let Ok(pass) = self.pass() else {
            return;
        };
        if let Ok(prepared) = pass.prepare() {
            self.workbench = left_by(pass).1;
            self.prepared = Some(prepared);
        }
    }

    /// Reads what `touched` names again, or all of it where that is not sure to be enough. Returns what [`super::read`] would,
    /// but for a git-hash that is not wanted.
    ///
    /// # Errors
    /// As [`super::read`].
    pub fn read(&mut self, touched: &Touched) -> Result<Reading, ReadError> {
        self.read_while(touched, &|| false)
    }

    /// Reads as [`Self::read`] does. Where `is_undisturbed` says at the end that nothing was touched since the beginning, files are not
    /// looked at a second time to see that.
    ///
    /// # Errors
    /// As [`super::read`].
    pub fn read_while(
        &mut self,
        touched: &Touched,
        is_undisturbed: &dyn Fn() -> bool,
    ) -> Result<Reading, ReadError> {
        let mut reading = self.read_wanted(touched, is_undisturbed)?;
        if !self.wants_git_hash && reading.git_hash.as_ref().ok() != head_text(&reading).as_ref() {
            reading.git_hash = Err(NOT_WANTED.to_owned());
        }
        Ok(reading)
    }

    fn read_wanted(
        &mut self,
        touched: &Touched,
        is_undisturbed: &dyn Fn() -> bool,
    ) -> Result<Reading, ReadError> {
        (self.copies, self.held) = (None, BTreeSet::new());
        if self.workbench.as_ref().is_some_and(Workbench::is_gone) {
            // The rest may be about to go too, and rm(1) fails where something new appears meanwhile.
            (self.workbench, self.kept) = (None, None);
            self.passes.torn += 1;
            return Err(ReadError::Torn);
        }
        let narrow = self.narrow(touched);
        if narrow.is_none() {
            let prepared = self.prepared.as_ref();
            let names = prepared.and_then(|prepared| prepared.names(&self.places));
            let doubt = self.doubt.as_ref();
            let doubt = doubt.and_then(|doubt| doubt.0(names.as_ref()));
            self.is_doubted = doubt.is_some();
            if let Some(reason) = doubt {
                (self.kept, self.prepared) = (None, None);
                return self.read_safely(&reason);
            }
        }
        let outcome = narrow.or_else(|| self.full(is_undisturbed));
        let reading = match outcome {
            Some(Ok(reading)) => Ok(reading),
            Some(Err(Stop::Torn)) => Err(ReadError::Torn),
            Some(Err(Stop::NotPlain)) | None => self.read_from_scratch(),
        };
        if matches!(reading, Err(ReadError::Torn)) {
            self.passes.torn += 1;
        }
        reading
    }

    /// Returns `None` where a narrow pass cannot be had or is not sure to be right.
    fn narrow(&mut self, touched: &Touched) -> Option<Result<Reading, Stop>> {
        let Touched::Paths(paths) = touched else {
            return None;
        };
        let kept = self.kept.take()?;
        let mut pass = self.pass().ok()?;
        match pass.narrow(kept, paths) {
            Ok((kept, reading)) => {
                let held = pass.held_files();
                (self.copies, self.workbench) = left_by(pass);
                (self.kept, self.held) = (Some(kept), held);
                self.passes.narrow += 1;
                Some(Ok(reading))
            }
            Err(Stop::Torn) => Some(Err(Stop::Torn)),
            Err(Stop::NotPlain) => None,
        }
    }

    fn full(&mut self, is_undisturbed: &dyn Fn() -> bool) -> Option<Result<Reading, Stop>> {
        self.passes.full += 1;
        let (before, prepared) = (self.kept.take(), self.prepared.take());
        let mut pass = self.pass().ok()?;
        let ground = before.as_ref().map(|before| &before.ground);
        let outcome = pass.full(prepared, ground, is_undisturbed);
        let held = pass.held_files();
        let (copies, workbench) = left_by(pass);
        Some(outcome.map(|(kept, reading)| {
            (self.copies, self.workbench) = (copies, workbench);
            (self.kept, self.held) = (Some(kept), held);
            reading
        }))
    }

    fn read_from_scratch(&mut self) -> Result<Reading, ReadError> {
        let root = self.places.root.clone();
        let (scratch, index) = (self.private.clone(), self.places.git_dir.join("index"));
        self.remembering(false, |wanted| {
            read_with(&root, &index, in_place(&scratch), wanted)
        })
    }

    fn read_safely(&mut self, reason: &str) -> Result<Reading, ReadError> {
        let (root, scratch) = (self.places.root.clone(), self.private.clone());
        let reading = self.remembering(true, |wanted| {
            read_safely(&root, in_place(&scratch), reason, wanted)
        });
        self.passes.full += 1;
        if matches!(reading, Err(ReadError::Torn)) {
            self.passes.torn += 1;
        }
        reading
    }

    /// Files of the same content that lie as they did are not told apart once more.
    fn remembering(
        &mut self,
        is_safe: bool,
        read: impl FnOnce(&dyn Fn(&ContentId) -> bool) -> Result<(Reading, Option<Files>), ReadError>,
    ) -> Result<Reading, ReadError> {
        let root = &self.places.root;
        let known = self.from_scratch.take();
        let known = known.filter(|(_, files)| files.is_safe == is_safe && files.lie_still(root));
        let is_known = |content: &ContentId| known.as_ref().is_some_and(|(of, _)| of == content);
        let (reading, files) = read(&|content| !is_known(content))?;
        self.from_scratch = match files {
            Some(files) => Some((reading.content.clone(), files)),
            None => known.filter(|(of, _)| *of == reading.content),
        };
        Ok(reading)
    }

    fn new_workbench(&self) -> std::io::Result<(Workbench, Moment)> {
        let workbench = Workbench::new(&self.git, &self.places.root, &self.private)?;
        let moment = workbench.now()?;
        Ok((workbench, moment))
    }

    fn pass(&mut self) -> std::io::Result<Pass<'_>> {
        if in_place(&self.private).is_none() {
            self.workbench = None;
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        let left = self.workbench.take();
        let usable =
            left.and_then(|workbench| workbench.now().ok().map(|moment| (workbench, moment)));
        let (workbench, moment) = usable.map_or_else(|| self.new_workbench(), Ok)?;
        self.cache.hashes.begin();
        Ok(Pass {
            places: &self.places,
            private: &self.private,
            git: &self.git,
            cache: &mut self.cache,
            moment,
            workbench,
            held_in: None,
            held: BTreeSet::new(),
            compared: None,
            wants_git_hash: self.wants_git_hash,
        })
    }
}

fn head_text(reading: &Reading) -> Option<String> {
    reading.head.as_ref().map(ToString::to_string)
}

/// Returns what a pass read of files that did not hold still, else what the next one can use. Of one that failed nothing is
/// used again: a git that was ended leaves locks behind.
fn left_by(pass: Pass<'_>) -> (Option<Arc<Copies>>, Option<Workbench>) {
    let Pass {
        workbench, held_in, ..
    } = pass;
    let Some(dir) = held_in else {
        return (None, Some(workbench));
    };
    let copies = Copies {
        dir,
        _scratch: workbench.scratch,
    };
    (Some(Arc::new(copies)), None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::read;
    use super::*;
    use crate::scratch_repository::ScratchRepository;

    /// Two texts whose blobs have the same first seven digits.
    const ALIKE: [&str; 2] = ["value = 8821\n", "value = 9353\n"];

    type Step<'a> = &'a dyn Fn(&Bed);

    struct Bed(ScratchRepository);

    impl Bed {
        fn new() -> Self {
            let bed = Self(ScratchRepository::new());
            for n in 0..20 {
                bed.write(&format!("file{n}.py"), "start");
            }
            bed.0.commit_all();
            fs::create_dir(bed.private()).unwrap();
            bed.let_settle();
            bed
        }

        /// Waits until what git wrote is so old that another change would show.
        fn let_settle(&self) {
            self.let_age(".git/index");
        }

        fn let_age(&self, path: &str) {
            let file = || self.root().join(path).metadata().unwrap();
            let age = || file().modified().unwrap().elapsed().unwrap_or_default();
            while age() < std::time::Duration::from_millis(200) {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }

        fn root(&self) -> PathBuf {
            self.0.root().to_owned()
        }

        fn private(&self) -> PathBuf {
            self.root().join(".git/tracemark")
        }

        fn git(&self, arguments: &[&str]) {
            self.0.git(arguments);
        }

        fn write(&self, path: &str, text: &str) -> Touched {
            Touched::Paths(BTreeSet::from([self.0.write(path, text)]))
        }

        fn reader(&self) -> WorktreeReader {
            WorktreeReader::new(&self.root(), &self.root().join(".git"), &self.private())
        }

        fn scratch_reading(&self) -> Reading {
            read(&self.root(), &self.root().join(".git/index"), None).unwrap()
        }
    }

    #[test]
    fn where_somebody_removes_our_scratch_directory_nothing_new_is_made_at_once() {
        let repository = ScratchRepository::new();
        repository.write("app.py", "x");
        repository.commit_all();
        let (root, git_dir) = (repository.root(), repository.at(".git"));
        let private = repository.at(".git/tracemark");
        fs::create_dir(&private).unwrap();
        let mut reader = WorktreeReader::new(root, &git_dir, &private);
        let expected = reader.read(&Touched::Everything).unwrap();
        let made = || fs::read_dir(&private).unwrap().count();
        assert!(made() > 0);
        for entry in fs::read_dir(&private).unwrap().flatten() {
            fs::remove_dir_all(entry.path()).unwrap();
        }
        let torn = reader.read(&Touched::default());
        assert!(matches!(torn, Err(ReadError::Torn)), "{torn:?}");
        assert_eq!(made(), 0);
        assert_eq!(reader.read(&Touched::default()).unwrap(), expected);
    }

    #[test]
    fn what_comes_before_a_change_that_is_read_is_not_left_out() {
        let changes: [Step<'_>; 2] = [&|bed| drop(bed.write("new.py", "new")), &|bed| {
            fs::remove_file(bed.root().join("untracked.py")).unwrap();
        }];
        for change in changes {
            for attributes in ["", "*.crlf text\n"] {
                let bed = Bed::new();
                bed.write(".git/info/attributes", attributes);
                bed.write("untracked.py", "untracked");
                let mut reader = bed.reader();
                let has_changed = AtomicBool::new(false);
                let read = reader.read_while(&Touched::Everything, &|| {
                    if !has_changed.swap(true, Ordering::Relaxed) {
                        change(&bed);
                        bed.write("file1.py", "edited");
                    }
                    false
                });
                match read {
                    Ok(reading) => assert_eq!(reading, bed.scratch_reading()),
                    Err(error) => assert!(matches!(error, ReadError::Torn), "{error}"),
                }
                let reading = reader.read(&Touched::Everything).unwrap();
                assert_eq!(reading, bed.scratch_reading());
            }
        }
    }

    #[test]
    fn an_untracked_file_that_went_when_it_was_held_and_came_again_is_known_to_be_there() {
        let bed = Bed::new();
        bed.write("new.py", "new");
        let mut reader = bed.reader();
        while reader.passes().narrow == 0 {
            reader.read(&Touched::default()).unwrap();
        }
        let mut kept = reader.kept.take().unwrap();
        let mut pass = reader.pass().unwrap();
        let moved = BTreeSet::from([b"new.py".to_vec()]);
        let mut hold = |kept: &mut Kept| {
            assert!(pass.hold_still(kept, &moved).is_ok());
            let is_read = pass.cache.files.get(b"new.py").is_some();
            [is_read, kept.status.untracked.contains(&b"new.py"[..])]
        };
        fs::remove_file(bed.root().join("new.py")).unwrap();
        assert_eq!(hold(&mut kept), [false, false]);
        bed.write("new.py", "again");
        assert_eq!(hold(&mut kept), [true, true]);
    }

    /// A file that is written all the time is read alone, after the others.
    #[test]
    fn what_comes_before_a_file_is_held_is_not_left_out() {
        let bed = Bed::new();
        let large = "x".repeat(2 << 20);
        bed.write("file1.py", &large);
        bed.write("file2.py", "second");
        let never = bed.scratch_reading().content;
        bed.write("file2.py", "first");
        let mut reader = bed.reader();
        reader.want_git_hash(false);
        reader.read(&Touched::Everything).unwrap();
        let is_held = || {
            let scratch = fs::read_dir(bed.private()).unwrap().flatten();
            let inside = scratch.filter_map(|dir| dir.path().read_dir().ok());
            let held = inside.flatten().flatten().map(|one| one.path());
            held.into_iter().any(|one| one.join("file1.py").exists())
        };
        let touched = ["file1.py", "file2.py", "new.py"].map(|name| bed.root().join(name));
        let touched = Touched::Paths(touched.into());
        let (has_come, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (mut wrong, mut came) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if has_come.load(Ordering::Relaxed) || !is_held() {
                        fs::File::open(bed.root().join("file1.py"))
                            .and_then(|file| file.set_modified(std::time::SystemTime::now()))
                            .unwrap();
                        std::thread::sleep(std::time::Duration::from_millis(3));
                    } else {
                        bed.write("new.py", "new");
                        bed.write("file2.py", "second");
                        has_come.store(true, Ordering::Relaxed);
                    }
                }
            });
            for _ in 0..1_000 {
                if came == 20 {
                    break;
                }
                let read = reader.read(&touched);
                wrong += usize::from(read.is_ok_and(|reading| reading.content == never));
                if has_come.load(Ordering::Relaxed) {
                    came += 1;
                    bed.write("file2.py", "first");
                    fs::remove_file(bed.root().join("new.py")).unwrap();
                    reader.read(&Touched::Everything).ok();
                    has_come.store(false, Ordering::Relaxed);
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(wrong, 0);
        assert!(came > 0, "nothing came beside a file that was held");
    }

    #[test]
    fn a_pass_over_nothing_that_was_touched_tells_whether_it_read_something() {
        let bed = Bed::new();
        bed.write("file1.py", "first");
        let mut reader = bed.reader();
        reader.read(&Touched::Everything).unwrap();
        let nothing = Touched::Paths(BTreeSet::new());
        reader.read(&nothing).unwrap();
        assert!(reader.held().is_empty());
        bed.write("file1.py", "second");
        let reading = reader.read(&nothing).unwrap();
        let held = BTreeSet::from([bed.root().join("file1.py")]);
        assert_eq!(reader.held(), &held);
        let misses = |name: &str| reader.misses(&bed.root().join(name));
        assert!(misses("new.py") && !misses("file1.py") && !misses("file2.py"));
        assert_eq!(reading, bed.scratch_reading());
    }

    #[test]
    fn what_was_prepared_counts_as_long_as_nothing_of_it_moved() {
        let rule = |bed: &Bed| {
            bed.write(".gitattributes", "*.py text eol=crlf\n");
            bed.write(".before.py", "two\r\nlines\r\n");
            bed.git(&["add", "."]);
            bed.let_settle();
        };
        let commit = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-qam",
            "y",
        ];
        let nothing: Step<'_> = &|_| {};
        let steps: [(Step<'_>, Step<'_>); 6] = [
            (nothing, nothing),
            (nothing, &|bed| drop(bed.write("file1.py", "edited"))),
            (nothing, &|bed| {
                bed.write("new.py", "new");
                bed.git(&["add", "."]);
            }),
            (nothing, &|bed| {
                bed.write("file1.py", "committed");
                bed.git(&commit);
            }),
            (nothing, &|bed| {
                bed.git(&["config", "core.excludesFile", ".git/config"]);
            }),
            (&rule, &|bed| {
                bed.write(".before.py", "three\r\nmore\r\nlines\r\n");
                fs::remove_file(bed.root().join(".gitattributes")).unwrap();
            }),
        ];
        for (at, (before, after)) in steps.into_iter().enumerate() {
            let bed = Bed::new();
            before(&bed);
            let mut reader = bed.reader();
            reader.prepare();
            assert!(reader.prepared.is_some(), "{at}");
            after(&bed);
            let reading = reader.read(&Touched::Everything).unwrap();
            assert_eq!(reading, bed.scratch_reading(), "{at}");
        }
    }

    #[test]
    fn nothing_is_prepared_out_of_what_may_change_and_look_the_same() {
        let bed = Bed::new();
        let mut reader = bed.reader();
        let index = fs::File::open(bed.root().join(".git/index")).unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
        index.set_modified(later).unwrap();
        reader.prepare();
        assert!(reader.prepared.is_none());
    }

    #[test]
    fn a_save_is_read_alone_and_gives_what_a_reading_from_scratch_gives() {
        let bed = Bed::new();
        let mut reader = bed.reader();
        assert_eq!(
            reader.read(&Touched::Everything).unwrap(),
            bed.scratch_reading()
        );
        for step in 0..10 {
            let touched = bed.write(&format!("file{}.py", step % 3), &format!("edit {step}"));
            assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
            let touched = bed.write(&format!("new {step}.py"), "x");
            assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
        }
        let passes = reader.passes();
        assert_eq!((passes.full, passes.narrow), (1, 20));
    }

    #[test]
    fn what_changes_during_a_look_at_everything_is_found_when_its_end_is_not_known_to_be_undisturbed()
     {
        let bed = Bed::new();
        let file = bed.root().join("file3.py");
        // Asked after the look, and at the end.
        for disturbed_at in [1, 2] {
            let mut reader = bed.reader();
            let asked = std::cell::Cell::new(0);
            let text = format!("written at {disturbed_at}");
            let is_undisturbed = || {
                asked.set(asked.get() + 1);
                if asked.get() == disturbed_at {
                    fs::write(&file, &text).unwrap();
                }
                asked.get() < disturbed_at
            };
            let reading = reader.read_while(&Touched::Everything, &is_undisturbed);
            assert_eq!(reading.unwrap(), bed.scratch_reading(), "{disturbed_at}");
            assert_eq!(asked.get(), disturbed_at);
            let reading = reader.read_while(&Touched::Everything, &|| true);
            assert_eq!(reading.unwrap(), bed.scratch_reading(), "nobody disturbs");
        }
    }

    #[test]
    fn what_was_read_ahead_is_not_read_again_unless_it_changed() {
        let bed = Bed::new();
        let mut reader = bed.reader();
        reader.read(&Touched::Everything).unwrap();
        let write = |name: &str, text: &str| {
            bed.write(name, text);
            bed.root().join(name)
        };
        let mut ahead = |paths: &[&PathBuf], count: usize| {
            bed.let_age("file1.py");
            bed.let_age("new.py");
            reader.cache.read = 0;
            let paths = paths.iter().map(|path| (*path).clone()).collect();
            reader.read_ahead(&paths, &|| true);
            assert_eq!(reader.cache.read, count);
            reader.cache.read = 0;
            let reading = reader.read(&Touched::Everything).unwrap();
            assert_eq!(reading, bed.scratch_reading());
            reader.cache.read
        };
        let one = write("file1.py", "ahead");
        let new = write("new.py", "ahead");
        assert_eq!(ahead(&[&one, &new], 1), 1, "the new one is left");
        assert_eq!(ahead(&[&one, &new], 2), 0);
        fs::write(&one, "ahead again").unwrap();
        assert_eq!(ahead(&[], 0), 1, "nobody read it ahead");
        reader.read_ahead(&BTreeSet::from([one.clone()]), &|| true);
        fs::write(&one, "changed since").unwrap();
        reader.cache.read = 0;
        let reading = reader.read(&Touched::Everything).unwrap();
        assert_eq!(reading, bed.scratch_reading());
        assert_eq!(reader.cache.read, 1);
        fs::write(&one, "nobody waits").unwrap();
        reader.read_ahead(&BTreeSet::from([one]), &|| false);
        assert_eq!(reader.cache.read, 1);
    }

    #[test]
    fn who_comes_back_to_a_state_waits_for_no_diff_until_something_changes_how_git_prints_it() {
        let bed = Bed::new();
        let mut reader = bed.reader();
        reader.read(&Touched::Everything).unwrap();
        let recalled_after = |reader: &mut WorktreeReader, text: &str| {
            let touched = bed.write("file3.py", text);
            let reading = reader.read(&touched).unwrap();
            assert_eq!(reading, bed.scratch_reading(), "{text}");
            let recalled = reader.cache.known_diffs.recalled;
            bed.let_settle();
            recalled
        };
        for text in ["one", "two"] {
            assert_eq!(recalled_after(&mut reader, text), 0, "{text} is new");
        }
        assert_eq!(recalled_after(&mut reader, "one"), 1);
        assert_eq!(recalled_after(&mut reader, "two"), 2);
        bed.git(&["config", "diff.context", "7"]);
        bed.let_settle();
        reader.read(&Touched::Everything).unwrap();
        assert_eq!(recalled_after(&mut reader, "one"), 2, "printed otherwise");
        bed.git(&["add", "file3.py"]);
        bed.let_settle();
        reader.read(&Touched::Everything).unwrap();
        assert_eq!(recalled_after(&mut reader, "two"), 2, "beside another blob");
    }

    #[test]
    fn no_diff_is_recalled_where_rules_that_were_not_looked_at_decide_how_it_is_printed() {
        let bed = Bed::new();
        let commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm"];
        let both_ways = |reader: &mut WorktreeReader, change: &dyn Fn()| {
            for _ in 0..2 {
                bed.let_settle();
                reader.read(&Touched::Everything).unwrap();
            }
            change();
            bed.let_settle();
            let reading = reader.read(&Touched::Everything).unwrap();
            assert_eq!(reading, bed.scratch_reading());
        };
        fs::create_dir(bed.root().join("dir")).unwrap();
        bed.write("dir/gone.py", "a\nb\n");
        bed.write(".git/info/exclude", ".gitattributes\n");
        bed.git(&["add", "."]);
        bed.git(&[&commit[..], &["gone"]].concat());
        fs::remove_file(bed.root().join("dir/gone.py")).unwrap();
        let mut reader = bed.reader();
        both_ways(&mut reader, &|| {
            bed.write("dir/.gitattributes", "gone.py -diff\n");
        });
        fs::remove_dir_all(bed.root().join("dir")).unwrap();
        bed.git(&[&commit[..], &["gone", "-a"]].concat());

        bed.git(&["config", "attr.tree", "rules"]);
        bed.git(&["branch", "rules"]);
        bed.write("file3.py", "changed");
        bed.git(&["checkout", "-q", "-b", "others"]);
        bed.write(".gitattributes", "file3.py -diff\n");
        bed.git(&["add", "-f", ".gitattributes"]);
        bed.git(&[&commit[..], &["rules"]].concat());
        bed.git(&["checkout", "-q", "-"]);
        let mut reader = bed.reader();
        both_ways(&mut reader, &|| {
            bed.git(&["branch", "-f", "rules", "others"]);
        });
    }

    #[test]
    fn what_another_process_read_is_read_again_only_where_it_lies_otherwise_or_is_converted_now() {
        let bed = Bed::new();
        fs::create_dir(bed.root().join("many")).unwrap();
        for n in 0..1000 {
            bed.write(&format!("many/{n}.py"), "x");
        }
        bed.git(&["add", "."]);
        bed.let_settle();
        let mut before = bed.reader();
        before.read(&Touched::Everything).unwrap();
        let record = before.record(true).unwrap().bytes();
        assert!(before.record(true).is_none(), "nothing was read since");

        let path = bed.root().join("many/7.py");
        let written = path.metadata().unwrap().modified().unwrap();
        bed.write("many/7.py", "y");
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(written).unwrap();
        let mut reader = bed.reader();
        reader.recall(&record);
        let reading = reader.read(&Touched::Everything).unwrap();
        assert_eq!(reading, bed.scratch_reading());
        assert_eq!(reader.cache.read, 1);

        bed.write(".gitattributes", "*.py ident\n");
        bed.write("many/8.py", "$Id: 1 $\n");
        let mut reader = bed.reader();
        reader.recall(&record);
        let reading = reader.read(&Touched::Everything).unwrap();
        assert_eq!(reading, bed.scratch_reading());
        assert!(reader.cache.read > 1000, "all may be converted");
        assert!(reader.record(true).is_none());
    }

    #[test]
    fn a_file_that_shrinks_and_grows_while_git_reads_it_makes_passes_torn_and_breaks_nothing() {
        let bed = Bed::new();
        bed.write(".gitattributes", "*.dat text\n");
        bed.write("big.dat", &"a\n".repeat(200_000));
        bed.git(&["add", "."]);
        let stop = AtomicBool::new(false);
        let root = bed.root();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let text = format!("a{n}\n").repeat(50_000 + n % 3 * 60_000);
                    fs::write(root.join("big.dat"), text).unwrap();
                }
            });
            let readings: Vec<_> = (0..30)
                .map(|_| super::super::read(&root, &root.join(".git/index"), None))
                .collect();
            stop.store(true, Ordering::Relaxed);
            for reading in readings {
                assert!(
                    matches!(reading, Ok(_) | Err(ReadError::Torn)),
                    "{reading:?}"
                );
            }
        });
    }

    #[test]
    fn what_is_written_through_another_name_is_read() {
        let bed = Bed::new();
        fs::create_dir(bed.root().join("ignored")).unwrap();
        bed.write(".gitignore", "ignored/\n");
        for (file, other) in [("file1.py", "copy.py"), ("file2.py", "ignored/copy")] {
            fs::hard_link(bed.root().join(file), bed.root().join(other)).unwrap();
        }
        bed.git(&["add", "."]);
        bed.let_settle();
        let mut reader = bed.reader();
        reader.read(&Touched::Everything).unwrap();
        let touched = bed.write("file1.py", "both of them");
        assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
        bed.write("ignored/copy", "nobody tells of it");
        assert!(!reader.opened_files_lie_still());
        let nothing = Touched::default();
        assert_eq!(reader.read(&nothing).unwrap(), bed.scratch_reading());
        // One that is new, and then written through.
        let new = bed.root().join("new.log");
        fs::hard_link(bed.root().join("file3.py"), &new).unwrap();
        let touched = Touched::Paths(BTreeSet::from([new]));
        assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
        let touched = bed.write("new.log", "file3 too");
        assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
        // One that came with its directory.
        let dir = bed.root().join("new");
        fs::create_dir(&dir).unwrap();
        fs::hard_link(bed.root().join("file4.py"), dir.join("inner.py")).unwrap();
        let touched = Touched::Paths(BTreeSet::from([dir]));
        assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
        let touched = bed.write("new/inner.py", "file4 too");
        assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
    }

    #[test]
    fn a_loose_object_that_makes_an_abbreviation_longer_is_seen_by_the_next_reading() {
        let bed = Bed::new();
        let mut reader = bed.reader();
        reader.read(&Touched::Everything).unwrap();
        let touched = bed.write("file0.py", ALIKE[0]);
        let before = reader.read(&touched).unwrap();
        assert_eq!(before, bed.scratch_reading());
        bed.write(".git/other", ALIKE[1]);
        bed.git(&["hash-object", "-w", ".git/other"]);
        let after = reader.read(&Touched::default()).unwrap();
        assert_ne!(after.git_hash, before.git_hash);
        assert_eq!(after, bed.scratch_reading());
    }

    #[test]
    fn a_moved_ground_or_rule_is_read_in_full() {
        let bed = Bed::new();
        let mut reader = bed.reader();
        reader.read(&Touched::Everything).unwrap();
        bed.write("ignored.log", "x");
        let touched = bed.write(".gitignore", "*.log");
        assert_eq!(reader.read(&touched).unwrap(), bed.scratch_reading());
        bed.git(&["add", "."]);
        let nothing = Touched::default();
        assert_eq!(reader.read(&nothing).unwrap(), bed.scratch_reading());
        assert_eq!(reader.passes().narrow, 0);
    }

    #[test]
    fn a_writer_that_never_stops_holds_nothing_up_and_no_mixture_is_read() {
        no_mixture_is_read(&Bed::new());
    }

    #[test]
    fn nor_is_anything_read_through_a_link_that_took_the_place_of_a_directory() {
        let bed = Bed::new();
        for dir in ["dir", "double"] {
            fs::create_dir(bed.root().join(dir)).unwrap();
            bed.write(&format!("{dir}/in.py"), dir);
        }
        bed.git(&["add", "."]);
        fs::remove_dir_all(bed.root().join("dir")).unwrap();
        std::os::unix::fs::symlink("double", bed.root().join("dir")).unwrap();
        no_mixture_is_read(&bed);
    }

    fn no_mixture_is_read(bed: &Bed) {
        let mut possible = BTreeSet::new();
        for text in ["one", "two"] {
            bed.write("file0.py", text);
            bed.write("new.py", text);
            for other in ["one", "two"] {
                bed.write("new.py", other);
                let reading = bed.scratch_reading();
                possible.insert((reading.git_hash.unwrap(), reading.content.to_string()));
            }
        }
        let stop = AtomicBool::new(false);
        let root = bed.root();
        let readings: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                let texts = ["one", "two"];
                for text in texts.iter().cycle() {
                    for name in ["file0.py", "new.py"] {
                        let next = root.join(".git/next");
                        fs::write(&next, text).unwrap();
                        fs::rename(&next, root.join(name)).unwrap();
                    }
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            let mut reader = bed.reader();
            let paths = ["file0.py", "new.py"].map(|name| root.join(name));
            let readings = (0..40)
                .map(|n| {
                    reader.read(&if n % 8 == 0 {
                        Touched::Everything
                    } else {
                        Touched::Paths(BTreeSet::from(paths.clone()))
                    })
                })
                .collect();
            stop.store(true, Ordering::Relaxed);
            readings
        });
        let good: Vec<_> = readings.into_iter().flatten().collect();
        assert!(good.len() > 10, "{} readings of 40", good.len());
        for reading in good {
            let seen = (reading.git_hash.unwrap(), reading.content.to_string());
            assert!(possible.contains(&seen), "{seen:?}");
        }
    }

    #[test]
    fn files_that_were_only_touched_are_compared_once() {
        let bed = Bed::new();
        // What only git reads: it looks for what changed, too.
        bed.git(&["config", "status.showUntrackedFiles", "all"]);
        let mut reader = bed.reader();
        let before = reader.read(&Touched::Everything).unwrap();
        let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
        for n in 0..20 {
            let path = bed.root().join(format!("file{n}.py"));
            std::fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(hour_ago)
                .unwrap();
        }
        let copy = bed.private().join("status-index");
        let stamp = || fs::read(&copy).unwrap();
        let stale = stamp();
        assert_eq!(reader.read(&Touched::Everything).unwrap(), before);
        let fresh = stamp();
        assert_ne!(stale, fresh, "git refreshed its private index");
        assert_eq!(reader.read(&Touched::Everything).unwrap(), before);
        assert_eq!(stamp(), fresh);
    }
}
