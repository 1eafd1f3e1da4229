//! Reads the files that settings name: regular files of a bounded size, on a thread for
//! which nobody has to wait.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

/// How long a reading may go without progress. On a mount that hangs it never ends.
const DEADLINE: Duration = Duration::from_secs(10);

/// The most that a file may hold, in bytes, unless its reader says otherwise: more than
/// a hundred thousand revocations.
pub(crate) const MAX_SIZE: u64 = 16 << 20;

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// A file that cannot be read, that is larger, or that is not a regular file: a FIFO, a
/// device or a folder.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Otherwise opening a FIFO waits for somebody who writes to it.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(metadata.len() as usize + 1);
    // The file may grow while it is read.
    file.take(limit + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > limit { Err(too_large()) } else { Ok(contents) }
}

/// The SHA-256 of contents, one after the other, in hexadecimal: as `cat FILES | sha256sum`.
pub(crate) fn sha256(contents: &[impl AsRef<[u8]>]) -> String {
    let mut hash = Context::new(&SHA256);
    contents.iter().for_each(|content| hash.update(content.as_ref()));
    HEXLOWER.encode(hash.finish().as_ref())
}

/// Reads on a thread of its own, and never on two at once: a mount that hangs costs one
/// thread, however often its files are looked at. Nothing waits for that thread when
/// the process ends.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    turn: Arc<Mutex<()>>,
    deadline: Duration,
}

impl Default for Reader {
    fn default() -> Self {
        Self { turn: Arc::default(), deadline: DEADLINE }
    }
}

/// What a long reading counts up, so that it is not taken for one that hangs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicUsize>);

impl Progress {
    pub(crate) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there were steps since `seen` was noted; notes them.
    fn since(&self, seen: &mut usize) -> bool {
        let now = self.0.load(Ordering::Relaxed);
        std::mem::replace(seen, now) != now
    }
}

impl Reader {
    /// What `reading` gives, after earlier readings have ended.
    ///
    /// # Errors
    /// When it makes no progress for too long, or an earlier reading does not end.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Progress) -> T + Send + 'static,
    ) -> io::Result<T> {
        let (sender, mut receiver) = oneshot::channel();
        let turn = tokio::time::timeout(self.deadline, self.turn.clone().lock_owned()).await;
        let turn = turn.map_err(|_| self.too_long())?;
        let progress = begin(turn, reading, |value| drop(sender.send(value)))?;
        let mut seen = 0;
        loop {
            match tokio::time::timeout(self.deadline, &mut receiver).await {
                Ok(value) => return value.map_err(|_| panicked()),
                Err(_) if progress.since(&mut seen) => {}
                Err(_) => return Err(self.too_long()),
            }
        }
    }

    /// As [`Self::read`], for a thread that may wait; but for no earlier reading.
    pub(crate) fn read_now<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Progress) -> T + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let turn = self.turn.clone().try_lock_owned().map_err(|_| self.too_long())?;
        let progress = begin(turn, reading, move |value| drop(sender.send(value)))?;
        let mut seen = 0;
        loop {
            match receiver.recv_timeout(self.deadline) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Disconnected) => return Err(panicked()),
                Err(RecvTimeoutError::Timeout) if progress.since(&mut seen) => {}
                Err(RecvTimeoutError::Timeout) => return Err(self.too_long()),
            }
        }
    }

    fn too_long(&self) -> io::Error {
        let text = format!("it has not been read within {:?}", self.deadline);
        io::Error::new(io::ErrorKind::TimedOut, text)
    }
}

fn begin<T>(
    turn: OwnedMutexGuard<()>,
    reading: impl FnOnce(&Progress) -> T + Send + 'static,
    deliver: impl FnOnce(T) + Send + 'static,
) -> io::Result<Progress> {
    let progress = Progress::default();
    let steps = progress.clone();
    thread::Builder::new().name("reading".to_owned()).spawn(move || {
        let value = reading(&steps);
        drop(turn);
        deliver(value);
    })?;
    Ok(progress)
}

fn panicked() -> io::Error {
    io::Error::other("the reading has failed")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // A regular file that says that it is empty.
        let error = read(Path::new("/proc/self/status"), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for path in [&fifo, Path::new("/dev/zero"), directory.path()] {
            let error = read(path, 5).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", path.display());
        }
    }

    #[test]
    fn a_reading_that_hangs_is_left_alone_and_ends_with_the_runtime_not_waiting() {
        let reader = Reader { turn: Arc::default(), deadline: Duration::from_millis(1) };
        let (wake, asleep) = mpsc::channel::<()>();
        let (woke, awake) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let hung = runtime.block_on(reader.read(move |_| {
            let _ = asleep.recv();
            let _ = woke.send(());
        }));
        drop(runtime);
        assert_eq!(hung.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Nothing else is read in the meantime.
        let second = reader.read_now(|_| ()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::TimedOut);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let third = runtime.block_on(reader.read(|_| ())).unwrap_err();
        assert_eq!(third.kind(), io::ErrorKind::TimedOut);
        wake.send(()).unwrap();
        awake.recv().unwrap();
        while reader.turn.try_lock().is_err() {
            thread::yield_now();
        }
        let patient = Reader { deadline: DEADLINE, ..reader };
        assert_eq!(patient.read_now(|_| 7).unwrap(), 7);
    }

    #[tokio::test]
    async fn readings_take_turns() {
        let reader = Reader::default();
        let (wake, asleep) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let reader = reader.clone();
            async move { reader.read(move |_| asleep.recv()).await }
        });
        while reader.turn.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn(async move { reader.read(|_| 2).await });
        tokio::task::yield_now().await;
        wake.send(()).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), Ok(()));
        assert_eq!(second.await.unwrap().unwrap(), 2);
    }

    #[test]
    fn a_long_reading_that_makes_progress_is_waited_for() {
        let reader = Reader { turn: Arc::default(), deadline: Duration::from_millis(200) };
        let long = reader.read_now(|progress| {
            for _ in 0..60 {
                thread::sleep(Duration::from_millis(10));
                progress.step();
            }
        });
        assert!(long.is_ok());
    }
}
