//! Readings of one worktree, one after another: what was read before is kept, and only what was touched is read again.
//!
//! A full pass looks at every file and reads those whose stamp moved; a narrow pass looks at the files that were touched and
//! at those that are not committed. Both answer what [`read`] answers from scratch; where a worktree is not plain enough
//! to be sure of that (submodules, conflicts, hidden files, programs in the place of git's diff), [`read`] is what is done.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidates::{Candidates, RealDirs, parents};
use super::conversion::{Conversion, converted};
use super::diffs::{self, DiffCall};
use super::digest::Digest;
use super::file_content::{self, Content, ContentError};
use super::file_hashes::FileHashes;
use super::file_map::{Entry, FileMap, Mode};
use super::git_config::GitConfig;
use super::git_hash::{self, GitHash, GitHashError, python_strip};
use super::ground::{Ground, Places};
use super::index_file::{IndexEntry, IndexFile};
use super::object::{Format, RawId};
use super::stamp::{Moment, Stamp};
use super::status_text::{Change, PathBytes, Status};
use super::tree::TreeError;
use super::{ReadError, Reading, read};
use crate::git::{Git, GitError, records};
use crate::ids::ObjectId;
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
    cache: Cache,
    passes: Passes,
}

/// What was read of single files, each for itself right for as long as its stamp is the same.
#[derive(Debug, Default)]
struct Cache {
    files: FileMap,
    hashes: FileHashes,
    /// How files were converted, and for which index: git looks at its entry for a file's line ends.
    made_under: Option<(Conversion, Arc<IndexFile>)>,
    /// The user's index of that stamp was copied to the private directory, where git may refresh it.
    copied_index: Option<Stamp>,
}

impl Cache {
    /// Returns which files are read again although they lie as they did.
    fn distrusted(&self, conversion: &Conversion, index: &IndexFile) -> Distrust {
        match &self.made_under {
            Some((before, _)) if !conversion.is_as(before) => Distrust::Everything,
            Some((_, before)) if conversion.is_possible() => {
                Distrust::Paths(index.changed_since(before))
            }
            Some(_) => Distrust::Paths(BTreeSet::new()),
            None => Distrust::Everything,
        }
    }
}

/// Everything that a pass found out and the next may build on.
#[derive(Debug)]
struct Kept {
    ground: Ground,
    config: GitConfig,
    head: Head,
    index: Arc<IndexFile>,
    conversion: Conversion,
    status: Status,
    quoting: Quoting,
    after_staged: Digest,
    after_unstaged: Digest,
    /// Why the helper could not read the diffs.
    unreadable_diff: Option<String>,
}

/// HEAD's commit and tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    commit: String,
    tree: String,
    format: Format,
}

/// How git quotes names above ASCII (`core.quotePath`), as far as its own output told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    All,
    Needed,
    /// There was no such name to tell by.
    Untold,
}

/// Why a pass of this module gave no reading.
enum Stop {
    /// Files changed meanwhile.
    Torn,
    /// This state is better read from scratch.
    NotPlain,
}

impl From<GitError> for Stop {
    fn from(_: GitError) -> Self {
        Self::NotPlain
    }
}

impl From<GitHashError> for Stop {
    fn from(_: GitHashError) -> Self {
        Self::NotPlain
    }
}

impl From<TreeError> for Stop {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Torn => Self::Torn,
            _ => Self::NotPlain,
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::NotPlain
    }
}

impl From<ContentError> for Stop {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Torn => Self::Torn,
            ContentError::NotAFile | ContentError::TooLarge | ContentError::Io(_) => Self::NotPlain,
        }
    }
}

/// What every step of one pass needs.
struct Pass<'a> {
    places: &'a Places,
    private: &'a Path,
    git: &'a Git,
    cache: &'a mut Cache,
    moment: Moment,
    scratch: super::scratch::Scratch,
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
            cache: Cache::default(),
            passes: Passes::default(),
        }
    }

    /// Returns how often the worktree was read, and how.
    pub fn passes(&self) -> Passes {
        self.passes
    }

    /// Reads what `touched` names again, or all of it where that is not sure to be enough. Returns what [`read`] would.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&mut self, touched: &Touched) -> Result<Reading, ReadError> {
        let outcome = self.narrow(touched).or_else(|| self.full());
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
                self.kept = Some(kept);
                self.passes.narrow += 1;
                Some(Ok(reading))
            }
            Err(Stop::Torn) => Some(Err(Stop::Torn)),
            Err(Stop::NotPlain) => None,
        }
    }

    fn full(&mut self) -> Option<Result<Reading, Stop>> {
        self.passes.full += 1;
        let before = self.kept.take();
        let mut pass = self.pass().ok()?;
        let ground = before.as_ref().map(|before| &before.ground);
        Some(pass.full(ground).map(|(kept, reading)| {
            self.kept = Some(kept);
            reading
        }))
    }

    fn read_from_scratch(&self) -> Result<Reading, ReadError> {
        let scratch = self.private.is_dir().then_some(self.private.as_path());
        read(
            &self.places.root,
            &self.places.git_dir.join("index"),
            scratch,
        )
    }

    fn pass(&mut self) -> std::io::Result<Pass<'_>> {
        let scratch = super::scratch::new(&self.git, &self.places.root, Some(&self.private))?;
        let probe = File::create(scratch.path().join("probe"))?;
        self.cache.hashes.begin();
        Ok(Pass {
            places: &self.places,
            private: &self.private,
            git: &self.git,
            cache: &mut self.cache,
            moment: Moment::now(&probe)?,
            scratch,
        })
    }
}

impl Pass<'_> {
    fn full(&mut self, ground_before: Option<&Ground>) -> Result<(Kept, Reading), Stop> {
        let config = GitConfig::read(self.git, &self.places.root)?;
        is_plain_config(&config)?;
        let ground = Ground::of(self.places, &config);
        if ground_before != Some(&ground) && GitConfig::read(self.git, &self.places.root)? != config
        {
            return Err(Stop::Torn);
        }
        let index_path = self.places.git_dir.join("index");
        let bytes = std::fs::read(&index_path)?;
        let head = self.head()?;
        let index = IndexFile::read(bytes, head.format.id_length()).ok_or(Stop::NotPlain)?;
        let index = Arc::new(index);
        if !index.is_plain() {
            return Err(Stop::NotPlain);
        }
        let status_git = self.git_with_own_index(&index_path, &ground)?;
        let (text, tracked) = std::thread::scope(|scope| {
            let status = scope.spawn(|| git_hash::status_text(&status_git));
            let tracked = look_at(&self.places.root, &index);
            (status.join(), tracked)
        });
        let text = text.map_err(|_| Stop::NotPlain)??;
        let status = Status::parse(&text).ok_or(Stop::NotPlain)?;
        let quoting = Quoting::of(&status, &text).ok_or(Stop::NotPlain)?;
        if status.untracked.iter().any(|path| path.ends_with(b"/")) {
            return Err(Stop::NotPlain);
        }
        let mut paths = tracked;
        for path in &status.untracked {
            let stamp = Stamp::of(&self.at(path)).ok_or(Stop::Torn)?;
            paths.push((path.clone(), stamp));
        }
        let dirs = dirs_of(paths.iter().map(|(path, _)| path.as_slice()));
        let conversion = Conversion::of(self.places, &config, &dirs);
        self.renew_files(&conversion, &index, &paths, head.format)?;

        let mut kept = Kept {
            after_staged: Digest::new(&head.commit),
            after_unstaged: Digest::new(&head.commit),
            unreadable_diff: None,
            ground,
            config,
            head,
            index,
            conversion,
            status,
            quoting,
        };
        self.add_diffs(&mut kept)?;
        let reading = self.reading(&mut kept)?;
        let again = look_at(&self.places.root, &kept.index);
        self.verify_all(&kept, &paths, &again)?;
        Ok((kept, reading))
    }

    fn narrow(
        &mut self,
        mut kept: Kept,
        touched: &BTreeSet<PathBuf>,
    ) -> Result<(Kept, Reading), Stop> {
        if Ground::of(self.places, &kept.config) != kept.ground {
            return Err(Stop::NotPlain);
        }
        let mut dirs = RealDirs::new(&self.places.root);
        let candidates = Candidates::of(
            &self.places.root,
            touched,
            &kept.index,
            &kept.status,
            &mut dirs,
        )
        .ok_or(Stop::NotPlain)?;
        let untracked = self.untracked_among(&kept, &candidates)?;
        let tracked_too = self.renew_touched(&mut kept, &candidates, &untracked)?;
        if tracked_too && kept.unreadable_diff.is_some() {
            self.add_diffs(&mut kept)?;
        } else if tracked_too {
            self.add_unstaged(&mut kept)?;
        }
        let reading = self.reading(&mut kept)?;
        self.verify_touched(&kept, &candidates)?;
        Ok((kept, reading))
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        self.places.root.join(OsStr::from_bytes(path))
    }

    fn head(&self) -> Result<Head, Stop> {
        let arguments = [
            "rev-parse",
            "--show-toplevel",
            "HEAD^{commit}",
            "HEAD^{tree}",
        ];
        let output = self.git.run(&arguments)?.stdout;
        let text = String::from_utf8(output).map_err(|_| Stop::NotPlain)?;
        let mut lines = text.split_terminator('\n');
        let (Some(root), Some(commit), Some(tree), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Stop::NotPlain);
        };
        let is_plain = Path::new(root) == self.places.root && python_strip(root) == root;
        let format = Format::of(commit).filter(|_| is_plain && !root.contains('\r'));
        Ok(Head {
            commit: commit.to_owned(),
            tree: tree.to_owned(),
            format: format.ok_or(Stop::NotPlain)?,
        })
    }

    /// A git that works on a private copy of the index and may refresh it, so that files which were only touched are
    /// compared once and not in every pass.
    fn git_with_own_index(&mut self, index: &Path, ground: &Ground) -> Result<Git, Stop> {
        let copy = self.private.join("status-index");
        let stamp = ground.stamp(index);
        if stamp.is_none() || self.cache.copied_index != stamp || !copy.is_file() {
            self.cache.copied_index = None;
            for left_over in [copy.with_extension("lock"), copy.clone()] {
                match std::fs::remove_file(left_over) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                }
            }
            git_hash::copy_with_time(File::open(index)?, &copy)?;
            self.cache.copied_index = stamp;
        }
        Ok(self
            .git
            .clone()
            .with_config(&["core.fsmonitor=false", "core.splitIndex=false"])
            .with_var("GIT_OPTIONAL_LOCKS", "1")
            .with_var("GIT_INDEX_FILE", copy))
    }

    /// Brings what is known of the files up to date: those that lie as they did when they were read are not read again.
    fn renew_files(
        &mut self,
        conversion: &Conversion,
        index: &Arc<IndexFile>,
        paths: &[(PathBytes, Stamp)],
        format: Format,
    ) -> Result<(), Stop> {
        let old = std::mem::take(&mut self.cache.files);
        let distrusted = self.cache.distrusted(conversion, index);
        self.cache.made_under = Some((conversion.clone(), Arc::clone(index)));
        let mut unread = BTreeSet::new();
        let mut files = FileMap::default();
        for (path, stamp) in paths {
            match old.get(path) {
                Some(entry)
                    if entry.stamp == Some(*stamp)
                        && entry.settled
                        && entry.id.as_bytes().len() == format.id_length()
                        && !distrusted.covers(path) =>
                {
                    files.insert(path, *entry);
                }
                _ => {
                    unread.insert(path.clone());
                }
            }
        }
        self.cache.files = files;
        self.read_files(&unread, index, conversion, format)
    }

    /// Reads files that are there.
    fn read_files(
        &mut self,
        paths: &BTreeSet<PathBytes>,
        index: &IndexFile,
        conversion: &Conversion,
        format: Format,
    ) -> Result<(), Stop> {
        let contents = read_side_by_side(&self.places.root, paths, format)?;
        let mut by_git = BTreeSet::new();
        for (path, content) in &contents {
            self.cache.hashes.learn(
                self.places.root.join(OsStr::from_bytes(path)),
                content,
                &self.moment,
            );
            let entry = self.entry(content);
            self.cache.files.insert(path, entry);
            if conversion.is_possible() && content.mode != Mode::Link {
                by_git.insert(path.clone());
            }
        }
        if by_git.is_empty() {
            return Ok(());
        }
        let named = converted(self.git, index, &by_git, self.scratch.path())?;
        for path in &by_git {
            let known = self.cache.files.get(path).copied();
            let (Some(known), Some(named)) = (known, named.get(path)) else {
                return Err(Stop::Torn);
            };
            let entry = Entry {
                id: named.id,
                mode: named.mode,
                ..known
            };
            self.cache.files.insert(path, entry);
        }
        Ok(())
    }

    fn entry(&self, content: &Content) -> Entry {
        Entry {
            mode: content.mode,
            id: content.blob,
            stamp: Some(content.stamp),
            settled: self.moment.settles(&content.stamp),
        }
    }

    fn add_diffs(&self, kept: &mut Kept) -> Result<(), Stop> {
        let staged = kept
            .status
            .has_staged()
            .then(|| DiffCall::staged(self.git, &git_hash::staged_paths(&kept.status)));
        let mut digest = Digest::new(&kept.head.commit);
        let after_staged = diffs::add_both(&mut digest, staged.as_ref(), || {
            if kept.status.has_unstaged() {
                self.unstaged_call(kept).map(Some)
            } else {
                Ok(None)
            }
        });
        kept.unreadable_diff = unreadable(&after_staged);
        if kept.unreadable_diff.is_none() {
            kept.after_staged = after_staged?;
            kept.after_unstaged = digest;
        }
        Ok(())
    }

    fn add_unstaged(&self, kept: &mut Kept) -> Result<(), Stop> {
        let mut digest = kept.after_staged.clone();
        if kept.status.has_unstaged() {
            let call = self.unstaged_call(kept)?;
            let added = diffs::add_unstaged(&mut digest, Some(&call));
            kept.unreadable_diff = unreadable(&added);
            if kept.unreadable_diff.is_some() {
                return Ok(());
            }
            added?;
        }
        kept.after_unstaged = digest;
        Ok(())
    }

    fn unstaged_call(&self, kept: &Kept) -> Result<DiffCall, GitHashError> {
        let changed = kept.status.tracked.iter();
        let paths = changed
            .filter(|(_, change)| change.unstaged != b' ')
            .map(|(path, _)| path.clone())
            .collect();
        let small = kept.index.with_only(&paths);
        let index = self.places.git_dir.join("index");
        git_hash::unstaged(self.git, &index, &small, self.scratch.path())
    }

    /// Asks git which of the touched paths that it does not track it would list.
    fn untracked_among(
        &self,
        kept: &Kept,
        candidates: &Candidates,
    ) -> Result<BTreeSet<PathBytes>, Stop> {
        let known = |path: &&PathBytes| kept.status.untracked.contains(*path);
        let mut found: BTreeSet<_> = candidates
            .untracked
            .iter()
            .filter(known)
            .filter(|path| candidates.present.contains(*path))
            .filter(|path| !candidates.is_below_listed_dir(path))
            .cloned()
            .collect();
        let asked: Vec<_> = candidates
            .untracked
            .iter()
            .filter(|path| !known(path))
            .chain(&candidates.dirs)
            .collect();
        if asked.is_empty() {
            return Ok(found);
        }
        let no_index = self.scratch.path().join("no-index");
        let git = self.git.clone().with_var("GIT_INDEX_FILE", no_index);
        let arguments = ["ls-files", "-o", "--exclude-standard", "-z", "--"].map(PathBuf::from);
        let pathspecs = asked.iter().map(|path| top_literal(path));
        let arguments: Vec<PathBuf> = arguments.into_iter().chain(pathspecs).collect();
        let listed = git.run(&arguments)?.stdout;
        for path in records(&listed) {
            if path.ends_with(b"/") {
                return Err(Stop::NotPlain);
            }
            if kept.index.find(path).is_none() {
                found.insert(path.to_vec());
            }
        }
        Ok(found)
    }

    /// A directory that is new may have brought or lost an attribute file, which no event needs to have told.
    fn refuse_new_attributes(&self, kept: &Kept, path: &[u8]) -> Result<(), Stop> {
        for dir in parents(path) {
            if self.cache.files.has_dir(dir) {
                return Ok(());
            }
            if !kept.conversion.knows(&self.places.root, dir) {
                return Err(Stop::NotPlain);
            }
        }
        Ok(())
    }

    /// Reads the candidates; returns whether tracked files were among them.
    fn renew_touched(
        &mut self,
        kept: &mut Kept,
        candidates: &Candidates,
        untracked: &BTreeSet<PathBytes>,
    ) -> Result<bool, Stop> {
        let mut present = BTreeSet::new();
        let mut tracked = Vec::new();
        for path in candidates.all() {
            self.cache.files.remove(path);
            kept.status.untracked.remove(path);
            let is_there = candidates.present.contains(path);
            if let Some(entry) = kept.index.find(path) {
                tracked.push(entry);
                if is_there {
                    present.insert(path.clone());
                }
            } else if is_there && untracked.contains(path) {
                present.insert(path.clone());
            }
        }
        present.extend(untracked.iter().cloned());
        for path in untracked {
            kept.status.untracked.insert(path.clone());
        }
        for path in &present {
            self.refuse_new_attributes(kept, path)?;
        }
        self.read_files(&present, &kept.index, &kept.conversion, kept.head.format)?;
        let mut doubtful = BTreeSet::new();
        for entry in &tracked {
            match self.unstaged_code(kept, entry) {
                Some(code) => set_unstaged(&mut kept.status, entry.path(), code),
                None => {
                    doubtful.insert(entry.path().to_vec());
                }
            }
        }
        let has_tracked = !tracked.is_empty();
        if !doubtful.is_empty() {
            for (path, code) in self.codes_by_git(kept, &doubtful)? {
                set_unstaged(&mut kept.status, &path, code);
            }
        }
        Ok(has_tracked)
    }

    /// Returns what git's status says of a tracked file against the index; `None` where only git can tell: where it may go
    /// by the stat data that it remembers, or convert.
    fn unstaged_code(&self, kept: &Kept, entry: &IndexEntry<'_>) -> Option<u8> {
        let Some(file) = self.cache.files.get(entry.path()) else {
            return Some(b'D');
        };
        let mode = entry.mode()?;
        if (mode == 0o120_000) != (file.mode == Mode::Link) {
            return Some(b'T');
        }
        let is_converted = kept.conversion.is_possible() && file.mode != Mode::Link;
        if is_converted {
            return None;
        }
        let same_bits = (mode == 0o100_755) == (file.mode == Mode::Executable);
        if Some(file.id) == entry.id() {
            return Some(if same_bits { b' ' } else { b'M' });
        }
        let stamp = file.stamp?;
        (entry.written_and_size()? != stamp.written_and_size()).then_some(b'M')
    }

    fn codes_by_git(
        &self,
        kept: &Kept,
        paths: &BTreeSet<PathBytes>,
    ) -> Result<Vec<(PathBytes, u8)>, Stop> {
        let small = kept.index.with_only(paths);
        let index = self.places.git_dir.join("index");
        let copy = self.scratch.path().join("codes-index");
        git_hash::write_with_time_of(&index, &copy, &small.bytes)?;
        let git = self
            .git
            .clone()
            .with_config(&["core.fsmonitor=false"])
            .with_var("GIT_INDEX_FILE", copy);
        let arguments = ["status", "--porcelain", "-z", "-uno", "--no-renames", "--"];
        let pathspecs = paths.iter().map(|path| top_literal(path));
        let arguments: Vec<PathBuf> = arguments
            .map(PathBuf::from)
            .into_iter()
            .chain(pathspecs)
            .collect();
        let listed = git.run(&arguments)?.stdout;
        let code_of = |path: &PathBytes| {
            records(&listed)
                .filter_map(|record| record.split_first_chunk::<3>())
                .find(|(_, name)| name == path)
                .map_or(b' ', |([_, code, _], _)| *code)
        };
        Ok(paths
            .iter()
            .map(|path| (path.clone(), code_of(path)))
            .collect())
    }

    /// Puts together what is known; nothing but the files of the FILES part is looked at.
    fn reading(&mut self, kept: &mut Kept) -> Result<Reading, Stop> {
        let text = kept.quoting.render(&kept.status).ok_or(Stop::NotPlain)?;
        let format = kept.head.format;
        let tree = self.cache.files.tree_id(format).map(RawId::to_hex);
        let tree = tree.ok_or(Stop::NotPlain)?;
        let clean = kept.status.is_empty();
        let git_hash = if clean {
            Ok(kept.head.commit.clone())
        } else if let Some(reason) = &kept.unreadable_diff {
            Err(reason.clone())
        } else {
            let root = self.places.root.to_str().ok_or(Stop::NotPlain)?;
            let lines = self.cache.hashes.lines(root, &text, &self.moment)?;
            let mut digest = kept.after_unstaged.clone();
            digest.part("FILES:\n").add(lines.join("\n").as_bytes());
            Ok(GitHash::dirty_text(&kept.head.commit, digest))
        };
        let head: ObjectId = kept.head.commit.parse().map_err(|_| Stop::NotPlain)?;
        Ok(Reading {
            head: Some(head),
            git_hash,
            dirty: !(clean && tree == kept.head.tree),
            content: tree.parse().map_err(|_| Stop::NotPlain)?,
        })
    }

    fn verify_all(
        &self,
        kept: &Kept,
        before: &[(PathBytes, Stamp)],
        again: &[(PathBytes, Stamp)],
    ) -> Result<(), Stop> {
        let (tracked, untracked) = before.split_at_checked(again.len()).ok_or(Stop::Torn)?;
        if tracked != again {
            return Err(Stop::Torn);
        }
        let lies_still =
            |(path, stamp): &(PathBytes, Stamp)| Stamp::of(&self.at(path)) == Some(*stamp);
        if !untracked.iter().all(lies_still) {
            return Err(Stop::Torn);
        }
        self.verify_uncommitted(kept, &BTreeSet::new())
    }

    fn verify_touched(&self, kept: &Kept, candidates: &Candidates) -> Result<(), Stop> {
        self.verify_uncommitted(kept, &candidates.all().cloned().collect())
    }

    /// Checks that what was read twice, here and by git, did not move between, and that the ground did not. A file that was
    /// written in the same tick of the clock is read once more.
    fn verify_uncommitted(&self, kept: &Kept, more: &BTreeSet<PathBytes>) -> Result<(), Stop> {
        let mut dirs = RealDirs::new(&self.places.root);
        let changed = kept.status.tracked.keys();
        for path in changed.chain(&kept.status.untracked).chain(more) {
            let known = self.cache.files.get(path);
            let now = dirs.stamp(path);
            let is_listed = kept.index.find(path).is_some() || kept.status.untracked.contains(path);
            if is_listed && known.and_then(|known| known.stamp) != now {
                return Err(Stop::Torn);
            }
            if let Some(known) = known.filter(|known| !known.settled) {
                self.verify_content(kept, path, known)?;
            }
        }
        if Ground::of(self.places, &kept.config) == kept.ground {
            Ok(())
        } else {
            Err(Stop::Torn)
        }
    }

    fn verify_content(&self, kept: &Kept, path: &[u8], known: &Entry) -> Result<(), Stop> {
        let is_small = known
            .stamp
            .is_some_and(|stamp| stamp.size() <= READ_TWICE_MAX);
        if !is_small || kept.conversion.is_possible() {
            return Ok(());
        }
        let content = file_content::read(&self.at(path), kept.head.format)?;
        match content {
            Some(content) if (content.mode, content.blob) == (known.mode, known.id) => Ok(()),
            _ => Err(Stop::Torn),
        }
    }
}

/// Returns why the helper cannot read a diff, where that is the trouble.
fn unreadable<T>(outcome: &Result<T, GitHashError>) -> Option<String> {
    match outcome {
        Err(error @ GitHashError::NotUtf8 { .. }) => Some(error.to_string()),
        _ => None,
    }
}

/// Larger files are not read a second time only because they were written a moment ago.
const READ_TWICE_MAX: u64 = 1 << 20;

/// Which files are read again although they lie as they did.
enum Distrust {
    Paths(BTreeSet<PathBytes>),
    Everything,
}

impl Distrust {
    fn covers(&self, path: &[u8]) -> bool {
        match self {
            Self::Paths(paths) => paths.contains(path),
            Self::Everything => true,
        }
    }
}

impl Quoting {
    /// Finds out from git's own text; `None` where neither gives it.
    fn of(status: &Status, text: &str) -> Option<Self> {
        let is = |all| status.render(all).as_deref() == Some(text);
        match (is(true), is(false)) {
            (true, true) => Some(Self::Untold),
            (true, false) => Some(Self::All),
            (false, true) => Some(Self::Needed),
            (false, false) => None,
        }
    }

    fn render(self, status: &Status) -> Option<String> {
        match self {
            Self::All => status.render(true),
            Self::Needed => status.render(false),
            Self::Untold => status
                .render(true)
                .filter(|text| status.render(false).as_ref() == Some(text)),
        }
    }
}

/// Refuses settings under which a narrow pass could differ from one from scratch.
fn is_plain_config(config: &GitConfig) -> Result<(), Stop> {
    let off = |key| config.get(key).is_none() || config.is_true(key) == Some(false);
    let on = |key| config.get(key).is_none() || config.is_true(key) == Some(true);
    let shows_untracked = config.get("status.showuntrackedfiles").is_none_or(|value| {
        matches!(
            value.to_ascii_lowercase().as_str(),
            "normal" | "all" | "true" | "yes" | "on" | "1"
        )
    });
    let is_plain = on("core.filemode")
        && on("core.symlinks")
        && off("core.ignorecase")
        && off("core.precomposeunicode")
        && off("core.sparsecheckout")
        && config.get("core.abbrev").is_none()
        && config.get("core.worktree").is_none()
        && !config.get("core.excludesfile").is_some_and(is_of_a_user)
        && !config.get("core.attributesfile").is_some_and(is_of_a_user)
        && shows_untracked
        && !config.runs_programs_in_diffs();
    is_plain.then_some(()).ok_or(Stop::NotPlain)
}

/// `~name/…`, and `%(prefix)/…`, which git alone knows how to read.
fn is_of_a_user(path: &str) -> bool {
    path.starts_with('~') && !path.starts_with("~/") || path.starts_with('%')
}

/// Returns how every tracked file lies that is there, links not followed.
fn look_at(root: &Path, index: &IndexFile) -> Vec<(PathBytes, Stamp)> {
    let mut dirs = RealDirs::new(root);
    index
        .entries()
        .filter_map(|entry| Some((entry.path().to_vec(), dirs.stamp(entry.path())?)))
        .collect()
}

/// Reads files on every processor; those that are not there any more make the pass torn.
fn read_side_by_side(
    root: &Path,
    paths: &BTreeSet<PathBytes>,
    format: Format,
) -> Result<Vec<(PathBytes, Content)>, Stop> {
    let paths: Vec<_> = paths.iter().collect();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = paths.len().div_ceil(workers).max(READ_TOGETHER_MIN);
    let read_all = |paths: &[&PathBytes]| -> Result<Vec<_>, Stop> {
        paths
            .iter()
            .map(|path| {
                let content = file_content::read(&root.join(OsStr::from_bytes(path)), format)?;
                Ok(((*path).clone(), content.ok_or(Stop::Torn)?))
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let mut shares = paths.chunks(share);
        let first = shares.next().unwrap_or(&[]);
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || read_all(share)))
            .collect();
        let mut contents = read_all(first)?;
        for other in others {
            contents.extend(other.join().map_err(|_| Stop::NotPlain)??);
        }
        Ok(contents)
    })
}

/// Fewer files than this are not worth another thread.
const READ_TOGETHER_MIN: usize = 64;

fn set_unstaged(status: &mut Status, path: &[u8], code: u8) {
    match status.tracked.get_mut(path) {
        Some(change) => change.unstaged = code,
        None if code != b' ' => {
            let change = Change {
                staged: b' ',
                unstaged: code,
                from: None,
            };
            status.tracked.insert(path.to_vec(), change);
        }
        None => {}
    }
    if let Some(change) = status.tracked.get(path)
        && (change.staged, change.unstaged) == (b' ', b' ')
    {
        status.tracked.remove(path);
    }
}

fn dirs_of<'a>(paths: impl Iterator<Item = &'a [u8]>) -> BTreeSet<Vec<u8>> {
    let mut dirs = BTreeSet::from([Vec::new()]);
    for path in paths {
        for dir in parents(path) {
            if dirs.contains(dir) {
                break;
            }
            dirs.insert(dir.to_vec());
        }
    }
    dirs
}

fn top_literal(path: &[u8]) -> PathBuf {
    let text = [b":(top,literal)", path].concat();
    PathBuf::from(OsStr::from_bytes(&text))
}
