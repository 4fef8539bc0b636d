//! Who is connected, and who of them asks nothing: those make room for others. Knows nothing of what they ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::locks::lock;

/// How often it is looked whether one asks nothing by now, while nobody else can be let in.
const PAUSE: Duration = Duration::from_millis(20);

/// Every connection.
#[derive(Clone)]
pub(super) struct Clients {
    permits: Arc<Semaphore>,
    /// A mutex because each connection is a task of its own; held for one look.
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    next: u64,
    clients: BTreeMap<u64, Connected>,
}

struct Connected {
    /// How to end it, once it is served.
    end: Option<AbortHandle>,
    /// Requests that are not answered whole.
    requests: usize,
    idle_since: Instant,
}

impl Clients {
    /// Lets so many be served at a time.
    pub(super) fn at_most(count: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count)),
            known: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Waits for room for one more: where there is none, whoever has asked nothing for longest goes.
    pub(super) async fn room(&self) -> Client {
        loop {
            if self.permits.available_permits() == 0 {
                self.end_the_longest_idle();
            }
            let permit = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(PAUSE, permit).await {
                return self.enter(permit);
            }
        }
    }

    fn enter(&self, permit: OwnedSemaphorePermit) -> Client {
        let mut known = self.known();
        let id = known.next;
        known.next += 1;
        known.clients.insert(
            id,
            Connected {
                end: None,
                requests: 0,
                idle_since: Instant::now(),
            },
        );
        Client {
            id,
            clients: self.clone(),
            _permit: permit,
        }
    }

    fn end_the_longest_idle(&self) {
        let known = self.known();
        let idle = known.clients.values().filter(|one| one.requests == 0);
        let served = idle.filter_map(|one| Some((one.idle_since, one.end.as_ref()?)));
        if let Some((_, end)) = served.min_by_key(|(since, _)| *since) {
            end.abort();
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Connected)) {
        if let Some(client) = self.known().clients.get_mut(&id) {
            change(client);
        }
    }
}

/// One connection, until it is dropped.
pub(super) struct Client {
    id: u64,
    clients: Clients,
    _permit: OwnedSemaphorePermit,
}

impl Client {
    /// Says how to end it, should others need the room.
    pub(super) fn served_by(&self) -> impl FnOnce(AbortHandle) + use<> {
        let (id, clients) = (self.id, self.clients.clone());
        move |task| clients.change(id, |client| client.end = Some(task))
    }

    /// It asks something until what is returned is dropped.
    pub(super) fn asks(&self) -> Asking {
        self.clients.change(self.id, |client| client.requests += 1);
        Asking {
            id: self.id,
            clients: self.clients.clone(),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.known().clients.remove(&self.id);
    }
}

/// A request that is not answered whole.
pub(super) struct Asking {
    id: u64,
    clients: Clients,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.clients.change(self.id, |client| {
            client.requests = client.requests.saturating_sub(1);
            client.idle_since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asked_nothing_for_longest_makes_room_and_who_asks_stays() {
        let clients = Clients::at_most(3);
        let mut tasks = tokio::task::JoinSet::new();
        let mut served = Vec::new();
        for _ in 0..3 {
            let client = clients.room().await;
            let (told, asking) = (client.served_by(), client.asks());
            let task = tasks.spawn(async move {
                let _client = client;
                std::future::pending::<()>().await;
            });
            told(task.clone());
            served.push((asking, task));
        }
        let (_asks, stays) = served.remove(0);
        let mut let_in = Vec::new();
        for (asking, task) in served {
            drop(asking);
            let_in.push(clients.room().await);
            assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
            assert!(task.is_finished() && !stays.is_finished());
        }
    }
}
