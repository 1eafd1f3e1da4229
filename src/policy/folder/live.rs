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

use crate::files::{Progress, Reader};
use crate::policy::engine::set::PolicySet;
use crate::policy::language::finding::Finding;
use crate::policy::language::lint_code::LintCode;
use crate::policy::language::lint_code::Severity;
use crate::policy::review::diagnostic::Diagnostic;

/// A policy folder's set, replaced as a whole: a request that has taken the set
/// is decided by it to the end, and a folder with any error replaces nothing.
#[derive(Debug)]
pub struct LivePolicies {
    folder: PathBuf,
    current: ArcSwap<PolicySet>,
    status: ArcSwap<Status>,
    /// What was last loaded, or tried; nothing if not all of it could be read. One
    /// reload at a time.
    tried: Mutex<Option<Vec<Entry>>>,
    reader: Reader,
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
    /// The digest of the files that the set in use is from: see `docs/audit.md`.
    pub digest: String,
    /// The digest of the files that were last refused; empty when the set in use is from
    /// the folder.
    pub refused_digest: String,
    /// What is wrong with the folder now; empty when the set in use is from it.
    pub errors: Vec<Diagnostic>,
    /// Why the folder cannot be looked at now. Whether it has changed is then unknown.
    pub unread: Option<String>,
    /// Whether the set in use allows nothing to anybody.
    pub allows_nothing: bool,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The new set is in use.
    Replaced,
    /// The new set has errors; the old one stays in use.
    Refused,
    /// The folder cannot be looked at; the old set stays in use.
    Unread,
}

/// A file as far as a change shows: its path, inode, length and time of change.
type Entry = (PathBuf, u64, u64, i64, i64);

impl LivePolicies {
    /// Loads a folder; gives the warnings too.
    ///
    /// # Errors
    /// As [`PolicySet::load`].
    pub fn open(folder: &Path) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let reader = Reader::default();
        let path = folder.to_owned();
        let reading = reader.read_now(move |progress| {
            (entries(&path, progress).ok(), PolicySet::load_with(&path, progress))
        });
        let (seen, loaded) = reading.map_err(|error| {
            let finding = Finding::new(LintCode::Unreadable, 0..0, cannot_read(&error));
            vec![Diagnostic::new(folder, &Arc::from(""), finding)]
        })?;
        let (digest, loaded) = loaded;
        let (set, mut warnings) = loaded?;
        warnings.extend(set.allows_nothing().then(|| allows_nothing(folder)));
        let status = Status {
            loaded_at: OffsetDateTime::now_utc(),
            reloads: 0,
            refusals: 0,
            digest,
            refused_digest: String::new(),
            errors: Vec::new(),
            unread: None,
            allows_nothing: set.allows_nothing(),
        };
        let live = Self {
            folder: folder.to_owned(),
            current: ArcSwap::from_pointee(set),
            status: ArcSwap::from_pointee(status),
            tried: Mutex::new(seen),
            reader,
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
        self.look(false, &Progress::default())
    }

    /// Reloads, changed or not.
    pub fn reload(&self) -> Reload {
        self.look(true, &Progress::default()).unwrap_or(Reload::Unread)
    }

    /// Reloads if the folder has changed or if `forced`.
    fn look(&self, forced: bool, progress: &Progress) -> Option<Reload> {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let reload = entries(&self.folder, progress).and_then(|seen| {
            let wanted = forced || tried.as_ref() != Some(&seen);
            wanted.then(|| self.replace(&mut tried, seen, progress)).transpose()
        });
        match reload {
            Ok(reload) => {
                self.note_unread(None);
                reload
            }
            Err(error) => {
                self.note_unread(Some(cannot_read(&error)));
                Some(Reload::Unread)
            }
        }
    }

    /// Says in the status, and once in the log, that the folder cannot be looked at, or
    /// can be again.
    fn note_unread(&self, unread: Option<String>) {
        if self.status.load().unread == unread {
            return;
        }
        match &unread {
            Some(error) => tracing::error!(error, "policies unread; the old ones stay in use"),
            None => tracing::info!("the policy folder can be read again"),
        }
        self.status.rcu(|status| Status { unread: unread.clone(), ..Status::clone(status) });
    }

    fn replace(
        &self,
        tried: &mut Option<Vec<Entry>>,
        mut seen: Vec<Entry>,
        progress: &Progress,
    ) -> io::Result<Reload> {
        let (digest, loaded) = loop {
            let loaded = PolicySet::load_with(&self.folder, progress);
            let after = entries(&self.folder, progress)?;
            // Files that changed while they were read may not belong together.
            if after == seen {
                break loaded;
            }
            seen = after;
        };
        *tried = Some(seen);
        let mut status = Status::clone(&self.status.load());
        let reload = match loaded {
            Ok((set, mut warnings)) => {
                status.allows_nothing = set.allows_nothing();
                warnings.extend(status.allows_nothing.then(|| allows_nothing(&self.folder)));
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                self.current.store(Arc::new(set));
                status.loaded_at = OffsetDateTime::now_utc();
                status.reloads += 1;
                status.digest = digest;
                status.refused_digest.clear();
                status.errors.clear();
                tracing::info!(reloads = status.reloads, "policies replaced");
                Reload::Replaced
            }
            Err(mut diagnostics) => {
                diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
                // What could not be read may be readable soon, without having changed.
                if diagnostics.iter().any(|error| error.code == LintCode::Unreadable.as_str()) {
                    *tried = None;
                }
                let text = |errors: &[Diagnostic]| -> Vec<_> {
                    errors.iter().map(ToString::to_string).collect()
                };
                if text(&status.errors) != text(&diagnostics) {
                    diagnostics.iter().for_each(|error| tracing::error!("{error}"));
                    tracing::error!("new policies refused; the old ones stay in use");
                }
                status.refusals += 1;
                status.refused_digest = digest;
                status.errors = diagnostics;
                Reload::Refused
            }
        };
        self.status.store(Arc::new(status));
        Ok(reload)
    }

    /// Follows the folder for ever: reloads when a look, once every `interval`,
    /// shows a change, and on SIGHUP, which from this call on no longer ends the
    /// process. Looking follows symlinks, so a Kubernetes ConfigMap's swap is seen;
    /// so are changes on network file systems, which send no events. Calls
    /// `looked` after every reload, with what became of it.
    ///
    /// # Errors
    /// When SIGHUP cannot be received.
    pub fn follow(
        self: Arc<Self>,
        interval: Duration,
        looked: impl Fn(Reload, &Status) + Send + Sync + 'static,
    ) -> io::Result<impl Future<Output = ()>> {
        let mut hangup = signal(SignalKind::hangup())?;
        let looked = Arc::new(looked);
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
                let (live, looked) = (Arc::clone(&self), Arc::clone(&looked));
                let look = self.reader.read(move |progress| {
                    if let Some(reload) = live.look(forced, progress) {
                        looked(reload, &live.status());
                    }
                });
                if let Err(error) = look.await {
                    self.note_unread(Some(cannot_read(&error)));
                }
            }
        })
    }
}

fn cannot_read(error: &io::Error) -> String {
    format!("cannot read this folder: {error}")
}

/// Nothing for a linter to say, since a folder may be a part of what is deployed.
fn allows_nothing(folder: &Path) -> Diagnostic {
    let message = "no policy here allows anything: every request is denied";
    let finding = Finding::new(LintCode::AllowsNothing, 0..0, message);
    Diagnostic::new(folder, &Arc::from(""), finding)
}

/// Everything in a folder, through symlinks, in a stable order. What goes while this
/// looks is left out.
///
/// # Errors
/// What the system says when it cannot list something: that something is gone cannot be
/// concluded from that.
fn entries(folder: &Path, progress: &Progress) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    collect(folder, 0, progress, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(
    folder: &Path,
    depth: usize,
    progress: &Progress,
    found: &mut Vec<Entry>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        progress.step();
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let Some(metadata) = unless_gone(fs::metadata(&path))? else { continue };
        // Policies lie at most two folders deep.
        if metadata.is_dir() && depth < 3 {
            unless_gone(collect(&path, depth + 1, progress, found))?;
        }
        found.push(signature(path, &metadata));
    }
    Ok(())
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn signature(path: PathBuf, metadata: &Metadata) -> Entry {
    (path, metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}
