//! The store: SQLite for one gateway, PostgreSQL for many replicas. It keeps whatever
//! outlives a request.
//!
//! The trail's entries go through the writer, which commits in groups. Everything
//! else goes through [`Pool`], with the same SQL for both kinds (`both!`). Times are
//! microseconds since 1970, UTC.

mod append;
mod backend;
pub mod chores;
mod error;
mod examined;
mod lease;
mod pool;
mod postgres;
mod queue;
mod room;
mod schema;
mod sqlite;
mod status;
mod times;
mod writer;
mod writing;

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot},
    time::timeout,
};
use uuid::Uuid;

pub(crate) use self::pool::{both, in_time};
pub use self::{
    append::{Append, Kind, MAX_ENTRY, Pending, Position, Rewrite, leaf},
    error::{StoreError, Unavailable},
    lease::Lease,
    pool::Pool,
    room::Room,
    status::StoreStatus,
    times::{micros, time},
};
use self::{backend::Backend, writer::Writer};
use crate::config;

/// How long a caller waits for a turn to read the trail.
const READERS_WAIT: Duration = Duration::from_secs(5);

/// A store that is open; cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Open>);

struct Open {
    id: String,
    replica: String,
    backend: Backend,
    pool: Pool,
    /// How many may read the trail for callers at once.
    readers: Semaphore,
    writer: Writer,
}

impl Store {
    /// Opens the store that the settings name, brings its schema up to date, and starts
    /// its writer. `None` if the settings name none.
    ///
    /// # Errors
    /// A store that cannot be used, or that could lose what it acknowledges.
    pub async fn open(
        settings: &config::Store,
        rewrite: Rewrite,
    ) -> Result<Option<Self>, StoreError> {
        let Some(backend) = Backend::open(settings).await? else { return Ok(None) };
        let replica = Uuid::new_v4().to_string();
        let pool = backend.pool(settings.connections).await?;
        let writer = Writer::start(backend.clone(), replica.clone(), rewrite).await?;
        // The sealer and the recovery always find a connection.
        let readers = Semaphore::new(settings.connections.saturating_sub(2).max(1) as usize);
        let mut open = Open { id: String::new(), replica, backend, pool, readers, writer };
        let (id,): (String,) = both!(open, pool => {
            sqlx::query_as("SELECT store_id FROM store_info").fetch_one(pool).await?
        });
        open.id = id;
        Ok(Some(Self(Arc::new(open))))
    }

    /// The store's random ID, made when it was created.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// This process's ID among those that share the store.
    pub fn replica(&self) -> &str {
        &self.0.replica
    }

    /// Appends an entry that somebody waits for.
    pub fn append(&self, append: Append) -> Pending {
        self.0.writer.append(append)
    }

    /// Appends an entry that nobody waits for. It goes with the next commit, two
    /// milliseconds later at most. Gives false if too many wait already; outcomes are
    /// always taken.
    pub fn append_later(&self, append: Append) -> bool {
        self.0.writer.append_later(append)
    }

    /// Waits for a turn to read the trail for a caller, and keeps it until dropped.
    ///
    /// # Errors
    /// When others read for too long.
    pub async fn reader(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let turn = timeout(READERS_WAIT, self.0.readers.acquire()).await;
        let turn = turn.ok().and_then(Result::ok);
        turn.ok_or_else(|| StoreError::unusable("too many read the trail at once"))
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        self.0.writer.status()
    }

    /// The room on the store's file system, as of a second ago; `None` if that cannot be
    /// known from here.
    pub fn room(&self) -> Option<Room> {
        self.0.writer.room()
    }

    /// Writes what waits, and ends the writer. Blocks until then, but no longer than
    /// `limit`. Gives false if something was not written.
    pub fn close(&self, limit: Duration) -> bool {
        self.0.writer.close(limit)
    }

    /// After the last change: leaves an SQLite file whole without the log beside it, unless
    /// the store cannot be written. Waits for that no longer than `limit`.
    pub async fn finish(&self, limit: Duration) {
        if self.status().trouble.is_some() {
            return;
        }
        let backend = self.0.backend.clone();
        let (done, finished) = oneshot::channel();
        // Nothing waits for a disk that hangs.
        thread::spawn(move || done.send(backend.finish()));
        if !matches!(timeout(limit, finished).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the store's newest records are in the file -wal beside it");
        }
    }

    /// Connections for everything but the trail's entries; see `both!`.
    pub(crate) fn pool(&self) -> &Pool {
        self.0.pool()
    }

    /// How a transaction begins that will write.
    pub(crate) fn begin(&self) -> &'static str {
        self.pool().begin()
    }

    /// The time as the store tells it, in SQL.
    pub(crate) fn now(&self) -> &'static str {
        self.pool().now()
    }
}

impl Open {
    fn pool(&self) -> &Pool {
        if let (Backend::Postgres(database), Pool::Postgres(pool)) = (&self.backend, &self.pool) {
            database.refresh(pool);
        }
        &self.pool
    }
}
