//! Callers that abort uploads over many connections, and note every reply.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use crate::PATIENCE;

/// How many connections there are.
const CONNECTIONS: usize = 24;

/// What became of a request, as its caller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The upload is aborted.
    Aborted,
    /// A problem: its status and code.
    Problem(u16, String),
    /// The connection broke.
    Broken,
    /// The caller did not wait for the reply.
    Left,
}

/// An upload: its vault and its ID.
pub type Upload = (String, String);

/// The callers.
pub struct Load {
    shared: Arc<Shared>,
    callers: JoinSet<()>,
}

struct Shared {
    /// Where the gateway is, while it runs.
    gateway: watch::Sender<Option<String>>,
    token: Mutex<String>,
    uploads: Mutex<Vec<Upload>>,
    notes: Mutex<Notes>,
    /// How many callers wait for a reply.
    waiting: AtomicUsize,
    /// Which share of the callers does not wait for the reply.
    impatient: f64,
}

/// What the callers noted.
#[derive(Default)]
pub struct Notes {
    /// The reply for each upload; each is aborted once.
    pub replies: HashMap<String, Reply>,
    /// The longest wait for a reply.
    pub longest: Duration,
}

impl Load {
    /// Starts the callers; they wait until there is a gateway and something to abort.
    pub fn start(token: String, impatient: f64) -> Self {
        let shared = Arc::new(Shared {
            gateway: watch::Sender::new(None),
            token: Mutex::new(token),
            uploads: Mutex::default(),
            notes: Mutex::default(),
            waiting: AtomicUsize::new(0),
            impatient,
        });
        let mut callers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            callers.spawn(call(shared.clone()));
        }
        Self { shared, callers }
    }

    /// Where the gateway is; `None` while it does not run.
    pub fn aim(&self, gateway: Option<&str>) {
        self.shared.gateway.send_replace(gateway.map(str::to_owned));
    }

    pub fn set_token(&self, token: String) {
        *self.shared.token.lock().unwrap() = token;
    }

    /// Gives the callers more to abort.
    pub fn supply(&self, mut uploads: Vec<Upload>) {
        self.shared.uploads.lock().unwrap().append(&mut uploads);
        // Those who found nothing look again.
        self.shared.gateway.send_modify(|_| {});
    }

    /// How many uploads nobody has taken yet.
    pub fn left(&self) -> usize {
        self.shared.uploads.lock().unwrap().len()
    }

    /// How many replies of this kind there were so far.
    pub fn count(&self, is_wanted: impl Fn(&Reply) -> bool) -> usize {
        self.shared.notes.lock().unwrap().replies.values().filter(|reply| is_wanted(reply)).count()
    }

    pub fn aborted(&self) -> usize {
        self.count(|reply| *reply == Reply::Aborted)
    }

    pub fn refused(&self) -> usize {
        self.count(|reply| matches!(reply, Reply::Problem(503, _)))
    }

    /// Whether no caller waits for a reply.
    pub fn is_idle(&self) -> bool {
        self.shared.waiting.load(SeqCst) == 0
    }

    /// The uploads that were tried.
    pub fn attempted(&self) -> Vec<String> {
        self.shared.notes.lock().unwrap().replies.keys().cloned().collect()
    }

    /// Lets the callers finish what they have begun, takes the rest from them, and gives
    /// what they noted.
    pub async fn finish(mut self) -> Notes {
        self.shared.uploads.lock().unwrap().clear();
        // Without a token they end.
        self.shared.token.lock().unwrap().clear();
        self.shared.gateway.send_modify(|_| {});
        let ended = tokio::time::timeout(PATIENCE, async {
            while let Some(ended) = self.callers.join_next().await {
                ended.unwrap();
            }
        });
        assert!(ended.await.is_ok(), "a caller still waits for its reply");
        std::mem::take(&mut self.shared.notes.lock().unwrap())
    }
}

impl Shared {
    fn note(&self, upload: String, reply: Reply, waited: Duration) {
        let mut notes = self.notes.lock().unwrap();
        notes.longest = notes.longest.max(waited);
        notes.replies.insert(upload, reply);
    }
}

/// One caller, on one connection at a time. An empty token ends it.
async fn call(shared: Arc<Shared>) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    let mut gateway = shared.gateway.subscribe();
    loop {
        shared.waiting.fetch_add(1, SeqCst);
        let target = gateway.borrow_and_update().clone();
        let token = shared.token.lock().unwrap().clone();
        let is_wanted = target.is_some() && !token.is_empty();
        let upload = is_wanted.then(|| shared.uploads.lock().unwrap().pop()).flatten();
        let (Some(target), Some((vault, id))) = (target, upload) else {
            shared.waiting.fetch_sub(1, SeqCst);
            if token.is_empty() || gateway.changed().await.is_err() {
                return;
            }
            continue;
        };
        let url = format!("{target}{}/{id}", crate::support::uploads(&vault));
        let begun = Instant::now();
        let request = client.delete(url).bearer_auth(token).send();
        let patience = if rand::random_bool(shared.impatient) {
            Duration::from_micros(rand::random_range(0..5000))
        } else {
            PATIENCE / 2
        };
        let reply = match tokio::time::timeout(patience, request).await {
            Err(_) if patience == PATIENCE / 2 => panic!("no reply within {patience:?}"),
            Err(_) => Reply::Left,
            Ok(Err(_)) => Reply::Broken,
            Ok(Ok(response)) => read(response).await,
        };
        let is_to_wait = matches!(reply, Reply::Broken | Reply::Problem(503, _));
        shared.note(id, reply, begun.elapsed());
        shared.waiting.fetch_sub(1, SeqCst);
        if is_to_wait {
            // As callers do; else all uploads would be thrown at a closed port.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn read(response: reqwest::Response) -> Reply {
    let status = response.status().as_u16();
    if status == 204 {
        return Reply::Aborted;
    }
    match response.json::<Value>().await {
        Ok(problem) => {
            Reply::Problem(status, problem["code"].as_str().unwrap_or_default().to_owned())
        }
        Err(_) => Reply::Broken,
    }
}
