//! Do many machines that meet the same commit at once end on one LoggedModel?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::proxy::{Exchange, Proxy};
use crate::python::{look, run_script, server, sqlite_store, support};
use crate::world::World;

const MACHINES: usize = 8;
const ROUNDS: u32 = 3;

/// Machines with a home and a clone each, tracked in one experiment.
struct Fleet {
    origin: World,
    machines: Vec<World>,
    /// Where the rows are looked at, which need not be how the machines reach it.
    store: String,
    experiment: &'static str,
    published: BTreeSet<String>,
}

impl Fleet {
    fn new(store: &str, address: &str, experiment: &'static str) -> Self {
        let origin = World::with_commit();
        let up = ["up", "--store", address, "--experiment", experiment];
        let join = |_| {
            let machine = World::without_repository();
            let (from, to) = (origin.repo(), machine.repo());
            machine.git(&["clone", "-q", from.to_str().unwrap(), to.to_str().unwrap()]);
            machine.tracemark(&up);
            machine
        };
        let machines = (0..MACHINES).map(join).collect();
        Self {
            origin,
            machines,
            store: store.to_owned(),
            experiment,
            published: BTreeSet::new(),
        }
    }

    /// A new commit meets all machines at once, each with a daemon that starts at that moment.
    fn round(&mut self, n: u32) -> String {
        self.origin.write("app.py", format!("print({n})\n"));
        self.origin.commit("next");
        let head = self.origin.git(&["rev-parse", "HEAD"]);
        for machine in &self.machines {
            machine.kill_daemon();
            machine.git(&["fetch", "-q"]);
        }
        let meet = |machine: &World| {
            machine.git(&["reset", "-q", "--hard", "origin/main"]);
            let said = machine.tracemark(&["active", "--timeout", "120"]).ok();
            said.trim().to_owned()
        };
        let ids: BTreeSet<String> = std::thread::scope(|scope| {
            let started: Vec<_> = self
                .machines
                .iter()
                .map(|machine| scope.spawn(move || meet(machine)))
                .collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        });
        self.published.extend(ids.iter().cloned());
        assert_eq!(ids.len(), 1, "{ids:?} {:?}", self.rows(&head));
        ids.into_iter().next().unwrap()
    }

    fn rows(&self, name: &str) -> Vec<Value> {
        let found = look(&self.store, &["experiment", self.experiment]);
        let id = found["experiment_id"].as_str().unwrap();
        let models = look(&self.store, &["models", id]);
        let models = models.as_array().unwrap().iter();
        models
            .filter(|model| model["name"] == name)
            .cloned()
            .collect()
    }

    /// Plays the rounds; returns how many duplicates are left, all of them tagged.
    fn play(&mut self) -> usize {
        let mut duplicates = 0;
        for n in 0..ROUNDS {
            let id = self.round(n);
            let head = self.origin.git(&["rev-parse", "HEAD"]);
            let rows = self.rows(&head);
            let (tagged, live): (Vec<_>, Vec<_>) = rows
                .into_iter()
                .partition(|row| row["tags"].get("tracemark.duplicate_of").is_some());
            assert_eq!(live.len(), 1, "{live:?}");
            assert_eq!(live[0]["model_id"], id.as_str());
            duplicates += tagged.len();
        }
        for id in &self.published {
            look(&self.store, &["model", id]);
        }
        duplicates
    }

    /// An app that names the model itself gets the same one.
    fn check_by_name(&self) {
        let mut env = self.origin.vars().clone();
        let head = self.origin.git(&["rev-parse", "HEAD"]);
        env.insert("MLFLOW_TRACKING_URI".into(), self.store.clone());
        env.insert("MLFLOW_EXPERIMENT_NAME".into(), self.experiment.into());
        env.insert("NAME".into(), head.clone());
        let said = run_script(&support("by_name.py"), &env, self.origin.base());
        let live = self.rows(&head);
        assert_eq!(said["model_id"], live[0]["model_id"]);
    }
}

#[test]
fn many_at_once_make_one_row_on_one_sqlite_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite_store(dir.path());
    let mut fleet = Fleet::new(&store, &store, "once_on_sqlite");
    assert_eq!(fleet.play(), 0);
    fleet.check_by_name();
}

#[test]
fn many_at_once_make_one_row_on_one_server() {
    let mut fleet = Fleet::new(server(), server(), "once_on_server");
    assert_eq!(fleet.play(), 0);
    fleet.check_by_name();
}

#[test]
fn many_at_once_make_one_row_behind_a_proxy_that_loses_answers() {
    let dir = tempfile::tempdir().unwrap();
    let mut proxy = Proxy::start(dir.path());
    let mut fleet = Fleet::new(server(), proxy.address(), "once_behind_proxy");
    proxy.be("faulty");
    fleet.play();
    let lost = |exchange: &Exchange| exchange.status == 0;
    assert!(proxy.exchanges().iter().any(lost), "no answer was lost");
}
