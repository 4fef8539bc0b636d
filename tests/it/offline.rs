//! What happens while the store is away, and when it comes back?

use std::path::Path;

use serde_json::Value;

use crate::proxy::{Exchange, Proxy, rest};
use crate::python::{free_port, look, server, sqlite_store};
use crate::world::{Said, World, wait_until};

/// A repository of one commit, tracked in an experiment of its own behind a proxy.
fn behind_proxy(experiment: &str) -> (World, Proxy) {
    let world = World::with_commit();
    let proxy = Proxy::start(world.base());
    let store = ["up", "--store", proxy.address(), "--experiment", experiment];
    world.tracemark(&store).ok();
    (world, proxy)
}

fn experiment_id(name: &str) -> String {
    let found = look(server(), &["experiment", name]);
    found["experiment_id"].as_str().unwrap().to_owned()
}

fn models_in(experiment: &str) -> Vec<Value> {
    let models = look(server(), &["models", &experiment_id(experiment)]);
    models.as_array().unwrap().clone()
}

#[track_caller]
fn wait_for_owed(world: &World, count: u64) {
    wait_until(&format!("{count} versions are owed"), || {
        (world.status()["owed"] == count).then_some(())
    });
}

#[test]
fn every_commit_made_off_line_gets_one_model_also_over_kill_9_and_a_reboot() {
    let world = World::with_commit();
    let port = free_port();
    let store = format!("http://127.0.0.1:{port}");
    let up = ["up", "--store", &store, "--experiment", "made_off_line"];
    let said = world.tracemark(&up);
    assert_eq!(said.code, Some(6), "{said:?}");
    wait_for_owed(&world, 1);
    let mut heads = vec![world.git(&["rev-parse", "HEAD"])];
    for n in 2..=6 {
        world.write("app.py", format!("print({n})\n"));
        world.commit("off line");
        heads.push(world.git(&["rev-parse", "HEAD"]));
        wait_for_owed(&world, n);
        if n == 4 {
            world.kill_daemon();
            std::fs::remove_dir_all(world.base().join("run/tracemark")).unwrap();
            world.tracemark(&["active", "--no-wait"]);
        }
    }
    world.write("app.py", "print('not committed')\n");
    world.is_refused("no answer from the MLflow server");
    wait_for_owed(&world, 7);
    world.kill_daemon();
    let _proxy = Proxy::start_on(world.base(), port);
    let active = world.tracemark(&["active", "--timeout", "60"]).ok();
    wait_for_owed(&world, 0);
    let models = models_in("made_off_line");
    let named = |head: &str| models.iter().filter(|model| model["name"] == head).count();
    assert_eq!(models.len(), 7, "{models:?}");
    assert!(heads.iter().all(|head| named(head) == 1), "{models:?}");
    assert_eq!(models[0]["tags"]["tracemark.dirty"], "false");
    assert!(
        models
            .iter()
            .any(|model| model["model_id"] == active.trim())
    );
}

#[test]
fn what_is_owed_and_what_was_come_along_with_a_repository_that_is_moved() {
    let (world, mut proxy) = behind_proxy("moved");
    let first = world.env_id();
    proxy.be("answer 503");
    for n in 2..=3 {
        world.write("app.py", format!("print({n})\n"));
        world.commit("off line");
        wait_for_owed(&world, n - 1);
    }
    let heads = commits(&world, &["HEAD"]);
    let moved = world.base().join("moved");
    std::fs::rename(world.repo(), &moved).unwrap();
    let there = |arguments: &[&str]| {
        let mut command = world.command(env!("CARGO_BIN_EXE_tracemark"));
        Said::of(
            &command
                .args(arguments)
                .current_dir(&moved)
                .output()
                .unwrap(),
        )
    };
    proxy.be("pass");
    there(&["up"]).ok();
    let all = || (models_in("moved").len() >= 3).then_some(());
    wait_until("what is owed is made", all);
    let models = models_in("moved");
    let named = |head: &str| models.iter().filter(|model| model["name"] == head).count();
    assert!(heads.iter().all(|head| named(head) == 1), "{models:?}");
    let log = there(&["log"]).ok();
    assert!(log.contains(&first[..10]), "{log}");
}

/// The full ids of what a range of git-rev-list(1) names.
fn commits(world: &World, range: &[&str]) -> Vec<String> {
    let listed = world.git(&[&["rev-list"], range].concat());
    listed.lines().map(str::to_owned).collect()
}

fn commit_file(world: &World, file: &str) {
    world.write(file, format!("{file}\n"));
    world.commit(file);
}

#[test]
fn commits_made_while_no_daemon_runs_get_their_models_and_what_a_rebase_passes_through_does_not() {
    let (world, _proxy) = behind_proxy("made_alone");
    let before = world.env_id();
    world.kill_daemon();
    world.git(&["checkout", "-q", "-b", "side"]);
    commit_file(&world, "one.py");
    commit_file(&world, "two.py");
    let made = commits(&world, &["main..side"]);
    world.git(&["checkout", "-q", "main"]);
    commit_file(&world, "three.py");
    let on_main = world.git(&["rev-parse", "HEAD"]);
    world.git(&["checkout", "-q", "side"]);
    world.git(&["rebase", "-q", "main"]);
    let rebased = world.git(&["rev-parse", "HEAD"]);
    let passed_through = world.git(&["rev-parse", "HEAD~1"]);
    world.write("app.py", "print('not committed')\n");
    // A new daemon withdraws at once what a killed one left.
    world.tracemark(&["active", "--no-wait"]);
    world.new_env_id(&before);
    // With the first commit and what is on disk now.
    let all = || (models_in("made_alone").len() >= 6).then_some(());
    wait_until("what was made is made up for", all);
    wait_for_owed(&world, 0);
    let models = models_in("made_alone");
    let of = |name: &str| models.iter().find(|model| model["name"] == name);
    for commit in [&made[1], &made[0], &on_main, &rebased] {
        let model = of(commit).unwrap_or_else(|| panic!("{commit} in {models:?}"));
        let tree = world.git(&["rev-parse", &format!("{commit}^{{tree}}")]);
        assert_eq!(model["tags"]["tracemark.content"], tree);
        assert_eq!(model["tags"]["tracemark.head"], **commit);
        assert_eq!(model["tags"]["tracemark.dirty"], "false");
        let branch = if *commit == on_main { "main" } else { "side" };
        assert_eq!(model["tags"]["mlflow.source.git.branch"], branch);
    }
    assert!(of(&passed_through).is_none(), "{models:?}");
    assert_eq!(models.len(), 6, "{models:?}");
    assert_eq!(world.tracemark(&["active"]).ok().trim(), world.env_id());
    world.kill_daemon();
    world.tracemark(&["active"]).ok();
    assert_eq!(world.status()["owed"], 0);
    assert_eq!(
        models_in("made_alone").len(),
        6,
        "nothing is made up for twice"
    );
}

#[test]
fn commits_that_follow_each_other_at_once_all_get_their_models() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    world.signal_daemon(rustix::process::Signal::STOP).unwrap();
    for file in ["one.py", "two.py", "three.py"] {
        commit_file(&world, file);
    }
    world.signal_daemon(rustix::process::Signal::CONT).unwrap();
    let names = || rows(&world, &world.base().join("mlflow.db"));
    wait_until("each commit has its row", || (names() == 4).then_some(()));
    for commit in commits(&world, &["main"]) {
        assert_eq!(world.tracemark(&["show", &commit]).code, Some(0));
    }
}

#[test]
fn what_others_made_and_what_nobody_wants_unasked_is_not_made_up_for() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let file = world.base().join("mlflow.db");
    let clone = world.base().join("theirs");
    let theirs = |arguments: &[&str]| {
        world.git(&[&["-C", clone.to_str().unwrap()], arguments].concat());
    };
    world.git(&["clone", "-q", ".", clone.to_str().unwrap()]);
    for n in 0..3 {
        theirs(&["commit", "-q", "--allow-empty", "-m", &n.to_string()]);
    }
    world.tracemark(&["up", "--store", &store]).ok();
    world.kill_daemon();
    world.git(&["pull", "-q", "--ff-only", clone.to_str().unwrap(), "main"]);
    let pulled = world.git(&["rev-parse", "HEAD"]);
    world.write("app.py", "print('after the pull')\n");
    world.tracemark(&["active"]).ok();
    // The first commit, what HEAD was moved to, and what is on disk.
    let all = || (rows(&world, &file) >= 3).then_some(());
    wait_until("what HEAD was moved to has its row", all);
    wait_for_owed(&world, 0);
    assert_eq!(rows(&world, &file), 3);
    assert_eq!(world.tracemark(&["show", &pulled]).code, Some(0));
    world.tracemark(&["down"]).ok();
    world.commit("while nothing is tracked");
    world.write(".tracemark.toml", "create = 'asked'\n");
    world.tracemark(&["up", "--store", &store]).ok();
    world.kill_daemon();
    world.commit("nobody asks");
    world.write("app.py", "print('nor for this')\n");
    world.tracemark(&["active"]).ok();
    assert_eq!(world.status()["owed"], 0);
    // What `up` and `active` asked for.
    assert_eq!(rows(&world, &file), 5);
}

#[test]
fn what_was_owed_to_one_store_is_not_owed_to_another_and_status_says_to_whom() {
    let world = World::with_commit();
    let port = free_port();
    let away = format!("http://127.0.0.1:{port}");
    let up_away = ["up", "--store", &away, "--experiment", "left_behind"];
    world.tracemark(&up_away);
    wait_for_owed(&world, 1);
    commit_file(&world, "two.py");
    wait_for_owed(&world, 2);
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    // What is on disk is wanted in both.
    assert_eq!(rows(&world, &world.base().join("mlflow.db")), 1);
    let status = world.status();
    assert_eq!(status["owed"], 2);
    let waits = serde_json::json!(
        [{"store": away, "experiment": "name:left_behind", "owed": 2, "current": false}]
    );
    assert_eq!(status["owed_to"], waits);
    let line = format!("owed    2 versions wait for {away}, experiment left_behind\n");
    let text = world.tracemark(&["status"]).ok();
    assert!(text.contains(&line), "{text}");
    let _proxy = Proxy::start_on(world.base(), port);
    world.tracemark(&up_away).ok();
    wait_for_owed(&world, 0);
    assert_eq!(models_in("left_behind").len(), 2);
    assert_eq!(rows(&world, &world.base().join("mlflow.db")), 1);
}

#[test]
fn what_ails_the_store_is_said_and_ends_when_it_recovers() {
    let (world, mut proxy) = behind_proxy("ailing");
    let ailments = [
        ("answer 401", "HTTP 401"),
        ("answer 503", "HTTP 503"),
        ("answer 429 1", "HTTP 429"),
        ("readonly", "HTTP 403"),
        ("hang up", "no answer from the MLflow server"),
    ];
    for (mode, words) in ailments {
        let before = world.tracemark(&["active"]).ok();
        proxy.be(mode);
        world.write("app.py", format!("print('{mode}')\n"));
        world.is_refused(words);
        assert_eq!(world.env_id(), "");
        let status = world.status();
        assert_eq!(status["state"], "pending");
        assert!(
            status["reason"].as_str().unwrap().contains(words),
            "{status}"
        );
        proxy.be("pass");
        let after = world.tracemark(&["active", "--timeout", "60"]).ok();
        assert_ne!(before, after);
        let status = world.status();
        assert_eq!(status["reason"], Value::Null);
        assert!(
            status["last_error"].as_str().unwrap().contains(words),
            "{status}"
        );
    }
    let text = world.tracemark(&["status"]).ok();
    let page = format!(
        "{}/#/experiments/{}",
        proxy.address(),
        experiment_id("ailing")
    );
    assert!(text.contains(&page), "{text}");
}

#[test]
fn a_store_that_is_slow_is_waited_for() {
    let (world, mut proxy) = behind_proxy("slow");
    proxy.be("slow 1");
    world.write("app.py", "print('slow')\n");
    let id = world.tracemark(&["active", "--timeout", "60"]).ok();
    let model = look(server(), &["model", id.trim()]);
    assert_eq!(model["tags"]["tracemark.dirty"], "true");
}

#[test]
fn a_store_that_begins_to_answer_and_never_ends_is_left_and_asked_again() {
    let mut world = World::with_commit();
    world.set("MLFLOW_HTTP_REQUEST_TIMEOUT", "1");
    let mut proxy = Proxy::start(world.base());
    let store = ["up", "--store", proxy.address(), "--experiment", "hanging"];
    world.tracemark(&store).ok();
    for mode in ["silence", "stall", "drip"] {
        proxy.be(mode);
        world.write("app.py", format!("print('{mode}')\n"));
        world
            .tracemark(&["active", "--timeout", "30"])
            .failed(6, "timed out");
        let reason = world.status()["reason"].to_string();
        assert!(reason.contains("timed out"), "{reason}");
        proxy.be("pass");
        world.tracemark(&["active", "--timeout", "60"]).ok();
    }
    assert_eq!(models_in("hanging").len(), 4);
}

#[test]
fn a_server_that_restarts_after_it_acted_and_before_it_answered_has_one_model() {
    let (world, mut proxy) = behind_proxy("restarting");
    let port = proxy.port();
    proxy.be("die");
    world.write("app.py", "print('lost')\n");
    wait_until("the row was made and the answer lost", || {
        let lost = |asked: &Exchange| in_words(asked) == "create" && asked.status == 0;
        proxy.exchanges().iter().any(lost).then_some(())
    });
    assert_eq!(models_in("restarting").len(), 2);
    drop(proxy);
    world.is_refused("no answer from the MLflow server");
    let _proxy = Proxy::start_on(world.base(), port);
    let id = world.tracemark(&["active", "--timeout", "60"]).ok();
    let models = models_in("restarting");
    assert_eq!(models.len(), 2, "{models:?}");
    assert!(models.iter().any(|model| model["model_id"] == id.trim()));
}

#[test]
fn a_server_that_asks_to_wait_is_left_alone_for_so_long_by_the_daemon() {
    let (world, mut proxy) = behind_proxy("waiting");
    proxy.be("answer 429 4");
    world.write("app.py", "print('wait')\n");
    world.is_refused("HTTP 429");
    let hint = world.status()["hint"].clone();
    let told = "wait: the server asks for a pause, and is tried again";
    assert_eq!(hint, told);
    let refused = || {
        let mut exchanges = proxy.exchanges();
        exchanges.retain(|asked| in_words(asked) == "search" && asked.status == 429);
        exchanges
    };
    // Whoever asks is answered at once, also where the daemon had asked by itself a moment before.
    let before = refused().len();
    wait_until("it is asked again", || {
        (refused().len() > before).then_some(())
    });
    // Left to itself the daemon pauses for a second at most after a first failure.
    let asked = refused();
    let pause = asked[before].began - asked[before - 1].ended;
    assert!(pause >= 4.0, "{asked:?}");
    proxy.be("pass");
    world.tracemark(&["active", "--timeout", "60"]).ok();
}

/// SQLite takes a file of a later format for one that may only be read, whoever asks.
fn set_format(file: &Path, version: u8) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&[version], 18).unwrap();
}

#[test]
fn a_database_that_may_only_be_read_is_told_and_known_versions_stay() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    let file = world.base().join("mlflow.db");
    world.tracemark(&["up", "--store", &store]).ok();
    let known = world.tracemark(&["active"]).ok();
    set_format(&file, 3);
    world.write("app.py", "print(2)\n");
    world.is_refused("mlflow.db cannot be written");
    // Each try opens the file, which is an event: not one that says that it can be written now.
    let log = || std::fs::read_to_string(world.state_dir().join("daemon.log")).unwrap();
    let tries = || log().matches("the store failed").count();
    let (before, began) = (tries(), std::time::Instant::now());
    wait_until("it was tried twice again", || {
        (tries() > before + 1).then_some(())
    });
    assert!(began.elapsed().as_secs() >= 1, "{}", log());
    let hint = world.status()["hint"].as_str().unwrap().to_owned();
    assert!(hint.starts_with("chmod u+w /"), "{hint}");
    world.git(&["checkout", "-q", "."]);
    assert_eq!(world.tracemark(&["active"]).ok(), known);
    set_format(&file, 1);
    world.write("app.py", "print(2)\n");
    world.tracemark(&["active", "--timeout", "60"]).ok();
    set_format(&file, 3);
    world
        .tracemark(&["up", "--store", &store])
        .failed(6, "cannot be written");
}

/// Keeps a database locked until its standard input is closed.
const LOCK: &str = "import sqlite3,sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()";

/// Another program's lock on a database, until it is dropped.
struct Lock(std::process::Child);

impl Lock {
    fn of(world: &World, file: &Path) -> Self {
        use std::io::BufRead as _;
        let mut lock = world
            .command("python3")
            .args(["-c", LOCK])
            .arg(file)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let output = lock.stdout.take().unwrap();
        std::io::BufReader::new(output)
            .read_line(&mut said)
            .unwrap();
        assert_eq!(said, "locked\n");
        Self(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_database_that_another_program_keeps_locked_is_named_and_delays_no_stop() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.tracemark(&["up", "--store", &store]).ok();
    let lock = Lock::of(&world, &world.base().join("mlflow.db"));
    world.write("app.py", "print(2)\n");
    world
        .tracemark(&["active", "--timeout", "4"])
        .failed(6, "mlflow.db has been locked by another program for");
    let began = std::time::Instant::now();
    world.stop_daemon();
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    drop(lock);
    world.tracemark(&["active", "--timeout", "60"]).ok();
}

#[test]
fn a_question_without_a_daemon_ends_at_its_time_and_says_what_it_waited_for() {
    let mut world = World::with_commit();
    let store = sqlite_store(world.base());
    world.set("MLFLOW_TRACKING_URI", &store);
    let lock = Lock::of(&world, &world.base().join("mlflow.db"));
    let began = std::time::Instant::now();
    world
        .tracemark(&["active", "--once", "--timeout", "2"])
        .failed(6, "mlflow.db stayed locked by another process");
    // Left to itself it waits for twenty seconds.
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    drop(lock);
    world.tracemark(&["active", "--once"]).ok();
    let mut proxy = Proxy::start(world.base());
    proxy.be("silence");
    world.set("MLFLOW_TRACKING_URI", proxy.address());
    let began = std::time::Instant::now();
    let why = format!("no answer from {} within 2 s", proxy.address());
    world
        .tracemark(&["active", "--once", "--timeout", "2"])
        .failed(6, &why);
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
}

#[test]
fn a_new_version_takes_five_requests_one_after_another_and_a_known_one_none() {
    let (mut world, mut proxy) = behind_proxy("requests");
    let known = world.env_id();
    wait_until("the first version is finished", || {
        let model = look(server(), &["model", &known]);
        (model["status"] == "READY").then_some(())
    });
    let before = proxy.exchanges().len();
    world.write("app.py", "print('new')\n");
    let new = world.new_env_id(&known);
    wait_until("the new version is finished", || {
        let model = look(server(), &["model", &new]);
        (model["status"] == "READY").then_some(())
    });
    let mut asked = of_models(&proxy.exchanges()[before..]);
    // Whether the code is kept may be known only after the row is made, and is told then.
    asked.retain(|exchange| !exchange.path.contains(&known) && in_words(exchange) != "tag");
    let mut words: Vec<_> = asked.iter().map(in_words).collect();
    // The known version may be looked up once more just before.
    let made = words.iter().position(|word| *word == "create").unwrap();
    assert!(
        made <= 2 && words[..made].iter().all(|word| *word == "search"),
        "{asked:?}"
    );
    words.drain(..made - 1);
    assert_eq!(words[..3], ["search", "create", "search"], "{asked:?}");
    assert_eq!(words[3..], ["upload", "finalize"], "{asked:?}");
    for pair in asked.windows(2) {
        assert!(pair[0].ended <= pair[1].began, "{pair:?}");
    }
    proxy.be("hang up");
    world.git(&["checkout", "-q", "."]);
    wait_until("the known id is back without any server", || {
        (world.env_id() == known).then_some(())
    });
    world.kill_daemon();
    world.set("TRACEMARK_LOG", "warn");
    assert_eq!(world.tracemark(&["active"]).ok().trim(), known);
}

/// Whether the experiment is still the same is asked beside the rest.
fn of_models(exchanges: &[Exchange]) -> Vec<Exchange> {
    let mut asked: Vec<_> = exchanges
        .iter()
        .filter(|exchange| !exchange.path.contains("/experiments/"))
        .cloned()
        .collect();
    asked.sort_by(|one, other| one.began.total_cmp(&other.began));
    asked
}

fn in_words(exchange: &Exchange) -> &'static str {
    let path = exchange.path.as_str();
    match exchange.method.as_str() {
        "POST" if path.ends_with("/logged-models/search") => "search",
        "POST" if path.ends_with("/logged-models") => "create",
        "PUT" if path.ends_with("/MLmodel") => "upload",
        "PATCH" if path.ends_with("/tags") => "tag",
        "PATCH" if path.contains("/logged-models/m-") => "finalize",
        _ => "other",
    }
}

#[test]
fn a_model_that_was_deleted_on_the_server_is_withdrawn_and_replaced() {
    let (world, _proxy) = behind_proxy("deleted_row");
    let first = world.env_id();
    rest("DELETE", &format!("logged-models/{first}"), "");
    world.kill_daemon();
    world.tracemark(&["active", "--no-wait"]);
    let second = world.new_env_id(&first);
    assert_eq!(world.tracemark(&["active"]).ok().trim(), second);
    assert_eq!(models_in("deleted_row").len(), 1);
}

#[test]
fn an_experiment_made_again_under_the_same_name_has_versions_of_its_own() {
    let (world, _proxy) = behind_proxy("made_again");
    let first = world.env_id();
    let old = experiment_id("made_again");
    let renamed = format!(r#"{{"experiment_id": "{old}", "new_name": "made_again_before"}}"#);
    rest("POST", "experiments/update", &renamed);
    world.kill_daemon();
    let second = world.tracemark(&["active"]).ok();
    assert_ne!(second.trim(), first);
    assert_ne!(experiment_id("made_again"), old);
    let there = models_in("made_again");
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["model_id"], second.trim());
}

#[test]
fn a_log_that_grows_all_the_time_makes_no_flood_and_is_named() {
    let world = World::with_commit();
    let store = sqlite_store(world.base());
    world.write(".tracemark.toml", "settle = '1ms'\n");
    world.commit("settings");
    world.tracemark(&["up", "--store", &store]).ok();
    let mut before = world.env_id();
    let flooded = (0..100).find(|n| {
        append(&world, "logs/run of today.log", &format!("line {n}\n"));
        let changed = wait_until("the version is made, or it is said why not", || {
            let id = world.env_id();
            let is_new = !id.is_empty() && id != before;
            let said = world.status()["reason"].as_str().map(str::to_owned);
            let is_flood = said.is_some_and(|said| said.contains("run of today.log"));
            (is_new || is_flood).then_some((id, is_flood))
        });
        before.clone_from(&changed.0);
        changed.1
    });
    assert_eq!(flooded, Some(60), "sixty an hour are made");
    let hint = world.status()["hint"].clone();
    assert_eq!(hint, r"echo '/logs/run\ of\ today.log' >> .gitignore");
    assert_eq!(
        rows(&world, Path::new(store.trim_start_matches("sqlite:///"))),
        61
    );
    world.tracemark(&["active"]).ok();
    let ignore = hint.as_str().unwrap();
    let typed = world.command("sh").args(["-c", ignore]).status().unwrap();
    assert!(typed.success());
    world.commit("ignore the log");
    let quiet = world.tracemark(&["active"]).ok();
    append(&world, "logs/run of today.log", "more\n");
    assert_eq!(world.tracemark(&["active"]).ok(), quiet);
    world.write("app.py", "print('unasked again')\n");
    world.new_env_id(quiet.trim());
}

/// In one write, as a logger does it; it begins in another place: there is no state between two lines.
fn append(world: &World, path: &str, text: &str) {
    use std::io::Write as _;
    let path = world.repo().join(path);
    if path.exists() {
        let log = std::fs::File::options().append(true).open(path);
        log.unwrap().write_all(text.as_bytes()).unwrap();
    } else {
        let new = world.base().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

fn rows(world: &World, file: &Path) -> usize {
    let script = "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from logged_models').fetchone()[0])";
    let output = world
        .command("python3")
        .args(["-c", script])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn an_app_started_while_the_store_is_away_writes_to_no_other_store() {
    let world = World::with_commit();
    let address = format!("http://127.0.0.1:{}", crate::python::free_port());
    world.tracemark(&["up", "--store", &address, "--experiment", "shop"]);
    let script = "echo $MLFLOW_TRACKING_URI $MLFLOW_EXPERIMENT_NAME [$MLFLOW_ACTIVE_MODEL_ID]";
    let said = world.tracemark(&["exec", "--", "sh", "-c", script]);
    assert_eq!(said.stdout.trim(), format!("{address} shop []"));
}
