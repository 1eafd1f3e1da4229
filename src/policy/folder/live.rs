//! The policy set in use, and its replacement when the folder changes.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::policy::engine::set::PolicySet;
use crate::policy::language::finding::Severity;
use crate::policy::review::diagnostic::Diagnostic;

/// A policy folder's set, replaced as a whole: a request that has taken the set
/// is decided by it to the end, and a folder with any error replaces nothing.
#[derive(Debug)]
pub struct LivePolicies {
    folder: PathBuf,
    current: ArcSwap<PolicySet>,
    status: ArcSwap<Status>,
    /// What was last loaded, or tried. One reload at a time.
    tried: Mutex<Vec<Entry>>,
}

/// How the last reloads went.
#[derive(Clone, Debug)]
pub struct Status {
    /// When the set in use was loaded.
    pub loaded_at: OffsetDateTime,
    /// How many reloads replaced the set.
    pub reloads: u64,
    /// How many reloads were refused.
    pub refusals: u64,
    /// What is wrong with the folder now; empty when the set in use is from it.
    pub errors: Vec<Diagnostic>,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The new set is in use.
    Replaced,
    /// The new set has errors; the old one stays in use.
    Refused,
}

/// A file as far as a change shows: its path, inode, length and time of change.
type Entry = (PathBuf, u64, u64, i64, i64);

impl LivePolicies {
    /// Loads a folder; gives the warnings too.
    ///
    /// # Errors
    /// As [`PolicySet::load`].
    pub fn open(folder: &Path) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let seen = entries(folder);
        let (set, warnings) = PolicySet::load(folder)?;
        let status = Status {
            loaded_at: OffsetDateTime::now_utc(),
            reloads: 0,
            refusals: 0,
            errors: Vec::new(),
        };
        let live = Self {
            folder: folder.to_owned(),
            current: ArcSwap::from_pointee(set),
            status: ArcSwap::from_pointee(status),
            tried: Mutex::new(seen),
        };
        Ok((live, warnings))
    }

    /// The set in use. Takes no lock.
    pub fn current(&self) -> Guard<Arc<PolicySet>> {
        self.current.load()
    }

    /// How the last reloads went.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Reloads if the folder has changed since the last attempt.
    pub fn reload_if_changed(&self) -> Option<Reload> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = entries(&self.folder);
        (*tried != seen).then(|| self.replace(&mut tried, seen))
    }

    /// Reloads, changed or not.
    pub fn reload(&self) -> Reload {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = entries(&self.folder);
        self.replace(&mut tried, seen)
    }

    fn replace(&self, tried: &mut Vec<Entry>, mut seen: Vec<Entry>) -> Reload {
        let loaded = loop {
            let loaded = PolicySet::load(&self.folder);
            let after = entries(&self.folder);
            // Files that changed while they were read may not belong together.
            if after == seen {
                break loaded;
            }
            seen = after;
        };
        *tried = seen;
        let mut status = Status::clone(&self.status.load());
        let reload = match loaded {
            Ok((set, warnings)) => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                self.current.store(Arc::new(set));
                status.loaded_at = OffsetDateTime::now_utc();
                status.reloads += 1;
                status.errors.clear();
                tracing::info!(reloads = status.reloads, "policies replaced");
                Reload::Replaced
            }
            Err(mut diagnostics) => {
                diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
                diagnostics.iter().for_each(|error| tracing::error!("{error}"));
                tracing::error!("new policies refused; the old ones stay in use");
                status.refusals += 1;
                status.errors = diagnostics;
                Reload::Refused
            }
        };
        self.status.store(Arc::new(status));
        reload
    }

    /// Follows the folder for ever: reloads when a look, once every `interval`,
    /// shows a change, and on SIGHUP, which from this call on no longer ends the
    /// process. Looking follows symlinks, so a Kubernetes ConfigMap's swap is seen;
    /// so are changes on network file systems, which send no events. Calls
    /// `replaced` whenever a new set is in use.
    ///
    /// # Errors
    /// When SIGHUP cannot be received.
    pub fn follow(
        self: Arc<Self>,
        interval: Duration,
        replaced: impl Fn(),
    ) -> io::Result<impl Future<Output = ()>> {
        let mut hangup = signal(SignalKind::hangup())?;
        Ok(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let forced = tokio::select! {
                    _ = ticks.tick() => false,
                    _ = hangup.recv() => true,
                };
                if forced {
                    tracing::info!("reloading the policies on SIGHUP");
                }
                let live = Arc::clone(&self);
                let reload = tokio::task::spawn_blocking(move || {
                    if forced { Some(live.reload()) } else { live.reload_if_changed() }
                });
                match reload.await {
                    Ok(Some(Reload::Replaced)) => replaced(),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "reloading the policies failed"),
                }
            }
        })
    }
}

/// Everything in a folder, through symlinks, in a stable order. What cannot be
/// read is left out here; loading reports it.
fn entries(folder: &Path) -> Vec<Entry> {
    let mut found = Vec::new();
    collect(folder, 0, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<Entry>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|e| !e.file_name().as_encoded_bytes().starts_with(b".")) {
        let path = entry.path();
        let Ok(metadata) = fs::metadata(&path) else { continue };
        // Policies lie at most two folders deep.
        if metadata.is_dir() && depth < 3 {
            collect(&path, depth + 1, found);
        }
        found.push(signature(path, &metadata));
    }
}

fn signature(path: PathBuf, metadata: &Metadata) -> Entry {
    (path, metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}
