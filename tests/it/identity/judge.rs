//! All that must agree about one state: both oracles, git asked cheaply and plainly, a reading from scratch and an incremental one.

use std::path::Path;

use tracemark::git::Git;
use tracemark::identity::git_hash::{self, GitHash};
use tracemark::identity::reader::WorktreeReader;
use tracemark::identity::{self, GitHashError, ReadError, Reading};
use tracemark::repository::Worktree;
use tracemark::touched::Touched;

use super::ground::Ground;
use super::oracle::{self, Answer, Caller, Tree};
use crate::world::Said;

type Read = Result<Reading, ReadError>;

/// How often a torn reading is repeated.
const TRIES: usize = 5;

/// What the oracles say of a state.
#[derive(Debug)]
pub(super) struct Truth {
    git_hash: Answer,
    tree: Result<Tree, String>,
    head_tree: Option<String>,
}

impl Truth {
    /// As the guide's app asks, whose git brings the index up to date on the way.
    pub(super) fn of(caller: Caller<'_>) -> Self {
        let mut head_tree = caller("git");
        let head_tree = head_tree
            .args(["rev-parse", "-q", "--verify", "HEAD^{tree}"])
            .output()
            .unwrap();
        let head_tree = String::from_utf8(head_tree.stdout)
            .unwrap()
            .trim()
            .to_owned();
        Self {
            git_hash: oracle::git_hash(caller),
            tree: oracle::tree(caller),
            head_tree: (!head_tree.is_empty()).then_some(head_tree),
        }
    }

    /// The same with a copy of the index, so that the state stays as it is.
    pub(super) fn leaving_the_index(ground: &Ground, worktree: &Worktree) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (index, copy) = (worktree.git_dir.join("index"), scratch.path().join("index"));
        if let Ok(metadata) = index.metadata() {
            std::fs::copy(&index, &copy).unwrap();
            let file = std::fs::File::options().write(true).open(&copy).unwrap();
            file.set_modified(metadata.modified().unwrap()).unwrap();
        }
        Self::of(&|program| {
            let mut command = ground.command(program);
            command.env("GIT_INDEX_FILE", &copy);
            command.args(["-c", "core.splitIndex=false"]);
            command
        })
    }
}

/// What tracemark says of one state, asked in every way.
pub(super) struct Answers {
    /// Where there is a reading from scratch, it holds that.
    cheap: Option<Answer>,
    plain: Answer,
    scratch: Read,
    incremental: Read,
    /// Without the git-hash of changed code.
    content: Read,
}

/// Both read the same worktree, step by step; one does without the git-hash.
pub(super) struct Readers {
    pub(super) whole: WorktreeReader,
    content: WorktreeReader,
}

impl Answers {
    /// Of a repository whose files changed in `touched` since the `readers` last looked.
    pub(super) fn ask(worktree: &Worktree, readers: &mut Readers, touched: &Touched) -> Self {
        let incremental = narrow(&mut readers.whole, touched);
        let content = narrow(&mut readers.content, touched);
        let (private, index) = (worktree.private_dir(), worktree.git_dir.join("index"));
        let git = Git::at(&worktree.root);
        let text = |hash: Result<GitHash, GitHashError>| match hash {
            Ok(hash) => Ok(hash.text),
            Err(error) => Err(error.to_string()),
        };
        let (scratch, plain) = std::thread::scope(|scope| {
            let plain = scope.spawn(|| git_hash::plainly(&git, Some(private.as_path())));
            let read = || identity::read(&worktree.root, &index, Some(private.as_path()));
            (untorn(read), plain.join().unwrap())
        });
        let cheap = scratch
            .is_err()
            .then(|| text(git_hash::compute(&git, Some(private.as_path()))));
        Self {
            cheap,
            plain: text(plain),
            scratch,
            incremental,
            content,
        }
    }

    /// The error says who disagrees.
    pub(super) fn agree_with(self, truth: &Truth) -> Result<(), String> {
        if let Some(cheap) = &self.cheap {
            same("git's cheap calls", cheap, "the helper", &truth.git_hash)?;
        }
        same(
            "git's plain calls",
            &self.plain,
            "the helper",
            &truth.git_hash,
        )?;
        same_reading(&self.incremental, &self.scratch)?;
        same_content(&self.content, &self.scratch)?;
        true_reading(&self.scratch, truth)
    }
}

fn narrow(reader: &mut WorktreeReader, touched: &Touched) -> Read {
    match reader.read(touched) {
        Err(ReadError::Torn) => untorn(|| reader.read(&Touched::Everything)),
        read => read,
    }
}

fn untorn(mut read: impl FnMut() -> Read) -> Read {
    let mut again = 0..TRIES;
    loop {
        match read() {
            Err(ReadError::Torn) if again.next().is_some() => {}
            read => return read,
        }
    }
}

/// Equal answers, or two errors.
pub(super) fn same(
    who: &str,
    answer: &Answer,
    other: &str,
    expected: &Answer,
) -> Result<(), String> {
    let agree = match (answer, expected) {
        (Ok(answer), Ok(expected)) => answer == expected,
        (Err(_), Err(_)) => true,
        _ => false,
    };
    agree
        .then_some(())
        .ok_or_else(|| format!("{who}: {answer:?}\n{other}: {expected:?}"))
}

fn same_reading(incremental: &Read, scratch: &Read) -> Result<(), String> {
    let without_reason = |reading: &Reading| {
        let git_hash = reading.git_hash.clone().map_err(drop);
        (
            reading.head.clone(),
            git_hash,
            reading.content.clone(),
            reading.dirty,
        )
    };
    let agree = match (incremental, scratch) {
        (Ok(one), Ok(other)) => without_reason(one) == without_reason(other),
        (Err(one), Err(other)) => std::mem::discriminant(one) == std::mem::discriminant(other),
        _ => false,
    };
    agree
        .then_some(())
        .ok_or_else(|| format!("incremental: {incremental:?}\nfrom scratch: {scratch:?}"))
}

/// A reading without the git-hash says all else, and that one only where it costs nothing.
fn same_content(content: &Read, scratch: &Read) -> Result<(), String> {
    let rest = |reading: &Reading| (reading.head.clone(), reading.content.clone(), reading.dirty);
    let agree = match (content, scratch) {
        (Ok(one), Ok(other)) => {
            let is_head =
                one.git_hash.as_ref().ok() == one.head.as_ref().map(ToString::to_string).as_ref();
            let honest = one.git_hash.is_err() || is_head && one.git_hash == other.git_hash;
            rest(one) == rest(other) && honest
        }
        (Err(one), Err(other)) => std::mem::discriminant(one) == std::mem::discriminant(other),
        _ => false,
    };
    agree
        .then_some(())
        .ok_or_else(|| format!("without the git-hash: {content:?}\nfrom scratch: {scratch:?}"))
}

fn true_reading(read: &Read, truth: &Truth) -> Result<(), String> {
    let reading = match (read, &truth.tree) {
        (Ok(reading), Ok(_)) => reading,
        (Err(ReadError::Tree(_)), Err(_)) => return Ok(()),
        (read, tree) => return Err(format!("from scratch: {read:?}\nthe tree: {tree:?}")),
    };
    let tree = truth.tree.as_ref()?;
    let content = reading.content.as_str();
    let (id, inside) = content
        .split_once('+')
        .map_or((content, false), |(id, _)| (id, true));
    if (id, inside) != (&tree.id, tree.dirty_inside) {
        return Err(format!("the content: {content}\nthe tree: {tree:?}"));
    }
    let clean = matches!(&truth.git_hash, Ok(hash) if !hash.contains('-'))
        && truth.head_tree.as_deref() == Some(content);
    if reading.dirty == clean {
        return Err(format!("dirty: {}\ntruth: {truth:?}", reading.dirty));
    }
    same(
        "from scratch",
        &reading.git_hash,
        "the helper",
        &truth.git_hash,
    )
}

/// Judges tracemark's commands and library on one state at once. The error says who disagrees.
pub(super) fn judge(
    ground: &Ground,
    worktree: &Worktree,
    readers: &mut Readers,
    touched: &Touched,
) -> Result<(), String> {
    let answers = Answers::ask(worktree, readers, touched);
    let hash = ground.tracemark(&["hash"]);
    let tree = ground.tracemark(&["hash", "--naming", "tree"]);
    let truth = Truth::of(&|program| ground.command(program));
    let answer = |said: Said| match said.code {
        Some(0) => Ok(said.stdout.trim().to_owned()),
        Some(1) if said.stdout.is_empty() && said.stderr.lines().count() == 1 => Err(said.stderr),
        _ => panic!("no answer: {said:?}"),
    };
    let id = truth
        .tree
        .as_ref()
        .map(|tree| tree.id.clone())
        .map_err(Clone::clone);
    same(
        "tracemark hash",
        &answer(hash),
        "the helper",
        &truth.git_hash,
    )?;
    same(
        "tracemark hash --naming tree",
        &answer(tree),
        "the tree",
        &id,
    )?;
    answers.agree_with(&truth)
}

/// Where readers of this repository start, knowing nothing.
pub(super) fn readers(worktree: &Worktree) -> Readers {
    let private: &Path = &worktree.private_dir();
    let of = |private: &Path| WorktreeReader::new(&worktree.root, &worktree.git_dir, private);
    let beside = private.join("content");
    drop(std::fs::create_dir_all(&beside));
    let mut content = of(&beside);
    content.want_git_hash(false);
    Readers {
        whole: of(private),
        content,
    }
}

/// Where a reader of this repository starts, knowing nothing.
pub(super) fn reader(worktree: &Worktree) -> WorktreeReader {
    readers(worktree).whole
}
