//! Files that are read again when they change.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::files::{self, Progress, Reader};

/// How often files are looked at. They are read rather than watched, because they may
/// be replaced in ways that leave no event, such as the swapped symbolic links of a
/// mounted Kubernetes ConfigMap or Secret, or on a network file system.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What some files say, together: the last of it that could be used.
pub(crate) struct Reloaded<T, E> {
    /// The setting that names the files, for the log.
    setting: &'static str,
    paths: Paths,
    reader: Reader,
    make: Make<T, E>,
    at_first: Contents,
    current: ArcSwap<T>,
}

/// Which files.
#[derive(Clone)]
pub(crate) enum Paths {
    /// Those that are named.
    Files(Vec<PathBuf>),
    /// All files of a folder, but for those whose names begin with a dot: among them are
    /// the versions of a Kubernetes ConfigMap, reached by its symlinks.
    Folder(PathBuf),
}

/// Each file with what it says, in order.
pub(crate) type Contents = Vec<(PathBuf, Vec<u8>)>;
type Make<T, E> = Box<dyn Fn(&Contents) -> Result<T, E> + Send + Sync>;

/// How well files are followed, by the setting that names them: what is wrong, if
/// anything is. Whoever wants to hear of what comes into force listens.
#[derive(Debug, Default)]
pub struct Followed {
    troubles: Mutex<BTreeMap<&'static str, Option<String>>>,
    listener: Option<UnboundedSender<InForce>>,
}

/// That something came into force: at first, or in place of what was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The setting that names where it is from.
    pub setting: String,
    /// The SHA-256 of what it says, in hexadecimal.
    pub digest: String,
}

impl Followed {
    /// With the ear of whoever listens.
    pub fn with_listener() -> (Self, UnboundedReceiver<InForce>) {
        let (listener, heard) = mpsc::unbounded_channel();
        (Self { listener: Some(listener), ..Self::default() }, heard)
    }

    /// Says that something came into force.
    pub(crate) fn in_force(&self, setting: impl Into<String>, digest: String) {
        if let Some(listener) = &self.listener {
            let _ = listener.send(InForce { setting: setting.into(), digest });
        }
    }

    fn tell(&self, setting: &'static str, trouble: Option<String>) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).insert(setting, trouble);
    }

    /// All that are followed.
    pub fn all(&self) -> BTreeMap<&'static str, Option<String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

impl<T, E: From<Unreadable> + std::fmt::Display> Reloaded<T, E> {
    /// Reads the files of `setting` and has `make` make something of their contents.
    ///
    /// # Errors
    /// A file that cannot be read, or what `make` says.
    pub(crate) fn read(
        setting: &'static str,
        paths: Paths,
        make: impl Fn(&Contents) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let reader = Reader::default();
        let read = reader.read_now(paths.reading());
        let at_first = read.unwrap_or_else(|error| Err(unreadable(paths.first(), error)))?;
        let current = ArcSwap::from_pointee(make(&at_first)?);
        Ok(Self { setting, paths, reader, make: Box::new(make), at_first, current })
    }

    /// What is in force now.
    pub(crate) fn current(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Follows the files until dropped. What cannot be read or used changes nothing,
    /// and is in the log and in `followed`.
    ///
    /// A change of a folder counts once two looks in a row have found the same: a file that
    /// is being written can be valid without its last lines.
    pub(crate) async fn keep_fresh(&self, followed: &Followed) {
        followed.tell(self.setting, None);
        followed.in_force(self.setting, self.paths.digest(&self.at_first));
        let mut seen = Ok(self.at_first.clone());
        let mut before = seen.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.contents_now().await.map_err(|error| error.to_string());
            let is_steady = now == before || !matches!(self.paths, Paths::Folder(_));
            before.clone_from(&now);
            if now == seen || !is_steady {
                continue;
            }
            let made = match &now {
                Ok(contents) => (self.make)(contents)
                    .map(|made| (made, self.paths.digest(contents)))
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            match made {
                Ok((new, digest)) => {
                    self.current.store(Arc::new(new));
                    followed.tell(self.setting, None);
                    followed.in_force(self.setting, digest);
                    tracing::info!(setting = self.setting, "reloaded");
                }
                Err(error) => {
                    tracing::error!(
                        setting = self.setting,
                        error,
                        "cannot reload; what was read before stays in force"
                    );
                    followed.tell(self.setting, Some(error));
                }
            }
            seen = now;
        }
    }

    async fn contents_now(&self) -> Result<Contents, Unreadable> {
        let read = self.reader.read(self.paths.reading()).await;
        read.unwrap_or_else(|error| Err(unreadable(self.paths.first(), error)))
    }
}

impl Paths {
    fn reading(
        &self,
    ) -> impl FnOnce(&Progress) -> Result<Contents, Unreadable> + Send + 'static + use<> {
        let paths = self.clone();
        move |progress| {
            let read = |path: PathBuf| {
                progress.step();
                match files::read(&path, files::MAX_SIZE) {
                    Ok(contents) => Ok((path, contents)),
                    Err(error) => Err(unreadable(&path, error)),
                }
            };
            paths.list()?.into_iter().map(read).collect()
        }
    }

    fn list(self) -> Result<Vec<PathBuf>, Unreadable> {
        let folder = match self {
            Self::Files(files) => return Ok(files),
            Self::Folder(folder) => folder,
        };
        let entries = fs::read_dir(&folder).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
        });
        let mut names = entries.map_err(|error| unreadable(&folder, error))?;
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        names.sort();
        Ok(names.into_iter().map(|name| folder.join(name)).collect())
    }

    /// The path that stands for all, if none of them can be blamed.
    fn first(&self) -> &Path {
        match self {
            Self::Files(files) => files.first().map_or(Path::new(""), PathBuf::as_path),
            Self::Folder(folder) => folder,
        }
    }

    /// Of named files the SHA-256 of what they say, one after the other; of a folder's, for
    /// their names count, as `sha256sum * | sha256sum` there.
    fn digest(&self, contents: &Contents) -> String {
        match self {
            Self::Files(_) => {
                files::sha256(&contents.iter().map(|(_, text)| text).collect::<Vec<_>>())
            }
            Self::Folder(_) => {
                let line = |(path, text): &(PathBuf, Vec<u8>)| {
                    let name = path.file_name().unwrap_or_default().display();
                    format!("{}  {name}\n", files::sha256(&[text]))
                };
                files::sha256(&contents.iter().map(line).collect::<Vec<_>>())
            }
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Unreadable {
    Unreadable { path: path.to_owned(), error }
}
