//! Is what is handed out the code on disk, however it came there, and is it withdrawn as soon as it is not?

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::cases::times;
use crate::commands::active_target;
use crate::identity::oracle;
use crate::python::sqlite_store;
use crate::world::{World, wait_until};

/// How many questions are asked, `times()` as often.
const QUESTIONS: usize = 100;

pub(crate) fn tracked(store: &Path) -> World {
    let world = World::with_commit();
    world.write(".gitignore", "*.log\n__pycache__/\n");
    world.commit("ignore");
    world
        .tracemark(&["up", "--store", &sqlite_store(store)])
        .ok();
    world
}

/// Every way in which editors and git change code.
pub(crate) const WAYS: [fn(&World, usize); 12] = [
    |world, n| world.write("app.py", format!("print({n})\n")),
    |world, n| {
        world.write("app.py.tmp", format!("print('renamed', {n})\n"));
        std::fs::rename(world.repo().join("app.py.tmp"), world.repo().join("app.py")).unwrap();
    },
    |world, n| {
        let path = world.repo().join("app.py");
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        writeln!(file, "print('more', {n})").unwrap();
    },
    |world, n| {
        for file in ["a.py", "deep/b.py", "deep/er/c.py"] {
            world.write(&format!("new{n}/{file}"), format!("new = {n}\n"));
        }
    },
    |world, n| {
        world.write("app.py", format!("print('staged', {n})\n"));
        world.git(&["add", "-A"]);
    },
    |world, n| {
        world.write("app.py", format!("print('committed', {n})\n"));
        world.commit(&n.to_string());
    },
    |world, n| {
        world.write("app.py", format!("print('stashed', {n})\n"));
        world.git(&["stash", "-q"]);
    },
    |world, n| drop(world.git(&["checkout", "-q", "-b", &format!("branch{n}")])),
    |world, n| {
        let away = world.repo().join("../away");
        std::fs::create_dir_all(away.join("in")).unwrap();
        std::fs::write(away.join("in/m.py"), format!("moved = {n}\n")).unwrap();
        std::fs::rename(away, world.repo().join(format!("moved{n}"))).unwrap();
    },
    |world, _| drop(world.git(&["clean", "-q", "-f", "-d"])),
    |world, n| {
        world.write("big.txt", "line\n".repeat(1000 + n));
        std::fs::remove_file(world.repo().join("big.txt")).unwrap();
    },
    |world, n| {
        let mode = if n % 2 == 0 { 0o755 } else { 0o644 };
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(world.repo().join("app.py"), permissions).unwrap();
    },
];

#[test]
fn an_answer_that_is_called_fresh_is_the_code_as_it_was_written_just_before() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let done = AtomicBool::new(false);
    world.write("hammered.txt", "the same\n");
    let questions = QUESTIONS * times();
    std::thread::scope(|scope| {
        // Also where an assertion fails, or the other thread would never end.
        let _end = SetAtEnd(&done);
        scope.spawn(|| hammer(&world, &done));
        let mut fresh = 0;
        for n in 0.. {
            // Neither evenly nor at random: every way follows every other.
            WAYS[(n * 5 + n / WAYS.len()) % WAYS.len()](&world, n);
            let answer = world.tracemark(&["active", "--json"]);
            let answer: Value = serde_json::from_str(&answer.ok()).unwrap();
            if answer["fresh"] == true {
                let expected = oracle::git_hash(&|program| world.command(program)).unwrap();
                assert_eq!(answer["name"], expected, "question {n}");
                fresh += 1;
            }
            if fresh == questions {
                break;
            }
            assert!(n < 20 * questions, "{fresh} of {n} answers were fresh");
        }
    });
}

/// Rules that come, go and hide themselves, in an order in which each means something after the one before.
const RULES: [fn(&World, usize); 7] = [
    |world, n| world.write(&format!("ruled/deep/m{n}.py"), "ruled\n"),
    |world, _| world.write("ruled/.gitignore", "**\n"),
    |world, n| world.write(".gitignore", format!("*.log\n__pycache__/\n*\n!{n}*\n")),
    |world, n| world.write(".git/info/exclude", format!("new*\nmoved{n}/\n")),
    |world, n| {
        world.write(
            ".gitattributes",
            "*.txt text eol=crlf\n.gitattributes -text\n",
        );
        world.write("lines.txt", format!("{n}\r\n"));
    },
    |world, _| world.write(".gitignore", "*.log\n__pycache__/\n"),
    |world, _| {
        world.write(".git/info/exclude", ".gitattributes\n");
        drop(std::fs::remove_file(world.repo().join("ruled/.gitignore")));
    },
];

#[test]
fn what_the_daemon_saw_before_anybody_asked_is_what_lies_there() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let looks = || world.status()["passes"].as_u64().unwrap();
    for n in 0..QUESTIONS * times() {
        match n % 2 {
            0 => RULES[n / 2 % RULES.len()](&world, n),
            _ => WAYS[(n * 5 + n / WAYS.len()) % WAYS.len()](&world, n),
        }
        let before = looks();
        world.write("seen.log", n.to_string());
        wait_until("the daemon looks on its own", || {
            (looks() > before).then_some(())
        });
        let answer = world.tracemark(&["active", "--json"]);
        let answer: Value = serde_json::from_str(&answer.ok()).unwrap();
        let expected = oracle::git_hash(&|program| world.command(program)).unwrap();
        assert_eq!(answer["fresh"], true, "question {n}");
        assert_eq!(answer["name"], expected, "question {n}");
    }
}

/// Says that it is over when it goes out of scope.
pub(crate) struct SetAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ignored files with other bytes each time, and an untracked one with the same, as otherwise nobody could say what is there.
fn hammer(world: &World, done: &AtomicBool) {
    let mut n = 0;
    while !done.load(Ordering::Relaxed) {
        n += 1;
        if let Ok(mut file) = std::fs::File::options()
            .write(true)
            .open(world.repo().join("hammered.txt"))
        {
            file.write_all(b"the same\n").unwrap();
        }
        world.write("noise.log", n.to_string());
        world.write(&format!("__pycache__/{}.pyc", n % 10), n.to_string());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// While git makes a diff, a file comes, and then the file that is compared is written once more.
#[test]
fn code_that_never_lay_there_gets_no_name_though_files_come_while_others_are_read() {
    let mut world = World::with_commit();
    let dir = world.put_before_git(
        "case \" $* \" in *\" diff \"*) if mv \"$dir/due\" \"$dir/done\" 2>/dev/null; then
\"$git\" \"$@\"; status=$?; echo new > \"$dir/../repo/new.py\"; echo third > \"$dir/../repo/app.py\"; exit $status
fi;; esac\n",
    );
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.write("app.py", "first\n");
    world.tracemark(&["active"]).ok();
    let log = world.state_dir().join("daemon.log");
    let read_log = || std::fs::read_to_string(&log).unwrap();
    let told = read_log().len();
    std::fs::write(dir.join("due"), "").unwrap();
    world.write("app.py", "second\n");
    world.tracemark(&["active"]).ok();
    assert!(dir.join("done").exists());
    let name = || world.tracemark(&["hash"]).ok().trim().to_owned();
    let after = name();
    let log = read_log().split_off(told);
    std::fs::remove_file(world.repo().join("new.py")).unwrap();
    let never = name();
    assert!(log.contains(&after) && !log.contains(&never), "{log}");
}

/// While git lists what is new, a directory has its first name, and before and after its second one.
#[test]
fn a_directory_that_is_renamed_while_it_is_looked_for_is_not_missed_under_both_its_names() {
    let mut world = World::with_commit();
    world.write("first/other.py", "committed\n");
    world.commit("a directory");
    let dir = world.put_before_git(
        "case \" $* \" in *\" ls-files -o \"*) if mv \"$dir/due\" \"$dir/done\" 2>/dev/null; then
cd \"$dir/../repo\"; mv second first; \"$git\" \"$@\"; status=$?; mv first second; exit $status
fi;; esac\n",
    );
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.write("first/other.py", "edited\n");
    world.tracemark(&["active"]).ok();
    let log = world.state_dir().join("daemon.log");
    let read_log = || std::fs::read_to_string(&log).unwrap();
    let told = read_log().len();
    let at = |name: &str| world.repo().join(name);
    std::fs::write(dir.join("due"), "").unwrap();
    std::fs::rename(at("first"), at("second")).unwrap();
    world.tracemark(&["active"]).ok();
    assert!(dir.join("done").exists());
    let name = || world.tracemark(&["hash"]).ok().trim().to_owned();
    let after = name();
    let log = read_log().split_off(told);
    std::fs::rename(at("second"), world.base().join("away")).unwrap();
    let never = name();
    assert!(log.contains(&after) && !log.contains(&never), "{log}");
}

#[test]
fn a_reader_of_the_env_file_never_sees_an_id_come_back_for_older_code() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let mut seen = vec![world.env_id()];
    for n in 0..30 * times() {
        world.write("app.py", format!("version = {n}\n"));
        if n % 50 == 49 {
            // More than sixty versions an hour that nobody asked for and nobody committed are taken for a flood.
            world.commit("a version");
        }
        let newest = wait_until("the env file names the model of what was written", || {
            let id = world.env_id();
            let at = seen.iter().position(|known| *known == id);
            let is_last = at.is_some_and(|at| at + 1 == seen.len());
            assert!(id.is_empty() || at.is_none() || is_last, "{id} came back");
            (!id.is_empty() && at.is_none()).then_some(id)
        });
        let expected = oracle::git_hash(&|program| world.command(program)).unwrap();
        assert_eq!(world.env_file()["TRACEMARK_NAME"], expected);
        seen.push(newest);
    }
}

#[test]
fn who_reads_all_the_time_meets_each_id_and_none_again_of_code_that_was_withdrawn() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let (done, read) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let _end = SetAtEnd(&done);
        scope.spawn(|| read_all_the_time(&world, &done, &read));
        let mut before = world.env_id();
        for n in 0..15 * times() {
            world.write("app.py", format!("edit = {n}\n"));
            if n % 50 == 49 {
                world.commit("a version");
            }
            before = world.new_env_id(&before);
            wait_until("who reads all the time meets the id", || {
                let met = read.lock().unwrap();
                (met.last() == Some(&before)).then_some(())
            });
        }
    });
    let mut gone = BTreeSet::new();
    for id in read.into_inner().unwrap() {
        assert!(!gone.contains(&id), "{id} came back");
        if !id.is_empty() {
            gone.insert(id);
        }
    }
}

/// Adds each id that is read after another one, empty ones too.
fn read_all_the_time(world: &World, done: &AtomicBool, read: &Mutex<Vec<String>>) {
    while !done.load(Ordering::Relaxed) {
        let id = world.env_id();
        let mut read = read.lock().unwrap();
        if read.last() != Some(&id) {
            read.push(id);
        }
    }
}

#[test]
fn who_follows_gets_the_state_first_then_every_change_in_order() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    let target = format!("/v1/events?worktree={}", world.repo().display());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter(Value::is_object);
    let first = lines.next().unwrap();
    assert_eq!(first["state"], "active");
    world.write("app.py", "print('changed')\n");
    let mut last = first["generation"].as_u64().unwrap();
    let changes = lines.by_ref().take_while(|change| {
        let generation = change["generation"].as_u64().unwrap();
        assert!(generation > last, "{generation} after {last}");
        last = generation;
        change["state"] != "active"
    });
    assert!(changes.count() > 0, "the old id was withdrawn");
}

#[test]
fn an_ignored_file_that_the_hash_reads_counts_without_a_question() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let names_the_disk = || {
        wait_until("the env file names what is on disk", || {
            let name = oracle::git_hash(&|program| world.command(program)).unwrap();
            (world.env_file()["TRACEMARK_NAME"] == name).then_some(name)
        })
    };
    world.write("target.log", "one\n");
    std::os::unix::fs::symlink("target.log", world.repo().join("link")).unwrap();
    let one = names_the_disk();
    world.write("target.log", "two\n");
    let two = names_the_disk();
    assert_ne!(one, two, "the helper follows links");
}

#[test]
fn each_look_says_what_made_it_necessary_and_is_counted() {
    let store = tempfile::tempdir().unwrap();
    let world = tracked(store.path());
    let cause_of = |change: &dyn Fn()| {
        change();
        wait_until("the change is seen", || {
            let name = oracle::git_hash(&|program| world.command(program)).unwrap();
            let status = world.status();
            (status["name"] == name.as_str()).then(|| status["cause"].as_str().unwrap().to_owned())
        })
    };
    let before = world.status();
    // Where the machine lets a save wait for seconds, a rescan finds it.
    let mut n = 0;
    wait_until("a save is named", || {
        n += 1;
        let saved = cause_of(&|| world.write("app.py", format!("print('saved {n}')\n")));
        saved.starts_with("saved app.py").then_some(())
    });
    let committed = cause_of(&|| world.commit("second"));
    assert_eq!(committed, "commit");
    let after = wait_until("a save is read alone", || {
        n += 1;
        cause_of(&|| world.write("app.py", format!("print({n})\n")));
        let after = world.status();
        (after["narrow_passes"].as_u64() > before["narrow_passes"].as_u64()).then_some(after)
    });
    for counter in ["passes", "full_passes"] {
        assert!(
            after[counter].as_u64() > before[counter].as_u64(),
            "{counter}"
        );
    }
    assert!(after["watches"].as_u64() > Some(3));
    assert_eq!(after["store_requests"], 0, "a file needs none");
}

#[test]
fn a_file_that_a_program_writes_back_and_forth_is_never_named_for_other_bytes() {
    let world = World::tracked();
    let names: Vec<String> = ["one", "two"]
        .iter()
        .map(|text| {
            world.write("app.py", text);
            let said = world.get(&active_target(&world, "&wait=20000"));
            format!("{} {}", said["content"], said["name"])
        })
        .collect();
    let path = world.repo().join("app.py");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut texts = ["one", "two"].iter().cycle();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let next = world.base().join("next");
                std::fs::write(&next, texts.next().unwrap()).unwrap();
                std::fs::rename(&next, &path).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        });
        let mut answers = Vec::new();
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while answers.len() < 20 && std::time::Instant::now() < deadline {
            let said = world.get(&active_target(&world, "&wait=500"));
            if said["fresh"] == true {
                answers.push(format!("{} {}", said["content"], said["name"]));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let wrong: Vec<_> = answers.iter().filter(|one| !names.contains(one)).collect();
        assert!(wrong.is_empty(), "{wrong:?} never was: {names:?}");
        assert!(!answers.is_empty(), "nothing was published");
    });
}
