//! An issuer's keys in memory. One task reads them: at its own pace, and at once
//! when a token names a key that is not there. Requests never read; they wait for
//! the task, so there is one reading however many ask.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    jwks::{self, Key},
    jwks_source::{JwksSource, ReadError},
};
use crate::{config, files, reload::Followed};

/// At most one reading in this time for unknown or replaced keys, however many tokens
/// name some.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(5);
/// The least time between readings that the issuer can ask for.
const MIN_REFRESH: Duration = Duration::from_secs(30);
/// How soon a failed reading is tried again: doubled each time, up to the limit.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);
/// How many requests may wait for one reading.
const MAX_WAITING: usize = 256;

/// The cached keys of one issuer.
pub(super) struct KeyCache {
    shared: Arc<Shared>,
    /// The last reading that ended.
    readings: watch::Receiver<Option<Ended>>,
    max_stale: Duration,
    waiting: Semaphore,
    task: JoinHandle<()>,
}

struct Shared {
    current: ArcSwapOption<Set>,
    /// A token's key is not there, or may be another by now.
    wanted: Notify,
}

struct Set {
    keys: Vec<Arc<Key>>,
    /// When the issuer last said so.
    confirmed: Instant,
}

#[derive(Clone, Copy)]
struct Ended {
    begun: Instant,
    good: bool,
}

/// What came of asking for keys anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The keys are those that the issuer publishes now.
    Current,
    /// The issuer could not be asked; the keys are those known before.
    Unanswered,
}

impl KeyCache {
    /// Begins to read the keys. Must run inside a tokio runtime.
    pub(super) fn start(name: &str, settings: &config::Issuer, followed: Arc<Followed>) -> Self {
        let shared = Arc::new(Shared { current: ArcSwapOption::empty(), wanted: Notify::new() });
        let (ended, readings) = watch::channel(None);
        let keeper = Keeper {
            issuer: name.to_owned(),
            source: JwksSource::new(settings),
            refresh: settings.keys_refresh,
            shared: shared.clone(),
            followed,
            failures: 0,
        };
        Self {
            shared,
            readings,
            max_stale: settings.keys_max_stale,
            waiting: Semaphore::new(MAX_WAITING),
            task: tokio::spawn(keeper.keep(ended)),
        }
    }

    /// The keys, unless they were never read or are too old to trust.
    pub(super) fn keys(&self) -> Option<PublishedKeys> {
        let set = self.shared.current.load_full()?;
        (set.confirmed.elapsed() <= self.max_stale).then_some(PublishedKeys(set))
    }

    /// Whether the keys were ever read.
    pub(super) fn were_read(&self) -> bool {
        self.shared.current.load().is_some()
    }

    /// Waits until the keys were read once, or could not be.
    pub(super) async fn first_reading(&self) {
        let _ = self.readings.clone().wait_for(Option::is_some).await;
    }

    /// Has the keys read anew, as soon as the last reading is not too recent.
    pub(super) fn want_anew(&self) {
        self.shared.wanted.notify_one();
    }

    /// Waits for a reading that begins after this call, or for `enough`. Does not
    /// wait while the issuer cannot be reached, or in a crowd.
    pub(super) async fn ask_anew(&self, enough: impl Fn() -> bool) -> Asked {
        let asked = Instant::now();
        let mut readings = self.readings.clone();
        self.want_anew();
        if readings.borrow_and_update().is_some_and(|last| !last.good) {
            return Asked::Unanswered;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Asked::Unanswered };
        while readings.changed().await.is_ok() {
            match *readings.borrow_and_update() {
                Some(last) if !last.good => return Asked::Unanswered,
                Some(last) if last.begun >= asked || enough() => return Asked::Current,
                _ => {}
            }
        }
        Asked::Unanswered
    }
}

impl Drop for KeyCache {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The keys at one moment.
pub(super) struct PublishedKeys(Arc<Set>);

impl PublishedKeys {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.0.keys.iter()
    }

    /// Whether `key` is still published. A key keeps its identity while the issuer
    /// publishes it unchanged.
    pub(super) fn contains(&self, key: &Arc<Key>) -> bool {
        self.iter().any(|published| Arc::ptr_eq(published, key))
    }
}

/// Reads the keys.
struct Keeper {
    issuer: String,
    source: JwksSource,
    refresh: Duration,
    shared: Arc<Shared>,
    followed: Arc<Followed>,
    failures: u32,
}

impl Keeper {
    async fn keep(mut self, ended: watch::Sender<Option<Ended>>) {
        loop {
            let begun = Instant::now();
            let result = self.read(begun).await;
            let pause = match &result {
                Ok(max_age) => {
                    self.failures = 0;
                    let shortest = MIN_REFRESH.min(self.refresh);
                    max_age.unwrap_or(self.refresh).clamp(shortest, self.refresh)
                }
                Err(error) => {
                    tracing::warn!(issuer = self.issuer, %error, "cannot read the issuer's keys; those that were read before stay in use");
                    self.source.forget();
                    self.failures += 1;
                    FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(10)).min(MAX_RETRY)
                }
            };
            ended.send_replace(Some(Ended { begun, good: result.is_ok() }));
            tokio::select! {
                () = sleep(pause) => {}
                () = async {
                    self.shared.wanted.notified().await;
                    sleep_until(begun + COOL_DOWN).await;
                } => {}
            }
        }
    }

    async fn read(&mut self, begun: Instant) -> Result<Option<Duration>, ReadError> {
        let reading = self.source.read().await?;
        let known = self.shared.current.load_full();
        let known = known.as_ref().map_or(&[][..], |set| &set.keys);
        let digest = reading.document.as_ref().map(|document| files::sha256(&[document]));
        let keys = match reading.document {
            None => known.to_vec(),
            Some(document) => {
                let reuse = |key: Key| match known.iter().find(|old| ***old == key) {
                    Some(old) => old.clone(),
                    None => Arc::new(key),
                };
                jwks::parse(&document)?.into_iter().map(reuse).collect()
            }
        };
        let is_known = |key| known.iter().any(|old| Arc::ptr_eq(old, key));
        let changed = keys.len() != known.len() || !keys.iter().all(is_known);
        if keys.is_empty() {
            tracing::warn!(
                issuer = self.issuer,
                "the issuer publishes no key that verifies tokens"
            );
        }
        tracing::debug!(issuer = self.issuer, keys = keys.len(), "read the issuer's keys");
        let first = self.shared.current.swap(Some(Arc::new(Set { keys, confirmed: begun })));
        if let Some(digest) = digest.filter(|_| changed || first.is_none()) {
            self.followed.in_force(format!("issuers.{}", self.issuer), digest);
        }
        Ok(reading.max_age)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::{
        super::test_tokens::{Signer, in_time, jwk_set, settings},
        *,
    };

    /// The keys in `file`, which is read every few milliseconds.
    fn start(file: &Path, max_stale: Duration) -> KeyCache {
        let mut settings = settings("");
        settings.jwks_file = Some(file.to_owned());
        settings.keys_refresh = Duration::from_millis(10);
        settings.keys_max_stale = max_stale;
        KeyCache::start("corporate", &settings, Arc::default())
    }

    fn published(cache: &KeyCache) -> Vec<Arc<Key>> {
        cache.keys().map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Waits until `key` is no longer published.
    async fn withdrawn(cache: &KeyCache, key: &Arc<Key>) {
        let gone = async {
            while cache.keys().unwrap().contains(key) {
                assert_eq!(cache.ask_anew(|| false).await, Asked::Current);
            }
        };
        in_time(gone).await;
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn keys_come_and_go_as_they_are_published() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jwks.json");
        let publish = |signers: &[&Signer]| {
            std::fs::write(directory.path().join("next"), jwk_set(signers)).unwrap();
            std::fs::rename(directory.path().join("next"), &file).unwrap();
        };
        // Two of the same name, as in a rotation gone wrong.
        let (a, b, c) = (Signer::es256("k"), Signer::es256("k"), Signer::es256("c"));
        publish(&[&a, &b]);
        let cache = start(&file, HOUR);
        assert!(!cache.were_read() && cache.keys().is_none());
        cache.first_reading().await;
        assert!(cache.were_read());
        let before = published(&cache);
        let [a_key, b_key] = &before[..] else { return assert_eq!(before.len(), 2) };
        assert!(*a_key != *b_key && **a_key == *a.public() && **b_key == *b.public());

        publish(&[&c, &b]);
        withdrawn(&cache, a_key).await;
        let keys = cache.keys().unwrap();
        assert!(keys.contains(b_key), "a key that stays keeps its identity");
        assert!(!keys.contains(&c.public()), "a key of the same content is another");
        assert_eq!(published(&cache).len(), 2);
        assert!(*published(&cache)[0] == *c.public());

        publish(&[]);
        withdrawn(&cache, b_key).await;
        assert!(published(&cache).is_empty());
    }

    #[tokio::test]
    async fn known_keys_serve_while_the_issuer_is_down() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jwks.json");
        std::fs::write(&file, jwk_set(&[&Signer::es256("a")])).unwrap();
        let cache = start(&file, HOUR);
        cache.first_reading().await;
        let before = published(&cache);
        std::fs::write(&file, "<html>").unwrap();
        in_time(async { while cache.ask_anew(|| false).await == Asked::Current {} }).await;
        assert_eq!(cache.ask_anew(|| true).await, Asked::Unanswered);
        assert!(cache.keys().unwrap().contains(&before[0]));
    }

    #[tokio::test]
    async fn keys_that_are_too_old_serve_no_longer() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jwks.json");
        std::fs::write(&file, jwk_set(&[&Signer::es256("a")])).unwrap();
        let cache = start(&file, Duration::ZERO);
        cache.first_reading().await;
        assert!(cache.were_read() && cache.keys().is_none());
    }
}
