//! Appends to the trail's log in PostgreSQL.

use std::{collections::HashSet, sync::Arc, time::Duration};

use sqlx::{PgConnection, Row};

use super::{
    super::{
        append::{Append, Position},
        error::StoreError,
    },
    CONNECTING, Facts, Postgres, in_time,
};

/// How long a commit may take before the connection is given up.
const COMMITTING: Duration = Duration::from_secs(3);
/// How long the look for entries that may have been written may take.
const LOOKING: Duration = Duration::from_secs(60);

/// What the writer writes with.
pub(in crate::store) struct Appender {
    database: Arc<Postgres>,
    connection: PgConnection,
    replica: String,
    /// What `replica.writer` says as long as no later connection has taken over.
    writer: i64,
}

/// Everything in one statement, which is a transaction of its own: so the row of the head
/// is never locked while PostgreSQL waits for a gateway, which may have been stopped. Its
/// result is one small row for the same reason.
///
/// - `fence`: nothing happens if the replica has connected anew since this was sent; and
///   whoever connects anew waits until this has ended.
/// - `closed`: the first outcome of each event whose intent is open.
/// - `kept`: everything but the outcomes that found no open intent.
/// - `head`: the table has one row. `id = 1` says so to the planner, which otherwise thinks of
///   a thousand, keeps no plan, and plans anew for each commit, in twice the time that the
///   statement itself takes.
const APPEND: &str = "\
    WITH fence AS MATERIALIZED ( \
        SELECT FROM replica WHERE id = $1 AND writer = $2 FOR SHARE \
    ), input AS MATERIALIZED ( \
        SELECT * FROM \
        unnest($3::bytea[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[]) \
        WITH ORDINALITY AS input (event, at, kind, teams, leaf, entry, n) \
    ), closed AS ( \
        DELETE FROM audit_open USING ( \
            SELECT event, min(n) AS n FROM input, fence WHERE kind = 2 GROUP BY event \
        ) AS outcome WHERE audit_open.event = outcome.event RETURNING n \
    ), kept AS MATERIALIZED ( \
        SELECT input.*, row_number() OVER (ORDER BY n) - 1 AS offset_ FROM input, fence \
        WHERE kind <> 2 OR n IN (SELECT n FROM closed) \
    ), head AS ( \
        UPDATE audit_head SET next = next + (SELECT count(*) FROM kept) FROM fence WHERE id = 1 \
        RETURNING log, next - (SELECT count(*) FROM kept) AS first \
    ), opened AS ( \
        INSERT INTO audit_open (event, replica, position) \
        SELECT event, $1, log << 40 | (first + offset_) FROM kept, head WHERE kind = 1 \
    ), written AS ( \
        INSERT INTO audit_entry (position, at, event, kind, teams, leaf, entry) \
        SELECT log << 40 | (first + offset_), at, event, kind, teams, leaf, entry FROM kept, head \
    ) \
    SELECT log, first, \
        ARRAY(SELECT n FROM input WHERE kind = 2 EXCEPT SELECT n FROM closed) FROM head";

impl Appender {
    /// Takes over from whatever connection the replica had before.
    pub fn new(database: Arc<Postgres>, replica: &str) -> Result<Self, StoreError> {
        let (connection, writer) = database.block_on(async {
            let mut connection = database.connect().await?;
            let writer = in_time(CONNECTING, async {
                // The server may be another one than before.
                Facts::read(&mut connection).await?.check(&database.accept)?;
                take_over(&mut connection, replica).await
            });
            let writer = writer.await?;
            Ok((connection, writer))
        })?;
        Ok(Self { database, connection, replica: replica.to_owned(), writer })
    }

    pub fn commit(&mut self, entries: &[Append]) -> Result<Vec<Option<Position>>, StoreError> {
        let appending = sqlx::query(APPEND)
            .bind(&self.replica)
            .bind(self.writer)
            .bind(column(entries, |entry| &entry.event.as_bytes()[..]))
            .bind(column(entries, |entry| entry.at))
            .bind(column(entries, |entry| entry.kind as i64))
            .bind(column(entries, |entry| entry.teams.as_str()))
            .bind(column(entries, |entry| &entry.leaf[..]))
            .bind(column(entries, |entry| &entry.entry[..]))
            .fetch_optional(&mut self.connection);
        let row = self.database.block_on(in_time(COMMITTING, async { Ok(appending.await?) }))?;
        let Some(row) = row else {
            return Err(StoreError::unusable(
                "PostgreSQL appended nothing: another connection has taken over, or the log has no \
                 head",
            ));
        };
        let (log, mut index): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let left_out: Vec<i64> = row.try_get(2)?;
        let left_out: HashSet<i64> = left_out.into_iter().collect();
        let mut position = |n: i64| {
            if left_out.contains(&n) {
                return None;
            }
            let position = Position { log, index };
            index += 1;
            Some(position)
        };
        Ok((1..).zip(entries).map(|(n, _)| position(n)).collect())
    }

    pub fn present(&mut self, entries: &[Append], since: i64) -> Result<Vec<bool>, StoreError> {
        let looking = sqlx::query_as(
            "SELECT event, kind FROM audit_entry WHERE position >= $1 AND event = ANY($2)",
        )
        .bind(since)
        .bind(column(entries, |entry| &entry.event.as_bytes()[..]))
        .fetch_all(&mut self.connection);
        let found: Vec<(Vec<u8>, i64)> =
            self.database.block_on(in_time(LOOKING, async { Ok(looking.await?) }))?;
        let found: HashSet<(Vec<u8>, i64)> = found.into_iter().collect();
        let is_present =
            |entry: &Append| found.contains(&(entry.event.as_bytes().to_vec(), entry.kind as i64));
        Ok(entries.iter().map(is_present).collect())
    }

    pub fn head(&mut self) -> Result<i64, StoreError> {
        let asking =
            sqlx::query_as("SELECT log, next FROM audit_head").fetch_optional(&mut self.connection);
        let head: Option<(i64, i64)> =
            self.database.block_on(in_time(COMMITTING, async { Ok(asking.await?) }))?;
        Ok(head.map_or(0, |(log, index)| Position { log, index }.to_i64()))
    }
}

/// Waits for what earlier connections of the replica are about to commit, and lets nothing
/// else of theirs happen.
async fn take_over(connection: &mut PgConnection, replica: &str) -> Result<i64, StoreError> {
    let (writer,): (i64,) = sqlx::query_as(
        "INSERT INTO replica (id, seen, writer) \
         VALUES ($1, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT), 1) \
         ON CONFLICT (id) DO UPDATE SET writer = replica.writer + 1 RETURNING writer",
    )
    .bind(replica)
    .fetch_one(connection)
    .await?;
    Ok(writer)
}

/// One value of each entry.
fn column<'a, T>(entries: &'a [Append], value: impl Fn(&'a Append) -> T) -> Vec<T> {
    entries.iter().map(value).collect()
}
