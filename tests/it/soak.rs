//! Is every id right that anybody ever got, while a person works, the store goes away and the daemon is killed?

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::freshness::{SetAtEnd, WAYS};
use crate::identity::oracle;
use crate::proxy::Proxy;
use crate::python::{look, server};
use crate::world::{World, wait_until};

const EXPERIMENT: &str = "soak";

/// How long it goes on; `TRACEMARK_SOAK_SECONDS` in the host suite.
fn duration() -> Duration {
    let given = std::env::var("TRACEMARK_SOAK_SECONDS").ok();
    Duration::from_secs(given.map_or(30, |text| text.parse().unwrap()))
}

/// The code on disk, from one moment to another.
struct Period {
    from: Instant,
    until: Instant,
    content: String,
}

/// What was handed out, to a question that began and ended then.
struct Answer {
    asked: Instant,
    answered: Instant,
    id: String,
    content: String,
    fresh: bool,
}

/// What a person did, and when nothing moved.
#[derive(Default)]
struct Work {
    steps: usize,
    kills: usize,
    outages: usize,
    periods: Vec<Period>,
}

fn content(world: &World) -> String {
    oracle::tree(&|program| world.command(program)).unwrap().id
}

/// Works until the time is over and everything was met, and notes what was on disk whenever it rested.
fn work(world: &World, proxy: &mut Proxy, answers: &Mutex<Vec<Answer>>) -> Work {
    let (began, mut done) = (Instant::now(), Work::default());
    while began.elapsed() < duration() || done.kills == 0 || done.outages == 0 {
        let n = done.steps;
        // Neither evenly nor at random: every way follows every other.
        WAYS[(n * 5 + n / WAYS.len()) % WAYS.len()](world, n);
        let from = Instant::now();
        let content = content(world);
        match n % 23 {
            7 => {
                world.kill_daemon();
                done.kills += 1;
            }
            11 => proxy.be("answer 503"),
            17 => {
                proxy.be("pass");
                done.outages += 1;
            }
            _ => {}
        }
        // Sometimes for longer than it takes until a model is made unasked.
        let rest = Duration::from_millis(if n % 4 == 0 { 900 } else { 60 });
        std::thread::sleep(rest);
        if n % 8 == 4 {
            wait_until("a question begins and ends while nothing moves", || {
                let answers = answers.lock().unwrap();
                let last = answers.last().is_some_and(|last| last.asked >= from);
                last.then_some(())
            });
        }
        let until = Instant::now();
        done.periods.push(Period {
            from,
            until,
            content,
        });
        done.steps += 1;
    }
    proxy.be("pass");
    done
}

/// Asks again and again, and notes every id that is handed out.
fn ask(world: &World, over: &AtomicBool, answers: &Mutex<Vec<Answer>>) {
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let said = world.tracemark(&["active", "--json", "--timeout", "2"]);
        let answered = Instant::now();
        let Ok(said) = serde_json::from_str::<Value>(&said.stdout) else {
            continue;
        };
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        answers.lock().unwrap().push(Answer {
            asked,
            answered,
            id: text("model_id"),
            content: text("content"),
            fresh: said["fresh"] == true,
        });
    }
}

/// Reads the env file again and again, as an app would at its start, and notes which id it had for which content.
fn read(world: &World, over: &AtomicBool, seen: &Mutex<BTreeSet<(String, String)>>) {
    while !over.load(Ordering::Relaxed) {
        let text = std::fs::read_to_string(world.repo().join(".git/tracemark/env"));
        let text = text.unwrap_or_default();
        let value = |name: &str| {
            let mut lines = text.lines();
            let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        let id = value("MLFLOW_ACTIVE_MODEL_ID");
        if !id.is_empty() {
            let mut seen = seen.lock().unwrap();
            seen.insert((id, value("TRACEMARK_CONTENT")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the content that each LoggedModel of the experiment stands for.
fn models() -> BTreeMap<String, Value> {
    let experiment = look(server(), &["experiment", EXPERIMENT]);
    let id = experiment["experiment_id"].as_str().unwrap();
    let models = look(server(), &["models", id]);
    let models = models.as_array().unwrap().iter();
    models
        .map(|model| {
            (
                model["model_id"].as_str().unwrap().to_owned(),
                model.clone(),
            )
        })
        .collect()
}

fn content_of(model: &Value) -> &Value {
    &model["tags"]["tracemark.content"]
}

fn stands_for(models: &BTreeMap<String, Value>, id: &str, content: &str) {
    let found = models.get(id).map(content_of);
    assert!(
        id.is_empty() || found == Some(&Value::from(content)),
        "{id} was handed out for {content}, and stands for {found:?}"
    );
}

/// Returns how many answers were given while nothing moved, each for what lay on the disk.
fn compared_with_the_disk(answers: &[Answer], periods: &[Period]) -> usize {
    let mut strict = 0;
    for answer in answers.iter().filter(|answer| answer.fresh) {
        let rested =
            |period: &&Period| period.from <= answer.asked && answer.answered <= period.until;
        if let Some(period) = periods.iter().find(rested) {
            assert_eq!(answer.content, period.content);
            strict += 1;
        }
    }
    strict
}

#[test]
fn every_id_that_was_ever_handed_out_belongs_to_the_code_of_its_moment() {
    let world = World::with_commit();
    let mut proxy = Proxy::start(world.base());
    world.write(".gitignore", "*.log\n");
    world.commit("ignore");
    let up = ["up", "--store", proxy.address(), "--experiment", EXPERIMENT];
    world.tracemark(&up).ok();
    let before_up = world.git(&["rev-parse", "HEAD^"]);
    let (over, answers, seen) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
    let done = std::thread::scope(|scope| {
        // Also where an assertion fails, or the others would never end.
        let _end = SetAtEnd(&over);
        scope.spawn(|| ask(&world, &over, &answers));
        scope.spawn(|| read(&world, &over, &seen));
        work(&world, &mut proxy, &answers)
    });
    wait_until("nothing is owed any more", || {
        world.tracemark(&["active", "--timeout", "5"]);
        (world.status()["owed"] == 0).then_some(())
    });
    let (answers, seen) = (answers.into_inner().unwrap(), seen.into_inner().unwrap());
    let models = models();
    let given = answers.iter().map(|answer| (&answer.id, &answer.content));
    for (id, content) in given.chain(seen.iter().map(|(id, content)| (id, content))) {
        stands_for(&models, id, content);
    }
    let strict = compared_with_the_disk(&answers, &done.periods);
    let read: BTreeSet<_> = seen.iter().map(|(_, content)| content).collect();
    let name = |model: &Value| model["name"].to_string();
    let versions: BTreeSet<_> = models
        .values()
        .map(|model| (name(model), content_of(model).to_string()))
        .collect();
    assert_eq!(versions.len(), models.len(), "two models of one version");
    let commits = world.git(&["rev-list", "--branches", "--not", &before_up]);
    for head in commits.lines() {
        let is_made = models.values().any(|model| model["name"] == head);
        assert!(is_made, "commit {head} has no model");
    }
    let figures = format!(
        "soak: {} steps, {} kills, {} outages; {} answers, {strict} of them compared with the disk; {} models; {} contents read from the env file",
        done.steps,
        done.kills,
        done.outages,
        answers.len(),
        models.len(),
        read.len()
    );
    assert!(
        strict > 0 && !read.is_empty() && done.kills > 0 && done.outages > 0,
        "{figures}"
    );
    writeln!(std::io::stderr(), "{figures}").unwrap();
}
