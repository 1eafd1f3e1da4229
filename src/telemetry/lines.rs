//! The log's lines on their way to standard error. A thread of their own writes them,
//! so that no request waits for a disk, a pipe or a terminal. When too many wait, lines
//! are lost, and counted.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How much may wait to be written, in bytes: several thousand lines.
const CAPACITY: usize = 8 << 20;
/// What is written at once, so that it is known how far a slow reader has come.
const CHUNK: usize = 1 << 16;
/// For how long lines gather before they are written: on a busy gateway, waking the writer
/// for each line and writing each by itself took an eighth of a request's CPU time, and
/// waking it a thousand times a second still a tenth.
const GATHER: Duration = Duration::from_millis(10);
/// After how long without progress a reader counts as blocked.
const BLOCKED: Duration = Duration::from_secs(5);
/// How soon a sink that takes nothing now is asked again.
const RETRY: Duration = Duration::from_millis(10);

pub(super) struct Lines {
    queue: Mutex<Queue>,
    filled: Condvar,
    written: Condvar,
}

struct Queue {
    waiting: Vec<u8>,
    /// How many lines are in `waiting`.
    lines: u64,
    /// How many lines are with the writer.
    writing: u64,
    lost: u64,
    /// When the writer last began or wrote something.
    progress: Option<Instant>,
    /// Why the last lines could not be written.
    failure: Option<String>,
}

/// How the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// How many lines were lost since the start.
    pub lost: u64,
    /// How many lines wait to be written.
    pub waiting: u64,
    /// What is wrong now.
    pub trouble: Option<String>,
}

/// Lines that were not written before the process ended.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// They were still waiting.
    #[error("{0} log lines could not be written in time; they are lost")]
    Late(u64),
    /// The sink takes none.
    #[error("the log cannot be written ({failure}); {lost} lines are lost")]
    Failed {
        /// What the system says.
        failure: String,
        /// How many lines were lost since the start.
        lost: u64,
    },
}

impl Lines {
    pub(super) const fn new() -> Self {
        let queue = Queue {
            waiting: Vec::new(),
            lines: 0,
            writing: 0,
            lost: 0,
            progress: None,
            failure: None,
        };
        Self { queue: Mutex::new(queue), filled: Condvar::new(), written: Condvar::new() }
    }

    /// Adds a line, unless too many wait. Waits for nothing.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.queue();
        if queue.waiting.len() + line.len() > CAPACITY {
            queue.lost += 1;
            return;
        }
        queue.waiting.extend_from_slice(line);
        queue.lines += 1;
        if queue.lines == 1 {
            self.filled.notify_one();
        }
    }

    pub(super) fn status(&self) -> LogStatus {
        let queue = self.queue();
        let still = queue.progress.map(|progress| progress.elapsed());
        let trouble = match (&queue.failure, still) {
            (Some(failure), _) => Some(format!("its lines cannot be written ({failure})")),
            (None, Some(still)) if queue.writing > 0 && still > BLOCKED => {
                Some(format!("nothing could be written for {} s", still.as_secs()))
            }
            _ => None,
        };
        LogStatus { lost: queue.lost, waiting: queue.lines + queue.writing, trouble }
    }

    /// Waits until all is written, but no longer than `limit`.
    pub(super) fn finish(&self, limit: Duration) -> Result<(), Unwritten> {
        let unwritten = |queue: &mut Queue| queue.lines + queue.writing > 0;
        let waited = self.written.wait_timeout_while(self.queue(), limit, unwritten);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (queue.lines + queue.writing, &queue.failure) {
            (0, None) => Ok(()),
            (0, Some(failure)) => {
                Err(Unwritten::Failed { failure: failure.clone(), lost: queue.lost })
            }
            (late, _) => Err(Unwritten::Late(late)),
        }
    }

    /// Writes lines to `sink` for ever; `told` is called, with how many were lost, when
    /// lines can be written again.
    pub(super) fn write_to(&self, mut sink: impl Write, told: impl Fn(u64)) -> ! {
        let mut batch = Vec::new();
        let mut lost_before = 0;
        loop {
            let empty = |queue: &mut Queue| queue.lines == 0;
            drop(self.filled.wait_while(self.queue(), empty));
            thread::sleep(GATHER);
            let mut queue = self.queue();
            std::mem::swap(&mut batch, &mut queue.waiting);
            queue.writing = std::mem::take(&mut queue.lines);
            queue.progress = Some(Instant::now());
            drop(queue);

            let failure = self.write(&mut sink, &batch).err();
            batch.clear();
            batch.shrink_to(CHUNK);
            let mut queue = self.queue();
            queue.failure = failure.map(|error| error.to_string());
            queue.lost += std::mem::take(&mut queue.writing);
            let (lost, good) = (queue.lost - lost_before, queue.failure.is_none());
            drop(queue);
            self.written.notify_all();
            if good && lost > 0 {
                lost_before += lost;
                told(lost);
            }
        }
    }

    /// Writes a batch; what of it is written is no longer counted as being written.
    fn write(&self, sink: &mut impl Write, mut batch: &[u8]) -> io::Result<()> {
        while !batch.is_empty() {
            match sink.write(&batch[..batch.len().min(CHUNK)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    let (done, rest) = batch.split_at(length);
                    let ends = memchr::memchr_iter(b'\n', done).count() as u64;
                    batch = rest;
                    let mut queue = self.queue();
                    // A line of the format for people may have several ends.
                    queue.writing = match rest.is_empty() {
                        true => 0,
                        false => queue.writing.saturating_sub(ends),
                    };
                    queue.progress = Some(Instant::now());
                }
                // Somebody has made our standard error non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A sink whose every write ends as it is told.
    struct Scripted(mpsc::Receiver<io::Result<usize>>);

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().unwrap().map(|limit| limit.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_lines_are_counted_and_told_once_lines_can_be_written_again() {
        static LINES: Lines = Lines::new();
        let (script, scripted) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            LINES.write_to(Scripted(scripted), move |lost| tell.send(lost).unwrap())
        });

        let patience = Duration::from_secs(30);
        script.send(Err(ErrorKind::Interrupted.into())).unwrap();
        script.send(Ok(2)).unwrap();
        LINES.push(b"a\n");
        assert!(LINES.finish(patience).is_ok());

        LINES.push(b"b\n");
        assert!(matches!(LINES.finish(Duration::ZERO), Err(Unwritten::Late(1))));
        script.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        let finished = LINES.finish(patience);
        assert!(matches!(finished, Err(Unwritten::Failed { lost: 1, .. })), "{finished:?}");
        assert!(LINES.status().trouble.is_some());

        LINES.push(&vec![b'x'; CAPACITY + 1]);
        LINES.push(b"c\n");
        script.send(Ok(1)).unwrap();
        script.send(Ok(1)).unwrap();
        assert_eq!(told.recv_timeout(patience), Ok(2));
        assert!(LINES.finish(patience).is_ok());
        assert_eq!(LINES.status(), LogStatus { lost: 2, waiting: 0, trouble: None });
    }
}
