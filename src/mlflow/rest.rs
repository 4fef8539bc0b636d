//! MLflow's tracking server over REST, and Databricks, which speaks the same. Never blocks, never repeats a create.

mod experiments;
mod model_file;
mod past;
mod race;
mod rows;
#[cfg(any(test, fuzzing))]
pub(super) use past::read as read_past;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::connection::{Access, AccessError};
use super::exchange::Answer;
use super::http::Http;
use super::wanted::{Claim, Row, Wanted, shared_tag};
use super::wire;
use super::{Experiment, Found, ModelFile, Standing, StoreError, StoreUri, tags};
use crate::ids::ModelId;
use race::{Race, by_server_clock};
use rows::{found, is_of, map, pairs, row, tag_pairs, version};

/// LoggedModels in one answer, as many as MLflow gives by itself (3.17.2, `SEARCH_LOGGED_MODEL_MAX_RESULTS_DEFAULT`).
const PAGE_SIZE: u32 = 100;
/// Answers that are asked for, one after the other: 2,000 rows of one name are a fault of their own.
const PAGE_LIMIT: usize = 20;
/// What MLflow's client sends in one request (3.17.2, `_MLFLOW_CREATE_LOGGED_MODEL_PARAMS_BATCH_SIZE`).
const PARAMS_PER_REQUEST: usize = 100;
/// How long after the request to create it a lost row may be deleted. Well below [`super::patience::UNDECIDED_PATIENCE`], after which
/// others hand its id out.
const DELETE_WITHIN: Duration = Duration::from_secs(5);
/// How often, and for how long, the removal of a lost row is tried: as long as the winner may be waited for
/// ([`super::patience::UNDECIDED_PATIENCE`]), and no more often than a server in trouble should bear.
const RETIRE_TRIES: u32 = 8;
const RETIRE_PATIENCE: Duration = Duration::from_secs(10);

const MODELS: &[&str] = &["api", "2.0", "mlflow", "logged-models"];
const EXPERIMENTS: &[&str] = &["api", "2.0", "mlflow", "experiments"];
const TRACES: &[&str] = &["api", "3.0", "mlflow", "traces"];
const SERVER_INFO: &[&str] = &["api", "3.0", "mlflow", "server-info"];
const ARTIFACTS: &[&str] = &["api", "2.0", "mlflow-artifacts", "artifacts"];

#[derive(Debug, Clone)]
pub(super) struct Rest {
    http: Http,
    is_databricks: bool,
    workspace: Option<String>,
    /// Set once the server was found to have workspaces.
    has_workspaces: Arc<OnceCell<()>>,
}

impl Rest {
    /// Returns how many requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.http.sent()
    }

    pub(super) fn clock_skew(&self) -> Option<i64> {
        self.http.skew()
    }

    /// Returns the store at the server or workspace that `uri` names. Nothing is asked yet.
    pub(super) fn open(uri: &StoreUri, access: &Access) -> Result<Option<Self>, AccessError> {
        let (http, is_databricks) = match uri {
            StoreUri::Rest(base) => (Http::to_server(base.clone(), access)?, false),
            StoreUri::Databricks { profile } => {
                (Http::to_databricks(profile.as_deref(), access)?, true)
            }
            StoreUri::Sqlite(_) => return Ok(None),
        };
        Ok(Some(Self {
            http,
            is_databricks,
            workspace: access
                .connection
                .workspace
                .clone()
                .filter(|_| !is_databricks),
            has_workspaces: Arc::default(),
        }))
    }

    /// Returns the text that tells this store from every other: address, and workspace where there is one.
    pub(super) fn identity(&self) -> String {
        let base = self.http.base().as_str().trim_end_matches('/');
        match &self.workspace {
            Some(workspace) => format!("{base} workspace {workspace}"),
            None => base.to_owned(),
        }
    }

    fn request(&self, method: Method, parts: &[&[&str]]) -> RequestBuilder {
        self.http.request(method, parts)
    }

    async fn call<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, StoreError> {
        self.http.call(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, StoreError> {
        self.http.send(request).await
    }

    /// Asks whether the server has LoggedModels, and says which server it is where it has none.
    pub(super) async fn probe(&self, experiment: &Experiment) -> Result<(), StoreError> {
        let body = wire::SearchModels {
            experiment_ids: [experiment.id.as_str()],
            filter: "",
            max_results: 1,
            order_by: [EARLIEST_FIRST],
            page_token: None,
        };
        let request = self.request(Method::POST, &[MODELS, &["search"]]);
        let found: Result<wire::FoundModels, _> = self.call(request.json(&body)).await;
        match found {
            Err(error) => Err(self.named(error).await),
            Ok(_) => Ok(()),
        }
    }

    /// Says which MLflow it is that has no LoggedModels. `/version` exists since MLflow 1.x and answers bare text; a
    /// server that has none is of another make (Azure Machine Learning, Databricks).
    async fn named(&self, error: StoreError) -> StoreError {
        if !matches!(error, StoreError::Unsuitable { .. }) {
            return error;
        }
        let answer = self.send(self.request(Method::GET, &[&["version"]])).await;
        let version = answer.ok().and_then(|answer| version(&answer.body));
        let reason = match version {
            Some(version) => format!(
                "the server is MLflow {version}, which has no LoggedModels; MLflow 3.1 and newer have them"
            ),
            None => {
                "the server has experiments but no LoggedModels: an MLflow before 3.0, or a service without them such as Azure Machine Learning".to_owned()
            }
        };
        StoreError::Unsuitable { reason }
    }

    /// Looks, creates where there is nothing, looks again, and once more after a while where other machines race.
    ///
    /// A row that another program of ours made and has not decided on is waited for: until it is READY its maker may
    /// delete it in favour of an earlier one. Own rows that lost are removed at once.
    pub(super) async fn find_or_create(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
    ) -> Result<Found, StoreError> {
        let mut race = Race::new(wanted.look_twice);
        loop {
            let asked = Instant::now();
            let Some(winner) = self.look(experiment, wanted, &mut race).await? else {
                race.own = Some(self.create(experiment, wanted).await?);
                race.created_at = asked;
                race.slowest = race.slowest.max(asked.elapsed());
                continue;
            };
            race.slowest = race.slowest.max(asked.elapsed());
            if let Some(loser) = race.own.take_if(|own| own.id != winner.id) {
                self.retire(experiment, &loser.id, &winner.id, Some(race.created_at))
                    .await;
                race.lost.insert(loser.id);
            }
            if let Some(pause) = race.pause_before(&winner) {
                tokio::time::sleep(pause).await;
                continue;
            }
            for left in race.left_behind.iter().filter(|left| **left != winner.id) {
                self.retire(experiment, left, &winner.id, None).await;
            }
            return Ok(found(winner, wanted, race.own.is_some()));
        }
    }

    /// Says how a row stands, tags later duplicates of it, and itself where an earlier one stands for the version.
    pub(super) async fn review(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
        id: &ModelId,
    ) -> Result<Standing, StoreError> {
        let Rows { mut rows, seen_ms } = self.search(experiment, &wanted.name).await?;
        if rows.iter().all(|row| row.id != *id) {
            match self.get_model(id).await {
                Ok(model) if is_of(&model, experiment, &wanted.name) => rows.push(row(model)?),
                Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(Standing::Gone),
                Err(error) => return Err(error),
            }
        }
        rows.retain(|row| wanted.claim(row) == Claim::Ours);
        let Some((winner, _)) = wanted.choose(&rows, &BTreeSet::new()) else {
            return Ok(Standing::Gone);
        };
        for duplicate in wanted.duplicates(&rows, winner, seen_ms) {
            self.tag_duplicate(&duplicate.id, &winner.id).await?;
        }
        if rows.iter().all(|row| row.id != *id) {
            return Ok(Standing::Gone);
        }
        let is_winner = winner.id == *id;
        let found = found(winner.clone(), wanted, false);
        Ok(if is_winner {
            Standing::Stands(found)
        } else {
            Standing::Later(found)
        })
    }

    /// Returns the row that stands for the version now, `own` among the candidates even where the search does not
    /// show it yet. A row without the key is tagged, and taken only when it then carries the key.
    async fn look(
        &self,
        experiment: &Experiment,
        wanted: &Wanted,
        race: &mut Race,
    ) -> Result<Option<Row>, StoreError> {
        let Rows { mut rows, seen_ms } = self.search(experiment, &wanted.name).await?;
        race.seen_ms = seen_ms;
        race.recognise(&rows, wanted);
        let own = race.own.as_ref();
        if let Some(own) = own.filter(|own| rows.iter().all(|row| row.id != own.id)) {
            rows.push(own.clone());
        }
        let mut refused = race.lost.clone();
        let wanted = &by_server_clock(wanted, seen_ms);
        loop {
            match wanted.choose(&rows, &refused) {
                None => return Ok(None),
                Some((row, Claim::Ours)) => return Ok(Some(row.clone())),
                Some((row, _)) => match self.adopt(row, wanted).await? {
                    Some(adopted) => return Ok(Some(adopted)),
                    None => refused.insert(row.id.clone()),
                },
            };
        }
    }

    async fn adopt(&self, row: &Row, wanted: &Wanted) -> Result<Option<Row>, StoreError> {
        let tagged = match self.set_tags(&row.id, &wanted.adoption_tags(row)).await {
            Ok(()) => self.get(&row.id).await,
            Err(error) => Err(error),
        };
        match tagged {
            Ok(again) => Ok(Some(again).filter(|again| wanted.claim(again) == Claim::Ours)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the row. Where the answer is lost the row may exist all the same: it is then recognised by its nonce.
    async fn create(&self, experiment: &Experiment, wanted: &Wanted) -> Result<Row, StoreError> {
        let body = wire::CreateModel {
            experiment_id: experiment.id.as_str(),
            name: &wanted.name,
            model_type: wanted.model_type.as_deref(),
            tags: tag_pairs(&wanted.tags),
            params: pairs(&wanted.params)
                .into_iter()
                .take(PARAMS_PER_REQUEST)
                .collect(),
        };
        let request = self.request(Method::POST, &[MODELS]).json(&body);
        let answer = self
            .call::<wire::ModelAnswer>(request)
            .await
            .and_then(|answer| {
                if is_of(&answer.model, experiment, &wanted.name) {
                    return row(answer.model);
                }
                Err(StoreError::InvalidAnswer(
                    "another LoggedModel than the one to be created".to_owned(),
                ))
            });
        match answer {
            Ok(row) => Ok(row),
            Err(StoreError::NotFound { .. }) => Err(StoreError::ExperimentNotFound {
                id: experiment.id.to_string(),
            }),
            Err(error) if error.is_transient() || matches!(error, StoreError::InvalidAnswer(_)) => {
                self.find_lost(experiment, wanted).await.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn find_lost(&self, experiment: &Experiment, wanted: &Wanted) -> Option<Row> {
        let nonce = wanted.tags.get(tags::NONCE)?;
        let found = self.search(experiment, &wanted.name).await.ok()?;
        let mut rows = found.rows.into_iter();
        rows.find(|row| row.tags.get(tags::NONCE) == Some(nonce))
    }

    /// Removes a row that was created a moment ago and lost. It was never published here; where others may have taken it
    /// meanwhile (always, where it is not known when it was created), where a trace refers to it, or where the server
    /// cannot tell, it is kept and tagged. What is left behind all the same is tagged by the next review.
    async fn retire(
        &self,
        experiment: &Experiment,
        loser: &ModelId,
        winner: &ModelId,
        created_at: Option<Instant>,
    ) {
        let began = Instant::now();
        let is_young = || created_at.is_some_and(|at| at.elapsed() < DELETE_WITHIN);
        let mut outcome = Ok(());
        for _ in 0..RETIRE_TRIES {
            outcome = self.try_retire(experiment, loser, winner, is_young).await;
            if outcome.is_ok() {
                return;
            }
            if began.elapsed() > RETIRE_PATIENCE {
                break;
            }
        }
        if let Err(error) = outcome {
            tracing::warn!(%loser, %winner, %error, "a duplicate LoggedModel was left behind.");
        }
    }

    /// A server that is in trouble is asked again while there is time, so that no more rows stay than must.
    async fn try_retire(
        &self,
        experiment: &Experiment,
        loser: &ModelId,
        winner: &ModelId,
        is_young: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        if is_young() {
            match self.has_traces(experiment, loser).await {
                Ok(false) if is_young() => return self.delete(loser).await,
                Err(error) if error.is_transient() && is_young() => return Err(error),
                _ => {}
            }
        }
        self.tag_duplicate(loser, winner).await
    }

    async fn tag_duplicate(&self, loser: &ModelId, winner: &ModelId) -> Result<(), StoreError> {
        let tag = BTreeMap::from([(tags::DUPLICATE_OF.to_owned(), winner.to_string())]);
        self.set_tags(loser, &tag).await
    }

    /// MLflow 3.17.2's own client searches `request_metadata.`; the route is absent before 3.4.
    async fn has_traces(&self, experiment: &Experiment, id: &ModelId) -> Result<bool, StoreError> {
        let body = wire::SearchTraces {
            locations: [wire::TraceLocation {
                kind: "MLFLOW_EXPERIMENT",
                mlflow_experiment: wire::TraceExperiment {
                    experiment_id: experiment.id.as_str(),
                },
            }],
            filter: &format!("request_metadata.`mlflow.modelId` = '{id}'"),
            max_results: 1,
        };
        let request = self
            .request(Method::POST, &[TRACES, &["search"]])
            .json(&body);
        let found: wire::FoundTraces = self.call(request).await?;
        Ok(!found.traces.is_empty() || found.next().is_some())
    }

    async fn delete(&self, id: &ModelId) -> Result<(), StoreError> {
        self.send(self.request(Method::DELETE, &[MODELS, &[id.as_str()]]))
            .await
            .map(drop)
    }

    /// Returns the rows of that name, the earliest first, so that rows made meanwhile do not shift the pages.
    async fn search(&self, experiment: &Experiment, name: &str) -> Result<Rows, StoreError> {
        let filter = format!("name = '{name}'");
        let mut token: Option<String> = None;
        let mut rows = Vec::new();
        for _ in 0..PAGE_LIMIT {
            let body = wire::SearchModels {
                experiment_ids: [experiment.id.as_str()],
                filter: &filter,
                max_results: PAGE_SIZE,
                order_by: [EARLIEST_FIRST],
                page_token: token.as_deref(),
            };
            let request = self
                .request(Method::POST, &[MODELS, &["search"]])
                .json(&body);
            let answer = self.http.call_dated::<wire::FoundModels>(request).await;
            let (page, date) = match answer {
                Ok(answer) => answer,
                Err(error) => return Err(self.named(error).await),
            };
            for model in page.models {
                // A database may compare names without regard to case; and a server may misunderstand.
                if is_of(&model, experiment, name) {
                    rows.push(row(model)?);
                }
            }
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                let seen_ms = date.map(crate::unix_time::ms);
                return Ok(Rows { rows, seen_ms });
            }
        }
        Err(StoreError::InvalidAnswer(format!(
            "more than {PAGE_LIMIT} pages of LoggedModels with one name"
        )))
    }

    async fn get(&self, id: &ModelId) -> Result<Row, StoreError> {
        self.get_model(id).await.and_then(row)
    }

    async fn get_model(&self, id: &ModelId) -> Result<wire::Model, StoreError> {
        let answer: wire::ModelAnswer = self
            .call(self.request(Method::GET, &[MODELS, &[id.as_str()]]))
            .await?;
        if answer.model.info.model_id != id.as_str() {
            return Err(StoreError::InvalidAnswer(format!(
                "asked for LoggedModel {id}, got another"
            )));
        }
        Ok(answer.model)
    }

    pub(super) async fn set_tags(
        &self,
        id: &ModelId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let request = self.request(Method::PATCH, &[MODELS, &[id.as_str(), "tags"]]);
        self.send(request.json(&wire::SetTags {
            tags: tag_pairs(tags),
        }))
        .await
        .map(drop)
    }

    /// READY comes last: a row that was left half-way stays PENDING, so that the next call finishes it.
    pub(super) async fn finish(&self, found: &Found) -> Result<ModelFile, StoreError> {
        self.log_params(&found.model_id, &found.missing_params)
            .await?;
        if found.unmarked {
            self.set_tags(&found.model_id, &shared_tag()).await?;
        }
        if !found.finalize {
            return Ok(ModelFile::Skipped);
        }
        let file = self.write_model_file(found).await;
        let body = wire::SetStatus {
            model_id: found.model_id.as_str(),
            status: "LOGGED_MODEL_READY",
        };
        let request = self.request(Method::PATCH, &[MODELS, &[found.model_id.as_str()]]);
        self.send(request.json(&body)).await?;
        Ok(file)
    }

    /// A param that exists is refused, with its whole batch, even with the same value (observed with MLflow 3.17.2):
    /// on a refusal the row is read and what is still missing is sent.
    async fn log_params(
        &self,
        id: &ModelId,
        params: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        match self.send_params(id, params).await {
            Err(StoreError::Rejected { .. }) => {
                let present = self.get(id).await?.params;
                let missing = params.iter().filter(|(key, _)| !present.contains_key(*key));
                self.send_params(
                    id,
                    &missing
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect(),
                )
                .await
            }
            sent => sent,
        }
    }

    async fn send_params(
        &self,
        id: &ModelId,
        params: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        for batch in pairs(params).chunks(PARAMS_PER_REQUEST) {
            let body = wire::LogParams {
                model_id: id.as_str(),
                params: batch.to_vec(),
            };
            let request = self
                .request(Method::POST, &[MODELS, &[id.as_str(), "params"]])
                .json(&body);
            self.send(request).await?;
        }
        Ok(())
    }
}

/// What a search found.
struct Rows {
    rows: Vec<Row>,
    /// When, by the server's clock, which also gives the rows their times.
    seen_ms: Option<i64>,
}

const EARLIEST_FIRST: wire::OrderBy<'static> = wire::OrderBy {
    field_name: "creation_time",
    ascending: true,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mlflow::exchange::BODY_LIMIT;
    use crate::mlflow::wanted::tests::{CONTENT, wanted};
    use crate::mlflow::{ExperimentChoice, Keys, Store};
    use std::path::Path;
    use std::sync::Mutex;
    use std::time::SystemTime;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    const ID: &str = "m-0123456789abcdef0123456789abcdef";

    /// A server that answers the n-th request with the n-th of `answers` and keeps what it was asked.
    struct Fake {
        store: Store,
        asked: Arc<Mutex<Vec<String>>>,
        _task: tokio::task::JoinSet<()>,
    }

    impl Fake {
        async fn answering<const N: usize>(answers: [String; N]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}/ml", listener.local_addr().unwrap());
            let asked = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&asked);
            let mut task = tokio::task::JoinSet::new();
            task.spawn(async move {
                for answer in answers {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let request = read_request(&mut stream).await;
                    kept.lock().unwrap().push(request);
                    let _sent = stream.write_all(answer.as_bytes()).await;
                }
            });
            let uri = StoreUri::parse(&base, Path::new("/")).unwrap();
            Self {
                store: Store::open(&uri, &Access::default()).unwrap(),
                asked,
                _task: task,
            }
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    async fn read_request(stream: &mut TcpStream) -> String {
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let start = head.len();
            reader.read_line(&mut head).await.unwrap();
            let line = head[start..].trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    fn http(status: &str, kind: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn json(body: &str) -> String {
        http("200 OK", "application/json", body)
    }

    fn model(id: &str, created_ms: i64, tags: &[(&str, &str)]) -> String {
        let tags: Vec<String> = tags
            .iter()
            .map(|(k, v)| format!(r#"{{"key":"{k}","value":"{v}"}}"#))
            .collect();
        format!(
            r#"{{"info":{{"model_id":"{id}","experiment_id":"1","name":"abc","creation_timestamp_ms":"{created_ms}","artifact_uri":"s3://b/1","status":"LOGGED_MODEL_PENDING","tags":[{}]}},"data":{{}}}}"#,
            tags.join(",")
        )
    }

    fn page(models: &[String]) -> String {
        json(&format!(r#"{{"models":[{}]}}"#, models.join(",")))
    }

    fn one(model: &str) -> String {
        json(&format!(r#"{{"model":{model}}}"#))
    }

    fn experiment() -> Experiment {
        Experiment {
            id: "1".parse().unwrap(),
            name: "x".into(),
            artifact_location: None,
        }
    }

    async fn ask<const N: usize>(answers: [String; N]) -> (Result<Found, StoreError>, Vec<String>) {
        let fake = Fake::answering(answers).await;
        let found = fake
            .store
            .find_or_create(&experiment(), &wanted("abc"))
            .await;
        (found, fake.asked())
    }

    async fn refused_with(answer: String) -> StoreError {
        let fake = Fake::answering([answer]).await;
        fake.store.model(&ID.parse().unwrap()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_new_version_takes_three_requests() {
        let ours = model(ID, 5, &[(tags::CONTENT, CONTENT), (tags::NONCE, "n1")]);
        let (found, asked) = ask([json("{}"), one(&ours), page(&[ours])]).await;
        let found = found.unwrap();
        assert!(found.created && found.needs_finish);
        assert_eq!(asked.len(), 3);
        assert!(
            asked[0].starts_with("POST /ml/api/2.0/mlflow/logged-models/search "),
            "{}",
            asked[0]
        );
        assert!(asked[1].contains(CONTENT) && asked[1].contains(r#""experiment_id":"1""#));
        assert!(
            asked
                .iter()
                .all(|request| !request.to_ascii_lowercase().contains("\norigin:"))
        );
    }

    #[tokio::test]
    async fn the_row_is_kept_where_the_search_does_not_show_it_yet() {
        let ours = model(ID, 5, &[(tags::CONTENT, CONTENT)]);
        let (found, _) = ask([json("{}"), one(&ours), json("{}")]).await;
        assert_eq!(found.unwrap().model_id.as_str(), ID);
    }

    #[tokio::test]
    async fn a_loser_deletes_its_own_row_when_no_trace_refers_to_it() {
        let ours = model("m-b", 5, &[(tags::CONTENT, CONTENT)]);
        let theirs = model("m-a", 5, &[(tags::CONTENT, CONTENT)]);
        let both = page(&[ours.clone(), theirs]);
        let (found, asked) = ask([json("{}"), one(&ours), both, json("{}"), json("{}")]).await;
        let found = found.unwrap();
        assert_eq!((found.model_id.as_str(), found.created), ("m-a", false));
        assert!(
            asked[3].starts_with("POST /ml/api/3.0/mlflow/traces/search ")
                && asked[3].contains("m-b")
        );
        assert!(asked[4].starts_with("DELETE /ml/api/2.0/mlflow/logged-models/m-b "));
    }

    #[tokio::test]
    async fn a_row_that_its_maker_has_not_decided_on_is_waited_for() {
        let tags = [(tags::CONTENT, CONTENT), (tags::NONCE, "theirs")];
        let second_of_may = 1_777_680_000_000;
        let dated = |answer: String, date: &str| {
            answer.replacen("\r\n", &format!("\r\ndate: {date}\r\n"), 1)
        };
        let then = "Sat, 02 May 2026 00:00:00 GMT";
        let young = model("m-a", second_of_may, &tags);
        let decided = young.replace("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY");
        // The clock of this machine says nothing: without the server's the row may be a young one.
        for first in [
            dated(page(std::slice::from_ref(&young)), then),
            page(std::slice::from_ref(&young)),
        ] {
            let (found, asked) = ask([first, page(std::slice::from_ref(&decided))]).await;
            assert_eq!(found.unwrap().model_id.as_str(), "m-a");
            assert_eq!(asked.len(), 2);
        }
        let given_up = model("m-a", second_of_may - 120_000, &tags);
        let (found, asked) = ask([dated(page(&[given_up]), then)]).await;
        assert_eq!((found.unwrap().model_id.as_str(), asked.len()), ("m-a", 1));
    }

    #[tokio::test]
    async fn a_row_without_a_key_is_older_or_younger_than_the_code_by_the_servers_clock() {
        let now = SystemTime::now();
        for (ahead, back) in [(600, false), (600, true), (0, false), (0, true)] {
            let theirs = now + Duration::from_secs(ahead);
            let made = crate::unix_time::ms(theirs) + if back { -300_000 } else { 1_000 };
            let date = httpdate::fmt_http_date(theirs);
            let page = page(&[model("m-a", made, &[])]);
            let dated = page.replacen("\r\n", &format!("\r\ndate: {date}\r\n"), 1);
            let fake = Fake::answering([dated, json("{}")]).await;
            let wanted = Wanted {
                first_seen_ms: crate::unix_time::ms(now),
                ..wanted("abc")
            };
            // What is asked next says it all; the answer to it is none.
            let _failed = fake.store.find_or_create(&experiment(), &wanted).await;
            let asked = fake.asked();
            assert_eq!(asked[1].starts_with("POST "), back, "{ahead} {}", asked[1]);
        }
    }

    #[tokio::test]
    async fn a_row_that_is_decided_beats_an_earlier_one_that_is_not() {
        let ours = model("m-b", 4, &[(tags::CONTENT, CONTENT), (tags::NONCE, "n1")]);
        let theirs = model("m-a", 5, &[(tags::CONTENT, CONTENT), (tags::NONCE, "n2")])
            .replace("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY");
        let both = page(&[ours.clone(), theirs]);
        let (found, asked) = ask([json("{}"), one(&ours), both, json("{}"), json("{}")]).await;
        assert_eq!(found.unwrap().model_id.as_str(), "m-a");
        assert!(asked[4].starts_with("DELETE /ml/api/2.0/mlflow/logged-models/m-b "));
    }

    #[tokio::test]
    async fn what_an_earlier_try_left_behind_is_tagged_and_never_deleted() {
        let left = model("m-b", 5, &[(tags::CONTENT, CONTENT), (tags::NONCE, "n1")]);
        let winner = model("m-a", 4, &[(tags::CONTENT, CONTENT), (tags::NONCE, "n2")])
            .replace("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY");
        let (found, asked) = ask([page(&[left, winner]), json("{}")]).await;
        assert_eq!(found.unwrap().model_id.as_str(), "m-a");
        assert!(
            asked[1].starts_with("PATCH /ml/api/2.0/mlflow/logged-models/m-b/tags ")
                && asked[1].contains("duplicate_of")
        );
    }

    #[tokio::test]
    async fn a_review_tags_later_rows_and_names_the_earlier_one() {
        let ready = |id: &str, at: i64| {
            model(id, at, &[(tags::CONTENT, CONTENT), (tags::NONCE, id)])
                .replace("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY")
        };
        for (id, later) in [("m-a", false), ("m-b", true)] {
            let both = page(&[ready("m-a", 4), ready("m-b", 5)]);
            let fake = Fake::answering([both, json("{}")]).await;
            let review = fake
                .store
                .review(&experiment(), &wanted("abc"), &id.parse().unwrap())
                .await
                .unwrap();
            let is_later =
                matches!(&review, Standing::Later(found) if found.model_id.as_str() == "m-a");
            let stands =
                matches!(&review, Standing::Stands(found) if found.model_id.as_str() == "m-a");
            assert_eq!((is_later, stands), (later, !later));
            assert!(fake.asked()[1].contains("logged-models/m-b/tags"));
        }
        let gone = http(
            "404 NOT FOUND",
            "application/json",
            r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"m"}"#,
        );
        let fake = Fake::answering([json("{}"), gone]).await;
        let id = "m-a".parse().unwrap();
        let review = fake.store.review(&experiment(), &wanted("abc"), &id).await;
        assert_eq!(review, Ok(Standing::Gone));
    }

    #[tokio::test]
    async fn a_server_in_trouble_is_asked_again_about_a_loser() {
        let ours = model("m-b", 5, &[(tags::CONTENT, CONTENT)]);
        let both = page(&[model("m-a", 4, &[(tags::CONTENT, CONTENT)]), ours.clone()]);
        let busy = http("503 Service Unavailable", "text/plain", "busy");
        let answers = [
            json("{}"),
            one(&ours),
            both,
            busy.clone(),
            json("{}"),
            busy,
            json("{}"),
            json("{}"),
        ];
        let (found, asked) = ask(answers).await;
        assert_eq!(found.unwrap().model_id.as_str(), "m-a");
        assert!(asked[3].contains("traces/search") && asked[4].contains("traces/search"));
        assert!(asked[5].starts_with("DELETE ") && asked[6].contains("traces/search"));
        assert!(asked[7].starts_with("DELETE ") && asked.len() == 8);
    }

    #[tokio::test]
    async fn a_loser_is_only_tagged_where_traces_cannot_be_searched_or_exist() {
        let html = http(
            "404 Not Found",
            "text/html",
            "<!doctype html><title>404</title>",
        );
        for answer in [html, json(r#"{"traces":[{"trace_id":"tr-1"}]}"#)] {
            let ours = model("m-b", 5, &[(tags::CONTENT, CONTENT)]);
            let both = page(&[model("m-a", 4, &[(tags::CONTENT, CONTENT)]), ours.clone()]);
            let (found, asked) = ask([json("{}"), one(&ours), both, answer, json("{}")]).await;
            assert_eq!(found.unwrap().model_id.as_str(), "m-a");
            assert!(
                asked[4].starts_with("PATCH /ml/api/2.0/mlflow/logged-models/m-b/tags ")
                    && asked[4].contains("duplicate_of")
            );
        }
    }

    #[tokio::test]
    async fn an_adopted_row_is_read_again_and_left_when_another_took_it() {
        let foreign = model("m-a", 5000, &[("mlflow.user", "bob")]);
        let tagged = model(
            "m-a",
            5000,
            &[("mlflow.user", "bob"), (tags::CONTENT, CONTENT)],
        );
        let (found, asked) = ask([
            page(std::slice::from_ref(&foreign)),
            json("{}"),
            one(&tagged),
        ])
        .await;
        assert_eq!(found.unwrap().model_id.as_str(), "m-a");
        assert!(
            asked[1].starts_with("PATCH ")
                && !asked[1].contains("mlflow.user")
                && !asked[1].contains(tags::NONCE)
        );
        let taken = model("m-a", 5000, &[(tags::CONTENT, "other")]);
        let ours = model("m-b", 6000, &[(tags::CONTENT, CONTENT)]);
        let both = page(&[taken.clone(), ours.clone()]);
        let (found, _) = ask([page(&[foreign]), json("{}"), one(&taken), one(&ours), both]).await;
        assert_eq!(found.unwrap().model_id.as_str(), "m-b");
    }

    #[tokio::test]
    async fn a_create_whose_answer_was_lost_is_recognised_and_never_repeated() {
        let ours = model(ID, 5, &[(tags::CONTENT, CONTENT), (tags::NONCE, "n1")]);
        let lost = || http("502 Bad Gateway", "text/html", "<html>");
        let (found, asked) = ask([
            json("{}"),
            lost(),
            page(std::slice::from_ref(&ours)),
            page(&[ours]),
        ])
        .await;
        let found = found.unwrap();
        assert!(found.created);
        assert_eq!(
            asked
                .iter()
                .filter(|request| request.contains("logged-models HTTP"))
                .count(),
            1
        );
        let (found, asked) = ask([json("{}"), lost(), json("{}")]).await;
        assert!(found.unwrap_err().is_transient());
        assert_eq!(asked.len(), 3);
    }

    #[tokio::test]
    async fn hostile_ids_are_refused() {
        for id in ["m-1$(touch x)", "m 1", "", "../../x"] {
            let (found, _) = ask([page(&[model(id, 5, &[(tags::CONTENT, CONTENT)])])]).await;
            assert!(matches!(found, Err(StoreError::InvalidAnswer(_))), "{id}");
        }
        let fake = Fake::answering([json(
            r#"{"experiment":{"experiment_id":"1;rm","name":"x","lifecycle_stage":"active"}}"#,
        )])
        .await;
        let answer = fake.store.experiment(&ExperimentChoice::Default).await;
        assert!(matches!(answer, Err(StoreError::InvalidAnswer(_))));
    }

    #[tokio::test]
    async fn rows_of_another_experiment_or_name_are_never_taken() {
        let tags = [(tags::CONTENT, CONTENT), (tags::NONCE, "n1")];
        let ours = model(ID, 5, &tags);
        for (true_word, lie) in [
            (r#""experiment_id":"1""#, r#""experiment_id":"2""#),
            (r#""name":"abc""#, r#""name":"abd""#),
        ] {
            let theirs = ours.replace(true_word, lie);
            let shown = page(std::slice::from_ref(&theirs));
            let (found, _) = ask([shown.clone(), one(&theirs), shown.clone()]).await;
            assert!(matches!(found, Err(StoreError::InvalidAnswer(_))), "{lie}");
            let fake = Fake::answering([json("{}"), one(&theirs)]).await;
            let id = ID.parse().unwrap();
            let review = fake.store.review(&experiment(), &wanted("abc"), &id).await;
            assert_eq!(review, Ok(Standing::Gone));
        }
        let fake = Fake::answering([json(
            r#"{"experiment":{"experiment_id":"7","name":"x","lifecycle_stage":"active"}}"#,
        )])
        .await;
        let answer = fake.store.experiment(&ExperimentChoice::Default).await;
        assert!(matches!(answer, Err(StoreError::InvalidAnswer(_))));
    }

    #[tokio::test]
    async fn pages_that_never_end_are_left() {
        let endless: [String; PAGE_LIMIT] =
            std::array::from_fn(|_| json(r#"{"next_page_token":"again"}"#));
        let (found, asked) = ask(endless).await;
        assert!(matches!(found, Err(StoreError::InvalidAnswer(_))));
        assert_eq!(asked.len(), PAGE_LIMIT);
    }

    #[tokio::test]
    async fn answers_that_are_no_mlflow_are_told_apart() {
        let html = refused_with(http(
            "404 NOT FOUND",
            "text/html",
            "<!doctype html><title>404</title>",
        ))
        .await;
        assert!(matches!(html, StoreError::Unsuitable { .. }), "{html}");
        let page = refused_with(http("200 OK", "text/html", "<html>hello")).await;
        assert!(matches!(page, StoreError::Unsuitable { .. }), "{page}");
        let host = refused_with(http(
            "403 Forbidden",
            "text/plain",
            "Invalid Host header - x\x1b[2J",
        ))
        .await;
        assert!(
            matches!(&host, StoreError::HostRefused { host } if host.starts_with("127.0.0.1:")),
            "{host}"
        );
        assert!(
            host.hint().contains("--allowed-hosts '127.0.0.1:"),
            "{}",
            host.hint()
        );
        let failed = refused_with(http(
            "500 x",
            "application/json",
            r#"{"error_code":"INTERNAL_ERROR","message":"m"}"#,
        ))
        .await;
        assert!(matches!(failed, StoreError::Server { status: 500, .. }) && failed.is_transient());
        let moved = "HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert_eq!(
            refused_with(moved.into()).await,
            StoreError::Redirected {
                target: "https://login.example/".into()
            }
        );
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\nconnection: close\r\n\r\n{\"model\"";
        assert!(matches!(
            refused_with(cut.into()).await,
            StoreError::Unreachable { .. }
        ));
    }

    #[tokio::test]
    async fn an_endless_body_is_cut() {
        let huge = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
            "x".repeat(BODY_LIMIT + 100_000)
        );
        assert!(matches!(
            refused_with(huge).await,
            StoreError::InvalidAnswer(_)
        ));
    }

    #[tokio::test]
    async fn a_deleted_model_does_not_exist_and_no_server_is_no_answer() {
        let gone = http(
            "404 NOT FOUND",
            "application/json",
            r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"m"}"#,
        );
        let fake = Fake::answering([gone]).await;
        assert_eq!(fake.store.model(&ID.parse().unwrap()).await, Ok(None));
        let nobody = StoreUri::parse("http://127.0.0.1:9", Path::new("/")).unwrap();
        let nobody = Store::open(&nobody, &Access::default()).unwrap();
        let error = nobody.model(&ID.parse().unwrap()).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Unreachable { url, .. } if url == "http://127.0.0.1:9"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_token_that_is_no_header_is_said_to_be_the_cause() {
        let uri = StoreUri::parse("http://127.0.0.1:9", Path::new("/")).unwrap();
        let token = |name: &str| (name == "MLFLOW_TRACKING_TOKEN").then(|| "a\nb".to_owned());
        let keys = Keys::new(token, Path::new("/nowhere"), "/nowhere".into());
        let access = Access {
            keys,
            ..Access::default()
        };
        let store = Store::open(&uri, &access).unwrap();
        assert_eq!(
            store.model(&ID.parse().unwrap()).await,
            Err(StoreError::UnusableCredentials)
        );
    }
}
